"""Inspection: how fast it moves and when it will be done, from sums by minute (seconds, bytes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.adapters.outbox_reader import OutboxReader

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


def region_rates(outbox: OutboxReader, now_ms: int, made_ms: int) -> dict[str, Any]:
    """Packets and bytes a second that came in, went out, got a receipt, a verdict, were refused."""
    packets: dict[str, dict[int, float]] = {}
    sizes: dict[str, dict[int, float]] = {}
    for one in outbox.rates(now_ms // 60_000 - 60):
        for table, n in ((packets, one.packets), (sizes, one.bytes)):
            minutes = table.setdefault(one.what, {})
            minutes[one.minute] = minutes.get(one.minute, 0) + n
    age_s = (now_ms - made_ms) / 1000
    return {
        name: {
            what: {
                "packets_s": round(per_second(packets.get(what, {}), window_s, now_ms, age_s), 4),
                "bytes_s": round(per_second(sizes.get(what, {}), window_s, now_ms, age_s), 1),
            }
            for what in ("in", "out", "receipt", "verdict", "refused")
        }
        for name, window_s in WINDOWS.items()
    }


def eta_s(waiting_bytes: int, rates: Mapping[str, Any], *, moves: bool = True) -> float | None:
    """When what waits will have its receipts, in seconds: at the last minute's rate, else the last hour's.

    By bytes: packets of one lane are a hundred times as large as those of another. `None` where nothing moves
    or not all of it may (`moves`: the link is up, and no lane is held in which something waits)."""
    if waiting_bytes == 0:
        return 0.0
    for window in WINDOWS:
        rate = float(rates[window]["receipt"]["bytes_s"])
        if rate > 0 and moves:
            return round(waiting_bytes / rate, 1)
    return None


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


def grown_per_day(outbox: OutboxReader, now_ms: int, made_ms: int) -> float:
    """Bytes a day by which the outbox grew in the last two days: what came less the attachments that went."""
    rows = outbox.rates(now_ms // 60_000 - 2 * 24 * 60)
    came = sum(one.bytes * {"in": 1, "pruned": -1}.get(one.what, 0) for one in rows)
    # An outbox made an hour ago with a first load in it does not grow by 24 such loads a day.
    return max(0, came) / max(1.0, min(2.0, (now_ms - made_ms) / 1000 / DAY_S))
