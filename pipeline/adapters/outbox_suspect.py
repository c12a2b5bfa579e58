"""Step 2: seqs that the center may hold with other contents: the table `suspect`, and how the doubt ends.

An old backup of the folder, a copy of it, or a lost end of the outbox: then the center knows packets of this
epoch that are not here, or has others under the numbers that we gave. While any seq stands here nothing is
claimed and nothing announced; new packets get seqs above all of them. What the center holds is asked
(`pipeline.region.forked`): what it has with our digest is settled. If all that was in doubt is ours, that was
it; else the rest goes on in a new epoch (`outbox_loss.begin_epoch`), in the transaction that ends the doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import apsw

from pipeline.adapters.outbox_announced import OutboxAnnounced
from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_loss import begin_epoch, current_epoch, read_loss
from pipeline.adapters.outbox_settle import settle
from pipeline.adapters.sqlite import Database
from schemas.announcement import Announcement
from schemas.feed import FactGroup, digests_hash
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.ranges import Ranges, contains, from_numbers, merge, numbers, total, without
from schemas.verdicts import Status

if TYPE_CHECKING:
    from schemas.asks import HeldPacket

#: Of one question: seqs, and ranges of them (its arguments have 1,024 bytes).
PORTION_SEQS, PORTION_RANGES = 4_000, 60


def suspects(db: apsw.Connection) -> Ranges:
    """The seqs in doubt."""
    return tuple((int(first), int(stop)) for first, stop in _rows(db, "SELECT * FROM suspect ORDER BY first"))


_THERE_ARE = "SELECT EXISTS (SELECT 1 FROM suspect)"
_TOP_SEQ = (
    "SELECT max(coalesce((SELECT max(seq) FROM packet), 0), coalesce((SELECT max(stop) FROM suspect), 1) - 1)"
)


def in_doubt(db: apsw.Connection) -> bool:
    """Whether there are any."""
    return bool(db.execute(_THERE_ARE).get)


def top_seq(db: apsw.Connection) -> int:
    """The highest seq that was given out, here or (as far as is known) where this folder was copied from."""
    return int(_rows(db, _TOP_SEQ)[0][0])


def note(db: apsw.Connection, books: Books, seqs: Ranges, why: str) -> bool:
    """These are in doubt, too; False if they were already."""
    before = suspects(db)
    after = merge((*before, *seqs))
    if after == before:
        return False
    db.execute("DELETE FROM suspect")
    db.executemany("INSERT INTO suspect VALUES (?, ?)", after)
    books.event("in doubt", without(after, before), why)
    return True


def portion(db: apsw.Connection, after: int) -> Ranges:
    """What to ask about next, above the seq `after`: packets without a word, and what is in doubt; `()` when
    all has been asked."""
    open_ = [
        seq
        for (seq,) in _rows(
            db,
            "SELECT seq FROM packet WHERE seq > ? AND status IS NULL ORDER BY seq LIMIT ?",
            (after, PORTION_SEQS),
        )
    ]
    upto = open_[-1] + 1 if len(open_) == PORTION_SEQS else INTEGER_MAX
    doubted = without(suspects(db), ((0, after + 1), (upto, INTEGER_MAX)))
    both = merge((*((seq, seq + 1) for seq in open_), *doubted))[:PORTION_RANGES]
    asked: list[tuple[int, int]] = []
    left = PORTION_SEQS
    for start, stop in both:
        if left:
            asked.append((start, min(stop, start + left)))
            left -= min(stop - start, left)
    return tuple(asked)


def compare(db: apsw.Connection, books: Books, epoch: str, held: Sequence[HeldPacket]) -> Ranges:
    """Settle what the center holds with our digest, each as a fact of its own (what it refused it has not).
    Returns the seqs under which it has what is not ours."""
    facts: list[tuple[int, FactGroup]] = []
    foreign: list[int] = []
    for one in held:
        row = _rows(db, "SELECT digest, status FROM packet WHERE seq = ?", (one.seq,))
        if not row or (one.status is not Status.REFUSED and row[0][0] != one.digest):
            foreign.append(one.seq)
        elif row[0][1] is None and one.status is not Status.REFUSED:
            group = FactGroup(epoch, one.status, (), ((one.seq, one.seq + 1),), digests_hash([row[0][0]]))
            facts.append((one.fact_no, group))
    settle(db, books, epoch, facts, 0)
    return from_numbers(foreign)


def end(db: apsw.Connection, books: Books, foreign: Ranges) -> str:
    """The center has been asked about all; `foreign`: under these seqs it has what is not ours. Returns the
    new epoch, or nothing where it goes on in this one."""
    doubted = suspects(db)
    ours = sum(
        int(db.execute("SELECT count(*) FROM packet WHERE seq >= ? AND seq < ?", span).get or 0)
        for span in doubted
    )
    db.execute("DELETE FROM suspect")
    loss = read_loss(db)
    if not foreign and ours == total(doubted):
        books.event("doubt is over", doubted, "what the center has is ours")
        return ""
    found = sum(contains(loss.seqs, seq) for seq in numbers(foreign)) if loss else 0
    if loss and found:
        books.tally("lost", -found)
    epoch, moved = begin_epoch(db, books, "loss" if loss else "fork")
    books.event(
        "new epoch",
        doubted,
        "this folder was older than what it had promised: a backup was restored, it is a copy, or its end "
        f"was lost. It goes on as epoch {epoch}: {moved} packets that the center has not are numbered anew, "
        f"and under {total(foreign)} numbers it has others"
        + (f" ({found} of them were taken for lost)" if found else ""),
    )
    return epoch


class OutboxDoubts:
    """See `pipeline.region.forked.Doubts`. `write` begins one of the outbox's transactions; `began` is called
    when a new epoch is on the disk."""

    def __init__(
        self,
        database: Database,
        write: Callable[[int | None], AbstractContextManager[tuple[apsw.Connection, Books]]],
        began: Callable[[], None],
    ) -> None:
        self._database, self._write, self._began = database, write, began

    def there_are(self) -> bool:
        """Whether any seq is in doubt."""
        return bool(self._database.number(_THERE_ARE))

    def top_seq(self) -> int:
        """See the function of that name."""
        return self._database.number(_TOP_SEQ)

    def note(self, seqs: Ranges, why: str, now_ms: int) -> None:
        """These are in doubt, too."""
        with self._write(now_ms) as (db, books):
            note(db, books, seqs, why)

    def portion(self, after: int) -> Ranges:
        """What to ask about next, above the seq `after`; `()` when all has been asked."""
        with self._database.read() as db:
            return portion(db, after)

    def compare(self, held: Sequence[HeldPacket], now_ms: int) -> Ranges:
        """Settle what the center holds of our packets; returns the seqs under which it has others."""
        with self._write(now_ms) as (db, books):
            return compare(db, books, current_epoch(db), held)

    def end(self, foreign: Ranges, now_ms: int) -> str:
        """The center has been asked about all. Returns the new epoch, empty where none was needed."""
        with self._write(now_ms) as (db, books):
            begun = end(db, books, foreign)
        if begun:
            self._began()
        return begun


class HeldAnnounced(OutboxAnnounced):
    """Announces nothing while there is doubt: under these numbers the center may know other packets."""

    def untold(self, lane: Lane, skip: int, limit: int) -> list[tuple[int, Announcement]]:
        """See `OutboxAnnounced`."""
        return [] if self._database.number(_THERE_ARE) else super().untold(lane, skip, limit)


def _rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    return db.execute(query, values).fetchall()
