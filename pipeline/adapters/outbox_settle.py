"""Steps 6 to 2: the center's facts into our packets; and back out, where the center's ledger went back.

Facts are merged, never checked as moves: a later position wins, and the same again changes nothing. A group
is applied only if the hash of its packets' digests is that of our own rows (rule 14); if it is not, the
identity was used for other contents (a fork), which a person has to see.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_aside import take_out
from pipeline.adapters.outbox_books import Books, lane_cursors, ranges_of, ranges_text
from pipeline.adapters.outbox_claims import large_of
from pipeline.adapters.outbox_layout import DROPPED
from pipeline.adapters.outbox_past import settle_past
from pipeline.ports import Settled
from schemas.feed import FactGroup, digests_hash
from schemas.limits import BATCHED_PACKET_BYTES_MAX
from schemas.ranges import Ranges, from_numbers, merge, total, without
from schemas.verdicts import Status


class _Row(NamedTuple):
    seq: int
    lane: int
    size: int
    digest: bytes
    status: int | None
    fact_no: int | None
    pruned_ms: int | None


_COLUMNS = ", ".join(_Row._fields)
SETTLED_TO = "SELECT value FROM meta WHERE key = 'settled_to'"


def settled_to(db: apsw.Connection) -> int:
    """The position up to which facts are settled."""
    return int(db.execute(SETTLED_TO).get)


def settle(
    db: apsw.Connection, books: Books, epoch: str, facts: Sequence[tuple[int, FactGroup]], to: int
) -> Settled:
    """See `pipeline.ports.Outbox.settle`."""
    at = settled_to(db)
    spans: list[tuple[int, int]] = []
    forks: list[FactGroup] = []
    for position, group in facts:
        if group.epoch != epoch:
            if not settle_past(db, books, position, group) and position > at:
                books.tally("foreign_facts", total(group.seqs))
            continue
        rows = _rows(db, group.seqs)
        if not _is_ours(group, rows):
            forks.append(group)
            if position > at:
                books.tally("forks")
                books.event("fork", group.seqs, f"fact {position}")
            continue
        _apply(db, books, position, group, rows)
        spans += group.seqs
    if to > at:
        db.execute("UPDATE meta SET value = ? WHERE key = 'settled_to'", (to,))
    settled = merge(spans)
    _land(db, settled)
    return Settled(max(to, at), settled, tuple(forks))


def take_back(db: apsw.Connection, books: Books, above: int) -> int:
    """See `pipeline.ports.Outbox.take_back`."""
    rows: list[Any] = db.execute(
        f"SELECT {_COLUMNS} FROM packet WHERE fact_no > ? AND status IS NOT NULL ORDER BY seq", (above,)
    ).fetchall()
    if above < settled_to(db):
        db.execute("UPDATE meta SET value = ? WHERE key = 'settled_to'", (above,))
    seqs = forget_word(db, books, [_Row(*row) for row in rows])
    # A later word at whatever position must win over the one that is kept for want of the bytes.
    db.execute("UPDATE packet SET fact_no = ?1 WHERE fact_no > ?1", (above,))
    gone = db.execute("UPDATE past SET fact_no = ?1 WHERE fact_no > ?1 RETURNING seq", (above,)).fetchall()
    if gone:
        books.tally("not_resendable", len(gone))
    if seqs:
        books.event("taken back", seqs, f"above {above}")
    return total(seqs)


def forget_word(db: apsw.Connection, books: Books, rows: Sequence[_Row]) -> Ranges:
    """The center's word on these packets is void: they wait again, whole; returns which do. Those whose
    attachments are deleted keep their word: what is left of them could not be sent under their digest. So do
    those that were refused and dropped: nobody expects them to be sent."""
    rows = [row for row in rows if not _is_dropped(row)]
    if kept := from_numbers(row.seq for row in rows if row.pruned_ms):
        rows = [row for row in rows if not row.pruned_ms]
        books.tally("not_resendable", total(kept))
        books.event("not resendable", kept, "their attachments were deleted after the verdict")
    cursors = lane_cursors(db)
    again = [(row.lane, row.seq) for row in rows if row.seq <= cursors[row.lane]]
    db.executemany(
        "UPDATE packet SET status = NULL, fact_no = NULL, reasons = NULL, final_ms = NULL WHERE seq = ?",
        [(row.seq,) for row in rows],
    )
    db.executemany("INSERT INTO again VALUES (?, ?)", again)
    for row in rows:
        books.word(row.lane, row.status, None, 1, row.size)
        books.waiting(row.lane, 1, row.size)
    return from_numbers(row.seq for row in rows)


def retry(db: apsw.Connection, books: Books, seqs: Ranges) -> int:
    """Refused packets among `seqs` wait again; returns how many. They keep the position of the refusal:
    should that be read once more (a feed from its beginning, a comparison), it does not undo the retry."""
    rows = [row for row in _rows(db, seqs) if row.status == Status.REFUSED and not _is_dropped(row)]
    if rows:
        books.event("retried", forget_word(db, books, rows))
        positions = [(row.fact_no, row.seq) for row in rows]
        db.executemany("UPDATE packet SET fact_no = ? WHERE seq = ? AND status IS NULL", positions)
    return len(rows)


def _is_dropped(row: _Row) -> bool:
    return row.status == Status.REFUSED and row.pruned_ms == DROPPED


def _rows(db: apsw.Connection, seqs: Ranges) -> list[_Row]:
    rows: list[_Row] = []
    for start, stop in seqs:
        found = db.execute(
            f"SELECT {_COLUMNS} FROM packet WHERE seq >= ? AND seq < ? ORDER BY seq",
            (start, stop),
        )
        rows += map(_Row._make, found)
    return rows


def _is_ours(group: FactGroup, rows: Sequence[_Row]) -> bool:
    """Whether the center speaks of the packets that we have under these seqs."""
    if len(rows) != total(group.seqs):
        return False
    if group.status is Status.REFUSED and not group.hash:
        return True
    return digests_hash(row.digest for row in rows) == group.hash


def _apply(db: apsw.Connection, books: Books, position: int, group: FactGroup, rows: Sequence[_Row]) -> None:
    newer = [row for row in rows if row.fact_no is None or row.fact_no < position]
    if not newer:
        return
    first = [row for row in newer if row.status is None]
    take_out(db, books, [row.seq for row in first])
    _stop_waiting(db, books, first)
    reasons = json.dumps(group.reasons, ensure_ascii=False) if group.reasons else None
    final_ms = books.now_ms if group.status.final and group.status.receipt else None
    for start, stop in group.seqs:
        db.execute(
            "UPDATE packet SET status = ?1, fact_no = ?2, reasons = ?3, "
            "final_ms = CASE WHEN ?6 IS NOT NULL THEN coalesce(final_ms, ?6) END "
            "WHERE seq >= ?4 AND seq < ?5 AND (fact_no IS NULL OR fact_no < ?2)",
            (int(group.status), position, reasons, start, stop, final_ms),
        )
        if group.status.receipt:
            db.execute("DELETE FROM announced WHERE seq >= ? AND seq < ?", (start, stop))
    _count(books, group, newer)
    books.event(group.status.name, from_numbers(row.seq for row in newer), f"fact {position}")


def _count(books: Books, group: FactGroup, rows: Sequence[_Row]) -> None:
    packets: Counter[tuple[int, int | None]] = Counter()
    sizes: defaultdict[tuple[int, int | None], int] = defaultdict(int)
    for row in rows:
        packets[row.lane, row.status] += 1
        sizes[row.lane, row.status] += row.size
    for (lane, before), n in packets.items():
        size = sizes[lane, before]
        books.word(lane, before, group.status, n, size)
        if before is None and group.status.receipt:
            books.rate(lane, "receipt", n, size)
        if group.status is not Status.RECEIVED_AT_CENTRAL:
            books.rate(lane, "verdict" if group.status.receipt else "refused", n, size)


def _stop_waiting(db: apsw.Connection, books: Books, rows: Sequence[_Row]) -> None:
    """Packets of which the center says its first word wait no longer, wherever they stood."""
    if not rows:
        return
    cursors = lane_cursors(db)
    again = set(
        db.execute("SELECT lane, seq FROM again WHERE seq BETWEEN ? AND ?", (rows[0].seq, rows[-1].seq))
        if db.execute("SELECT 1 FROM again LIMIT 1").get
        else ()
    )
    for row in rows:
        waits = row.seq > cursors[row.lane] or (row.lane, row.seq) in again
        if row.size > BATCHED_PACKET_BYTES_MAX:
            waiting = large_of(db, row.seq, row.size, waits=waits)[1]
            books.waiting(row.lane, -bool(waiting), -total(waiting))
            db.execute("DELETE FROM large WHERE seq = ?", (row.seq,))
        elif waits:
            books.waiting(row.lane, -1, -row.size)
    db.executemany("DELETE FROM again WHERE lane = ? AND seq = ?", again & {(r.lane, r.seq) for r in rows})


def _land(db: apsw.Connection, settled: Ranges) -> None:
    """Take settled seqs off the frames that are on their way; a frame that has none left is forgotten."""
    if not settled:
        return
    frames: list[Any] = db.execute(
        "SELECT session, n, seqs FROM sent WHERE first < ? AND last >= ?", (settled[-1][1], settled[0][0])
    ).fetchall()
    for session, n, text in frames:
        before = ranges_of(text)
        left = without(before, settled)
        if not left:
            db.execute("DELETE FROM sent WHERE session = ? AND n = ?", (session, n))
        elif left != before:
            db.execute(
                "UPDATE sent SET seqs = ?, first = ?, last = ? WHERE session = ? AND n = ?",
                (ranges_text(left), left[0][0], left[-1][1] - 1, session, n),
            )
