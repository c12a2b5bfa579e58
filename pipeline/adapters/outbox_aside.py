"""Step 2: packets that cannot be sent, because what is stored of them is damaged: the table `aside`.

A claim compares the stored bytes with the digest that was computed at enqueue. What does not match is put
aside: it does not wait, it is counted, and the lane goes on behind it. So a flipped bit never becomes a
packet under a right identity. Of a large packet only the pieces are counted, since reading it all for each
chunk would cost more than the link: its digest is verified by the center, and here once the center has thrown
its bytes away twice.

A packet aside has no word of the center, and counts neither as waiting nor as without a word. Should a word
come after all (it was sent before it was damaged), it is a packet like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import apsw

from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_bytes import stream
from pipeline.adapters.outbox_layout import PIECE_BYTES, PIECES_MAX
from pipeline.errors import StoreDamaged
from schemas.ranges import from_numbers

#: So often the center may throw the bytes of a large packet away before they are looked at here.
RESTATED_MAX = 2


def is_aside(db: apsw.Connection, seq: int) -> bool:
    """Whether the packet was put aside."""
    return bool(db.execute("SELECT 1 FROM aside WHERE seq = ?", (seq,)).get)


def put_aside(
    db: apsw.Connection, books: Books, lane: int, seq: int, size: int, waiting: int, why: str
) -> None:
    """A packet without a word, of which `waiting` bytes wait, waits no more. Its lane's cursor must be at it
    or go past it in this transaction."""
    db.execute("INSERT INTO aside VALUES (?, ?, ?)", (seq, books.now_ms, why))
    db.execute("DELETE FROM again WHERE lane = ? AND seq = ?", (lane, seq))
    db.execute("DELETE FROM large WHERE seq = ?", (seq,))
    books.waiting(lane, -bool(waiting), -waiting)
    _without_word(books, lane, -1, -size)
    books.tally("aside")
    books.event("aside", from_numbers([seq]), why)


def take_out(db: apsw.Connection, books: Books, seqs: Sequence[int]) -> None:
    """The center has a word on these: those that are aside count again, as without a word until it is."""
    if not db.execute("SELECT 1 FROM aside LIMIT 1").get:
        return
    for seq in seqs:
        row: Any = db.execute(
            "DELETE FROM aside WHERE seq = ?1 RETURNING (SELECT lane FROM packet WHERE seq = ?1), "
            "(SELECT size FROM packet WHERE seq = ?1)",
            (seq,),
        ).fetchone()
        if row is not None:
            _without_word(books, row[0], 1, row[1])


def damage_of(size: int, digest: bytes, stored: object) -> str:
    """What is wrong with the stored bytes of a small packet; empty if they are whole."""
    if not isinstance(stored, bytes):
        return "its stored bytes are missing"
    if len(stored) != size:
        return f"{len(stored)} of its {size} stored bytes are there"
    return "" if hashlib.sha256(stored).digest() == digest else "its stored bytes do not match its digest"


def pieces_missing(db: apsw.Connection, upload: int | None, size: int) -> str:
    """What is wrong with the pieces of a large packet, by their lengths only; empty if nothing is."""
    if upload is None:
        return ""  # it lies in one piece, which is read as a whole
    first = upload * PIECES_MAX
    row: Any = db.execute(
        "SELECT count(*), coalesce(sum(length(bytes)), 0), coalesce(max(id), 0) FROM piece "
        "WHERE id >= ? AND id < ?",
        (first, first + PIECES_MAX),
    ).fetchone()
    n, found, last = row
    due = -(-size // PIECE_BYTES)
    if found == size and n == due and last == first + due - 1:
        return ""
    return f"{found} of its {size} stored bytes are there"


def damage_of_large(db: apsw.Connection, seq: int) -> str:
    """What is wrong with a packet, found by reading all of it, a piece at a time; empty if it is whole."""
    row: Any = db.execute("SELECT size, digest, upload FROM packet WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return ""
    size, digest, upload = row
    found = hashlib.sha256()
    try:
        for part in stream(db, seq, upload, size):
            found.update(part)
    except StoreDamaged as why:
        return str(why)
    return "" if found.digest() == digest else "its stored bytes do not match its digest"


def _without_word(books: Books, lane: int, packets: int, size: int) -> None:
    books.taken(lane, packets, size)
    books.waiting(lane, -packets, -size)
