"""What the outbox keeps of announcements: what was told and what not, over restarts, and from an old file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from pipeline.adapters.outbox_announced import LaneBacklog
from pipeline.adapters.outbox_layout import _FIRST, FILE_NAME, LAYOUT
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.sqlite import Database, Layout
from pipeline.errors import StoreDamaged, StoreError
from pipeline.ports import EntryId
from schemas.announcement import Announcement
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.ranges import from_numbers
from schemas.verdicts import Status
from tests.unit.outbox_rig import SMALL_DISK, draft, group, mislead, new_outbox, swap_in_index

BIO = Lane.BIOMETRIC


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    """Packets 1, 2, 4, 5 wait in the lane `biometric`, 3 and 6 in `record`."""
    made = new_outbox(tmp_path)
    lanes = (BIO, BIO, Lane.RECORD, BIO, BIO, Lane.RECORD)
    made.take([draft(n, 20_000, lane) for n, lane in enumerate(lanes, 1)], 1)
    yield made
    made.close()


def untold(outbox: SqliteOutbox, skip: int = 0, limit: int = 99, lane: Lane = BIO) -> list[int]:
    return [seq for seq, _ in outbox.announced.untold(lane, skip, limit)]


def told(outbox: SqliteOutbox) -> list[int]:
    """What counts as told, in any lane."""
    return [seq for (seq,) in outbox.connection.execute("SELECT seq FROM announced ORDER BY seq")]


def settle(outbox: SqliteOutbox, seq: int, status: Status, position: int = 1) -> None:
    outbox.settle([(position, group(outbox, ((seq, seq + 1),), status))], position, 2)


def test_an_announcement_says_what_the_packet_will_be(outbox: SqliteOutbox) -> None:
    ((seq, said),) = outbox.announced.untold(BIO, 1, 1)
    one = draft(seq, 20_000, BIO)
    assert (seq, said) == (2, Announcement(one.nik_hash[:8], one.size, one.digest, one.at_ms))


def test_what_was_told_is_not_offered_again(outbox: SqliteOutbox) -> None:
    assert untold(outbox) == [1, 2, 4, 5]
    outbox.announced.tell(BIO, [1, 4], 5)
    assert untold(outbox) == [2, 5]
    assert untold(outbox, limit=1) == [5]  # behind what was told last it looks first
    outbox.announced.tell(BIO, [5], 6)
    assert untold(outbox) == [2]
    assert untold(outbox, lane=Lane.RECORD) == [3, 6]


def test_the_front_of_a_lane_is_left_out(outbox: SqliteOutbox) -> None:
    assert untold(outbox, skip=3) == [5]
    assert untold(outbox, skip=4) == []


def test_what_is_on_its_way_is_not_offered_and_what_was_begun_is(outbox: SqliteOutbox) -> None:
    outbox.claim(EntryId(1, 1), (BIO,), 1, 4_096, 2)  # a part of 1
    assert untold(outbox) == [1, 2, 4, 5]
    assert untold(outbox, skip=1) == [2, 4, 5]
    outbox.claim(EntryId(1, 2), (BIO,), 1, 1 << 18, 2)  # the rest of it
    assert untold(outbox) == [2, 4, 5]


def test_the_counts_of_a_lane_are_those_of_what_waits(outbox: SqliteOutbox) -> None:
    outbox.announced.tell(BIO, [1, 2], 5)
    outbox.claim(EntryId(1, 1), (BIO,), 1, 1 << 18, 2)
    assert outbox.announced.backlog()[BIO] == LaneBacklog(3, 60_000, 2)
    reader = OutboxReader(outbox.folder)
    counts = reader.counts()
    assert (counts[BIO].announced, counts[Lane.RECORD].announced) == (2, 0)
    assert [one.what for one in reader.events_of(2)] == ["enqueued", "announced"]
    assert [one.what for one in reader.events_of(4)] == ["enqueued"]
    reader.close()


def test_a_receipt_ends_an_announcement_and_a_refusal_does_not(outbox: SqliteOutbox) -> None:
    outbox.announced.tell(BIO, [1, 2, 4], 5)
    settle(outbox, 1, Status.RECEIVED_AT_CENTRAL, 1)
    settle(outbox, 2, Status.REFUSED, 2)
    assert told(outbox) == [2, 4]


def test_what_the_ledger_does_not_know_is_offered_again(outbox: SqliteOutbox) -> None:
    outbox.announced.tell(BIO, [1, 2, 4, 5], 5)
    assert outbox.announced.restate(2, 5, from_numbers([4]), from_numbers([])) == (1, 0)
    assert told(outbox) == [1, 4, 5]
    assert outbox.announced.restate(0, INTEGER_MAX, from_numbers([1, 4]), from_numbers([5])) == (0, 0)
    assert told(outbox) == [1, 4, 5]
    assert untold(outbox) == [2]


def test_what_the_ledger_knows_without_our_knowing_counts_as_told(outbox: SqliteOutbox) -> None:
    settle(outbox, 1, Status.RECEIVED_AT_CENTRAL)
    everywhere = from_numbers(range(1, 1_000))
    assert outbox.announced.restate(2, 5, everywhere, ()) == (0, 3)
    assert told(outbox) == [2, 3, 4]
    assert outbox.announced.restate(0, INTEGER_MAX, everywhere, ()) == (0, 2)  # 1 is there: it has a receipt
    assert told(outbox) == [2, 3, 4, 5, 6]


def test_a_restatement_that_changes_nothing_writes_nothing(outbox: SqliteOutbox) -> None:
    outbox.announced.tell(BIO, [1, 2], 5)
    before = outbox.connection.total_changes()
    assert outbox.announced.restate(0, INTEGER_MAX, from_numbers([1, 2]), ()) == (0, 0)
    assert outbox.connection.total_changes() == before


def test_what_was_told_is_kept_over_a_restart(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.announced.tell(BIO, [1, 2], 5)
    outbox.close()
    again = SqliteOutbox(tmp_path, SMALL_DISK)
    assert untold(again) == [4, 5]
    again.close()


def test_a_new_epoch_has_told_nothing(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.announced.tell(BIO, [1, 2], 5)
    outbox.close()
    shutil.copytree(tmp_path, tmp_path / "backup")
    later = SqliteOutbox(tmp_path, SMALL_DISK)
    later.take([draft(7, 20_000, BIO)], 9)
    later.close()
    (tmp_path / FILE_NAME).unlink()
    for part in (tmp_path / "backup").glob("outbox.db*"):
        shutil.copy(part, tmp_path)
    restored = SqliteOutbox(tmp_path, SMALL_DISK)
    before = restored.epoch
    restored.check(10)
    assert restored.announced.untold(BIO, 0, 10) == []  # there is doubt: under these numbers may be others
    restored.doubts.end((), 11)
    assert restored.epoch != before
    assert told(restored) == []
    assert untold(restored) == [1, 2, 4, 5]
    restored.close()


# --- an outbox of the first layout -----------------------------------------------------------------


@pytest.fixture
def old(outbox: SqliteOutbox, tmp_path: Path) -> Path:
    """The same outbox as the first layout had it: nothing of it was told."""
    outbox.close()
    folder = tmp_path / "old"
    folder.mkdir()
    Database.create(folder / FILE_NAME, Layout(LAYOUT.name, LAYOUT.application_id, (_FIRST,))).close()
    db = apsw.Connection(str(folder / FILE_NAME))
    db.execute("ATTACH ? AS new", (str(tmp_path / FILE_NAME),))
    db.execute("DELETE FROM lane; DELETE FROM counter")
    tables = [row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    for table in tables:
        if not table.startswith("sqlite_"):
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table}({columns}) SELECT {columns} FROM new.{table}")
    db.close()
    shutil.copy(tmp_path / "highest-seq", folder)
    return folder


def test_an_outbox_of_the_first_layout_is_brought_over_with_its_packets(old: Path) -> None:
    with pytest.raises(StoreError, match="titian up"):
        OutboxReader(old)
    outbox = SqliteOutbox(old, SMALL_DISK)
    outbox.check(3)
    assert outbox.connection.pragma("user_version") == len(LAYOUT.migrations)
    assert outbox.highest_seq() == 6
    outbox.announced.tell(BIO, untold(outbox, limit=2), 5)
    assert untold(outbox) == [4, 5]
    outbox.close()
    assert OutboxReader(old).counts()[BIO].announced == 2


def test_a_packet_of_another_lane_to_which_the_index_leads_is_not_announced(outbox: SqliteOutbox) -> None:
    mislead(outbox, f"UPDATE packet SET lane = {int(Lane.RECORD)} WHERE seq = 4")
    with pytest.raises(StoreDamaged, match="at 4"):
        untold(outbox)


def test_what_the_index_gives_in_a_wrong_order_is_announced_in_the_right_one(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(n, 20_000, BIO) for n in range(1, 6)], 1)
    swap_in_index(outbox, 2, 4)
    outbox.close()
    outbox = SqliteOutbox(tmp_path, SMALL_DISK)  # which has none of the pages in memory
    said = outbox.announced.untold(BIO, 0, 99)
    assert [seq for seq, _ in said] == sorted({seq for seq, _ in said})
    assert len(said) > 1
    assert all(one.digest == draft(seq, 20_000, BIO).digest for seq, one in said)
    outbox.close()


def test_what_cannot_be_read_before_announcing_is_said_in_our_words(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("DROP TABLE suspect")
    with pytest.raises(StoreError, match=r"outbox\.db"):
        untold(outbox)
