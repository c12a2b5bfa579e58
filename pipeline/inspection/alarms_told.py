"""Inspection, pure: which alarms stand since when, and what of them is to be told to whom.

A *period* of an alarm begins when it is seen first and is over when it has not been seen for `settle_s`: what
goes on and off faster is one period. A period that has lasted for `settle_s` is told to each sink: `raised`,
`again` after each `repeat_s` while it lasts, and `over` at its end; a shorter one never. A sink that fails is
asked again later, at growing distance, in order: who could not be reached while it lasted hears both words.
Time is an argument, milliseconds of the wall clock.

The state is what is kept over restarts (watch.db, `alarms`). It is noted that something was told after it was
told, so that a kill in between tells it once more, and never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from pipeline.settings import AlarmsPart

VERSION = 1
#: A sink that failed is asked again after so long, twice that, and so on, at most; milliseconds.
RETRY_MS, RETRY_MS_MAX = 10_000, 15 * 60_000
#: So many periods are kept; of more, those that are over longest go first, told or not.
PERIODS_MAX = 200


@dataclass
class Sink:
    """How far one sink is with one period. `told_ms`: when it heard of it last."""

    raised: bool = False
    over: bool = False
    told_ms: int = 0
    failed: int = 0
    next_ms: int = 0


@dataclass
class Period:
    """One alarm, seen from `since_ms` on. `off_ms`: not seen since (`None`: it is). `over`: that for long.
    `stood_ms`: since when it stood by the first document that knew (`None`: none did)."""

    code: str
    text: str
    do: str
    level: str
    since_ms: int
    off_ms: int | None = None
    raised: bool = False
    over: bool = False
    sinks: dict[str, Sink] = field(default_factory=dict)
    stood_ms: int | None = None


class Tell(NamedTuple):
    """One thing to tell one sink: `event` is `raised`, `again` or `over`, about the period of `code` that
    began at `since_ms` (and ended at `over_ms`)."""

    sink: str
    event: str
    code: str
    text: str
    do: str
    level: str
    since_ms: int
    over_ms: int | None
    stood_ms: int | None = None

    @property
    def stands_since_ms(self) -> int:
        """Since when it stands, as `titian alarms` says it; else since when it was seen."""
        return self.since_ms if self.stood_ms is None else self.stood_ms

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What makes it the same thing to tell."""
        return self.sink, self.code, self.since_ms, self.event


class Told:
    """The state. `saw` each document's alarms; tell what `due` says; `noted` what came of it."""

    def __init__(self, state: Any, limits: AlarmsPart, sinks: Sequence[str]) -> None:
        self._settle_ms, self._repeat_ms = int(limits.settle_s * 1000), int(limits.repeat_s * 1000)
        self._sinks = tuple(sinks)
        self.periods = _read(state)

    def to_json(self) -> dict[str, Any]:
        """What is kept."""
        return {"version": VERSION, "periods": [asdict(one) for one in self.periods]}

    def saw(self, alarms: Iterable[Mapping[str, Any]], now_ms: int) -> bool:
        """The alarms that stand now; whether there is anything new to keep."""
        seen = {str(one["code"]): one for one in alarms}
        changed = self._clock_back(now_ms)
        for period in self.periods:
            changed |= self._look(period, seen.get(period.code), now_ms)
        open_codes = {one.code for one in self.periods if not one.over}
        for code, one in seen.items():
            if code not in open_codes:
                self.periods.append(
                    Period(code, one["text"], one["do"], one["level"], now_ms, stood_ms=one.get("since_ms"))
                )
                changed = True
        return self._forget() or changed

    def due(self, now_ms: int) -> list[Tell]:
        """What is to be told now, oldest first; at most one thing to each sink about each code."""
        found: dict[tuple[str, str], Tell] = {}
        for period in self.periods:
            for name in self._sinks if period.raised else ():
                event = self._event(period, period.sinks.get(name, Sink()), now_ms)
                if event and (name, period.code) not in found:
                    found[name, period.code] = _tell(name, event, period)
        waits = {
            (name, one.code)
            for one in self.periods
            for name, sink in one.sinks.items()
            if sink.failed and sink.next_ms > now_ms
        }
        return [tell for key, tell in found.items() if key not in waits]

    def noted(self, tell: Tell, told: bool, now_ms: int) -> None:
        """What came of telling it."""
        for period in self.periods:
            if (period.code, period.since_ms) != (tell.code, tell.since_ms):
                continue
            sink = period.sinks.setdefault(tell.sink, Sink())
            if not told:
                sink.failed += 1
                sink.next_ms = now_ms + min(RETRY_MS * 2 ** min(sink.failed - 1, 20), RETRY_MS_MAX)
                continue
            sink.failed, sink.next_ms, sink.told_ms = 0, 0, now_ms
            sink.raised, sink.over = True, sink.over or tell.event == "over"
        self._forget()

    def _look(self, period: Period, seen: Mapping[str, Any] | None, now_ms: int) -> bool:
        if period.over:
            return False
        before = (period.off_ms, period.raised)
        if seen is None and period.off_ms is None:
            period.off_ms = now_ms
        if period.off_ms is not None and now_ms - period.off_ms >= self._settle_ms:
            period.over = True  # also where nobody looked meanwhile: what is seen now began now
        elif seen is not None:
            period.off_ms = None
            period.text, period.do, period.level = str(seen["text"]), str(seen["do"]), str(seen["level"])
            period.raised = period.raised or now_ms - period.since_ms >= self._settle_ms
        return period.over or before != (period.off_ms, period.raised)

    def _event(self, period: Period, sink: Sink, now_ms: int) -> str:
        if not sink.raised:
            return "raised"
        if period.over:
            return "" if sink.over else "over"
        again = self._repeat_ms and period.off_ms is None and now_ms - sink.told_ms >= self._repeat_ms
        return "again" if again else ""

    def _clock_back(self, now_ms: int) -> bool:
        """A clock that was set back: what was noted of a time to come counts as now."""
        changed = False
        for period in self.periods:
            if max(period.since_ms, period.off_ms or 0) > now_ms:
                period.since_ms = min(period.since_ms, now_ms)
                period.off_ms = None if period.off_ms is None else min(period.off_ms, now_ms)
                changed = True
            for sink in period.sinks.values():
                sink.told_ms = min(sink.told_ms, now_ms)
                sink.next_ms = min(sink.next_ms, now_ms + RETRY_MS_MAX)
        return changed

    def _forget(self) -> bool:
        """Periods that are over, and of which everybody who should has heard, go."""
        count = len(self.periods)
        self.periods = [one for one in self.periods if not (one.over and self._everybody_knows(one))]
        for one in [one for one in self.periods if one.over][: max(0, len(self.periods) - PERIODS_MAX)]:
            self.periods.remove(one)
        return len(self.periods) != count

    def _everybody_knows(self, period: Period) -> bool:
        return not period.raised or all(period.sinks.get(name, Sink()).over for name in self._sinks)


def _tell(sink: str, event: str, period: Period) -> Tell:
    over_ms = period.off_ms if event == "over" else None
    what = (period.code, period.text, period.do, period.level, period.since_ms)
    return Tell(sink, event, *what, over_ms, period.stood_ms)


def _read(state: Any) -> list[Period]:
    """What was kept; of a file that says something else, nothing."""
    try:
        return [
            Period(**{**one, "sinks": {name: Sink(**sink) for name, sink in one["sinks"].items()}})
            for one in state["periods"]
        ]
    except (TypeError, KeyError, AttributeError):
        return []
