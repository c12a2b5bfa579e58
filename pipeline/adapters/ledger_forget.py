"""Step 4: what the ledger forgets: the events of packets whose final verdict lies long back, and the parts of
large packets of which no more comes.

Events lie in the order in which they happened. Each call goes on where the last one ended, by a bounded
number of them; when it meets only young ones it begins anew, since what was passed over (an event goes when
all packets that it speaks of are done) may be due by then. A packet that waits for a person, or was refused
and is not mended, keeps its history.

Parts are left over where a packet is never completed: its region was revoked or began anew, or dropped it.
They may go at any time, since nothing was promised of them: what an ack no longer names is sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, not_, select

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Statement, Store
from pipeline.adapters.ledger_tables import ASSEMBLING, EPOCH, EVENT, PACKET, REGION
from schemas.ranges import total
from schemas.verdicts import Status

DAY_MS = 24 * 60 * 60 * 1000
#: A call looks at so many batches of so many events, and each batch at so many packets, where events speak of
#: many (at least at one event): together some 100 ms, of which the write turn is held for the deletes only.
BATCHES_MAX, EVENTS_A_BATCH, PACKETS_A_BATCH = 10, 1_000, 20_000
#: Of so many packets a call discards the parts.
PARTS_A_CALL = 20

_DONE = sorted(int(one) for one in Status if one.final and one is not Status.REFUSED)
_DELETE = Statement(delete(EVENT).where(EVENT.c.id == bindparam("of_id")), ("of_id",))


def forget_old_events(store: Store, after: int, before_ms: int) -> tuple[int, int]:
    """Delete events from before `before_ms` of packets whose final verdicts are as old, from number `after`
    on, in batches of a transaction each. Returns how many went, and from which number to go on."""
    gone = 0
    for _ in range(BATCHES_MAX):
        with store.read() as connection:
            batch = _next(connection, after, before_ms)
            old = [row.id for row in batch if row.at_ms < before_ms]
            if not old:
                return gone, 0
            due = _due(connection, old, before_ms)
        if due:
            with store.write() as connection:
                gone += _DELETE.many(connection, [(one,) for one in due])
        after = batch[-1].id
    return gone, after


def _next(connection: Connection, after: int, before_ms: int) -> Sequence[Any]:
    """The next events, as many as may be looked at in one go."""
    columns = (EVENT.c.id, EVENT.c.at_ms, EVENT.c.seq_first, EVENT.c.seq_last)
    chosen = select(*columns).where(EVENT.c.id > after).order_by(EVENT.c.id).limit(EVENTS_A_BATCH)
    rows = connection.execute(chosen).all()
    packets_left = PACKETS_A_BATCH
    for place, row in enumerate(rows):
        if row.at_ms < before_ms and row.seq_first is not None:
            packets_left -= row.seq_last - row.seq_first + 1
        if place and packets_left < 0:
            return rows[:place]
    return rows


def _due(connection: Connection, ids: Sequence[int], before_ms: int) -> Sequence[int]:
    """Those of these events of whose packets none is unfinished, incomplete, or done only lately."""

    def within(table: Any) -> Any:
        of = table.c.epoch_id == EVENT.c.epoch_id
        return and_(of, table.c.seq >= EVENT.c.seq_first, table.c.seq <= EVENT.c.seq_last)

    done = and_(PACKET.c.status.in_(_DONE), PACKET.c.verdict_ms < before_ms)
    kept = exists().where(within(PACKET), not_(done))
    partly = exists().where(within(ASSEMBLING))
    chosen = select(EVENT.c.id).where(
        EVENT.c.id.in_(ids), EVENT.c.epoch_id.is_not(None), not_(kept), not_(partly)
    )
    return [int(one) for one in connection.execute(chosen).scalars()]


def forget_old_parts(store: Store, before_ms: int, now_ms: int) -> int:
    """Discard what is here of incomplete packets of which no chunk came since `before_ms`, the oldest first,
    at most PARTS_A_CALL of them, in a transaction each. Returns of how many."""
    with store.read() as connection:
        old = connection.execute(
            select(EPOCH.c.region, ASSEMBLING.c.epoch_id, ASSEMBLING.c.seq)
            .join(EPOCH, EPOCH.c.id == ASSEMBLING.c.epoch_id)
            .where(ASSEMBLING.c.last_ms < before_ms)
            .order_by(ASSEMBLING.c.last_ms)
            .limit(PARTS_A_CALL)
        ).all()
    return sum(_discard(store, *row, before_ms, now_ms) for row in old)


def _discard(store: Store, region: str, epoch_id: int, seq: int, before_ms: int, now_ms: int) -> bool:
    with store.write() as connection:
        # Intake locks the same row: a chunk has come before this look, or finds nothing after it.
        connection.execute(select(REGION.c.code).where(REGION.c.code == region).with_for_update())
        held = pieces.load(connection, epoch_id, seq)
        if held is None or held.last_ms >= before_ms:
            return False
        pieces.drop(connection, epoch_id, seq)
        books = Books(region, now_ms)
        books.count("parts_discarded")
        said = f"no more came of it: the {total(held.ranges)} of {held.size} bytes that were here went"
        books.event("discarded", epoch_id, seq, seq, said)
        books.write(connection)
    return True
