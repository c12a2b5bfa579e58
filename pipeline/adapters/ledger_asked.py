"""Step 6: what regions ask for by themselves (`pipeline.center.answers`), and how their rebuilds stand."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select

from pipeline.adapters.ledger_engine import Store
from pipeline.adapters.ledger_leaves import prefix_of
from pipeline.adapters.ledger_rebuild import COLUMNS, SOURCE, STATUS, Source, Unreadable, cut
from pipeline.adapters.ledger_tables import BODY, EPOCH, PACKET, RECORD, REGION
from schemas.asks import HeldPacket
from schemas.back import Piece
from schemas.errors import SchemaError
from schemas.feed import RecordChange
from schemas.messages import Back, Want, unpack_message
from schemas.ranges import Ranges


class Rebuild(NamedTuple):
    """How a region's rebuild stands, as its latest want says (`back` `None`: there is none, or it is done);
    `clock_ms` is the region's clock then. `fresh`: it has nothing yet, and waits for a place to begin."""

    back: Back | None
    clock_ms: int
    fresh: bool


class LedgerAsked:
    """The part of `LedgerReader` that answers regions, and says how their rebuilds stand."""

    _store: Store

    def rebuild_of(self, region: str) -> Rebuild | None:
        """How that region's rebuild stands; `None` where it has not said anything yet."""
        with self._store.read() as connection:
            packed = connection.execute(select(REGION.c.want).where(REGION.c.code == region)).scalar()
        if packed is None:
            return None
        try:
            want = unpack_message(Want, packed)
        except SchemaError:  # another version wrote it; it is repeated within seconds
            return None
        return Rebuild(want.back, want.clock_ms, want.fresh)

    def record_now(self, region: str, nik: str) -> RecordChange | None:
        """The region's record of that citizen with its head, if there is one that can be read."""
        with self._store.read() as connection:
            found = _record(connection, region, nik)
        return None if found is None else found[0]

    def pieces_of(
        self, region: str, nik: str, names: Collection[str] | None, at: int, bytes_max: int
    ) -> tuple[list[Piece], int, bool]:
        """Attachments of the packet that the record was made from, from byte `at` of those chosen on: pieces,
        the byte that they reach, and whether that is the end."""
        with self._store.read() as connection:
            found = _record(connection, region, nik)
            if found is None:
                return [], at, True
            try:
                pieces, done = cut(connection, found[1], names, at, bytes_max, bytes_max)
            except (Unreadable, SchemaError):
                return [], at, True
        return [piece for _, piece in pieces], pieces[-1][0] if pieces else at, done

    def packets_held(
        self, region: str, epoch: str, seqs: Ranges, packets_max: int
    ) -> tuple[list[HeldPacket], int | None]:
        """What the ledger says of those packets, rising, and the seq from which on it goes on (`None`: that
        is all)."""
        held: list[HeldPacket] = []
        columns = [PACKET.c[name] for name in ("seq", "status", "fact_no", "digest")]
        with self._store.read() as connection:
            of = select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
            number = connection.execute(of).scalar()
            for start, stop in () if number is None else seqs:
                within = (PACKET.c.epoch_id == number, PACKET.c.seq >= start, PACKET.c.seq < stop)
                limit = packets_max - len(held) + 1
                rows = connection.execute(select(*columns).where(*within).order_by(PACKET.c.seq).limit(limit))
                for row in rows:
                    if len(held) == packets_max:
                        return held, int(row.seq)
                    held.append(HeldPacket(row.seq, STATUS[row.status], row.fact_no, bytes(row.digest)))
        return held, None


def _record(connection: Connection, region: str, nik: str) -> tuple[RecordChange, Source] | None:
    row = connection.execute(
        select(*COLUMNS, EPOCH.c.epoch, BODY.c.stored)
        .join_from(RECORD, EPOCH, EPOCH.c.id == RECORD.c.epoch_id)
        .join(BODY, SOURCE, isouter=True)
        .where(RECORD.c.region == region, RECORD.c.nik == nik)
    ).one_or_none()
    head = None if row is None else prefix_of(connection, row.epoch_id, row.seq, row.stored)
    if row is None or head is None:
        return None
    change = RecordChange(row.version, STATUS[row.status], row.epoch, row.seq, head)
    return change, Source(row.epoch_id, row.epoch, row.seq, head, row.stored)
