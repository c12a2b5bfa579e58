"""Inspection, steps 4 and 5: how much waits at the center and for whom, by region, and how fast it moves.

Everything comes from counts that the ledger keeps (docs/cli.md has the names).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.center.behind import WHY_BEHIND
from pipeline.inspection.alarms import center_alarms
from pipeline.inspection.depth import VERSION
from pipeline.inspection.rates import WINDOWS, per_second
from pipeline.inspection.regions import announced_json, region_json
from pipeline.inspection.trouble import Limits
from pipeline.said import heard
from schemas.lanes import Lane

if TYPE_CHECKING:  # a region does not load the center's database library
    from pipeline.adapters.ledger_reader import Counts, LedgerReader


def center_depth(
    ledger: LedgerReader,
    *,
    running: bool,
    now_ms: int,
    only: str | None = None,
    restraint: Mapping[str, Any] | None = None,
    limits: Limits = Limits(),  # noqa: B008  (a frozen value)
    titian: str = "",
) -> dict[str, Any]:
    """The whole document of a center, or of one of its regions (`only`). `restraint`: what it lets each
    region send at most, where `deliver` has said that lately; `titian`: the center's version."""
    over, minutes = ledger.all_regions.overview(), ledger.all_regions.recent(now_ms // 60_000, only)
    chosen = [one for code, one in over.regions.items() if only in (None, code)]
    counts = over.all if only is None else chosen[0].counts if chosen else ledger.counts(only)
    regions = [region_json(one, now_ms, limits, titian) for one in chosen]
    found: dict[str, Any] = {
        "version": VERSION,
        "titian": titian,
        "side": "center",
        "at_ms": now_ms,
        "ages": {"counts": 0.0},
        **_counts(counts),
        "rates": _center_rates(minutes, now_ms, over.began_ms),
        **announced_json(one.announced for one in chosen),
        "lost": sum(one.lost for one in chosen),
        "running": running,
        "restraint": restraint_json(restraint),
        **_of_all(regions, restraint),
        "regions": regions,
    }
    found["alarms"] = center_alarms(found)
    return found


def restraint_json(restraint: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The same, with why in Indonesian too (`why_id`)."""
    if restraint is None:
        return None
    return {**restraint, "why_id": heard(str(restraint.get("why") or ""), WHY_BEHIND).id}


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "waiting": counts.incomplete,
        "unverdicted": counts.unverdicted,
        "dead": counts.refused,
        "received": counts.received,
        "records": counts.records,
        "quarantined": counts.quarantined,
        "oldest_unverdicted_ms": counts.oldest_unverdicted_ms,
        "by_status": counts.by_status,
        "lanes": {lane.label: {"received": counts.by_lane.get(lane.label, 0)} for lane in Lane},
        "counters": {"bytes_twice": 0} | counts.counters,
    }


def _of_all(regions: Sequence[Mapping[str, Any]], restraint: Mapping[str, Any] | None) -> dict[str, Any]:
    """Which versions run, how many regions are silent, and how many are held: by a person, or, where the
    center asks all of them to hold, every one that has joined."""
    versions = Counter(one["titian"] for one in regions if one["state"] == "joined" and one["titian"])
    all_held = bool(restraint and restraint["hold_s"])
    held = [one for one in regions if one["held"] or (all_held and one["state"] == "joined")]
    return {
        "versions": dict(sorted(versions.items())),
        "silent": sum(bool(one["silent"]) for one in regions),
        "held": len(held),
    }


def _center_rates(
    minutes: Mapping[str, Mapping[int, float]], now_ms: int, began_ms: int | None
) -> dict[str, Any]:
    age_s = 0.0 if began_ms is None else (now_ms - began_ms) / 1000
    return {
        name: {
            "received": {"packets_s": round(per_second(minutes["received"], window_s, now_ms, age_s), 4)},
            "verdict": {"packets_s": round(per_second(minutes["verdict"], window_s, now_ms, age_s), 4)},
            "frames": {"bytes_s": round(per_second(minutes["bytes"], window_s, now_ms, age_s), 1)},
        }
        for name, window_s in WINDOWS.items()
    }
