"""Inspection, pure: from when on something of a center is an alarm. `pipeline.inspection.alarms` offers it.

Hundreds of regions may be silent at once: one alarm names a few of them and counts the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.inspection.alarm import Alarm
from pipeline.inspection.alarms_version import older
from pipeline.settings import AlarmsPart
from schemas.messages import WIRE_VERSION

_DAY_S = 86_400.0
#: So many regions are named; the rest is counted.
NAMED = 5


def center_rules(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Every alarm of that document, in order."""
    if not depth["running"] and (depth["unverdicted"] or depth["regions"]):
        yield Alarm("not_running", "this side is not running", "`titian up`", "fail")
    yield from _behind(depth.get("restraint"))
    if depth["quarantined"]:
        do = "`titian dead list` says which and why"
        yield Alarm("quarantine", f"{depth['quarantined']:,} frames were kept aside", do)
    oldest = depth["oldest_unverdicted_ms"]
    if oldest is not None and depth["at_ms"] - oldest > limits.old_s * 1000:
        days = (depth["at_ms"] - oldest) / _DAY_S / 1000
        text = f"a packet has waited for its verdict for {days:.1f} days"
        yield Alarm("old", text, "see whether `validate` runs, and what its rules wait for", "warn", oldest)
    if depth["lost"]:
        text = f"{depth['lost']:,} packets were lost with their office's disk"
        yield Alarm("losses", text, "`titian losses` says whose")
    if depth["counters"].get("forks"):
        text = f"{depth['counters']['forks']:,} packets came with other contents under a known identity"
        yield Alarm("forks", text, "ask those offices whether they run a copy of an older folder")
    yield from _disk(depth.get("runway"), limits)
    yield from _regions([one for one in depth["regions"] if isinstance(one, Mapping)], depth, limits)


def _behind(restraint: Mapping[str, Any] | None) -> Iterator[Alarm]:
    if restraint is None or not restraint["step"]:
        return
    asks = (
        "asks its regions to hold (urgent packets go)"
        if restraint["hold_s"]
        else f"lets each region send {restraint['window_bytes'] // 1024:,} KiB at a time"
    )
    do = "it lets go by itself; if it lasts, look at this machine's load and disk"
    yield Alarm("behind", f"the center {asks}: {restraint['why']}", do)


def _disk(runway: Mapping[str, Any] | None, limits: AlarmsPart) -> Iterator[Alarm]:
    """The room of the ledger, where the document says it."""
    if runway is None or runway.get("free_bytes") is None:
        return
    days = runway.get("full_in_days")
    if runway["free_bytes"] <= runway.get("low_water_bytes", 0):
        text = "the ledger's disk is too full: regions are asked to hold"
        yield Alarm("disk_full", text, "free space", "fail")
    elif days is not None and days < limits.runway_days:
        text = f"at this rate the ledger's disk is full in {days:g} days"
        yield Alarm("runway", text, "free space, or keep less (`ledger.events_days`)")


def _regions(
    regions: Sequence[Mapping[str, Any]], depth: Mapping[str, Any], limits: AlarmsPart
) -> Iterator[Alarm]:
    silent = [one["region"] for one in regions if _silent(one, limits)]
    if silent and depth["running"]:
        have = "has" if len(silent) == 1 else "have"
        text = f"{_named(silent)} {have} not been heard for {limits.silent_s / 60:,.0f} min or longer"
        yield Alarm("region_silent", text, "call the office: is its machine on, and its line up?")
    newer = [one["region"] for one in regions if (one.get("wire") or 0) > WIRE_VERSION]
    ours = str(depth.get("titian") or "")
    behind = [one["region"] for one in regions if older(str(one.get("titian") or ""), ours)]
    if newer:
        text = f"a newer wire than this center's is spoken by {_named(newer)}"
        yield Alarm("version", text, "update this center", "fail")
    elif behind:
        text = f"an older Titian than {ours} runs at {_named(behind)}"
        yield Alarm("version", text, "have it updated there")


def _silent(region: Mapping[str, Any], limits: AlarmsPart) -> bool:
    """Whether it joined, is not revoked, and was not heard for so long."""
    if region.get("state") != "joined":
        return False
    seen_s = region.get("last_seen_s")
    return bool(region.get("silent")) or (seen_s is not None and seen_s > limits.silent_s)


def _named(codes: Sequence[str]) -> str:
    """`region 1806`; `7 regions (1801, 1802, 1803, 1804, 1805 and 2 more)`."""
    if len(codes) == 1:
        return f"region {codes[0]}"
    more = f" and {len(codes) - NAMED:,} more" if len(codes) > NAMED else ""
    return f"{len(codes):,} regions ({', '.join(codes[:NAMED])}{more})"
