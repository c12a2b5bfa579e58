"""How the outbox lies on the disk, what it promises at a power cut, and what it refuses to open."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from pipeline.adapters import sqlite
from pipeline.adapters.high_water import HighWater, HighWaterFile
from pipeline.adapters.outbox_draft import AlreadyTaken, IdUsed, Named, Taken, contents_of
from pipeline.adapters.outbox_layout import FILE_NAME, HIGH_WATER_NAME
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox, create_outbox
from pipeline.errors import DiskFull, NotFound, StoreDamaged, StoreError, UsageError
from pipeline.ports import Chunk, EntryId
from schemas.errors import InvalidPacket
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.packet import read_head
from schemas.verdicts import Status
from tests.unit.outbox_rig import NIK, SMALL_DISK, contents, draft, group, new_outbox

ALL_LANES = tuple(Lane)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    yield made
    made.close()


def test_every_connection_of_every_thread_syncs_each_commit(outbox: SqliteOutbox) -> None:
    found = []

    def look() -> None:
        db = outbox.connection
        found.append((db.pragma("synchronous"), db.pragma("journal_mode"), db.pragma("auto_vacuum")))
        outbox.close()

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(2, "wal", 2), (2, "wal", 2)]


class _CountingFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:
        _Counting.syncs += 1
        if _Counting.fails:
            _Counting.fails -= 1
            raise apsw.IOError("the disk is gone")
        super().xSync(flags)


class _Counting(apsw.VFS):
    """The system's files, counting syncs, and failing them on demand."""

    syncs = 0
    fails = 0

    def __init__(self) -> None:
        self.before = apsw.vfs_names()[0]
        super().__init__("counting", base=self.before, makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:
        return _CountingFile(self.before, name, flags)  # type: ignore[arg-type]


@pytest.fixture
def counting() -> Iterator[type[_Counting]]:
    _Counting.syncs, _Counting.fails = 0, 0
    vfs = _Counting()
    yield _Counting
    apsw.set_default_vfs(vfs.before)
    vfs.unregister()


def test_an_enqueue_of_many_syncs_the_log_once(tmp_path: Path, counting: type[_Counting]) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1)], 1)
    before = counting.syncs
    outbox.take([draft(n) for n in range(2, 102)], 1)
    assert counting.syncs - before == 1
    outbox.close()


def test_a_commit_whose_sync_failed_is_undone_and_the_file_is_checked_before_it_is_used_again(
    tmp_path: Path, counting: type[_Counting]
) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1)], 1)
    broken = outbox.connection
    counting.fails = 1
    with pytest.raises(StoreError, match="could not read or write"):
        outbox.take([draft(2)], 1)
    assert outbox.connection is not broken
    assert outbox.highest_seq() == 1
    assert outbox.take([draft(3)], 1) == [Taken(PacketId("1806", outbox.epoch, 2))]
    outbox.close()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # syncs fail inside a close, too
def test_after_a_disk_that_failed_for_a_while_all_that_is_shown_was_written_and_synced_anew(
    tmp_path: Path, counting: type[_Counting]
) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1)], 1)
    counting.fails = 1_000
    for _ in range(3):
        with pytest.raises(StoreError):
            outbox.take([draft(2)], 1)
    counting.fails = 0
    counting.syncs = 0
    assert outbox.highest_seq() >= 1
    assert counting.syncs >= 2
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size == 0
    outbox.close()


def test_a_library_that_can_corrupt_the_log_is_refused() -> None:
    sqlite.check_library("3.51.3")
    with pytest.raises(StoreError, match=r"3\.51\.3 or newer"):
        sqlite.check_library("3.51.2")


def test_a_folder_without_an_outbox_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="titian init region"):
        SqliteOutbox(tmp_path)
    with pytest.raises(NotFound):
        OutboxReader(tmp_path)


def test_an_outbox_of_a_newer_version_is_left_alone(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.connection.pragma("user_version", 99)
    outbox.close()
    with pytest.raises(StoreError, match="newer Titian"):
        SqliteOutbox(tmp_path)


def test_a_file_that_is_no_outbox_is_not_written_to(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / FILE_NAME))
    db.execute("CREATE TABLE mine(a)")
    db.close()
    with pytest.raises(StoreDamaged, match="is no outbox"):
        SqliteOutbox(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreDamaged):
        SqliteOutbox(tmp_path)


