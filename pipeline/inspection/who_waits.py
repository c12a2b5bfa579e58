"""Inspection, steps 2 to 4: whose packets wait, why, and how to reach them when service is back.

The list has names: it is made for the office's own use, is never logged, and a file of it is 0600.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.adapters.outbox_waiting import Waiting, waiting_packets
from pipeline.inspection.losses import local_text
from pipeline.lifecycle import Place, state
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.packet import Packet, read_head
from schemas.verdicts import Status

VERSION = 1
#: What is longer in a payload than this is no name and no number to call.
_CHARS_MAX = 200
_SAID = {
    Status.RECEIVED_AT_CENTRAL: "the center has it and has not decided yet",
    Status.SEARCH_FAILURE_AT_CENTRAL: "the center's search could not be made; it is tried again",
    Status.ADJUDICATE_RECORD: "a person at the center decides",
}
_LINK = {
    "down": "the link is down",
    "not running": "this side does not run",
    "unknown": "the worker has said nothing lately",
}


def who_waits(
    folder: Path, region: str, epoch: str, depth: Mapping[str, Any], contact: str, *, sent: bool = False
) -> Iterator[dict[str, Any]]:
    """Each packet without a receipt, oldest first, with `sent` also those without a final verdict. `contact`
    is the payload's field by which a citizen is reached; `depth` the document of `titian depth`, which says
    why it waits."""
    whys = {label: _why(label, lane, depth) for label, lane in depth["lanes"].items()}
    for one in waiting_packets(folder, sent=sent):
        yield _json(one, str(PacketId(region, epoch, one.seq)), whys[one.lane.label], contact)


def _json(one: Waiting, identity: str, lane_why: str, contact: str) -> dict[str, Any]:
    packet = _packet(one.head)
    payload = {} if packet is None else packet.payload
    recorded_ms = one.at_ms if packet is None else packet.at_ms
    return {
        "id": identity,
        "recorded_ms": recorded_ms,
        "recorded": local_text(recorded_ms),
        "lane": one.lane.label,
        "state": state(Place.WAITING if one.here else Place.IN_STREAM, one.status),
        "nik": _text(payload.get("nik")),
        "nama": _text(payload.get("nama")),
        "contact": _text(payload.get(contact)),
        "why": _reason(one, packet is None, lane_why),
    }


def _reason(one: Waiting, unread: bool, lane_why: str) -> str:
    if one.aside or unread:
        return "it is damaged on this disk and cannot be sent: ask the citizen again"
    if one.status is not None:
        return _SAID.get(one.status, one.status.name)
    return lane_why if one.here else "on its way; the center has not acknowledged it yet"


def _why(label: str, lane: Mapping[str, Any], depth: Mapping[str, Any]) -> str:
    """Why packets of that lane do not go now."""
    link = depth["link"]
    if link.get("denied") or link.get("refusal"):
        return "the center refuses this side (`titian doctor`)"
    if link["state"] in _LINK:
        return _LINK[link["state"]]
    if depth.get("in_doubt"):
        return "it is being found out which packets the center has"
    if lane.get("held"):
        return f"lane {label} is held: {lane['held']}"
    return "it waits for its turn"


def _packet(head: bytes | None) -> Packet | None:
    try:
        return None if head is None else read_head(head, check=False)
    except (SchemaError, LookupError, TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    return str(value)[:_CHARS_MAX] if isinstance(value, str | int) else ""
