"""Steps 2 and 3: what goes next, what is on its way, and what is lost and waits again.

What the center has spoken of never waits. A lane's new packets lie above its cursor; everything at or below
the cursor of which something still has to go stands in `again`, lowest seq first, so a large packet that was
begun is finished before the next one begins, and what was lost goes before what is new. Of a large packet
`large.waiting` says which of its bytes wait: `[0, size)` less what is covered and what is on its way. What is
damaged is put aside when it is met (`outbox_aside`), and never goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from pipeline.adapters.outbox_aside import is_aside, pieces_missing, put_aside
from pipeline.adapters.outbox_books import Books, ranges_of, ranges_text
from pipeline.adapters.outbox_bytes import read_span
from pipeline.adapters.outbox_layout import WAITING
from pipeline.adapters.outbox_run import Run
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from pipeline.ports import Batch, Chunk, EntryId, Sent
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX, CHUNK_BYTES_MAX
from schemas.ranges import Ranges, from_numbers, merge, total, without

CHUNK_BYTES_MIN = 4096


def something_waits(database: Database, lanes: Sequence[Lane]) -> bool:
    """Whether any of the lanes has something to claim, by the counters: microseconds, no lock."""
    marks = ", ".join("?" * len(lanes))
    query = f"SELECT count(*) FROM counter WHERE what = {WAITING} AND lane IN ({marks}) AND packets <= 0"
    return database.number(query, lanes) < len(lanes)


def claim(
    db: apsw.Connection, books: Books, entry: EntryId, lane: Lane, batch_bytes_max: int, chunk_bytes_max: int
) -> Batch | Chunk | None:
    """What goes next of one lane, recorded as sent; `None` if nothing of it waits."""
    run = Run(db, lane, batch_bytes_max)
    cursor = before = int(db.execute("SELECT cursor FROM lane WHERE lane = ?", (lane,)).get)
    large = run.again(cursor)
    again = len(run.seqs)
    if large is None and not run.full:
        large = run.new(cursor)
        cursor = run.passed
    for seq, size, why in run.damaged:
        put_aside(db, books, lane, seq, size, size, why)
    if cursor > before and (run.seqs or run.damaged):
        db.execute("UPDATE lane SET cursor = ? WHERE lane = ?", (cursor, lane))
    if run.seqs:
        db.executemany(
            "DELETE FROM again WHERE lane = ? AND seq = ?", [(lane, seq) for seq in run.seqs[:again]]
        )
        return _batch(db, books, entry, lane, run)
    if large is None:
        return None
    if large > cursor:
        db.execute("UPDATE lane SET cursor = ? WHERE lane = ?", (large, lane))
    chunk = _chunk(db, books, entry, lane, large, chunk_bytes_max)
    return chunk if chunk is not None else claim(db, books, entry, lane, batch_bytes_max, chunk_bytes_max)


def _batch(db: apsw.Connection, books: Books, entry: EntryId, lane: Lane, run: Run) -> Batch:
    seqs = from_numbers(run.seqs)
    books.waiting(lane, -len(run.seqs), -run.bytes)
    _record(db, books, entry, lane, seqs, None, run.bytes)
    books.rate(lane, "out", len(run.seqs), run.bytes)
    return Batch(entry, lane, seqs, tuple(run.stored))


def _chunk(
    db: apsw.Connection, books: Books, entry: EntryId, lane: Lane, seq: int, bytes_max: int
) -> Chunk | None:
    row: Any = db.execute("SELECT size, digest, upload FROM packet WHERE seq = ?", (seq,)).fetchone()
    size, digest, upload = row
    covered, waiting = large_of(db, seq, size, waits=True)
    if not waiting:  # everything is covered or on its way already
        db.execute("DELETE FROM again WHERE lane = ? AND seq = ?", (lane, seq))
        return None
    start, stop = waiting[0]
    stop = min(stop, start + min(max(bytes_max, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX))
    try:
        why = "" if start else pieces_missing(db, upload, size)
        data = b"" if why else read_span(db, seq, upload, start, stop)
    except StoreDamaged as damage:
        why = str(damage)
    if why:
        put_aside(db, books, lane, seq, size, total(waiting), why)
        return None
    left = without(waiting, ((start, stop),))
    set_waiting(db, books, lane, seq, covered, waiting, left)
    _record(db, books, entry, lane, ((seq, seq + 1),), (start, stop), stop - start)
    books.rate(lane, "out", 0 if left else 1, stop - start)
    return Chunk(entry, lane, seq, size, digest, start, data)


def _record(
    db: apsw.Connection,
    books: Books,
    entry: EntryId,
    lane: int,
    seqs: Ranges,
    span: tuple[int, int] | None,
    size: int,
) -> None:
    start, stop = span or (None, None)
    first, last = seqs[0][0], seqs[-1][1] - 1
    db.execute(
        "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (entry.session, entry.n, lane, ranges_text(seqs), first, last, start, stop, size),
    )
    books.event("sent", seqs, f"{entry}" if span is None else f"{entry} bytes {start}-{stop}")


# --- large packets --------------------------------------------------------------------------------


def large_of(db: apsw.Connection, seq: int, size: int, *, waits: bool) -> tuple[Ranges, Ranges]:
    """Covered and waiting ranges of a large packet; `waits` says whether one that has no row waits whole."""
    row = db.execute("SELECT covered, waiting FROM large WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return (), ((0, size),) if waits else ()
    return ranges_of(row[0]), ranges_of(row[1])


def set_waiting(
    db: apsw.Connection, books: Books, lane: int, seq: int, covered: Ranges, before: Ranges, after: Ranges
) -> None:
    """The waiting ranges of a large packet go from `before` to `after`: row, `again` and counters."""
    db.execute(
        "INSERT INTO large VALUES (?1, ?2, ?3) ON CONFLICT(seq) DO UPDATE SET covered = ?2, waiting = ?3",
        (seq, ranges_text(covered), ranges_text(after)),
    )
    books.waiting(lane, bool(after) - bool(before), total(after) - total(before))
    if not after:
        db.execute("DELETE FROM again WHERE lane = ? AND seq = ?", (lane, seq))
    elif seq <= int(db.execute("SELECT cursor FROM lane WHERE lane = ?", (lane,)).get):
        db.execute("INSERT OR IGNORE INTO again VALUES (?, ?)", (lane, seq))


def put_large_aside(db: apsw.Connection, books: Books, seq: int, why: str) -> None:
    """A large packet that was claimed before proves damaged."""
    row: Any = db.execute("SELECT lane, size, status FROM packet WHERE seq = ?", (seq,)).fetchone()
    if row is not None and row[2] is None and not is_aside(db, seq):
        lane, size, _ = row
        waiting = total(large_of(db, seq, size, waits=waits(db, lane, seq))[1])
        put_aside(db, books, lane, seq, size, waiting, why)


def waits(db: apsw.Connection, lane: int, seq: int) -> bool:
    """Whether a packet without the center's word that has no row in `large` waits (whole)."""
    if seq > int(db.execute("SELECT cursor FROM lane WHERE lane = ?", (lane,)).get):
        return True
    return bool(db.execute("SELECT 1 FROM again WHERE lane = ? AND seq = ?", (lane, seq)).get)