def test_making_an_outbox_again_keeps_it_and_another_region_is_refused(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take([draft(1)], 1)
    create_outbox(tmp_path, "1806")
    assert SqliteOutbox(tmp_path).highest_seq() == 1
    with pytest.raises(UsageError, match="of region 1806, not of 1871"):
        create_outbox(tmp_path, "1871")


def test_the_folder_and_its_files_are_closed_to_others(tmp_path: Path) -> None:
    new_outbox(tmp_path / "data").close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_producers_key_is_taken_once_within_and_across_calls(outbox: SqliteOutbox) -> None:
    first = outbox.take([draft(1, once=True), draft(2, once=True), draft(1, once=True)], 1)
    again = outbox.take([draft(2, once=True), draft(3, once=True), draft(1)], 1)
    one, two, three, four = (PacketId("1806", outbox.epoch, seq) for seq in (1, 2, 3, 4))
    assert first == [Taken(one), Taken(two), AlreadyTaken(one)]
    assert again == [AlreadyTaken(two), Taken(three), Taken(four)]


def test_a_large_packet_whose_id_another_took_during_its_upload_leaves_nothing(outbox: SqliteOutbox) -> None:
    first = replace(draft(1, once=True), named=Named("a", _said(1)))
    late = replace(draft(2, 700_000, once=True), key=first.key, named=Named("a", _said(2)))

    def overtaken() -> Iterator[bytes]:
        assert isinstance(outbox.take([first], 1)[0], Taken)
        yield contents(2, 700_000)

    one = PacketId("1806", outbox.epoch, 1)
    assert outbox.take_large(replace(late, stream=overtaken), 1) == IdUsed(one)
    assert outbox.take_large(late, 1) == IdUsed(one)
    assert outbox.take([first], 1) == [AlreadyTaken(one)]
    for table in ("piece", "upload"):
        assert outbox.connection.execute(f"SELECT count(*) FROM {table}").get == 0


def _said(number: int) -> bytes:
    return contents_of(read_head(contents(number, 600), check=False))


def test_a_large_packet_is_stored_in_pieces_and_read_back_whole_and_in_part(outbox: SqliteOutbox) -> None:
    size = 700_001
    taken = outbox.take_large(draft(7, size, Lane.BIOMETRIC, once=True), 1)
    assert outbox.take_large(draft(7, size, Lane.BIOMETRIC, once=True), 1) == AlreadyTaken(taken.id)
    assert outbox.read(1) == contents(7, size)
    assert outbox.read(1, 262_000, 600_000) == contents(7, size)[262_000:600_000]
    pieces = outbox.connection.execute("SELECT length(bytes) FROM piece ORDER BY id").fetchall()
    assert pieces == [(262_144,), (262_144,), (175_713,)]
    chunk = outbox.claim(EntryId(1, 1), ALL_LANES, 1, 200_000, 1)
    assert isinstance(chunk, Chunk)
    assert (chunk.digest, chunk.size) == (hashlib.sha256(contents(7, size)).digest(), size)


def test_a_file_that_changes_between_the_two_readings_is_refused_and_leaves_nothing(
    outbox: SqliteOutbox,
) -> None:
    longer = replace(draft(1, 700_000), stream=lambda: iter([contents(1, 800_000)]))
    other = replace(draft(1, 700_000), stream=lambda: iter([contents(2, 700_000)]))
    for changed in (longer, other):
        with pytest.raises(InvalidPacket, match="changed while it was being read"):
            outbox.take_large(changed, 1)
    for table in ("packet", "piece", "upload"):
        assert outbox.connection.execute(f"SELECT count(*) FROM {table}").get == 0


def test_what_a_dead_process_left_half_uploaded_is_swept_but_not_what_a_living_one_uploads(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    going_on = threading.Event()
    looked = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield contents(1, 600_000)
        going_on.set()
        assert looked.wait(20)

    def upload() -> None:
        outbox.take_large(replace(draft(1, 600_000), stream=slowly), 1)
        outbox.close()

    outbox.connection.execute("INSERT INTO upload VALUES (50, 1)")
    outbox.connection.execute("INSERT INTO piece VALUES (204800, x'00')")
    thread = threading.Thread(target=upload)
    thread.start()
    assert going_on.wait(20)
    pieces = outbox.connection.execute("SELECT count(*) FROM piece").get
    SqliteOutbox(tmp_path, SMALL_DISK).check(2)
    assert outbox.connection.execute("SELECT count(*) FROM piece").get == pieces > 1
    looked.set()
    thread.join()
    SqliteOutbox(tmp_path, SMALL_DISK).check(3)
    assert outbox.connection.execute("SELECT count(*) FROM upload").get == 0
    assert outbox.connection.execute("SELECT count(*) FROM piece WHERE id >= 204800 AND id < 208896").get == 0
    assert outbox.read(1) == contents(1, 600_000)


def test_heads_are_the_beginning_of_the_stored_bytes_also_of_large_packets(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1), draft(2, 40_000)], 1)
    outbox.take_large(draft(3, 300_000), 1)
    assert outbox.heads([1, 2, 3]) == {}, "the center has not said that these are its packets"
    outbox.settle([(1, group(outbox, ((1, 4),), Status.RECEIVED_AT_CENTRAL))], 1, 1)
    heads = outbox.heads([1, 2, 3, 99])
    assert set(heads) == {1, 2, 3}
    assert [read_head(heads[seq]).payload["nama"] for seq in (1, 2, 3)] == ["WARGA 1", "WARGA 2", "WARGA 3"]


