"""Inspection of the outbox, read-only: every packet that waits, a page at a time, with its head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.outbox_aside import is_aside
from pipeline.adapters.outbox_bytes import read_heads
from pipeline.adapters.outbox_claims import waits
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from schemas.errors import SchemaError
from schemas.lanes import Lane
from schemas.verdicts import Status

_PAGE = 200
_OPEN = tuple(int(one) for one in Status if not one.final)
#: What a person dropped has no bytes any more (`outbox_dropped`), and does not wait.
_SELECT = "SELECT seq, lane, at_ms, status FROM packet WHERE seq > ? AND pruned_ms IS NULL"
_NOT_SENT = f"{_SELECT} AND status IS NULL ORDER BY seq LIMIT ?"
_NOT_FINAL = f"{_SELECT} AND (status IS NULL OR status IN {_OPEN}) ORDER BY seq LIMIT ?"


class Waiting(NamedTuple):
    """A packet without a receipt (`status` is `None`), or without a final verdict. `here`: it still waits, as
    a whole, on this side. `aside`: it is damaged and cannot be sent. `head`: the beginning of its stored
    bytes (`None`: they do not read)."""

    seq: int
    lane: Lane
    at_ms: int
    status: Status | None
    here: bool
    aside: bool
    head: bytes | None


def waiting_packets(folder: Path, *, sent: bool) -> Iterator[Waiting]:
    """Those without a receipt, oldest first; with `sent` also those that the center has and has not decided.

    A page is read at a time, each by itself: nothing grows with the backlog, and nobody is held up. Raises
    `NotFound`, `StoreError`.
    """
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    query, after = (_NOT_FINAL if sent else _NOT_SENT), 0
    try:
        while True:
            with database.read() as db:
                rows: list[Any] = db.execute(query, (after, _PAGE)).fetchall()
                page = [_waiting(db, row) for row in rows]
            if not page:
                return
            yield from page
            after = page[-1].seq
    finally:
        database.close()


def _waiting(db: Any, row: Any) -> Waiting:
    seq, lane, at_ms, status = row
    word = None if status is None else Status(status)
    here = word is None and waits(db, lane, seq)
    try:
        head = read_heads(db, (seq,)).get(seq)
    except (StoreDamaged, SchemaError):
        head = None
    return Waiting(seq, Lane(lane), at_ms, word, here, word is None and is_aside(db, seq), head)
