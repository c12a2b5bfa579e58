"""Inspection, step 3 (and 4): what the center refused or kept aside, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.adapters.outbox_dropped_look import Dropped, dropped_of, file_name
from pipeline.adapters.outbox_reader import Aside, Found, OutboxReader
from pipeline.adapters.put_away import FOLDER_NAME
from pipeline.errors import NotFound, UsageError
from pipeline.inspection.trace import reasons_json
from schemas.errors import SchemaError
from schemas.identity import parse_packet_id
from schemas.lanes import Lane
from schemas.verdicts import Reason, Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import LedgerReader, PacketRow, QuarantineRow

VERSION = 1
#: reason -> what a person can do.
_WHAT_TO_DO = {
    "fork": "The identity was given out twice (a restored copy of this folder?): record this citizen again.",
    "unreadable": (
        "The center may be older than this region, or miss an old key of its own: once that is mended there, "
        "`titian dead retry` sends it again. Else record this citizen again."
    ),
    "invalid_packet": "Correct what the reason names at its source, and enqueue it again as a new packet.",
    "digest_differs": "The bytes on this disk may be damaged: look at `titian doctor`, and record it again.",
}
_NEWER = (
    "The center does not know this kind: it may be older than this region. Once it is updated, `titian dead "
    "retry` sends it again. Else correct it at its source, and enqueue it as a new packet."
)
_ELSE = (
    "Ask whoever keeps the center what the reason means; once that is mended there, `titian dead retry` "
    "sends it again."
)
#: code of a frame that was kept aside -> what a person can do.
_ASIDE = {
    "unknown_key": "Signed with a key that is not known here: did the region join? See `titian regions`. "
    "Once it has, `titian dead retry` takes the frame in; the region sends it again by itself, too.",
    "bad_signature": "Changed on its way, or not from who it says. The region sends it again by itself.",
    "bad_seal": "Sealed to another key: was the center's folder restored? Keep its old keys in DATA/keys.",
    "malformed": "No frame of Titian, or damaged on its way. The region sends it again by itself.",
    "unreadable": "Rightly signed, and not to be read here: the region may be newer than this center. Once "
    "that is updated, `titian dead retry`.",
}
_DAMAGED = (
    "What is stored of it on this disk is damaged: look at the disk (`titian doctor`), record this citizen "
    "again, and enqueue it as a new packet."
)
_GONE = (
    "It was given up: record this citizen again. Its bytes are in the file, until somebody deletes that; "
    "handed in once more by its producer it is a new packet."
)
#: More than an outbox holds.
_ALL = 1_000_000_000
_ASIDE_ELSE = "Nothing is lost: what was in it is sent again until it has a receipt."


def region_dead(outbox: OutboxReader, lane: Lane | None, limit: int) -> dict[str, Any]:
    """The document of `dead list` at a region: refused packets, by seq (`count` in all); and `aside`, packets
    that are damaged on this disk and cannot be sent (`aside_count` in all)."""
    total = sum(counts.dead.packets for one, counts in outbox.counts().items() if lane in (None, one))
    found = outbox.dead(limit if lane is None else _ALL)
    chosen = [one for one in found if lane in (None, one.lane)][:limit]
    aside = [one for one in outbox.aside(_ALL) if lane in (None, one.packet.lane)]
    return {
        "version": VERSION,
        "side": "region",
        "count": total,
        "dead": [_packet(one) for one in chosen],
        "aside_count": len(aside),
        "aside": [_aside(one) for one in aside[:limit]],
    }


def region_dead_one(outbox: OutboxReader, text: str) -> dict[str, Any]:
    """One refused packet, one that is aside, or one that was dropped; raises `NotFound` where it is none. How
    often it was `sent` (a large one in parts), `refused` and `retried`: as far as its history is kept."""
    try:
        identity = parse_packet_id(text)
    except SchemaError as why:
        raise UsageError(str(why)) from None
    found = outbox.find(identity)
    if found is None:
        raise NotFound(f"{identity} is not in this outbox")
    aside = next((one for one in outbox.aside(_ALL) if one.packet.id == identity), None)
    gone = dropped_of(outbox, identity)
    if found.status is not Status.REFUSED and aside is None and gone is None:
        raise NotFound(f"{identity} is not dead, it is {found.state}: `titian trace {identity}` says more")
    kept = [] if found.place is None else outbox.events_of(identity.seq)
    events = [{"at_ms": e.at_ms, "what": e.what, "detail": e.detail} for e in kept]
    shown = _packet(found) if aside is None else _aside(aside)
    if gone is not None:
        shown |= {"dropped": dropped_json(gone), "what_to_do": _GONE}
    attempts = {
        "state": found.state,
        "sent": sum(e.what == "sent" for e in kept),
        "refused": sum(e.what == Status.REFUSED.name for e in kept),
        "retried": sum(e.what == "retried" for e in kept),
    }
    return {"version": VERSION, "side": "region"} | shown | attempts | {"history": events}


def dropped_json(one: Dropped) -> dict[str, Any]:
    """Who gave a packet up, when and why; the file in the region's folder; whether what is in it is whole."""
    return {
        "at_ms": one.at_ms,
        "who": one.who,
        "reason": one.reason,
        "file": f"{FOLDER_NAME}/{file_name(one.packet)}",
        "whole": one.whole,
    }


