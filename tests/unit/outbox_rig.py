"""For the outbox's tests: drafts whose bytes follow from a number, and an outbox in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.outbox_layout import FILE_NAME, PIECE_BYTES
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox, create_outbox
from schemas.feed import FactGroup, digests_hash
from schemas.lanes import Lane
from schemas.packet import Packet, pack_head
from schemas.ranges import Ranges, numbers
from schemas.verdicts import Reason, Status

SMALL_DISK = OutboxSettings(low_water_bytes=0, ballast_bytes=0)
NIK = "1806061505900001"


def new_outbox(folder: Path, settings: OutboxSettings = SMALL_DISK) -> SqliteOutbox:
    """A fresh outbox of region 1806 in `folder`, opened and checked."""
    create_outbox(folder, "1806", 1_000)
    outbox = SqliteOutbox(folder, settings)
    outbox.check(1_000)
    return outbox


def contents(number: int, size: int) -> bytes:
    """`size` bytes (at least 100) that begin with a real head and differ by `number`."""
    head = pack_head(Packet("enrolment", {"nik": NIK, "nama": f"WARGA {number}"}, (), 0)).prefix
    return head + bytes([number % 251]) * (size - len(head))


def draft(number: int, size: int = 600, lane: Lane = Lane.RECORD, *, once: bool = False) -> Draft:
    """A draft of `contents(number, size)`; one that is larger than a piece is streamed in uneven parts."""
    stored = contents(number, size)
    return Draft(
        lane=lane,
        kind="enrolment",
        size=size,
        digest=hashlib.sha256(stored).digest(),
        nik_hash=hashlib.sha256(b"nik %d" % number).digest()[:16],
        key=hashlib.sha256(b"key %d" % number).digest()[:16],
        at_ms=1_000 + number,
        once=once,
        stored=stored if size <= PIECE_BYTES else None,
        stream=None
        if size <= PIECE_BYTES
        else lambda: iter([stored[i : i + 100_000] for i in range(0, size, 100_000)]),
    )


def group(outbox: SqliteOutbox, seqs: Ranges, status: Status, reasons: tuple[Reason, ...] = ()) -> FactGroup:
    """What a center that has these packets says of them."""
    digests = digests_of(outbox, numbers(seqs))
    return FactGroup(outbox.epoch, status, reasons, seqs, digests_hash(digests))


def digests_of(outbox: SqliteOutbox, seqs: Iterable[int]) -> list[bytes]:
    """The digests of the stored bytes, computed from what can be read back."""
    return [hashlib.sha256(outbox.read(seq)).digest() for seq in seqs]


def mislead(outbox: SqliteOutbox, change: str) -> None:
    """Change packets behind the back of the index by lane, as a flipped bit in it would: it says what was."""
    db = outbox.connection
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    db.execute("PRAGMA writable_schema=ON")
    row = db.execute("SELECT * FROM sqlite_master WHERE name = 'packet_lane'").fetchone()
    db.execute("DELETE FROM sqlite_master WHERE name = 'packet_lane'")
    db.execute("PRAGMA writable_schema=RESET")
    db.execute(change)
    db.execute("PRAGMA writable_schema=ON")
    db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    db.execute("PRAGMA writable_schema=RESET")


def swap_in_index(outbox: SqliteOutbox, one: int, other: int) -> None:
    """Two entries of the index change places: it leads to the one where the other is due."""
    outbox.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    root: Any = outbox.connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'packet_lane'").get
    size: Any = outbox.connection.pragma("page_size")
    path = outbox.folder / FILE_NAME
    data = bytearray(path.read_bytes())
    at = (int(root) - 1) * size + 8  # behind the head of a leaf: where its cells are, 2 bytes each
    places = [at + 2 * (seq - 1) for seq in (one, other)]
    first, second = (bytes(data[place : place + 2]) for place in places)
    data[places[0] : places[0] + 2], data[places[1] : places[1] + 2] = second, first
    with path.open("r+b") as file:
        file.write(data)
