"""A record that the center sends by reference is read from our packet only once it is known to be ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.region.pulled import SETTLING, Step
from pipeline.sample import sample_lines
from pipeline.testing.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    for _ in range(3):
        made.round()
    return made


def everything_comes_down(world: World) -> None:
    """The center has validated all, and all of it lies in `down`; nothing is settled here yet."""
    for line in sample_lines(5, seed=1):
        world.enqueue(line)
    world.step_push()
    world.step_intake()
    world.step_validate()
    world.step_deliver()


def test_records_wait_until_the_receipts_before_them_are_settled(world: World) -> None:
    everything_comes_down(world)
    first = world.step_pull()
    assert (first.steps[-1], first.waits, first.records) == (Step.NOT_YET, SETTLING, 0)
    assert world.step_pull().steps == (Step.NOT_YET,)
    world.step_push()
    done = world.step_pull()
    assert (done.waits, done.records) == ("", 5)
    assert world.arrive() < 50
    world.check()


def test_what_waited_is_read_again_when_the_link_broke(world: World) -> None:
    everything_comes_down(world)
    assert world.step_pull().waits == SETTLING
    world.link.cut()
    world.step_push()
    world.step_pull()
    world.link.restore()
    world.clock.advance(31)
    assert world.arrive() < 50
    world.check()
    assert world.registry.record_count() == 5


def test_a_record_of_another_packet_under_our_number_comes_with_its_contents(world: World) -> None:
    """As in a copy of a folder: under these numbers the center has other packets than we do."""
    everything_comes_down(world)
    db = world.outbox.connection
    db.execute("UPDATE body SET stored = (SELECT stored FROM body WHERE seq = 3) WHERE seq = 2")
    for column in ("digest", "size"):
        db.execute(f"UPDATE packet SET {column} = (SELECT {column} FROM packet WHERE seq = 3) WHERE seq = 2")
    for _ in range(30):
        world.round()
    theirs = {row.nik: row.packet.payload for row in world.ledger.reader.records(region="1806")}
    assert len(theirs) == 5
    world.check_records()
