"""What a region does for its disk: bounded rounds, by the clock, as long as there is something."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_rebuild import put_pieces
from pipeline.adapters.registry_retention import RegistryRetention
from pipeline.adapters.registry_sqlite import create_registry
from pipeline.adapters.sqlite import Database
from pipeline.region.housekeeping import DAY_MS, PACKETS_A_ROUND, Gone, Housekeeping, Kept
from pipeline.testing.clock import ManualClock
from schemas.back import Piece
from schemas.verdicts import Status
from workers.upkeep import RetentionJob


class Shelf(NamedTuple):
    """A store with so many attachments, each settled at a time, and free pages."""

    settled_ms: list[int]
    pages: list[int]

    def prune(self, before_ms: int, now_ms: int, limit: int = 50) -> Gone:
        assert before_ms < now_ms
        due = [at for at in self.settled_ms if at < before_ms][:limit]
        for at in due:
            self.settled_ms.remove(at)
        return Gone(len(due), len(due), 1_000 * len(due))

    def give_back(self) -> int:
        return self.pages.pop() if self.pages else 0


def test_what_is_old_enough_goes_and_the_rest_stays() -> None:
    clock = ManualClock()
    shelf = Shelf([clock.now_ms() - 31 * DAY_MS, clock.now_ms() - 29 * DAY_MS], [])
    assert Housekeeping((shelf,), clock, 30).round() == Kept(1, 1_000)
    assert len(shelf.settled_ms) == 1


def test_a_round_is_bounded_and_says_that_more_waits() -> None:
    clock = ManualClock()
    shelf = Shelf([0] * (PACKETS_A_ROUND + 1), [])
    house = Housekeeping((shelf,), clock, 30)
    assert house.round() == Kept(PACKETS_A_ROUND, PACKETS_A_ROUND * 1_000, more=True)
    assert house.round() == Kept(1, 1_000)


def test_pages_are_given_back_until_none_are_left() -> None:
    house = Housekeeping((Shelf([], [7, 5]),), ManualClock(), 30)
    assert [house.round() for _ in range(3)] == [Kept(0, 0, 5, True), Kept(0, 0, 7, True), Kept()]


def test_with_0_days_attachments_stay_for_good() -> None:
    shelf = Shelf([0], [])
    assert Housekeeping((shelf,), ManualClock(), 0).round() == Kept()
    assert shelf.settled_ms == [0]


def test_an_attachment_that_came_back_stays_while_its_card_is_to_be_printed(tmp_path: Path) -> None:
    create_registry(tmp_path, 1)
    database = Database(tmp_path / FILE_NAME, LAYOUT)
    said = {1: Status.PRINT_READY_RECORD, 2: Status.CARD_PRINTED}
    with database.write() as db:
        for nik, status in said.items():
            db.execute(
                "INSERT INTO record VALUES (NULL, ?, 1, 1, ?, 'aaaaaa', ?, 0, x'', NULL)", (nik, status, nik)
            )
        for nik in (1, 2, 3):
            db.execute(
                "INSERT INTO attachment VALUES (?, ?, 'aaaaaa', ?, 'face', 'image/jpeg', 3, x'', 100, 1)",
                (nik, nik, nik),
            )
            db.execute("INSERT INTO piece VALUES (?, 0, x'010203')", (nik,))
    retention = RegistryRetention(database)
    assert retention.prune(100, 200) == Gone()
    assert retention.prune(101, 200) == Gone(2, 2, 6)
    assert [row[0] for row in database.db.execute("SELECT nik FROM attachment")] == [1]
    assert database.db.execute("SELECT count(*) FROM piece").get == 1


def test_an_attachment_whose_citizen_nobody_named_is_of_the_record_made_from_its_packet(
    tmp_path: Path,
) -> None:
    create_registry(tmp_path, 1)
    database = Database(tmp_path / FILE_NAME, LAYOUT)
    made_from = {1: Status.PRINT_READY_RECORD, 2: Status.CARD_PRINTED}
    with database.write() as db:
        for seq, status in made_from.items():
            row = (1_806_061_505_900_000 + seq, int(status), seq)
            db.execute("INSERT INTO record VALUES (NULL, ?, 1, 1, ?, 'aaaaaa', ?, 0, x'', NULL)", row)
        pieces = [
            Piece("aaaaaa", seq, "face", "image/jpeg", 3, sha256(b"abc").digest(), 0, b"abc")
            for seq in (1, 2, 3)
        ]
        put_pieces(db, pieces, 0, 100)
    retention = RegistryRetention(database)
    assert retention.prune(101, 200) == Gone(2, 2, 6), "of a printed card, and of no record"
    assert database.db.execute("SELECT nik, seq FROM attachment").fetchall() == [(1_806_061_505_900_001, 1)]
    assert retention.prune(101, 200) == Gone()
    with database.write() as db:
        db.execute("UPDATE record SET status = ?", (int(Status.CARD_PRINTED),))
    assert retention.prune(101, 200) == Gone(1, 1, 3)


def test_on_a_disk_that_is_nearly_full_the_ballast_goes_before_the_cleaning_up() -> None:
    full, went = [False], []
    house = Housekeeping((Shelf([], []),), ManualClock(), 30)
    job = RetentionJob(house, lambda: full[0], lambda: went.append("ballast"))
    assert job() is False
    assert went == []
    full[0] = True
    job()
    assert went == ["ballast"]
