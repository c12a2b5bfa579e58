"""Inspection at the center, steps 4 to 6: what is known of each region, for `depth` and `regions`.

A region's `health` is its own word in its latest `want` (`schemas.messages.Health`), as old as that: `age_s`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.inspection.trouble import Limits, for_how_long, trouble_of
from pipeline.region.rebuild import rebuild_json

if TYPE_CHECKING:
    from pipeline.adapters.ledger_overview import RegionOverview
    from pipeline.adapters.ledger_reader import AnnouncedAmount, Counts, RegionRow
    from pipeline.center.holding import Hold
    from schemas.messages import Want


def region_json(one: RegionOverview, now_ms: int, limits: Limits, ours: str) -> dict[str, Any]:
    """All that there is of one region; `ours`: the center's version."""
    health = health_json(one.want, one.row.last_seen_ms, now_ms)
    found: dict[str, Any] = {
        **_row(one.row, now_ms),
        **_counts(one.counts),
        **announced_json([one.announced]),
        "lost": one.lost,
        "forks": one.counts.counters.get("forks", 0),
        "rebuild": _rebuild(one.want),
        "titian": "" if one.want is None else one.want.titian,
        "wire": None if one.want is None else one.want.wire,
        "health": health,
        "held": held_json(one.hold, now_ms),
    }
    found["lag_s"] = _lag_s(one, health, now_ms)
    found["silent"] = _is_silent(found, now_ms, limits.silent_s)
    found["trouble"], why = trouble_of(found, limits, ours)
    found |= why.json("trouble_why")
    return found


def announced_json(amounts: Iterable[AnnouncedAmount]) -> dict[str, Any]:
    """What is announced and not here; `announced_since_ms`: the first word of it."""
    chosen = list(amounts)
    since = [amount.since_ms for amount in chosen if amount.since_ms is not None]
    return {
        "announced": sum(amount.packets for amount in chosen),
        "announced_bytes": sum(amount.bytes for amount in chosen),
        "announced_since_ms": min(since, default=None),
    }


def health_json(want: Want | None, heard_ms: int | None, now_ms: int) -> dict[str, Any] | None:
    """The region's own words; `None` where it says none. Times are by the center's clock."""
    if want is None or want.health is None or heard_ms is None:
        return None
    said = want.health
    return {
        "waiting": said.waiting,
        "waiting_bytes": said.waiting_kib * 1024,
        "oldest_ms": max(0, heard_ms - said.oldest_s * 1000) if said.waiting else None,
        "eta_s": said.eta_s,
        "dead": said.dead,
        "full_in_days": said.full_in_days,
        "rtt_ms": said.rtt_ms or None,
        "base_ms": said.base_ms or None,
        "goodput_bytes_s": said.goodput_bytes_s,
        "cuts_today": said.cuts_today,
        "alarms": list(said.alarms),
        "disturbed": list(said.disturbed),
        "age_s": max(0.0, (now_ms - heard_ms) / 1000),
    }


def heard_text(want: Want | None, heard_ms: int | None, now_ms: int) -> str:
    """When a region was heard, and what it said then of its link and of what waits there, in a clause."""
    if heard_ms is None:
        return "its region was never heard"
    said = [f"its region was last heard {for_how_long((now_ms - heard_ms) / 1000)} ago"]
    health = health_json(want, heard_ms, now_ms)
    if health is not None:
        if health["goodput_bytes_s"] and health["waiting"]:
            said.append(f"its link carried {_size(health['goodput_bytes_s'])}/s")
        waits = f"{health['waiting']:,} packets ({_size(health['waiting_bytes'])}) waited there"
        said.append(waits if health["waiting"] else "nothing waited there")
        if health["eta_s"]:
            said.append(f"about {for_how_long(health['eta_s'])} at its rate")
    return ", ".join(said)


def _size(count: float) -> str:
    return (
        f"{count / 1e6:,.1f} MB"
        if count >= 1e6
        else f"{count / 1e3:,.0f} kB"
        if count >= 1e3
        else f"{count:.0f} B"
    )


def held_json(hold: Hold | None, now_ms: int) -> dict[str, Any] | None:
    """What a person has set for a region, if that holds now. `window_bytes` `None`: only what is urgent goes.
    `hold_s`: for how long still (`None`: until it is released)."""
    if hold is None or (hold.until_ms is not None and now_ms >= hold.until_ms):
        return None
    return {
        "window_bytes": None if hold.hold_s else hold.window_bytes,
        "hold_s": None if hold.until_ms is None else (hold.until_ms - now_ms) / 1000,
        "until_ms": hold.until_ms,
        "reason": hold.reason,
        "who": hold.who,
        "at_ms": hold.at_ms or None,
    }


def _row(row: RegionRow, now_ms: int) -> dict[str, Any]:
    heard_ms = row.last_seen_ms
    return {
        "region": row.code,
        "state": _state(row),
        "admitted_ms": row.admitted_ms,
        "revoked_ms": row.revoked_ms,
        "keys": row.keys,
        "session": row.session,
        "epoch": row.epoch,
        "highest_seq": row.highest_seq,
        "last_seen_ms": heard_ms,
        "last_seen_s": None if heard_ms is None else max(0.0, (now_ms - heard_ms) / 1000),
    }


def _state(row: RegionRow) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    if row.joined:
        return "joined"
    return "joining anew" if row.keys else "not joined yet"


def _counts(counts: Counts) -> dict[str, Any]:
    """The packets of one region as they are now."""
    return {
        "received": counts.received,
        "waiting": counts.incomplete,
        "unverdicted": counts.unverdicted,
        "dead": counts.refused,
        "records": counts.records,
        "quarantined": counts.quarantined,
    }


def _rebuild(want: Want | None) -> dict[str, Any] | None:
    """How its rebuild stands, as its latest word says; `None` where there is none."""
    return None if want is None else rebuild_json(want.back, want.clock_ms, None, None, want.fresh)


def _lag_s(one: RegionOverview, health: Mapping[str, Any] | None, now_ms: int) -> float | None:
    """The age of its oldest packet without a verdict, wherever that is known: here, announced, or there."""
    told = None if health is None else health["oldest_ms"]
    found = (told, one.announced.since_ms, one.counts.oldest_unverdicted_ms)
    oldest = min((ms for ms in found if ms is not None), default=None)
    return None if oldest is None else max(0.0, (now_ms - oldest) / 1000)


def _is_silent(region: Mapping[str, Any], now_ms: int, silent_s: float) -> bool:
    """Whether a region that has joined was not heard for so long; one that never was: since it was let in."""
    since_ms = region["last_seen_ms"] if region["last_seen_ms"] is not None else region["admitted_ms"]
    return bool(region["state"] == "joined" and now_ms - since_ms > silent_s * 1000)
