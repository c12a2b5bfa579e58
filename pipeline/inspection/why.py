"""Inspection: why a packet waits, in one sentence with numbers (empty where it waits for nothing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.adapters.outbox_dropped_look import dropped_of
from pipeline.adapters.outbox_reader import Event, Found, OutboxReader
from pipeline.inspection.running import LinkState
from pipeline.inspection.why_waits import link_clause, waiting_sentence
from pipeline.lifecycle import Place
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import LedgerReader, PacketRow

DAMAGED = "it is damaged on this disk and cannot be sent: `titian dead show` says what to do"
_WORDS = {
    Status.RECEIVED_AT_CENTRAL: "the center has it; its verdict is not here yet",
    Status.SEARCH_FAILURE_AT_CENTRAL: "the center's search failed; it is tried again by itself",
    Status.ADJUDICATE_RECORD: "a person at the center decides",
    Status.REFUSED: "the center refused it; it goes nowhere by itself: `titian dead show` says what to do",
}


def region_why(
    outbox: OutboxReader,
    link: LinkState,
    found: Found,
    events: Sequence[Event],
    now_ms: int,
    depth: Mapping[str, Any] | None = None,
) -> str:
    """Why it waits, seen from its region. `depth`: the region's document, which knows what holds lanes and
    how fast they go; without it less can be said."""
    if (gone := dropped_of(outbox, found.id)) is not None and found.status in (None, Status.REFUSED):
        return gone.sentence()
    if found.place is None:
        if found.now is not None:
            return f"it was numbered anew after a loss: look for {found.now}"
        return "" if found.status is not None else DAMAGED
    if found.status is not None:
        return "" if found.status in _QUIET else _WORDS[found.status]
    if any(one.packet.id == found.id for one in outbox.aside()):
        return DAMAGED
    if found.place is Place.IN_STREAM:
        since = _since(events, now_ms)
        return (
            f"all of it was sent{since}; the center has not acknowledged it yet; {link_clause(link, depth)}"
        )
    part = "a part of it was sent; the rest waits" if found.place is Place.PARTLY_IN_STREAM else "it waits"
    return waiting_sentence(part, found, outbox.before(found.lane, found.id.seq), link, depth, now_ms)


_QUIET = frozenset(Status) - frozenset(_WORDS)


def _since(events: Sequence[Event], now_ms: int) -> str:
    sent = [one.at_ms for one in events if one.what == "sent"]
    return f" {max(0, now_ms - sent[-1]) // 1000:,} s ago" if sent else ""


def missing_why(told_ms: int | None, held: tuple[int, int] | None, over: bool, heard: str) -> str:
    """Why a packet is not here, as far as the center can say: when it was announced (`None`: it was not), how
    many of its bytes are here (of how many), whether its epoch is `over`, when its region was last heard."""
    said = ["lost: its epoch is over and it never came"] if over else ["not arrived yet"]
    if told_ms is not None:
        on = datetime.fromtimestamp(told_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        said.insert(0, f"announced on {on}")
    if held is not None:
        said.append(f"{held[0]:,} of its {held[1]:,} B are here")
    if over:
        heard = "a mirror or a bundle may still bring it; `titian losses` says whom to ask again"
    return f"{', '.join(said)}; {heard}"


def center_why(ledger: LedgerReader, row: PacketRow, now_ms: int) -> str:
    """Why it waits, seen from the center."""
    if row.status in _QUIET:
        return ""
    if row.due_ms is None:
        return (
            _WORDS[row.status]
            if row.status is not Status.RECEIVED_AT_CENTRAL
            else "no validation is due for it"
        )
    waiting = ledger.counts().unverdicted
    due_s = (row.due_ms - now_ms) / 1000
    when = f"due in {due_s:,.0f} s" if due_s > 0 else f"due for {-due_s:,.0f} s"
    tried = f", tried {row.tries} times" if row.tries else ""
    return f"it is among {waiting:,} packets that wait for a verdict, {when}{tried}"
