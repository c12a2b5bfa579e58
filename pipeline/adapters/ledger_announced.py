"""Step 4: what regions have announced and the ledger has not received: the table `announced`.

A row is there if, and only if, the packet was announced and has no receipt: announcing what is here changes
nothing, and the transaction that receives a packet takes its row away. So what is left when a region's disk
dies is the list of what it still owed: rows of epochs that are *over* (`ledger_losses.py`). How many there
are in all, and their bytes, stands in `counter` (`announced`, `announced_bytes`): nobody counts rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, func, select

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Statement
from pipeline.adapters.ledger_packets import epoch_id
from pipeline.adapters.ledger_tables import ANNOUNCED, COUNTER, EPOCH, PACKET, REGION, SETTING, WAS
from pipeline.center.outcomes import Item
from pipeline.center.reading import Announcements, ChunkOf, Packets
from schemas.announcement import RESTATED_MAX
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.messages import Announced
from schemas.ranges import from_numbers, to_wire
from schemas.verdicts import Status

#: Announced packets of one region's epoch that are not here; more are not taken until some came.
REGION_PACKETS_MAX = 50_000
#: The same of all its epochs together, those that are over with them.
ALL_PACKETS_MAX = 500_000
#: The version of the ledger from which on the table is there.
_SINCE_VERSION = 2

_COLUMNS = tuple(column.name for column in ANNOUNCED.columns)
_INSERT = Statement(ANNOUNCED.insert().values({name: bindparam(name) for name in _COLUMNS}), _COLUMNS)
_DELETE = Statement(
    delete(ANNOUNCED).where(
        ANNOUNCED.c.epoch_id == bindparam("of_epoch"), ANNOUNCED.c.seq == bindparam("of_seq")
    ),
    ("of_epoch", "of_seq"),
)
_IS_HERE = exists().where(
    PACKET.c.epoch_id == ANNOUNCED.c.epoch_id,
    PACKET.c.seq == ANNOUNCED.c.seq,
    PACKET.c.status != int(Status.REFUSED),
)

#: Seqs in one query.
_SEQS_A_LOOK = 500


class AnnouncedAmount(NamedTuple):
    """Packets announced that may still come, their bytes, and when the first of them was told (ms)."""

    packets: int
    bytes: int
    since_ms: int | None


class AnnouncedRow(NamedTuple):
    """A packet that is announced and not here. `at_ms`: when it was enqueued; `told_ms`: when we heard."""

    id: PacketId
    lane: Lane
    size: int
    digest: bytes
    at_ms: int
    told_ms: int


# --- intake ---------------------------------------------------------------------------------------


def note(connection: Connection, books: Books, items: Sequence[Item]) -> None:
    """Strike off what has a receipt by now, and write down what `items` announce: after their packets are in
    the ledger, before the books are closed."""
    if _held(connection, books.region):
        for epoch, seqs in _touched(items).items():
            number = epoch_id(connection, books.region, epoch)
            for start in range(0, len(seqs), _SEQS_A_LOOK):
                _strike_off(connection, books, number, seqs[start : start + _SEQS_A_LOOK])
    told = [item.outcome for item in items if isinstance(item.outcome, Announcements)]
    if told:
        _take(connection, books, told)


def _take(connection: Connection, books: Books, told: Sequence[Announcements]) -> None:
    for one in told:
        epoch = epoch_id(connection, books.region, one.epoch)
        seqs = [seq for seq, _ in one.packets]
        known, here = _known(connection, epoch, seqs), _here(connection, epoch, seqs)
        new: dict[int, tuple[Any, ...]] = {}
        for seq, said in one.packets:
            if seq in known:
                if known[seq] != said.digest:
                    books.event("fork", epoch, seq, seq, "announced with other contents: the first holds")
                continue
            if seq in here:
                continue
            nik = int.from_bytes(said.nik, "big", signed=True)
            place = (epoch, seq, books.region, int(one.lane))
            new[seq] = (*place, nik, said.size, said.digest, said.at_ms, books.now_ms)
        taken = list(new.values())[: _room(connection, books, epoch, len(new))]
        _INSERT.many(connection, taken)
        books.count("announced", len(taken))
        books.count("announced_bytes", sum(row[5] for row in taken))
        books.count("announced_not_taken", len(new) - len(taken))


def _room(connection: Connection, books: Books, epoch: int, wanted: int) -> int:
    """How many of `wanted` more announcements of that epoch are taken. Rows are counted only where all epochs
    of the region together hold as many as one may: most of a region that lost a disk are of its old one."""
    held = _held(connection, books.region) + books.counters["announced"]
    if held + wanted <= REGION_PACKETS_MAX:
        return wanted
    return max(0, min(wanted, REGION_PACKETS_MAX - count_of(connection, epoch), ALL_PACKETS_MAX - held))


def count_of(connection: Connection, *epochs: int) -> int:
    """Rows of these epochs."""
    of = select(func.count()).select_from(ANNOUNCED).where(ANNOUNCED.c.epoch_id.in_(epochs))
    return int(connection.execute(of).scalar_one()) if epochs else 0


def _known(connection: Connection, epoch: int, seqs: Sequence[int]) -> dict[int, bytes]:
    """The digests of those that were announced before."""
    rows = connection.execute(
        select(ANNOUNCED.c.seq, ANNOUNCED.c.digest).where(
            ANNOUNCED.c.epoch_id == epoch, ANNOUNCED.c.seq.in_(seqs)
        )
    )
    return {row.seq: row.digest for row in rows}


def _here(connection: Connection, epoch: int, seqs: Sequence[int]) -> set[int]:
    """Those that have a receipt, or go by a newer name since: it is that one's turn to be announced."""
    chosen = select(PACKET.c.seq).where(PACKET.c.epoch_id == epoch, PACKET.c.seq.in_(seqs))
    here = set(connection.execute(chosen.where(PACKET.c.status != int(Status.REFUSED))).scalars())
    renamed = select(WAS.c.old_seq).where(WAS.c.old_epoch_id == epoch, WAS.c.old_seq.in_(seqs))
    return here | set(connection.execute(renamed).scalars())


