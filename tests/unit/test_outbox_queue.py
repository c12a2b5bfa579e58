"""What goes before a packet in its lane, and that each packet's history is its own, in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.outbox_reader import Amount, OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.ports import EntryId
from schemas.lanes import Lane
from schemas.verdicts import Status
from tests.unit.outbox_rig import draft, group, new_outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reader(outbox: SqliteOutbox) -> Iterator[OutboxReader]:
    made = OutboxReader(outbox.folder)
    yield made
    made.close()


def take(outbox: SqliteOutbox, n: int, lane: Lane = Lane.RECORD) -> None:
    first = outbox.highest_seq() + 1
    outbox.take([draft(first + at, 300 + first + at, lane) for at in range(n)], 1)


def size(seq: int) -> int:
    return 300 + seq


def test_before_a_packet_goes_what_came_before_it_in_its_lane(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    take(outbox, 4)
    take(outbox, 3, Lane.URGENT)
    take(outbox, 4)
    assert reader.before(Lane.RECORD, 1) == Amount()
    assert reader.before(Lane.RECORD, 3) == Amount(2, size(1) + size(2))
    assert reader.before(Lane.RECORD, 11) == Amount(7, sum(size(n) for n in (1, 2, 3, 4, 8, 9, 10)))
    assert reader.before(Lane.URGENT, 7) == Amount(2, size(5) + size(6))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 12), st.integers(0, 4), st.booleans(), st.sets(st.integers(1, 12)))
def test_what_was_sent_or_settled_does_not_go_before_and_what_was_lost_does(
    tmp_path_factory: pytest.TempPathFactory, n: int, sent: int, lost: bool, settled: set[int]
) -> None:
    outbox = new_outbox(tmp_path_factory.mktemp("outbox"))
    take(outbox, n)
    reader = OutboxReader(outbox.folder)
    for number in range(sent):
        outbox.claim(EntryId(1, number + 1), (Lane.RECORD,), 700, 4096, 1)
    gone = {seq for one in outbox.in_flight() for start, stop in one.seqs for seq in range(start, stop)}
    if lost:
        outbox.requeue(outbox.in_flight(), 1)
        gone = set()
    for at, seq in enumerate(sorted(one for one in settled if one <= n), 1):
        outbox.settle([(at, group(outbox, ((seq, seq + 1),), Status.RECEIVED_AT_CENTRAL))], at, 1)
    waits = [seq for seq in range(1, n + 1) if seq not in gone and seq not in settled]
    for seq in waits:
        earlier = [one for one in waits if one < seq]
        assert reader.before(Lane.RECORD, seq) == Amount(len(earlier), sum(map(size, earlier)))
    reader.close()
    outbox.close()


def whats(reader: OutboxReader, seq: int, epoch: str | None = None) -> list[str]:
    return [one.what for one in reader.events_of(seq, epoch)]


def test_a_packet_has_no_part_in_what_happened_to_its_number_in_another_epoch(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    take(outbox, 3)
    outbox.claim(EntryId(1, 1), (Lane.RECORD,), 10_000, 4096, 2)
    first = outbox.epoch
    outbox.doubts.end(((9, 10),), 3)
    take(outbox, 1)
    second = outbox.epoch
    outbox.doubts.end(((9, 10),), 4)
    outbox.claim(EntryId(2, 1), (Lane.RECORD,), 10_000, 4096, 5)
    assert whats(reader, 1, first) == ["enqueued", "sent"]
    assert whats(reader, 4, first) == []
    assert whats(reader, 4, second) == ["enqueued"]
    assert whats(reader, 1, second) == []
    assert whats(reader, 1) == ["sent"]


def test_where_the_oldest_events_are_forgotten_the_others_are_still_their_epochs(
    outbox: SqliteOutbox, reader: OutboxReader
) -> None:
    take(outbox, 1)
    first = outbox.epoch
    for at_ms in (3, 4):
        outbox.doubts.end(((9, 10),), at_ms)
        take(outbox, 1)
    with outbox._database.write() as db:
        db.execute("DELETE FROM event WHERE id <= (SELECT min(id) FROM event WHERE what = 'new epoch')")
    assert whats(reader, 1, first) == []
    assert whats(reader, 3) == ["enqueued"]
    assert whats(reader, 2) == []
