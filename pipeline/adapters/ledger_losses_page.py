"""Steps 4 to 6, to look at: a page of the loss list of one epoch: what is in none of the places where a
packet that is not lost would be.

A page goes as far as the first of its queries that has more to say than it may; what lies behind waits for
the next one. So its memory is bounded, whatever the ledger holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, FromClause, Select, exists, func, select

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_niks import NO_NIK
from pipeline.adapters.ledger_tables import ANNOUNCED, ASSEMBLING, PACKET, WAS
from schemas.announcement import NIK_BYTES
from schemas.errors import SchemaError
from schemas.lanes import Lane
from schemas.losses import Loss, Why
from schemas.nik import nik_hash
from schemas.packet import Packet, head_bytes, read_head
from schemas.ranges import Ranges, contains, from_numbers, from_wire, merge, total, without
from schemas.verdicts import Status

#: Rows of any query of a page, and packets among which one looks for gaps.
ROWS_A_PAGE = 2_000
SEQS_A_PAGE = 20_000
_REFUSED = int(Status.REFUSED)

HERE = PACKET.c.status != _REFUSED
_OLD = PACKET.alias("old_packet")
#: Of a row of `WAS`: the packet came under its older name.
CAME_BEFORE = exists().where(
    _OLD.c.epoch_id == WAS.c.old_epoch_id, _OLD.c.seq == WAS.c.old_seq, _OLD.c.status != _REFUSED
)


class OverEpoch(NamedTuple):
    """An epoch that is over: its id and name, the highest seq that was heard of, and when that was (ms)."""

    id: int
    name: str
    highest: int
    last_ms: int | None


class Page(NamedTuple):
    """What is lost of the seqs from where the page began up to, not including, `stop`."""

    losses: tuple[Loss, ...]
    stop: int


class _Gap(NamedTuple):
    """Seqs `[start, stop)` without a packet, and when those before and behind them were recorded."""

    start: int
    stop: int
    from_ms: int | None
    until_ms: int | None


class _Known(NamedTuple):
    """What is known of seqs of a page: announcements, parts, refusals; `named`: those with another name."""

    told: dict[int, Any]
    partly: dict[int, Any]
    refused: frozenset[int]
    named: Ranges


def read_page(connection: Connection, epoch: OverEpoch, start: int) -> Page:
    """The losses of `epoch` from seq `start` on, as far as one page goes."""
    gaps, stop = _gaps(connection, epoch, start)
    if not gaps:
        return Page((), stop)
    looking = _Looking(connection, start, stop)
    told = looking.rows(ANNOUNCED, ANNOUNCED.c.epoch_id == epoch.id)
    partly = looking.rows(ASSEMBLING, ASSEMBLING.c.epoch_id == epoch.id)
    # By the number that only they have in place of a NIK's: there is an index on it, none on the status.
    refused = looking.seqs(PACKET.c.seq, PACKET.c.nik_key == NO_NIK, PACKET.c.epoch_id == epoch.id, ~HERE)
    named = looking.seqs(WAS.c.old_seq, WAS.c.old_epoch_id == epoch.id)
    came = looking.seqs(WAS.c.seq, WAS.c.epoch_id == epoch.id, CAME_BEFORE)
    known = _Known(
        {row.seq: row for row in told},
        {row.seq: row for row in partly},
        frozenset(refused),
        from_numbers((*named, *came)),
    )
    open_ = without(merge((gap.start, min(gap.stop, looking.stop)) for gap in gaps), known.named)
    found = sorted(_losses(connection, epoch, open_, known), key=lambda one: one.seq)
    return Page(tuple(_timed(found, gaps)), looking.stop)


class _Looking:
    """Queries over seqs from `start` on, each of at most `ROWS_A_PAGE` rows: `stop` is how far all of them
    reach. (A longer one before a shorter one has said too much: only what lies in the gaps is used.)"""

    def __init__(self, connection: Connection, start: int, stop: int) -> None:
        self._connection, self._start, self.stop = connection, start, stop

    def rows(self, table: FromClause, *where: Any) -> list[Any]:
        """Rows of a table with a column `seq`, rising."""
        return self._found(select(table).where(*where), table.c.seq)

    def seqs(self, column: Any, *where: Any) -> list[int]:
        """Values of that column, rising."""
        return [row.seq for row in self._found(select(column.label("seq")).where(*where), column)]

    def _found(self, chosen: Select[Any], column: Any) -> list[Any]:
        within = chosen.where(column >= self._start, column < self.stop).order_by(column)
        found = list(self._connection.execute(within.limit(ROWS_A_PAGE)))
        if len(found) == ROWS_A_PAGE:
            self.stop = found[-1].seq + 1
        return found


def _gaps(connection: Connection, epoch: OverEpoch, start: int) -> tuple[list[_Gap], int]:
    """Runs of seqs from `start` on without a packet, rising, and how far that is known (not including)."""
    here = select(PACKET.c.seq, PACKET.c.at_ms).where(PACKET.c.epoch_id == epoch.id, HERE)
    before = here.where(PACKET.c.seq < start).order_by(PACKET.c.seq.desc()).limit(1)
    last = connection.execute(before).one_or_none()
    first = connection.execute(
        here.where(PACKET.c.seq >= start).order_by(PACKET.c.seq).limit(1)
    ).one_or_none()
    told = select(ANNOUNCED.c.at_ms).where(ANNOUNCED.c.epoch_id == epoch.id, ANNOUNCED.c.seq == start - 1)
    from_ms = connection.execute(told).scalar()
    if from_ms is None and last is not None:
        from_ms = last.at_ms
    stop = epoch.highest + 1
    if first is None:
        return [_Gap(start, stop, from_ms, epoch.last_ms)], stop
    gaps = [_Gap(start, first.seq, from_ms, first.at_ms)] if start < first.seq else []
    span_stop = min(stop, first.seq + SEQS_A_PAGE)
    span = here.where(PACKET.c.seq >= first.seq, PACKET.c.seq < span_stop)
    found = _between(connection, span)
    gaps += found
    if len(found) == ROWS_A_PAGE:
        return gaps, gaps[-1].stop
    last = connection.execute(span.order_by(PACKET.c.seq.desc()).limit(1)).one()
    if span_stop < stop or last.seq + 1 == stop:
        return gaps, last.seq + 1
    return [*gaps, _Gap(last.seq + 1, stop, last.at_ms, epoch.last_ms)], stop


def _between(connection: Connection, packets: Select[Any]) -> list[_Gap]:
    """Gaps between these packets."""
    next_seq, next_ms = (
        func.lead(column).over(order_by=PACKET.c.seq).label(f"next_{column.name}")
        for column in (PACKET.c.seq, PACKET.c.at_ms)
    )
    pairs = packets.add_columns(next_seq, next_ms).subquery()
    found = connection.execute(
        select(pairs).where(pairs.c.next_seq > pairs.c.seq + 1).order_by(pairs.c.seq).limit(ROWS_A_PAGE)
    )
    return [_Gap(row.seq + 1, row.next_seq, row.at_ms, row.next_at_ms) for row in found]


def _losses(connection: Connection, epoch: OverEpoch, gaps: Ranges, known: _Known) -> Iterator[Loss]:
    singles: list[int] = []
    for seq, row in known.told.items():
        if contains(gaps, seq):
            singles.append(seq)
            yield _told(epoch, row, known)
    for seq, row in known.partly.items():
        if contains(gaps, seq) and seq not in known.told:
            singles.append(seq)
            yield _partly(connection, epoch, row)
    for seq in known.refused:
        if contains(gaps, seq) and seq not in known.told and seq not in known.partly:
            singles.append(seq)
            yield Loss(epoch.name, seq, why=Why.REFUSED)
    for first, stop in without(gaps, from_numbers(singles)):
        yield Loss(epoch.name, first, stop - first)


def _timed(found: Sequence[Loss], gaps: Sequence[_Gap]) -> Iterator[Loss]:
    """Where it is not known when a packet was recorded: when those before and behind it were."""
    at = 0
    for n, loss in enumerate(found):
        while gaps[at].stop <= loss.seq:
            at += 1
        if loss.from_ms is None:
            from_ms, until_ms = gaps[at].from_ms, gaps[at].until_ms
            if n and found[n - 1].seq >= gaps[at].start and found[n - 1].until_ms is not None:
                from_ms = found[n - 1].until_ms
            if n + 1 < len(found) and found[n + 1].seq < gaps[at].stop and found[n + 1].from_ms is not None:
                until_ms = found[n + 1].from_ms
            loss = loss._replace(from_ms=from_ms, until_ms=until_ms)
        yield loss


def _told(epoch: OverEpoch, row: Any, known: _Known) -> Loss:
    part = known.partly.get(row.seq)
    why = Why.REFUSED if row.seq in known.refused else Why.PARTLY if part is not None else Why.ANNOUNCED
    nik = row.nik_key.to_bytes(NIK_BYTES, "big", signed=True)
    held = 0 if part is None else _held(part)
    at_ms = row.at_ms
    return Loss(epoch.name, row.seq, 1, why, Lane(row.lane), at_ms, at_ms, row.size, held, row.digest, nik)


def _partly(connection: Connection, epoch: OverEpoch, row: Any) -> Loss:
    """A packet of which parts came and no announcement: its beginning, if that came, says whose it is."""
    head = _head(connection, epoch.id, row)
    at_ms, nik = (None, b"") if head is None else (head.at_ms, nik_hash(head.nik)[:NIK_BYTES])
    held, lane = _held(row), Lane(row.lane)
    return Loss(epoch.name, row.seq, 1, Why.PARTLY, lane, at_ms, at_ms, row.size, held, row.digest, nik)


def _held(row: Any) -> int:
    return total(from_wire(json.loads(row.ranges)))


def _head(connection: Connection, epoch: int, row: Any) -> Packet | None:
    """What a packet of which only parts are here says of itself; `None` where its head is not among them."""
    ranges = from_wire(json.loads(row.ranges))
    if not ranges or ranges[0][0] != 0:
        return None
    begin = b""
    for data in pieces.read(connection, epoch, row.seq):
        begin += data
        if len(begin) >= min(ranges[0][1], 1 << 20):
            break
    begin = begin[: ranges[0][1]]
    try:
        return read_head(begin[: head_bytes(begin)], check=False) if len(begin) >= 4 else None
    except SchemaError:
        return None
