"""The mirror: what is enqueued lies on a second disk; segments rotate and go; a failing one stops nothing."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.adapters import bundle_file, high_water, mirror_files
from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import NAME, MirrorNotes
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.region.mirror import CHUNK_BYTES, HELD_BYTES_MAX, RETRY_MS, Inside, Kept, chunks_of
from pipeline.region.mirroring import SETTLED_S, Mirror
from pipeline.testing.clock import ManualClock
from schemas.frame import split
from schemas.lanes import Lane
from schemas.ranges import numbers, total
from schemas.verdicts import Status
from tests.unit.mirror_rig import CENTER, REGION, SMALL_SEGMENTS, Office
from tests.unit.outbox_rig import SMALL_DISK, draft


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    one = Office(tmp_path)
    yield one
    one.mirror.close()
    one.outbox.close()


# --- putting --------------------------------------------------------------------------------------


def test_what_is_enqueued_lies_on_the_mirror_for_the_center_to_read(office: Office) -> None:
    office.take(draft(1))
    office.take(draft(2), draft(3, 20_000, Lane.BIOMETRIC), draft(4, lane=Lane.URGENT))
    office.take(draft(5, 700_000, Lane.BIOMETRIC))
    office.check(1, 2, 3, 4, 5)
    assert office.segments() == [f"1806-{office.outbox.epoch}-000001.titian"]
    assert office.disk.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in office.disk.iterdir())


def test_a_repeat_is_not_put_there_twice(office: Office) -> None:
    office.take(draft(1, once=True))
    office.take(draft(1, once=True))
    (segment,) = office.disk.glob("*.titian")
    assert len(list(BundleSource(segment))) == 1


def test_small_packets_of_one_call_travel_together(office: Office) -> None:
    office.take(*(draft(n) for n in range(300)))
    (segment,) = office.disk.glob("*.titian")
    assert len(list(BundleSource(segment))) == 1
    assert len(office.packets()) == 300


def test_a_packet_that_is_too_large_to_hold_has_a_segment_of_its_own(office: Office) -> None:
    office.take(draft(1))
    office.take(draft(2, HELD_BYTES_MAX + 1000))
    office.take(draft(3))
    assert len(office.segments()) == 2
    office.check(1, 2, 3)
    assert not list(office.disk.glob(".*.part"))


def test_segments_rotate_and_a_packet_is_never_in_two(tmp_path: Path) -> None:
    office = Office(tmp_path, SMALL_SEGMENTS)
    for n in range(1, 60):
        office.take(draft(n, 3000))
    office.take(draft(60, 3 * CHUNK_BYTES))
    assert len(office.segments()) > 3
    office.check(*range(1, 61))
    held: list[int] = []
    for path in office.disk.glob("*.titian"):
        held += {seq for one in BundleSource(path) for seq in numbers(split(one.frame).header.seqs)}
    assert len(held) == len(set(held))


def test_a_restart_goes_on_in_the_same_segment(office: Office) -> None:
    office.take(draft(1))
    office.restart()
    office.take(draft(2))
    assert len(office.segments()) == 1
    office.check(1, 2)


def _take_some(folder: Path, disk: Path, first: int, count: int) -> None:
    """In a process of its own."""
    outbox = SqliteOutbox(folder)
    notes = MirrorNotes(folder, disk)
    mirror = Mirror(
        MirrorFolder(disk, "1806", segment_bytes=SMALL_SEGMENTS),
        notes,
        [REGION],
        CENTER.public,
        ManualClock(),
    )
    for n in range(first, first + count):
        one = draft(n, 2000)
        mirror.keep([one], outbox.take([one], 1_000), outbox.read)


def test_several_processes_append_together(office: Office) -> None:
    context = multiprocessing.get_context("fork")
    args = [(office.folder / "data", office.disk, 1000 * n, 25) for n in range(3)]
    processes = [context.Process(target=_take_some, args=one) for one in args]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    assert [one.exitcode for one in processes] == [0, 0, 0]
    office.check(*range(1, 76))
    assert len(office.segments()) > 2


def test_a_write_that_was_cut_off_costs_nothing_that_came_before_or_after(office: Office) -> None:
    office.take(draft(1))
    (segment,) = office.disk.glob("*.titian")
    with segment.open("ab") as file:
        file.write(b"half of an entry")
    office.restart()
    office.take(draft(2))
    assert len(office.segments()) == 2
    office.check(1, 2)


def test_a_segment_that_is_shorter_than_was_said_is_not_gone_on_with(office: Office) -> None:
    office.take(draft(1))
    office.take(draft(2))
    (segment,) = office.disk.glob("*.titian")
    os.truncate(segment, segment.stat().st_size - 50)
    office.restart()
    office.take(draft(3))
    assert sorted(office.packets()) == [1, 3]
    assert office.keep_up() == 1
    office.check(1, 2, 3)


# --- the highest seq ------------------------------------------------------------------------------


def test_the_mirror_knows_the_highest_packet_that_was_put_there(office: Office) -> None:
    assert office.mirror.promised(office.outbox.epoch) is None
    office.take(draft(1), draft(2))
    office.restart()
    assert office.mirror.promised(office.outbox.epoch) == (office.outbox.epoch, 2)


def test_a_state_that_is_older_than_the_segments_does_not_hide_what_was_put_there(office: Office) -> None:
    office.take(draft(1))
    state = office.disk / "1806.state"
    older = state.read_bytes()
    office.take(draft(2), draft(3))
    state.write_bytes(older)
    office.restart()
    assert office.mirror.promised(office.outbox.epoch) == (office.outbox.epoch, 3)
    office.take(draft(4))
    office.check(1, 2, 3, 4)


def test_a_tail_that_the_outbox_lost_is_told_by_the_mirror(office: Office) -> None:
    office.outbox.mirror = office.mirror
    office.take(draft(1), mirrored=False)
    backup = {path.name: path.read_bytes() for path in (office.folder / "data").iterdir() if path.is_file()}
    office.take(draft(2), draft(3), mirrored=False)
    office.outbox.close()
    for name, data in backup.items():
        (office.folder / "data" / name).write_bytes(data)
    for name in ("outbox.db-wal", "outbox.db-shm"):
        if name not in backup:
            (office.folder / "data" / name).unlink(missing_ok=True)
    again = SqliteOutbox(office.folder / "data", SMALL_DISK)
    again.mirror = office.mirror
    again.check(2_000)
    assert again.connection.execute("SELECT n FROM tally WHERE what = 'lost'").get == 2
    again.close()


def test_a_failing_mirror_leaves_the_highest_seq_to_the_synced_file(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    stand_in = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)} | {"fdatasync": synced.append})
    office.outbox.mirror = office.mirror
    office.take(draft(1), mirrored=False)
    monkeypatch.setattr(high_water, "os", stand_in)
    office.take(draft(2), mirrored=False)
    assert not synced, "the mirror's own sync is enough"
    gone(office.disk)
    office.take(draft(3), mirrored=False)
    assert len(synced) == 1
    office.take(draft(4), mirrored=False)
    assert len(synced) == 2


def test_what_another_machine_left_there_says_nothing_of_this_outbox(tmp_path: Path) -> None:
    old = Office(tmp_path)
    old.take(draft(1), draft(2))
    shutil.rmtree(tmp_path / "data")
    new = Office(tmp_path)
    assert new.mirror.promised(new.outbox.epoch) is None
    new.take(draft(7))
    assert new.mirror.promised(new.outbox.epoch) == (new.outbox.epoch, 1)
    assert len(new.segments()) == 2


# --- segments that go -----------------------------------------------------------------------------


def test_a_segment_goes_when_all_its_packets_have_receipts(tmp_path: Path) -> None:
    office = Office(tmp_path, SMALL_SEGMENTS)
    for n in range(1, 40):
        office.take(draft(n, 3000))
    office.take(draft(40, 3 * CHUNK_BYTES))
    names = office.segments()
    office.receipt(1, 39)
    office.keep_up()
    assert office.segments() == names[-1:]
    assert sorted(office.packets()) == [40]


def test_a_refused_packet_keeps_its_segment(tmp_path: Path) -> None:
    office = Office(tmp_path, SMALL_SEGMENTS)
    for n in range(1, 40):
        office.take(draft(n, 3000))
    names = office.segments()
    office.receipt(1, 1, Status.REFUSED)
    office.receipt(2, 39)
    office.keep_up()
    assert office.segments() == [names[0], names[-1]]


def test_what_a_dead_process_left_half_streamed_is_swept(office: Office) -> None:
    office.take(draft(1))
    part = office.disk / ".1806-aaaaaa-000001.1.part"
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    office.keep_up()
    assert not part.exists()


# --- a mirror that fails --------------------------------------------------------------------------


def gone(disk: Path) -> Callable[[], object]:
    away = disk.with_name("away")
    disk.rename(away)
    return lambda: away.rename(disk)


def not_mounted(disk: Path) -> Callable[[], object]:
    """The disk is away, and the empty folder that it is mounted on is there."""
    away = disk.with_name("away")
    disk.rename(away)
    disk.mkdir()

    def mends() -> None:
        disk.rmdir()
        away.rename(disk)

    return mends


def no_folder(disk: Path) -> Callable[[], object]:
    """A file stands in its place."""
    away = disk.with_name("away")
    disk.rename(away)
    disk.write_text("")

    def mends() -> None:
        disk.unlink()
        away.rename(disk)

    return mends


@pytest.mark.parametrize(
    ("breaks", "said"), [(gone, "mounted?"), (not_mounted, "mounted?"), (no_folder, "mounted?")]
)
def test_a_mirror_that_is_away_stops_no_recording_and_is_filled_up_when_it_is_back(
    office: Office, breaks: Callable[[Path], Callable[[], object]], said: str
) -> None:
    office.take(draft(1))
    mends = breaks(office.disk)
    office.take(draft(2))
    office.take(draft(3), draft(4, 20_000))
    office.take(draft(5, 300_000))
    state = office.mirror.state()
    assert state.failing
    assert state.missing == 2
    assert said in state.why
    mends()
    office.take(draft(6))
    assert office.mirror.state().failing, "it is not tried again so soon"
    office.clock.advance(RETRY_MS / 1000)
    office.take(draft(7))
    assert not office.mirror.state().failing
    assert office.mirror.state().missing == 2
    assert office.keep_up() == 5
    office.check(1, 2, 3, 4, 5, 6, 7)
    assert office.mirror.state().missing == 0


def failing_os(code: int, *names: str) -> SimpleNamespace:
    def fails(*_: Any, **__: Any) -> int:
        raise OSError(code, os.strerror(code))

    return SimpleNamespace(**{name: getattr(os, name) for name in dir(os)} | dict.fromkeys(names, fails))


@pytest.mark.parametrize(
    ("code", "call", "said"),
    [
        (errno.ENOSPC, "write", "full"),
        (errno.EROFS, "open", "read-only"),
        (errno.EACCES, "open", "owner and mode"),
        (errno.EIO, "fdatasync", "look at that disk"),
    ],
)
def test_what_is_wrong_with_a_mirror_is_said(
    office: Office, monkeypatch: pytest.MonkeyPatch, code: int, call: str, said: str
) -> None:
    office.take(draft(1))
    office.restart()
    stand_in = failing_os(code, call)
    monkeypatch.setattr(mirror_files, "os", stand_in)
    monkeypatch.setattr(bundle_file, "os", stand_in)
    office.take(draft(2))
    assert said in office.mirror.state().why
    assert str(office.disk) in office.mirror.state().why
    monkeypatch.undo()
    assert office.keep_up() == 1
    office.check(1, 2)


def test_a_full_disk_is_not_filled_with_halves(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.take(draft(1))
    (segment,) = office.disk.glob("*.titian")
    size = segment.stat().st_size

    def half(fd: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(errno.ENOSPC, "full")
        return os.write(fd, data[:100])

    stand_in = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)} | {"write": half})
    monkeypatch.setattr(bundle_file, "os", stand_in)
    office.take(draft(2))
    monkeypatch.undo()
    assert office.mirror.state().failing
    assert segment.stat().st_size == size
    assert office.keep_up() == 1
    office.check(1, 2)


def test_a_folder_that_is_deleted_while_it_is_in_use_is_noticed_at_the_next_packet(office: Office) -> None:
    office.take(draft(1))
    shutil.rmtree(office.disk)
    office.take(draft(2))
    assert "is its disk mounted?" in office.mirror.state().why


def test_a_segment_that_somebody_deleted_is_written_again(office: Office) -> None:
    office.take(draft(1), draft(2))
    assert office.keep_up() == 0
    (segment,) = office.disk.glob("*.titian")
    segment.unlink()
    office.take(draft(3))
    assert sorted(office.packets()) == [3]
    assert office.keep_up() == 2
    office.check(1, 2, 3)


def test_another_process_hears_that_the_mirror_fails_and_does_not_try(office: Office) -> None:
    office.take(draft(1))
    mends = gone(office.disk)
    office.take(draft(2))
    assert office.mirror.state().failing
    office.restart()
    mends()
    office.take(draft(3))
    assert sorted(office.packets()) == [1]
    assert office.mirror.state().failing


def test_notes_that_are_damaged_or_of_another_mirror_say_nothing(office: Office) -> None:
    office.take(draft(1))
    notes = office.folder / "data" / NAME
    assert MirrorNotes(office.folder / "data", office.folder / "other").load().id == ""
    notes.write_text('{"version": 1, "path":')
    assert MirrorNotes(office.folder / "data", office.disk).load().id == ""


# --- upkeep ---------------------------------------------------------------------------------------


def test_what_was_enqueued_before_there_was_a_mirror_is_put_there(office: Office) -> None:
    office.take(*(draft(n) for n in range(1, 8)), mirrored=False)
    office.take(draft(8, 400_000), mirrored=False)
    office.receipt(1, 3)
    assert office.keep_up() == 5
    office.check(4, 5, 6, 7, 8)
    assert office.keep_up() == 0


def test_the_upkeep_goes_in_bounded_steps(office: Office) -> None:
    office.take(*(draft(n) for n in range(1, 51)), mirrored=False)
    office.clock.advance(SETTLED_S + 1)
    put = []
    while True:
        done = office.upkeep.step(limit=20)
        put.append(done.packets)
        if not done.more:
            break
        assert len(put) < 10
    while sum(put) < 50:
        office.clock.advance(SETTLED_S + 1)
        put.append(office.upkeep.step(limit=20).packets)
        assert len(put) < 10
    assert max(put) <= 20
    office.check(*range(1, 51))


def test_what_was_just_enqueued_is_left_to_who_enqueued_it(office: Office) -> None:
    office.upkeep.step()
    office.take(draft(1), mirrored=False)
    assert office.upkeep.step().packets == 0
    office.clock.advance(SETTLED_S + 1)
    assert office.upkeep.step().packets == 0, "it was seen first just now"
    office.clock.advance(SETTLED_S + 1)
    assert office.keep_up() == 1


def test_damage_in_a_segment_is_found_and_what_it_hit_is_put_there_again(office: Office) -> None:
    for n in range(1, 6):
        office.take(draft(n, 2000))
    (segment,) = office.disk.glob("*.titian")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.write_bytes(data)
    office.restart()
    office.clock.advance(SETTLED_S + 1)
    assert office.upkeep.step().damaged == 1
    assert office.keep_up() >= 0
    office.check(1, 2, 3, 4, 5)


def test_a_large_packet_counts_when_all_its_chunks_are_there() -> None:
    size = 3 * CHUNK_BYTES + 1
    packet, inside = Kept(7, Lane.BIOMETRIC, size, bytes(32)), Inside()
    assert chunks_of(size) == 4
    for n in range(4):
        assert not inside.holds(packet)
        inside.add((), (7,))
        assert inside.chunks[7] == n + 1
    assert inside.holds(packet)
    assert total(inside.seqs) == 1
