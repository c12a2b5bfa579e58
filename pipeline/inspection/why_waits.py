"""Inspection, pure: why a packet that is not sent waits, in one sentence with numbers.

"lane biometric opens at 22:00; 312 packets and 41 MB before it; about 14 min at this rate". What holds a lane
is said first, what lies before the packet second, how the link stands third, and the time last where known.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipeline.adapters.outbox_reader import Amount, Found
from pipeline.inspection.alarms import denial_sentence, refusal_sentence
from pipeline.inspection.running import LinkState

HELD = "held by the center"
#: What `push` says it waits for -> what that means.
WAITS = {
    "link window": "what is on the link has not arrived yet",
    "receipt window": "the center has not acknowledged what it was sent before",
    HELD: "the center asks to hold",
    "paused after a loss": "what was lost on the way goes first",
    "paused or capped": "what may go was sent; lanes are paused or capped (`titian depth` says which)",
    "the center's broker is full": "the center's broker has no memory left; it is asked again every second",
    "answers to urgent packets": "an urgent packet is on the link; the next one follows its answer",
    "no session": "the center has not granted us a session yet (does it run?)",
    "nothing waits": "everything was sent",
}


def waiting_sentence(
    begin: str,
    found: Found,
    before: Amount,
    link: LinkState,
    depth: Mapping[str, Any] | None,
    now_ms: int,
) -> str:
    """Of a packet that waits behind `before` of its lane. `begin`: how much of it waits."""
    label = found.lane.label
    lane: Mapping[str, Any] = {} if depth is None else depth["lanes"][label]
    held = str(lane.get("held") or (link.value("held") or {}).get(label) or "")
    parts = [_lane(label, begin, held, lane, depth, now_ms), _before(before)]
    if not held or link.state != "up":
        parts.append(link_clause(link, depth))
    eta_s = packet_eta_s(lane, before.bytes + found.size, now_ms)
    if eta_s is not None:
        parts.append(f"about {span(eta_s)} at this rate")
    return "; ".join(parts)


def packet_eta_s(lane: Mapping[str, Any], upto_bytes: int, now_ms: int) -> float | None:
    """For how long the lane goes until a packet is through whose last byte is its `upto_bytes`-th, from when
    it may go; `None` where the lane has no time."""
    eta_s, left = lane.get("eta_s"), lane.get("waiting_bytes") or 0
    if eta_s is None or not left:
        return None
    closed_s = max(0, (lane.get("opens_ms") or now_ms) - now_ms) / 1000
    return float(max(0.0, eta_s - closed_s) * min(1.0, upto_bytes / left))


def _lane(
    label: str,
    begin: str,
    held: str,
    lane: Mapping[str, Any],
    depth: Mapping[str, Any] | None,
    now_ms: int,
) -> str:
    if lane.get("opens_ms") is not None:
        return f"lane {label} opens at {_clock(lane['opens_ms'], now_ms)}"
    if not held:
        return f"{begin} in lane {label}"
    pause = _pause(label, depth)
    return held if pause is None else f"{held} since {_clock(pause['at_ms'], now_ms)}"


def _pause(label: str, depth: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    pauses = () if depth is None else depth.get("pauses") or ()
    return next((one for one in pauses if one["lane"] in (None, label)), None)


def _before(before: Amount) -> str:
    if not before.packets:
        return "nothing is before it"
    packets = "1 packet" if before.packets == 1 else f"{before.packets:,} packets"
    return f"{packets} and {size(before.bytes)} before it"


def link_clause(link: LinkState, depth: Mapping[str, Any] | None = None) -> str:
    """How the link stands, in a clause."""
    if link.state == "not running":
        return "this side is not running: `titian up`"
    if link.state == "unknown":
        return "the worker has said nothing lately: see DATA/run/logs"
    if link.value("superseded"):
        return "another machine speaks as this region: `titian up --take-over`"
    if link.value("refusal"):
        return refusal_sentence(str(link.value("refusal"))).en
    if link.value("denied"):
        return denial_sentence(str(link.value("denied"))).en
    if link.state == "down":
        return f"the link has been down for {link.value('down_for_s') or 0:,.0f} s"
    reason = ((None if depth is None else depth.get("throttle")) or {}).get("reason")
    throttle = f"; throttle: {reason}" if reason else ""
    waits = str(link.value("waits") or "")
    return (f"the link is up; {_waits(link, waits)}" if waits else "the link is up and sends") + throttle


def _waits(link: LinkState, waits: str) -> str:
    flight, window = link.value("in_flight_bytes") or 0, link.value("window_bytes") or 0
    said = WAITS.get(waits, waits)
    if waits == HELD and link.value("held_for_s"):
        said += f" for {link.value('held_for_s'):,.0f} s more"
    if waits in (HELD, "receipt window") and link.value("hold_why"):
        said += f": {link.value('hold_why')}"
    return f"{said} ({flight:,} of {window:,} B in flight)"


def _clock(at_ms: int, now_ms: int) -> str:
    """A time of the office's day; with its date where that is another."""
    at, now = (datetime.fromtimestamp(ms / 1000).astimezone() for ms in (at_ms, now_ms))
    near = abs(at_ms - now_ms) < 86_400_000 and (at_ms > now_ms or at.date() == now.date())
    return at.strftime("%H:%M" if near else "%Y-%m-%d %H:%M")


def size(count: float) -> str:
    """Bytes in decimal units: `812 B`, `41 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:,.3g} GB"


def span(seconds: float) -> str:
    """A time without false precision: `40 s`, `14 min`, `5 h`, `3 days`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(1.0, seconds):,.0f} s"
