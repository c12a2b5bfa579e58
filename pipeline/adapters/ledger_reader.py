"""Steps 4 to 6, to look at: what the ledger holds, for `depth`, `trace`, `records`, console. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from pipeline.adapters.ledger_announced import AnnouncedAmount, AnnouncedRow, amounts
from pipeline.adapters.ledger_asked import LedgerAsked, Rebuild
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_history import EventRow, LedgerHistory, PacketRow, QuarantineRow
from pipeline.adapters.ledger_holds import holds
from pipeline.adapters.ledger_tables import (
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
from schemas.lanes import Lane
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_overview import LedgerOverview

__all__ = [
    "AnnouncedAmount",
    "AnnouncedRow",
    "Counts",
    "EventRow",
    "LedgerReader",
    "PacketRow",
    "QuarantineRow",
    "Rebuild",
    "RegionRow",
]

#: Statuses of packets that still wait for their verdict (a person's decision is not waited for).
UNVERDICTED = (Status.RECEIVED_AT_CENTRAL, Status.SEARCH_FAILURE_AT_CENTRAL)


@dataclass(frozen=True)
class Counts:
    """Packets as they are now; `by_status` and `by_lane` leave zeros out.

    `incomplete`: large packets of which only a part is here. `counters`: what happened since the beginning
    (bytes, duplicates, ...). `oldest_unverdicted_ms`: when the packet that is due first came.
    """

    received: int
    unverdicted: int
    refused: int
    incomplete: int
    records: int
    quarantined: int
    by_status: dict[str, int]
    by_lane: dict[str, int]
    counters: dict[str, int]
    oldest_unverdicted_ms: int | None


@dataclass(frozen=True)
class RegionRow:
    """An admitted region. `keys`: how many verify."""

    code: str
    admitted_ms: int
    revoked_ms: int | None
    joined: bool
    keys: int
    session: int
    epoch: str
    highest_seq: int
    facts_no: int
    records_no: int
    last_seen_ms: int | None


class LedgerReader(LedgerHistory, LedgerAsked):
    """Looks, and changes nothing. Each method is one read."""

    @classmethod
    def open(cls, where: Path | str) -> LedgerReader:
        """Of the SQLite file or URL of a ledger that is there; raises `NotFound` otherwise."""
        return cls(open_store(where, look_only=True))

    # --- counts ---------------------------------------------------------------------------------

    def counts(self, region: str | None = None) -> Counts:
        """How many packets there are, of one region or of all."""

        def of(table: Any) -> Any:
            return True if region is None else table.c.region == region

        counters = select(COUNTER.c.what, func.sum(COUNTER.c.n)).where(of(COUNTER)).group_by(COUNTER.c.what)
        rows = select(func.count())
        parts = rows.select_from(ASSEMBLING).join(EPOCH, EPOCH.c.id == ASSEMBLING.c.epoch_id)
        waits = (PACKET.c.due_ms.is_not(None), of(PACKET))
        oldest = select(PACKET.c.received_ms).where(*waits).order_by(PACKET.c.due_ms).limit(1)
        with self._store.read() as connection:
            tally = connection.execute(select(TALLY).where(of(TALLY), TALLY.c.n != 0)).all()
            by_status, by_lane = by_status_and_lane(tally)
            happened = {what: int(n) for what, n in connection.execute(counters)}
            return Counts(
                sum(by_lane.values()),
                sum(by_status.get(status.name, 0) for status in UNVERDICTED),
                by_status.get(Status.REFUSED.name, 0),
                connection.execute(parts.where(of(EPOCH))).scalar_one(),
                happened.get("records", 0),
                connection.execute(rows.select_from(QUARANTINE).where(of(QUARANTINE))).scalar_one(),
                by_status,
                by_lane,
                happened,
                connection.execute(oldest).scalar(),
            )

    def rates(self, since_minute: int, region: str | None = None) -> dict[int, dict[str, int]]:
        """What happened by minute (`ms // 60000`), from `since_minute` on."""
        of = True if region is None else RATE.c.region == region
        found: dict[int, dict[str, int]] = {}
        with self._store.read() as connection:
            rows = connection.execute(
                select(RATE.c.minute, RATE.c.what, func.sum(RATE.c.n))
                .where(RATE.c.minute >= since_minute, of)  # type: ignore[arg-type]
                .group_by(RATE.c.minute, RATE.c.what)
            )
            for minute, what, n in rows:
                found.setdefault(minute, {})[what] = int(n)
        return found

    def announced_amounts(self) -> dict[str, AnnouncedAmount]:
        """How much of each region is announced and not here (a region that has nothing of it is left out)."""
        with self._store.read() as connection:
            return amounts(connection)

    def regions(self) -> list[RegionRow]:
        """Every region that was ever admitted."""
        good = select(func.count()).where(
            REGION_KEY.c.region == REGION.c.code, REGION_KEY.c.revoked_ms.is_(None)
        )
        with self._store.read() as connection:
            rows = connection.execute(
                select(REGION, good.scalar_subquery().label("keys")).order_by(REGION.c.code)
            ).all()
        return [region_row(row, row.keys) for row in rows]

    def holds(self) -> dict[str, Hold]:
        """What people let regions send, of each of which they have set anything; over or not."""
        with self._store.read() as connection:
            return holds(connection)

    @cached_property
    def all_regions(self) -> LedgerOverview:
        """All regions at once; it remembers what does not change, so it is kept as long as this reader."""
        from pipeline.adapters.ledger_overview import LedgerOverview  # which needs this file

        return LedgerOverview.of(self)

    def began_ms(self) -> int | None:
        """When the ledger's first life began; `None` before the first start."""
        with self._store.read() as connection:
            found: int | None = connection.execute(select(func.min(INCARNATION.c.at_ms))).scalar()
        return found

    def incarnation(self) -> tuple[str, int] | None:
        """The newest life of the ledger and when it began (ms); `None` before the first start."""
        with self._store.read() as connection:
            newest = select(INCARNATION.c.id, INCARNATION.c.at_ms).order_by(INCARNATION.c.ord.desc()).limit(1)
            row = connection.execute(newest).one_or_none()
        return None if row is None else (row.id, row.at_ms)


def region_row(row: Any, keys: int) -> RegionRow:
    """A row of the table `region`, and how many of its keys verify."""
    return RegionRow(
        row.code,
        row.admitted_ms,
        row.revoked_ms,
        row.token_key is not None,
        keys,
        row.session,
        row.epoch,
        row.highest_seq,
        row.facts_no,
        row.records_no,
        row.last_seen_ms,
    )


def by_status_and_lane(tally: Sequence[Any]) -> tuple[dict[str, int], dict[str, int]]:
    by_status: dict[str, int] = {}
    by_lane: dict[str, int] = {}
    for row in tally:
        status = Status(row.status)
        by_status[status.name] = by_status.get(status.name, 0) + row.n
        if status.receipt:
            label = Lane(row.lane).label
            by_lane[label] = by_lane.get(label, 0) + row.n
    return by_status, by_lane
