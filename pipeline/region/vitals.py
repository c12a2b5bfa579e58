"""Step 3: says in every `want` how the region is (`Want.health`), for people at the center: a `Voice`.

It never causes a want, and nothing waits for it. What it says was written by the watching process, which may
be gone or behind: where that is older than `STALE_S`, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.messages import DISTURBED_MAX, TOLD_MAX, Ack, Health, Want

#: What was written longer ago is not said, seconds.
STALE_S = 120.0
#: Alarms in a want: a region that has more of them is looked at anyhow.
ALARMS_MAX = 6
#: A disk that lasts longer needs no word, days.
DAYS_MAX = 999
#: Figures of more digits are rounded to so many: they change all the time, and zeros cost less.
DIGITS = 3
_CODE_CHARS_MAX = 24


class Words(Protocol):
    """What was last written of our health."""

    def read(self) -> Health | None:
        """`None` where nothing was, where it is too old, or where it does not read."""


@dataclass
class Vitals:
    """See `pipeline.region.voices.Voice`."""

    words: Words

    def news(self) -> bool:
        """See the port: it goes along with what goes anyhow."""
        return False

    def ask(self, want: Want) -> Want:
        """See the port."""
        health = self.words.read()
        return want if health is None else want.model_copy(update={"health": health})

    def hear(self, ack: Ack, now_ms: int) -> None:
        """See the port: nobody answers it."""

    def holds(self) -> str:
        """See the port: nothing waits for this."""
        return ""


def health_of(document: Mapping[str, Any], disturbed: list[str]) -> Health:
    """A region's document of `depth` in so few words that they fit every want. `disturbed`: what its public
    notice names."""
    link = document.get("link") or {}
    waiting, oldest_s = _count(document.get("waiting")), None
    if waiting and document.get("oldest_ms") is not None:
        oldest_s = (document["at_ms"] - document["oldest_ms"]) / 1000
    days, eta_s = (document.get("runway") or {}).get("full_in_days"), document.get("eta_s")
    codes = [str(one["code"]) for one in _worst_first(document.get("alarms") or ())]
    return Health(
        waiting=waiting,
        waiting_kib=_about((document.get("waiting_bytes") or 0) / 1024) if waiting else 0,
        oldest_s=_about(oldest_s),
        eta_s=None if eta_s is None or not waiting else _about(eta_s),
        dead=_count(document.get("dead")),
        full_in_days=None if days is None or days > DAYS_MAX else _count(days),
        rtt_ms=_round_trip(link.get("rtt_ms")),
        base_ms=_round_trip(link.get("base_ms")),
        goodput_bytes_s=_about(link.get("goodput_bytes_s")),
        cuts_today=_count(link.get("cuts_today")),
        alarms=[code for code in codes if 0 < len(code) <= _CODE_CHARS_MAX][:ALARMS_MAX],
        disturbed=disturbed[:DISTURBED_MAX],
    )


def _worst_first(alarms: Any) -> list[Mapping[str, Any]]:
    return sorted(alarms, key=lambda one: one.get("level") != "fail")


def _count(value: float | None) -> int:
    return 0 if value is None else max(0, min(TOLD_MAX, int(value)))


def _round_trip(value: float | None) -> int:
    """One that was measured is at least 1: 0 is none."""
    return max(1, _about(value)) if value is not None and value > 0 else 0


def _about(value: float | None) -> int:
    """To `DIGITS` digits."""
    whole = _count(value)
    step = int(10 ** max(0, len(str(whole)) - DIGITS))
    return min(TOLD_MAX, (whole + step // 2) // step * step)
