"""When a child is started again, and when it is held to hang: plain arithmetic."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.stop_signal import StopSignal
from workers.supervisor_child import FIRST_TICK_S_MAX, TICK_S_MAX, Child, ChildSpec, restart_delay_s


class Middle(random.Random):
    """Draws the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_the_delay_doubles_from_half_a_second_to_thirty() -> None:
    delays = [restart_delay_s(failures, 1.0, Middle()) for failures in range(1, 10)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_life_of_a_minute_starts_the_row_anew() -> None:
    assert restart_delay_s(9, 60.0, Middle()) == 0.5
    assert restart_delay_s(9, 59.9, Middle()) == 30.0


@given(st.integers(0, 10_000), st.floats(0, 1e6), st.integers())
def test_no_delay_is_ever_outside_its_bounds(failures: int, lived_s: float, seed: int) -> None:
    assert 0.375 <= restart_delay_s(failures, lived_s, random.Random(seed)) <= 30.0


def test_two_children_that_fail_together_do_not_come_back_together() -> None:
    assert restart_delay_s(3, 1.0, random.Random(1)) != restart_delay_s(3, 1.0, random.Random(2))


@pytest.fixture
def ticking(tmp_path: Path) -> Child:
    tick = tmp_path / "tick"
    tick.touch()
    child = Child(ChildSpec("w", ["w"], tmp_path / "log", ticks=[tick]))
    child.forgive(1000.0)
    return child


def move(child: Child, stamp_s: int) -> None:
    os.utime(child.spec.ticks[0], (stamp_s, stamp_s))


def test_a_child_whose_tick_stands_still_for_thirty_seconds_is_stuck(ticking: Child) -> None:
    move(ticking, 5)
    assert ticking.stuck(1010.0) is None  # it moved: counted from here
    assert ticking.stuck(1010.0 + TICK_S_MAX) is None
    assert ticking.stuck(1010.1 + TICK_S_MAX) == ticking.spec.ticks[0]


def test_a_child_that_has_not_ticked_yet_gets_longer(ticking: Child) -> None:
    assert ticking.stuck(1000.0 + FIRST_TICK_S_MAX) is None
    assert ticking.stuck(1000.1 + FIRST_TICK_S_MAX) is not None


def test_a_wall_clock_set_back_by_years_does_not_make_it_stuck(ticking: Child) -> None:
    move(ticking, 2_000_000_000)
    assert ticking.stuck(1010.0) is None
    move(ticking, 1)
    assert ticking.stuck(1039.0) is None
    assert ticking.stuck(1068.0) is None
    assert ticking.stuck(1070.0) is not None


def test_after_a_sleep_of_our_own_no_tick_is_too_old(ticking: Child) -> None:
    move(ticking, 5)
    assert ticking.stuck(1010.0) is None
    ticking.forgive(5000.0)
    assert ticking.stuck(5029.0) is None


def test_a_tick_file_that_never_comes_is_noticed(tmp_path: Path) -> None:
    child = Child(ChildSpec("w", ["w"], tmp_path / "log", ticks=[tmp_path / "never"]))
    child.forgive(0.0)
    assert child.stuck(FIRST_TICK_S_MAX + 1) == tmp_path / "never"


def test_a_stop_signal_ends_a_wait_and_stays_set() -> None:
    stop = StopSignal()
    assert not stop.is_set()
    assert not stop.wait(0.0)
    threading.Timer(0.05, stop.set).start()
    assert stop.wait(10.0)
    assert stop.is_set()
