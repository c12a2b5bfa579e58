"""Step 2: reading packets' stored bytes back, whole or a part, without holding what was not asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from pipeline.adapters.outbox_layout import DROPPED, PIECE_BYTES, PIECES_MAX
from pipeline.errors import StoreDamaged
from schemas.limits import HEAD_BYTES_MAX
from schemas.packet import head_bytes
from schemas.verdicts import Status


def read_span(db: apsw.Connection, seq: int, upload: int | None, start: int, stop: int) -> bytes:
    """The stored bytes `[start, stop)` of a packet; raises `StoreDamaged` where they are not all there."""
    if upload is None:
        return _read_blob(db, "body", "stored", seq, start, stop)
    parts = []
    at = start
    while at < stop:
        piece, offset = divmod(at, PIECE_BYTES)
        end = min(stop - piece * PIECE_BYTES, PIECE_BYTES)
        parts.append(_read_blob(db, "piece", "bytes", upload * PIECES_MAX + piece, offset, end))
        at += end - offset
    return b"".join(parts)


def stream(db: apsw.Connection, seq: int, upload: int | None, size: int) -> Iterator[bytes]:
    """All stored bytes of a packet, a piece at a time."""
    for start in range(0, size, PIECE_BYTES):
        yield read_span(db, seq, upload, start, min(size, start + PIECE_BYTES))


def read_heads(db: apsw.Connection, seqs: Iterable[int]) -> dict[int, bytes]:
    """The beginning (length and head) of the stored bytes of those of `seqs` that there are (what was dropped
    has none)."""
    found: dict[int, bytes] = {}
    for seq in seqs:
        row = db.execute("SELECT upload, size, pruned_ms FROM packet WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            continue
        upload, size, pruned_ms = row
        if pruned_ms == DROPPED:
            continue
        start, end = _beginning(db, seq, upload, size, pruned_ms)
        found[seq] = start[:end]
    return found


def read_known_heads(db: apsw.Connection, seqs: Iterable[int]) -> dict[int, bytes]:
    """The same, but only of packets that the center was seen to have with our digest (their receipt is
    settled), and whose bytes still have it where that is quickly told: what a record may be read from."""
    found: dict[int, bytes] = {}
    for seq in seqs:
        row: Any = db.execute(
            "SELECT upload, size, pruned_ms, status, digest FROM packet WHERE seq = ?", (seq,)
        ).fetchone()
        if row is None or row[2] == DROPPED or row[3] is None or row[3] == Status.REFUSED:
            continue
        upload, size, pruned_ms, _, digest = row
        start, end = _beginning(db, seq, upload, size, pruned_ms)
        if len(start) < size or hashlib.sha256(start).digest() == digest:
            found[seq] = start[:end]
    return found


def _beginning(
    db: apsw.Connection, seq: int, upload: int | None, size: int, pruned_ms: int | None
) -> tuple[bytes, int]:
    """The first bytes of a packet, with all of its head, and where that ends."""
    if pruned_ms:  # its attachments were deleted: only the head is left
        size = int(db.execute("SELECT length(stored) FROM body WHERE seq = ?", (seq,)).get or 0)
    start = read_span(db, seq, upload, 0, min(size, 4 + HEAD_BYTES_MAX, 8192))
    end = head_bytes(start)
    return (read_span(db, seq, upload, 0, end) if end > len(start) else start), end


def _read_blob(db: apsw.Connection, table: str, column: str, row: int, start: int, stop: int) -> bytes:
    try:
        blob = db.blob_open("main", table, column, row, False)
    except apsw.SQLError as why:
        raise StoreDamaged(f"stored bytes of a packet are missing ({table} {row})") from why
    try:
        if stop > blob.length():
            raise StoreDamaged(f"the stored bytes of a packet are cut off ({table} {row})")
        blob.seek(start)
        return blob.read(stop - start)
    finally:
        blob.close()
