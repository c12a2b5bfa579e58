"""What a record says, in 62 bits: written with each change, and filled into a ledger of before."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import BODY, EPOCH, RECORD
from pipeline.center.validation import Validation
from schemas.feed import record_leaf
from tests.unit.ledger_rig import EPOCH as NOW
from tests.unit.ledger_rig import REGION, Rig, face, nik, packet

LARGE = bytes(40_000)
#: What version 4 of the layout added, taken away again.
UNDO = (
    "DROP INDEX record_open",
    "DROP TABLE was",
    "ALTER TABLE record DROP COLUMN leaf",
    "ALTER TABLE epoch DROP COLUMN highest_seq",
    "ALTER TABLE epoch DROP COLUMN last_ms",
    "UPDATE setting SET value = 3 WHERE name = 'schema'",
)


def rows(rig: Rig, table: Any) -> list[Any]:
    store = open_store(rig.place, look_only=True)
    with store.read() as connection:
        found = list(connection.execute(select(table).order_by(*table.primary_key.columns)))
    store.close()
    return found


def leaves(rig: Rig) -> dict[str, int]:
    return {row.nik: row.leaf for row in rows(rig, RECORD)}


def told(rig: Rig) -> dict[str, int]:
    """The leaves that a region makes of what it is told."""
    niks = {(row.source.epoch, row.source.seq): row.nik for row in rig.ledger.reader.records()}
    return {niks[one.epoch, one.seq]: record_leaf(one, niks[one.epoch, one.seq]) for one in rig.records()}


def fill(rig: Rig) -> None:
    """Records of every kind: small, large, printed, printed later, changed."""
    rig.take(packet(1), packet(2), packet(3, [face(b"three")]), packet(4))
    large = packet(5, [face(LARGE)])
    rig.step(rig.chunk(9, large, 0, 30_000), rig.chunk(9, large, 30_000, len(large)))
    rig.validate()
    rig.take(packet(2, kind="card_printed"), packet(5, kind="card_printed"), first=20)
    rig.take(packet(6), packet(6, kind="card_printed"), first=30)
    rig.step(rig.batch({1: packet(4, alamat="JL. BARU")}, epoch="zzzzzz"))
    rig.validate()


def test_the_leaf_is_what_the_region_makes_of_the_record_that_it_is_told(rig: Rig) -> None:
    fill(rig)
    assert leaves(rig) == told(rig)
    assert len(set(leaves(rig).values()) - {0}) == 6


@pytest.mark.parametrize(
    "change",
    [packet(1, kind="card_printed"), packet(1, alamat="JL. BARU"), packet(1, [face(b"one")])],
    ids=["printed", "moved house", "recorded again"],
)
def test_every_change_of_a_record_changes_its_leaf(rig: Rig, change: bytes) -> None:
    rig.take(packet(1))
    before = leaves(rig)[nik(1)]
    rig.take(change, first=2)
    assert leaves(rig) == told(rig)
    assert leaves(rig)[nik(1)] not in (0, before)


def downgrade(rig: Rig) -> None:
    rig.ledger.close()
    store = open_store(rig.place)
    with store.write() as connection:
        for statement in UNDO:
            connection.exec_driver_sql(statement)
    store.close()


def test_a_ledger_of_version_3_gets_its_leaves(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.ledger_leaves.ROWS_AT_A_TIME", 2)
    fill(rig)
    before = leaves(rig)
    downgrade(rig)
    rig.ledger = SqlLedger(rig.place)
    assert leaves(rig) == before
    assert 0 not in before.values()
    rig.restart()
    rig.validation = Validation(rig.ledger)
    rig.take(packet(1, kind="card_printed"), first=40)
    assert leaves(rig) == told(rig)


def test_a_record_without_its_packet_stops_no_migration(rig: Rig) -> None:
    rig.take(packet(1), packet(2), packet(3))
    before = leaves(rig)
    downgrade(rig)
    store = open_store(rig.place, look_only=True)
    with store.write() as connection:
        connection.execute(BODY.delete().where(BODY.c.seq == 1))
        connection.execute(BODY.update().where(BODY.c.seq == 2).values(stored=b"\xff" * 8))
    store.close()
    rig.ledger = SqlLedger(rig.place)
    assert leaves(rig) == {nik(1): 0, nik(2): 0, nik(3): before[nik(3)]}


def test_a_ledger_of_version_3_knows_how_far_its_epochs_had_got(rig: Rig) -> None:
    rig.step(rig.batch({7: packet(1)}, epoch="0a1b2c"))
    rig.step(rig.batch({3: packet(2)}))
    rig.region.send_control(rig.want(highest_seq=12))
    rig.intake.step(REGION)
    downgrade(rig)
    rig.ledger = SqlLedger(rig.place)
    found = {row.epoch: (row.highest_seq, row.last_ms) for row in rows(rig, EPOCH)}
    assert found == {"0a1b2c": (7, None), NOW: (12, rig.clock.ms)}
