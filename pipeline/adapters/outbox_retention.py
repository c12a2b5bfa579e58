"""Step 2, much later: attachments whose verdict is old enough go, and the disk gets their room back.

What goes are the bytes of attachments; row, digest, word and head (which records refer to) stay. A packet
without a final word, or refused, keeps everything: its bytes may be needed again. Each packet is one
transaction, each step bounded, so that an operator's enqueue never waits behind the cleaning up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import apsw

from pipeline.adapters import outbox_intake
from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_bytes import read_heads
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from pipeline.region.housekeeping import Gone
from schemas.errors import SchemaError
from schemas.ranges import from_numbers

#: `pruned_ms` of a packet that has no attachments: looked at, all of it is still there.
NOTHING_TO_PRUNE = 0
#: Free pages (4 KiB each) below which the file is not made smaller, and given back in one step.
FREE_PAGES_LEAST, FREE_PAGES_A_STEP = 256, 2_000

_DUE = (
    "SELECT seq, lane, size, upload FROM packet INDEXED BY packet_final "
    "WHERE final_ms IS NOT NULL AND pruned_ms IS NULL AND final_ms < ? ORDER BY final_ms LIMIT ?"
)


class OutboxRetention:
    """Deletes attachments that nobody needs here any more. `write` begins a transaction of the outbox."""

    def __init__(
        self,
        database: Database,
        write: Callable[[int | None], AbstractContextManager[tuple[apsw.Connection, Books]]],
    ) -> None:
        self._database, self._write = database, write

    def prune(self, before_ms: int, now_ms: int, limit: int = 50) -> Gone:
        """Attachments of at most `limit` packets whose final verdict was settled here before `before_ms`."""
        due: list[Any] = self._database.rows(_DUE, (before_ms, limit), tuple)
        packets = size = 0
        for seq, lane, stored_bytes, upload in due:
            gone = self._prune_one(seq, lane, stored_bytes, upload, now_ms)
            packets, size = packets + bool(gone), size + gone
        return Gone(len(due), packets, size)

    def give_back(self) -> int:
        """Give free pages back to the disk, a bounded number a call; returns how many."""
        return give_pages_back(self._database)

    def _prune_one(self, seq: int, lane: int, size: int, upload: int | None, now_ms: int) -> int:
        """Cut one packet down to its head; returns the bytes that went."""
        with self._write(now_ms) as (db, books):
            head = _head(db, seq)
            if head is None or len(head) >= size:
                db.execute("UPDATE packet SET pruned_ms = ? WHERE seq = ?", (NOTHING_TO_PRUNE, seq))
                return 0
            gone = size - len(head)
            db.execute("INSERT OR REPLACE INTO body VALUES (?, ?)", (seq, head))
            db.execute("UPDATE packet SET pruned_ms = ?, upload = NULL WHERE seq = ?", (now_ms, seq))
            if upload is not None:  # back on the list of uploads: should we die now, the next start sweeps it
                db.execute("INSERT INTO upload(id, began_ms) VALUES (?, ?)", (upload, now_ms))
            books.rate(lane, "pruned", 1, gone)
            books.event("pruned", from_numbers([seq]), f"{gone} bytes of attachments")
        if upload is not None:
            outbox_intake.discard(self._database, upload)
        return gone


def _head(db: apsw.Connection, seq: int) -> bytes | None:
    """A packet's head; `None` where it is damaged: then nothing of it is touched."""
    try:
        return read_heads(db, (seq,)).get(seq)
    except (StoreDamaged, SchemaError):
        return None


def give_pages_back(database: Database) -> int:
    """Make the file smaller by some of its free pages, if there are many; returns by how many."""
    db = database.db
    free = int(db.pragma("freelist_count"))
    if free < FREE_PAGES_LEAST:
        return 0
    db.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_A_STEP})").fetchall()
    return free - int(db.pragma("freelist_count"))
