"""Doubt about what the center has: what is asked, what an answer settles, what goes on in the new epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.outbox_draft import AlreadyTaken, IdUsed, Named, Taken, contents_of
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.outbox_suspect import PORTION_SEQS
from pipeline.ports import Batch, EntryId
from schemas.asks import HeldPacket, pack_packets_args
from schemas.feed import FactGroup
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.messages import ASK_BYTES_MAX
from schemas.packet import read_head
from schemas.ranges import from_numbers, total
from schemas.verdicts import Reason, Status
from tests.unit.outbox_rig import contents, digests_of, draft, group, new_outbox

RECEIVED, READY, REFUSED = Status.RECEIVED_AT_CENTRAL, Status.PRINT_READY_RECORD, Status.REFUSED


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reader(outbox: SqliteOutbox, tmp_path: Path) -> Iterator[OutboxReader]:
    assert outbox.epoch
    made = OutboxReader(tmp_path)
    yield made
    made.close()


def held(outbox: SqliteOutbox, seq: int, status: Status = RECEIVED, fact_no: int = 50) -> HeldPacket:
    """What a center that has our packet answers."""
    return HeldPacket(seq, status, fact_no, digests_of(outbox, [seq])[0])


def other(seq: int) -> HeldPacket:
    return HeldPacket(seq, RECEIVED, 60, b"other contents of thirty-two byt")


def now_of(reader: OutboxReader, epoch: str, seq: int) -> int | None:
    found = reader.find(PacketId("1806", epoch, seq))
    assert found is not None
    return None if found.now is None else found.now.seq


# --- what is asked ----------------------------------------------------------------------------------


def test_packets_without_a_word_and_all_that_is_in_doubt_are_asked_about_in_bounded_portions(
    outbox: SqliteOutbox,
) -> None:
    outbox.take([draft(n) for n in range(1, 301)], 1)
    outbox.settle([(1, group(outbox, from_numbers(range(2, 301, 2)), RECEIVED))], 1, 1)  # odd ones are open
    outbox.doubts.note(((8, 10), (290, 10_000)), "a test", 1)
    asked: set[int] = set()
    after = 0
    while seqs := outbox.doubts.portion(after):
        assert len(pack_packets_args(outbox.epoch, seqs)) <= ASK_BYTES_MAX
        assert total(seqs) <= PORTION_SEQS
        assert seqs[0][0] > after
        numbers = {n for start, stop in seqs for n in range(start, stop)}
        assert not asked & numbers
        asked |= numbers
        after = seqs[-1][1] - 1
    assert asked == set(range(1, 300, 2)) | {8} | set(range(290, 10_000))


def test_new_packets_get_seqs_above_all_that_is_in_doubt(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1)], 1)
    outbox.doubts.note(((2, 9),), "a test", 1)
    assert outbox.take([draft(2)], 1) == [Taken(PacketId("1806", outbox.epoch, 9))]
    assert outbox.doubts.top_seq() == 9


# --- what an answer settles ---------------------------------------------------------------------------


def test_what_the_center_has_with_our_digest_is_settled_as_by_a_fact_and_the_position_stays(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    outbox.doubts.note(((1, 4),), "a test", 1)
    assert outbox.doubts.compare([held(outbox, 1, READY, 44), held(outbox, 2)], 9) == ()
    found = reader.find(PacketId("1806", outbox.epoch, 1))
    assert found is not None
    assert (found.status, found.fact_no) == (READY, 44)
    assert reader.counts()[Lane.RECORD].waiting.packets == 1
    assert outbox.settled_to() == 0
    outbox.doubts.compare([held(outbox, 1, RECEIVED, 12)], 9)  # an older answer changes nothing
    found = reader.find(PacketId("1806", outbox.epoch, 1))
    assert found is not None
    assert found.status is READY


def test_what_is_the_centers_and_not_ours_is_told_apart(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    refused = HeldPacket(3, REFUSED, 7, b"")
    assert outbox.doubts.compare([held(outbox, 1), other(2), refused, other(9)], 9) == ((2, 3), (9, 10))
    assert outbox.doubts.portion(0) == ((2, 4),)


def test_a_packet_that_is_damaged_here_and_whole_at_the_center_is_settled(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(1)], 1)
    answer = held(outbox, 1)
    outbox.connection.execute("DELETE FROM body")
    outbox.claim(EntryId(1, 1), list(Lane), 9_000, 9_000, 1)
    assert len(reader.aside()) == 1
    outbox.doubts.compare([answer], 9)
    assert reader.aside() == []
    assert reader.counts()[Lane.RECORD].by_status[RECEIVED].packets == 1


# --- what goes on ---------------------------------------------------------------------------------------


def test_the_new_epoch_has_what_the_center_lacks_in_order_and_the_past_keeps_every_name(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(n) for n in range(1, 7)], 1)
    outbox.take_large(draft(7, 300_000, Lane.BIOMETRIC), 1)
    old = outbox.epoch
    outbox.announced.tell(Lane.BIOMETRIC, [7], 1)
    facts = [
        (1, group(outbox, ((1, 2),), READY)),
        (2, FactGroup(old, REFUSED, (Reason("unreadable", "x"),), ((2, 3),), b"")),
    ]
    outbox.settle(facts, 2, 1)
    outbox.connection.execute("DELETE FROM body WHERE seq = 4")
    outbox.claim(EntryId(1, 1), [Lane.RECORD], 9_000, 9_000, 1)  # 4 is put aside, the others are on their way
    foreign = outbox.doubts.compare([other(3)], 5)
    begun = outbox.doubts.end(foreign, 6)
    assert begun == outbox.epoch != old
    assert [now_of(reader, old, seq) for seq in range(1, 8)] == [None, 1, 2, None, 3, 4, 5]
    assert outbox.in_flight() == []
    lanes = reader.counts()
    assert (lanes[Lane.RECORD].waiting.packets, lanes[Lane.RECORD].dead.packets) == (3, 1)
    assert lanes[Lane.BIOMETRIC].waiting == (1, 300_000)
    assert (lanes[Lane.RECORD].aside.packets, lanes[Lane.BIOMETRIC].announced) == (0, 0)
    assert [one.packet.id.seq for one in reader.aside()] == [4]  # still listed, under its old name
    batch = outbox.claim(EntryId(1, 2), [Lane.RECORD], 9_000, 9_000, 1)
    assert isinstance(batch, Batch)
    assert (batch.seqs, batch.stored) == (((2, 5),), tuple(contents(n, 600) for n in (3, 5, 6)))
    assert outbox.read(5) == contents(7, 300_000)
    assert outbox.retry(((1, 2),), 7) == 1  # what was refused can still be sent again


def test_where_all_that_was_in_doubt_is_ours_it_goes_on_in_its_epoch(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(1), draft(2)], 1)
    outbox.doubts.note(((1, 3),), "a test", 1)
    old = outbox.epoch
    assert outbox.doubts.end(outbox.doubts.compare([held(outbox, 1)], 2), 3) == ""
    assert (outbox.epoch, outbox.doubts.there_are(), reader.meta().in_doubt) == (old, False, False)
    assert outbox.claim(EntryId(1, 1), list(Lane), 9_000, 9_000, 1) is not None


def test_a_fact_about_an_earlier_epoch_is_kept_with_the_packet_if_it_is_ours(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    old = outbox.epoch
    said = group(outbox, ((1, 3),), READY)
    outbox.settle([(4, group(outbox, ((1, 3),), RECEIVED))], 4, 1)
    outbox.doubts.end(((9, 10),), 2)
    wrong = FactGroup(old, READY, (), ((1, 2),), b"x" * 32)
    lost = FactGroup(old, READY, (), ((3, 5),), b"x" * 32)
    done = outbox.settle([(5, wrong), (6, said), (7, lost)], 7, 8_000)
    assert done == (7, (), ())
    first = reader.find(PacketId("1806", old, 1))
    assert first is not None
    assert (first.status, first.fact_no) == (READY, 6)
    assert reader.meta().tallies["foreign_facts"] == 3
    outbox.settle([(5, group_of(old, RECEIVED, said))], 7, 9_000)  # an older word changes nothing
    assert outbox.connection.execute("SELECT status, word_ms FROM past WHERE seq = 1").get == (2, 8_000)
    assert not outbox.doubts.there_are()


def group_of(epoch: str, status: Status, said: FactGroup) -> FactGroup:
    return said._replace(epoch=epoch, status=status)


def test_a_word_on_an_earlier_epoch_that_the_center_takes_back_is_counted(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(1), draft(2)], 1)
    outbox.settle([(4, group(outbox, ((1, 2),), READY))], 4, 1)
    outbox.doubts.end(((9, 10),), 2)
    assert outbox.take_back(1, 3) == 0
    assert reader.meta().tallies["not_resendable"] == 1


def test_a_file_that_is_enqueued_again_after_a_new_epoch_takes_nothing_twice(outbox: SqliteOutbox) -> None:
    lines = [draft(n, once=True) for n in (1, 2)]
    big = draft(3, 300_000, once=True)
    named = [
        replace(one, named=Named(str(one.at_ms), contents_of(read_head(contents(n, one.size), check=False))))
        for n, one in ((1, lines[0]), (2, lines[1]), (3, big))
    ]
    outbox.take(named[:2], 1)
    outbox.take_large(named[2], 1)
    old = outbox.epoch
    outbox.settle([(1, group(outbox, ((1, 2), (3, 4)), RECEIVED))], 1, 1)
    outbox.doubts.end(((9, 10),), 2)
    first, second, third = (
        PacketId("1806", old, 1),
        PacketId("1806", outbox.epoch, 1),
        PacketId("1806", old, 3),
    )
    assert outbox.take(named[:2], 3) == [AlreadyTaken(first), AlreadyTaken(second)]
    assert outbox.take_large(named[2], 3) == AlreadyTaken(third)
    used = replace(named[0], named=Named("1001", b"other contents of thirty-two byt"))
    assert outbox.take([used], 3) == [IdUsed(first)]


def test_what_was_taken_for_lost_and_is_at_the_center_is_not_counted_as_lost(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    outbox.take([draft(1), draft(2)], 1)
    outbox._high_water.raise_to(outbox.epoch, 6)  # 3 to 6 were promised, and are gone
    outbox.check(5)
    assert reader.meta().tallies == {"lost": 4}
    assert reader.meta().in_doubt
    outbox.doubts.end(outbox.doubts.compare([other(4), other(5)], 6), 7)
    assert reader.meta().tallies == {"lost": 2}
    outbox.check(8)
    assert reader.meta().tallies == {"lost": 2}
    assert not reader.meta().in_doubt
