"""A region whose epochs end: what the tests of older names and of the loss list share."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select, update

from pipeline.adapters import ledger_was
from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Store, open_store
from pipeline.adapters.ledger_losses import LedgerLosses
from pipeline.adapters.ledger_packets import epoch_id
from pipeline.adapters.ledger_tables import ANNOUNCED, COUNTER, EPOCH
from schemas.losses import Loss
from schemas.messages import Run
from tests.unit.ledger_rig import REGION, Rig

FIRST, SECOND, THIRD = "aaaaaa", "bbbbbb", "cccccc"


def speak(rig: Rig, epoch: str, highest_seq: int = 0) -> None:
    """The region speaks under that epoch, which has got so far."""
    rig.step(rig.want(epoch=epoch, highest_seq=highest_seq))
    store = open_store(rig.place)
    with store.write() as connection:
        of = (EPOCH.c.region == REGION, EPOCH.c.epoch == epoch, EPOCH.c.highest_seq <= highest_seq)
        connection.execute(update(EPOCH).where(*of).values(highest_seq=highest_seq, last_ms=rig.clock.ms))
    store.close()


def tell(rig: Rig, epoch: str, *runs: Run) -> int:
    """What a want of that epoch tells of older names; returns how many were new."""
    store = open_store(rig.place)
    books = Books(REGION, rig.clock.ms)
    with store.write() as connection:
        number = epoch_id(connection, REGION, epoch)
        new = ledger_was.take_runs(connection, books, REGION, number, runs)
        books.write(connection)
    store.close()
    return new


def known(rig: Rig, epoch: str) -> int:
    """How many older names of that epoch's packets the center knows."""
    store = open_store(rig.place)
    with store.write() as connection:
        found = ledger_was.known(connection, epoch_id(connection, REGION, epoch))
    store.close()
    return found


def lost(rig: Rig) -> list[Loss]:
    """The loss list, which must be as long as its count says."""
    reader = LedgerLosses.open(rig.place)
    found = reader.losses(REGION)
    counted = reader.losses_count(REGION)
    assert counted == sum(one.packets for one in found)
    assert reader.losses_counts() == ({REGION: counted} if counted else {})
    reader.close()
    return found


def names(losses: Sequence[Loss]) -> list[tuple[str, int, int, str]]:
    """(epoch, seq, packets, why) of each."""
    return [(one.epoch, one.seq, one.packets, one.why.label) for one in losses]


def books_are_right(rig: Rig) -> bool:
    """Whether the counters of announcements say what the rows do."""
    store: Store = open_store(rig.place)
    with store.read() as connection:
        rows = connection.execute(select(func.count(), func.coalesce(func.sum(ANNOUNCED.c.size), 0))).one()
        of = select(COUNTER.c.what, COUNTER.c.n).where(COUNTER.c.region == REGION)
        held = {row.what: row.n for row in connection.execute(of)}
    store.close()
    return tuple(rows) == (held.get("announced", 0), held.get("announced_bytes", 0))


def insert_rows(rig: Rig, *statements: object) -> None:
    """Rows straight into the ledger's tables."""
    store = open_store(rig.place)
    with store.write() as connection:
        for table, rows in statements:  # type: ignore[misc]
            if rows:
                connection.execute(insert(table), rows)
    store.close()