def cover(db: apsw.Connection, books: Books, partly: dict[int, Ranges], done: Sequence[EntryId]) -> list[int]:
    """See `pipeline.ports.Outbox.cover`; returns the packets of which the center holds less than it did."""
    shrunk: list[int] = []
    touched = set(partly)
    for entry in done:
        seq = db.execute(
            "DELETE FROM sent WHERE session = ? AND n = ? AND start IS NOT NULL RETURNING first", entry
        ).get
        if seq is not None:
            touched.add(seq)
    for seq, covered in _rows(db.execute("SELECT seq, covered FROM large")):
        if ranges_of(covered) != partly.get(seq, ()):
            touched.add(seq)
    for seq in sorted(touched):
        row = db.execute("SELECT lane, size, status FROM packet WHERE seq = ?", (seq,)).fetchone()
        if row is None or row[2] is not None or row[1] <= BATCHED_PACKET_BYTES_MAX or is_aside(db, seq):
            continue
        lane, size, _ = row
        held, before = large_of(db, seq, size, waits=waits(db, lane, seq))
        covered_now = without(partly.get(seq, ()), ((size, 1 << 62),))
        after = without(((0, size),), merge((*covered_now, *_on_their_way(db, seq))))
        set_waiting(db, books, lane, seq, covered_now, before, after)
        if without(held, covered_now):
            shrunk.append(seq)
    return shrunk


def _on_their_way(db: apsw.Connection, seq: int) -> list[tuple[int, int]]:
    return _rows(db.execute("SELECT start, stop FROM sent WHERE first = ? AND start IS NOT NULL", (seq,)))


def _rows(found: apsw.Cursor) -> list[Any]:
    return found.fetchall()


def in_flight(db: apsw.Connection) -> list[Sent]:
    """Every frame that is claimed and not settled, oldest entry first."""
    rows = db.execute("SELECT session, n, lane, seqs, start, stop, bytes FROM sent ORDER BY session, n")
    return [
        Sent(EntryId(session, n), Lane(lane), ranges_of(seqs), None if start is None else (start, stop), size)
        for session, n, lane, seqs, start, stop, size in rows
    ]


def requeue(db: apsw.Connection, books: Books, lost: Sequence[Sent]) -> int:
    """See `pipeline.ports.Outbox.requeue`."""
    again = 0
    for one in lost:
        row = db.execute(
            "DELETE FROM sent WHERE session = ? AND n = ? RETURNING lane, seqs, start, stop", one.entry
        ).fetchone()
        if row is None:
            continue
        lane, text, start, stop = row
        seqs = ranges_of(text)
        if start is None:
            again += _small_again(db, books, lane, seqs)
        else:
            again += _span_again(db, books, lane, seqs[0][0], (start, stop))
        books.event("requeued", seqs, str(one.entry))
    return again


def _small_again(db: apsw.Connection, books: Books, lane: int, seqs: Ranges) -> int:
    rows: list[tuple[int, int]] = []
    for start, stop in seqs:
        found = db.execute(
            "SELECT seq, size FROM packet WHERE seq >= ? AND seq < ? AND lane = ? AND status IS NULL "
            f"AND size <= {BATCHED_PACKET_BYTES_MAX}",
            (start, stop, lane),
        )
        rows += _rows(found)
    db.executemany("INSERT INTO again VALUES (?, ?)", [(lane, seq) for seq, _ in rows])
    books.waiting(lane, len(rows), sum(size for _, size in rows))
    return len(rows)


def _span_again(db: apsw.Connection, books: Books, lane: int, seq: int, span: tuple[int, int]) -> int:
    row: Any = db.execute("SELECT size, status FROM packet WHERE seq = ?", (seq,)).fetchone()
    if row is None or row[1] is not None or is_aside(db, seq):
        return 0
    covered, before = large_of(db, seq, row[0], waits=False)
    lost = without((span,), merge((*covered, *_on_their_way(db, seq))))
    after = merge((*before, *lost))
    set_waiting(db, books, lane, seq, covered, before, after)
    return int(bool(after) and not before)
