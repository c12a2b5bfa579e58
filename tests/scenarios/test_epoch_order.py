"""Which epoch is newer, when old folders come back and old mirrors bring what nobody had heard of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.ports import EntryId
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.identity import PacketId
from tests.scenarios.test_forks import Office

NIK = "1806054409900003"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.world.close()


def go_on_in_a_new_epoch(world: World) -> None:
    assert world.outbox.doubts.end(((999, 1000),), world.clock.now_ms())


def change(world: World, street: str) -> PacketId:
    """A new version of what is true of one citizen."""
    world.clock.advance(1.0)
    line = next(iter(sample_lines(1, seed=7, biometrics=0)))
    line["payload"] = line["payload"] | {"nik": NIK, "alamat": street}
    return world.enqueue(line)


def test_a_backup_of_an_epoch_that_was_followed_doubles_nothing_and_ranks_behind_it(office: Office) -> None:
    """Its packet (first epoch, 3) is at the center as (second epoch, 1)."""
    world = office.world
    office.enqueue(2)
    office.arrive()
    office.enqueue(1)
    copy = office.back_up()
    go_on_in_a_new_epoch(world)
    office.arrive()
    second = world.outbox.epoch
    assert world.ledger.reader.packet(PacketId(world.region, second, 1)) is not None
    first_word = change(world, "JALAN LAMA")
    office.arrive()
    assert first_word.epoch == second
    office.restore(copy)
    assert world.outbox.epoch != second
    world.enqueued = {one: line for one, line in world.enqueued.items() if one != first_word}
    last_word = change(world, "JALAN BARU")
    office.arrive()
    assert len(office.epochs) == 3
    assert all(n == 1 for n in office.at_center().values())
    (record,) = world.ledger.reader.records(nik=NIK)
    assert record.source.epoch == world.outbox.epoch
    assert record.packet.payload["alamat"] == "JALAN BARU"
    reader = OutboxReader(world.region_folder)
    found = reader.find(last_word)
    reader.close()
    assert found is not None
    assert found.now == record.source
    world.check_records()


def what_never_left(world: World) -> list[bytes]:
    """What the region would send, as its mirror holds it: none of it arrives, nor any word of it."""
    stream = world.link.region(world.region)
    for _ in range(3):
        world.step_push()
        world.clock.advance(1.0)
    world.link.arrive()
    kept = list(stream.up.entries.values())
    stream.up.entries.clear()
    stream.ctl.entries.clear()
    return kept


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told: the control"])
def test_an_epoch_that_a_mirror_brings_ranks_before_the_one_that_followed_it(
    office: Office, told: bool
) -> None:
    world = office.world
    office.enqueue(2)
    office.arrive()
    first = world.outbox.epoch
    go_on_in_a_new_epoch(world)
    second = world.outbox.epoch
    old_word = change(world, "JALAN LAMA")
    frames = what_never_left(world)
    assert frames
    world.rebuild_region()
    world.old_epochs = (first, second) if told else ()
    change(world, "JALAN BARU")
    world.arrive()
    up = world.link.region(world.region).up
    for n, frame in enumerate(frames, 1):
        up.add(EntryId(up.last.session + 1, n), frame)
    for _ in range(4):
        world.round()
    assert world.ledger.reader.packet(old_word) is not None
    (record,) = world.ledger.reader.records(nik=NIK)
    assert (record.packet.payload["alamat"] == "JALAN BARU") is told
