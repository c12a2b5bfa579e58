"""Steps 4 to 6: what the ledger says to the questions of a reconciliation (`schemas.compare`).

Each function is `(connection, region, args, at) -> (payload, to, done)`: one bounded piece of work in a
transaction that only reads. Digests of records are summed up by the database from `record.leaf`
over ranges of the primary key; packets are read in the order of theirs. A question that cannot be read, or of
something that this region never had, is answered with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, case, func, literal_column, select

from pipeline.adapters.ledger_shelf import LedgerShelf
from pipeline.adapters.ledger_tables import EPOCH, PACKET, RECORD, REGION
from schemas.compare import (
    DAY_MS,
    LIST_RECORDS,
    PACKETS,
    RECORDS,
    SEQS_A_RANGE_MAX,
    ComparePackets,
    ListedRecord,
    PacketsDigest,
    RecordsDigest,
    Tops,
    bucket_of,
    pack_buckets,
    pack_listed,
    pack_packets_digests,
    pack_records_digests,
    pack_tops,
    packets_digest,
    records_digest,
    unpack_compare_packets,
    unpack_compare_records,
    unpack_list_records,
)
from schemas.errors import CodecError
from schemas.verdicts import Status

#: What one call looks at, about: records that are summed up, records that are listed, packets by day.
RECORDS_A_CALL, LISTED_A_CALL, BY_DAY_A_CALL = 1_000_000, 1_500, 250_000
_STATUSES = range(1, 9)
#: In the text of statements: two parameters of one value would make two expressions to PostgreSQL, and it
#: shifts by no BIGINT.
_DAY, _HALF = (literal_column(str(n), BigInteger) for n in (DAY_MS, 1 << 31))

Answered: TypeAlias = tuple[bytes, int, bool]
Answerer: TypeAlias = Callable[[Any, str, bytes, int], Answered]


def compare_records(connection: Connection, region: str, args: bytes, at: int) -> Answered:
    """See `schemas.compare`."""
    try:
        asked = unpack_compare_records(args)
    except CodecError:
        return b"", at, True
    ranges, seen = list(pairwise(asked.bounds)), 0
    digests: list[RecordsDigest] = []
    payload = b""
    for start, stop in ranges[at:]:
        if seen >= RECORDS_A_CALL:
            break
        first = at == 0 and not digests
        digest, by_status = _records(connection, region, start, stop, statuses=first and asked.statuses)
        if first:
            payload = pack_tops(_tops(connection, region, by_status))
        seen += digest.n
        digests.append(digest)
    to = at + len(digests)
    return payload + pack_records_digests(digests), to, to >= len(ranges)


def list_records(connection: Connection, region: str, args: bytes, at: int) -> Answered:
    """See `schemas.compare`."""
    try:
        asked = unpack_list_records(args)
    except CodecError:
        return b"", at, True
    found: list[ListedRecord] = []
    for start, stop in asked:
        if stop <= at:
            continue
        left = LISTED_A_CALL - len(found)
        rows = connection.execute(
            select(RECORD.c.nik, RECORD.c.version, RECORD.c.leaf)
            .where(RECORD.c.region == region, *_niks(max(start, at), stop))
            .order_by(RECORD.c.nik)
            .limit(left)
        ).all()
        found += [ListedRecord(int(nik), version, leaf) for nik, version, leaf in rows]
        if len(rows) == left:
            return pack_listed(found), found[-1].nik + 1, False
    return pack_listed(found), asked[-1][1] if asked else at, True


def compare_packets(connection: Connection, region: str, args: bytes, at: int) -> Answered:
    """See `schemas.compare`."""
    try:
        asked = unpack_compare_packets(args)
    except CodecError:
        return b"", at, True
    of = select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == asked.epoch)
    epoch: int | None = connection.execute(of).scalar()
    if asked.stop is not None:
        return _days(connection, epoch, asked, asked.stop, at)
    return _seqs(connection, epoch, asked.bounds, at)


def _answerer(answers: Callable[[Connection, str, bytes, int], Answered]) -> Answerer:
    def answer(reader: LedgerShelf, region: str, args: bytes, at: int) -> Answered:
        with reader._store.read() as connection:
            return answers(connection, region, args, at)

    return answer


#: What this file answers, in the form of `pipeline.center.answers`.
ANSWERERS: dict[str, Answerer] = {
    RECORDS: _answerer(compare_records),
    LIST_RECORDS: _answerer(list_records),
    PACKETS: _answerer(compare_packets),
}


# --- records --------------------------------------------------------------------------------------


def _tops(connection: Connection, region: str, by_status: tuple[int, ...]) -> Tops:
    numbers = select(REGION.c.facts_no, REGION.c.records_no).where(REGION.c.code == region)
    row = connection.execute(numbers).one_or_none()
    return Tops(0, 0, by_status) if row is None else Tops(*row, by_status)


def _records(
    connection: Connection, region: str, start: int, stop: int, *, statuses: bool
) -> tuple[RecordsDigest, tuple[int, ...]]:
    """One look at the rows, whatever is wanted of them."""
    leaf, counted = RECORD.c.leaf, _STATUSES if statuses else ()
    sums = select(
        func.count(),
        func.sum(leaf // _HALF),
        func.sum(leaf % _HALF),
        func.sum(_is(leaf == 0)),
        func.sum(RECORD.c.version),
        *(func.sum(_is(RECORD.c.status == status)) for status in counted),
    ).where(RECORD.c.region == region, *_niks(start, stop))
    found = [int(one or 0) for one in connection.execute(sums).one()]
    return records_digest(*found[:5]), tuple(found[5:]) or (0,) * len(_STATUSES)


def _is(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _niks(start: int, stop: int) -> tuple[Any, ...]:
    """NIKs are texts of sixteen digits here: the last one is named, since what comes after may have more."""
    return (RECORD.c.nik >= f"{start:016d}", RECORD.c.nik <= f"{stop - 1:016d}")


# --- packets --------------------------------------------------------------------------------------


def _seqs(connection: Connection, epoch: int | None, bounds: Sequence[int], at: int) -> Answered:
    ranges = list(pairwise(bounds))
    if any(stop - start > SEQS_A_RANGE_MAX for start, stop in ranges):
        return b"", at, True
    digests: list[PacketsDigest] = []
    left = SEQS_A_RANGE_MAX
    for start, stop in ranges[at:]:
        left -= stop - start
        if left < 0 and digests:
            break
        digests.append(packets_digest(_packets(connection, epoch, start, stop)))
    to = at + len(digests)
    return pack_packets_digests(digests), to, to >= len(ranges)


def _packets(
    connection: Connection, epoch: int | None, start: int, stop: int
) -> Sequence[tuple[int, int, bytes]]:
    if epoch is None:
        return ()
    rows: Any = connection.execute(
        select(PACKET.c.seq, PACKET.c.status, PACKET.c.digest)
        .where(PACKET.c.epoch_id == epoch, PACKET.c.seq >= start, PACKET.c.seq < stop)
        .order_by(PACKET.c.seq)
    )
    return rows.all()  # type: ignore[no-any-return]


def _days(connection: Connection, epoch: int | None, asked: ComparePackets, stop: int, at: int) -> Answered:
    counts = [[0] * len(_STATUSES) for _ in range(len(asked.bounds) + 1)]
    to = min(stop, at + BY_DAY_A_CALL)
    # Whole days of a number that may be negative: the remainder goes first, databases round towards 0.
    day = (PACKET.c.at_ms - ((PACKET.c.at_ms % _DAY) + _DAY) % _DAY) // _DAY
    if epoch is not None:
        rows = connection.execute(
            select(day, PACKET.c.status, func.count())
            .where(PACKET.c.epoch_id == epoch, PACKET.c.seq >= at, PACKET.c.seq < to)
            .group_by(day, PACKET.c.status)
        )
        for of_day, status, n in rows:
            counts[bucket_of(asked.bounds, int(of_day), status)][Status(status) - 1] += n
    return pack_buckets(counts), to, to >= stop
