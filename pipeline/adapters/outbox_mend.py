"""Step 2: what leads to the packets that wait, built anew from the packets: a damaged index stops no office.

The index of lanes, the table `again` and the counters all follow from the rows of `packet`, `sent`, `aside`
and `large`. Where a claim is misled by them, or finds nothing of what is counted as waiting, they are made
again, and the claim is tried once more. What is sent twice for that does no harm: the center knows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import apsw

from pipeline.adapters.outbox_books import Books, lane_cursors, ranges_of
from pipeline.adapters.outbox_layout import NO_WORD, WAITING
from pipeline.errors import StoreDamaged
from pipeline.ports import Batch, Chunk
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX
from schemas.ranges import Ranges, contains, merge, total

#: So often the same process mends an outbox: what goes on breaking is its disk, which a person has to see.
MENDS_MAX = 3
_MISCOUNTED = "packets are counted as waiting, and none is found"
Claimed = Batch | Chunk | None


class Mender:
    """Claims, and mends where that fails."""

    def __init__(self) -> None:
        self._left = MENDS_MAX

    def claim(
        self,
        attempt: Callable[[], Claimed],
        still_waits: Callable[[], bool],
        write: Callable[[], AbstractContextManager[tuple[apsw.Connection, Books]]],
    ) -> Claimed:
        """What `attempt` claims. Raises `StoreDamaged` where mending does not help, or did too often."""
        try:
            for _ in range(2):  # the second time: what came after the first
                claimed = attempt()
                if claimed is not None or not self._left or not still_waits():
                    return claimed
            why = _MISCOUNTED
        except StoreDamaged as damage:
            if not self._left:
                raise
            why = str(damage)
        self._left -= 1
        with write() as (db, books):
            mend(db, books, why)
        return attempt()


def mend(db: apsw.Connection, books: Books, why: str) -> None:
    """Build it anew, in a transaction of its own. Raises what SQLite does where the packets themselves cannot
    be read."""
    db.execute(f"UPDATE packet SET lane = {max(Lane)} WHERE lane NOT IN ({', '.join(map(str, _LANES))})")
    db.execute("REINDEX packet_lane")
    before = set(_rows(db, "SELECT lane, seq FROM again"))
    counts: Counter[tuple[int, int]] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for row in _rows(db, _WORDS):
        counts[row[:2]], sizes[row[:2]] = row[2:]
    again = []
    for lane, seq, waiting, old in _waiting(db):
        counts[lane, WAITING] += 1
        sizes[lane, WAITING] += waiting
        if old:
            again.append((lane, seq))
    db.execute("DELETE FROM again")
    db.executemany("INSERT INTO again VALUES (?, ?)", again)
    db.execute("DELETE FROM counter")
    rows = [(lane, what, counts[lane, what], sizes[lane, what]) for lane in _LANES for what in range(-1, 9)]
    db.executemany("INSERT INTO counter VALUES (?, ?, ?, ?)", rows)
    passed_over = len(set(again) - before)
    books.event("reindexed", (), f"{passed_over} packets that were passed over wait again: {why}")


_LANES = [int(lane) for lane in Lane]
_WORDS = (
    f"SELECT lane, coalesce(status, {NO_WORD}), count(*), sum(size) FROM packet "
    "WHERE status IS NOT NULL OR seq NOT IN (SELECT seq FROM aside) GROUP BY 1, 2"
)


def _waiting(db: apsw.Connection) -> Iterator[tuple[int, int, int, bool]]:
    """Lane, seq and waiting bytes of each packet that waits, and whether it was taken up before."""
    cursors, underway, large = lane_cursors(db), _underway(db), _large(db)
    found: Any = db.execute(
        "SELECT lane, seq, size FROM packet WHERE status IS NULL AND seq NOT IN (SELECT seq FROM aside) "
        "ORDER BY seq"
    )
    for lane, seq, size in found:
        old = seq <= cursors[lane]
        if size > BATCHED_PACKET_BYTES_MAX:
            waiting = large.get(seq, size)
        else:
            waiting = 0 if old and contains(underway, seq) else size
        if waiting:
            yield lane, seq, waiting, old


def _underway(db: apsw.Connection) -> Ranges:
    """Seqs of small packets that are claimed; frames whose row does not read are forgotten."""
    seqs: list[tuple[int, int]] = []
    for session, n, text in _rows(db, "SELECT session, n, seqs FROM sent WHERE start IS NULL"):
        try:
            seqs += ranges_of(text)
        except (TypeError, ValueError):
            db.execute("DELETE FROM sent WHERE session = ? AND n = ?", (session, n))
    return merge(seqs)


def _large(db: apsw.Connection) -> dict[int, int]:
    """Waiting bytes of large packets that were begun; those whose row does not read begin anew."""
    found: dict[int, int] = {}
    sizes = "SELECT l.seq, l.covered, l.waiting, p.size FROM large l LEFT JOIN packet p USING(seq)"
    for seq, covered, waiting, size in _rows(db, sizes):
        try:
            ranges_of(covered)
            ranges = ranges_of(waiting)
            whole = size is not None and not any(stop > size for _, stop in ranges)
        except (TypeError, ValueError):
            whole = False
        if whole:
            found[seq] = total(ranges)
        else:
            db.execute("DELETE FROM large WHERE seq = ?", (seq,))
    return found


def _rows(db: apsw.Connection, query: str) -> list[Any]:
    return db.execute(query).fetchall()
