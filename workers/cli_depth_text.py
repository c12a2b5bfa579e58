"""The document of `depth` as text for people."""

from __future__ import annotations

from typing import Any

from pipeline.inspection.alarm import sentence
from workers.cli_regions_text import regions_text
from workers.render import clean, number, plain_table, rate, size, span, when

#: A disk that lasts longer than this needs no word.
_DAYS_SHOWN = 3_650


def depth_text(found: dict[str, Any]) -> str:
    """The whole of it, many lines."""
    return "\n".join(_region(found) if found["side"] == "region" else _center(found))


def _region(found: dict[str, Any]) -> list[str]:
    lines = [
        f"region {found['region']}: {number(found['waiting'])} wait for a receipt "
        f"({size(found['waiting_bytes'])}), {number(found['unverdicted'])} for a verdict, "
        f"{number(found['dead'])} dead; {number(found['recorded'])} recorded, "
        f"{number(found['registry']['records'])} records",
        "",
        plain_table(
            ["lane", "waiting", "bytes", "not sent", "in stream", "no verdict", "dead", "oldest"],
            [
                [
                    name,
                    number(lane["waiting"]),
                    size(lane["waiting_bytes"]),
                    number(lane["not_sent"]),
                    number(lane["in_stream"]),
                    number(lane["unverdicted"]),
                    number(lane["dead"]),
                    span(lane["oldest_age_s"]),
                ]
                for name, lane in found["lanes"].items()
            ],
            right=range(1, 8),
        ),
        "",
        _rates(found),
        _eta(found),
        *_announced_here(found),
        *_rebuild(found["rebuild"]),
        *_compared(found),
        *(f"held: {lane['held']}" for lane in found["lanes"].values() if lane.get("held")),
        _link(found["link"]),
        _runway(found["runway"]),
    ]
    if found["by_status"]:
        lines.append("verdicts: " + _statuses(found["by_status"]))
    return lines + _alarms(found)


def _rates(found: dict[str, Any]) -> str:
    parts = []
    for window, rates in found["rates"].items():
        parts.append(
            f"last {window}: in {rate(rates['in']['packets_s'])}, out {rate(rates['out']['packets_s'])} "
            f"({size(rates['out']['bytes_s'])}/s), receipts {rate(rates['receipt']['packets_s'])}"
        )
    return "\n".join(parts)


def _eta(found: dict[str, Any]) -> str:
    if not found["waiting"]:
        return "all of it is at the center"
    if found["eta_s"] is None:
        if found["link"]["state"] == "up" and any(lane.get("held") for lane in found["lanes"].values()):
            return "part of it is held: no time can be given"
        return "nothing moves: no time can be given"
    return f"at this rate all of it is at the center in {span(found['eta_s'])}"


def _announced_here(found: dict[str, Any]) -> list[str]:
    if not found["announced"]:
        return []
    return [f"announced, so that the center knows of them before they come: {number(found['announced'])}"]


def _announced_there(found: dict[str, Any]) -> list[str]:
    if not found["announced"]:
        return []
    since_s = max(0.0, (found["at_ms"] - (found["announced_since_ms"] or found["at_ms"])) / 1000)
    amount = f"{number(found['announced'])} packets ({size(found['announced_bytes'])})"
    return [f"announced and not arrived yet: {amount}, the first {span(since_s)} ago"]


def _rebuild(rebuild: dict[str, Any] | None) -> list[str]:
    """How far an empty registry is on its way back; nothing where there was no rebuild lately."""
    if rebuild is None:
        return []
    if rebuild["state"] == "waiting for the center":
        return ["rebuild: waiting for the center to say where to begin"]
    opened = rebuild["opened_ms"]
    service = "not open for service yet" if opened is None else f"open for service since {when(opened)}"
    if rebuild["state"] == "done":
        return [f"rebuild: done at {when(rebuild['rebuilt_ms'])}; {service}"]
    percent = "" if rebuild["percent"] is None else f", {rebuild['percent']:.1f} %"
    left = "" if rebuild["left"] is None else f", {number(rebuild['left'])} records left"
    speed = "" if rebuild["rate_s"] is None else f", {rate(rebuild['rate_s'])}"
    until = "" if rebuild["eta_s"] is None else f", done in {span(rebuild['eta_s'])}"
    return [f"rebuild: pass {rebuild['pass']} of {rebuild['of']}{percent}{left}{speed}{until}; {service}"]


def _compared(found: dict[str, Any]) -> list[str]:
    last = found["reconciled"]
    if last is None:
        return []
    ago = span(max(0.0, (found["at_ms"] - last["at_ms"]) / 1000))
    what = (
        "equal"
        if last["equal"]
        else f"{number(last['differences'])} differences, {number(last['left'])} left"
    )
    return [f"compared with the center {ago} ago: {what}"]


def _link(link: dict[str, Any]) -> str:
    if link["state"] == "not running":
        return "link: not running"
    if link["state"] == "unknown":
        return f"link: unknown (the worker last spoke {span(link['age_s'])} ago)"
    down = f" for {span(link['down_for_s'])}" if link["state"] == "down" else ""
    held = f" for {span(link['held_for_s'])} more (asked again every 30 s)" if link.get("held_for_s") else ""
    waits = f", waits for: {link['waits']}{held}" if link["waits"] else ""
    if link.get("hold_why"):
        waits += f"; the center says: {clean(link['hold_why'])}"
    return (
        f"link: {link['state']}{down}, {size(link['in_flight_bytes'] or 0)} of "
        f"{size(link['window_bytes'] or 0)} in flight, "
        f"session {link['session']}{waits} (said {span(link['age_s'])} ago)"
    )


def _runway(runway: dict[str, Any]) -> str:
    days = runway["full_in_days"]
    until = (
        ""
        if days is None or days > _DAYS_SHOWN
        else f", full in {days:,.0f} days at the rate of the last two"
    )
    return f"disk: {size(runway['free_bytes'])} free{until}"


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
        lines += [f"region {one['region']}, {line}" for line in _rebuild(one["rebuild"])]
    lines += _announced_there(found)
    for window, rates in found["rates"].items():
        lines.append(
            f"last {window}: received {rate(rates['received']['packets_s'])}, "
            f"verdicts {rate(rates['verdict']['packets_s'])}, {size(rates['frames']['bytes_s'])}/s of frames"
        )
    if twice := found["counters"]["bytes_twice"]:
        lines.append(f"since the beginning: {size(twice)} of contents came though they were here already")
    if found["by_status"]:
        lines.append("by status: " + _statuses(found["by_status"]))
    return lines + _alarms(found)


def _statuses(by_status: dict[str, int]) -> str:
    return ", ".join(f"{name} {number(n)}" for name, n in by_status.items())


def _alarms(found: dict[str, Any]) -> list[str]:
    return [f"! {clean(sentence(one))}" for one in found["alarms"]]
