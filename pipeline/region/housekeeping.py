"""Steps 2 and 7, beside the way: what a region does for its disk while nothing hurries it.

A round is short: a few attachments whose verdict is old enough go, and a few free pages are given back.
Whoever calls it decides how often, and sees from its answer whether more waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.ports import Clock

DAY_MS = 86_400_000
#: Packets looked at in one round.
PACKETS_A_ROUND = 50


class Gone(NamedTuple):
    """What went of what was looked at: packets (or attachments) whose bytes went, and how many bytes."""

    looked_at: int = 0
    packets: int = 0
    bytes: int = 0


class Prunable(Protocol):
    """A store whose attachments may go: the outbox, and the registry for those that came back."""

    def prune(self, before_ms: int, now_ms: int, limit: int = ...) -> Gone:
        """Delete attachments that nobody needs since before `before_ms`; at most `limit` are looked at."""

    def give_back(self) -> int:
        """Give free pages back to the disk, a bounded number; returns how many."""


@dataclass(frozen=True)
class Kept:
    """What one round did. `more`: the next one has work already."""

    packets: int = 0
    bytes: int = 0
    pages: int = 0
    more: bool = False


class Housekeeping:
    """Retention of attachments: `days` after the final verdict (0: they stay for good)."""

    def __init__(self, stores: tuple[Prunable, ...], clock: Clock, days: int) -> None:
        self._stores, self._clock, self._days = stores, clock, days

    def round(self) -> Kept:
        """One round over every store; raises `StoreError` as they do."""
        now_ms = self._clock.now_ms()
        packets = size = pages = 0
        more = False
        for store in self._stores:
            if self._days:
                done = store.prune(now_ms - self._days * DAY_MS, now_ms, PACKETS_A_ROUND)
                packets, size = packets + done.packets, size + done.bytes
                more = more or done.looked_at >= PACKETS_A_ROUND
            given = store.give_back()
            pages, more = pages + given, more or bool(given)
        return Kept(packets, size, pages, more)
