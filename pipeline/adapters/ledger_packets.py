"""Step 4: a batch of frames into the ledger, in one transaction: packets, chunks, refusals, quarantine.

Everything that the batch touches gets the next numbers of its region's facts, in the order in which it was
touched: what is new, what was sent again (so that its receipt comes again), what is refused. The numbers come
from the region's row, which is locked first, so numbers and commits are in one order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_books import Books, quarantine, trim_quarantine
from pipeline.adapters.ledger_engine import Statement, inserted_id
from pipeline.adapters.ledger_niks import NO_NIK, nik_key
from pipeline.adapters.ledger_tables import BODY, EPOCH, PACKET
from pipeline.center.outcomes import Item
from pipeline.center.reading import ChunkOf, Packets, Quarantined, Unreadable
from schemas.packet import Packet
from schemas.ranges import Ranges, from_numbers, numbers
from schemas.verdicts import Reason, Status

_RECEIVED, _REFUSED = int(Status.RECEIVED_AT_CENTRAL), int(Status.REFUSED)
_COLUMNS = tuple(column.name for column in PACKET.columns)
_INSERT = Statement(PACKET.insert().values({name: bindparam(name) for name in _COLUMNS}), _COLUMNS)
_BODY = Statement(
    BODY.insert().values({name: bindparam(name) for name in ("epoch_id", "seq", "stored")}),
    ("epoch_id", "seq", "stored"),
)
_RENUMBER = Statement(
    update(PACKET)
    .where(PACKET.c.epoch_id == bindparam("of_epoch"), PACKET.c.seq == bindparam("of_seq"))
    .values(fact_no=bindparam("fact_no")),
    ("fact_no", "of_epoch", "of_seq"),
)
_DELETE = Statement(
    delete(PACKET).where(PACKET.c.epoch_id == bindparam("of_epoch"), PACKET.c.seq == bindparam("of_seq")),
    ("of_epoch", "of_seq"),
)

#: More ranges than this are looked up as one span, where it is not longer than that (seqs).
_RANGES_A_LOOK, _SPAN_A_LOOK = 8, 20_000

Key = tuple[int, int]


def reasons_text(reasons: Iterable[Reason]) -> str:
    """Reasons as they are stored."""
    listed = [list(one) for one in reasons]
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":")) if listed else ""


def reasons_of(text: str) -> tuple[Reason, ...]:
    """Reasons of their stored form."""
    return tuple(Reason(*one) for one in json.loads(text)) if text else ()


def epoch_id(connection: Connection, region: str, epoch: str) -> int:
    """The id of an epoch, which is registered when it is first seen (the region's row must be locked)."""
    found = connection.execute(
        select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
    ).scalar()
    if found is not None:
        return int(found)
    last = connection.execute(select(func.max(EPOCH.c.ord)).where(EPOCH.c.region == region)).scalar()
    made = connection.execute(insert(EPOCH).values(region=region, epoch=epoch, ord=(last or 0) + 1))
    return inserted_id(made)


@dataclass(slots=True)
class _Slot:
    """A packet that the batch is about: what is known of it, and the row to write if that changes.

    `row` is the packet's row without its `fact_no`: (before, after) it."""

    digest: bytes
    status: int
    lane: int
    stored: bool
    row: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None


@dataclass
class Batch:
    """The state of one transaction of intake for one region. `taken` counts what happened, in packets."""

    connection: Connection
    books: Books
    taken: dict[str, int] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)
    _slots: dict[Key, _Slot] = field(default_factory=dict)
    _looked: set[Key] = field(default_factory=set)
    _touched: dict[Key, None] = field(default_factory=dict)
    _bodies: list[tuple[int, int, bytes]] = field(default_factory=list)
    _assemblies: dict[Key, pieces.Assembly] = field(default_factory=dict)

    def take(self, items: Sequence[Item]) -> None:
        """Sort out every item (wants and joins are not ours)."""
        for item in items:
            match item.outcome:
                case Packets() as batch:
                    self._packets(batch)
                case ChunkOf() as chunk:
                    self._chunk(chunk)
                case Unreadable() as refused:
                    self._unreadable(refused)
                case Quarantined(code, sentence):
                    quarantine(self.connection, self.books, item.stream, code, sentence, item.frame)
                    self._count("quarantined")

    def finish(self, facts_no: int) -> int:
        """Write everything; returns the last number given out, starting from `facts_no`."""
        for key, assembly in self._assemblies.items():
            self._finish_assembly(key, assembly)
        inserts, renumbered, replaced = [], [], []
        for key in self._touched:
            facts_no += 1
            slot = self._slots[key]
            if slot.row is None:
                renumbered.append((facts_no, *key))
                continue
            inserts.append((*slot.row[0], facts_no, *slot.row[1]))
            if slot.stored:
                replaced.append(key)
        _DELETE.many(self.connection, replaced)
        _INSERT.many(self.connection, inserts)
        _BODY.many(self.connection, self._bodies)
        _RENUMBER.many(self.connection, renumbered)
        if self.taken.get("quarantined"):
            trim_quarantine(self.connection, self.books)
        for what, n in self.taken.items():
            self.books.count(what, n)
        return facts_no

    # --- what frames bring ----------------------------------------------------------------------

    def _packets(self, batch: Packets) -> None:
        epoch = self._epoch(batch.epoch)
        seqs = [one.seq for one in batch.read]
        self._look(epoch, from_numbers([*seqs, *(seq for seq, _ in batch.refused)]))
        slots, lane, fresh, again, twice = self._slots, int(batch.lane), 0, 0, 0
        for one in batch.read:
            key = (epoch, one.seq)
            slot = slots.get(key)
            if slot is None or slot.status == _REFUSED:
                self._bodies.append((epoch, one.seq, one.stored))
                self._receive(key, slot, lane, one.digest, len(one.stored), one.packet, pieces_=0)
                fresh += 1
            elif slot.digest == one.digest:
                self._touched[key] = None
                again, twice = again + 1, twice + len(one.stored)
            else:
                self._fork(key)
        for seq, reason in batch.refused:
            self._refuse((epoch, seq), lane, reason)
        self._count("received", fresh)
        self._count("duplicates", again)
        self.books.count("bytes_twice", twice)
        if seqs:
            detail = f"{fresh} packets" + (f", {again} of the batch were there already" if again else "")
            self.books.event("received" if fresh else "received_again", epoch, seqs[0], seqs[-1], detail)

    def _chunk(self, chunk: ChunkOf) -> None:
        epoch = self._epoch(chunk.epoch)
        key = (epoch, chunk.seq)
        self._look(epoch, ((chunk.seq, chunk.seq + 1),))
        self._count("chunks")
        slot = self._slots.get(key)
        if slot is not None and slot.status != _REFUSED:
            if slot.digest != chunk.digest:
                self._fork(key)
                return
            self.books.count("bytes_twice", len(chunk.data))
            if key not in self._touched:
                self._touched[key] = None
                self._count("duplicates")
            return
        held = self._assemblies.get(key) or pieces.load(self.connection, *key)
        held, twice = pieces.add(self.connection, held, epoch, chunk, self.books.now_ms)
        self.books.count("bytes_twice", twice)
        self._assemblies[key] = held

    def _unreadable(self, refused: Unreadable) -> None:
        epoch = self._epoch(refused.epoch)
        self._look(epoch, refused.seqs)
        for seq in numbers(refused.seqs):
            self._refuse((epoch, seq), int(refused.lane), refused.reason)

    def _finish_assembly(self, key: Key, held: pieces.Assembly) -> None:
        slot = self._slots.get(key)
        if slot is not None and slot.status != _REFUSED:  # it came whole in the same batch
            pieces.drop(self.connection, *key)
            return
        match pieces.finish(self.connection, held):
            case pieces.Complete(packet):
                self._receive(key, slot, held.lane, held.digest, held.size, packet, pieces_=1)
                self._count("received")
                self._count("completed")
                self.books.event("received", *key, key[1], f"complete, {held.size} bytes")
            case pieces.NotAPacket(reason):
                self._refuse(key, held.lane, reason)
            case pieces.Incomplete(restated=True):
                self._count("restated")
                self.books.event(
                    "restated", *key, key[1], "its bytes did not match its digest: it is sent again"
                )

    # --- what becomes of a packet ---------------------------------------------------------------

    def _receive(
        self,
        key: Key,
        before: _Slot | None,
        lane: int,
        digest: bytes,
        size: int,
        packet: Packet,
        pieces_: int,
    ) -> None:
        now_ms = self.books.now_ms
        row = (
            *key,
            self.books.region,
            lane,
            digest,
            packet.kind,
            size,
            packet.at_ms,
            now_ms,
            nik_key(packet.nik),
        )
        self._put(key, before, digest, _RECEIVED, lane, (row, (_RECEIVED, "", now_ms, 0, None, pieces_)))

    def _refuse(self, key: Key, lane: int, reason: Reason) -> None:
        """Say that the center could not read it, unless it has the packet: then that is said again."""
        before = self._slots.get(key)
        if before is not None and before.status != _REFUSED:
            self._touched[key] = None
            self._count("duplicates")
            return
        now_ms = self.books.now_ms
        row = (*key, self.books.region, lane, b"", "", 0, 0, now_ms, NO_NIK)
        tail = (_REFUSED, reasons_text([reason]), None, 0, now_ms, 0)
        self._put(key, before, b"", _REFUSED, lane, (row, tail))
        self._count("refused")
        self.books.event("refused", *key, key[1], f"{reason.code}: {reason.detail}")

    def _put(
        self, key: Key, before: _Slot | None, digest: bytes, status: int, lane: int, row: tuple[Any, Any]
    ) -> None:
        if before is not None:
            self.books.moved(before.lane, before.status, None)
        self.books.moved(lane, None, status)
        self._slots[key] = _Slot(digest, status, lane, before is not None and before.stored, row)
        self._touched[key] = None

    def _fork(self, key: Key) -> None:
        """Refused, never merged. What is held is said again: its digest tells the region that it forked."""
        self._touched[key] = None
        self._count("forks")
        self.books.event("fork", *key, key[1], "the same identity with other contents: not taken")

    # --- what is known --------------------------------------------------------------------------

    def _epoch(self, epoch: str) -> int:
        found = self._epochs.get(epoch)
        if found is None:
            found = self._epochs[epoch] = epoch_id(self.connection, self.books.region, epoch)
        return found

    def _look(self, epoch: int, seqs: Ranges) -> None:
        """Load what the ledger knows of these packets, but for what this batch has put there itself."""
        if len(seqs) > _RANGES_A_LOOK and seqs[-1][1] - seqs[0][0] < _SPAN_A_LOOK:
            seqs = ((seqs[0][0], seqs[-1][1]),)
        for start, stop in seqs:
            if (epoch, start) in self._looked and stop == start + 1:
                continue  # the chunks of one packet ask once
            self._looked.add((epoch, start))
            for row in _known(self.connection, epoch, start, stop):
                self._slots.setdefault((epoch, row.seq), _Slot(row.digest, row.status, row.lane, True))

    def _count(self, what: str, n: int = 1) -> None:
        if n:
            self.taken[what] = self.taken.get(what, 0) + n


def _known(connection: Connection, epoch: int, start: int, stop: int) -> Sequence[Any]:
    """What is known of an epoch's packets in `[start, stop)`."""
    return connection.execute(
        select(PACKET.c.seq, PACKET.c.digest, PACKET.c.status, PACKET.c.lane).where(
            PACKET.c.epoch_id == epoch, PACKET.c.seq >= start, PACKET.c.seq < stop
        )
    ).all()
