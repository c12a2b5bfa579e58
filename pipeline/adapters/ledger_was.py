"""Step 4: packets under their older names: the table `was`, filled from what wants tell (`Want.renumbered`).

A region that lost the end of its outbox, or met a fork, goes on in a new epoch and numbers anew what the
center has not spoken of. The old names stay findable, and what was announced under one is announced under the
new one from then on: so it is struck off when the packet comes, and is lost at most once. In which order the
run, the packet and the announcement come does not matter.

The rows of an epoch are, at any time, the first so many of the older names that its region lists, in its
order: so their number (`known`) says where it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Statement, inserted_id, upsert
from pipeline.adapters.ledger_tables import ANNOUNCED, EPOCH, PACKET, WAS
from schemas.limits import INTEGER_MAX
from schemas.messages import Run
from schemas.verdicts import Status

#: Rows that one want may write, however long its runs say they are; the rest comes with the next ones.
ROWS_A_WANT = 20_000
#: Older names of the packets of one epoch, and epochs of one region that may be registered by being named.
EPOCH_ROWS_MAX = 1_000_000
EPOCHS_MAX = 1_000

_NAMES = ("old_epoch_id", "old_seq", "epoch_id", "seq")
_MOVE = Statement(
    update(ANNOUNCED)
    .where(ANNOUNCED.c.epoch_id == bindparam("of_epoch"), ANNOUNCED.c.seq == bindparam("of_seq"))
    .values(epoch_id=bindparam("to_epoch"), seq=bindparam("to_seq")),
    ("to_epoch", "to_seq", "of_epoch", "of_seq"),
)
_CLOSE = Statement(
    delete(ANNOUNCED).where(
        ANNOUNCED.c.epoch_id == bindparam("of_epoch"), ANNOUNCED.c.seq == bindparam("of_seq")
    ),
    ("of_epoch", "of_seq"),
)
_WRITE: dict[str, Statement] = {}


class _Span(NamedTuple):
    """Seqs `old ... old + n - 1` of the epoch `of` are `new ... new + n - 1` of the epoch `to` (ids)."""

    of: int
    old: int
    to: int
    new: int
    n: int


def take_runs(connection: Connection, books: Books, region: str, epoch_id: int, runs: Sequence[Run]) -> int:
    """Write down what packets of the epoch `epoch_id` were called before; returns how many names were new.

    The same again changes nothing. A run of an epoch that is not older is passed over; one of an epoch that
    was never heard of is taken (its region had no link in all its life), and that epoch counts as older than
    any. Before `books` are written, in a transaction that holds the region's row.
    """
    if not runs:
        return 0
    room = min(ROWS_A_WANT, EPOCH_ROWS_MAX - known(connection, epoch_id))
    ord_ = int(connection.execute(select(EPOCH.c.ord).where(EPOCH.c.id == epoch_id)).scalar_one())
    written = 0
    for run in runs:
        n = min(run.count, room, INTEGER_MAX - run.old, INTEGER_MAX - run.new)
        of = _older(connection, region, run.epoch, ord_) if n > 0 else None
        if of is None:
            continue
        room -= n
        span = _Span(of, run.old, epoch_id, run.new, n)
        new = _write(connection, span, region, ord_)
        _hand_over(connection, books, span)
        if new:
            written += new
            detail = f"{new} packets are numbered anew: {run.epoch} {run.old} to {run.old + n - 1}"
            books.event("renumbered", epoch_id, run.new, run.new + n - 1, detail)
    books.count("renumbered", written)
    return written


def known(connection: Connection, epoch_id: int) -> int:
    """How many older names of that epoch's packets are known: from there on the region tells more."""
    return int(
        connection.execute(
            select(func.count()).select_from(WAS).where(WAS.c.epoch_id == epoch_id)
        ).scalar_one()
    )


def _older(connection: Connection, region: str, epoch: str, ord_: int) -> int | None:
    """The id of an epoch that is older than the one of that order; `None` if it is not."""
    rows = connection.execute(select(EPOCH.c.id, EPOCH.c.epoch, EPOCH.c.ord).where(EPOCH.c.region == region))
    held = {row.epoch: row for row in rows}
    if epoch in held:
        return int(held[epoch].id) if held[epoch].ord < ord_ else None
    if len(held) >= EPOCHS_MAX:
        return None
    first = min(row.ord for row in held.values())
    return inserted_id(connection.execute(insert(EPOCH).values(region=region, epoch=epoch, ord=first - 1)))


def _write(connection: Connection, span: _Span, region: str, ord_: int) -> int:
    """The rows; a name that led to a packet of an earlier epoch leads on to where that one is now."""
    rows = [(span.of, span.old + i, span.to, span.new + i) for i in range(span.n)]
    return _writer(connection).many(connection, [(*row, region, ord_) for row in rows])


def _writer(connection: Connection) -> Statement:
    found = _WRITE.get(connection.dialect.name)
    if found is None:
        made: Any = upsert(connection, WAS).values({name: bindparam(name) for name in _NAMES})
        of = (EPOCH.c.region == bindparam("of_region"), EPOCH.c.ord < bindparam("of_ord"))
        writing = made.on_conflict_do_update(
            index_elements=[WAS.c.old_epoch_id, WAS.c.old_seq],
            set_={"epoch_id": made.excluded.epoch_id, "seq": made.excluded.seq},
            where=WAS.c.epoch_id.in_(select(EPOCH.c.id).where(*of)),
        )
        found = _WRITE[connection.dialect.name] = Statement(writing, (*_NAMES, "of_region", "of_ord"))
    return found


def _hand_over(connection: Connection, books: Books, span: _Span) -> None:
    """What is announced under the old names is announced under the new ones, unless the packet is here or
    announced again: then the old word is closed."""
    told = connection.execute(
        select(ANNOUNCED.c.seq, ANNOUNCED.c.size, WAS.c.seq.label("now_seq"))
        .join(WAS, (WAS.c.old_epoch_id == ANNOUNCED.c.epoch_id) & (WAS.c.old_seq == ANNOUNCED.c.seq))
        .where(ANNOUNCED.c.epoch_id == span.of, WAS.c.epoch_id == span.to)
        .where(ANNOUNCED.c.seq >= span.old, ANNOUNCED.c.seq < span.old + span.n)
    ).all()
    if not told:
        return
    taken = _taken(connection, span)
    _MOVE.many(
        connection, [(span.to, row.now_seq, span.of, row.seq) for row in told if row.now_seq not in taken]
    )
    closed = [row for row in told if row.now_seq in taken]
    _CLOSE.many(connection, [(span.of, row.seq) for row in closed])
    books.count("announced", -len(closed))
    books.count("announced_bytes", -sum(row.size for row in closed))


def _taken(connection: Connection, span: _Span) -> set[int]:
    """New seqs of the span whose packets have a receipt or are announced."""
    found: set[int] = set()
    for table in (PACKET, ANNOUNCED):
        chosen = select(table.c.seq).where(
            table.c.epoch_id == span.to, table.c.seq >= span.new, table.c.seq < span.new + span.n
        )
        if table is PACKET:
            chosen = chosen.where(PACKET.c.status != int(Status.REFUSED))
        found.update(connection.execute(chosen).scalars())
    return found
