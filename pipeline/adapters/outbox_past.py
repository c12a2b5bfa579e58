"""Step 2: packets of earlier epochs: they stay findable, hear what the center says of them, and are known
again when their producer hands them in a second time.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_bytes import read_span
from pipeline.adapters.outbox_draft import contents_of
from pipeline.errors import StoreDamaged
from schemas.errors import InvalidPacket
from schemas.feed import FactGroup, digests_hash
from schemas.limits import HEAD_BYTES_MAX
from schemas.packet import head_bytes, read_head
from schemas.ranges import total
from schemas.verdicts import Status


class Past(NamedTuple):
    """A packet of an earlier epoch that is not numbered anew; `contents` (32 bytes) where they were asked for
    and its head is there."""

    epoch: str
    seq: int
    contents: bytes | None


def settle_past(db: apsw.Connection, books: Books, position: int, group: FactGroup) -> bool:
    """The center's word on packets of an earlier epoch; False where they are not (all) ours. A later position
    wins, as with the others."""
    rows: list[Any] = []
    for start, stop in group.seqs:
        rows += db.execute(
            "SELECT digest FROM past WHERE epoch = ? AND seq >= ? AND seq < ? ORDER BY seq",
            (group.epoch, start, stop),
        ).fetchall()
    unread = group.status is Status.REFUSED and not group.hash
    if len(rows) != total(group.seqs) or not (unread or digests_hash(row[0] for row in rows) == group.hash):
        return False
    reasons = json.dumps(group.reasons, ensure_ascii=False) if group.reasons else None
    for start, stop in group.seqs:
        db.execute(
            "UPDATE past SET status = ?1, fact_no = ?2, reasons = ?3, word_ms = ?4 "
            "WHERE epoch = ?5 AND seq >= ?6 AND seq < ?7 AND (fact_no IS NULL OR fact_no < ?2)",
            (int(group.status), position, reasons, books.now_ms, group.epoch, start, stop),
        )
    return True


def find_key(db: apsw.Connection, key: bytes, *, with_contents: bool) -> Past | None:
    """The packet of an earlier epoch that has this producer's key and did not go on in the next one."""
    row: Any = db.execute(
        "SELECT id, epoch, seq, size, upload FROM past WHERE key = ? AND now_seq IS NULL LIMIT 1", (key,)
    ).fetchone()
    if row is None:
        return None
    number, epoch, seq, size, upload = row
    return Past(epoch, seq, _contents(db, number, size, upload) if with_contents else None)


def _contents(db: apsw.Connection, number: int, size: int, upload: int | None) -> bytes | None:
    try:
        if upload is None:
            found = db.execute("SELECT stored FROM past_body WHERE id = ?", (number,)).get
            stored = found if isinstance(found, bytes) else b""
        else:
            stored = read_span(db, seq=0, upload=upload, start=0, stop=min(size, 4 + HEAD_BYTES_MAX))
        return contents_of(read_head(stored[: head_bytes(stored)], check=False))
    except (StoreDamaged, InvalidPacket):
        return None
