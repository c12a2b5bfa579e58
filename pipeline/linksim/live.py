"""Beside the way, the link simulator: figures as a line, as a document, as a curve (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.linksim.profile import format_rate
from pipeline.linksim.stats import DirectionStats, LinkEvent, RelayStats

_BARS = " ▁▂▃▄▅▆▇█"


def figures(before: RelayStats, after: RelayStats, seconds: float) -> str:
    """One line for a terminal: what each direction carried in the last `seconds`, and what is open."""
    up = _direction("up", before.up, after.up, seconds)
    down = _direction("down", before.down, after.down, seconds)
    state = standing(after)
    said = f"{up} | {down} | {after.connections_open} open, {after.resets} resets"
    return f"{said} | {state}" if state else said


def standing(stats: RelayStats) -> str:
    """What is wrong with the link just now: `CUT (blackhole)`, `STALLED (up)`, or nothing."""
    stalled = [name for name, way in (("up", stats.up), ("down", stats.down)) if way.stalled]
    if stats.cut:
        return f"CUT ({', '.join([stats.cut, *stalled])})" if len(stalled) == 1 else f"CUT ({stats.cut})"
    return f"STALLED ({', '.join(stalled)})" if stalled else ""


def rates(before: DirectionStats, after: DirectionStats, seconds: float) -> tuple[float, float]:
    """Bits a second on the wire in the last `seconds`: ours, and those of others."""
    return (
        (after.wire_bytes - before.wire_bytes) * 8 / seconds,
        (after.foreground_wire_bytes - before.foreground_wire_bytes) * 8 / seconds,
    )


def document(stats: RelayStats, seconds: float) -> dict[str, object]:
    """All of it since the start, for programs: sizes in bytes, rates in bits a second on the wire."""
    return {
        "seconds": round(seconds, 3),
        "up": _document(stats.up, seconds),
        "down": _document(stats.down, seconds),
        "connections": stats.connections,
        "connections_open": stats.connections_open,
        "resets": stats.resets,
        "unreachable": stats.unreachable,
        "cut": stats.cut,
        "steps_played": stats.steps_played,
        "foreground_flows": stats.foreground_flows,
    }


def curve(values: Sequence[float], most: float) -> str:
    """A bar for each value, full at `most` and above; the least is still seen, and nothing is a space."""
    steps = len(_BARS) - 1
    return "".join(_BARS[min(steps, -int(-value * steps // most))] if value > 0 else " " for value in values)


def _document(way: DirectionStats, seconds: float) -> dict[str, object]:
    return {
        "payload_bytes": way.payload_bytes,
        "wire_bytes": way.wire_bytes,
        "foreground_wire_bytes": way.foreground_wire_bytes,
        "queued_wire_bytes": way.queued_wire_bytes,
        "mean_bit_s": round(way.wire_bytes * 8 / seconds) if seconds > 0 else 0,
        "stalled": way.stalled,
    }


def _direction(name: str, before: DirectionStats, after: DirectionStats, seconds: float) -> str:
    ours, others = rates(before, after, seconds)
    beside = f" beside {format_rate(others)} of others" if others > 0 else ""
    queued = after.queued_wire_bytes / 1024
    return f"{name} {format_rate(ours)}{beside}, {after.payload_bytes:,} B, {queued:.0f} KiB queued"


def in_words(event: LinkEvent) -> str:
    """An event for people: `cut (blackhole) for 5 s`, `rate 128 kbit/s up`."""
    detail = event.detail
    seconds = detail.get("seconds")
    lasting = f" for {seconds:g} s" if isinstance(seconds, float | int) and seconds else ""
    match event.what:
        case "cut":
            way = "" if detail["way"] == "both" else f", {detail['way']}"
            return f"cut ({detail['mode']}{way}){lasting}"
        case "stall":
            return f"stall, {detail['way']}{lasting}"
        case "rate":
            ways = (("up", detail["up_bit_s"]), ("down", detail["down_bit_s"]))
            said = [f"{format_rate(rate)} {way}" for way, rate in ways if isinstance(rate, float | int)]
            return f"rate {', '.join(said)}"
        case "delay" | "jitter":
            return f"{event.what} {detail['ms']:g} ms"
        case "foreground":
            return f"{detail['flows']} flows of others, {detail['way']}"
        case "unreachable":
            return f"nobody answers at {detail['to']} ({detail['why']}): start the server, or name another"
        case _:
            return " ".join([event.what, *(str(value) for value in detail.values() if value is not None)])
