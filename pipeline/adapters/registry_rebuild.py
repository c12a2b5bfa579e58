"""Step 7: the rebuild of an empty registry, within the caller's transaction; and attachments that came back.

A piece may come twice, and cut otherwise the second time: the longer one of those that begin alike is kept,
and whoever reads passes over what lies twice. An attachment is whole once its pieces leave no gap and have
its digest; where they have another one they are dropped, so that it can be asked for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from pipeline.adapters.registry_rows import (
    add_event,
    back_of,
    cursor_of,
    history_of,
    meta,
    packets_of,
    put_meta,
    put_records,
    record_rows,
    set_history,
)
from pipeline.hop import adopted
from pipeline.region.rebuild import advanced, begun, position_of
from schemas.back import CARD_ATTACHMENTS, PASS_OPEN, BackFrame, Piece
from schemas.feed import RecordChange
from schemas.messages import HISTORY_MAX, Back, Since
from schemas.packet import Packet

#: What `attachment.whole` says.
COMING, WHOLE, DAMAGED = 0, 1, 2


def start_at(db: apsw.Connection, facts: int, records: int, since: Since, now_ms: int) -> None:
    """See `pipeline.ports.Registry.start_at`."""
    fresh = bool(meta(db, "fresh"))
    if not fresh or cursor_of(db, "facts") or cursor_of(db, "records"):
        return
    put_meta(db, "facts", facts)
    put_meta(db, "records", records)
    put_meta(db, "fresh", 0)
    set_history(db, adopted(history_of(db), since, HISTORY_MAX))
    add_event(db, now_ms, "rebuild begun", f"facts from {facts}, records from {records} down")
    _go(db, None, begun(records, now_ms), now_ms)


def apply_back(db: apsw.Connection, frame: BackFrame, now_ms: int) -> bool:
    """See `pipeline.ports.Registry.apply_back`."""
    back = back_of(db)
    if back is None or frame.start.behind(position_of(back)) or not frame.to.behind(position_of(back)):
        return False
    if frame.records:
        packets = packets_of(frame.records)
        # The number of none of them is above this one, and a rewind opens what is numbered above its point.
        put_records(db, record_rows(frame.start.floor, frame.records, packets), now_ms)
        if frame.start.pass_no == PASS_OPEN:
            _expect_pictures(db, frame.records, packets, now_ms)
    put_pieces(db, frame.pieces, 0, now_ms)
    _go(db, back, advanced(back, frame, now_ms), now_ms)
    return True


def rewind_back(db: apsw.Connection, records: int) -> None:
    """The records went back to `records`: below the top of a rebuild, it begins again from there. An office
    that was open stays open."""
    back = back_of(db)
    if back is not None and records < back.top:
        after = begun(records, back.began_ms)
        kept = None if after is None else after.model_copy(update={"opened_ms": back.opened_ms})
        _go(db, back, kept, back.began_ms)


def _go(db: apsw.Connection, before: Back | None, after: Back | None, now_ms: int) -> None:
    """Keep how far it has got, and note what that means for the office."""
    opened = meta(db, "opened_ms")
    if not opened and (after is None or after.opened_ms):
        put_meta(db, "opened_ms", now_ms)
        add_event(db, now_ms, "open for service", "print-ready and open cases are here")
    put_meta(db, "back", None if after is None else after.model_dump_json(exclude_defaults=True))
    if after is None:
        put_meta(db, "rebuilt_ms", now_ms)
        top = 0 if before is None else before.top
        add_event(db, now_ms, "rebuilt", f"every record up to {top} is here again")


# --- attachments ----------------------------------------------------------------------------------


def put_pieces(db: apsw.Connection, pieces: Sequence[Piece], nik: int, now_ms: int) -> None:
    """Keep pieces of attachments; those that are complete now are checked. `nik` 0: nobody
    says whose they are."""
    touched: dict[int, None] = {}
    for piece in pieces:
        number = _attachment(db, piece, nik, now_ms)
        if number is None:
            continue
        db.execute(
            "INSERT INTO piece VALUES (?, ?, ?) ON CONFLICT(attachment, start) DO UPDATE "
            "SET bytes = excluded.bytes WHERE length(excluded.bytes) > length(piece.bytes)",
            (number, piece.offset, piece.data),
        )
        touched[number] = None
    for number in touched:
        _judge(db, number)


def read_pieces(db: apsw.Connection, number: int) -> Iterator[bytes]:
    """The bytes of attachment `number` from its beginning, as far as they go without a gap."""
    at = 0
    rows: Any = db.execute("SELECT start, bytes FROM piece WHERE attachment = ? ORDER BY start", (number,))
    for start, data in rows:
        if start > at:
            return
        if start + len(data) > at:
            yield data[at - start :]
            at = start + len(data)


def _expect_pictures(
    db: apsw.Connection, records: Sequence[RecordChange], packets: Sequence[Packet], now_ms: int
) -> None:
    """Rows for what a card shows of open cases: pieces name the packet and not the citizen."""
    rows = [
        (int(packet.nik), record.epoch, record.seq, at.name, at.media_type, at.size, at.digest, now_ms)
        for record, packet in zip(records, packets, strict=True)
        for at in packet.attachments
        if at.name in CARD_ATTACHMENTS
    ]
    db.executemany(
        "INSERT OR IGNORE INTO attachment(nik, epoch, seq, name, media_type, size, digest, at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _attachment(db: apsw.Connection, piece: Piece, nik: int, now_ms: int) -> int | None:
    """The row that a piece belongs to; `None` where that is whole already."""
    key = (piece.epoch, piece.seq, piece.name)
    row: Any = db.execute(
        "SELECT id, size, digest, whole FROM attachment WHERE epoch = ? AND seq = ? AND name = ?", key
    ).fetchone()
    if row is None:
        db.execute(
            "INSERT INTO attachment(nik, epoch, seq, name, media_type, size, digest, at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (nik, *key, piece.media_type, piece.size, piece.digest, now_ms),
        )
        return db.last_insert_rowid()
    number, size, digest, whole = row
    same = (size, digest) == (piece.size, piece.digest)
    if same and whole == WHOLE and (piece.offset or _digest(db, number) == digest):
        return None
    if not same or whole != COMING:
        db.execute("DELETE FROM piece WHERE attachment = ?", (number,))
        db.execute(
            "UPDATE attachment SET size = ?, digest = ?, media_type = ?, whole = ? WHERE id = ?",
            (piece.size, piece.digest, piece.media_type, COMING, number),
        )
    return int(number)


def _judge(db: apsw.Connection, number: int) -> None:
    row: Any = db.execute("SELECT size, digest FROM attachment WHERE id = ?", (number,)).fetchone()
    size, digest = row
    held = db.execute("SELECT sum(length(bytes)) FROM piece WHERE attachment = ?", (number,)).get or 0
    if held < size or sum(map(len, read_pieces(db, number))) < size:
        return
    right = _digest(db, number) == digest
    if not right:
        db.execute("DELETE FROM piece WHERE attachment = ?", (number,))
    db.execute("UPDATE attachment SET whole = ? WHERE id = ?", (WHOLE if right else DAMAGED, number))


def _digest(db: apsw.Connection, number: int) -> bytes:
    hashed = hashlib.sha256()
    for part in read_pieces(db, number):
        hashed.update(part)
    return hashed.digest()
