"""Steps 4 to 6, to look at: the ledger's packets one by one, their histories, and what was kept aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select

from pipeline.adapters.ledger_announced import AnnouncedRow, find
from pipeline.adapters.ledger_niks import NO_NIK, nik_key
from pipeline.adapters.ledger_packets import reasons_of
from pipeline.adapters.ledger_shelf import LedgerShelf
from pipeline.adapters.ledger_tables import ANNOUNCED, EPOCH, EVENT, PACKET, QUARANTINE
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.verdicts import Reason, Status


@dataclass(frozen=True)
class PacketRow:
    """A packet as the ledger holds it."""

    id: PacketId
    lane: Lane
    kind: str
    size: int
    digest: bytes
    at_ms: int
    received_ms: int
    status: Status
    reasons: tuple[Reason, ...]
    fact_no: int
    tries: int
    due_ms: int | None
    verdict_ms: int | None


@dataclass(frozen=True)
class EventRow:
    """Something that happened to the packets `seqs` (first, last) of an epoch, or to a region (`None`)."""

    at_ms: int
    region: str
    seqs: tuple[int, int] | None
    what: str
    detail: str


@dataclass(frozen=True)
class QuarantineRow:
    """A frame that was kept aside."""

    id: int
    region: str
    stream: str
    code: str
    sentence: str
    at_ms: int
    bytes: int


class LedgerHistory(LedgerShelf):
    """The part of `LedgerReader` that reads packets and what happened to them."""

    # --- packets --------------------------------------------------------------------------------

    def packet(self, packet: PacketId) -> PacketRow | None:
        """The packet of that identity."""
        found = self._packets(
            EPOCH.c.region == packet.region, EPOCH.c.epoch == packet.epoch, PACKET.c.seq == packet.seq
        )
        return found[0] if found else None

    def packets_of(self, nik: str) -> list[PacketRow]:
        """A citizen's packets, in the order in which they came."""
        found = self._packets(PACKET.c.nik_key == nik_key(nik), PACKET.c.status != int(Status.REFUSED))
        return [one for one in found if self._is_about(one.id, nik)]

    def refused(self, region: str | None = None, limit: int = 1_000) -> list[PacketRow]:
        """Packets that could not be read and are not mended yet, the last refused first. Their `received_ms`
        is when that was; of what is in them (kind, size, digest, `at_ms`) nothing is known."""
        of = () if region is None else (EPOCH.c.region == region,)
        # By the number that only they have in place of a NIK's: there is an index on it, none on the status.
        return self._packets(
            PACKET.c.nik_key == NO_NIK, PACKET.c.status == int(Status.REFUSED), *of, newest=limit
        )

    def announced(self, packet: PacketId | None = None, nik: str | None = None) -> list[AnnouncedRow]:
        """Packets that are announced and not here: of that identity, of that citizen, or all. Of a NIK only 8
        bytes of its hash are known before the packet is here, and another's may have the same."""
        where: list[Any] = []
        if packet is not None:
            where = [EPOCH.c.region == packet.region, EPOCH.c.epoch == packet.epoch]
            where.append(ANNOUNCED.c.seq == packet.seq)
        if nik is not None:
            where.append(ANNOUNCED.c.nik_key == nik_key(nik))
        with self._store.read() as connection:
            return find(connection, *where)

    def events(self, packet: PacketId) -> list[EventRow]:
        """A packet's history, oldest first."""
        return self._events(
            EVENT.c.region == packet.region,
            EPOCH.c.epoch == packet.epoch,
            EVENT.c.seq_first <= packet.seq,
            EVENT.c.seq_last >= packet.seq,
        )

    def region_events(self, region: str, limit: int = 100) -> list[EventRow]:
        """What last happened in a region, newest first."""
        return self._events(EVENT.c.region == region, newest=limit)

    def quarantine(self, region: str | None = None, limit: int = 1_000) -> list[QuarantineRow]:
        """Frames kept aside, newest first."""
        names = ("id", "region", "stream", "code", "sentence", "at_ms")
        chosen = select(
            *(QUARANTINE.c[name] for name in names), func.length(QUARANTINE.c.frame).label("bytes")
        )
        if region is not None:
            chosen = chosen.where(QUARANTINE.c.region == region)
        with self._store.read() as connection:
            rows = connection.execute(chosen.order_by(QUARANTINE.c.id.desc()).limit(limit)).all()
        return [
            QuarantineRow(row.id, row.region, row.stream, row.code, row.sentence, row.at_ms, row.bytes)
            for row in rows
        ]

    # --- helpers --------------------------------------------------------------------------------

    def _is_about(self, packet: PacketId, nik: str) -> bool:
        """Whether a packet says that NIK: two may share the number that stands in the row. One whose bytes
        are damaged is shown to both: better too much than to hide what was asked for."""
        try:
            head = self.head(packet)
        except SchemaError:
            return True
        return head is None or head.nik == nik

    def _packets(self, *where: Any, newest: int | None = None) -> list[PacketRow]:
        chosen = select(PACKET, EPOCH.c.epoch).join(EPOCH, EPOCH.c.id == PACKET.c.epoch_id).where(*where)
        order = (PACKET.c.received_ms, PACKET.c.epoch_id, PACKET.c.seq)
        ordered = (
            chosen.order_by(*order)
            if newest is None
            else chosen.order_by(*(one.desc() for one in order)).limit(newest)
        )
        with self._store.read() as connection:
            rows = connection.execute(ordered).all()
        return [
            PacketRow(
                PacketId(row.region, row.epoch, row.seq),
                Lane(row.lane),
                row.kind,
                row.size,
                row.digest,
                row.at_ms,
                row.received_ms,
                Status(row.status),
                reasons_of(row.reasons),
                row.fact_no,
                row.tries,
                row.due_ms,
                row.verdict_ms,
            )
            for row in rows
        ]

    def _events(self, *where: Any, newest: int | None = None) -> list[EventRow]:
        joined = select(EVENT).join(EPOCH, EPOCH.c.id == EVENT.c.epoch_id, isouter=True).where(and_(*where))
        ordered = (
            joined.order_by(EVENT.c.id)
            if newest is None
            else joined.order_by(EVENT.c.id.desc()).limit(newest)
        )
        with self._store.read() as connection:
            rows: Sequence[Any] = connection.execute(ordered).all()
        return [
            EventRow(
                row.at_ms,
                row.region,
                None if row.epoch_id is None else (row.seq_first, row.seq_last),
                row.what,
                row.detail,
            )
            for row in rows
        ]
