"""Nudges between tasks, joined: one for all that a task has to say within 50 ms, and always one at the end.

A nudge says "look for work". That it is late or lost costs time only: every task is nudged by beat as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from pipeline.ports import Clock
from workers.logs import log

#: At most one nudge for the same work in this time, seconds.
JOINED_S = 0.05
#: A nudge that nobody took for so long is dropped, seconds; the next period makes another.
EXPIRES_S = 30.0

Work = tuple[str, tuple[Any, ...]]


def follow(app: Celery, task: str, *args: Any) -> None:
    """Nudge `task`; a broker that is away is no reason to fail, the next period nudges again."""
    try:
        app.send_task(task, args=args, retry=False, expires=EXPIRES_S, ignore_result=True)
    except Exception as why:  # kombu and redis raise many kinds here; none of them loses anything
        log("nudge").warning("nudge not sent", task=task, why=type(why).__name__)


@dataclass
class Nudges:
    """What one task has to tell others. `send(task, *args)` sends one nudge."""

    send: Callable[..., None]
    clock: Clock
    _waiting: dict[Work, None] = field(default_factory=dict)
    _sent_s: float = -JOINED_S

    def add(self, task: str, *args: Any) -> None:
        """There is work for `task`: it is told with the next `flush`."""
        self._waiting[task, args] = None

    def flush(self, *, idle: bool) -> None:
        """Tell what waits, if the last time is long enough ago, or (`idle`) nothing comes to join it."""
        now_s = self.clock.now_s()
        if not self._waiting or not (idle or now_s - self._sent_s >= JOINED_S):
            return
        waiting, self._waiting, self._sent_s = self._waiting, {}, now_s
        for task, args in waiting:
            self.send(task, *args)