def _touched(items: Sequence[Item]) -> dict[str, list[int]]:
    """The seqs, by epoch, of which something announced may be received now."""
    seqs: dict[str, list[int]] = {}
    for item in items:
        match item.outcome:
            case Packets(epoch=epoch, read=read):
                seqs.setdefault(epoch, []).extend(one.seq for one in read)
            case ChunkOf(epoch=epoch, seq=seq):
                seqs.setdefault(epoch, []).append(seq)
    return seqs


def _strike_off(connection: Connection, books: Books, epoch: int, seqs: Sequence[int]) -> None:
    rows = connection.execute(
        select(ANNOUNCED.c.seq, ANNOUNCED.c.size).where(
            ANNOUNCED.c.epoch_id == epoch, ANNOUNCED.c.seq.in_(seqs), _IS_HERE
        )
    ).all()
    _DELETE.many(connection, [(epoch, row.seq) for row in rows])
    books.count("announced", -len(rows))
    books.count("announced_bytes", -sum(row.size for row in rows))


def _held(connection: Connection, region: str, what: str = "announced") -> int:
    held = select(COUNTER.c.n).where(COUNTER.c.region == region, COUNTER.c.what == what)
    return int(connection.execute(held).scalar() or 0)


# --- what an ack says of it -----------------------------------------------------------------------


