"""Step 2: packets into the outbox: many in one transaction, or one large one piece by piece.

A large packet's bytes lie under an upload's number before its row is there; the row comes last, in the
transaction that takes the upload off the list. What a dead process left on the list is swept when no living
one is uploading, which the lock file tells: each upload holds it shared.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_bytes import read_heads
from pipeline.adapters.outbox_draft import AlreadyTaken, Draft, IdUsed, Stored, Taken, contents_of
from pipeline.adapters.outbox_layout import PIECE_BYTES, PIECES_MAX
from pipeline.adapters.outbox_past import find_key
from pipeline.adapters.outbox_suspect import top_seq
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged, StoreError
from schemas.errors import InvalidPacket
from schemas.identity import PacketId
from schemas.packet import read_head

_PACKET = (
    "INSERT INTO packet(seq, lane, kind, size, digest, key, nik, at_ms, upload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def nik_number(nik_hash: bytes) -> int:
    """The form in which a NIK's hash is indexed: its first 8 bytes as a signed number."""
    return int.from_bytes(nik_hash[:8], "big", signed=True)


def take(
    db: apsw.Connection,
    books: Books,
    region: str,
    epoch: str,
    drafts: Sequence[Draft],
    upload: int | None = None,
) -> list[Stored]:
    """Store `drafts` under the next seqs of the current `epoch`, inside the caller's transaction. `upload` is
    where the bytes of the only draft are, if they are not in it."""
    first = seq = top_seq(db) + 1
    outcomes: list[Stored] = []
    rows: list[tuple[Any, ...]] = []
    bodies: list[tuple[int, bytes]] = []
    fresh: dict[bytes, tuple[int, Draft]] = {}
    for draft in drafts:
        before = repeated(db, region, epoch, draft, fresh.get(draft.key))
        if before is not None:
            outcomes.append(before)
            continue
        rows.append(_row(seq, draft, upload))
        if draft.stored is not None:
            bodies.append((seq, draft.stored))
        books.taken(draft.lane, 1, draft.size)
        books.rate(draft.lane, "in", 1, draft.size)
        fresh[draft.key] = seq, draft
        outcomes.append(Taken(PacketId(region, epoch, seq)))
        seq += 1
    if rows:
        db.executemany(_PACKET, rows)
        db.executemany("INSERT OR REPLACE INTO body VALUES (?, ?)", bodies)
        books.event("enqueued", ((first, seq),))
    return outcomes


def repeated(
    db: apsw.Connection, region: str, epoch: str, draft: Draft, fresh: tuple[int, Draft] | None = None
) -> AlreadyTaken | IdUsed | None:
    """What stands in a draft's way: the same packet, or another one under its id. `None`: it can be taken.

    `fresh` is the draft of the same key that this transaction took before, with its seq.
    """
    if not draft.once:
        return None
    if fresh is not None:
        seq, other = fresh
        held = None if other.named is None else other.named.contents
    else:
        found = db.execute("SELECT seq FROM packet WHERE key = ? LIMIT 1", (draft.key,)).get
        if found is None:
            return _repeated_past(db, region, draft)
        seq, held = int(found), None if draft.named is None else _contents_held(db, int(found))
    return _as_repeated(draft, held, PacketId(region, epoch, seq))


def _repeated_past(db: apsw.Connection, region: str, draft: Draft) -> AlreadyTaken | IdUsed | None:
    """The same among the packets of earlier epochs: the center has those."""
    past = find_key(db, draft.key, with_contents=draft.named is not None)
    return (
        None if past is None else _as_repeated(draft, past.contents, PacketId(region, past.epoch, past.seq))
    )


def _as_repeated(draft: Draft, held: bytes | None, known: PacketId) -> AlreadyTaken | IdUsed:
    same = draft.named is None or held is None or held == draft.named.contents
    return (AlreadyTaken if same else IdUsed)(known)


def _contents_held(db: apsw.Connection, seq: int) -> bytes | None:
    """`contents_of` a packet in the outbox. `None` where its row outlived its bytes: a repeat can then only
    be recognised by its key, and damage is for those to report who send the packet."""
    try:
        return contents_of(read_head(read_heads(db, [seq])[seq], check=False))
    except (StoreDamaged, InvalidPacket):
        return None


def _row(seq: int, draft: Draft, upload: int | None) -> tuple[Any, ...]:
    nik = nik_number(draft.nik_hash)
    return (
        seq, int(draft.lane), draft.kind, draft.size, draft.digest, draft.key, nik, draft.at_ms, upload,
    )  # fmt: skip


# --- uploads --------------------------------------------------------------------------------------


@contextmanager
def uploading(lock: Path) -> Iterator[None]:
    """While it lasts nobody sweeps uploads."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def upload(database: Database, draft: Draft, now_ms: int) -> int:
    """Store the bytes of a large draft, a piece a transaction, and return the upload's number.

    Raises `InvalidPacket` if they are no longer those that were hashed; then, and on any other error, what
    was stored is taken away again (or swept later, where even that fails).
    """
    assert draft.stream is not None
    with database.write() as db:
        db.execute("INSERT INTO upload(began_ms) VALUES (?)", (now_ms,))
        number = db.last_insert_rowid()
    try:
        digest = hashlib.sha256()
        size = 0
        for n, piece in enumerate(pieces(draft.stream())):
            digest.update(piece)
            size += len(piece)
            if size > draft.size:
                break
            with database.write() as db:
                db.execute("INSERT INTO piece VALUES (?, ?)", (number * PIECES_MAX + n, piece))
        if size != draft.size or digest.digest() != draft.digest:
            raise InvalidPacket(
                "a file changed while it was being read; enqueue it again when it is complete",
                code="changed",
                field="attachments",
            )
    except BaseException:
        with suppress(StoreError):
            discard(database, number)
        raise
    return number


def pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of `PIECE_BYTES`, the last one shorter."""
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


def discard(database: Database, number: int) -> None:
    """Take an upload's pieces away, a few a transaction, and then its number off the list."""
    low, high = number * PIECES_MAX, (number + 1) * PIECES_MAX
    more = True
    while more:
        with database.write() as db:
            db.execute(
                "DELETE FROM piece WHERE id IN (SELECT id FROM piece WHERE id >= ? AND id < ? LIMIT 16)",
                (low, high),
            )
            more = db.changes() > 0
            if not more:
                db.execute("DELETE FROM upload WHERE id = ?", (number,))


def sweep(database: Database, lock: Path) -> int:
    """Take away what dead processes left half uploaded, unless a living one uploads; returns how many."""
    left = database.rows("SELECT id FROM upload", (), tuple)
    if not left:
        return 0
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for (number,) in left:
            discard(database, number)
    except BlockingIOError:
        return 0
    finally:
        os.close(fd)
    return len(left)
