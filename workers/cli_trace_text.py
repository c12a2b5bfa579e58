"""The document of `trace` as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workers.render import clean, size, when


def trace_text(found: dict[str, Any]) -> Iterator[str]:
    """Its lines."""
    for at, packet in enumerate(found["packets"]):
        if at:
            yield ""
        yield from _packet(packet)
    for record in found["records"]:
        region = f" of region {record['region']}" if "region" in record else ""
        yield f"record{region}: version {record['version']}, {record['status']}, from {record['source']}"


def _packet(packet: dict[str, Any]) -> Iterator[str]:
    state = "LOST" if packet.get("lost") else packet["state"]
    yield f"{packet['id']}  {state}: {packet['meaning']}"
    if packet["lane"]:
        yield f"  {packet['kind'] or 'kind not known yet'}, lane {packet['lane']}, {size(packet['size'])}"
    if packet["recorded_ms"] is not None:
        yield f"  recorded {when(packet['recorded_ms'])}"
    for reason in packet["reasons"]:
        yield f"  {clean(reason['en'])}"
        yield f"  {clean(reason['id'])}"
    if packet.get("was"):
        yield f"  before that {', '.join(packet['was'])}"
    if packet["now_id"]:
        yield f"  now {packet['now_id']}"
    if packet["why"]:
        label = "given up" if packet.get("dropped") else "why" if packet.get("lost") else "why it waits"
        yield f"  {label}: {clean(packet['why'])}"
    for event in packet["history"]:
        detail = f"  {clean(event['detail'])}" if event["detail"] else ""
        at = "on" if event.get("place") == "link" else "at"
        place = f" {at} the {event['place']}" if event.get("place") else ""
        yield f"  {when(event['at_ms'])}  {event['what']}{place}{detail}"
