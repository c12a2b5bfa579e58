"""Step 3, pure: which lane may go now, and how fast: pauses, caps, and the timetable that they make.

A cap holds for one lane or for all, all day or between two times of the office's clock (over midnight, if the
second is earlier); 0 closes. Of several that hold, the lowest counts. Wants and joins are no lane: they are
never paused nor capped, so that a paused region still hears the center.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.said import NOTHING, Said, say
from schemas.lanes import Lane

DAY_MINUTES = 24 * 60
UNBOUND = float("inf")
#: What a capped lane may save up while it is idle, seconds of its rate.
SAVED_S = 1.0


@dataclass(frozen=True)
class Pause:
    """`lane` (`None`: all) stands still until it is resumed. `at_ms`: since when."""

    lane: Lane | None
    reason: str
    who: str
    at_ms: int


@dataclass(frozen=True)
class Cap:
    """`lane` (`None`: each) goes at most at `bytes_s` from minute `start` of the day until `stop`; equal: all
    day."""

    lane: Lane | None
    bytes_s: float
    start: int = 0
    stop: int = 0
    reason: str = ""
    who: str = ""

    def holds(self, minute: int) -> bool:
        """Whether it holds at that minute of the day."""
        if self.start == self.stop:
            return True
        if self.start < self.stop:
            return self.start <= minute < self.stop
        return minute >= self.start or minute < self.stop


@dataclass(frozen=True)
class Steering:
    """Everything that people have asked for."""

    pauses: tuple[Pause, ...] = ()
    caps: tuple[Cap, ...] = ()

    def pause_of(self, lane: Lane) -> Pause | None:
        """The pause that keeps `lane`, if any."""
        return next((one for one in self.pauses if one.lane in (None, lane)), None)

    def rate_bytes_s(self, lane: Lane, minute: int) -> float:
        """How fast `lane` may go at that minute of the day; 0: not at all."""
        if self.pause_of(lane) is not None:
            return 0.0
        return min((cap.bytes_s for cap in self._caps(lane) if cap.holds(minute)), default=UNBOUND)

    def opens_in(self, lane: Lane, minute: int) -> int | None:
        """Minutes until the timetable opens `lane`; `None` where it does not by itself."""
        if self.pause_of(lane) is not None:
            return None
        ahead = range(1, DAY_MINUTES + 1)
        return next((n for n in ahead if self.rate_bytes_s(lane, (minute + n) % DAY_MINUTES) > 0), None)

    def why(self, lane: Lane, minute: int) -> str:
        """Why `lane` does not go, or not faster, in an English clause; empty where nothing holds it."""
        return self.said(lane, minute).en

    def said(self, lane: Lane, minute: int) -> Said:
        """The same in both languages."""
        pause = self.pause_of(lane)
        if pause is not None:
            why = f" ({pause.reason})" if pause.reason else ""
            every = pause.lane is None
            what = Said("every lane", "semua lajur") if every else say("lane {x}", "lajur {x}", x=lane.label)
            return say(
                "{what} is paused by {who}{why}",
                "{what} dijeda oleh {who}{why}",
                what=what,
                who=pause.who,
                why=why,
            )
        rate = self.rate_bytes_s(lane, minute)
        if rate == UNBOUND:
            return NOTHING
        if rate > 0:
            return say(
                "lane {x} is capped to {n:,.0f} B/s",
                "lajur {x} dibatasi {n:,.0f} B/dtk",
                x=lane.label,
                n=rate,
            )
        opens = self.opens_in(lane, minute)
        at = "" if opens is None else clock_text((minute + opens) % DAY_MINUTES)
        when = say(" until {at}", " sampai pukul {at}", at=at) if at else NOTHING
        return say(
            "lane {x} is closed{when} by the timetable",
            "lajur {x} ditutup{when} oleh jadwal",
            x=lane.label,
            when=when,
        )

    def _caps(self, lane: Lane) -> Iterable[Cap]:
        return (cap for cap in self.caps if cap.lane in (None, lane))


@dataclass
class Budgets:
    """What each capped lane may still send: a token bucket that may be overdrawn by one frame."""

    _left: dict[Lane, float] = field(default_factory=dict)
    _at_s: dict[Lane, float] = field(default_factory=dict)

    def may(self, lane: Lane, rate_bytes_s: float, now_s: float) -> bool:
        """Whether `lane` may send a frame now under that cap."""
        if rate_bytes_s == UNBOUND:
            self._left.pop(lane, None)
            return True
        if rate_bytes_s <= 0:
            return False
        passed_s = max(0.0, now_s - self._at_s.get(lane, now_s))
        self._at_s[lane] = now_s
        saved = self._left.get(lane, 0.0) + passed_s * rate_bytes_s
        self._left[lane] = min(saved, SAVED_S * rate_bytes_s)
        return self._left[lane] >= 0

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """`lane` sent a frame."""
        if lane in self._left:
            self._left[lane] -= frame_bytes


def clock_text(minute: int) -> str:
    """A minute of the day as `22:00`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def parse_hours(text: str) -> tuple[int, int]:
    """`22:00-05:00`, `22-5` or `all day` as minutes of the day; ValueError that says how to write it."""
    if text.strip().lower() in ("", "all day"):
        return 0, 0
    first, dash, last = text.partition("-")
    try:
        minutes = [_minute(one) for one in (first, last)]
    except ValueError:
        minutes = []
    if not dash or len(minutes) != 2 or minutes[0] == minutes[1]:
        raise ValueError(f"'{text}' are no hours: write 22:00-05:00, or leave them out for all day")
    return minutes[0], minutes[1]


def _minute(text: str) -> int:
    hour, _, minute = text.strip().partition(":")
    value = int(hour) * 60 + int(minute or 0)
    if not (0 <= int(hour) <= 24 and 0 <= int(minute or 0) < 60 and value <= DAY_MINUTES):
        raise ValueError(text)
    return value % DAY_MINUTES
