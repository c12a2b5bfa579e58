"""Inspection, step 3, pure: what a region's document says of its link, throttles, way back, pauses and caps.

From the worker's own word (`run/push.json`), where that is fresh, and from what people asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.inspection.link_history import cuts_of_turns, cuts_of_word, today
from pipeline.inspection.running import LinkState
from pipeline.said import Said, as_it_came, heard
from pipeline.settings import AlarmsPart
from pipeline.throttle.steering import UNBOUND, Steering
from pipeline.throttle.view import REASONS
from schemas.lanes import Lane

#: Names of the throttle's view in seconds -> in the document, milliseconds.
_MS = {"rtt_s": "rtt_ms", "base_s": "base_ms", "queue_s": "queue_ms", "target_s": "target_ms"}
_AS_THEY_ARE = ("state", "reason", "since_ms", "window_bytes", "rate_bytes_s", "losses", "by_answers")


class Around(NamedTuple):
    """What a document needs beside stores and link: our version, what people asked for (and the minute of the
    office's day, when its day began, and what is wrong with the file), the turns of the link since then
    (`(at_ms, what)`, oldest first), when the watching process last kept figures, and the alarms' limits."""

    titian: str = ""
    steering: Steering = Steering()
    minute: int = 0
    midnight_ms: int = 0
    steering_wrong: str = ""
    turns: tuple[tuple[int, str], ...] = ()
    seen_ms: int | None = None
    limits: AlarmsPart | None = None


def throttle_json(view: Any) -> dict[str, Any] | None:
    """The throttle as the document shows it; `None` where it is not known now."""
    if not isinstance(view, Mapping):
        return None
    found: dict[str, Any] = {name: view.get(name) for name in _AS_THEY_ARE}
    for ours, shown in _MS.items():
        value = view.get(ours)
        found[shown] = None if value is None else round(1000 * value, 1)
    return found | {"reason_id": heard(str(found["reason"] or ""), REASONS.values()).id}


def link_json(link: LinkState, around: Around, now_ms: int) -> dict[str, Any]:
    """The link, with its cuts of today, fresh or not."""
    throttle = throttle_json(link.value("throttle")) or {}
    known = today(
        cuts_of_turns(around.turns),
        cuts_of_word(link.said.get("cuts")),
        midnight_ms=around.midnight_ms,
        now_ms=now_ms,
        last_said_ms=link.said.get("at_ms"),
    )
    return link.to_json() | {
        "since_ms": link.value("since_ms"),
        "up_since_ms": link.value("up_since_ms"),
        "congested_since_ms": link.value("congested_since_ms"),
        "rtt_ms": throttle.get("rtt_ms"),
        "base_ms": throttle.get("base_ms"),
        "goodput_bytes_s": link.value("goodput_bytes_s"),
        "cuts_today": known.cuts,
        "down_today_s": known.down_s,
        "center_titian": str(_center(link).get("titian") or ""),
    }


def _center(link: LinkState) -> Mapping[str, Any]:
    """What the center's last ack said, whenever that was."""
    said = link.said.get("center")
    return said if isinstance(said, Mapping) else {}


def return_json(link: LinkState, facts: int, records: int, now_ms: int) -> dict[str, Any] | None:
    """How far the registry, at these cursors, is behind what the last ack said there was."""
    said = _center(link)
    if not isinstance(said.get("ack_ms"), int):
        return None
    behind = {
        "facts_behind": max(0, int(said.get("facts_top") or 0) - facts),
        "records_behind": max(0, int(said.get("records_top") or 0) - records),
    }
    since_ms = said.get("behind_since_ms") or said["ack_ms"]
    lag_s = round(max(0, now_ms - since_ms) / 1000, 1) if any(behind.values()) else 0.0
    return behind | {"lag_s": lag_s, "as_of_ms": said["ack_ms"]}


def ages_json(link: LinkState, around: Around, reconciled: Mapping[str, Any] | None, now_ms: int) -> Any:
    """How old each group of figures is, seconds; null: there is none."""
    compared = None if reconciled is None else reconciled.get("at_ms")
    return {
        "counts": 0.0,
        "link": link.age_s,
        "throttle": link.age_s if link.value("throttle") else None,
        "history": _age_s(around.seen_ms, now_ms),
        "center": _age_s(_center(link).get("ack_ms"), now_ms),
        "reconciled": _age_s(compared, now_ms),
    }


def _age_s(at_ms: Any, now_ms: int) -> float | None:
    return round(max(0, now_ms - at_ms) / 1000, 1) if isinstance(at_ms, int) else None


def steering_json(around: Around) -> dict[str, Any]:
    """`pauses`, `caps`, and what all lanes together may send now."""
    asked = around.steering
    rates = [asked.rate_bytes_s(lane, around.minute) for lane in Lane]
    return {
        "pauses": [
            {"lane": _label(one.lane), "reason": one.reason, "who": one.who, "at_ms": one.at_ms}
            for one in asked.pauses
        ],
        "caps": [
            {
                "lane": _label(one.lane),
                "bytes_s": one.bytes_s,
                "start": one.start,
                "stop": one.stop,
                "reason": one.reason,
                "who": one.who,
            }
            for one in asked.caps
        ],
        "cap_bytes_s": None if UNBOUND in rates else sum(rates),
    }


def _label(lane: Lane | None) -> str | None:
    return None if lane is None else lane.label


class LaneSteer(NamedTuple):
    """Why a lane does not go freely (`held`, "": it does), the bound in force (`None`: none), and when the
    timetable opens it (`None`: it is open, or nothing opens it)."""

    held: Said
    cap_bytes_s: float | None
    opens_ms: int | None


def lane_steer(around: Around, lane: Lane, now_ms: int) -> LaneSteer:
    """What people asked of one lane, now."""
    if around.steering_wrong:
        return LaneSteer(as_it_came(around.steering_wrong), None, None)
    asked, minute = around.steering, around.minute
    rate = asked.rate_bytes_s(lane, minute)
    opens = asked.opens_in(lane, minute) if rate == 0 else None
    opens_ms = None if opens is None else (now_ms // 60_000 + opens) * 60_000
    return LaneSteer(asked.said(lane, minute), None if rate == UNBOUND else rate, opens_ms)
