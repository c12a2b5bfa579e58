"""Step 6, pure: what a person at the center lets one region send, until when, and why.

A person can hold a region (nothing but what is urgent and what is control goes) or lower its receipt window.
It stands beside what the center asks of all (`pipeline.center.behind`): the stricter of the two counts.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.messages import HOLD_WHY_CHARS_MAX

#: How long one ack asks a region to hold, seconds: twice the time after which it asks again.
HOLD_S = 60.0
WHO_CHARS_MAX, REASON_CHARS_MAX = 64, 300


class Hold(NamedTuple):
    """What a person has set for a region: its window (`None`: as the center gives all), for how long an ack
    asks it to hold (0: it may send), until when (`None`: until it is released), why, who, and since when."""

    window_bytes: int | None
    hold_s: float = 0.0
    until_ms: int | None = None
    reason: str = ""
    who: str = ""
    at_ms: int = 0


def in_force(hold: Hold | None, now_ms: int) -> Hold | None:
    """The hold, unless it is over."""
    return None if hold is None or (hold.until_ms is not None and now_ms >= hold.until_ms) else hold


def asked_s(hold: Hold, now_ms: int) -> float:
    """For how long the next ack asks to hold, seconds: not longer than the hold lasts."""
    if hold.until_ms is None:
        return hold.hold_s
    return min(hold.hold_s, max(0.001, (hold.until_ms - now_ms) / 1000))


def in_words(hold: Hold) -> str:
    """Why, and who says so, as the region is told; empty where neither is known."""
    words = " ".join(f"{hold.reason} ({hold.who})".split()) if hold.who else hold.reason
    shown = "".join(one for one in words if one.isprintable())
    return shown if len(shown) <= HOLD_WHY_CHARS_MAX else shown[: HOLD_WHY_CHARS_MAX - 1] + "…"
