"""What a region's worker does beside its tasks: cleaning up, catching up, the nightly comparison.

One thread with a list of jobs. None of them is needed for a packet to arrive, and none may hold `push` or
`pull` up: each round is short, or waits for answers without a lock. A job that fails is said in the log and
tried again when it is due next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.errors import TitianError
from pipeline.ports import Clock
from workers.logs import log

#: Between two rounds of a job that has more to do, seconds: an operator's enqueue goes first.
MORE_S = 0.2
#: How long the thread waits at most before it looks again, seconds.
LOOK_S = 1.0


@dataclass
class Job:
    """Work that is due every `every_s` seconds; it returns whether more waits already. The first time it is
    due `first_s` after the start."""

    name: str
    every_s: float
    work: Callable[[], bool]
    first_s: float = 0.0
    due_s: float = 0.0


class Keeper(threading.Thread):
    """Runs jobs until `stop` is set. A daemon: it never keeps a process from ending."""

    def __init__(self, jobs: Sequence[Job], clock: Clock, stop: threading.Event) -> None:
        super().__init__(name="keeper", daemon=True)
        self._jobs, self._clock, self._stop_event = list(jobs), clock, stop
        for job in self._jobs:
            job.due_s = clock.now_s() + job.first_s

    def run(self) -> None:
        """Until a stop is asked for."""
        while not self._stop_event.is_set():
            wait_s = self.round()
            self._stop_event.wait(wait_s)

    def round(self) -> float:
        """Every job that is due, once; returns how long to wait before the next round, seconds."""
        for job in self._jobs:
            if self._clock.now_s() >= job.due_s and not self._stop_event.is_set():
                self._do(job)
        next_s = min((job.due_s for job in self._jobs), default=self._clock.now_s() + LOOK_S)
        return min(LOOK_S, max(MORE_S, next_s - self._clock.now_s()))

    def _do(self, job: Job) -> None:
        more = False
        try:
            more = job.work()
        except TitianError as why:
            log("keeper").warning(job.name, code=type(why).__name__, why=str(why))
        job.due_s = self._clock.now_s() + (MORE_S if more else job.every_s)
