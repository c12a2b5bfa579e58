"""A center that slows down, stops, fills up or has fifty regions at once: they wait, and all arrives once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.center.behind import WINDOW_BYTES_MIN, Limits, Watch
from pipeline.center.deliver import Deliver
from pipeline.center.holding import Hold
from pipeline.center.intake import Intake, IntakeResult
from pipeline.center.turns import Turns
from pipeline.inspection.depth import region_depth
from pipeline.inspection.running import LinkState
from pipeline.inspection.why import region_why
from pipeline.ports import EntryId
from pipeline.region.pushed import PushSettings
from pipeline.region.speaker import REPEAT_S
from pipeline.sample import sample_lines
from pipeline.testing.clock import ManualClock
from pipeline.testing.memory_link import MemoryLink
from pipeline.testing.world import World
from schemas.bodies import pack_chunk
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.messages import Join
from workers.cli_depth_text import depth_text
from workers.region import RegionSide

KIB, MIB = 1024, 1024 * 1024
FRAME_BYTES = 16 * KIB
WINDOW_BYTES = 256 * KIB
LIMITS = Limits(window_bytes=WINDOW_BYTES, behind_s=5.0)
SMALL = list(sample_lines(2_000, seed=5))
LARGE = list(sample_lines(12, seed=6, biometrics=12))


class SlowWorld(World):
    """A world whose center watches how far it is behind; `free_bytes` of its disk are left."""

    free_bytes: int | None = None
    recorded = 0

    def _start_center(self) -> None:
        super()._start_center()
        end = self.link.center_end()
        watch = Watch(LIMITS, self.ledger, end, self.clock, lambda: self.free_bytes)
        self.deliver = Deliver(self.ledger, end, self.clock, self.center_key, restraint=watch)

    def record(self, n: int) -> None:
        """So many small packets are recorded."""
        for line in SMALL[self.recorded : self.recorded + n]:
            self.enqueue(line)
        self.recorded += n

    def go_on(self, rounds: int, *, intake: bool = True, validate: bool = True, record: int = 0) -> list[str]:
        """Rounds of a second, in which the center does only that; returns what push waited for in each."""
        waits = []
        for _ in range(rounds):
            self.record(record)
            waits.append(self.step_push().waits)
            if intake:
                self.step_intake()
            if validate:
                self.step_validate()
            self.step_deliver()
            self.step_pull()
            self.clock.advance(1.0)
        return waits

    @property
    def received(self) -> int:
        """Packets in the ledger."""
        return self.ledger.reader.counts(self.region).received

    def all_arrives_once(self) -> None:
        """Everything recorded has its verdict at the region, and nothing came twice."""
        assert self.arrive(900) < 900
        self.check()
        assert self.ledger.reader.counts(self.region).counters.get("duplicates", 0) == 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SlowWorld]:
    """A session is granted and nothing is on its way."""
    settings = PushSettings(frame_bytes=FRAME_BYTES, link_window_bytes=8 * FRAME_BYTES)
    one = SlowWorld(tmp_path, push_settings=settings)
    one.go_on(3)
    yield one
    one.close()


def test_a_center_that_validates_no_more_lets_less_and_less_come_and_then_nothing(world: SlowWorld) -> None:
    windows = []
    for _ in range(30):
        world.go_on(4, validate=False, record=4)
        windows.append(world.push.speaker.window_bytes)
    assert windows[0] == WINDOW_BYTES
    assert windows == sorted(windows, reverse=True)
    assert windows[-1] == WINDOW_BYTES_MIN
    assert world.step_push().waits == "held by the center"
    received = world.received
    assert 0 < received < world.recorded
    assert set(world.go_on(60, validate=False, record=2)) == {"held by the center"}
    assert world.received == received, "something came although it was held"
    world.go_on(120)
    assert world.push.speaker.window_bytes == WINDOW_BYTES, "it does not come back"
    world.all_arrives_once()


def test_a_center_that_takes_nothing_in_is_sent_a_window_and_no_more(world: SlowWorld) -> None:
    for line in LARGE:
        world.enqueue(line)
    waits = world.go_on(120, intake=False)
    assert set(waits[30:]) == {"receipt window"}
    assert WINDOW_BYTES <= world.push.in_flight_bytes < WINDOW_BYTES + FRAME_BYTES
    world.all_arrives_once()


def test_a_center_whose_disk_is_full_defers_and_an_urgent_packet_still_comes(world: SlowWorld) -> None:
    world.free_bytes = 100 * MIB
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3)
    assert set(world.go_on(100, record=3)) == {"held by the center"}
    assert world.received == 0
    urgent = world.enqueue({**SMALL[-1], "lane": "urgent"})
    world.go_on(1)
    assert world.ledger.reader.packet(urgent) is not None
    world.free_bytes = 100_000 * MIB
    world.go_on(int(REPEAT_S) + 5)
    assert world.received > 1, "it was not asked again in time"
    world.all_arrives_once()


def test_depth_and_why_of_a_region_that_is_held_say_for_how_long(world: SlowWorld) -> None:
    world.free_bytes = 0
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3)
    packet = world.enqueue(SMALL[0])
    side = RegionSide(world.push, world.pull, world.clock, world.folder)
    side.push_once()
    said = json.loads((world.folder / "push.json").read_text(encoding="utf-8"))
    assert 55.0 < said["held_for_s"] <= 60.0
    outbox, registry = OutboxReader(world.folder / "region"), RegistryReader(world.folder / "region")
    link = LinkState(running=True, said=said, age_s=0.0)
    depth = region_depth(outbox, registry, link, now_ms=said["at_ms"], free_bytes=0, low_water_bytes=0)
    assert "waits for: held by the center for 5" in depth_text(depth)
    assert "the center says: the center is behind: its disk has 0 MiB left" in depth_text(depth)
    found = outbox.find(packet)
    assert found is not None
    why = region_why(outbox, link, found, (), said["at_ms"])
    outbox.close()
    registry.close()
    assert "the center asks to hold for 5" in why
    assert "s more: the center is behind: its disk has" in why


def test_a_person_holds_a_region_urgent_packets_go_and_it_ends_by_itself(world: SlowWorld) -> None:
    now_ms = world.clock.now_ms()
    hold = Hold(None, 60.0, now_ms + 120_000, "the night's backup", "ana", now_ms)
    assert world.ledger.hold(world.region, hold, now_ms)
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3)
    assert set(world.go_on(30, record=1)) == {"held by the center"}
    answer = world.push.speaker.answer
    assert answer is not None
    assert answer.hold_why == "the night's backup (ana)"
    urgent = world.enqueue({**SMALL[-1], "lane": "urgent"})
    world.go_on(1)
    assert world.ledger.reader.packet(urgent) is not None
    before = world.received
    world.go_on(int(120 - REPEAT_S))
    assert world.received > before, "it was not over at its time"
    world.all_arrives_once()


def test_what_a_person_has_set_for_a_region_stays_where_it_is_less(world: SlowWorld) -> None:
    world.ledger.set_window(world.region, 100 * KIB)
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3)
    assert world.push.speaker.window_bytes == 100 * KIB
    world.ledger.set_window(world.region, 10 * MIB, hold_s=600.0)
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3)
    assert world.push.speaker.window_bytes == WINDOW_BYTES
    assert world.go_on(1, record=1) == ["held by the center"]
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert standing.hold == Hold(10 * MIB, 600.0), "the policy wrote over it"
    world.ledger.set_window(world.region, None)
    world.clock.advance(REPEAT_S + 1.0)
    world.all_arrives_once()


def test_a_broker_that_refuses_for_want_of_memory_makes_regions_wait_and_loses_nothing(
    world: SlowWorld,
) -> None:
    world.link.bytes_max = 6 * FRAME_BYTES
    for line in LARGE[:3]:
        world.enqueue(line)
    assert "the center's broker is full" in world.go_on(30, intake=False)
    world.go_on(5)
    world.link.bytes_max = None
    world.clock.advance(REPEAT_S + 1.0)
    world.all_arrives_once()


def test_a_center_that_dies_while_it_holds_holds_again_and_lets_go_when_it_is_done(world: SlowWorld) -> None:
    world.free_bytes = 0
    world.clock.advance(REPEAT_S + 1.0)
    world.go_on(3, record=20)
    world.kill_center()
    assert set(world.go_on(100)) == {"held by the center"}
    world.free_bytes = None
    world.clock.advance(REPEAT_S + 1.0)
    world.all_arrives_once()


# --- fifty regions ----------------------------------------------------------------------------------

#: Frames of each region by turns: chunks of these sizes; the first one floods its `up` and its `ctl`.
CHUNKS = (256 * KIB, 64 * KIB, 16 * KIB, 4 * KIB)
BACKLOG_BYTES = 5 * MIB // 4
FLOOD = "1800"
#: What intake takes in, bytes a second, and for how long it is looked at.
INTAKE_BYTES_S = 10 * MIB
SECONDS = 3.2


@dataclass
class Fifty:
    """A center and fifty regions whose backlogs lie in its broker already: they send faster than it takes."""

    ledger: SqlLedger

    def __post_init__(self) -> None:
        self.link, self.clock, self.center_key = MemoryLink(), ManualClock(), PrivateKey.generate()
        self.regions = [f"{1800 + n}" for n in range(50)]
        end = self.link.center_end()
        intake = Intake(end, self.ledger, self.clock, [self.center_key])
        self.turns = Turns(end, intake, self.clock, self._took)
        self.ledger.open_incarnation(1)
        for n, code in enumerate(self.regions):
            self._fill(code, CHUNKS[n % len(CHUNKS)], BACKLOG_BYTES * (8 if code == FLOOD else 1))

    def _took(self, _region: str, done: IntakeResult) -> None:
        self.clock.advance(done.bytes / INTAKE_BYTES_S)

    def _fill(self, code: str, chunk_bytes: int, backlog_bytes: int) -> None:
        key, token = PrivateKey.generate(code), b"a token of 16 by"
        self.ledger.admit(code, token, 1)
        join = Join(token=token, sign=key.public.raw.sign, seal=key.public.raw.seal)
        self.ledger.bind(code, key.public, join, 1)
        header = Header(
            Kind.CHUNK, code, "k3v9qa", key.id, self.center_key.id, Lane.BIOMETRIC, ((1, 2),), dictionary=0
        )
        streams = self.link.region(code)
        for n in range(backlog_bytes // chunk_bytes):
            data = self._noise[:chunk_bytes]
            body = pack_chunk(30 * MIB, b"d" * 32, n * chunk_bytes, data)
            frame = seal_frame(header, body, ours=key, theirs=self.center_key.public, level=1)
            streams.up.add(EntryId(1, n + 1), frame)
            if code == FLOOD:
                streams.ctl.add(EntryId(n + 1, 0), frame)

    _noise = random.Random(1).randbytes(256 * KIB)

    def taken(self, region: str) -> int:
        """Frame bytes of that region that the ledger took in."""
        return self.ledger.reader.counts(region).counters.get("bytes", 0)


def test_of_fifty_regions_each_gets_within_twice_of_the_mean_whatever_it_sends(tmp_path: Path) -> None:
    ledger = SqlLedger(tmp_path / "ledger.db")
    center = Fifty(ledger)
    until_s = center.clock.now_s() + SECONDS
    while center.clock.now_s() < until_s:
        waiting = center.turns.waiting(center.regions)
        assert len(waiting) == 50, "one had nothing to send any more"
        center.turns.once(waiting)
    taken = {code: center.taken(code) for code in center.regions}
    ledger.close()
    mean = sum(taken.values()) / len(taken)
    assert all(mean / 2 <= one <= 2 * mean for one in taken.values()), taken
