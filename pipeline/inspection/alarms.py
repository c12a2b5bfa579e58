"""Inspection: what a person should look at, from the documents of `depth`: a code and a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.inspection.custody import custody_alarms
from pipeline.inspection.doctor import CLOCK_OFF_MS, SUPERSEDED, denial, refusal

#: Waiting longer than this is worth a look, seconds.
OLD_S = 86_400
#: A link that is down for less is none, seconds.
DOWN_S = 60
RUNWAY_DAYS = 14


def refusal_sentence(code: str) -> str:
    """A refusal of the center in words."""
    return ": ".join(refusal(code))


def denial_sentence(why: str) -> str:
    """A denial of the center's broker (`why`: what it said) in words."""
    meaning, do = denial(why)
    return f"{meaning}: {do} ({why})"


def region_alarms(depth: Mapping[str, Any]) -> list[dict[str, str]]:
    """The alarms of a region's document."""
    return [{"code": code, "text": text} for code, text in _region(depth)]


def center_alarms(depth: Mapping[str, Any]) -> list[dict[str, str]]:
    """The alarms of a center's document."""
    return [{"code": code, "text": text} for code, text in _center(depth)]


def _region(depth: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _link(depth["link"], depth["waiting"])
    if depth["tallies"].get("lost"):
        yield (
            "lost",
            f"{depth['tallies']['lost']:,} enqueued packets are gone from the disk: see `titian doctor`",
        )
    if depth["tallies"].get("forks"):
        yield (
            "forks",
            f"{depth['tallies']['forks']:,} times the center held other contents under our identity",
        )
    if depth["dead"]:
        yield "dead", f"{depth['dead']:,} packets were refused: `titian dead list`"
    if depth["registry"]["kept_raw"]:
        kept = depth["registry"]["kept_raw"]
        yield "kept_raw", f"{kept:,} frames of the center are not understood here: update Titian"
    oldest = max((lane["oldest_age_s"] or 0.0 for lane in depth["lanes"].values()), default=0.0)
    if oldest > OLD_S:
        yield "old", f"the oldest packet has waited for {oldest / OLD_S:.1f} days"
    yield from _disk(depth["runway"])
    yield from custody_alarms(depth)


def _link(link: Mapping[str, Any], waiting: int) -> Iterator[tuple[str, str]]:
    if link["state"] == "not running":
        if waiting:
            yield "not_running", "this side is not running, and packets wait: `titian up`"
        return
    if link["state"] == "unknown":
        yield "silent", "the worker has said nothing lately: see DATA/run/logs"
    if link["superseded"]:
        yield "superseded", ": ".join(SUPERSEDED)
    if link["refusal"]:
        yield "refused", refusal_sentence(link["refusal"])
    if link["denied"]:
        yield "denied", denial_sentence(link["denied"])
    elif link["state"] == "down" and (link["down_for_s"] or 0) > DOWN_S:
        yield "link_down", f"the link has been down for {link['down_for_s'] / 60:.0f} min: `titian doctor`"
    off_ms = link["clock_off_ms"]
    if off_ms is not None and abs(off_ms) > CLOCK_OFF_MS:
        way = "behind" if off_ms > 0 else "ahead of"
        yield (
            "clock_off",
            f"our clock is {abs(off_ms) / 60_000:,.0f} min {way} the center's: "
            "set it (timedatectl), here or there",
        )


def _disk(runway: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if runway["free_bytes"] <= runway["low_water_bytes"]:
        yield "disk_full", "the disk is too full to enqueue: free space"
    elif runway["full_in_days"] is not None and runway["full_in_days"] < RUNWAY_DAYS:
        yield "runway", f"at this rate the disk is full in {runway['full_in_days']:g} days"


def _center(depth: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not depth["running"] and (depth["unverdicted"] or depth["regions"]):
        yield "not_running", "this side is not running: `titian up`"
    restraint = depth.get("restraint")
    if restraint is not None and restraint["step"]:
        asks = (
            "asks its regions to hold (urgent packets go)"
            if restraint["hold_s"]
            else f"lets each region send {restraint['window_bytes'] // 1024:,} KiB at a time"
        )
        yield "behind", f"the center {asks}: {restraint['why']}"
    if depth["quarantined"]:
        yield "quarantine", f"{depth['quarantined']:,} frames were kept aside: `titian dead list`"
    oldest = depth["oldest_unverdicted_ms"]
    if oldest is not None and depth["at_ms"] - oldest > OLD_S * 1000:
        yield (
            "old",
            f"a packet has waited for its verdict for {(depth['at_ms'] - oldest) / OLD_S / 1000:.1f} days",
        )
    if depth["lost"]:
        yield (
            "losses",
            f"{depth['lost']:,} packets were lost with their office's disk: `titian losses` says whose",
        )
    if depth["counters"].get("forks"):
        yield (
            "forks",
            f"{depth['counters']['forks']:,} packets came with other contents under a known identity",
        )
