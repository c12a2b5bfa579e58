"""What leads to the packets that wait is damaged: it is built anew from the packets, and everything goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.outbox_mend import MENDS_MAX
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.errors import StoreDamaged
from pipeline.ports import Batch, Chunk, EntryId
from schemas.lanes import Lane
from schemas.ranges import numbers
from schemas.verdicts import Status
from tests.unit.outbox_rig import contents, draft, group, new_outbox

LARGE = 600_000


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    """Ten small packets and a large one: 1 to 3 have a word, 4 is on its way, 5 and 6 were lost."""
    made = new_outbox(tmp_path)
    made.take([draft(n) for n in range(1, 11)], 1)
    made.take_large(draft(11, LARGE), 1)
    for n in (1, 2, 3):
        assert made.claim(EntryId(1, n), tuple(Lane), 1_200, 1, 1)
    made.settle([(1, group(made, ((1, 4),), Status.RECEIVED_AT_CENTRAL))], 1, 2)
    made.requeue(made.in_flight()[1:], 2)
    yield made
    made.close()


def everything(outbox: SqliteOutbox) -> dict[int, bytes]:
    """Claim all there is; the bytes of each packet by its seq."""
    found: dict[int, bytes] = {}
    for n in range(10, 100):
        claimed = outbox.claim(EntryId(2, n), tuple(Lane), 1_200, 200_000, 3_000)
        if claimed is None:
            return found
        if isinstance(claimed, Batch):
            found.update(zip(numbers(claimed.seqs), claimed.stored, strict=True))
        elif isinstance(claimed, Chunk):
            found[claimed.seq] = found.get(claimed.seq, b"") + claimed.data
    raise AssertionError("claims go on for ever")


DAMAGES = {
    "another one is named": "UPDATE again SET seq = 7 WHERE seq = 6",
    "one is named that is not there": "UPDATE again SET seq = 0 WHERE seq = 6",
    "a packet of another lane is named": "UPDATE packet SET lane = 0 WHERE seq = 5",
    "one that is lost is not named": "DELETE FROM again WHERE seq = 5",
    "the cursor jumped": "UPDATE lane SET cursor = 1000000 WHERE lane = 2",
    "a packet is of no lane": "UPDATE packet SET lane = 77 WHERE seq = 9",
    "the counter of what waits is gone": "DELETE FROM counter WHERE lane = 2",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_packet_that_waits_goes_all_the_same(outbox: SqliteOutbox, tmp_path: Path, damage: str) -> None:
    outbox.connection.execute(DAMAGES[damage])
    found = everything(outbox)
    assert {5, 6, 7, 8, 9, 10, 11} <= set(found)
    assert all(found[seq] == contents(seq, 600) for seq in found if seq < 11)
    assert found[11] == contents(11, LARGE)
    reader = OutboxReader(tmp_path)
    assert sum(one.waiting.packets for one in reader.counts().values()) == 0
    assert "reindexed" in [one.what for one in reader.events()]
    reader.close()


def test_what_is_on_its_way_and_what_has_a_word_does_not_wait_after_a_mend(outbox: SqliteOutbox) -> None:
    outbox.connection.execute("DELETE FROM again")
    assert not {1, 2, 3, 4} & set(everything(outbox))


def test_a_disk_that_goes_on_breaking_is_said_in_the_end(outbox: SqliteOutbox) -> None:
    def claim(n: int) -> Batch | Chunk | None:
        outbox.connection.execute("INSERT OR REPLACE INTO again VALUES (2, 0)")
        return outbox.claim(EntryId(2, n), tuple(Lane), 100, 200_000, 3_000)

    for n in range(MENDS_MAX):
        assert claim(n) is not None
    with pytest.raises(StoreDamaged, match=r"what leads to the packets of lane 2 is damaged.*rebuild it"):
        claim(99)
