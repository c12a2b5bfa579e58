"""A bounded slice of work under a lease: what every task does, without Celery.

A slice ends after `slice_s`, when a stop is asked for, or (unless it is a resident) when there is no more
work. Who is refused the lease ends silently: the holder looks once more after it has let go, so a nudge that
came in between is not missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from pipeline.ports import Clock

TICK_S = 1.0


class Lease(Protocol):
    """At most one holder at a time; a dead process holds nothing."""

    def try_acquire(self) -> bool:
        """Take it if it is free; never waits."""

    def release(self) -> None:
        """Let go."""


class Ended(Enum):
    """Why a slice ended."""

    REFUSED = "somebody else holds the lease"
    STOPPED = "a stop was asked for"
    TIME_UP = "the slice is over, there may be more"
    NO_WORK = "nothing is left to do"


@dataclass
class Slice:
    """`work()` does one round and returns how many seconds to wait before the next (0: at once), or `None`
    when nothing is left. `wake` ends a wait early; `tick` is touched about once a second while it lives."""

    lease: Lease
    work: Callable[[], float | None]
    clock: Clock
    stop: threading.Event
    slice_s: float
    wake: threading.Event | None = None
    tick: Path | None = None

    def run(self) -> Ended:
        """Work until the slice ends; then, if nothing was left, look once more."""
        while True:
            if not self.lease.try_acquire():
                return Ended.REFUSED
            try:
                ended = self._work()
            finally:
                self.lease.release()
            if ended is not Ended.NO_WORK or self.work_is_gone():
                return ended

    def work_is_gone(self) -> bool:
        """The second look: one round without a wait, under the lease again; True if it found nothing."""
        if self.stop.is_set() or not self.lease.try_acquire():
            return True
        try:
            return self.work() is None
        finally:
            self.lease.release()

    def _work(self) -> Ended:
        until = self.clock.now_s() + self.slice_s
        ticked = -TICK_S
        while not self.stop.is_set():
            now = self.clock.now_s()
            if now >= until:
                return Ended.TIME_UP
            if self.tick is not None and now - ticked >= TICK_S:
                self.tick.touch()
                ticked = now
            wait_s = self.work()
            if wait_s is None:
                return Ended.NO_WORK
            if wait_s > 0:
                self._wait(min(wait_s, TICK_S))
        return Ended.STOPPED

    def _wait(self, seconds: float) -> None:
        if self.wake is None:
            self.stop.wait(seconds)
            return
        self.wake.wait(seconds)
        self.wake.clear()


def did(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """What a slice did, by the counts before and after it; empty if nothing. The line of a slice always has
    `packets` and `bytes` (beside `s`, seconds), so that it can be added up without knowing the task."""
    grown = {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}
    return {"packets": 0, "bytes": 0, **grown} if grown else {}
