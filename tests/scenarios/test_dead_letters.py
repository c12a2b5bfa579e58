"""Dead letters over real stores: tried again once the center can read them, or given up for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters import ledger_pieces
from pipeline.adapters.ledger_quarantine import LedgerQuarantine
from pipeline.adapters.outbox_dropped import OutboxDropped
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.center import reading
from pipeline.center.intake import Intake
from pipeline.center.retrying import retry_frame
from pipeline.inspection.depth import until_empty
from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import TOKEN, World
from schemas.errors import InvalidPacket
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.messages import Join
from schemas.packet import read_head
from schemas.ranges import Ranges, from_numbers
from schemas.verdicts import Status
from tests.scenarios.test_chunks import FRAME_BYTES, large_line
from tests.scenarios.test_reconcile import Comparing

SMALL = PushSettings(frame_bytes=FRAME_BYTES, link_window_bytes=4 * FRAME_BYTES)


class Old:
    """A center of an older version: as long as it is `old` it can read no packet of the names in `new`."""

    def __init__(self) -> None:
        self.old = True
        self.new: set[str] = set()

    def read_head(self, stored: bytes, **options: Any) -> Any:
        packet = read_head(stored, **options)
        if self.old and packet.payload["nama"] in self.new:
            raise InvalidPacket("the kind 'enrolment/2' is not known here", code="unknown_kind")
        return packet


@pytest.fixture
def center(monkeypatch: pytest.MonkeyPatch) -> Old:
    one = Old()
    for module in (reading, ledger_pieces):
        monkeypatch.setattr(module, "read_head", one.read_head)
    return one


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Comparing]:
    one = Comparing(tmp_path, push_settings=SMALL)
    yield one
    one.close()


def some(world: World, center: Old, *, new: int = 0, old: int = 0, large: bool = False) -> list[PacketId]:
    """Enqueue packets; returns the ids of those that an old center cannot read."""
    lines = list(sample_lines(new + old, seed=3))
    if large:
        lines[0] = large_line(200_000)
    center.new |= {line["payload"]["nama"] for line in lines[:new]}
    return [world.enqueue(line) for line in lines][:new]


def refused(world: World) -> list[PacketId]:
    reader = OutboxReader(world.region_folder)
    try:
        return [found.id for found in reader.dead(999)]
    finally:
        reader.close()


def seqs(packets: list[PacketId]) -> Ranges:
    return from_numbers(one.seq for one in packets)


def arrives(world: World) -> None:
    assert world.arrive() < 300, "it did not come to rest"


def state(world: World, packet: PacketId) -> Status | None:
    reader = OutboxReader(world.region_folder)
    try:
        found = reader.find(packet)
        assert found is not None
        return found.status
    finally:
        reader.close()


@pytest.mark.parametrize("large", [False, True])
def test_what_an_older_center_refused_is_received_at_the_second_try(
    world: Comparing, center: Old, large: bool
) -> None:
    dead = some(world, center, new=3, old=5, large=large)
    arrives(world)
    assert refused(world) == dead
    center.old = False
    assert world.outbox.retry(seqs(dead), world.clock.now_ms()) == 3
    assert refused(world) == []
    arrives(world)
    world.check()
    assert refused(world) == []
    assert world.reconcile().found == {}


def test_a_center_that_is_still_old_refuses_again_and_nothing_else_is_touched(
    world: Comparing, center: Old
) -> None:
    dead = some(world, center, new=2, old=3)
    arrives(world)
    for _ in range(2):
        world.outbox.retry(seqs(dead), world.clock.now_ms())
        arrives(world)
        assert refused(world) == dead
    center.old = False
    world.outbox.retry(seqs(dead), world.clock.now_ms())
    arrives(world)
    world.check()


@pytest.mark.parametrize("what", ["the center starts anew", "the feed is read anew"])
def test_the_first_refusal_said_once_more_does_not_kill_the_second_try(
    world: Comparing, center: Old, what: str
) -> None:
    """It comes again between the retry and the sending."""
    dead = some(world, center, new=2, old=3)
    arrives(world)
    center.old = False
    world.link.cut(keep_sent=False)
    world.outbox.retry(seqs(dead), world.clock.now_ms())
    world.link.restore()
    if what == "the center starts anew":
        world.kill_center()
    else:
        world.outbox_does("UPDATE meta SET value = 0 WHERE key = 'settled_to'")
        world.registry_does("UPDATE meta SET value = 0 WHERE key = 'facts'")
    for _ in range(3):  # nothing is sent meanwhile: the lanes are closed
        world.step_intake()
        world.step_deliver()
        world.step_pull()
    assert refused(world) == []
    arrives(world)
    world.check()
    assert [state(world, one) for one in dead] != [Status.REFUSED] * 2


@pytest.mark.parametrize("large", [False, True])
def test_what_is_dropped_is_at_rest_for_ever(world: Comparing, center: Old, large: bool) -> None:
    dead = some(world, center, new=2, old=3, large=large)
    arrives(world)
    for one in dead:
        assert OutboxDropped(world.outbox).drop(one, "made", "recorded again", world.clock.now_ms())
        world.enqueued.pop(one)
    reader = OutboxReader(world.region_folder)
    assert until_empty(reader, None) == (0, 0)
    reader.close()
    found = world.reconcile()
    assert (found.found, found.repaired) == ({}, {})
    center.old = False
    assert world.outbox.retry(seqs(dead), world.clock.now_ms()) == 0
    world.kill_region()
    world.kill_center()
    arrives(world)
    assert [state(world, one) for one in dead] == [Status.REFUSED] * 2
    assert all(world.ledger.reader.packet(one).status is Status.REFUSED for one in dead)


def test_a_ledger_from_before_the_refusal_brings_nothing_back(
    world: Comparing, center: Old, tmp_path: Path
) -> None:
    some(world, center, old=3)
    arrives(world)
    copy = world.back_up_ledger()
    (dead,) = some(world, center, new=1)
    arrives(world)
    OutboxDropped(world.outbox).drop(dead, "made", "recorded again", world.clock.now_ms())
    center.old = False
    world.restore_ledger(copy)
    arrives(world)
    assert world.ledger.reader.packet(dead) is None
    assert state(world, dead) is Status.REFUSED
    found = world.reconcile()
    assert {one.name for one in found.found} == {"DROPPED"}
    assert found.repaired == {}


def test_a_frame_of_a_region_that_was_not_known_is_taken_in_once_it_is(world: Comparing, center: Old) -> None:
    """The ledger was restored to before the region joined; what came until it did was kept aside."""
    copy = world.back_up_ledger()
    some(world, center, old=1)
    arrives(world)
    world.restore_ledger(copy)
    taken = [world.enqueue(line) for line in sample_lines(3, seed=9)]
    world.step_push()
    world.step_intake()
    kept = LedgerQuarantine(world.ledger)
    (frame,) = [one for one in map(kept.find, kept.numbers()) if one is not None and one.stream == "up"]
    again = (frame.frame, frame.region, frame.stream, world.ledger, [world.center_key])
    assert (frame.code, world.ledger.reader.packet(taken[0])) == ("unknown_key", None)
    assert "it still cannot be taken" in retry_frame(*again, world.clock.now_ms())
    join = Join(token=TOKEN, sign=world.region_key.public.raw.sign, seal=world.region_key.public.raw.seal)
    world.ledger.bind(world.region, world.region_key.public, join, world.clock.now_ms())
    for _ in range(2):
        assert retry_frame(*again, world.clock.now_ms()) == ""
        assert all(world.ledger.reader.packet(one) is not None for one in taken)
    arrives(world)
    world.check()


def test_what_a_region_said_of_itself_is_not_said_again(world: Comparing, center: Old) -> None:
    some(world, center, old=1)
    arrives(world)
    world.intake = Intake(world.link.center_end(), world.ledger, world.clock, [PrivateKey.generate()])
    world.kill_region()
    world.step_push()
    world.step_intake()
    kept = LedgerQuarantine(world.ledger)
    for frame in filter(None, map(kept.find, kept.numbers())):
        again = (frame.frame, frame.region, frame.stream, world.ledger, [world.center_key])
        assert "by itself" in retry_frame(*again, world.clock.now_ms())
    assert kept.numbers()
