"""Inspection, pure: from when on something of a region is an alarm; `inspection.alarms` offers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.inspection.alarm import Alarm
from pipeline.inspection.alarms_version import differs
from pipeline.inspection.custody import custody_alarms
from pipeline.inspection.doctor import SUPERSEDED, denial, refusal
from pipeline.settings import AlarmsPart

_DAY_S = 86_400.0


def region_rules(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Every alarm of that document, in order."""
    yield from _link(depth["link"], depth["waiting"], limits)
    yield from _flow(depth, limits)
    if depth["tallies"].get("lost"):
        text = f"{depth['tallies']['lost']:,} enqueued packets are gone from the disk"
        yield Alarm("lost", text, "see `titian doctor`, and look at the disk", "fail")
    if depth["tallies"].get("forks"):
        text = f"{depth['tallies']['forks']:,} times the center held other contents under our identity"
        do = "find out which folder is a copy; the packets were sent again under numbers of their own"
        yield Alarm("forks", text, do)
    if depth["dead"]:
        do = "`titian dead list` says which and why"
        yield Alarm("dead", f"{depth['dead']:,} packets were refused", do)
    if depth["registry"]["kept_raw"]:
        text = f"{depth['registry']['kept_raw']:,} frames of the center are not understood here"
        yield Alarm("kept_raw", text, "update Titian")
    yield from _old(depth, limits)
    yield from _disk(depth["runway"], limits)
    yield from custody_alarms(depth, limits)
    yield from _version(depth)


def _link(link: Mapping[str, Any], waiting: int, limits: AlarmsPart) -> Iterator[Alarm]:
    if link["state"] == "not running":
        if waiting:
            yield Alarm("not_running", "this side is not running, and packets wait", "`titian up`", "fail")
        return
    if link["state"] == "unknown":
        yield Alarm("silent", "the worker has said nothing lately", "see DATA/run/logs", "fail")
    if link["superseded"]:
        yield Alarm("superseded", *SUPERSEDED, "fail")
    if link["refusal"]:
        yield Alarm("refused", *refusal(link["refusal"]), "fail")
    if link["denied"]:
        meaning, do = denial(link["denied"])
        yield Alarm("denied", f"{meaning} ({link['denied']})", do, "fail")
    elif link["state"] == "down" and (link["down_for_s"] or 0) > limits.link_down_s:
        down_s = link["down_for_s"]
        text = f"the link has been down for {f'{down_s / 60:.0f} min' if down_s >= 60 else f'{down_s:.0f} s'}"
        do = "packets are kept and go when it is back; `titian doctor` says whether it is here"
        yield Alarm("link_down", text, do, "warn", link.get("since_ms"))
    yield from _clock(link["clock_off_ms"], limits)


def _clock(off_ms: int | None, limits: AlarmsPart) -> Iterator[Alarm]:
    if off_ms is not None and abs(off_ms) > limits.clock_off_s * 1000:
        way = "behind" if off_ms > 0 else "ahead of"
        text = f"our clock is {abs(off_ms) / 60_000:,.0f} min {way} the center's"
        yield Alarm("clock_off", text, "set it (timedatectl), here or there")


def _flow(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Packets do not go, or hardly, though the link is up."""
    if depth["link"]["state"] != "up":
        return
    crowded_ms = depth["link"].get("congested_since_ms")
    if crowded_ms is not None and depth["at_ms"] - crowded_ms >= limits.congested_s * 1000:
        minutes = (depth["at_ms"] - crowded_ms) / 60_000
        reason = (depth.get("throttle") or {}).get("reason") or "others use it"
        text = f"the link has been congested for {minutes:,.0f} min: {reason}"
        do = "find out what else uses the line; our packets go on, slowly, urgent ones first"
        yield Alarm("congested", text, do, "warn", crowded_ms)
    idle_since_ms = _idle_since_ms(depth)
    if idle_since_ms is not None and depth["at_ms"] - idle_since_ms > limits.not_moving_s * 1000:
        minutes = (depth["at_ms"] - idle_since_ms) / 60_000
        text = f"packets wait and the link is up, but nothing has moved for {minutes:,.0f} min"
        do = "see DATA/run/logs here, and whether the center's intake runs (`titian doctor` there)"
        yield Alarm("not_moving", text, do, "fail", idle_since_ms)
    lag_s = (depth.get("return") or {}).get("lag_s") or 0.0
    if lag_s > limits.return_lag_s:
        text = f"what the center decided has not all come back for {lag_s / 60:,.0f} min"
        yield Alarm("return_lag", text, "`titian depth` says whether the link or the center is slow")


def _idle_since_ms(depth: Mapping[str, Any]) -> int | None:
    """Since when something could have moved and nothing has; `None`: nothing waits that may go, or it is not
    known. A packet that came a moment ago, or a link that did, makes it younger."""
    if "moved_ms" not in depth or depth["link"].get("held_for_s") or depth["in_doubt"]:
        return None
    free = [lane for lane in depth["lanes"].values() if not lane.get("held")]
    began = [lane["oldest_ms"] for lane in free if lane.get("not_sent") and lane.get("oldest_ms")]
    under_way = any(lane.get("in_stream") for lane in depth["lanes"].values())
    if not began and not under_way:
        return None
    known = [ms for ms in (depth["moved_ms"], depth["link"].get("up_since_ms")) if ms is not None]
    if not under_way:
        known.append(min(began))
    return max(known, default=None)


def _old(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    ages = {label: lane["oldest_age_s"] or 0.0 for label, lane in depth["lanes"].items()}
    oldest = max(ages.values(), default=0.0)
    if oldest > limits.old_s:
        label = max(ages, key=lambda one: ages[one])
        text = f"the oldest packet has waited for {oldest / _DAY_S:.1f} days"
        yield Alarm("old", text, f"`titian depth` says what holds lane {label}; `titian trace` why one waits")


def _disk(runway: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    days = runway["full_in_days"]
    if runway["free_bytes"] <= runway["low_water_bytes"]:
        yield Alarm("disk_full", "the disk is too full to enqueue", "free space", "fail")
    elif days is not None and days < limits.runway_days:
        do = "free space, or have the packets go sooner (`titian depth`)"
        yield Alarm("runway", f"at this rate the disk is full in {days:g} days", do)


def _version(depth: Mapping[str, Any]) -> Iterator[Alarm]:
    ours, theirs = str(depth.get("titian") or ""), str(depth["link"].get("center_titian") or "")
    if differs(ours, theirs):
        text = f"the center has Titian {theirs}, this side {ours}"
        yield Alarm("version", text, "update the older one; both go on as far as they understand each other")
