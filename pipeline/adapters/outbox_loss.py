"""Step 2: when acknowledged packets are missing from the outbox (a damaged log, a restored backup).

The seqs of the lost ones must never be given out again: another packet under the same identity would be a
fork. So a new epoch begins. What the center has not spoken of is numbered anew in it, in the same order; what
it has spoken of, and every old identity, goes to `past` and stays findable.
"""

from __future__ import annotations

from typing import NamedTuple

import apsw

from pipeline.adapters.high_water import HighWater
from pipeline.adapters.outbox_books import Books
from schemas.identity import new_epoch


class Loss(NamedTuple):
    """Packets `held + 1` to `promised` of `epoch` were acknowledged and are not there."""

    epoch: str
    held: int
    promised: int


def find(db: apsw.Connection, said: HighWater | None) -> Loss | None:
    """What is lost, judged by what the file of the highest seq said before this transaction began."""
    if said is None:
        return None
    epochs = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
    highest = int(db.execute("SELECT max(seq) FROM packet").get or 0)
    if said.epoch == epochs[-1]:
        return Loss(said.epoch, highest, said.seq) if said.seq > highest else None
    if said.epoch in epochs:  # a new epoch was begun and the power went before the file knew
        return None
    return Loss(said.epoch, 0, said.seq)  # a backup from before that epoch: all of it is missing


def begin_epoch(db: apsw.Connection, books: Books, lost: Loss, now_ms: int) -> str:
    """Begin a new epoch inside the caller's transaction; returns it."""
    old = str(db.execute("SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1").get)
    made = new_epoch()
    db.execute("INSERT INTO epoch(epoch, began_ms, why) VALUES (?, ?, 'loss')", (made, now_ms))
    db.execute(
        "INSERT INTO past SELECT NULL, ?, seq, lane, kind, size, digest, key, nik, at_ms, upload, status, "
        "fact_no, reasons, CASE WHEN status IS NULL THEN "
        "row_number() OVER (PARTITION BY status IS NULL ORDER BY seq) END, NULL FROM packet ORDER BY seq",
        (old,),
    )
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
    for table in ("again", "large", "sent", "announced"):
        db.execute(f"DELETE FROM {table}")
    db.execute("UPDATE lane SET cursor = 0")
    recount(db)
    gone = lost.promised - lost.held
    books.tally("lost", gone)
    books.event(
        "loss", ((lost.held + 1, lost.promised + 1),), f"epoch {lost.epoch}: {gone} enqueued packets are gone"
    )
    return made


def recount(db: apsw.Connection) -> None:
    """Set the counters from the rows, where nothing is on its way and every packet without a word waits."""
    db.execute("UPDATE counter SET packets = 0, bytes = 0")
    for lane, status, packets, size in db.execute(
        "SELECT lane, coalesce(status, 0), count(*), sum(size) FROM packet GROUP BY 1, 2"
    ).fetchall():
        for what in (status,) if status else (0, -1):
            db.execute(
                "UPDATE counter SET packets = ?, bytes = ? WHERE lane = ? AND what = ?",
                (packets, size, lane, what),
            )
