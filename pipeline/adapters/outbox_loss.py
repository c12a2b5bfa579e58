"""Step 2: when acknowledged packets are missing from the outbox (a damaged log, a restored backup).

The seqs of the lost ones must never be given out again: another packet under the same identity would be a
fork. So they are in doubt (`outbox_suspect`) until the center has said what it holds, and then a new epoch
begins: what the center has not spoken of, or refused, is numbered anew in it, in the same order; what it has
spoken of, and every old identity, goes to `past` and stays findable. So does what is damaged
(`outbox_aside`) or was given up (`outbox_dropped`), without a new number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from pipeline.adapters.high_water import HighWater
from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_layout import DROPPED
from schemas.identity import new_epoch
from schemas.ranges import Ranges
from schemas.verdicts import Status

#: Of a packet whose contents the center has not, and that was not given up: these go on in the next epoch.
_GOES_ON = (
    f"((p.status IS NULL AND NOT EXISTS (SELECT 1 FROM aside WHERE aside.seq = p.seq)) "
    f"OR (p.status = {int(Status.REFUSED)} AND p.pruned_ms IS NOT {DROPPED}))"
)
_TO_PAST = f"""
INSERT INTO past(epoch, seq, lane, kind, size, digest, key, nik, at_ms, upload, status, fact_no, reasons,
  now_seq, word_ms)
SELECT ?1, seq, lane, kind, size, digest, key, nik, at_ms, upload, status, fact_no, reasons,
  CASE WHEN {_GOES_ON} THEN row_number() OVER (PARTITION BY {_GOES_ON} ORDER BY seq) END,
  CASE WHEN status IS NOT NULL THEN coalesce(final_ms, ?2) END
FROM packet p ORDER BY seq
"""


class Loss(NamedTuple):
    """Packets `held + 1` to `promised` of `epoch` were acknowledged and are not there."""

    epoch: str
    held: int
    promised: int

    @property
    def seqs(self) -> Ranges:
        """Their seqs."""
        return ((self.held + 1, self.promised + 1),)


def find(db: apsw.Connection, said: HighWater | None, top: int) -> Loss | None:
    """What is lost, judged by what the file of the highest seq said before this transaction began. `top`: the
    highest seq that is here or known to be missing."""
    if said is None:
        return None
    epochs = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
    if said.epoch == epochs[-1]:
        return Loss(said.epoch, top, said.seq) if said.seq > top else None
    if said.epoch in epochs:  # a new epoch was begun and the power went before the file knew
        return None
    return Loss(said.epoch, 0, said.seq)  # a backup from before that epoch: all of it is missing


def count_loss(db: apsw.Connection, books: Books, lost: Loss, epoch: str) -> None:
    """Count it, and remember which seqs of `epoch`, the current one, it took: some may be at the center."""
    gone = lost.promised - lost.held
    books.tally("lost", gone)
    books.event("loss", lost.seqs, f"epoch {lost.epoch}: {gone} enqueued packets are gone")
    if lost.epoch == epoch:
        first = read_loss(db)
        held = lost.held if first is None else first.held
        db.execute("INSERT OR REPLACE INTO meta VALUES ('loss', ?)", (f"{epoch} {held} {lost.promised}",))


def read_loss(db: apsw.Connection) -> Loss | None:
    """What was lost of the current epoch, if anything was."""
    said = db.execute("SELECT value FROM meta WHERE key = 'loss'").get
    if said is None:
        return None
    epoch, held, promised = str(said).split()
    return Loss(epoch, int(held), int(promised))


def current_epoch(db: apsw.Connection) -> str:
    """The epoch in which this outbox lives now."""
    return str(db.execute("SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1").get)


def begin_epoch(db: apsw.Connection, books: Books, why: str) -> tuple[str, int]:
    """Begin a new epoch inside the caller's transaction; returns it, and how many packets go on in it."""
    old = current_epoch(db)
    made = new_epoch()
    db.execute("INSERT INTO epoch(epoch, began_ms, why) VALUES (?, ?, ?)", (made, books.now_ms, why))
    db.execute("CREATE INDEX IF NOT EXISTS past_key ON past(key)")  # `repeated` looks there from now on
    db.execute(_TO_PAST, (old, books.now_ms))
    db.execute(
        "INSERT INTO past_body SELECT past.id, stored FROM past JOIN body USING(seq) "
        "WHERE epoch = ? AND now_seq IS NULL",
        (old,),
    )
    for table in ("body", "packet"):
        db.execute(
            f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM past WHERE epoch = ? AND now_seq IS NULL)",
            (old,),
        )
        # rising, and never above where it was: so no row steps on another
        moves = db.execute(
            "SELECT now_seq, seq FROM past WHERE epoch = ? AND now_seq < seq ORDER BY seq", (old,)
        ).fetchall()
        db.executemany(f"UPDATE {table} SET seq = ? WHERE seq = ?", moves)
    for rows in ("again", "large", "sent", "announced", "aside", "suspect", "meta WHERE key = 'loss'"):
        db.execute(f"DELETE FROM {rows}")
    db.execute("UPDATE lane SET cursor = 0")
    recount(db)
    moved = int(db.execute("SELECT count(*) FROM packet").get or 0)
    return made, moved


def recount(db: apsw.Connection) -> None:
    """Set the counters from the rows, where nothing is on its way and every packet without a word waits."""
    db.execute("UPDATE counter SET packets = 0, bytes = 0")
    rows: list[Any] = db.execute(
        "SELECT lane, coalesce(status, 0), count(*), sum(size) FROM packet GROUP BY 1, 2"
    ).fetchall()
    for lane, status, packets, size in rows:
        for what in (status,) if status else (0, -1):
            db.execute(
                "UPDATE counter SET packets = ?, bytes = ? WHERE lane = ? AND what = ?",
                (packets, size, lane, what),
            )
