"""Step 2: dead packets that a person gave up: the table `dropped`, and their bytes put away into a file.

    dropped/ID.packet   0600, in the region's folder: the stored bytes (of a damaged packet what is there)

The file comes first, whole and synced, then one transaction: whatever dies in between, a second run does the
same again. Row, digest, the center's word and the NIK's number stay: it is found and compared as before. Its
key goes, so that its producer may hand it in again. It counts as dead no longer, nothing makes it wait again,
and in the next epoch it has no number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import apsw

from pipeline.adapters import outbox_intake
from pipeline.adapters.outbox_aside import is_aside
from pipeline.adapters.outbox_bytes import stream
from pipeline.adapters.outbox_dropped_look import file_name
from pipeline.adapters.outbox_layout import DROPPED
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.put_away import put_away
from pipeline.errors import NotFound, StoreDamaged
from schemas.identity import PacketId
from schemas.ranges import from_numbers
from schemas.verdicts import Status


class _Row(NamedTuple):
    """A dead packet; `number` is its row in `past`, or `None` in the current epoch. `aside`: damaged."""

    number: int | None
    size: int
    digest: bytes
    key: bytes
    upload: int | None
    aside: bool


class OutboxDropped:
    """Drops dead packets of `outbox`, beside whoever else writes it."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox, self._database = outbox, outbox._database

    def drop(self, packet: PacketId, who: str, reason: str, now_ms: int) -> bool:
        """Put the bytes of a dead packet away, and mark it; False where they were damaged. Raises `NotFound`
        where it is not dead (any more), `DiskFull` or `StoreError` where that could not be done."""
        with self._database.read() as db:
            held = _dead(db, packet)
            parts = _what_is_there(db, packet.seq, held)
            whole = put_away(self._outbox.folder, file_name(packet), parts) == held.digest
        with self._outbox._write(now_ms) as (db, books):
            row = _dead(db, packet)
            db.execute(
                "INSERT INTO dropped VALUES (?, ?, ?, ?, ?, ?)",
                (packet.epoch, packet.seq, now_ms, who, reason, int(whole)),
            )
            if row.upload is not None:  # on the list of uploads: should we die now, the next start sweeps it
                db.execute("INSERT OR IGNORE INTO upload(id, began_ms) VALUES (?, ?)", (row.upload, now_ms))
            _strip(db, packet.seq, row)
            if row.aside:
                books.tally("aside", -1)  # what a person still has to look at
            if row.number is None:
                books.event("dropped", from_numbers([packet.seq]), f"by {who}: {reason}")
        if row.upload is not None:
            outbox_intake.discard(self._database, row.upload)
        return whole


def _dead(db: apsw.Connection, packet: PacketId) -> _Row:
    """The packet, if it is dead."""
    columns = "size, digest, key, upload, status"
    row: Any = db.execute(
        f"SELECT NULL, {columns} FROM packet WHERE seq = ?2 "
        "AND ?1 = (SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1) "
        f"UNION ALL SELECT id, {columns} FROM past WHERE epoch = ?1 AND seq = ?2",
        (packet.epoch, packet.seq),
    ).fetchone()
    if row is None:
        raise NotFound(f"{packet} is not in this outbox")
    gone: Any = db.execute("SELECT who FROM dropped WHERE epoch = ? AND seq = ?", packet[1:]).fetchone()
    if gone is not None:
        raise NotFound(f"{packet} was dropped already, by {gone[0]}")
    number, status = row[0], row[-1]
    if number is None:
        dead = status == Status.REFUSED or (status is None and is_aside(db, packet.seq))
    else:
        dead = (
            status is None and db.execute("SELECT now_seq IS NULL FROM past WHERE id = ?", (number,)).get == 1
        )
    if not dead:
        raise NotFound(f"{packet} is not dead: `titian trace {packet}` says what it is")
    return _Row._make((*row[:-1], status is None))


def _what_is_there(db: apsw.Connection, seq: int, row: _Row) -> Iterator[bytes]:
    """The stored bytes, as far as they are there."""
    if row.upload is not None:
        with suppress(StoreDamaged):
            yield from stream(db, seq, row.upload, row.size)
        return
    table, of = ("body", "seq") if row.number is None else ("past_body", "id")
    stored = db.execute(f"SELECT CAST(stored AS BLOB) FROM {table} WHERE {of} = ?", (row.number or seq,)).get
    if isinstance(stored, bytes):
        yield stored


def _strip(db: apsw.Connection, seq: int, row: _Row) -> None:
    key = hashlib.sha256(b"dropped" + bytes(row.key)).digest()[:16]
    if row.number is None:
        db.execute("DELETE FROM body WHERE seq = ?", (seq,))
        db.execute(
            f"UPDATE packet SET pruned_ms = {DROPPED}, upload = NULL, key = ? WHERE seq = ?", (key, seq)
        )
    else:
        db.execute("DELETE FROM past_body WHERE id = ?", (row.number,))
        db.execute("UPDATE past SET upload = NULL, key = ? WHERE id = ?", (key, row.number))
