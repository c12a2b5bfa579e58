"""For tests with flipped bits: a region's stores whose contents are known, and one bit of a file flipped."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_compare import OutboxCompare
from pipeline.adapters.outbox_layout import FILE_NAME as OUTBOX_NAME
from pipeline.adapters.outbox_sqlite import SqliteOutbox, create_outbox
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.adapters.registry_layout import FILE_NAME as REGISTRY_NAME
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from schemas.compare import NIK_STOP, PacketsDigest, RecordsDigest
from schemas.feed import FactGroup, RecordChange, Span, digests_hash
from schemas.lanes import Lane
from schemas.packet import Packet, pack_head
from schemas.ranges import numbers
from schemas.verdicts import Status
from tests.unit.outbox_rig import SMALL_DISK, draft

SMALL, SETTLED, LARGE_BYTES = 48, 12, 300_000
RECORDS = 120
PAGE_BYTES = 4096
_INCARNATION = "incarnation-1"

Image = dict[str, bytes]


@dataclass(frozen=True)
class Truth:
    """What is in the stores: digests of the packets by seq, those that the center has spoken of, the records
    by NIK as `(version, status, seq, head)`, and the cursors."""

    epoch: str
    packets: dict[int, bytes]
    settled: frozenset[int]
    records: dict[str, tuple[int, Status, int, bytes]]
    facts_to: int
    records_to: int
    packets_digest: PacketsDigest
    records_digest: RecordsDigest


class Flip(NamedTuple):
    """A bit of a file."""

    name: str
    byte: int
    bit: int

    def of(self, image: Image) -> Image:
        """The same files with that bit flipped."""
        data = bytearray(image[self.name])
        data[self.byte] ^= 1 << self.bit
        return {**image, self.name: bytes(data)}


def make(folder: Path, *, in_the_log: bool) -> tuple[Image, Truth]:
    """Stores with packets and records. `in_the_log`: the newer half of them only in the WALs, as while the
    side runs; else the files hold everything, as after a stop."""
    create_outbox(folder, "1806", 1_000)
    create_registry(folder, 1_000)
    outbox, registry = SqliteOutbox(folder, SMALL_DISK), SqliteRegistry(folder)
    outbox.check(1_000)
    image: Image = {}
    packets: dict[int, bytes] = {}
    _fill(outbox, registry, packets, range(1, SMALL // 2 + 1))
    if in_the_log:
        outbox.close()
        registry.close()
        outbox, registry = SqliteOutbox(folder, SMALL_DISK), SqliteRegistry(folder)
    _fill(outbox, registry, packets, range(SMALL // 2 + 1, SMALL + 1))
    truth = _truth(outbox, registry, packets)
    if not in_the_log:
        outbox.close()
        registry.close()
    image = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    outbox.close()
    registry.close()
    return image, truth


def _fill(outbox: SqliteOutbox, registry: SqliteRegistry, packets: dict[int, bytes], these: range) -> None:
    for n in these:
        size = LARGE_BYTES if n == these.start + 3 else (300, 600, 1_500, 5_000)[n % 4]
        one = draft(n, size, Lane(n % len(Lane)))
        outcome = outbox.take([one], 1_000)[0] if one.stored else outbox.take_large(one, 1_000)
        packets[outcome.id.seq] = one.digest
    half = SETTLED // 2
    facts_at, records_at, _, *_ = registry.cursors()
    seqs = ((these.start, these.start + half),)
    group = FactGroup(
        outbox.epoch, Status.PRINT_READY_RECORD, (), seqs, digests_hash(packets[seq] for seq in numbers(seqs))
    )
    registry.apply_facts(Span(_INCARNATION, 1, facts_at, facts_at + half), [group], 60_000)
    outbox.settle(registry.facts_after(facts_at, 100), facts_at + half, 1_000)
    changes = [_change(outbox.epoch, records_at + n) for n in range(1, RECORDS // 2 + 1)]
    registry.apply_records(Span(_INCARNATION, 1, records_at, records_at + RECORDS // 2), changes, 60_000)


def _change(epoch: str, n: int) -> RecordChange:
    payload = {"nik": str(1806061505900000 + n), "nama": f"WARGA KE-{n}", "alamat": "JALAN MERDEKA 17"}
    head = pack_head(Packet("enrolment", payload, (), 1_000)).prefix
    return RecordChange(n, Status.PRINT_READY_RECORD, epoch, n, head)


def _truth(outbox: SqliteOutbox, registry: SqliteRegistry, packets: dict[int, bytes]) -> Truth:
    half = SETTLED // 2
    settled = {start + n for start in (1, SMALL // 2 + 1) for n in range(half)}
    changes = [_change(outbox.epoch, n) for n in range(1, RECORDS + 1)]
    records = {
        str(1806061505900000 + n): (one.version, one.status, one.seq, one.head or b"")
        for n, one in enumerate(changes, 1)
    }
    cursors = registry.cursors()
    return Truth(
        outbox.epoch,
        dict(packets),
        frozenset(settled),
        records,
        cursors.facts,
        cursors.records,
        packets_compared(outbox),
        records_compared(outbox.folder),
    )


def packets_compared(outbox: SqliteOutbox) -> PacketsDigest:
    """What a reconciliation says of the packets that have a word."""
    return OutboxCompare(outbox).digests(outbox.epoch, [0, 1 << 40])[0]


def records_compared(folder: Path) -> RecordsDigest:
    """What a reconciliation says of all records."""
    with closing(RegistryCompare(folder)) as compare:
        return compare.digests([0, NIK_STOP])[0]


def used_bytes(folder: Path, name: str) -> dict[str, list[range]]:
    """Of each table and index of a file, by name: the bytes that hold rows, keys or what leads to them."""
    data = (folder / name).read_bytes()
    trees: dict[str, list[range]] = {}
    with closing(apsw.Connection(str(folder / name), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        pages: list[Any] = db.execute("SELECT name, pageno, pagetype FROM dbstat").fetchall()
    for tree, number, kind in pages:
        at = (number - 1) * PAGE_BYTES
        spans = trees.setdefault(tree, [])
        if kind == "overflow":
            spans.append(range(at, at + PAGE_BYTES))
            continue
        head = at + (100 if number == 1 else 0)
        cells, content = struct.unpack_from(">HH", data, head + 3)
        spans += [range(head, head + 12 + 2 * cells), range(at + (content or PAGE_BYTES), at + PAGE_BYTES)]
    return {tree: [one for one in spans if one] for tree, spans in trees.items()}


def some_bit(rng: random.Random, image: Image, name: str, trees: Sequence[list[range]] = ()) -> Flip:
    """Any bit of the file; with `trees`, every other time one of a tree, each as often as another."""
    byte = rng.randrange(len(image[name]))
    if trees and rng.random() < 0.5:
        byte = rng.choice(rng.choice(rng.choice(trees)))
    return Flip(name, byte, rng.randrange(8))


def is_registry(name: str) -> bool:
    """Whether a file is the registry's (else the outbox's)."""
    return name.startswith(REGISTRY_NAME)


NAMES = (OUTBOX_NAME, f"{OUTBOX_NAME}-wal", REGISTRY_NAME, f"{REGISTRY_NAME}-wal")
