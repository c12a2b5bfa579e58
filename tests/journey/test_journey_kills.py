"""`kill -9` of every process of both sides while packets are under way, and of a whole side at once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.adapters.file_lock import is_alive
from pipeline.adapters.folder import Folder
from tests.faults.faults_rig import report
from tests.sides_rig import child_pid, enqueue, everything_is_back, kill_child, two_sides, until
from workers.both_sides import BothSides, Up
from workers.supervisor_state import running

#: The brokers of nudges are killed in tests/faults.
ROLES = (
    ("region", "region"),
    ("center", "intake"),
    ("center", "validate"),
    ("center", "deliver"),
    ("center", "link-valkey"),
)


def side_of(sides: BothSides, name: str) -> Folder:
    return sides.region if name == "region" else sides.center


@pytest.mark.timeout(110)
@pytest.mark.parametrize(("side", "role"), ROLES, ids=lambda one: one)
def test_a_process_that_is_killed_twice_under_way_is_started_again_and_loses_nothing(
    tmp_path: Path, side: str, role: str
) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 80, biometrics=3)
        until(lambda: sides.counts()["received"] > 0, what="the first packet")
        first = kill_child(side_of(sides, side), role)
        packets += enqueue(sides, 80, biometrics=3, seed=2)
        until(lambda: child_pid(side_of(sides, side), role) not in (None, first), what="a new process")
        second = kill_child(side_of(sides, side), role)
        assert first != second
        everything_is_back(sides, packets)


def processes(folder: Folder) -> list[int]:
    state = running(folder.run)
    assert state is not None
    return [state.pid, *(child.pid for child in state.children if child.pid is not None)]


@pytest.mark.timeout(110)
@pytest.mark.parametrize("side", ["region", "center"])
def test_a_side_that_is_killed_leaves_no_process_and_the_next_up_goes_on(tmp_path: Path, side: str) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 100, biometrics=4)
        until(lambda: sides.counts()["received"] > 0, what="the first packet")
        up = sides.region_up if side == "region" else sides.center_up
        left = processes(up.folder)
        assert len(left) >= 3
        up.kill()
        until(lambda: not any(is_alive(pid) for pid in left), 5.0, what="the end of its processes")
        packets += enqueue(sides, 20, seed=2)
        up.start()
        everything_is_back(sides, packets)


@pytest.mark.timeout(110)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_side_that_is_asked_to_stop_ends_soon_with_nothing_half_done(
    tmp_path: Path, how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 100, biometrics=4)
        until(lambda: sides.counts()["received"] > 0, what="the first packet")
        took = [stopped(up, how) for up in (sides.region_up, sides.center_up)]
        report(capsys, f"{how.name}: the region stopped in {took[0]:.1f} s, the center in {took[1]:.1f} s")
        for up in (sides.region_up, sides.center_up):
            up.start()
        everything_is_back(sides, packets)


def stopped(up: Up, how: signal.Signals) -> float:
    """Ask it to stop as a terminal does; how long that took."""
    assert up.process is not None
    left, began_s = processes(up.folder), time.monotonic()
    os.kill(up.process.pid, how)
    assert up.process.wait(15) == 0
    took_s = time.monotonic() - began_s
    assert running(up.folder.run) is None
    assert not any(is_alive(pid) for pid in left)
    up.process = None
    return took_s