def _aside(one: Aside) -> dict[str, Any]:
    """A damaged packet: `found_ms` when that was noticed (`None`: in an earlier epoch), `why` what is."""
    found_ms = {"found_ms": one.at_ms or None, "why": one.why}
    return _packet(one.packet) | found_ms | {"what_to_do": _DAMAGED}


def _what_to_do(reasons: Sequence[Reason]) -> str:
    code, detail = reasons[0] if reasons else ("", "")
    return _NEWER if detail.startswith("unknown_kind") else _WHAT_TO_DO.get(code, _ELSE)


def _packet(one: Found) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "lane": one.lane.label,
        "kind": one.kind,
        "size": one.size,
        "digest": one.digest.hex(),
        "recorded_ms": one.at_ms,
        "reasons": reasons_json(one.reasons),
        "what_to_do": _what_to_do(one.reasons),
    }


def center_dead(ledger: LedgerReader, region: str | None, limit: int) -> dict[str, Any]:
    """The document of `dead list` at the center: `quarantine`, frames kept aside (`count` in all), and
    `dead`, packets that were refused (`refused` in all); both newest first, at most `limit` of each."""
    counts = ledger.counts(region)
    return {
        "version": VERSION,
        "side": "center",
        "count": counts.quarantined,
        "refused": counts.refused,
        "quarantine": [_frame(one) for one in ledger.quarantine(region, limit)],
        "dead": [_refused(one) for one in ledger.refused(region, limit)],
    }


def center_dead_one(ledger: LedgerReader, text: str) -> dict[str, Any]:
    """One frame that was kept aside, by its number, or one refused packet; raises `NotFound`."""
    if text.isascii() and text.isdigit():
        for one in ledger.quarantine(limit=1_000_000):
            if one.id == int(text):
                return {"version": VERSION, "side": "center"} | _frame(one)
        raise NotFound(
            f"no frame {text} is kept aside (the oldest make room): `titian dead list` shows those that are"
        )
    try:
        identity = parse_packet_id(text)
    except SchemaError:
        raise UsageError(f"{text[:60]!r} is neither a frame's number nor a packet id") from None
    row = ledger.packet(identity)
    if row is None or row.status is not Status.REFUSED:
        state = "not in the ledger" if row is None else f"not refused, it is {row.status.name}"
        raise NotFound(f"{identity} is {state}")
    events = [{"at_ms": e.at_ms, "what": e.what, "detail": e.detail} for e in ledger.events(identity)]
    return {"version": VERSION, "side": "center"} | _refused(row) | {"history": events}


def _refused(one: PacketRow) -> dict[str, Any]:
    """A packet that the center could not read: it knows whose and which, not what."""
    return {
        "id": str(one.id),
        "lane": one.lane.label,
        "refused_ms": one.received_ms,
        "reasons": reasons_json(one.reasons),
        "what_to_do": _what_to_do(one.reasons),
    }


def _frame(one: QuarantineRow) -> dict[str, Any]:
    return {
        "frame": one.id,
        "region": one.region,
        "stream": one.stream,
        "at_ms": one.at_ms,
        "bytes": one.bytes,
        "code": one.code,
        "sentence": one.sentence,
        "what_to_do": _ASIDE.get(one.code, _ASIDE_ELSE),
    }
