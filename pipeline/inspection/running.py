"""Inspection, step 3: what the region's worker last said of the link (`run/push.json`, once a second)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: What was said longer ago than this is not how it is now, seconds.
FRESH_S = 5.0
#: Values of the file that are shown as they are.
_SHOWN = (
    "down_for_s",
    "waits",
    "held_for_s",
    "hold_why",
    "session",
    "superseded",
    "refusal",
    "denied",
    "in_flight_bytes",
    "window_bytes",
    "clock_off_ms",
)


@dataclass(frozen=True)
class LinkState:
    """`running`: whether the side's `titian up` runs. `said`: the file's contents (empty: there is none).
    `age_s`: how long ago it was said."""

    running: bool
    said: dict[str, Any] = field(default_factory=dict)
    age_s: float | None = None

    @property
    def fresh(self) -> bool:
        """Whether what was said holds now."""
        return self.running and self.age_s is not None and self.age_s <= FRESH_S

    @property
    def state(self) -> str:
        """`up`, `down`, `not running`, or `unknown` (it runs and has said nothing lately)."""
        if not self.running:
            return "not running"
        return str(self.said.get("state", "unknown")) if self.fresh else "unknown"

    def value(self, name: str) -> Any:
        """What the worker said of `name`, if that holds now."""
        return self.said.get(name) if self.fresh else None

    def to_json(self) -> dict[str, Any]:
        """`state`, `age_s`, and what was said; null where it does not hold now."""
        return {"state": self.state, "age_s": self.age_s} | {name: self.value(name) for name in _SHOWN}


def link_state(running: bool, said: dict[str, Any], now_ms: int) -> LinkState:
    """From the file's contents; a time in the future (a clock that was set back) counts as now."""
    at_ms = said.get("at_ms")
    age_s = max(0.0, (now_ms - at_ms) / 1000) if isinstance(at_ms, int) else None
    return LinkState(running, said, None if age_s is None else round(age_s, 1))
