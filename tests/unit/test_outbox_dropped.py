"""Dead packets that a person gives up: where their bytes go, what stays, and that nothing revives them."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from pipeline.adapters import outbox_dropped, put_away
from pipeline.adapters.outbox_bundles import Choice, OutboxBundles
from pipeline.adapters.outbox_compare import OutboxCompare
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.adapters.outbox_draft import Taken
from pipeline.adapters.outbox_dropped import OutboxDropped
from pipeline.adapters.outbox_dropped_look import dropped, dropped_of, file_of, refused_seqs
from pipeline.adapters.outbox_layout import FILE_NAME
from pipeline.adapters.outbox_mend import mend
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.errors import DiskFull, NotFound, OlderLayout
from pipeline.ports import Batch, Chunk, EntryId
from pipeline.region.reconcile import Difference, Mend, mend_packet
from schemas.asks import HeldPacket
from schemas.feed import FactGroup, digests_hash
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.verdicts import Reason, Status
from tests.unit.outbox_rig import SMALL_DISK, contents, draft, new_outbox

LARGE = 600_000
WHO, WHY = "made", "double"


def refuse(outbox: SqliteOutbox, *seqs: int, position: int = 10) -> None:
    ranges = tuple((seq, seq + 1) for seq in seqs)
    group = FactGroup(outbox.epoch, Status.REFUSED, (Reason("unreadable", ""),), ranges, b"")
    outbox.settle([(position, group)], position, 2_000)


def fact(outbox: SqliteOutbox, status: Status, seq: int) -> FactGroup:
    """What a center that has the packet says of it."""
    digest = outbox.connection.execute("SELECT digest FROM packet WHERE seq = ?", (seq,)).get
    assert isinstance(digest, bytes)
    return FactGroup(outbox.epoch, status, (), ((seq, seq + 1),), digests_hash([digest]))


def claim(outbox: SqliteOutbox, n: int = 1) -> Batch | Chunk | None:
    return outbox.claim(EntryId(1, n), tuple(Lane), 65_536, 65_536, 2_000)


def name(outbox: SqliteOutbox, seq: int) -> PacketId:
    return PacketId(outbox.region, outbox.epoch, seq)


def drop(outbox: SqliteOutbox, seq: int) -> bool:
    return OutboxDropped(outbox).drop(name(outbox, seq), WHO, WHY, 5_000)


@pytest.fixture
def outbox(tmp_path: Path) -> SqliteOutbox:
    """Three packets of which the second is refused, and a large one, refused too (4)."""
    made = new_outbox(tmp_path)
    made.take([draft(n, once=True) for n in (1, 2, 3)], 1_000)
    made.take_large(draft(4, LARGE, Lane.BIOMETRIC), 1_000)
    refuse(made, 2, 4)
    return made


def test_the_bytes_go_into_a_file_and_out_of_the_outbox(outbox: SqliteOutbox) -> None:
    assert drop(outbox, 2)
    assert drop(outbox, 4)
    for seq, size in ((2, 600), (4, LARGE)):
        put = file_of(outbox.folder, name(outbox, seq))
        assert put.read_bytes() == contents(seq, size)
        assert put.stat().st_mode & 0o777 == 0o600
    assert put.parent.stat().st_mode & 0o777 == 0o700
    db = outbox.connection
    assert db.execute("SELECT count(*) FROM piece").get == 0
    assert db.execute("SELECT count(*) FROM upload").get == 0
    assert db.execute("SELECT group_concat(seq) FROM body").get == "1,3"
    assert outbox.heads([1, 2, 3, 4]) == {}


def test_it_is_dead_no_longer_and_still_found_with_who_and_why(outbox: SqliteOutbox) -> None:
    reader = OutboxReader(outbox.folder)
    assert refused_seqs(reader, None) == ((2, 3), (4, 5))
    drop(outbox, 2)
    counts = reader.counts()[Lane.RECORD]
    assert (counts.dead.packets, counts.total.packets, counts.dropped.packets) == (0, 3, 1)
    assert [one.id.seq for one in reader.dead(9)] == [4]
    assert refused_seqs(reader, None) == ((4, 5),)
    assert refused_seqs(reader, Lane.RECORD) == ()
    found = reader.find(name(outbox, 2))
    assert found is not None
    assert (found.status, found.state) == (Status.REFUSED, "REFUSED")
    one = dropped_of(reader, found.id)
    assert one is not None
    assert one.sentence() == "dropped by made: double"
    assert dropped(reader, 9) == [one]
    assert dropped_of(reader, name(outbox, 1)) is None
    assert [e.what for e in reader.events_of(2)][-1] == "dropped"
    assert reader.head(2) is None


def test_what_is_not_dead_or_dropped_already_is_not_dropped(outbox: SqliteOutbox) -> None:
    drop(outbox, 2)
    with pytest.raises(NotFound, match="dropped already, by made"):
        drop(outbox, 2)
    with pytest.raises(NotFound, match="not dead"):
        drop(outbox, 1)
    with pytest.raises(NotFound, match="not in this outbox"):
        drop(outbox, 77)


def test_nothing_makes_a_dropped_packet_wait_again(outbox: SqliteOutbox) -> None:
    assert isinstance(claim(outbox), Batch)
    drop(outbox, 2)
    drop(outbox, 4)
    assert outbox.retry(((1, 9),), 6_000) == 0
    assert outbox.take_back(0, 6_000) == 0
    ours = OutboxCompare(outbox).packets(outbox.epoch, ((2, 3),))
    assert OutboxCompare(outbox).send_again(ours.values(), 6_000) == []
    assert claim(outbox, 2) is None
    assert outbox.requeue(outbox.in_flight(), 6_000) == 2
    with outbox._write(6_000) as (db, books):
        mend(db, books, "a test")
    counts = OutboxReader(outbox.folder).counts()
    assert counts[Lane.RECORD].dead.packets == counts[Lane.BIOMETRIC].dead.packets == 0
    again = claim(outbox, 3)
    assert isinstance(again, Batch)
    assert again.seqs == ((1, 2), (3, 4))
    assert OutboxReader(outbox.folder).meta().tallies == {}


def test_the_center_may_refuse_it_again_or_turn_out_to_have_it(outbox: SqliteOutbox) -> None:
    reader = OutboxReader(outbox.folder)
    drop(outbox, 2)
    refuse(outbox, 2, position=11)
    assert reader.counts()[Lane.RECORD].dead.packets == 0
    outbox.settle([(12, fact(outbox, Status.PRINT_READY_RECORD, 2))], 12, 7_000)
    counts = reader.counts()[Lane.RECORD]
    assert (counts.dead.packets, counts.dropped.packets, counts.total.packets) == (0, 0, 3)
    assert counts.by_status[Status.PRINT_READY_RECORD].packets == 1
    assert outbox.heads([2]) == {}
    assert outbox.retention.prune(9_999, 9_999).packets == 0


def test_a_comparison_finds_the_same_as_before(outbox: SqliteOutbox) -> None:
    compare = OutboxCompare(outbox)
    before = compare.digests(outbox.epoch, (1, 5)), compare.by_day(outbox.epoch, (1,), 5)
    drop(outbox, 2)
    assert (compare.digests(outbox.epoch, (1, 5)), compare.by_day(outbox.epoch, (1,), 5)) == before
    ours = compare.packets(outbox.epoch, ((2, 3),))[2]
    assert mend_packet(Difference(2, None, ours), 99) is Mend.DROPPED


def test_a_retried_packet_is_not_undone_by_its_old_refusal_read_once_more(outbox: SqliteOutbox) -> None:
    assert outbox.retry(((2, 3),), 3_000) == 1
    refuse(outbox, 2)  # the feed from its beginning
    reader = OutboxReader(outbox.folder)
    assert [one.id.seq for one in reader.dead(9)] == [4]
    ours = OutboxCompare(outbox).packets(outbox.epoch, ((2, 3),))[2]
    theirs = HeldPacket(2, Status.REFUSED, 10, b"")
    assert mend_packet(Difference(2, theirs, ours), 99) is Mend.ON_ITS_WAY
    assert outbox.take_back(5, 3_000) == 1, "the large one; the retried one waits already"
    counts = reader.counts()[Lane.RECORD]
    assert (counts.waiting.packets, counts.without_receipt.packets) == (3, 3)
    refuse(outbox, 2, position=6)
    assert [one.id.seq for one in reader.dead(9)] == [2], "a later refusal is one"


def test_what_is_damaged_is_dropped_with_what_is_left_of_it(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 3")
    assert isinstance(claim(outbox), Batch)
    reader = OutboxReader(outbox.folder)
    assert [one.packet.id.seq for one in reader.aside()] == [3]
    assert not drop(outbox, 3), "its digest is another"
    assert file_of(outbox.folder, name(outbox, 3)).read_bytes() == b"\xff" + contents(3, 600)[1:]
    assert reader.aside() == []
    assert reader.meta().tallies["aside"] == 0
    counts = reader.counts()[Lane.RECORD]
    assert (counts.aside.packets, counts.dropped.packets, counts.without_receipt.packets) == (0, 1, 1)
    assert outbox.retry(((3, 4),), 3_000) == 0
    outbox.settle([(11, fact(outbox, Status.RECEIVED_AT_CENTRAL, 3))], 11, 7_000)
    counts = reader.counts()[Lane.RECORD]
    assert (counts.by_status[Status.RECEIVED_AT_CENTRAL].packets, counts.dropped.packets) == (1, 0)


def test_a_large_one_of_which_pieces_are_missing_too(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("DELETE FROM piece WHERE id % 4096 = 1")
    assert not drop(outbox, 4)
    assert file_of(outbox.folder, name(outbox, 4)).read_bytes() == contents(4, LARGE)[:262_144]


def test_in_the_next_epoch_a_dropped_packet_has_no_number(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 3")
    claim(outbox)
    old = [name(outbox, seq) for seq in range(5)]
    for seq in (2, 3):
        drop(outbox, seq)
    outbox.doubts.note(((9, 10),), "a test", 7_000)
    outbox.doubts.end(((9, 10),), 7_000)
    reader = OutboxReader(outbox.folder)
    assert outbox.epoch != old[2].epoch
    for seq in (2, 3):
        gone = reader.find(old[seq])
        assert gone is not None
        assert gone.now is None
        assert dropped_of(reader, old[seq]) is not None
    four = reader.find(old[4])
    assert four is not None
    assert four.now == name(outbox, 2), "a refused one goes on, as before"
    assert (reader.aside(), [one.id.seq for one in reader.dead(9)]) == ([], [2])
    assert OutboxCustody(outbox.folder).all_received(old[2].epoch, ((1, 3), (4, 5)))
    assert reader.counts()[Lane.RECORD].dropped.packets == 0


def test_one_that_was_damaged_in_an_earlier_epoch_can_be_dropped(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 3")
    claim(outbox)
    old = name(outbox, 3)
    outbox.doubts.note(((9, 10),), "a test", 7_000)
    outbox.doubts.end(((9, 10),), 7_000)
    reader = OutboxReader(outbox.folder)
    assert [one.packet.id for one in reader.aside()] == [old]
    assert not OutboxDropped(outbox).drop(old, WHO, WHY, 8_000)
    assert reader.aside() == []
    assert file_of(outbox.folder, old).stat().st_size == 600
    assert outbox.connection.execute("SELECT count(*) FROM past_body").get == 0
    with pytest.raises(NotFound, match="not dead"):
        OutboxDropped(outbox).drop(PacketId(old.region, old.epoch, 4), WHO, WHY, 8_000)


def test_mirror_and_bundles_pass_over_it(outbox: SqliteOutbox) -> None:
    custody = OutboxCustody(outbox.folder)
    assert custody.count_open(1) == 4
    drop(outbox, 2)
    assert [one.seq for one in custody.open_packets(0, 99, 99)] == [1, 3, 4]
    assert custody.count_open(1) == 3
    assert custody.all_received(outbox.epoch, ((2, 3),))
    assert not custody.all_received(outbox.epoch, ((1, 3),))
    bundles = OutboxBundles(outbox.folder)
    assert bundles.amount(Choice(everything=True)).packets == 3
    assert bundles.left_out() == {"pruned": 1, "damaged": 0, "suspect": 0}


def test_its_producer_may_hand_it_in_again(outbox: SqliteOutbox) -> None:
    (known,) = outbox.take([draft(2, once=True)], 8_000)
    assert not isinstance(known, Taken)
    drop(outbox, 2)
    (again,) = outbox.take([draft(2, once=True)], 8_000)
    assert again == Taken(name(outbox, 5))


@pytest.mark.parametrize("stage", ["the file", "the transaction"])
def test_a_power_cut_in_between_does_no_harm(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if stage == "the file":
            patch.setattr(outbox_dropped, "_strip", cut)
        else:
            patch.setattr(outbox_dropped.outbox_intake, "discard", cut)
        drop(outbox, 4)
    outbox.close()
    after = SqliteOutbox(outbox.folder, SMALL_DISK)
    after.check(9_000)
    if stage == "the file":
        assert [one.id.seq for one in OutboxReader(after.folder).dead(9)] == [2, 4]
        assert drop(after, 4)
    assert file_of(after.folder, name(after, 4)).read_bytes() == contents(4, LARGE)
    assert after.connection.execute("SELECT count(*) FROM piece").get == 0


def test_on_a_full_disk_nothing_is_dropped(outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(put_away.os, "fsync", full)
        with pytest.raises(DiskFull, match="nothing was dropped"):
            drop(outbox, 2)
    assert os.listdir(outbox.folder / "dropped") == []
    assert [one.id.seq for one in OutboxReader(outbox.folder).dead(9)] == [2, 4]


def test_an_outbox_of_the_layout_before_is_brought_over(outbox: SqliteOutbox) -> None:
    outbox.close()
    db = apsw.Connection(str(outbox.folder / FILE_NAME))
    db.execute("DROP TABLE dropped; PRAGMA user_version = 3")
    db.close()
    with pytest.raises(OlderLayout):
        OutboxReader(outbox.folder).counts()
    after = SqliteOutbox(outbox.folder, SMALL_DISK)
    assert drop(after, 2)
    assert OutboxReader(after.folder).counts()[Lane.RECORD].dropped.packets == 1
