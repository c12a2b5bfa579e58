"""The jobs of a worker: due by their period, again soon while more waits, and none stops another."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.errors import StoreError
from pipeline.testing.clock import ManualClock
from workers.keeping import LOOK_S, MORE_S, Job, Keeper


class Diary:
    """Writes down when each job ran."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ran: list[tuple[str, float]] = []

    def job(self, name: str, every_s: float, *answers: bool, first_s: float = 0.0) -> Job:
        left = list(answers)
        return Job(name, every_s, self.writes(name, left), first_s)

    def writes(self, name: str, left: list[bool]) -> Callable[[], bool]:
        began_s = self.clock.now_s()

        def work() -> bool:
            self.ran.append((name, round(self.clock.now_s() - began_s, 3)))
            return left.pop(0) if left else False

        return work

    def keep(self, *jobs: Job, for_s: float) -> None:
        keeper = Keeper(jobs, self.clock, threading.Event())
        end_s = self.clock.now_s() + for_s
        while self.clock.now_s() < end_s:
            self.clock.advance(keeper.round())


def test_a_job_runs_once_a_period() -> None:
    diary = Diary()
    diary.keep(diary.job("a", 10.0), for_s=25)
    assert diary.ran == [("a", 0), ("a", 10), ("a", 20)]


def test_a_job_with_more_to_do_runs_again_soon() -> None:
    diary = Diary()
    diary.keep(diary.job("a", 100.0, True, True), for_s=5)
    assert diary.ran == [("a", 0), ("a", MORE_S), ("a", 2 * MORE_S)]


def test_the_first_time_may_come_later() -> None:
    diary = Diary()
    diary.keep(diary.job("a", 100.0, first_s=3.0), for_s=5)
    assert diary.ran == [("a", 3)]


def test_a_job_that_fails_stops_no_other_and_is_tried_again() -> None:
    diary = Diary()
    tried: list[float] = []

    def fails() -> bool:
        tried.append(diary.clock.now_s())
        raise StoreError("the disk is away")

    diary.keep(Job("bad", 2.0, fails), diary.job("good", 2.0), for_s=3.5)
    assert len(tried) == 2
    assert diary.ran == [("good", 0), ("good", 2)]


def test_after_a_stop_nothing_is_begun() -> None:
    diary, stop = Diary(), threading.Event()
    stop.set()
    keeper = Keeper([diary.job("a", 1.0)], diary.clock, stop)
    assert keeper.round() <= LOOK_S
    keeper.run()
    assert diary.ran == []
