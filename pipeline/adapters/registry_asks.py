"""Step 7: questions that jump the queue, within the caller's transaction: asked, answered, forgotten.

Whoever asks writes a row and polls it. An answer's payloads are gathered there one after the other, each
with its length before it (of a `record`: only the first, for its pieces go where attachments lie).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.registry_rebuild import put_pieces
from pipeline.adapters.registry_rows import add_event, put_records, record_rows
from schemas.asks import RECORD, Answer, unpack_record, unpack_record_args
from schemas.back import pieces_of
from schemas.codec import unpack_flat
from schemas.errors import SchemaError
from schemas.feed import RecordChange
from schemas.limits import INTEGER_MAX, RANGES_MAX
from schemas.messages import ASKS_MAX, Ask

#: Questions are forgotten after so long, milliseconds, answered or not.
KEPT_MS = 24 * 3600 * 1000
_LENGTH = struct.Struct(">I")


class Asked(NamedTuple):
    """A question as it stands: `at` of the answer is here, `answered_ms` is when it was whole (`None`: it is
    not), `payloads` what was answered so far."""

    id: int
    what: str
    args: bytes
    at: int
    asked_ms: int
    answered_ms: int | None
    payloads: tuple[bytes, ...]


def put_ask(db: apsw.Connection, what: str, args: bytes, now_ms: int) -> int:
    """Ask, and return the question's id: that of the same question, where it is still open."""
    forget_asks(db, now_ms)
    same = db.execute(
        "SELECT id FROM ask WHERE answered_ms IS NULL AND what = ? AND args = ? LIMIT 1", (what, args)
    ).get
    if same is not None:
        return int(same)
    db.execute("INSERT INTO ask(what, args, asked_ms) VALUES (?, ?, ?)", (what, args, now_ms))
    return db.last_insert_rowid()


def open_asks(db: apsw.Connection) -> tuple[Ask, ...]:
    """See `pipeline.ports.Registry.asks`."""
    rows: Any = db.execute(
        "SELECT id, what, args, at FROM ask WHERE answered_ms IS NULL ORDER BY id LIMIT ?", (ASKS_MAX,)
    )
    return tuple(Ask(id=i, what=what, args=args, at=at) for i, what, args, at in rows)


def asked(db: apsw.Connection, number: int) -> Asked | None:
    """The question `number`; `None` where it was forgotten, or never asked."""
    row: Any = db.execute(
        "SELECT id, what, args, at, asked_ms, answered_ms, answer FROM ask WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        return None
    what = Asked(*row)
    return what._replace(payloads=_payloads(row[-1] or b""))


def forget_asks(db: apsw.Connection, now_ms: int) -> None:
    """Forget what was asked long ago."""
    db.execute("DELETE FROM ask WHERE asked_ms < ?", (now_ms - KEPT_MS,))


def apply_answer(db: apsw.Connection, answer: Answer, now_ms: int) -> bool:
    """See `pipeline.ports.Registry.apply_answer`. What cannot be read (a newer center) closes its question,
    so that it is not asked for ever."""
    row = asked(db, answer.ask)
    if row is None or row.answered_ms is not None or row.at != answer.at:
        return False
    done, payload = answer.done, answer.payload
    if row.what == RECORD:
        try:
            payload = _take_record(db, row, answer, now_ms)
        except SchemaError as why:
            done, payload = True, b""
            add_event(db, now_ms, "answer not read", f"{why.code}: {why}")
    if payload:
        db.execute(
            "UPDATE ask SET answer = CAST(ifnull(answer, x'') || ? AS BLOB) WHERE id = ?",
            (_LENGTH.pack(len(payload)) + payload, row.id),
        )
    db.execute(
        "UPDATE ask SET at = ?, answered_ms = ? WHERE id = ?", (answer.to, now_ms if done else None, row.id)
    )
    return True


def _take_record(db: apsw.Connection, row: Asked, answer: Answer, now_ms: int) -> bytes:
    """Apply a part of the answer to `record`; returns what is kept of it."""
    if row.at:
        flat = unpack_flat(answer.payload, items_max=2 * RANGES_MAX) if answer.payload else []
        put_pieces(db, pieces_of(flat), int(unpack_record_args(row.args)[0]), now_ms)
        return b""
    found = unpack_record(answer.payload)
    if found is not None:
        _replace(db, found, now_ms)
    return answer.payload


def _replace(db: apsw.Connection, found: RecordChange, now_ms: int) -> None:
    """The center's word now: nothing that came before it in this life is newer. So it replaces what differs
    at the same version too (a damaged disk). Nobody has told its number, which may be above the point up to
    which this life and the next one agree: so it counts as the highest, and any version follows it then."""
    (row,) = record_rows(INTEGER_MAX, (found,))
    nik, version, _, *rest = row
    # Compared where it lies: what a flipped bit has made of it may not even be read.
    same = "version IS ? AND status IS ? AND epoch IS ? AND seq IS ? AND head IS ? AND leaf IS ?"
    held = db.execute(f"SELECT {same} FROM record WHERE nik = ?", (version, *rest, nik)).get
    if held == 0:
        db.execute("UPDATE record SET open = 1 WHERE nik = ?", (nik,))
    if not held:
        put_records(db, (row,), now_ms)


def _payloads(answer: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(answer):
        (length,) = _LENGTH.unpack_from(answer, at)
        found.append(answer[at + 4 : at + 4 + length])
        at += 4 + length
    return tuple(found)