def test_heads_of_damaged_packets_are_not_handed_out(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1), draft(2)], 1)
    outbox.settle([(1, group(outbox, ((1, 3),), Status.RECEIVED_AT_CENTRAL))], 1, 1)
    outbox.connection.execute("UPDATE body SET stored = replace(stored, 'WARGA 1', 'WARGA 7') WHERE seq = 1")
    assert set(outbox.heads([1, 2])) == {2}


def test_the_data_version_changes_when_another_program_enqueues(outbox: SqliteOutbox, tmp_path: Path) -> None:
    before = outbox.data_version()
    assert outbox.data_version() == before
    SqliteOutbox(tmp_path, SMALL_DISK).take([draft(1)], 1)
    assert outbox.data_version() != before


def test_a_packets_history_names_what_happened_and_no_citizen(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.take([draft(1), draft(2)], 1_000)
    outbox.claim(EntryId(5, 1), ALL_LANES, 10_000, 10_000, 2_000)
    outbox.requeue(outbox.in_flight(), 3_000)
    outbox.claim(EntryId(5, 2), ALL_LANES, 10_000, 10_000, 4_000)
    outbox.settle([(9, group(outbox, ((2, 3),), Status.PRINT_READY_RECORD))], 9, 5_000)
    reader = OutboxReader(tmp_path)
    history = [(one.at_ms, one.what, one.detail) for one in reader.events_of(2)]
    assert history == [
        (1_000, "enqueued", ""),
        (2_000, "sent", "5-1"),
        (3_000, "requeued", "5-1"),
        (4_000, "sent", "5-2"),
        (5_000, "PRINT_READY_RECORD", "fact 9"),
    ]
    assert [one.what for one in reader.events_of(1)] == ["enqueued", "sent", "requeued", "sent"]
    assert NIK not in str(reader.events())
    assert [(one.what, one.packets) for one in reader.rates(0)] == [
        ("in", 2),
        ("out", 4),
        ("receipt", 1),
        ("verdict", 1),
    ]


def test_facts_that_were_read_before_they_were_taken_back_do_not_come_in_again(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1), draft(2)], 1)
    facts = [(9, group(outbox, ((2, 3),), Status.RECEIVED_AT_CENTRAL))]
    outbox.settle([], 5, 1, start=0)
    outbox.take_back(3, 1)
    assert outbox.settle(facts, 9, 1, start=5) == (3, (), ())
    assert outbox.settle(facts, 9, 1, start=3) == (9, ((2, 3),), ())


