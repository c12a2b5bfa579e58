"""Inspection, pure: until when a disturbance is expected to last, and what is said of it.

A said time is rounded up to a step that grows with its distance, and stands until it has passed or is off by
more than a step: whoever reads the page twice reads the same. Times in milliseconds since 1970.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
#: (up to so far away, the step): beyond the last only the day is said.
STEPS_MS = ((HOUR_MS, 15 * MINUTE_MS), (6 * HOUR_MS, 30 * MINUTE_MS))
#: A said time stands for so long at least, unless it passes.
STANDS_MS = 10 * MINUTE_MS
#: Where nothing is known the next look is on a half hour, so far away at least.
LOOK_STEP_MS, LOOK_AWAY_MS = 30 * MINUTE_MS, 10 * MINUTE_MS
#: From so many longer cuts on it is said how long this one may last.
CUTS_MIN = 5


class Past(NamedTuple):
    """How long earlier cuts of the link lasted, milliseconds, and the usual goodput (0: not known)."""

    cuts_ms: tuple[int, ...] = ()
    goodput_bytes_s: float = 0.0


@dataclass(frozen=True)
class Until:
    """What is said: `at_ms` (`None`: not known yet, the next look is at `look_ms`), to `step_ms` (0: exactly,
    a person said so; a day: "today"). `said_ms`: since when that is said."""

    at_ms: int | None
    step_ms: int
    said_ms: int
    look_ms: int


def cuts_ms(turns: Iterable[tuple[int, str]]) -> tuple[int, ...]:
    """How long each whole cut lasted, from (at_ms, `link up` or `link down`), oldest first."""
    found, down_ms = [], None
    for at_ms, what in turns:
        if what == "link down":
            down_ms = at_ms if down_ms is None else down_ms
        elif what == "link up" and down_ms is not None:
            if at_ms > down_ms:
                found.append(at_ms - down_ms)
            down_ms = None
    return tuple(found)


def usual_goodput_bytes_s(hours: Sequence[float]) -> float:
    """The median of those hours in which anything moved; 0 where none did."""
    moved = [one for one in hours if one > 0]
    return statistics.median(moved) if moved else 0.0


def link_until_ms(since_ms: int | None, now_ms: int, past: Past, waiting_bytes: int) -> int | None:
    """When a link that is down since then should be back and have sent what waits: as long as those earlier
    cuts that lasted longer than this one has already, in the middle. `None`: too few to say."""
    if since_ms is None:
        return None
    longer = [one for one in past.cuts_ms if one > now_ms - since_ms]
    if len(longer) < CUTS_MIN:
        return None
    drain_ms = waiting_bytes / past.goodput_bytes_s * 1000 if past.goodput_bytes_s > 0 else 0.0
    return since_ms + int(statistics.median(longer) + drain_ms)


def say(
    before: Until | None, expected_ms: int | None, now_ms: int, zone: tzinfo | None, *, exact: bool = False
) -> Until:
    """What is said now of a disturbance expected to end then, after `before` was said. Never a time that has
    passed. `exact`: a person said the time, it is said as it is."""
    if exact and expected_ms is not None and expected_ms > now_ms:
        if before is not None and before.step_ms == 0 and before.at_ms == expected_ms:
            return before
        return Until(expected_ms, 0, now_ms, _next_look_ms(before, now_ms, zone))
    stands = before if before is not None and (before.at_ms or 0) > now_ms and before.step_ms else None
    if expected_ms is None:
        look_ms = _next_look_ms(before, now_ms, zone)
        if before is not None and before.at_ms is None and before.look_ms == look_ms:
            return before
        return stands or Until(None, 0, now_ms, look_ms)
    expected_ms = max(expected_ms, now_ms + 1)
    step_ms = next((step for far, step in STEPS_MS if expected_ms - now_ms <= far), DAY_MS)
    if stands is not None and stands.at_ms is not None:
        off_ms, stood_ms = abs(expected_ms - stands.at_ms), now_ms - stands.said_ms
        if off_ms <= step_ms or 0 <= stood_ms < STANDS_MS:
            return stands
    at_ms = round_up_ms(expected_ms, step_ms, zone)
    return Until(at_ms, step_ms, now_ms, _next_look_ms(before, now_ms, zone))


def round_up_ms(at_ms: int, step_ms: int, zone: tzinfo | None) -> int:
    """The next full step by the wall clocks of that zone (`None`: this machine's); of a day: its midnight."""
    local = datetime.fromtimestamp(at_ms / 1000, zone).astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone)
    if step_ms >= DAY_MS:
        return _ms(midnight + timedelta(days=1))
    offset_ms = int((local.utcoffset() or timedelta()).total_seconds() * 1000)
    return -(-(at_ms + offset_ms) // step_ms) * step_ms - offset_ms


def _next_look_ms(before: Until | None, now_ms: int, zone: tzinfo | None) -> int:
    """Stays until it has passed (or the clock was set far back)."""
    if before is not None and now_ms < before.look_ms <= now_ms + LOOK_STEP_MS + LOOK_AWAY_MS:
        return before.look_ms
    return round_up_ms(now_ms + LOOK_AWAY_MS, LOOK_STEP_MS, zone)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
