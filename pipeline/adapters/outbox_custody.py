"""Step 2: what the outbox still answers for: packets of which the center has not said that it has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.adapters.outbox_bytes import read_span
from pipeline.adapters.outbox_layout import DROPPED, FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.errors import NotFound
from pipeline.region.mirror import Kept
from schemas.lanes import Lane
from schemas.ranges import Ranges, total
from schemas.verdicts import Status

_OPEN = f"((status IS NULL OR status = {int(Status.REFUSED)}) AND pruned_ms IS NOT {DROPPED})"
_RECEIVED = f"(status IS NOT NULL AND status != {int(Status.REFUSED)})"


class OutboxCustody:
    """The outbox in `folder`, read-only. Each thread has a connection of its own."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def standing(self) -> tuple[str, int]:
        """The epoch, and the seq of its newest packet (0: none)."""
        with self._database.read() as db:
            epoch = db.execute("SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1").get
            return str(epoch), int(db.execute("SELECT max(seq) FROM packet").get or 0)

    def open_packets(self, after: int, upto: int, limit: int) -> list[Kept]:
        """Packets `(after, upto]` of this epoch without a receipt (refused ones too), at most `limit`."""
        with self._database.read() as db:
            rows: list[Any] = db.execute(
                f"SELECT seq, lane, size, digest FROM packet WHERE seq > ? AND seq <= ? AND {_OPEN} "
                "AND seq NOT IN (SELECT seq FROM aside) ORDER BY seq LIMIT ?",
                (after, upto, limit),
            ).fetchall()
        return [Kept(seq, Lane(lane), size, digest) for seq, lane, size, digest in rows]

    def count_open(self, first: int) -> int:
        """How many packets from `first` on have no receipt."""
        with self._database.read() as db:
            found = db.execute(f"SELECT count(*) FROM packet WHERE seq >= ? AND {_OPEN}", (first,)).get
            return int(found or 0)

    def read(self, seq: int, start: int, stop: int) -> bytes:
        """Stored bytes of a packet; raises `NotFound`, or `StoreDamaged`."""
        with self._database.read() as db:
            row = db.execute("SELECT upload FROM packet WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                raise NotFound(f"the outbox has no packet {seq}")
            return read_span(db, seq, row[0], start, stop)

    def all_received(self, epoch: str, seqs: Ranges) -> bool:
        """Whether the center has each of these packets, or it goes by another number now, or was dropped."""
        with self._database.read() as db:
            current = db.execute("SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1").get == epoch
            here = (
                f"SELECT count(*) FROM packet WHERE seq >= ?1 AND seq < ?2 "
                f"AND ({_RECEIVED} OR pruned_ms IS {DROPPED})"
                if current
                else "SELECT count(*) FROM past WHERE epoch = ?3 AND seq >= ?1 AND seq < ?2 "
                f"AND ({_RECEIVED} OR now_seq IS NOT NULL "
                "OR EXISTS (SELECT 1 FROM dropped d WHERE d.epoch = past.epoch AND d.seq = past.seq))"
            )
            return total(seqs) == sum(
                int(db.execute(here, (start, stop) if current else (start, stop, epoch)).get or 0)
                for start, stop in seqs
            )