def test_events_and_rates_are_kept_for_a_bounded_time(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path, replace(SMALL_DISK, events_max=300))
    for n in range(1, 601):
        outbox.take([draft(n)], n * 60_000 * 60)
    reader = OutboxReader(tmp_path)
    assert 300 <= len(reader.events(limit=10_000)) <= 300 + 256
    assert len(reader.rates(0)) < 400


def test_a_forked_child_opens_its_own_connection(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.take([draft(1)], 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if outbox.take([draft(2)], 1)[0].id.seq == 2 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert outbox.take([draft(3)], 1)[0].id.seq == 3
    assert HighWaterFile(tmp_path / HIGH_WATER_NAME).read() == HighWater(outbox.epoch, 3)


def test_new_packets_are_refused_in_words_before_the_disk_is_full(tmp_path: Path) -> None:
    new_outbox(tmp_path).close()
    outbox = SqliteOutbox(tmp_path, OutboxSettings(low_water_bytes=1 << 60))
    for take in (lambda: outbox.take([draft(1)], 1), lambda: outbox.take_large(draft(1, 700_000), 1)):
        with pytest.raises(DiskFull, match="low_water_bytes"):
            take()
    assert outbox.highest_seq() == 0


def test_the_cost_of_an_enqueue_and_of_a_claim_does_not_grow_with_the_backlog(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 21)], 1)

    def pages(number: int) -> int:
        before = outbox.connection.cache_stats(True)
        outbox.take([draft(number)], 1)
        outbox.claim(EntryId(1, number), ALL_LANES, 1, 1, 1)
        after = outbox.connection.cache_stats(True)
        return sum(after[name] - before[name] for name in ("hits", "misses"))

    with_few = pages(21)
    for start in range(1_000, 21_000, 1_000):
        outbox.take([draft(n) for n in range(start, start + 1_000)], 1)
    with_many = pages(50_000)
    assert 0 < with_many < 2 * with_few


# --- the highest seq in a second file ---------------------------------------------------------------


def _lose_tail(tmp_path: Path) -> SqliteOutbox:
    """Three packets (one of them sent and received), a backup, two more, and the backup comes back."""
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1), draft(2), draft(3)], 1_000)
    outbox.settle([(1, group(outbox, ((2, 3),), Status.RECEIVED_AT_CENTRAL))], 1, 1_000)
    outbox.close()
    shutil.copy(tmp_path / FILE_NAME, tmp_path / "backup")
    outbox.take([draft(4), draft(5)], 1_000)
    outbox.close()
    shutil.copy(tmp_path / "backup", tmp_path / FILE_NAME)
    return outbox


def test_a_lost_tail_is_noticed_and_counted_once_and_nothing_is_sent_until_the_center_was_asked(
    tmp_path: Path,
) -> None:
    old = _lose_tail(tmp_path).epoch
    outbox = SqliteOutbox(tmp_path, SMALL_DISK)
    for _ in range(2):
        outbox.check(9_000)
        assert outbox.claim(EntryId(1, 1), ALL_LANES, 10_000, 10_000, 1) is None
    reader = OutboxReader(tmp_path)
    meta = reader.meta()
    assert (meta.epochs, meta.tallies) == ((old,), {"lost": 2})
    loss = next(one for one in reader.events() if one.what == "loss")
    assert (loss.seqs, loss.at_ms) == (((4, 6),), 9_000)
    assert outbox.take([draft(9)], 1) == [Taken(PacketId("1806", old, 6))]  # above all that was promised
    begun = outbox.doubts.end((), 9_500)
    assert (old, begun) == reader.meta().epochs
    outbox.check(9_900)
    assert reader.meta().tallies == {"lost": 2}
    assert HighWaterFile(tmp_path / HIGH_WATER_NAME).read() == HighWater(begun, 3)


