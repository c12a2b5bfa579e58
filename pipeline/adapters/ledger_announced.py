"""Step 4: what regions have announced and the ledger has not received: the table `announced`.

A row is there if, and only if, the packet was announced and has no receipt: announcing what is here changes
nothing, and the transaction that receives a packet takes its row away. So what is left when a region's disk
dies is the list of what it still owed. How many there are, and their bytes, stands in `counter` (`announced`,
`announced_bytes`), so that nobody counts rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, func, select

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Statement
from pipeline.adapters.ledger_packets import epoch_id
from pipeline.adapters.ledger_tables import ANNOUNCED, COUNTER, EPOCH, PACKET, SETTING
from pipeline.center.outcomes import Item
from pipeline.center.reading import Announcements, ChunkOf, Packets
from schemas.announcement import RESTATED_MAX
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.messages import Announced
from schemas.ranges import from_numbers, to_wire
from schemas.verdicts import Status

#: Announced packets of one region that are not here; more are not taken until some came.
REGION_PACKETS_MAX = 50_000
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
    """Packets announced and not received, their bytes, and when the first of them was told (ms)."""

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
    room = REGION_PACKETS_MAX - _held(connection, books.region) - books.counters["announced"]
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
        taken = list(new.values())[: max(0, room)]
        room -= len(taken)
        _INSERT.many(connection, taken)
        books.count("announced", len(taken))
        books.count("announced_bytes", sum(row[5] for row in taken))
        books.count("announced_not_taken", len(new) - len(taken))


def _known(connection: Connection, epoch: int, seqs: Sequence[int]) -> dict[int, bytes]:
    """The digests of those that were announced before."""
    rows = connection.execute(
        select(ANNOUNCED.c.seq, ANNOUNCED.c.digest).where(
            ANNOUNCED.c.epoch_id == epoch, ANNOUNCED.c.seq.in_(seqs)
        )
    )
    return {row.seq: row.digest for row in rows}


def _here(connection: Connection, epoch: int, seqs: Sequence[int]) -> set[int]:
    """Those that have a receipt."""
    chosen = select(PACKET.c.seq).where(PACKET.c.epoch_id == epoch, PACKET.c.seq.in_(seqs))
    return set(connection.execute(chosen.where(PACKET.c.status != int(Status.REFUSED))).scalars())


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
    full = _held(connection, region) >= REGION_PACKETS_MAX
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


# --- to look at -----------------------------------------------------------------------------------


def amounts(connection: Connection) -> dict[str, AnnouncedAmount]:
    """How much of each region is announced and not here; regions of which nothing is are left out."""
    held: dict[str, dict[str, int]] = {}
    what = COUNTER.c.what.in_(("announced", "announced_bytes"))
    for row in connection.execute(select(COUNTER).where(what, COUNTER.c.n > 0)):
        held.setdefault(row.region, {})[row.what] = row.n
    return {
        region: AnnouncedAmount(
            sums.get("announced", 0),
            sums.get("announced_bytes", 0),
            connection.execute(
                select(func.min(ANNOUNCED.c.told_ms)).where(ANNOUNCED.c.region == region)
            ).scalar(),
        )
        for region, sums in sorted(held.items())
    }


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
