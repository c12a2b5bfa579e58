"""Times as people type them, by this machine's zone: `14:00`, `2026-11-25`, `2026-11-25 14:00`, `+2h`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

from pipeline.errors import UsageError

_AFTER = re.compile(r"\+(\d{1,5})(min|h|d)")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})")
_UNITS_S = {"min": 60, "h": 3_600, "d": 86_400}
_FORMS = ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H.%M", "%Y-%m-%d")


def parse_when(text: str, now_ms: int, zone: tzinfo | None = None, *, ends: bool = False) -> int:
    """The time, milliseconds since 1970. A time of day is of today; with `ends` one that has passed is of
    tomorrow, and a day alone is its end. Raises `UsageError`."""
    said = text.strip()
    now = datetime.fromtimestamp(now_ms / 1000, zone).astimezone(zone)
    try:
        if (after := _AFTER.fullmatch(said)) is not None:
            return now_ms + int(after[1]) * _UNITS_S[after[2]] * 1000
        if (clock := _CLOCK.fullmatch(said)) is not None:
            at = _midnight(now, zone) + timedelta(hours=_below(clock[1], 25), minutes=_below(clock[2], 60))
            return _ms(at + timedelta(days=1) if ends and _ms(at) <= now_ms else at)
        return _day(said, zone, ends)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time: say 14:00, 2026-11-25, 2026-11-25 14:00, or +2h (+30min, +3d) from now"
        ) from None


def _day(said: str, zone: tzinfo | None, ends: bool) -> int:
    for form in _FORMS:
        try:
            at = datetime.strptime(said, form)
        except ValueError:
            continue
        local = at.replace(tzinfo=zone)
        return _ms(local + timedelta(days=1) if ends and form == "%Y-%m-%d" else local)
    raise ValueError(said)


def _midnight(now: datetime, zone: tzinfo | None) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone)


def _below(text: str, bound: int) -> int:
    if int(text) >= bound:
        raise ValueError(text)
    return int(text)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
