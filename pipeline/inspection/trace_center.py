"""Inspection, steps 4 to 6: what the center knows of one packet, or of a citizen's, for `trace`.

A packet may have several names, one of each epoch in which its region numbered it anew: whichever is asked
for, it is found under the one by which it is here. Of one that is not here it is said whether it is announced
(`told`), how much of it is here, and whether it is lost: its epoch is over, and nothing sends it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline.inspection.reasons import reasons_json
from pipeline.inspection.regions import heard_text, held_json
from pipeline.inspection.why import center_why, missing_why
from pipeline.lifecycle import MEANING
from schemas.identity import PacketId
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import AnnouncedRow, EventRow, LedgerReader, PacketRow
    from pipeline.adapters.ledger_trace import Arriving, LedgerTrace


class Looking:
    """One look at a ledger."""

    def __init__(self, ledger: LedgerReader, trace: LedgerTrace, now_ms: int) -> None:
        self._ledger, self._trace, self._now_ms = ledger, trace, now_ms
        self._over: dict[str, dict[str, int]] = {}

    def of_names(self, packet: PacketId) -> list[dict[str, Any]]:
        """The packet under each of its names by which something of it is known here."""
        names = self._trace.names(packet)
        rows = [row for row in map(self._ledger.packet, names) if row is not None]
        found = [self._received(row) for row in rows]
        if any(row.status is not Status.REFUSED for row in rows):
            return found
        for name in [one for one in names if one not in {row.id for row in rows}]:
            told = next(iter(self._ledger.announced(packet=name)), None)
            part = self._trace.arriving(name)
            if told is not None or part is not None:
                found.append(self._missing(name, told, part))
        return found or self._spoken_of(packet)

    def of_citizen(self, nik: str) -> list[dict[str, Any]]:
        """A citizen's packets, those that are announced last."""
        rows = self._ledger.packets_of(nik)
        here = {row.id for row in rows}
        told = [row for row in self._ledger.announced(nik=nik) if row.id not in here]
        missing = [self._missing(row.id, row, self._trace.arriving(row.id)) for row in told]
        return [*map(self._received, rows), *missing]

    def not_there(self, query: PacketId | str) -> str:
        """Why nothing is known of it, in a sentence."""
        if not isinstance(query, PacketId):
            return "the ledger knows no packet and no record of that NIK"
        region = next((row for row in self._ledger.regions() if row.code == query.region), None)
        if region is None:
            return f"{query}: region {query.region} was never admitted"
        if region.last_seen_ms is None:
            return f"{query} is not here: region {query.region} was never heard"
        return f"{query} is not here, and the region has not spoken of it; {self._heard(query.region)}"

    # --- inside ---------------------------------------------------------------------------------

    def _is_over(self, packet: PacketId) -> bool:
        """Whether nothing will send that packet any more, under its newest name, and it was given out."""
        packet = self._trace.names(packet)[-1]
        if packet.region not in self._over:
            self._over[packet.region] = self._trace.lost_up_to(packet.region)
        return packet.seq <= self._over[packet.region].get(packet.epoch, 0)

    def _heard(self, code: str) -> str:
        region = next(one for one in self._ledger.regions() if one.code == code)
        heard = heard_text(self._ledger.want_of(code), region.last_seen_ms, self._now_ms)
        held = held_json(self._ledger.holds().get(code), self._now_ms)
        if held is None:
            return heard
        who = f" by {held['who']}" if held["who"] else ""
        return f"{heard}; it is held here{who}{': ' + held['reason'] if held['reason'] else ''}"

    def _spoken_of(self, packet: PacketId) -> list[dict[str, Any]]:
        """Of a packet of which nothing came, and which was never announced: what its number alone says."""
        region = next((row for row in self._ledger.regions() if row.code == packet.region), None)
        newest = self._trace.names(packet)[-1]
        over = region is not None and self._is_over(packet)
        now = region is not None and newest.epoch == region.epoch and newest.seq <= region.highest_seq
        if not (over or now or newest != packet):
            return []
        return [
            {
                **dict.fromkeys(("recorded_ms", "received_ms", "verdict_ms", "fact_no")),
                **dict.fromkeys(("lane", "kind", "digest"), ""),
                "id": str(packet),
                "size": 0,
                "state": "LOST" if over else "RECORDED",
                "meaning": "it was recorded, and is lost"
                if over
                else "its region has recorded it; it is not here yet",
                "final": False,
                "reasons": [],
                **self._other_names(packet),
                "why": missing_why(None, None, over, self._heard(packet.region)),
                "history": [],
                "lost": over,
                "held_bytes": 0,
            }
        ]

    def _other_names(self, packet: PacketId) -> dict[str, Any]:
        names = self._trace.names(packet)
        older = [str(one) for one in names[:-1] if one != packet]
        return {"now_id": None if names[-1] == packet else str(names[-1]), "was": older}

    def _received(self, row: PacketRow) -> dict[str, Any]:
        return {
            "id": str(row.id),
            "lane": row.lane.label,
            "kind": row.kind,
            "size": row.size,
            "digest": row.digest.hex(),
            "recorded_ms": row.at_ms,
            "received_ms": row.received_ms,
            "verdict_ms": row.verdict_ms,
            "state": row.status.name,
            "meaning": MEANING.get(row.status.name, ""),
            "final": row.status.final,
            "reasons": reasons_json(row.reasons),
            "fact_no": row.fact_no,
            **self._other_names(row.id),
            "why": center_why(self._ledger, row, self._now_ms),
            "history": _history(row, self._ledger.events(row.id)),
            "lost": False,
            "held_bytes": row.size,
        }

    def _missing(self, name: PacketId, told: AnnouncedRow | None, part: Arriving | None) -> dict[str, Any]:
        """Of a packet that is not here: it is announced, or parts of it came, or both."""
        known = told or part
        assert known is not None
        over = self._is_over(name)
        heard = self._heard(name.region)
        held = None if part is None else (part.held, part.size)
        told_ms = None if told is None else told.told_ms
        meaning = "its region has said that it exists" if told else "a part of it is here"
        return {
            "id": str(name),
            "lane": known.lane.label,
            "kind": "",
            "size": known.size,
            "digest": known.digest.hex(),
            "recorded_ms": None if told is None else told.at_ms,
            "received_ms": None,
            "verdict_ms": None,
            "state": "ANNOUNCED" if told else "ARRIVING",
            "meaning": f"{meaning}; {'it is lost' if over else 'it is not here yet'}",
            "final": False,
            "reasons": [],
            "fact_no": None,
            **self._other_names(name),
            "why": missing_why(told_ms, held, over, heard),
            "history": _steps(None if told is None else told.at_ms, [(told_ms, "announced", "")]),
            "lost": over,
            "held_bytes": 0 if part is None else part.held,
        }


def _history(row: PacketRow, events: list[EventRow]) -> list[dict[str, Any]]:
    """Its events; the usual verdict has none (it costs nothing so): it is added from the row."""
    shown: list[tuple[int | None, str, str]] = [(one.at_ms, one.what, one.detail) for one in events]
    if row.status.name not in [one.what for one in events]:
        shown.append((row.verdict_ms, row.status.name, ""))
    return _steps(row.at_ms, shown)


def _steps(recorded_ms: int | None, here: Iterable[tuple[int | None, str, str]]) -> list[dict[str, Any]]:
    """What happened, each with its place: it was recorded at the region (by its clock), all else here."""
    found = [
        {"at_ms": at_ms, "what": what, "detail": detail, "place": "center"}
        for at_ms, what, detail in here
        if at_ms is not None
    ]
    found.sort(key=lambda one: int(str(one["at_ms"])))
    if recorded_ms is not None:
        found.insert(0, {"at_ms": recorded_ms, "what": "recorded", "detail": "", "place": "region"})
    return found
