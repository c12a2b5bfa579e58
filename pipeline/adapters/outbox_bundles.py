"""Step 2, for a bundle: packets of the outbox to read out, by lane and seq. It looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_bytes import read_span
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.adapters.sqlite_errors import REBUILD
from pipeline.errors import StoreDamaged, StoreError
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX

#: Rows that one look takes, so that a file of any size holds few of them (and small bodies) in memory.
ROWS_A_LOOK = 256


class Choice(NamedTuple):
    """Which packets: those of `lanes` without a receipt, or with `everything` all that are still here whole;
    with `since_ms` only those that were recorded from then on."""

    lanes: tuple[Lane, ...] = tuple(Lane)
    everything: bool = False
    since_ms: int | None = None


class Chosen(NamedTuple):
    """A packet: `stored` is `None` where it is large (then `OutboxBundles.part` reads it), or missing. Nobody
    has compared it with `size` and `digest` yet."""

    seq: int
    lane: Lane
    size: int
    digest: bytes
    upload: int | None
    stored: bytes | None


class Amount(NamedTuple):
    """So many packets, and bytes of their stored form."""

    packets: int
    bytes: int


class OutboxBundles:
    """Opened beside whoever writes; takes no lock. Raises `NotFound` (no outbox there) or `StoreError`."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
        with self._database.read() as db:
            self.region = str(db.execute("SELECT value FROM meta WHERE key = 'region'").get)
            self.epoch = _epoch(db)
            self.epochs = frozenset(str(row[0]) for row in db.execute("SELECT epoch FROM epoch"))

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def amount(self, choice: Choice) -> Amount:
        """How much that is now."""
        marks = ",".join("?" * len(choice.lanes))
        where, values = _where(choice)
        with self._read() as db:
            row: Any = db.execute(
                f"SELECT count(*), coalesce(sum(size), 0) FROM packet p WHERE lane IN ({marks}){where}",
                (*choice.lanes, *values),
            ).fetchone()
        return Amount(*row)

    def left_out(self) -> dict[str, int]:
        """Packets that no choice takes: `pruned` (their attachments are deleted after the verdict, or they
        were dropped), `damaged` (their bytes are), `suspect` (the center may hold others under theirs)."""
        with self._read() as db:
            return {
                "pruned": int(db.execute("SELECT count(*) FROM packet WHERE pruned_ms IS NOT NULL").get),
                "damaged": int(
                    db.execute(
                        "SELECT count(*) FROM aside JOIN packet USING(seq) WHERE pruned_ms IS NULL"
                    ).get
                ),
                "suspect": int(
                    db.execute(
                        "SELECT count(*) FROM packet p WHERE EXISTS "
                        "(SELECT 1 FROM suspect s WHERE p.seq >= s.first AND p.seq < s.stop)"
                    ).get
                ),
            }

    def chosen(self, choice: Choice, lane: Lane) -> Iterator[Chosen]:
        """The packets of one lane, rising; what comes meanwhile is found too. The index only says which seqs
        come next; raises `StoreDamaged` where they do not rise, or lead to a packet of another lane."""
        where, values = _where(choice)
        after = 0
        while True:
            with self._read() as db:
                rows: Sequence[Any] = db.execute(
                    "SELECT a.seq, p.lane, p.size, CAST(p.digest AS BLOB), p.upload, "
                    f"CASE WHEN p.size <= {BATCHED_PACKET_BYTES_MAX} THEN CAST(b.stored AS BLOB) END "
                    "FROM packet a INDEXED BY packet_lane JOIN packet p ON p.seq = a.seq "
                    "LEFT JOIN body b ON b.seq = a.seq "
                    f"WHERE a.lane = ? AND a.seq > ?{where} ORDER BY a.seq LIMIT {ROWS_A_LOOK}",
                    (lane, after, *values),
                ).fetchall()
            for seq, number, size, digest, upload, stored in rows:
                if number != lane or seq <= after:
                    raise StoreDamaged(
                        f"the index of the packets of lane {int(lane)} is damaged (at {seq}). {REBUILD}"
                    )
                after = seq
                yield Chosen(seq, lane, size, digest, upload, stored)
            if len(rows) < ROWS_A_LOOK:
                return

    def part(self, one: Chosen, start: int, stop: int) -> bytes:
        """The stored bytes `[start, stop)`; raises `StoreDamaged` where they are not all there."""
        with self._read() as db:
            return read_span(db, one.seq, one.upload, start, stop)

    @contextmanager
    def _read(self) -> Iterator[apsw.Connection]:
        """One consistent look, in the epoch in which the reading began."""
        with self._database.read() as db:
            if _epoch(db) != self.epoch:
                raise StoreError(
                    "the outbox began a new epoch meanwhile, and its packets have other numbers: run it again"
                )
            yield db


def _epoch(db: apsw.Connection) -> str:
    return str(db.execute("SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1").get)


def _where(choice: Choice) -> tuple[str, tuple[int, ...]]:
    text = (
        " AND p.pruned_ms IS NULL AND NOT EXISTS (SELECT 1 FROM aside a WHERE a.seq = p.seq)"
        " AND NOT EXISTS (SELECT 1 FROM suspect s WHERE p.seq >= s.first AND p.seq < s.stop)"
    )
    if not choice.everything:
        text += " AND p.status IS NULL"
    if choice.since_ms is None:
        return text, ()
    return text + " AND p.at_ms >= ?", (choice.since_ms,)
