"""For tests with flipped bits: what the product makes of stores one bit of which was flipped
(`flip_stores.py`).

`send_everything` opens the stores as the transfer does, claims all that waits and takes each frame as the
center would; `read_everything` reads the registry as people and programs do. The center is stood in for by
the truth: it compares a large packet's digest when it is whole, and its digests in the nightly reconciliation
are those of the stores before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreError
from pipeline.ports import Batch, Chunk, EntryId
from schemas.errors import SchemaError
from schemas.lanes import Lane
from schemas.ranges import numbers
from tests.faults.flip_stores import Truth, packets_compared, records_compared
from tests.unit.outbox_rig import SMALL_DISK


@dataclass
class Found:
    """What came of it. `noticed`: at once, in words. `late`: something is shown wrongly, or does not go,
    until the next reconciliation finds it. `wrong`: taken as right, or gone, and nobody will know. `foreign`:
    an error of SQLite's that was not translated; `crashed`: one of ours that nobody planned, at a row that
    makes no sense.
    """

    noticed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """An error is something noticed."""
        try:
            yield
        except (StoreError, SchemaError) as why:
            self.noticed.append(str(why))
        except (apsw.Error, UnicodeDecodeError) as why:
            self.foreign.append(f"{type(why).__name__}: {why}")
        except (ValueError, TypeError, LookupError, OverflowError) as why:
            self.crashed.append(f"{type(why).__name__}: {why}")

    @property
    def verdict(self) -> str:
        """The worst of it, in a word."""
        kinds = ("wrong", "foreign", "crashed", "late", "noticed")
        return next((kind for kind in kinds if getattr(self, kind)), "harmless")


def send_everything(folder: Path, truth: Truth) -> Found:
    """The region starts on these files and sends what waits."""
    found = Found()
    arrived: dict[int, bytes] = {}
    with found.guarded(), closing(SqliteOutbox(folder, SMALL_DISK)) as outbox:
        outbox.check(2_000)
        with found.guarded():
            _claim_all(outbox, found, arrived)
        _account(outbox, found, truth, arrived)
    wrong = [seq for seq, digest in arrived.items() if truth.packets.get(seq) != digest]
    found.wrong += [f"packet {seq} was sent with other bytes" for seq in wrong]
    return found


def _claim_all(outbox: SqliteOutbox, found: Found, arrived: dict[int, bytes]) -> None:
    """Digests by seq of what a center would have, as far as it can be had without an error."""
    parts: dict[tuple[int, bytes, int], bytearray] = {}
    for n in range(1, 1_000):
        claimed = outbox.claim(EntryId(7, n), tuple(Lane), 20_000, 256 * 1024, 2_000)
        if claimed is None:
            return
        if isinstance(claimed, Batch):
            for seq, stored in zip(numbers(claimed.seqs), claimed.stored, strict=True):
                arrived[seq] = hashlib.sha256(stored).digest()
        else:
            _gather(claimed, parts, arrived, found)
    found.wrong.append("claims go on for ever")


def _gather(
    chunk: Chunk, parts: dict[tuple[int, bytes, int], bytearray], arrived: dict[int, bytes], found: Found
) -> None:
    """As the center does: a large packet counts when all its bytes are there and have its digest."""
    held = parts.setdefault((chunk.seq, chunk.digest, chunk.size), bytearray())
    if chunk.offset == len(held):
        held += chunk.data
    if len(held) == chunk.size:
        if hashlib.sha256(held).digest() == chunk.digest:
            arrived[chunk.seq] = chunk.digest
        else:
            found.noticed.append(f"the center finds that packet {chunk.seq} has not its digest")


def _account(outbox: SqliteOutbox, found: Found, truth: Truth, arrived: dict[int, bytes]) -> None:
    """Packets that did not arrive: somebody must know of each."""
    found.noticed += [f"packet {seq} was put aside" for seq in _seqs(outbox, "SELECT seq FROM aside")]
    if _seqs(outbox, "SELECT n FROM tally WHERE what IN ('lost', 'forks') AND n"):
        found.noticed.append("packets are said to be lost")
    due = set(truth.packets) - truth.settled - set(arrived)
    if not due or found.noticed:
        return
    if packets_compared(outbox) != truth.packets_digest:
        found.late.append(f"packets {sorted(due)} are not sent: they are said to have a word of the center")
    elif due - _seqs(outbox, "SELECT seq FROM packet WHERE status IS NULL"):
        found.wrong.append(f"packets {sorted(due)} are gone")
    else:
        found.late.append(f"packets {sorted(due)} are not sent: they stay without a receipt, as depth shows")


def _seqs(outbox: SqliteOutbox, query: str) -> set[int]:
    with closing(Database(outbox.folder / FILE_NAME, LAYOUT, readonly=True)) as database:
        return set(database.rows(query, (), lambda row: int(row[0])))


def read_everything(folder: Path, truth: Truth) -> Found:
    """Every record, as `titian records` shows it, and where the region stands."""
    found = Found()
    odd: list[str] = []
    with (
        found.guarded(),
        closing(SqliteRegistry(folder)) as registry,
        closing(RegistryReader(folder)) as reader,
    ):
        cursors = registry.cursors()
        if cursors.records > truth.records_to or cursors.facts > truth.facts_to:
            # what is passed over so is missing where packets and records are compared
            found.late.append(f"the cursors are {cursors.facts}, {cursors.records}")
        for n, (nik, said) in enumerate(truth.records.items(), 1):
            with found.guarded():
                record = reader.record(nik)
                if record is None and n <= cursors.records:
                    odd.append(f"the record of {nik} is not there")
                if record is not None and (record.version, record.status, record.seq, record.head) != said:
                    odd.append(f"the record of {nik} has other contents: {record}")
    if odd and not found.noticed:
        with found.guarded():
            agree = records_compared(folder) == truth.records_digest
            (found.wrong if agree else found.late).extend(odd)
    return found
