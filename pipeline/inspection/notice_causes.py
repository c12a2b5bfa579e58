"""Inspection, pure: what of a region's document, and of what people say of its equipment, disturbs a service.

Three services as a citizen knows them: `recording` (photo, fingers, eyes, signature), `sending` (to the
center), `printing` (the card). A cause is a code; its words are in `workers.notice_page.words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.inspection.notice_own import EQUIPMENT, Equipment
from pipeline.inspection.notice_until import Past, link_until_ms
from pipeline.throttle.view import ThrottleSettings

RECORDING, SENDING, PRINTING = "recording", "sending", "printing"
SERVICES = (RECORDING, SENDING, PRINTING)
#: What the center decided may be behind for so long before cards wait for it, seconds.
RETURN_LAG_S = 3_600.0
#: A line that others use is said when what waits takes longer than this, seconds.
SLOW_ETA_S = 3_600.0
#: With the smallest window the line carries nothing to speak of.
_FLOOR_BYTES = ThrottleSettings().window_bytes_min


class Cause(NamedTuple):
    """Why a service is disturbed now: since when (`None`: not known), until when it is expected (`None`: not
    known; `exact`: a person said so). `at_once`: it is said without waiting whether it lasts."""

    what: str
    code: str
    since_ms: int | None = None
    until_ms: int | None = None
    exact: bool = False
    at_once: bool = False


def causes(document: Mapping[str, Any], equipment: Iterable[Equipment], past: Past) -> list[Cause]:
    """Every cause, the one that explains most first within its service. `past`: how earlier cuts went."""
    now_ms = int(document["at_ms"])
    return [*_of_document(document, past), *_of_equipment(equipment, now_ms)]


def not_running(since_ms: int | None) -> Cause:
    """The cause where this side does not run: nobody sends."""
    return Cause(SENDING, "not_running", since_ms, at_once=True)


def _of_equipment(equipment: Iterable[Equipment], now_ms: int) -> Iterator[Cause]:
    for one in equipment:
        until_ms = one.until_ms if one.until_ms is not None and one.until_ms > now_ms else None
        yield Cause(EQUIPMENT[one.name], one.name, one.since_ms, until_ms, exact=True, at_once=True)


def _of_document(document: Mapping[str, Any], past: Past) -> Iterator[Cause]:
    now_ms = int(document["at_ms"])
    runway = document.get("runway") or {}
    if runway and runway["free_bytes"] <= runway["low_water_bytes"]:
        yield Cause(RECORDING, "disk_full")
    yield from _link(document, past, now_ms)
    rebuild = document.get("rebuild")
    if rebuild and rebuild["state"] != "done" and not rebuild["opened_ms"]:
        yield Cause(PRINTING, "rebuild", rebuild["began_ms"], _after(now_ms, rebuild["eta_s"]))
    back = document.get("return") or {}
    if (back.get("lag_s") or 0.0) > RETURN_LAG_S:
        yield Cause(PRINTING, "return_lag", int(now_ms - back["lag_s"] * 1000))


def _link(document: Mapping[str, Any], past: Past, now_ms: int) -> Iterator[Cause]:
    link = document["link"]
    if link["state"] == "not running":
        yield not_running(None)
        return
    if link["state"] == "unknown":
        yield Cause(SENDING, "silent")
        return
    if link.get("denied") or link.get("refusal") or link.get("superseded"):
        yield Cause(SENDING, "refused", link.get("since_ms"))
        return
    if link["state"] == "down":
        since_ms = _down_since_ms(link, now_ms)
        until_ms = link_until_ms(since_ms, now_ms, past, int(document.get("waiting_bytes") or 0))
        yield Cause(SENDING, "link_down", since_ms, until_ms)
        return
    yield from _held_or_slow(document, now_ms)


def _held_or_slow(document: Mapping[str, Any], now_ms: int) -> Iterator[Cause]:
    """The line is there, and packets wait for something else."""
    if document.get("in_doubt"):
        yield Cause(SENDING, "in_doubt")
        return
    waiting = {label: lane for label, lane in document["lanes"].items() if lane.get("not_sent")}
    if not waiting:
        return
    pauses = document.get("pauses") or []
    paused = [one for one in pauses if one["lane"] is None or one["lane"] in waiting]
    shut = [lane for lane in waiting.values() if lane.get("held") and lane.get("opens_ms") is None]
    if paused or (shut and "pauses" not in document):
        began = [one["at_ms"] for one in paused if one.get("at_ms")]
        yield Cause(SENDING, "paused", min(began, default=None))
        return
    throttle, eta_s = document.get("throttle") or {}, document.get("eta_s")
    at_floor = 0 < (throttle.get("window_bytes") or 0) <= _FLOOR_BYTES
    if (throttle.get("state") == "yield" or at_floor) and (eta_s is None or eta_s > SLOW_ETA_S):
        yield Cause(SENDING, "slow", throttle.get("since_ms"), _after(now_ms, eta_s))


def _down_since_ms(link: Mapping[str, Any], now_ms: int) -> int | None:
    if link.get("since_ms") is not None:
        return int(link["since_ms"])
    down_s = link.get("down_for_s")
    return None if down_s is None else int(now_ms - down_s * 1000)


def _after(now_ms: int, eta_s: float | None) -> int | None:
    return None if eta_s is None else now_ms + int(eta_s * 1000)
