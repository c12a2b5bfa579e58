"""Steps 4 and 5, to look at: records and packets' own bytes out of the ledger, attachments as files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_engine import Store
from pipeline.adapters.ledger_tables import BODY, EPOCH, RECORD
from schemas.identity import PacketId
from schemas.packet import Packet, head_bytes, read_head
from schemas.verdicts import Status


@dataclass(frozen=True)
class RecordRow:
    """A record, and the packet that it was made from (its head, read)."""

    region: str
    nik: str
    version: int
    record_no: int
    status: Status
    source: PacketId
    packet: Packet


class LedgerShelf:
    """The part of `LedgerReader` that reads contents."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self) -> None:
        """Let go of every connection."""
        self._store.close()

    def record_count(self, region: str | None = None) -> int:
        """How many records there are."""
        counted = select(func.count()).select_from(RECORD)
        if region is not None:
            counted = counted.where(RECORD.c.region == region)
        with self._store.read() as connection:
            return int(connection.execute(counted).scalar_one())

    def records(
        self, nik: str | None = None, region: str | None = None, limit: int = 1_000
    ) -> list[RecordRow]:
        """Records, by NIK (one a region), or all of them in order of region and NIK."""
        chosen = select(RECORD, EPOCH.c.epoch, EPOCH.c.region.label("of_region")).join(
            EPOCH, EPOCH.c.id == RECORD.c.epoch_id
        )
        if nik is not None:
            chosen = chosen.where(RECORD.c.nik == nik)
        if region is not None:
            chosen = chosen.where(RECORD.c.region == region)
        with self._store.read() as connection:
            rows = connection.execute(chosen.order_by(RECORD.c.region, RECORD.c.nik).limit(limit)).all()
            return [
                RecordRow(
                    row.region,
                    row.nik,
                    row.version,
                    row.record_no,
                    Status(row.status),
                    PacketId(row.of_region, row.epoch, row.seq),
                    read_head(_begin(connection, row.epoch_id, row.seq) or b"", check=False),
                )
                for row in rows
            ]

    def stored(self, packet: PacketId) -> Iterator[bytes]:
        """A packet's stored bytes, piece by piece; nothing if they are not here."""
        with self._store.read() as connection:
            place = _place(connection, packet)
            if place is not None:
                yield from _stored(connection, *place)

    def write_attachments(self, packet: PacketId, folder: Path) -> list[Path]:
        """A packet's attachments as files of their names in `folder`, streamed; returns their paths."""
        head = self.head(packet)
        if head is None:
            return []
        source = self.stored(packet)
        begin = b""
        for data in source:
            begin += data
            if len(begin) >= 4 and len(begin) >= head_bytes(begin):
                break
        rest = _Reader(begin[head_bytes(begin) :], source)
        paths = []
        for one in head.attachments:
            path = folder / one.name
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as out:
                for data in rest.take(one.size):
                    out.write(data)
            paths.append(path)
        return paths

    def head(self, packet: PacketId) -> Packet | None:
        """What a packet says, without its attachments; `None` if its bytes are not here."""
        with self._store.read() as connection:
            place = _place(connection, packet)
            begin = None if place is None else _begin(connection, *place)
        return None if begin is None else read_head(begin, check=False)


class _Reader:
    """Takes so many bytes at a time out of pieces of any size."""

    def __init__(self, begin: bytes, source: Iterator[bytes]) -> None:
        self._held, self._source = begin, source

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces."""
        while size:
            if not self._held:
                self._held = next(self._source)
            part, self._held = self._held[:size], self._held[size:]
            size -= len(part)
            yield part


def _place(connection: Connection, packet: PacketId) -> tuple[int, int] | None:
    found = connection.execute(
        select(EPOCH.c.id).where(EPOCH.c.region == packet.region, EPOCH.c.epoch == packet.epoch)
    ).scalar()
    return None if found is None else (found, packet.seq)


def _stored(connection: Connection, epoch_id: int, seq: int) -> Iterator[bytes]:
    small = select(BODY.c.stored).where(BODY.c.epoch_id == epoch_id, BODY.c.seq == seq)
    found = connection.execute(small).scalar()
    if found is not None:
        yield bytes(found)
    else:
        yield from pieces.read(connection, epoch_id, seq)


def _begin(connection: Connection, epoch_id: int, seq: int) -> bytes | None:
    """At least length and head of a packet."""
    begin = b""
    for data in _stored(connection, epoch_id, seq):
        begin += data
        if len(begin) >= 4 and len(begin) >= head_bytes(begin):
            return begin
    return None
