"""Inspection of the outbox: what goes before one packet, and what happened to it, in its own epoch.

Seqs begin at 1 in every epoch, and events know only seqs: those of an epoch are the ones between the two
events that tell of its beginning and of its end.
"""

from __future__ import annotations

from typing import Any

import apsw

from pipeline.adapters.outbox_books import ranges_of
from pipeline.adapters.outbox_counts import Amount
from pipeline.adapters.outbox_layout import WAITING
from schemas.lanes import Lane
from schemas.ranges import contains

#: The event that ends an epoch and begins the next one.
NEW_EPOCH = "new epoch"
_AGAIN = (
    "SELECT count(*), coalesce(sum(size), 0) FROM again JOIN packet USING(seq) "
    "WHERE again.lane = ?1 AND seq < ?2"
)
_NEW = (
    "SELECT count(*), coalesce(sum(size), 0) FROM packet INDEXED BY packet_lane "
    "WHERE lane = ?1 AND seq > ?2 AND seq < ?3 AND status IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM aside WHERE aside.seq = packet.seq)"
)
_EVENTS = "SELECT id, at_ms, what, ranges, detail FROM event WHERE first <= ?1 AND last >= ?1 "


def queue_before(db: apsw.Connection, lane: Lane, seq: int) -> Amount:
    """See `OutboxReader.before`. Rows are counted on the shorter side of the packet; the counters know the
    rest."""
    cursor = int(db.execute("SELECT cursor FROM lane WHERE lane = ?", (lane,)).get or 0)
    if seq <= cursor:
        return _amount(db, _AGAIN, (lane, seq))
    top = int(db.execute("SELECT max(seq) FROM packet WHERE lane = ?", (lane,)).get or 0)
    if seq - cursor <= top - seq:
        return _amount(db, _AGAIN, (lane, cursor + 1)) + _amount(db, _NEW, (lane, cursor, seq))
    waiting = _amount(db, "SELECT packets, bytes FROM counter WHERE lane = ? AND what = ?", (lane, WAITING))
    behind = _amount(db, _NEW, (lane, seq - 1, top + 1))  # with the packet itself
    return Amount(max(0, waiting.packets - behind.packets), max(0, waiting.bytes - behind.bytes))


def _amount(db: apsw.Connection, query: str, values: tuple[int, ...]) -> Amount:
    row: Any = db.execute(query, values).fetchone()
    return Amount(*row) if row is not None else Amount()


def events_of(db: apsw.Connection, seq: int, epoch: str | None) -> list[Any]:
    """Rows (id, at_ms, what, ranges, detail) of the events of that packet, oldest first."""
    epochs = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
    after, upto = _span_of(db, epochs, epochs[-1] if epoch is None else epoch)
    query, values = _EVENTS, [seq]
    if after:
        query, values = query + "AND id > ?2 ", [seq, after]
    if upto:
        query, values = query + f"AND id <= ?{len(values) + 1} ", [*values, upto]
    rows: list[Any] = db.execute(query + "ORDER BY id", values).fetchall()
    return [row for row in rows if contains(ranges_of(row[3]), seq)]


def _span_of(db: apsw.Connection, epochs: list[str], epoch: str) -> tuple[int, int]:
    """The events of `epoch` have ids above the first number, up to the second (0: no bound)."""
    if len(epochs) == 1 or epoch not in epochs:
        return 0, 0
    turns = [
        int(row[0]) for row in db.execute("SELECT id FROM event WHERE what = ? ORDER BY id", (NEW_EPOCH,))
    ]
    # The oldest events may be forgotten: counted from the end.
    later = len(epochs) - 1 - epochs.index(epoch)
    upto = turns[-later] if 0 < later <= len(turns) else 0
    after = turns[-later - 1] if later < len(turns) else 0
    return after, upto
