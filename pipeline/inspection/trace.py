"""Inspection, steps 2 to 7: where a packet is, what happened to it, and why it waits, in a sentence.

The document (JSON of `titian trace`): `version`, `side`, `at_ms`, `packets` (each with `id`, `state`, `why`,
`reasons`, `history`, and its other names: `now_id`, the newest or the next one, and `was`), `records`. At the
center also whether it is `lost`, and how much of it is here (`held_bytes`). Times `*_ms` wall clock, sizes in
bytes. Names and NIKs do not stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.adapters.outbox_dropped_look import dropped_of
from pipeline.adapters.outbox_reader import Found, OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.errors import NotFound, StoreDamaged, UsageError
from pipeline.inspection.places import history_json
from pipeline.inspection.reasons import reasons_json as reasons_json
from pipeline.inspection.running import LinkState
from pipeline.inspection.trace_center import Looking
from pipeline.inspection.why import region_why
from pipeline.lifecycle import MEANING
from schemas.errors import SchemaError
from schemas.identity import PacketId, parse_packet_id
from schemas.nik import nik_hash, parse_nik
from schemas.packet import read_head
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import LedgerReader

VERSION = 1
Query = PacketId | str
"""A packet's identity, or a NIK as text."""


def parse_query(text: str) -> Query:
    """What was asked for; raises `UsageError` if it is neither an id nor a NIK."""
    if text.isascii() and text.isdigit():
        try:
            parse_nik(text)
        except SchemaError as why:
            raise UsageError(f"that is no NIK: {why}") from None
        return text
    try:
        return parse_packet_id(text)
    except SchemaError:
        raise UsageError(
            "that is neither a packet id (such as 1806-k3v9qa-000123) nor a NIK of 16 digits"
        ) from None


# --- the region -----------------------------------------------------------------------------------


def region_trace(
    outbox: OutboxReader,
    registry: RegistryReader,
    link: LinkState,
    query: Query,
    now_ms: int,
    depth: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document at the region; raises `NotFound`. `depth`: the region's, for what holds lanes and for when
    it will be done."""
    record = None
    if isinstance(query, PacketId):
        one = outbox.find(query)
        found = [] if one is None else _followed(outbox, one)
    else:
        found = [one for one in outbox.find_by_nik_hash(nik_hash(query)) if _is_about(outbox, one, query)]
        held = registry.record(query)
        if held is not None:
            record = {
                "version": held.version,
                "status": held.status.name,
                "source": str(PacketId(outbox.meta().region, held.epoch, held.seq)),
            }
    if not found and record is None:
        raise NotFound(_not_here(outbox, query))
    packets = [_region_packet(outbox, link, one, now_ms, depth) for one in found]
    return _document("region", now_ms, packets, [] if record is None else [record])


def _followed(outbox: OutboxReader, found: Found) -> list[Found]:
    """A packet, and what it became in every later epoch."""
    every = [found]
    while (now := every[-1].now) is not None and (following := outbox.find(now)) is not None:
        every.append(following)
    return every


def _is_about(outbox: OutboxReader, found: Found, nik: str) -> bool:
    """Whether a packet with the hash of `nik` is that citizen's: the outbox keeps 8 bytes of it, and two NIKs
    may share them. Where its head cannot be read (of an earlier epoch, or damaged) the hash has to do: a
    trace rather shows too much than hides what it was asked for."""
    one = found.now if found.place is None else found.id
    try:
        head = None if one is None or one.epoch != outbox.meta().epoch else outbox.head(one.seq)
        return head is None or read_head(head, check=False).nik == nik
    except (StoreDamaged, SchemaError):
        return True


def _not_here(outbox: OutboxReader, query: Query) -> str:
    meta = outbox.meta()
    if not isinstance(query, PacketId):
        return "neither the outbox nor the registry knows that NIK"
    if query.region != meta.region:
        return f"{query} is of region {query.region}; this is region {meta.region}"
    if query.epoch not in meta.epochs:
        return f"{query}: this outbox never had the epoch {query.epoch} (it has {', '.join(meta.epochs)})"
    return f"{query} is not in the outbox: the newest packet of this epoch is number {meta.highest_seq}"


def _region_packet(
    outbox: OutboxReader, link: LinkState, found: Found, now_ms: int, depth: Mapping[str, Any] | None
) -> dict[str, Any]:
    events = outbox.events_of(found.id.seq, found.id.epoch)
    dropped = _dropped(outbox, found)
    given_up = dropped is not None and found.status in (None, Status.REFUSED)
    return {
        "id": str(found.id),
        "lane": found.lane.label,
        "kind": found.kind,
        "size": found.size,
        "digest": found.digest.hex(),
        "recorded_ms": found.at_ms,
        "state": found.state,
        "meaning": _GIVEN_UP if given_up else MEANING.get(found.state, ""),
        "final": found.status is not None and found.status.final,
        "reasons": reasons_json(found.reasons),
        "fact_no": found.fact_no,
        "now_id": None if found.now is None else str(found.now),
        "was": [str(one) for one in outbox.names_before(found.id)],
        "why": region_why(outbox, link, found, events, now_ms, depth),
        "dropped": dropped,
        "history": history_json(found.at_ms, events),
    }


_GIVEN_UP = "it was given up here, and goes nowhere: its citizen must be recorded again"


def _dropped(outbox: OutboxReader, found: Found) -> dict[str, Any] | None:
    """Who gave it up, and why (`None`: nobody)."""
    gone = dropped_of(outbox, found.id)
    return None if gone is None else {"at_ms": gone.at_ms, "who": gone.who, "reason": gone.reason}


# --- the center -----------------------------------------------------------------------------------


def center_trace(ledger: LedgerReader, query: Query, now_ms: int) -> dict[str, Any]:
    """The document at the center; raises `NotFound`."""
    from pipeline.adapters.ledger_trace import LedgerTrace  # a region does not load the center's library

    looking = Looking(ledger, LedgerTrace.of(ledger), now_ms)
    records: list[dict[str, Any]] = []
    if isinstance(query, PacketId):
        packets = looking.of_names(query)
    else:
        packets = looking.of_citizen(query)
        records = [
            {
                "region": row.region,
                "version": row.version,
                "status": row.status.name,
                "source": str(row.source),
            }
            for row in ledger.records(nik=query)
        ]
    if not packets and not records:
        raise NotFound(looking.not_there(query))
    return _document("center", now_ms, packets, records)


def _document(
    side: str, now_ms: int, packets: list[dict[str, Any]], records: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"version": VERSION, "side": side, "at_ms": now_ms, "packets": packets, "records": records}
