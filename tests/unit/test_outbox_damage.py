"""Damage on the region's disk: a packet whose stored bytes have changed never goes, and stops no other."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.outbox_layout import FILE_NAME
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.errors import StoreDamaged, StoreError
from pipeline.lifecycle import Place
from pipeline.ports import Batch, Chunk, EntryId
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.verdicts import Status
from tests.unit.outbox_rig import SMALL_DISK, contents, draft, group, new_outbox

ALL_LANES = tuple(Lane)
PIECE = 262_144


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    yield made
    made.close()


def claim(outbox: SqliteOutbox, n: int, size: int = 200_000) -> Batch | Chunk | None:
    return outbox.claim(EntryId(1, n), ALL_LANES, size, size, 3_000)


def spoil(outbox: SqliteOutbox, seq: int) -> None:
    """One bit of a small packet's stored bytes flips."""
    stored = bytearray(outbox.read(seq))
    stored[len(stored) // 2] ^= 1
    outbox.connection.execute("UPDATE body SET stored = ? WHERE seq = ?", (bytes(stored), seq))


DAMAGES = {
    "a bit flipped": "UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 2",
    "cut off": "UPDATE body SET stored = substr(stored, 1, 100) WHERE seq = 2",
    "gone": "DELETE FROM body WHERE seq = 2",
    "its digest changed": "UPDATE packet SET digest = zeroblob(32) WHERE seq = 2",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_packet_is_put_aside_and_the_lane_goes_on_behind_it(
    outbox: SqliteOutbox, tmp_path: Path, damage: str
) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    outbox.connection.execute(DAMAGES[damage])
    batch = claim(outbox, 1)
    assert isinstance(batch, Batch)
    assert (batch.seqs, batch.stored) == (((1, 2), (3, 4)), (contents(1, 600), contents(3, 600)))
    assert claim(outbox, 2) is None
    reader = OutboxReader(tmp_path)
    counts = reader.counts()[Lane.RECORD]
    assert (counts.waiting.packets, counts.without_receipt.packets, counts.unverdicted.packets) == (0, 2, 2)
    assert (counts.aside, counts.total.packets) == ((1, 600), 3)
    (aside,) = reader.aside()
    assert (aside.packet.id, aside.at_ms) == (PacketId("1806", outbox.epoch, 2), 3_000)
    assert "stored bytes" in aside.why
    assert reader.place_of(2) is Place.WAITING
    assert [one.what for one in reader.events_of(2)] == ["enqueued", "aside"]
    assert reader.meta().tallies == {"aside": 1}
    reader.close()


def test_where_only_damaged_packets_wait_nothing_is_claimed_and_what_comes_later_is(
    outbox: SqliteOutbox,
) -> None:
    outbox.take([draft(1), draft(2)], 1)
    spoil(outbox, 1)
    spoil(outbox, 2)
    assert claim(outbox, 1) is None
    outbox.take([draft(3)], 1)
    batch = claim(outbox, 1)
    assert batch is not None
    assert not isinstance(batch, Chunk)
    assert batch.seqs == ((3, 4),)


def test_a_packet_that_was_damaged_while_it_was_on_its_way_is_put_aside_when_it_is_lost(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take([draft(1), draft(2)], 1)
    claim(outbox, 1)
    spoil(outbox, 1)
    assert outbox.requeue(outbox.in_flight(), 2) == 2
    batch = claim(outbox, 2)
    assert isinstance(batch, Batch)
    assert batch.seqs == ((2, 3),)
    assert [one.packet.id.seq for one in OutboxReader(tmp_path).aside()] == [1]


def test_a_word_that_comes_after_all_takes_a_packet_out_again(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.take([draft(1), draft(2)], 1)
    said = group(outbox, ((1, 3),), Status.PRINT_READY_RECORD)
    spoil(outbox, 1)
    claim(outbox, 1)
    outbox.settle([(1, said)], 1, 5_000)
    reader = OutboxReader(tmp_path)
    counts = reader.counts()[Lane.RECORD]
    assert (counts.aside.packets, counts.waiting.packets, counts.without_receipt.packets) == (0, 0, 0)
    assert counts.by_status[Status.PRINT_READY_RECORD] == (2, 1_200)
    assert reader.aside() == []


LARGE = 3 * PIECE + 1_000
PIECES = {
    "the last is gone": "DELETE FROM piece WHERE id % 4096 = 3",
    "one in the middle is gone": "DELETE FROM piece WHERE id % 4096 = 1",
    "one is short": "UPDATE piece SET bytes = substr(bytes, 1, 5) WHERE id % 4096 = 3",
    "all are gone": "DELETE FROM piece",
}


@pytest.mark.parametrize("damage", PIECES)
def test_a_large_packet_with_a_piece_missing_is_put_aside_before_a_byte_of_it_goes(
    outbox: SqliteOutbox, tmp_path: Path, damage: str
) -> None:
    outbox.take_large(draft(1, LARGE), 1)
    outbox.take([draft(2)], 1)
    outbox.connection.execute(PIECES[damage])
    batch = claim(outbox, 1)
    assert isinstance(batch, Batch)
    assert batch.seqs == ((2, 3),)
    (aside,) = OutboxReader(tmp_path).aside()
    assert aside.packet.id.seq == 1
    assert f"of its {LARGE}" in aside.why
    assert OutboxReader(tmp_path).counts()[Lane.RECORD].waiting == (0, 0)


def test_a_piece_that_goes_missing_half_way_stops_that_packet_only(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take_large(draft(1, LARGE), 1)
    outbox.take([draft(2)], 1)
    assert isinstance(claim(outbox, 1, PIECE), Chunk)
    outbox.connection.execute("DELETE FROM piece WHERE id % 4096 = 1")
    batch = claim(outbox, 2)
    assert isinstance(batch, Batch)
    assert batch.seqs == ((2, 3),)
    outbox.requeue(outbox.in_flight()[:1], 2)  # its first chunk is lost: it does not wait again
    assert OutboxReader(tmp_path).counts()[Lane.RECORD].waiting == (0, 0)
    assert claim(outbox, 3) is None


def test_a_large_packet_that_the_center_threw_away_twice_is_verified_here(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take_large(draft(1, LARGE), 1)
    outbox.take_large(draft(2, LARGE), 1)
    outbox.connection.execute("UPDATE piece SET bytes = zeroblob(262144) WHERE id = 4096 + 1")
    reader = OutboxReader(tmp_path)
    for _ in range(2):
        assert reader.aside() == []
        outbox.cover({1: ((0, PIECE),), 2: ((0, PIECE),)}, [])
        outbox.cover({}, [])
    (aside,) = reader.aside()
    assert (aside.packet.id.seq, aside.why) == (1, "its stored bytes do not match its digest")
    counts = reader.counts()[Lane.RECORD]
    assert (counts.waiting, counts.aside) == ((1, LARGE), (1, LARGE))


def test_what_is_pruned_keeps_its_word_when_the_center_takes_it_back_and_is_counted(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    outbox.settle([(7, group(outbox, ((1, 4),), Status.PRINT_READY_RECORD))], 7, 5_000)
    outbox.connection.execute("UPDATE packet SET pruned_ms = 6000 WHERE seq = 1")
    outbox.connection.execute("UPDATE packet SET pruned_ms = 0 WHERE seq = 2")  # it had no attachments
    assert outbox.take_back(3, 6_000) == 2
    reader = OutboxReader(tmp_path)
    kept = reader.find(PacketId("1806", outbox.epoch, 1))
    assert kept is not None
    assert (kept.status, kept.fact_no) == (Status.PRINT_READY_RECORD, 3)
    assert reader.meta().tallies == {"not_resendable": 1}
    batch = claim(outbox, 1)
    assert isinstance(batch, Batch)
    assert batch.seqs == ((2, 4),)
    assert outbox.take_back(3, 6_000) == 0
    assert reader.meta().tallies == {"not_resendable": 1}


# --- the file itself --------------------------------------------------------------------------------


def filled(folder: Path) -> SqliteOutbox:
    outbox = new_outbox(folder)
    outbox.take([draft(n) for n in range(1, 41)], 1)
    outbox.take_large(draft(41, 300_000), 1)
    outbox.settle([(1, group(outbox, ((1, 11),), Status.RECEIVED_AT_CENTRAL))], 1, 1)
    outbox.close()
    return outbox


def use(folder: Path) -> dict[int, bytes]:
    """Everything that a damaged outbox still gives out, by seq; raises what it says instead."""
    outbox = SqliteOutbox(folder, SMALL_DISK)
    given: dict[int, bytes] = {}
    try:
        outbox.check(2)
        for n in range(1, 60):
            claimed = claim(outbox, n)
            if claimed is None:
                break
            if isinstance(claimed, Chunk):
                given[claimed.seq] = given.get(claimed.seq, b"") + claimed.data
                continue
            seqs = [seq for start, stop in claimed.seqs for seq in range(start, stop)]
            given.update(zip(seqs, claimed.stored, strict=True))
        outbox.take([draft(99)], 3)
    finally:
        outbox.close()
    return given


def test_a_database_file_cut_off_at_any_page_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    data = (tmp_path / "whole" / FILE_NAME).read_bytes()
    folder = tmp_path / "cut"
    for pages in range(len(data) // 4096):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / FILE_NAME).write_bytes(data[: pages * 4096])
        with pytest.raises(StoreDamaged, match="titian init region --rebuild"):
            use(folder)


def test_flipped_bits_in_the_database_are_noticed_or_harm_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    data = (tmp_path / "whole" / FILE_NAME).read_bytes()
    right = {n: contents(n, 300_000 if n == 41 else 600) for n in range(1, 42)}
    rng = random.Random(41)
    folder = tmp_path / "flipped"
    shutil.copytree(tmp_path / "whole", folder)
    whole = noticed = 0
    for _ in range(150):
        spoiled = bytearray(data)
        at = rng.randrange(len(data) - 300_000 if rng.random() < 0.9 else len(data))
        spoiled[at] ^= 1 << rng.randrange(8)
        for part in folder.iterdir():
            part.unlink()
        for part in (tmp_path / "whole").iterdir():
            shutil.copy(part, folder)
        (folder / FILE_NAME).write_bytes(spoiled)
        try:
            given = use(folder)
        except StoreError:
            noticed += 1
            continue
        for seq, stored in given.items():
            if seq != 41:  # the digest of a large packet is for the center to verify
                assert stored == right[seq], f"bit at {at}: a wrong packet {seq}"
        whole += 1
    assert whole
    assert noticed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE epoch SET epoch = 'h|gxga'", "note of its epoch is damaged"),
        ("DELETE FROM epoch", "makes no sense"),
        ("DELETE FROM meta WHERE key = 'settled_to'", "makes no sense"),
        ("UPDATE meta SET value = 'x' WHERE key = 'settled_to'", "makes no sense"),
        ("UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'settled_to'", "is damaged"),
    ],
)
def test_a_note_that_makes_no_sense_is_said_with_what_to_do(
    outbox: SqliteOutbox, tmp_path: Path, damage: str, said: str
) -> None:
    outbox.connection.execute(damage)
    with pytest.raises(StoreDamaged, match=f"{said}.*rebuild it in an empty one"):
        SqliteOutbox(tmp_path, SMALL_DISK).settled_to()
