"""Steps 4 to 6, to look at: all regions at once, in a dozen queries however many there are.

It says the same numbers that `LedgerReader` says of one region after the other (`counts`, `rebuild_of`,
`announced_amounts`; `tests/unit/test_ledger_overview.py` compares), all of one moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Select, case, func, select

from pipeline.adapters.ledger_announced import AnnouncedAmount, is_over
from pipeline.adapters.ledger_engine import Store
from pipeline.adapters.ledger_holds import holds
from pipeline.adapters.ledger_losses_count import losses_counts
from pipeline.adapters.ledger_reader import UNVERDICTED, Counts, RegionRow, by_status_and_lane, region_row
from pipeline.adapters.ledger_shelf import LedgerShelf
from pipeline.adapters.ledger_tables import (
    ANNOUNCED,
    ASSEMBLING,
    COUNTER,
    EPOCH,
    INCARNATION,
    PACKET,
    QUARANTINE,
    RATE,
    REGION,
    REGION_KEY,
    TALLY,
)
from pipeline.center.holding import Hold
from schemas.errors import SchemaError
from schemas.messages import Want, unpack_message
from schemas.verdicts import Status

#: Packets that are due first, among which each region's oldest is looked for.
OLDEST_LOOKED_AT = 5_000
#: A transaction writes to the minute in which it began: so many minutes later all of them are over.
SETTLED_MINUTES = 3
_HAPPENED = {
    "received": RATE.c.what == "received",
    "verdict": RATE.c.what.in_(Status.__members__),
    "bytes": RATE.c.what == "bytes",
}


class RegionOverview(NamedTuple):
    """One region. `counts.oldest_unverdicted_ms`: when the oldest of its packets that is due among the first
    `OLDEST_LOOKED_AT` of all came; where it has none among them, when the last of these came: its own came
    later. `want`: what it said last (`None`: nothing that can be read)."""

    row: RegionRow
    counts: Counts
    announced: AnnouncedAmount
    lost: int
    hold: Hold | None
    want: Want | None


class Overview(NamedTuple):
    """All regions by code, what they come to together, and when the ledger's first life began (ms)."""

    regions: dict[str, RegionOverview]
    all: Counts
    began_ms: int | None


