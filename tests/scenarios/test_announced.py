"""What waits in a closed lane is known at the center before it comes, and only as long as it has not come."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.adapters.ledger_announced import AnnouncedRow
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.inspection.depth import region_depth
from pipeline.inspection.running import link_state
from pipeline.region.announcing import LARGE_S
from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.frame import Kind, split
from schemas.identity import PacketId
from schemas.lanes import Lane
from workers.cli_depth_text import depth_text

LINES = list(sample_lines(6, seed=5, biometrics=6))


@dataclass
class Gate:
    """Lanes that people closed."""

    closed: set[Lane] = field(default_factory=set)

    def open_lanes(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        return tuple(lane for lane in lanes if lane not in self.closed)

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """Nothing is capped."""


@dataclass
class Office:
    """A world whose lanes can be closed, and everything that was announced in it."""

    world: World
    gate: Gate = field(default_factory=Gate)
    told: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steer()

    def steer(self) -> None:
        """The gate belongs to a process of the region."""
        self.world.push.lanes.gate = self.gate

    def rounds(self, n: int) -> None:
        """Rounds of everything; notes what is announced before the center reads it."""
        for _ in range(n):
            self.world.step_push()
            for frame in self.world.link.region(self.world.region).ctl.entries.values():
                header = split(frame).header
                if header.kind is Kind.ANNOUNCE:
                    self.told += [seq for start, stop in header.seqs for seq in range(start, stop)]
            self.world.step_intake()
            self.world.step_validate()
            self.world.step_deliver()
            self.world.step_pull()
            self.world.clock.advance(1.0)

    def enqueue(self, *lines: int) -> list[PacketId]:
        return [self.world.enqueue(LINES[n]) for n in lines]

    def announced(self) -> list[AnnouncedRow]:
        """What the center knows to be missing."""
        return self.world.ledger.reader.announced()

    def seqs(self) -> list[int]:
        return [row.id.seq for row in self.announced()]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    world = World(tmp_path)
    yield Office(world)
    world.close()


@pytest.fixture
def closed(office: Office) -> Office:
    """Four packets wait in a lane that is closed, and the center knows them."""
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0, 1, 2, 3)
    office.rounds(int(LARGE_S) + 5)
    assert office.seqs() == [1, 2, 3, 4]
    return office


def test_the_center_knows_size_digest_and_time_of_what_waits_in_a_closed_lane(closed: Office) -> None:
    reader = OutboxReader(closed.world.folder / "region")
    here = {packet: reader.find(packet) for packet in closed.world.enqueued}
    reader.close()
    for row in closed.announced():
        found = here[row.id]
        assert found is not None
        assert (row.size, row.digest, row.at_ms) == (found.size, found.digest, found.at_ms)
        assert row.lane is Lane.BIOMETRIC


def test_the_region_says_how_many_of_those_that_wait_are_announced(closed: Office) -> None:
    folder, now_ms = closed.world.folder / "region", closed.world.clock.now_ms()
    readers = OutboxReader(folder), RegistryReader(folder)
    link = link_state(False, {}, now_ms)
    found = region_depth(*readers, link, now_ms=now_ms, free_bytes=1, low_water_bytes=0)
    assert (found["waiting"], found["announced"]) == (4, 4)
    assert found["lanes"]["biometric"]["announced"] == 4
    assert "so that the center knows of them before they come: 4" in depth_text(found)


def test_a_packet_is_announced_once(closed: Office) -> None:
    closed.rounds(60)
    assert sorted(closed.told) == [1, 2, 3, 4]


def test_what_comes_is_no_longer_announced(closed: Office) -> None:
    closed.gate.closed.clear()
    assert closed.world.arrive() < 300
    closed.world.check()
    assert closed.announced() == []
    assert closed.world.ledger.reader.counts().counters["announced"] == 0
    assert closed.world.outbox.announced.backlog()[Lane.BIOMETRIC].told == 0


def test_what_leaves_within_seconds_is_not_announced(office: Office) -> None:
    office.enqueue(0, 1, 2, 3)
    office.rounds(40)
    assert office.told == []
    office.world.check()


def test_of_what_moves_only_the_end_is_announced(tmp_path: Path) -> None:
    thin = PushSettings(frame_bytes=16 * 1024, link_window_bytes=48 * 1024)
    office = Office(World(tmp_path, push_settings=thin))
    office.rounds(3)
    office.enqueue(0, 1, 2, 3, 4, 5)
    office.rounds(5)
    assert 6 in office.told
    assert 1 not in office.told
    office.gate.closed.clear()
    assert office.world.arrive() < 300
    office.world.check()
    office.world.close()


def test_a_region_that_is_refused_announces_nothing(closed: Office) -> None:
    closed.world.ledger.revoke(closed.world.region, closed.world.clock.now_ms())
    for _ in range(200):
        if not closed.world.push.speaker.refusal:
            closed.rounds(1)
    assert closed.world.push.speaker.refusal == "revoked"
    closed.told.clear()
    closed.enqueue(4)
    closed.rounds(40)
    assert closed.told == []


def test_announcements_that_a_wiped_stream_lost_are_told_again(office: Office) -> None:
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0, 1)
    while not office.told:
        office.rounds(1)
        if not office.seqs():
            continue
    office.world.restore_ledger(office.world.back_up_ledger())
    office.enqueue(2)
    for _ in range(10):
        office.world.step_push()
        office.world.link.wipe()  # whatever was in it, the announcement too
        office.world.clock.advance(1.0)
    assert office.seqs() == [1, 2]
    office.rounds(20)
    assert office.seqs() == [1, 2, 3]


def test_a_ledger_restored_from_an_older_copy_is_told_again_what_it_lost(office: Office) -> None:
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0, 1)
    office.rounds(20)
    copy = office.world.back_up_ledger()
    office.enqueue(2, 3)
    office.rounds(20)
    assert office.seqs() == [1, 2, 3, 4]
    office.world.restore_ledger(copy)
    assert office.seqs() == [1, 2]
    office.told.clear()
    office.rounds(30)
    assert office.seqs() == [1, 2, 3, 4]
    assert sorted(office.told) == [3, 4]


def test_a_region_that_starts_again_does_not_repeat_itself(closed: Office) -> None:
    closed.world.kill_region()
    closed.steer()
    closed.told.clear()
    closed.enqueue(4)
    closed.rounds(30)
    assert closed.told == [5]


def test_an_announcement_that_a_killed_region_did_not_get_out_is_made_again(office: Office) -> None:
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0)
    for _ in range(200):
        office.world.step_push()
        if office.world.outbox.announced.backlog()[Lane.BIOMETRIC].told:
            office.world.link.wipe()
            office.world.kill_region()
            office.steer()
            break
        office.rounds(1)
    assert office.seqs() == []
    office.rounds(30)
    assert office.seqs() == [1]


def test_a_center_that_starts_again_is_told_nothing_twice(closed: Office) -> None:
    closed.told.clear()
    closed.world.kill_center()
    closed.rounds(40)
    assert closed.told == []
    assert closed.seqs() == [1, 2, 3, 4]


def test_when_the_disk_of_a_region_dies_the_center_lists_what_never_came(closed: Office) -> None:
    shutil.rmtree(closed.world.folder / "region")
    assert [row.id for row in closed.announced()] == list(closed.world.enqueued)


def test_an_office_that_the_center_holds_announces_what_waits(office: Office) -> None:
    office.rounds(3)
    office.world.ledger.set_window(office.world.region, None, hold_s=60.0)
    office.rounds(35)  # the next want is answered with the hold
    office.enqueue(0, 1)
    office.rounds(int(LARGE_S) + 5)
    assert office.seqs() == [1, 2]
    assert office.world.ledger.reader.counts().received == 0


def test_a_center_that_is_older_than_announcements_is_told_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep every such frame aside; it says itself that it knows them."""
    monkeypatch.setattr(type(office.world.ledger), "announced", lambda *_: None)
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0, 1)
    office.rounds(60)
    assert office.told == []
    assert office.world.ledger.reader.quarantine() == []


def test_a_full_ledger_is_told_no_more_until_something_came(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.adapters.ledger_announced.REGION_PACKETS_MAX", 2)
    office.gate.closed.add(Lane.BIOMETRIC)
    office.enqueue(0, 1, 2)
    office.rounds(60)
    assert len(office.seqs()) == 2
    assert len(office.told) <= 4
    office.gate.closed.clear()
    assert office.world.arrive() < 300
    office.world.check()
    assert office.announced() == []
