"""The document of `depth` as text for people."""

from __future__ import annotations

from typing import Any

from workers.cli_depth_region_text import alarm_lines, rebuild_line, region_lines, statuses
from workers.cli_regions_text import regions_text
from workers.render import many, number, rate, size, span


def depth_text(found: dict[str, Any]) -> str:
    """The whole of it, many lines."""
    return "\n".join(region_lines(found) if found["side"] == "region" else _center(found))


def _announced_there(found: dict[str, Any]) -> list[str]:
    if not found["announced"]:
        return []
    since_s = max(0.0, (found["at_ms"] - (found["announced_since_ms"] or found["at_ms"])) / 1000)
    amount = f"{many(found['announced'], 'packet')} ({size(found['announced_bytes'])})"
    return [f"announced and not arrived yet: {amount}, the first {span(since_s)} ago"]


def _center(found: dict[str, Any]) -> list[str]:
    lines = [
        f"center: {number(found['received'])} received, {number(found['unverdicted'])} wait for a verdict, "
        f"{number(found['waiting'])} are here in part, {number(found['dead'])} refused, "
        f"{number(found['quarantined'])} frames kept aside; {number(found['records'])} records",
        "" if found["running"] else "not running",
    ]
    if found["regions"]:
        lines.append(regions_text(found["regions"]))
    for one in found["regions"]:
        lines += [f"region {one['region']}, {line}" for line in rebuild_line(one["rebuild"])]
    lines += _announced_there(found)
    for window, rates in found["rates"].items():
        lines.append(
            f"last {window}: received {rate(rates['received']['packets_s'])}, "
            f"verdicts {rate(rates['verdict']['packets_s'])}, {size(rates['frames']['bytes_s'])}/s of frames"
        )
    if twice := found["counters"]["bytes_twice"]:
        lines.append(f"since the beginning: {size(twice)} of contents came though they were here already")
    if found["by_status"]:
        lines.append("by status: " + statuses(found["by_status"]))
    return lines + alarm_lines(found)
