"""A disk without room: enqueue says so in words, nothing is half stored, and with room it goes on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.outbox_layout import BALLAST_NAME
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.errors import DiskFull
from pipeline.ports import EntryId
from pipeline.region import open_outbox
from schemas.lanes import Lane
from schemas.verdicts import Status
from tests.unit.outbox_rig import NIK, SMALL_DISK, contents, draft, group, new_outbox

ROOM = 1 << 30


def fill(outbox: SqliteOutbox) -> int:
    """Enqueue one by one until there is no room; returns how many were taken."""
    for n in range(1, 100_000):
        try:
            outbox.take([draft(n)], 1)
        except DiskFull:
            return n - 1
    raise AssertionError("the quota did not hold")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    """An outbox whose file may not grow by more than 40 pages."""
    made = new_outbox(tmp_path)
    limit(made, int(made.connection.pragma("page_count")) + 40)
    yield made
    made.close()


def limit(outbox: SqliteOutbox, pages: int) -> None:
    outbox.connection.pragma("max_page_count", pages)


def whole(outbox: SqliteOutbox, taken: int) -> None:
    """There are `taken` packets, all of them whole, and nothing besides."""
    assert outbox.highest_seq() == taken
    assert [outbox.read(seq) for seq in range(1, taken + 1)] == [
        contents(n, 600) for n in range(1, taken + 1)
    ]
    counts = OutboxReader(outbox.folder).counts()[Lane.RECORD]
    assert counts.total == counts.waiting == (taken, taken * 600)
    for table in ("piece", "upload"):
        assert outbox.connection.execute(f"SELECT count(*) FROM {table}").get == 0
    assert outbox.connection.execute("SELECT count(*) FROM body").get == taken


def test_an_enqueue_without_room_is_refused_in_words_and_stores_nothing(outbox: SqliteOutbox) -> None:
    taken = fill(outbox)
    assert taken > 10
    with pytest.raises(DiskFull, match=r"full; nothing was stored. Free space, then run it again"):
        outbox.take([draft(n) for n in range(1_000, 1_050)], 1)
    whole(outbox, taken)


def test_with_room_again_the_numbering_goes_on_without_a_gap(outbox: SqliteOutbox) -> None:
    taken = fill(outbox)
    limit(outbox, ROOM)
    assert outbox.take([draft(taken + 1)], 1)[0].id.seq == taken + 1
    whole(outbox, taken + 1)


def test_a_large_packet_that_does_not_fit_leaves_none_of_its_pieces(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1)], 1)
    limit(outbox, int(outbox.connection.pragma("page_count")) + 100)  # one piece fits, the second does not
    with pytest.raises(DiskFull):
        outbox.take_large(draft(2, 900_000, Lane.BIOMETRIC), 1)
    whole(outbox, 1)


def test_a_batch_of_which_only_a_part_would_fit_is_refused_whole(outbox: SqliteOutbox) -> None:
    with pytest.raises(DiskFull):
        outbox.take([draft(n) for n in range(1, 1_000)], 1)
    whole(outbox, 0)


def test_the_producer_sees_the_same_words(outbox: SqliteOutbox) -> None:
    fill(outbox)
    producer = open_outbox(outbox.folder, settings=SMALL_DISK)
    limit(producer.store, int(producer.store.connection.pragma("page_count")))
    with pytest.raises(DiskFull, match="Free space"):
        producer.enqueue({"kind": "enrolment", "payload": {"nik": NIK, "nama": "A" * 200, "x": "y" * 4_000}})
    producer.close()


def test_a_full_disk_costs_the_ballast_so_that_settling_can_go_on(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path, replace(SMALL_DISK, ballast_bytes=1_000_000))
    ballast = tmp_path / BALLAST_NAME
    assert ballast.stat().st_size == 1_000_000
    outbox.take([draft(n) for n in range(1, 200)], 1)
    facts = [(n, group(outbox, ((n, n + 1),), Status.RECEIVED_AT_CENTRAL)) for n in range(1, 200)]
    limit(outbox, int(outbox.connection.pragma("page_count")))

    def send_and_settle() -> None:
        for n, fact in enumerate(facts, 1):
            outbox.claim(EntryId(1, n), (Lane.RECORD,), 1, 1, 1)
            outbox.settle([fact], n, 1)

    with pytest.raises(DiskFull):
        send_and_settle()
    assert not ballast.exists()
    limit(outbox, ROOM)
    outbox.check(1)
    assert ballast.exists()
    outbox.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 2 MiB (needs root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = tmp_path / "disk"
    folder.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


def test_on_a_real_disk_that_is_full_nothing_is_half_stored(small_disk: Path) -> None:
    outbox = new_outbox(small_disk)
    taken = fill(outbox)
    assert taken > 10
    with pytest.raises(DiskFull):
        outbox.take_large(draft(5_000, 900_000), 1)
    whole(outbox, taken)
    outbox.close()
    again = SqliteOutbox(small_disk, SMALL_DISK)
    assert again.epoch == outbox.epoch
    whole(again, taken)
    again.close()
