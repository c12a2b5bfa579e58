"""Inspection, pure: how fast it moves, from sums by minute (seconds, bytes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.adapters.outbox_reader import Moved, Rate

#: The windows over which rates are measured, seconds.
WINDOWS = {"minute": 60, "hour": 3_600}
DAY_S = 86_400


def per_second(minutes: Mapping[int, float], window_s: int, now_ms: int, age_s: float) -> float:
    """How much a second over the last `window_s`, from sums by minute of the wall clock.

    Of the minute that the window's beginning cuts, the part inside it counts in proportion. `age_s`: for how
    long there has been anything to count.
    """
    first_ms = now_ms - window_s * 1000
    cut = first_ms // 60_000
    whole = sum(n for minute, n in minutes.items() if cut < minute <= now_ms // 60_000)
    part = minutes.get(cut, 0) * (1 - first_ms % 60_000 / 60_000)
    return (whole + part) / max(1.0, min(float(window_s), age_s))


#: What moves, packets that: were enqueued, went out, got a receipt, a verdict, were refused.
WHATS = ("in", "out", "receipt", "verdict", "refused")
Sums = dict[str, tuple[dict[int, float], dict[int, float]]]


def summed(rows: Iterable[Rate]) -> Sums:
    """By what moved: packets by minute, bytes by minute."""
    sums: Sums = {}
    for one in rows:
        packets, sizes = sums.setdefault(one.what, ({}, {}))
        packets[one.minute] = packets.get(one.minute, 0) + one.packets
        sizes[one.minute] = sizes.get(one.minute, 0) + one.bytes
    return sums


def rates_json(sums: Sums, now_ms: int, made_ms: int, whats: Sequence[str] = WHATS) -> dict[str, Any]:
    """Packets and bytes a second over each window of what moved."""
    age_s = (now_ms - made_ms) / 1000
    return {
        name: {
            what: {
                "packets_s": round(per_second(sums.get(what, _NONE)[0], window_s, now_ms, age_s), 4),
                "bytes_s": round(per_second(sums.get(what, _NONE)[1], window_s, now_ms, age_s), 1),
            }
            for what in whats
        }
        for name, window_s in WINDOWS.items()
    }


_NONE: tuple[dict[int, float], dict[int, float]] = ({}, {})


def runway(free_bytes: int, low_water_bytes: int, grown_bytes_per_day: float) -> dict[str, Any]:
    """For how long the disk lasts at the rate at which packets came in the last two days."""
    room = max(0, free_bytes - low_water_bytes)
    days = room / grown_bytes_per_day if grown_bytes_per_day > 0 else None
    return {
        "free_bytes": free_bytes,
        "low_water_bytes": low_water_bytes,
        "grows_bytes_day": round(grown_bytes_per_day),
        "full_in_days": None if days is None else round(days, 1),
    }


def grown_per_day(moved: Iterable[Moved], age_days: float) -> float:
    """Bytes a day by which the outbox grew in the last two days: what came less the attachments that went."""
    came = sum(one.bytes * {"in": 1, "pruned": -1}.get(one.what, 0) for one in moved)
    # An outbox made an hour ago with a first load in it does not grow by 24 such loads a day.
    return max(0, came) / max(1.0, min(2.0, age_days))
