"""Step 3, pure: which packets the center should hear of before they come (rule 5), and how often it is told.

What leaves within seconds is not announced: it is there sooner than its announcement would pay. What counts
is the lane's own measured rate: it holds its share of the link, a cap, and the center's pace all at once. A
lane of which nothing has left for a while *stands*, whatever the reason (paused, capped to nothing, closed by
the timetable, held by the center): all of it is announced.

An announcement is about 50 bytes, most of it digest. Beside a packet with biometrics that is nothing; beside
a record of 600 bytes that shrinks to 80 it is half of the work. So small packets are announced only where
their lane stands for longer, or where they would wait for ten minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.announcement import Announcement
from schemas.lanes import Lane
from schemas.ranges import Ranges

#: Packets of one frame: some 50 bytes each and about 170 for the frame, so at most 4 KiB.
FRAME_PACKETS = 75
#: Of what leaves, announcements take at most this share.
SHARE_MAX = 0.05
#: Packets of at least this size on average (bytes) are large: announced if they will not leave within
#: `LARGE_S`; small ones if they will not within `SMALL_S`, or if their lane stands for `SMALL_STANDS_S`.
LARGE_BYTES = 4096
LARGE_S, SMALL_S, SMALL_STANDS_S = 10.0, 600.0, 30.0
#: Rates are measured over one to two of these, seconds.
SPAN_S = 10.0
#: What left just before counts no longer than this, seconds.
REST_S_MAX = 60.0


class Backlog(Protocol):
    """What waits in a lane: packets, and bytes that are not yet claimed."""

    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class ToldStore(Protocol):
    """The outbox as announcing sees it. What was told is kept there, over a restart. Every method is one
    transaction."""

    def backlog(self) -> Mapping[Lane, Backlog]:
        """What waits in each lane (from counters)."""

    def untold(self, lane: Lane, skip: int, limit: int) -> Sequence[tuple[int, Announcement]]:
        """At most `limit` packets that wait in `lane` behind the first `skip` and were not told, rising."""

    def tell(self, lane: Lane, seqs: Sequence[int], now_ms: int) -> None:
        """These are being told."""

    def restate(self, start: int, stop: int, known: Ranges, keep: Ranges) -> tuple[int, int]:
        """Of seqs `[start, stop)` the ledger knows exactly `known`, and it has not been asked about `keep`:
        returns how many are no longer told, and how many are told without our knowing."""


@dataclass(frozen=True)
class LaneStand:
    """How a lane stands. `rate_bytes_s`: stored bytes that left lately; `still_s`: for how long nothing has
    left although something waited."""

    packets: int
    bytes: int
    rate_bytes_s: float
    still_s: float

    @property
    def mean_bytes(self) -> float:
        """Of a packet that waits."""
        return self.bytes / self.packets if self.packets else 0.0


def skip_of(lane: LaneStand) -> int | None:
    """How many packets at the lane's front leave soon enough; `None` where nothing is to be announced."""
    if not lane.packets:
        return None
    large = lane.mean_bytes >= LARGE_BYTES
    if lane.still_s >= (LARGE_S if large else SMALL_STANDS_S):
        return 0
    if lane.rate_bytes_s <= 0:
        return None  # it has only just begun to wait: nobody can say
    soon_bytes = lane.rate_bytes_s * (LARGE_S if large else SMALL_S)
    skip = math.ceil(soon_bytes / max(1.0, lane.mean_bytes))
    return skip if skip < lane.packets else None


def to_tell(lanes: Mapping[Lane, LaneStand]) -> Iterator[tuple[Lane, int]]:
    """The lanes of which something is to be announced, those with the largest packets first, and how many
    packets at the front of each are left out."""
    for lane in sorted(lanes, key=lambda one: -lanes[one].mean_bytes):
        skip = skip_of(lanes[lane])
        if skip is not None:
            yield lane, skip


def rest_s(frame_bytes: int, rate_bytes_s: float) -> float:
    """How long after a frame of announcements the next may go, on a link that carries `rate_bytes_s` now."""
    return min(REST_S_MAX, frame_bytes / (SHARE_MAX * rate_bytes_s)) if rate_bytes_s > 0 else 0.0


@dataclass
class Flow:
    """What left, by time: enough to say how much a second."""

    _start_s: float | None = None
    _now: int = 0
    _before: int | None = None

    def add(self, amount: int, now_s: float) -> None:
        """So much left."""
        self._turn(now_s)
        self._now += amount

    def rate(self, now_s: float) -> float:
        """How much a second, lately."""
        self._turn(now_s)
        assert self._start_s is not None
        passed_s = now_s - self._start_s
        if self._before is None:
            return self._now / max(1.0, passed_s)
        return (self._before + self._now) / (SPAN_S + passed_s)

    def _turn(self, now_s: float) -> None:
        if self._start_s is None:
            self._start_s = now_s
        spans = int((now_s - self._start_s) // SPAN_S)
        if spans > 0:
            self._before = self._now if spans == 1 else 0
            self._now = 0
            self._start_s += spans * SPAN_S