def restated(connection: Connection, region: str, epoch: str, start: int | None) -> Announced:
    """What is announced of that epoch from `start` on (`None`: nothing was asked), as far as an ack holds."""
    full = _is_full(connection, region, epoch)
    if start is None:
        return Announced(full=full)
    rows = (
        connection.execute(
            select(ANNOUNCED.c.seq)
            .join(EPOCH, EPOCH.c.id == ANNOUNCED.c.epoch_id)
            .where(EPOCH.c.region == region, EPOCH.c.epoch == epoch, ANNOUNCED.c.seq >= start)
            .order_by(ANNOUNCED.c.seq)
            .limit(RESTATED_MAX)
        )
        .scalars()
        .all()
    )
    stop = rows[-1] + 1 if len(rows) == RESTATED_MAX else INTEGER_MAX
    return Announced(start=start, stop=stop, ranges=to_wire(from_numbers(rows)), full=full)


def _is_full(connection: Connection, region: str, epoch: str) -> bool:
    held = _held(connection, region)
    if held < REGION_PACKETS_MAX or held >= ALL_PACKETS_MAX:
        return held >= ALL_PACKETS_MAX
    of = (
        connection.execute(select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch))
        .scalars()
        .all()
    )
    return count_of(connection, *of) >= REGION_PACKETS_MAX


# --- to look at -----------------------------------------------------------------------------------


def amounts(connection: Connection) -> dict[str, AnnouncedAmount]:
    """How much of each region is announced and may still come; regions of which nothing is are left out. What
    was announced in an epoch that is over is lost, and not counted here."""
    held: dict[str, dict[str, int]] = {}
    what = COUNTER.c.what.in_(("announced", "announced_bytes"))
    for row in connection.execute(select(COUNTER).where(what, COUNTER.c.n > 0)):
        held.setdefault(row.region, {})[row.what] = row.n
    found = {
        region: _amount(connection, region, sums.get("announced", 0), sums.get("announced_bytes", 0))
        for region, sums in sorted(held.items())
    }
    return {region: amount for region, amount in found.items() if amount.packets}


def _amount(connection: Connection, region: str, packets: int, size: int) -> AnnouncedAmount:
    since = select(func.min(ANNOUNCED.c.told_ms)).where(ANNOUNCED.c.region == region)
    over = select(EPOCH.c.id).where(EPOCH.c.region == region, is_over())
    of = ANNOUNCED.c.epoch_id.in_(connection.execute(over).scalars().all())
    lost, lost_bytes = connection.execute(select(func.count(), func.sum(ANNOUNCED.c.size)).where(of)).one()
    if lost:
        packets, size, since = packets - lost, size - lost_bytes, since.where(~of)
    return AnnouncedAmount(packets, int(size), connection.execute(since).scalar())


def is_over() -> ColumnElement[bool]:
    """Of a row of `EPOCH`: whether its region speaks under a later one by now."""
    now = EPOCH.alias()
    return exists().where(
        REGION.c.code == EPOCH.c.region,
        now.c.region == REGION.c.code,
        now.c.epoch == REGION.c.epoch,
        EPOCH.c.ord < now.c.ord,
    )


def find(connection: Connection, *where: Any) -> list[AnnouncedRow]:
    """Announced packets that are not here, in the order in which they were enqueued."""
    if not _is_there(connection):
        return []
    rows = connection.execute(
        select(ANNOUNCED, EPOCH.c.epoch)
        .join(EPOCH, EPOCH.c.id == ANNOUNCED.c.epoch_id)
        .where(*where)
        .order_by(ANNOUNCED.c.at_ms, ANNOUNCED.c.seq)
    ).all()
    return [
        AnnouncedRow(
            PacketId(row.region, row.epoch, row.seq),
            Lane(row.lane),
            row.size,
            row.digest,
            row.at_ms,
            row.told_ms,
        )
        for row in rows
    ]


def _is_there(connection: Connection) -> bool:
    """Whether this ledger was opened since there are announcements (who only looks does not migrate it)."""
    version = select(SETTING.c.value).where(SETTING.c.name == "schema")
    return int(connection.execute(version).scalar() or 0) >= _SINCE_VERSION
