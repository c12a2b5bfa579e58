"""Attachments go N days after the final verdict, never before; the rest stays, the disk gets room."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.outbox_layout import FILE_NAME, PIECE_BYTES
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.errors import StoreDamaged
from schemas.lanes import Lane
from schemas.packet import Attachment, Packet, pack_head, read_head
from schemas.verdicts import Status
from tests.unit.outbox_rig import group, new_outbox

DAY_MS = 86_400_000


def with_attachment(number: int, size: int) -> Draft:
    """A packet with one attachment of `size` bytes."""
    data = os.urandom(size)
    one = Attachment("face", "image/jpeg", size, hashlib.sha256(data).digest())
    stored = pack_head(Packet("enrolment", {"nik": f"18060615059{number:05d}"}, (one,), 0)).prefix + data
    return Draft(
        lane=Lane.BIOMETRIC,
        kind="enrolment",
        size=len(stored),
        digest=hashlib.sha256(stored).digest(),
        nik_hash=bytes(16),
        key=number.to_bytes(16, "big"),
        at_ms=0,
        once=False,
        stored=stored if len(stored) <= PIECE_BYTES else None,
        stream=None if len(stored) <= PIECE_BYTES else lambda: iter([stored]),
    )


def take(outbox: SqliteOutbox, draft: Draft) -> None:
    if draft.stored is None:
        outbox.take_large(draft, 1_000)
    else:
        outbox.take([draft], 1_000)


def settle(outbox: SqliteOutbox, seq: int, status: Status, now_ms: int) -> None:
    at = outbox.settled_to() + 1
    outbox.settle([(at, group(outbox, ((seq, seq + 1),), status))], at, now_ms)


@pytest.fixture(params=[20_000, 700_000], ids=["in one piece", "in several pieces"])
def outbox(tmp_path: Path, request: pytest.FixtureRequest) -> SqliteOutbox:
    made = new_outbox(tmp_path)
    take(made, with_attachment(1, request.param))
    return made


def test_attachments_go_after_the_verdict_and_the_head_stays(outbox: SqliteOutbox) -> None:
    settle(outbox, 1, Status.PRINT_READY_RECORD, 5 * DAY_MS)
    assert outbox.retention.prune(5 * DAY_MS, 40 * DAY_MS).packets == 0, "the verdict is not older than that"
    done = outbox.retention.prune(5 * DAY_MS + 1, 40 * DAY_MS)
    assert (done.looked_at, done.packets) == (1, 1)
    assert done.bytes in (20_000, 700_000)
    assert read_head(outbox.heads([1])[1], check=False).attachments[0].name == "face"
    found = outbox.connection.execute("SELECT count(*) FROM piece").get
    assert found == 0
    with pytest.raises(StoreDamaged):
        outbox.read(1)
    assert outbox.retention.prune(100 * DAY_MS, 100 * DAY_MS).looked_at == 0, "it is looked at once"


@pytest.mark.parametrize(
    "status",
    [
        None,
        Status.RECEIVED_AT_CENTRAL,
        Status.ADJUDICATE_RECORD,
        Status.SEARCH_FAILURE_AT_CENTRAL,
        Status.REFUSED,
    ],
)
def test_without_a_final_verdict_nothing_ever_goes(outbox: SqliteOutbox, status: Status | None) -> None:
    before = outbox.read(1)
    if status is not None:
        settle(outbox, 1, status, 1_000)
    assert outbox.retention.prune(10_000 * DAY_MS, 10_000 * DAY_MS).looked_at == 0
    assert outbox.read(1) == before


def test_a_verdict_that_was_taken_back_counts_from_its_return(outbox: SqliteOutbox) -> None:
    settle(outbox, 1, Status.PRINT_READY_RECORD, 1 * DAY_MS)
    outbox.take_back(0, 2 * DAY_MS)
    assert outbox.retention.prune(30 * DAY_MS, 30 * DAY_MS).looked_at == 0
    settle(outbox, 1, Status.PRINT_READY_RECORD, 3 * DAY_MS)
    assert outbox.retention.prune(3 * DAY_MS, 30 * DAY_MS).looked_at == 0
    assert outbox.retention.prune(4 * DAY_MS, 30 * DAY_MS).packets == 1


def test_a_card_that_was_printed_later_does_not_prolong_it(outbox: SqliteOutbox) -> None:
    settle(outbox, 1, Status.PRINT_READY_RECORD, 1 * DAY_MS)
    settle(outbox, 1, Status.CARD_PRINTED, 20 * DAY_MS)
    assert outbox.retention.prune(2 * DAY_MS, 31 * DAY_MS).packets == 1


def test_a_packet_without_attachments_stays_whole(tmp_path: Path) -> None:
    made = new_outbox(tmp_path)
    stored = pack_head(Packet("enrolment", {"nik": "1806061505900001"}, (), 0)).prefix
    digest = hashlib.sha256(stored).digest()
    made.take(
        [Draft(Lane.RECORD, "enrolment", len(stored), digest, bytes(16), bytes(16), 0, False, stored)], 1_000
    )
    settle(made, 1, Status.PRINT_READY_RECORD, 1_000)
    assert made.retention.prune(DAY_MS, DAY_MS).packets == 0
    assert made.read(1) == stored


def test_the_file_gets_smaller_and_the_pruned_bytes_are_counted(tmp_path: Path) -> None:
    made = new_outbox(tmp_path)
    for number in range(1, 9):
        take(made, with_attachment(number, 1_000_000))
    for number in range(1, 9):
        settle(made, number, Status.PRINT_READY_RECORD, 1_000)
    made.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = (tmp_path / FILE_NAME).stat().st_size
    assert made.retention.prune(DAY_MS, DAY_MS).packets == 8
    given_back = 0
    while step := made.retention.give_back():
        given_back += step
    made.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    after = (tmp_path / FILE_NAME).stat().st_size
    assert given_back > 1_500, "pages of 4 KiB"
    assert after < before - 7_000_000
    reader = OutboxReader(tmp_path)
    assert sum(one.bytes for one in reader.rates(0) if one.what == "pruned") == 8_000_000
    reader.close()
