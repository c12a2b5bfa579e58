"""Step 6: what regions ask for by themselves (`pipeline.center.answers`), and how their rebuilds stand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, select

from pipeline.adapters.ledger_engine import Store
from pipeline.adapters.ledger_leaves import prefix_of
from pipeline.adapters.ledger_rebuild import COLUMNS, SOURCE, STATUS, Source, Unreadable, cut
from pipeline.adapters.ledger_tables import BODY, EPOCH, PACKET, RECORD, REGION, WAS
from schemas.asks import HeldPacket
from schemas.back import Piece
from schemas.errors import SchemaError
from schemas.feed import RecordChange
from schemas.messages import Back, Want, unpack_message
from schemas.ranges import Ranges
from schemas.verdicts import Status


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
        want = self.want_of(region)
        return None if want is None else Rebuild(want.back, want.clock_ms, want.fresh)

    def want_of(self, region: str) -> Want | None:
        """What that region said last; `None` where that is nothing, or does not read."""
        with self._store.read() as connection:
            packed = connection.execute(select(REGION.c.want).where(REGION.c.code == region)).scalar()
        try:
            return None if packed is None else unpack_message(Want, packed)
        except SchemaError:  # another version wrote it; it is repeated within seconds
            return None

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
        is all). One that is here under another of its names (`was`) is told under the name asked for."""
        held: dict[int, HeldPacket] = {}
        with self._store.read() as connection:
            of = select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
            number = connection.execute(of).scalar()
            if number is None:
                return [], None
            for start, stop in seqs:
                at: int | None = start
                while at is not None:
                    found, at = _held(connection, number, at, stop, packets_max - len(held) + 1)
                    held |= found
                    if len(held) > packets_max:
                        listed = sorted(held.values())
                        return listed[:packets_max], listed[packets_max].seq
        return sorted(held.values()), None


def _held(
    connection: Connection, epoch: int, start: int, stop: int, limit: int
) -> tuple[dict[int, HeldPacket], int | None]:
    """Packets `[start, stop)` of an epoch, under whichever name they are here: at least the first `limit` of
    them, and the seq from which on there may be more."""
    found: dict[int, HeldPacket] = {}
    more: int | None = None
    for seq, chosen in _places(epoch):
        rows = connection.execute(chosen.where(seq >= start, seq < stop).order_by(seq).limit(limit)).all()
        if len(rows) == limit:
            more = rows[-1].asked + 1 if more is None else min(more, rows[-1].asked + 1)
        for row in rows:
            before = found.get(row.asked)
            if before is None or before.status is Status.REFUSED:
                found[row.asked] = HeldPacket(row.asked, STATUS[row.status], row.fact_no, bytes(row.digest))
    known = {seq: one for seq, one in found.items() if more is None or seq < more}
    return known, more if more is None or more < stop else None


def _places(epoch: int) -> tuple[tuple[Any, Select[Any]], ...]:
    """Where packets of an epoch can be: under their name, under a newer one, under an older one, or under
    another older one of the same. Of each the column of the seq asked for, and the query."""
    names = [PACKET.c[name] for name in ("status", "fact_no", "digest")]
    other = WAS.alias("other")
    here = and_(PACKET.c.epoch_id == WAS.c.epoch_id, PACKET.c.seq == WAS.c.seq)
    older = and_(PACKET.c.epoch_id == WAS.c.old_epoch_id, PACKET.c.seq == WAS.c.old_seq)
    beside = and_(PACKET.c.epoch_id == other.c.old_epoch_id, PACKET.c.seq == other.c.old_seq)
    same = and_(other.c.epoch_id == WAS.c.epoch_id, other.c.seq == WAS.c.seq)
    plain, old, new = PACKET.c.seq, WAS.c.old_seq, WAS.c.seq
    of_old, of_new = WAS.c.old_epoch_id == epoch, WAS.c.epoch_id == epoch
    by_old, by_new = select(old.label("asked"), *names), select(new.label("asked"), *names)
    return (
        (plain, select(plain.label("asked"), *names).where(PACKET.c.epoch_id == epoch)),
        (old, by_old.join_from(WAS, PACKET, here).where(of_old)),
        (new, by_new.join_from(WAS, PACKET, older).where(of_new)),
        (old, by_old.join_from(WAS, other, same).join(PACKET, beside).where(of_old)),
    )


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