def test_after_a_loss_what_the_center_has_not_spoken_of_goes_on_under_new_identities(tmp_path: Path) -> None:
    old = _lose_tail(tmp_path).epoch
    outbox = SqliteOutbox(tmp_path, SMALL_DISK)
    outbox.check(9_000)
    outbox.doubts.end((), 9_000)
    batch = outbox.claim(EntryId(1, 1), ALL_LANES, 10_000, 10_000, 1)
    assert batch is not None
    assert not isinstance(batch, Chunk)
    assert (batch.seqs, batch.stored) == (((1, 3),), (contents(1, 600), contents(3, 600)))
    reader = OutboxReader(tmp_path)
    was = {seq: reader.find(PacketId("1806", old, seq)) for seq in (1, 2, 3, 4)}
    assert was[4] is None
    assert [was[seq].now if was[seq] else None for seq in (1, 2, 3)] == [  # type: ignore[union-attr]
        PacketId("1806", outbox.epoch, 1), None, PacketId("1806", outbox.epoch, 2),
    ]  # fmt: skip
    assert was[2] is not None
    assert was[2].status is Status.RECEIVED_AT_CENTRAL
    assert reader.counts()[Lane.RECORD].total.packets == 2


def test_a_program_that_had_the_outbox_open_over_a_new_epoch_goes_on_in_it(tmp_path: Path) -> None:
    before = _lose_tail(tmp_path)
    old = before.epoch
    outbox = SqliteOutbox(tmp_path, SMALL_DISK)
    outbox.check(9_000)
    begun = outbox.doubts.end((), 9_000)
    assert before.epoch == old != begun
    assert before.take([draft(9)], 1) == [Taken(PacketId("1806", begun, 3))]
    assert before.take_large(draft(10, 700_000), 1) == Taken(PacketId("1806", begun, 4))
    assert HighWaterFile(tmp_path / HIGH_WATER_NAME).read() == HighWater(begun, 4)
    before.close()
    outbox.close()


def test_heads_of_an_epoch_that_is_over_are_not_those_of_the_new_one(tmp_path: Path) -> None:
    before = _lose_tail(tmp_path)
    outbox = SqliteOutbox(tmp_path, SMALL_DISK)
    outbox.check(9_000)
    outbox.doubts.end((), 9_000)
    outbox.settle([(1, group(outbox, ((1, 2),), Status.RECEIVED_AT_CENTRAL))], 1, 1)
    assert before.heads([1]) == {}  # whoever asks does not know yet that there is another epoch
    assert set(before.heads([1])) == {1}


def test_a_flipped_bit_in_the_log_does_not_lose_packets_silently(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    for n in range(1, 6):
        outbox.take([draft(n)], 1)
    for name in (FILE_NAME, FILE_NAME + "-wal"):  # as after a power cut: the log is still there
        shutil.copy(tmp_path / name, tmp_path / f"{name}.kept")
    outbox.close()
    for name in (FILE_NAME, FILE_NAME + "-wal"):
        shutil.copy(tmp_path / f"{name}.kept", tmp_path / name)
    wal = bytearray((tmp_path / f"{FILE_NAME}-wal").read_bytes())
    wal[-10_000] ^= 4
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(wal)
    again = SqliteOutbox(tmp_path, SMALL_DISK)
    again.check(9_000)
    assert again.doubts.there_are()
    assert OutboxReader(tmp_path).meta().tallies["lost"] >= 1


@pytest.mark.parametrize("damage", ["gone", "cut off", "flipped"])
def test_a_damaged_file_of_the_highest_seq_is_written_anew(tmp_path: Path, damage: str) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1), draft(2)], 1)
    outbox.close()
    path = tmp_path / HIGH_WATER_NAME
    data = path.read_bytes()
    spoiled = {"gone": b"", "cut off": data[:-1], "flipped": bytes([data[0] ^ 1]) + data[1:]}[damage]
    path.write_bytes(spoiled)
    again = SqliteOutbox(tmp_path, SMALL_DISK)
    again.check(1)
    assert again.epoch == outbox.epoch
    assert HighWaterFile(path).read() == HighWater(outbox.epoch, 2)


def test_the_highest_seq_in_the_file_never_goes_down(tmp_path: Path) -> None:
    file = HighWaterFile(tmp_path / "it")
    file.raise_to("abcdef", 7)
    file.raise_to("abcdef", 5)
    assert file.read() == HighWater("abcdef", 7)
    file.raise_to("ghjkmn", 1)
    assert file.read() == HighWater("ghjkmn", 1)