class LedgerOverview(LedgerShelf):
    """The part of a ledger's reader that looks at all regions at once, again and again: minutes that are over
    are not read twice, nor is a want that is still the same."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._over: dict[str | None, _Minutes] = {}
        self._wants: dict[str, tuple[bytes, Want | None]] = {}

    @classmethod
    def of(cls, reader: LedgerShelf) -> Self:
        """Beside another reader, over the same store."""
        return cls(reader._store)

    def overview(self) -> Overview:
        """Everything, as it is now."""
        with self._store.read() as connection:
            return overview(connection, self._wants)

    def recent(self, now_minute: int, region: str | None = None) -> dict[str, dict[int, int]]:
        """What happened by minute (`ms // 60000`) in the last 60 and now, of that region or of all: packets
        `received`, words on them (`verdict`), `bytes` of frames. In the order of the table's key, so that
        nothing is sorted: of five hundred busy regions that is two hundred thousand rows the first time."""
        before = self._over.get(region, _Minutes())
        if before.over_to > now_minute:  # the clock was set back
            before = _Minutes()
        since = max(now_minute - 60, before.over_to + 1)
        of = True if region is None else RATE.c.region == region
        sums = [func.sum(case((which, RATE.c.n), else_=0)) for which in _HAPPENED.values()]
        chosen = select(RATE.c.minute, *sums).where(RATE.c.minute >= since, of)  # type: ignore[arg-type]
        with self._store.read() as connection:
            rows = connection.execute(chosen.group_by(RATE.c.minute)).all()
        found = {minute: sums for minute, sums in before.sums.items() if minute >= now_minute - 60}
        found |= {row[0]: tuple(int(n) for n in row[1:]) for row in rows}
        over_to = now_minute - SETTLED_MINUTES
        self._over[region] = _Minutes(over_to, {at: one for at, one in found.items() if at <= over_to})
        return {name: {at: one[n] for at, one in found.items()} for n, name in enumerate(_HAPPENED)}


class _Minutes(NamedTuple):
    """Sums of `_HAPPENED` by minute, up to `over_to`: nothing is added to these any more."""

    over_to: int = -1
    sums: Mapping[int, tuple[int, ...]] = MappingProxyType({})


def overview(connection: Connection, wants: dict[str, tuple[bytes, Want | None]]) -> Overview:
    """See `LedgerOverview.overview`. `wants`: those that were read before."""
    rows, keys = connection.execute(select(REGION).order_by(REGION.c.code)).all(), _keys(connection)
    books = _Books(connection)
    lost, held = losses_counts(connection), holds(connection)
    announced = _announced(connection, books.counters)
    found = {
        row.code: RegionOverview(
            region_row(row, keys.get(row.code, 0)),
            books.of(row.code),
            announced.get(row.code, AnnouncedAmount(0, 0, None)),
            lost.get(row.code, 0),
            held.get(row.code),
            _want(row, wants),
        )
        for row in rows
    }
    began = connection.execute(select(func.min(INCARNATION.c.at_ms))).scalar()
    return Overview(found, books.of_all(), began)


class _Books:
    """The tables of counts, read once."""

    def __init__(self, connection: Connection) -> None:
        self._tally: dict[str, list[Any]] = {}
        for row in connection.execute(select(TALLY).where(TALLY.c.n != 0)):
            self._tally.setdefault(row.region, []).append(row)
        self.counters: dict[str, dict[str, int]] = {}
        for region, what, n in connection.execute(select(COUNTER.c.region, COUNTER.c.what, COUNTER.c.n)):
            self.counters.setdefault(region, {})[what] = n
        of_region = EPOCH.c.id == ASSEMBLING.c.epoch_id
        parts = select(EPOCH.c.region, func.count()).join_from(ASSEMBLING, EPOCH, of_region)
        self._parts = _numbers(connection, parts.group_by(EPOCH.c.region))
        aside = select(QUARANTINE.c.region, func.count()).group_by(QUARANTINE.c.region)
        self._aside = _numbers(connection, aside)
        self._oldest = _Oldest(connection)

    def of_all(self) -> Counts:
        """What all regions come to."""
        tally = [row for rows in self._tally.values() for row in rows]
        counters: dict[str, int] = {}
        for one in self.counters.values():
            for what, n in one.items():
                counters[what] = counters.get(what, 0) + n
        parts, aside = sum(self._parts.values()), sum(self._aside.values())
        return _counts(tally, counters, parts, aside, self._oldest.of_all)

    def of(self, region: str) -> Counts:
        """Of one region."""
        tally, counters = self._tally.get(region, []), self.counters.get(region, {})
        found = _counts(tally, counters, self._parts.get(region, 0), self._aside.get(region, 0), None)
        oldest = self._oldest.of(region) if found.unverdicted else None
        return replace(found, oldest_unverdicted_ms=oldest)


class _Oldest:
    """The packets that wait for their verdict longest."""

    def __init__(self, connection: Connection) -> None:
        waits = select(PACKET.c.region, PACKET.c.received_ms, PACKET.c.due_ms)
        waits = waits.where(PACKET.c.due_ms.is_not(None)).order_by(PACKET.c.due_ms)
        first = waits.limit(OLDEST_LOOKED_AT).subquery()
        grouped = select(
            first.c.region, func.min(first.c.received_ms), func.max(first.c.due_ms), func.count()
        ).group_by(first.c.region)
        rows = connection.execute(grouped).all()
        self._first = {row[0]: row[1] for row in rows}
        full = sum(row[3] for row in rows) == OLDEST_LOOKED_AT
        self._others = max(row[2] for row in rows) if full else None
        #: When the packet that is due first came.
        self.of_all: int | None = connection.execute(
            select(PACKET.c.received_ms)
            .where(PACKET.c.due_ms.is_not(None))
            .order_by(PACKET.c.due_ms)
            .limit(1)
        ).scalar()

    def of(self, region: str) -> int | None:
        """See `RegionOverview`."""
        return self._first.get(region, self._others)


def _counts(
    tally: Sequence[Any], counters: dict[str, int], parts: int, aside: int, oldest_ms: int | None
) -> Counts:
    by_status, by_lane = by_status_and_lane(tally)
    return Counts(
        sum(by_lane.values()),
        sum(by_status.get(status.name, 0) for status in UNVERDICTED),
        by_status.get(Status.REFUSED.name, 0),
        parts,
        counters.get("records", 0),
        aside,
        by_status,
        by_lane,
        dict(counters),
        oldest_ms,
    )


def _numbers(connection: Connection, chosen: Select[Any]) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in connection.execute(chosen)}


def _keys(connection: Connection) -> dict[str, int]:
    """How many keys of each region verify."""
    good = select(REGION_KEY.c.region, func.count()).where(REGION_KEY.c.revoked_ms.is_(None))
    return _numbers(connection, good.group_by(REGION_KEY.c.region))


def _announced(
    connection: Connection, counters: Mapping[str, Mapping[str, int]]
) -> dict[str, AnnouncedAmount]:
    """What is announced and may still come (`ledger_announced.amounts`)."""
    held = {code for code, sums in counters.items() if sums.get("announced", 0) > 0}
    if not held:
        return {}
    over = select(EPOCH.c.id).where(is_over())
    gone = select(ANNOUNCED.c.region, func.count(), func.sum(ANNOUNCED.c.size))
    rows = connection.execute(gone.where(ANNOUNCED.c.epoch_id.in_(over)).group_by(ANNOUNCED.c.region))
    lost = {row[0]: (int(row[1]), int(row[2])) for row in rows}
    first = select(func.min(ANNOUNCED.c.told_ms)).where(ANNOUNCED.c.region == REGION.c.code)
    of_lost = first.where(ANNOUNCED.c.epoch_id.not_in(over))
    since = _since(connection, first, held - set(lost)) | _since(connection, of_lost, held & set(lost))
    found: dict[str, AnnouncedAmount] = {}
    for code in held:
        packets, size = (counters[code].get(what, 0) for what in ("announced", "announced_bytes"))
        gone_packets, gone_bytes = lost.get(code, (0, 0))
        if packets > gone_packets:
            found[code] = AnnouncedAmount(packets - gone_packets, size - gone_bytes, since.get(code))
    return found


def _since(connection: Connection, first: Select[Any], regions: set[str]) -> dict[str, int]:
    if not regions:
        return {}
    chosen = select(REGION.c.code, first.scalar_subquery()).where(REGION.c.code.in_(regions))
    return {row[0]: row[1] for row in connection.execute(chosen)}


def _want(row: Any, wants: dict[str, tuple[bytes, Want | None]]) -> Want | None:
    if row.want is None:
        return None
    before = wants.get(row.code)
    if before is not None and before[0] == row.want:
        return before[1]
    try:
        want = unpack_message(Want, row.want)
    except SchemaError:  # another version wrote it; it is repeated within seconds
        want = None
    wants[row.code] = (row.want, want)
    return want
