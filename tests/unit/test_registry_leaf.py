"""A record that the disk has changed is not shown: each has its leaf, and the center has the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.adapters.sqlite import Database, Layout
from pipeline.errors import StoreDamaged
from schemas.asks import RECORD, Answer, pack_record, pack_record_args
from schemas.feed import RecordChange, Span
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status

NIK, OTHER = "1806061505900001", "1806061505900002"


def change(nik: str, version: int = 1, name: str = "SITI") -> RecordChange:
    head = pack_head(Packet("enrolment", {"nik": nik, "nama": name}, (), 1)).prefix
    return RecordChange(version, Status.PRINT_READY_RECORD, "aaaaaa", 7, head)


class Stores(NamedTuple):
    """A registry with two records, a reader beside it, and a way to spoil what is there."""

    registry: SqliteRegistry
    reader: RegistryReader
    file: Database

    def spoil(self, what: str) -> None:
        """As a disk might."""
        with self.file.write() as db:
            db.execute(f"UPDATE record SET {what} WHERE nik = {NIK}")

    def leaf(self, nik: str) -> object:
        """What is stored."""
        return self.file.rows("SELECT leaf FROM record WHERE nik = ?", (int(nik),), tuple)[0][0]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    create_registry(tmp_path, 1)
    made = Stores(SqliteRegistry(tmp_path), RegistryReader(tmp_path), Database(tmp_path / FILE_NAME, LAYOUT))
    made.registry.apply_records(Span("i", 1, 0, 2), [change(NIK), change(OTHER)], 1)
    yield made
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "what",
    [
        "head = CAST(replace(CAST(head AS TEXT), 'SITI', 'SITA') AS BLOB)",
        "head = 'a text'",
        "version = 3",
        "status = 7",
        "status = 99",
        "epoch = 'aaaaab'",
        "epoch = x'ff'",
        "seq = 6",
        "seq = 'six'",
        "leaf = leaf + 1",
        "leaf = 'a leaf'",
    ],
)
def test_what_the_disk_has_changed_is_not_shown_and_the_message_says_how_to_get_it_back(
    stores: Stores, what: str
) -> None:
    stores.spoil(what)
    with pytest.raises(
        StoreDamaged, match=f"record of {NIK} does not read.*titian records --nik {NIK} --fetch"
    ):
        stores.reader.record(NIK)
    with pytest.raises(StoreDamaged, match="does not read"):
        list(stores.reader.records(10))
    other = stores.reader.record(OTHER)
    assert other is not None
    assert other.head == change(OTHER).head


def test_what_the_center_answers_mends_it(stores: Stores) -> None:
    for what in ("head = replace(head, 'S', 'T')", "leaf = 5", "status = 7"):
        stores.spoil(what)
        asked = stores.registry.ask(RECORD, pack_record_args(NIK, ()), 1)
        assert stores.registry.apply_answer(Answer("i", 1, asked, 0, 1, True, pack_record(change(NIK))), 2)
        record = stores.reader.record(NIK)
        assert record is not None
        assert (record.head, record.status) == (change(NIK).head, Status.PRINT_READY_RECORD)


def test_a_record_that_an_older_version_wrote_is_shown_and_gets_its_leaf_when_it_is_written(
    tmp_path: Path,
) -> None:
    older = Layout(LAYOUT.name, LAYOUT.application_id, LAYOUT.migrations[:2])
    made = Database.create(tmp_path / FILE_NAME, older)
    with made.write() as db:
        for nik in (NIK, OTHER):
            db.execute(
                "INSERT INTO record(nik, version, record_no, status, epoch, seq, head) "
                "VALUES (?, 1, 1, ?, 'aaaaaa', 7, ?)",
                (int(nik), int(Status.PRINT_READY_RECORD), change(nik).head),
            )
    made.close()
    registry = SqliteRegistry(tmp_path)
    assert registry.apply_records(Span("i", 1, 0, 2), [change(NIK, 2)], 1)
    stores = Stores(registry, RegistryReader(tmp_path), Database(tmp_path / FILE_NAME, LAYOUT))
    assert [(one.nik, one.version) for one in stores.reader.records(10)] == [(NIK, 2), (OTHER, 1)]
    assert stores.leaf(OTHER) is None
    assert stores.leaf(NIK) is not None
    stores.spoil("seq = 8")
    with pytest.raises(StoreDamaged):
        stores.reader.record(NIK)
    for one in stores:
        one.close()
