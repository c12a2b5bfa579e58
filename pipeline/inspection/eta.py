"""Inspection, pure: when what waits in each lane will be at the center, as far as that can be said honestly.

Speed is what the lane was measured to do: the bytes of its receipts over its newest stretch of movement, not
a guess from the line's speed, since what compresses well goes ten times as fast. Lanes go in their order
(urgent, control, record, biometric); one that stands behind others waits for them, one that the timetable
closes until it opens. Seconds, bytes; minutes are those of the wall clock since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: So many minutes without a receipt end a stretch of movement; it is looked at so far back, minutes.
IDLE_MIN, STRETCH_MIN = 3, 15
#: What came, or opened, so lately is judged by how fast its lane went before, seconds.
JUST_S = 120.0


class LaneLoad(NamedTuple):
    """One lane. `left_bytes`: without a receipt. `pace_bytes_s`: how fast it goes now (0: not at all), `past`
    how fast when it last did (0: not known). `closed`: nothing of it may go, until `opens_ms` if a timetable
    says so. `since_ms`: since when its oldest waits. A cap bounds bytes on the link, and these are stored
    bytes: it is not counted with."""

    label: str
    left_bytes: int
    pace_bytes_s: float
    past_bytes_s: float
    closed: bool = False
    opens_ms: int | None = None
    since_ms: int | None = None


def pace(minutes: Mapping[int, float], now_ms: int, since_ms: int) -> float:
    """Bytes a second over the newest stretch of minutes in which something moved; 0 if nothing has lately.
    `since_ms`: before that nothing could (the link came up, the outbox was made)."""
    newest = now_ms // 60_000
    while newest > now_ms // 60_000 - IDLE_MIN and not minutes.get(newest):
        newest -= 1
    if not minutes.get(newest):
        return 0.0
    first, idle = newest, 0
    for at in range(newest - 1, max(newest - STRETCH_MIN, since_ms // 60_000 - 1), -1):
        idle = 0 if minutes.get(at) else idle + 1
        if idle >= IDLE_MIN:
            break
        if not idle:
            first = at
    moved = sum(minutes.get(at, 0) for at in range(first, newest + 1))
    began_ms = max(first * 60_000, since_ms)
    return moved / max(1.0, (min(now_ms, (newest + IDLE_MIN) * 60_000) - began_ms) / 1000)


def lane_etas(loads: Sequence[LaneLoad], now_ms: int, *, flows: bool, up_since_ms: int | None) -> Etas:
    """Seconds until each lane's packets have their receipts, by label, in the order of `loads`; `None` where
    no time can be given. `flows`: the link is up and the center takes what comes."""
    etas: Etas = {}
    for load in loads:
        ahead = [etas[one.label] for one in loads[: len(etas)] if one.left_bytes and not one.closed]
        etas[load.label] = _eta(load, ahead, now_ms, up_since_ms) if flows or not load.left_bytes else None
    return etas


Etas = dict[str, float | None]


def _eta(load: LaneLoad, ahead: Sequence[float | None], now_ms: int, up_since_ms: int | None) -> float | None:
    if not load.left_bytes:
        return 0.0
    if load.closed:
        if load.opens_ms is None or not load.past_bytes_s:
            return None
        return round(max(0, load.opens_ms - now_ms) / 1000 + load.left_bytes / load.past_bytes_s, 1)
    if load.pace_bytes_s:
        return round(load.left_bytes / load.pace_bytes_s, 1)
    if not load.past_bytes_s or None in ahead:
        return None
    first_s = max((one for one in ahead if one is not None), default=0.0)
    if not first_s and not _just(load, now_ms, up_since_ms):
        return None  # nothing goes before it, and yet it does not move
    return round(first_s + load.left_bytes / load.past_bytes_s, 1)


def _just(load: LaneLoad, now_ms: int, up_since_ms: int | None) -> bool:
    """Whether it could not have moved for longer than a moment."""
    began = max((ms for ms in (load.since_ms, up_since_ms) if ms is not None), default=0)
    return now_ms - began < JUST_S * 1000


def together(loads: Sequence[LaneLoad], etas: Etas) -> float | None:
    """When all of it is there; `None` if that cannot be said of a lane in which something waits."""
    found = [etas[load.label] for load in loads if load.left_bytes]
    known = [one for one in found if one is not None]
    return max(known, default=0.0) if len(known) == len(found) else None
