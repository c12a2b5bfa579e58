"""Step 2: the outbox as a reconciliation sees it: what the center has said of its packets, and repairs.

What is compared are packets of which the center has said something, of the current epoch and of earlier ones.
A repair looks again, in its own transaction, whether the packet still is what was compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters import outbox_settle, outbox_suspect
from pipeline.adapters.outbox_layout import DROPPED, FILE_NAME, LAYOUT
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.sqlite import Database
from pipeline.region.reconcile import OurPacket
from schemas.asks import HeldPacket
from schemas.compare import DAY_MS, PacketsDigest, bucket_of, packets_digest
from schemas.feed import FactGroup, digests_hash
from schemas.ranges import Ranges, from_numbers, numbers
from schemas.verdicts import Status

_STATUSES = 8


class OutboxCompare:
    """Beside whoever writes the outbox; see `pipeline.region.comparing.OurPackets`."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox

    def epochs(self) -> list[tuple[str, int]]:
        """The epochs of which there are packets that the center has spoken of, the current one first, each
        with the seq above its highest."""
        db = self._outbox.connection
        found = [(self._outbox.epoch, self._outbox.highest_seq() + 1)]
        rows: Any = db.execute(
            "SELECT epoch, max(seq) + 1 FROM past WHERE status IS NOT NULL GROUP BY epoch "
            "ORDER BY max(id) DESC"
        )
        found += [(str(epoch), int(stop)) for epoch, stop in rows]
        return [(epoch, stop) for epoch, stop in found if stop > 1]

    def settled_to(self) -> int:
        """The position up to which facts are settled."""
        return self._outbox.settled_to()

    # --- pipeline.region.comparing.OurPackets ---------------------------------------------------

    def digests(self, epoch: str, bounds: Sequence[int]) -> list[PacketsDigest]:
        """See the port."""
        table, of = self._table(epoch)
        db = self._outbox.connection
        return [
            packets_digest(
                db.execute(
                    f"SELECT seq, status, digest FROM {table} WHERE {of} AND seq >= ? AND seq < ? "
                    "AND status IS NOT NULL ORDER BY seq",
                    (start, stop),
                )
            )
            for start, stop in pairwise(bounds)
        ]

    def by_day(self, epoch: str, days: Sequence[int], stop: int) -> list[list[int]]:
        """See the port."""
        table, of = self._table(epoch)
        counts = [[0] * _STATUSES for _ in range(len(days) + 1)]
        rows: Any = self._outbox.connection.execute(
            f"SELECT (at_ms - ((at_ms % ?1) + ?1) % ?1) / ?1, status, count(*) FROM {table} "
            f"WHERE {of} AND seq < ?2 AND status IS NOT NULL GROUP BY 1, 2",
            (DAY_MS, stop),
        )
        for day, status, n in rows:
            if 1 <= status <= _STATUSES:
                counts[bucket_of(days, day, status)][status - 1] += n
        return counts

    def packets(self, epoch: str, ranges: Ranges) -> dict[int, OurPacket]:
        """See the port."""
        table, of = self._table(epoch)
        past = table == "past"
        pruned = "0" if past else "coalesce(pruned_ms, 0)"
        found: dict[int, OurPacket] = {}
        for start, stop in ranges:
            rows: Any = self._outbox.connection.execute(
                f"SELECT seq, status, fact_no, digest, {pruned} FROM {table} "
                f"WHERE {of} AND seq >= ? AND seq < ? ORDER BY seq",
                (start, stop),
            )
            for seq, status, fact_no, digest, gone in rows:
                word = None if status is None else Status(status)
                found[seq] = OurPacket(seq, word, fact_no, digest, gone != 0, past, gone == DROPPED)
        return found

    def _table(self, epoch: str) -> tuple[str, str]:
        if epoch == self._outbox.epoch:
            return "packet", "1"
        return "past", f"epoch = '{epoch}'"

    # --- repairs --------------------------------------------------------------------------------

    def send_again(self, packets: Iterable[OurPacket], now_ms: int) -> list[int]:
        """The center lacks these packets, whatever it said: they wait again. Returns the seqs of those of
        which its word is still the same."""
        with self._outbox._write(now_ms) as (db, books):
            rows = _unchanged(db, packets)
            seqs = outbox_settle.forget_word(db, books, rows)
            if seqs:
                books.event("sent again", seqs, "reconciled: the center lacks them")
            return list(numbers(seqs))

    def settle(self, differing: Iterable[tuple[HeldPacket, OurPacket]], now_ms: int) -> list[int]:
        """The center's word on these packets, exactly: what stood there is replaced, whatever its position.
        Returns the seqs of those of which nothing was said meanwhile."""
        differing = list(differing)
        groups: dict[tuple[Status, int], list[HeldPacket]] = defaultdict(list)
        with self._outbox._write(now_ms) as (db, books):
            rows = _unchanged(db, (ours for _, ours in differing))
            same = {row.seq: row.digest for row in rows}
            for theirs, _ in differing:
                if theirs.seq in same:
                    groups[theirs.status, theirs.fact_no].append(theirs)
                    db.execute(
                        "UPDATE packet SET fact_no = ?1 - 1 WHERE seq = ?2 AND fact_no >= ?1",
                        (theirs.fact_no, theirs.seq),
                    )
            to = outbox_settle.settled_to(db)
            for (status, fact_no), held in sorted(groups.items()):
                seqs = from_numbers(one.seq for one in held)
                told = b"" if status is Status.REFUSED else digests_hash(same[one.seq] for one in held)
                group = FactGroup(self._outbox.epoch, status, (), seqs, told)
                outbox_settle.settle(db, books, self._outbox.epoch, [(fact_no, group)], to)
            return sorted(same)

    def suspect(self, seqs: Ranges, now_ms: int) -> None:
        """The center holds other contents under these seqs: nothing is sent until that is resolved."""
        with self._outbox._write(now_ms) as (db, books):
            if outbox_suspect.note(db, books, seqs, "reconciled: the center has other contents"):
                books.tally("forks")


def _unchanged(db: apsw.Connection, packets: Iterable[OurPacket]) -> list[outbox_settle._Row]:
    """The rows of packets of which the word is still the one that was compared, rising."""
    found = []
    for one in sorted(packets):
        rows = outbox_settle._rows(db, ((one.seq, one.seq + 1),))
        found += [row for row in rows if (row.status, row.fact_no) == (one.status, one.fact_no)]
    return found


def began_anew_ms(folder: Path) -> int | None:
    """When this outbox last began a new epoch (`None`: it is in its first), so that what was said to the one
    before it is to be looked at again."""
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    try:
        began = database.rows(
            "SELECT began_ms FROM epoch ORDER BY n DESC LIMIT 2", (), lambda row: int(row[0])
        )
        return began[0] if len(began) == 2 else None
    finally:
        database.close()
