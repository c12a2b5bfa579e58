"""A packet goes from a region to the center and its record returns, over an in-memory link."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.region.framing import Framer
from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def fill(world: World, n: int, biometrics: int = 0, seed: int = 1) -> None:
    for line in sample_lines(n, seed=seed, biometrics=biometrics):
        world.enqueue(line)


def test_every_packet_arrives_once_and_its_record_returns(world: World) -> None:
    fill(world, 30, biometrics=3)
    assert world.arrive() < 300
    world.check()
    assert world.registry.record_count() == 30


def test_a_link_that_is_cut_in_the_middle_loses_and_doubles_nothing(world: World) -> None:
    fill(world, 20, biometrics=4)
    for keep in itertools.islice(itertools.cycle([False, True]), 6):
        world.round()
        world.step_push()
        world.link.cut(keep_sent=keep)
        world.round(3.0)
        world.link.restore()
        world.clock.advance(3.0)
    assert world.arrive() < 300
    world.check()


def test_a_center_whose_broker_is_wiped_gets_again_what_was_lost(world: World) -> None:
    fill(world, 20, biometrics=2)
    for _ in range(4):
        world.step_push()
        world.link.wipe()
        world.round(5.0)
    assert world.arrive() < 300
    world.check()


def test_a_region_that_is_killed_at_each_step_goes_on(world: World) -> None:
    fill(world, 12, biometrics=2)
    steps = (
        world.step_push,
        world.step_intake,
        world.step_validate,
        world.step_deliver,
        world.step_pull,
    )
    for kill_after in range(5):
        for n in range(5):
            (world.step_push, steps[1], steps[2], steps[3], world.step_pull)[n]()
            if n == kill_after:
                world.kill_region()
        world.clock.advance(5.0)
    assert world.arrive() < 300
    world.check()


def test_a_ledger_restored_from_a_backup_gets_again_what_it_had_acknowledged(world: World) -> None:
    fill(world, 10)
    assert world.arrive() < 300
    copy = world.back_up_ledger()
    fill(world, 10, seed=2)
    assert world.arrive() < 300
    world.restore_ledger(copy)
    assert world.arrive() < 300
    world.check()
    assert world.registry.record_count() == 20
    # what the backup still had was not sent again, and what it had lost only once
    assert world.ledger.reader.counts(world.region).counters.get("duplicates", 0) == 0


def test_small_windows_still_let_a_packet_through_that_is_larger_than_they_are(tmp_path: Path) -> None:
    settings = PushSettings(frame_bytes=8192, link_window_bytes=16384)
    world = World(tmp_path, push_settings=settings)
    world.ledger.set_window(world.region, 65_536)
    fill(world, 2, biometrics=2)
    assert world.arrive(900) < 900
    world.check()
    world.close()


def test_a_ledger_that_is_restored_to_before_a_session_of_the_broker_goes_on(tmp_path: Path) -> None:
    """Found by the interleavings: the broker knew a session that the restored ledger never granted, every
    answer had an id below it, and none was ever taken."""
    world = World(tmp_path)
    for _ in range(4):
        world.round()
    backup = world.back_up_ledger()
    world.enqueue(next(iter(sample_lines(1))))
    world.arrive()
    world.kill_center()  # another life: the region goes on in another session
    world.link.cut()
    world.step_deliver()
    world.restore_ledger(backup)
    world.link.restore()
    assert world.arrive(100) < 100
    world.check()
    world.close()


def break_once(patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """The next call of that method that returns anything raises instead, after it has done its work."""
    works = getattr(owner, name)
    broke: list[str] = []

    def call(*args: Any, **options: Any) -> Any:
        done = works(*args, **options)
        if done is not None and not broke:
            broke.append(name)
            raise RuntimeError(f"{name} is broken")
        return done

    patch.setattr(owner, name, call)


@pytest.mark.parametrize("lane", ["urgent", "record", "biometric"])
@pytest.mark.parametrize(("owner", "name"), [(Framer, "frame_of"), (SqliteOutbox, "claim")])
def test_a_packet_whose_frame_breaks_off_after_the_claim_arrives_once_without_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, lane: str
) -> None:
    for _ in range(3):
        world.round()  # a session is granted
    fill(world, 1, seed=2)
    assert world.step_push().packets == 1  # it lies in the stream while the next one breaks off
    (line,) = sample_lines(1, biometrics=int(lane == "biometric"), seed=3)
    world.enqueue({**line, "lane": lane})
    break_once(monkeypatch, owner, name)
    with pytest.raises(RuntimeError, match="is broken"):
        world.step_push()
    fill(world, 1, seed=4)
    assert world.arrive(30) < 30
    world.check()
    assert world.ledger.reader.counts(world.region).counters.get("duplicates", 0) == 0
    assert world.instances == 1
