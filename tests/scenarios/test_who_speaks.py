"""Two machines as one region, and ledgers that were restored meanwhile: who speaks, and who is told what."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sample import sample_lines
from pipeline.testing.world import TOKEN, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def enqueue(world: World, n: int, seed: int) -> None:
    for line in sample_lines(n, seed=seed, biometrics=0):
        world.enqueue(line)


def test_a_machine_that_another_followed_is_told_so_although_the_other_is_silent(world: World) -> None:
    enqueue(world, 2, 1)
    world.arrive()
    first = world.outbox, world.registry, world.push, world.pull
    elsewhere = world.folder / "elsewhere"
    shutil.copytree(world.region_folder, elsewhere)
    world.region_folder = elsewhere
    world._start_region()  # a second machine
    world.push.speaker.take_over = True
    for _ in range(5):
        world.round()
    assert world.pull.speaker.session  # it speaks, has read all that is for it, and is switched off
    for part in (world.push, world.outbox, world.registry):
        part.close()
    world.outbox, world.registry, world.push, world.pull = first
    assert not world.pull.speaker.superseded
    enqueue(world, 1, 2)
    for _ in range(40):
        world.round()
    assert world.step_push().waits == "superseded"
    assert world.ledger.standing(world.region).superseded == ""  # type: ignore[union-attr]
    assert world.step_deliver().acks == 0  # once for each time that it speaks


def test_a_ledger_from_between_the_admission_and_the_join_of_a_new_machine_lets_it_speak(
    world: World,
) -> None:
    enqueue(world, 3, 1)
    world.arrive()
    world.lose_disk()
    world.ledger.admit(world.region, TOKEN + b"1", world.clock.now_ms())
    between = world.back_up_ledger()
    world.rebuild_region()  # under the same token
    enqueue(world, 2, 2)
    world.arrive()
    session = world.pull.speaker.session
    world.restore_ledger(between)
    world.step_deliver()  # before the new machine says a word: the old one's session is renewed
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert standing.session > session
    world.arrive()
    assert not world.pull.speaker.superseded
    assert world.pull.speaker.session > session
    world.check()
