"""A region's document of `depth` as text: what an engineer wants to know at two at night, in one look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.inspection.alarm import sentence
from workers.render import clean, many, number, plain_table, rate, size, span, when

#: A disk that lasts longer than this needs no word.
_DAYS_SHOWN = 3_650
#: What `push` waits for while there is nothing to send, too: no word for people.
_IDLE_WAITS = ("link window", "receipt window", "paused or capped", "nothing waits", "link down", "denied")


def region_lines(found: Mapping[str, Any]) -> list[str]:
    """All of it."""
    lines = [waiting_line(found), f"  {until(found)}; {_kept(found)}", "", _lanes(found), ""]
    lines += [f"held: {clean(lane['held'])}" for lane in _once(found["lanes"].values())]
    lines += [
        *_caps(found),
        *_rates(found),
        *link_lines(found),
        *_throttle("throttle", found.get("throttle")),
    ]
    lines += [*_throttle("way back", found.get("way_back")), *_return(found), *_announced(found)]
    lines += [*rebuild_line(found["rebuild"]), *_compared(found), _runway(found["runway"])]
    if found["by_status"]:
        lines.append("verdicts: " + statuses(found["by_status"]))
    return [*lines, *_ages(found.get("ages")), *alarm_lines(found)]


def waiting_line(found: Mapping[str, Any]) -> str:
    """How much waits, and since when."""
    oldest = found["oldest_ms"]
    since = "" if oldest is None else f"; the oldest since {span((found['at_ms'] - oldest) / 1000)}"
    return (
        f"region {found['region']}: {number(found['waiting'])} wait for a receipt "
        f"({size(found['waiting_bytes'])}), {number(found['unverdicted'])} for a verdict, "
        f"{number(found['dead'])} dead{since}"
    )


def _kept(found: Mapping[str, Any]) -> str:
    return f"{number(found['recorded'])} recorded here, {many(found['registry']['records'], 'record')}"


def until(found: Mapping[str, Any]) -> str:
    """When it will be done, or why nobody can say."""
    if not found["waiting"]:
        return "all of it is at the center" if found["recorded"] else "nothing was recorded here yet"
    if found["eta_s"] is not None:
        return f"at this rate all of it is at the center in {span(found['eta_s'])}"
    if found["link"]["state"] == "up" and any(
        lane.get("held") for lane in found["lanes"].values() if lane["waiting"]
    ):
        return "part of it is held: no time can be given"
    return "nothing moves: no time can be given" if not _moves(found) else "no time can be given yet"


def _moves(found: Mapping[str, Any]) -> bool:
    return bool(found["link"]["state"] == "up" and found["rates"]["minute"]["out"]["bytes_s"] > 0)


def _lanes(found: Mapping[str, Any]) -> str:
    heads = [
        "lane",
        "waiting",
        "bytes",
        "in flight",
        "no verdict",
        "dead",
        "oldest",
        "in, hour",
        "receipts",
        "done in",
    ]
    return plain_table(
        heads,
        [
            [
                name,
                number(lane["waiting"]),
                size(lane["waiting_bytes"]),
                number(lane["in_stream"]),
                number(lane["unverdicted"]),
                number(lane["dead"]),
                span(lane["oldest_age_s"]),
                *_moved(lane.get("rates")),
                "-" if not lane["waiting"] else _eta(lane.get("eta_s")),
            ]
            for name, lane in found["lanes"].items()
        ],
        right=range(1, len(heads)),
    )


def _moved(rates: Mapping[str, Any] | None) -> tuple[str, str]:
    """How fast packets came in the last hour, and receipts in the last minute."""
    if rates is None:
        return "-", "-"
    return rate(rates["hour"]["in"]["packets_s"]), f"{size(rates['minute']['receipt']['bytes_s'])}/s"


def _eta(eta_s: float | None) -> str:
    return "?" if eta_s is None else span(eta_s)


def _once(lanes: Any) -> Iterator[Mapping[str, Any]]:
    """Lanes that are held, each reason once."""
    said: set[str] = set()
    for lane in lanes:
        if lane.get("held") and lane["held"] not in said:
            said.add(lane["held"])
            yield lane


def _caps(found: Mapping[str, Any]) -> Iterator[str]:
    cap = found.get("cap_bytes_s")
    if cap is not None:
        yield f"cap: all lanes together may send {size(cap)}/s now" if cap else "cap: no lane may send now"


def _rates(found: Mapping[str, Any]) -> Iterator[str]:
    for window, rates in found["rates"].items():
        yield (
            f"last {window}: in {rate(rates['in']['packets_s'])}, out {rate(rates['out']['packets_s'])} "
            f"({size(rates['out']['bytes_s'])}/s), receipts {rate(rates['receipt']['packets_s'])}, "
            f"verdicts {rate(rates['verdict']['packets_s'])}"
        )


def link_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """How the link stands: its state and since when, cuts, what it carries; what is under way."""
    link = found["link"]
    cuts = _cuts(link)
    if link["state"] == "not running":
        yield f"link: not running{cuts}"
        return
    if link["state"] == "unknown":
        yield f"link: unknown (the worker last spoke {span(link['age_s'])} ago){cuts}"
        return
    since_ms, parts = link.get("since_ms"), []
    ago_s = link["down_for_s"] if since_ms is None else (found["at_ms"] - since_ms) / 1000
    for_s = "" if ago_s is None else f" for {span(ago_s)}"
    if link.get("rtt_ms") is not None:
        parts.append(f"rtt {link['rtt_ms']:,.0f} ms over {link.get('base_ms') or 0:,.0f} ms")
    if link.get("goodput_bytes_s") is not None:
        parts.append(f"{size(link['goodput_bytes_s'])}/s acknowledged")
    yield f"link: {link['state']}{for_s}{cuts}" + "".join(f", {part}" for part in parts)
    yield (
        f"      {size(link['in_flight_bytes'] or 0)} of {size(link['window_bytes'] or 0)} in flight, "
        f"session {link['session']}{_waits(found)} (said {span(link['age_s'])} ago)"
    )


def _cuts(link: Mapping[str, Any]) -> str:
    if not link.get("cuts_today") and not link.get("down_today_s"):
        return ""
    return f", {many(link.get('cuts_today') or 0, 'cut')} today ({span(link.get('down_today_s'))} down)"


def _waits(found: Mapping[str, Any]) -> str:
    link = found["link"]
    waits = link["waits"]
    if not waits or (waits in _IDLE_WAITS and (not found["waiting"] or link["state"] == "down")):
        return ""
    held = f" for {span(link['held_for_s'])} more (asked again every 30 s)" if link.get("held_for_s") else ""
    why = f"; the center says: {clean(link['hold_why'])}" if link.get("hold_why") else ""
    return f", waits for: {waits}{held}{why}"


def _throttle(name: str, throttle: Mapping[str, Any] | None) -> Iterator[str]:
    if throttle is None:
        return
    rated = f", {size(throttle['rate_bytes_s'])}/s seen" if throttle["rate_bytes_s"] else ""
    yield (
        f"{name}: {throttle['state']}: {throttle['reason']}; window {size(throttle['window_bytes'])}{rated}"
    )


def _return(found: Mapping[str, Any]) -> Iterator[str]:
    back = found.get("return")
    if back is None:
        return
    if not back["facts_behind"] and not back["records_behind"]:
        yield "return: level, the registry has what the center said there was"
        return
    yield (
        f"return: {many(back['facts_behind'], 'fact')} and {many(back['records_behind'], 'record')} behind, "
        f"for {span(back['lag_s'])}"
    )


def _announced(found: Mapping[str, Any]) -> Iterator[str]:
    if found["announced"]:
        yield f"announced, so that the center knows of them before they come: {number(found['announced'])}"


def rebuild_line(rebuild: dict[str, Any] | None) -> list[str]:
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


def _compared(found: Mapping[str, Any]) -> list[str]:
    last = found["reconciled"]
    if last is None:
        return []
    ago = span(max(0.0, (found["at_ms"] - last["at_ms"]) / 1000))
    what = (
        "equal"
        if last["equal"]
        else f"{many(last['differences'], 'difference')}, {number(last['left'])} left"
    )
    return [f"compared with the center {ago} ago: {what}"]


def _runway(runway: Mapping[str, Any]) -> str:
    days = runway["full_in_days"]
    short = days is not None and days <= _DAYS_SHOWN
    until = f", full in {days:,.0f} days at the rate of the last two" if short else ""
    return f"disk: {size(runway['free_bytes'])} free{until}"


def _ages(ages: Mapping[str, Any] | None) -> Iterator[str]:
    if ages is None:
        return
    names = {"link": "link and throttle", "center": "the center's word", "history": "history"}
    said = [f"{shown} {span(ages[name])}" for name, shown in names.items() if ages.get(name) is not None]
    yield "how old: counts now" + "".join(f", {one}" for one in said)


def statuses(by_status: Mapping[str, int]) -> str:
    """Packets by the center's latest word."""
    return ", ".join(f"{name} {number(n)}" for name, n in by_status.items())


def alarm_lines(found: Mapping[str, Any]) -> list[str]:
    """One for each alarm: what is, and what to do."""
    return [f"! {clean(sentence(one))}" for one in found["alarms"]]
