"""`kill -9` of every process of both sides while packets are under way: all arrive once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.adapters.folder import Folder
from tests.sides_rig import (
    child_pid,
    everything_is_back,
    kill_child,
    something_is_under_way,
    stream,
    two_sides,
    until,
)
from workers.both_sides import BothSides
from workers.supervisor_state import running

ROUNDS = 3
#: A process is killed when so many packets, and so many more in each round, have passed it in its life.
PASSED = 10


class Victim(NamedTuple):
    """A process, and what of the packets (`BothSides.counts`) says how far it has come."""

    side: str
    role: str
    progress: str

    def folder(self, sides: BothSides) -> Folder:
        return sides.region if self.side == "region" else sides.center


WHOM = (
    pytest.param(
        (Victim("region", "region", "received"), Victim("region", "watch", "returned")),
        id="the-region's-worker-and-who-looks",
    ),
    pytest.param(
        (
            Victim("center", "intake", "received"),
            Victim("center", "validate", "validated"),
            Victim("center", "deliver", "returned"),
        ),
        id="the-center's-workers",
    ),
    pytest.param((Victim("center", "link-valkey", "received"),), id="the-link's-broker"),
    pytest.param(
        (Victim("center", "valkey", "validated"), Victim("region", "valkey", "returned")),
        id="the-brokers-of-nudges",
        marks=pytest.mark.nightly,  # each run kills them once in tests/faults
    ),
)


@pytest.mark.timeout(110)
@pytest.mark.parametrize("victims", WHOM)
def test_each_process_is_killed_three_times_under_way_and_nothing_is_lost_or_doubled(
    tmp_path: Path, victims: tuple[Victim, ...]
) -> None:
    with two_sides(tmp_path) as sides:
        killed: dict[Victim, list[int]] = {victim: [] for victim in victims}
        with stream(sides) as packets:
            for part in range(1, ROUNDS + 1):
                for victim in victims:
                    wait_until_it_lives(sides, victim, killed[victim])
                    point = sides.counts()[victim.progress] + PASSED * part
                    until(partial(has_come_to, sides, victim, point), what=f"{point} {victim.progress}")
                    killed[victim].append(kill_child(victim.folder(sides), victim.role))
                    until(partial(something_is_under_way, sides), 5.0, what="a packet under way")
        everything_is_back(sides, packets)
        for victim in victims:
            wait_until_it_lives(sides, victim, killed[victim])
            assert len(set(killed[victim])) == ROUNDS
            assert starts(victim.folder(sides), victim.role) == 1 + ROUNDS


def has_come_to(sides: BothSides, victim: Victim, count: int) -> bool:
    return bool(sides.counts()[victim.progress] >= count)


def wait_until_it_lives(sides: BothSides, victim: Victim, killed: list[int]) -> None:
    folder = victim.folder(sides)
    until(lambda: child_pid(folder, victim.role) not in (None, *killed), what=f"a new {victim.role}")


def starts(folder: Folder, role: str) -> int:
    """How often `titian up` has started it."""
    state = running(folder.run)
    assert state is not None
    return next(child.starts for child in state.children if child.name == role)
