"""A slice is bounded, holds its lease alone, and misses no nudge that came while it worked."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

from pipeline.testing.clock import ManualClock
from workers.slices import Ended, Slice


@dataclass
class FakeLease:
    held: bool = False
    taken: int = 0

    def try_acquire(self) -> bool:
        if self.held:
            return False
        self.held = True
        self.taken += 1
        return True

    def release(self) -> None:
        self.held = False


@dataclass
class Work:
    """Rounds of work that are there to be done; each takes a second of the clock."""

    clock: ManualClock
    rounds: int
    done: int = 0
    arrives_after_empty: list[int] = field(default_factory=list)

    def __call__(self) -> float | None:
        self.clock.advance(1.0)
        if self.done >= self.rounds:
            if self.arrives_after_empty:
                self.rounds += self.arrives_after_empty.pop()
            return None
        self.done += 1
        return 0.0


def make(rounds: int, slice_s: float = 100.0) -> tuple[Slice, Work, FakeLease]:
    clock = ManualClock()
    work, lease = Work(clock, rounds), FakeLease()
    return Slice(lease, work, clock, threading.Event(), slice_s), work, lease


def test_a_slice_does_all_the_work_that_is_there_and_lets_go() -> None:
    piece, work, lease = make(5)
    assert piece.run() is Ended.NO_WORK
    assert (work.done, lease.held) == (5, False)


def test_who_is_refused_the_lease_ends_silently_and_does_nothing() -> None:
    piece, work, lease = make(5)
    lease.held = True
    assert piece.run() is Ended.REFUSED
    assert work.done == 0


def test_work_that_came_with_a_nudge_that_was_refused_is_found_by_the_second_look() -> None:
    piece, work, lease = make(1)
    work.arrives_after_empty = [3]
    assert piece.run() is Ended.NO_WORK
    assert work.done == 4
    assert lease.taken >= 2


def test_a_slice_ends_when_its_time_is_up_though_there_is_more() -> None:
    piece, work, _ = make(50, slice_s=10.0)
    assert piece.run() is Ended.TIME_UP
    assert work.done == 10


def test_a_stop_ends_the_slice_after_the_round_in_hand() -> None:
    piece, work, lease = make(50)
    rounds = iter(range(50))

    def stops_in_the_third() -> float | None:
        if next(rounds) == 2:
            piece.stop.set()
        return work()

    piece.work = stops_in_the_third
    assert piece.run() is Ended.STOPPED
    assert (work.done, lease.held) == (3, False)


def test_the_lease_is_let_go_when_the_work_raises() -> None:
    piece, _, lease = make(1)

    def fails() -> float | None:
        raise OSError("no")

    piece.work = fails
    with contextlib.suppress(OSError):
        piece.run()
    assert not lease.held
