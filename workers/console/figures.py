"""Inspection, pure: figures for people, with their units, as Indonesian and English write them.

`static/live.js` does the same in the browser, to the digit: a figure that moves must not change its dress.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

NONE = "–"
DAYS_MAX = 3_650
_BYTES = ("kB", "MB", "GB", "TB")
#: language -> what separates thousands, and the fraction.
_MARKS = {"en": (",", "."), "id": (".", ",")}
#: language -> day, hour, minute, second.
_SPANS = {"en": ("d", "h", "min", "s"), "id": ("hari", "jam", "mnt", "dtk")}
_DAY_S, _HOUR_S, _MIN_S = 86_400, 3_600, 60


@dataclass(frozen=True)
class Figures:
    """How one language writes them. What is not known (`None`) is a dash."""

    language: str

    def number(self, count: Any, digits: int = 0) -> str:
        """A count with its thousands apart."""
        if count is None:
            return NONE
        thousands, point = _MARKS[self.language]
        return f"{count:,.{digits}f}".replace(",", "\0").replace(".", point).replace("\0", thousands)

    def three(self, value: float) -> str:
        """Three digits that count: `1.23`, `12.3`, `123`; nothing at all is `0`."""
        return "0" if value == 0 else self.number(value, 0 if value >= 99.95 else 1 if value >= 9.995 else 2)

    def size(self, count: Any) -> str:
        """Bytes in decimal units: `812 B`, `1.30 MB`."""
        if count is None:
            return NONE
        if abs(count) < 999.5:
            return f"{self.number(count)} B"
        for unit in _BYTES:
            count /= 1000
            if abs(count) < 999.5 or unit == _BYTES[-1]:
                return f"{self.three(count)} {unit}"
        raise AssertionError("unreachable")

    def speed(self, bytes_s: Any) -> str:
        """Bytes a second: `41.0 kB/s`."""
        return NONE if bytes_s is None else f"{self.size(bytes_s)}/{self._second}"

    def bits(self, bytes_s: Any) -> str:
        """Bytes a second as lines are sold: `64 kbit/s`."""
        if bytes_s is None:
            return NONE
        value, unit = (bytes_s * 8e-6, "Mbit") if bytes_s * 8 >= 999_500 else (bytes_s * 8e-3, "kbit")
        return f"{self.three(value)} {unit}/{self._second}"

    def rate(self, packets_s: Any) -> str:
        """Packets a second; what is slower than one in ten seconds, by the minute: `2.40/s`, `3.00/min`."""
        if packets_s is None:
            return NONE
        if 0 < packets_s < 0.1:
            return f"{self.three(packets_s * 60)}/{_SPANS[self.language][2]}"
        return f"{self.three(packets_s)}/{self._second}"

    def ms(self, value: Any) -> str:
        """Milliseconds; of few a tenth more."""
        return NONE if value is None else f"{self.number(value, 1 if 0 < abs(value) < 9.95 else 0)} ms"

    def span(self, seconds: Any) -> str:
        """A time in at most two units: `0.4 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`."""
        if seconds is None:
            return NONE
        day, hour, minute, second = _SPANS[self.language]
        if seconds < 0.05:
            return f"0 {second}"
        if seconds < 9.95:
            return f"{self.number(seconds, 1)} {second}"
        whole = int(seconds + 0.5)
        steps = ((day, _DAY_S, hour, _HOUR_S), (hour, _HOUR_S, minute, _MIN_S), (minute, _MIN_S, second, 1))
        for unit, below, smaller, part in steps:
            if whole >= below:
                rest = whole % below // part
                return f"{whole // below} {unit}" + (f" {rest} {smaller}" if rest else "")
        return f"{whole} {second}"

    def days(self, value: Any) -> str:
        """Days, such as until a disk is full; more than ten years are not counted."""
        if value is None:
            return NONE
        more, shown = ("> ", DAYS_MAX) if value > DAYS_MAX else ("", value)
        return f"{more}{self.number(shown)} {_SPANS[self.language][0]}"

    def percent(self, value: Any) -> str:
        """Of a hundred."""
        return NONE if value is None else f"{self.number(value, 1)} %"

    def when(self, at_ms: Any) -> str:
        """A wall-clock time in this machine's zone: `2026-11-24 14:02:31`."""
        return NONE if at_ms is None else _local(at_ms).strftime("%Y-%m-%d %H:%M:%S")

    def clock(self, at_ms: Any, now_ms: int) -> str:
        """The same, short: `14:02` on the day of `now_ms`, else `24/11/2026 14:02`."""
        if at_ms is None:
            return NONE
        at, now = _local(at_ms), _local(now_ms)
        return at.strftime("%H:%M" if at.date() == now.date() else "%d/%m/%Y %H:%M")

    @property
    def _second(self) -> str:
        return _SPANS[self.language][3]


def _local(at_ms: float) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000).astimezone()
