"""Step 2: what the center was told to exist before it can be sent: the outbox's table `announced`.

A row is there from when the packet is announced until its receipt is settled, or until an ack says that the
ledger does not know of it. A refused packet keeps it: its contents are not at the center.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_books import Books
from pipeline.adapters.sqlite import Database
from pipeline.adapters.sqlite_errors import REBUILD
from pipeline.errors import StoreDamaged
from schemas.announcement import NIK_BYTES, Announcement
from schemas.lanes import Lane
from schemas.ranges import Ranges, contains, from_numbers
from schemas.verdicts import Status

_COLUMNS = "a.seq, p.lane, p.nik, p.size, CAST(p.digest AS BLOB), p.at_ms"
_NOT_TOLD = "a.seq NOT IN (SELECT seq FROM announced WHERE lane = ?1)"
_AGAIN = (
    f"SELECT {_COLUMNS} FROM (SELECT seq FROM again WHERE lane = ?1 ORDER BY seq LIMIT -1 OFFSET ?2) a "
    f"CROSS JOIN packet p ON p.seq = a.seq WHERE {_NOT_TOLD} ORDER BY a.seq LIMIT ?3"
)
_FIRST_NEW = (
    "SELECT seq FROM packet INDEXED BY packet_lane WHERE lane = ?1 "
    "AND seq > (SELECT cursor FROM lane WHERE lane = ?1) ORDER BY seq LIMIT 1 OFFSET ?2"
)
_NEW = (
    f"SELECT {_COLUMNS} FROM packet a INDEXED BY packet_lane JOIN packet p ON p.seq = a.seq "
    "WHERE a.lane = ?1 AND a.seq >= ?2 AND p.status IS NULL"
)
_NEW_BEHIND = f"{_NEW} ORDER BY a.seq LIMIT ?3"
_NEW_NOT_TOLD = f"{_NEW} AND {_NOT_TOLD} ORDER BY a.seq LIMIT ?3"
_LAST_TOLD = "SELECT seq FROM announced WHERE lane = ?1 ORDER BY seq DESC LIMIT 1"
#: Packets that may be announced as far as the center's word goes: no word, or refused.
_NO_RECEIPT = f"(status IS NULL OR status = {int(Status.REFUSED)})"


class LaneBacklog(NamedTuple):
    """What waits in a lane: packets, and bytes not yet claimed. `told`: announced packets without receipt."""

    packets: int
    bytes: int
    told: int


class OutboxAnnounced:
    """See `pipeline.region.announcing.ToldStore`. `write` begins one of the outbox's transactions."""

    def __init__(
        self,
        database: Database,
        write: Callable[[int | None], AbstractContextManager[tuple[apsw.Connection, Books]]],
    ) -> None:
        self._database, self._write = database, write

    def backlog(self) -> dict[Lane, LaneBacklog]:
        """What waits in each lane, from the counters."""
        with self._database.read() as db:
            told = told_by_lane(db)
            waiting = _rows(db, "SELECT lane, packets, bytes FROM counter WHERE what = -1")
        return {Lane(lane): LaneBacklog(packets, size, told.get(lane, 0)) for lane, packets, size in waiting}

    def untold(self, lane: Lane, skip: int, limit: int) -> list[tuple[int, Announcement]]:
        """At most `limit` packets that wait in `lane` behind the first `skip` and are not announced, by seq.

        What lies behind the last that is announced is looked at first: where that is enough, nothing else is.
        Raises `StoreDamaged` where what leads to the packets leads to one of another lane.
        """
        with self._database.read() as db:
            again = int(db.execute("SELECT count(*) FROM again WHERE lane = ?", (lane,)).get or 0)
            first = db.execute(_FIRST_NEW, (lane, max(0, skip - again))).get
            found: list[Any] = []
            if first is not None:
                behind = max(int(first), int(db.execute(_LAST_TOLD, (lane,)).get or 0) + 1)
                found = _rows(db, _NEW_BEHIND, (lane, behind, limit))
            if len(found) < limit:
                found = _rows(db, _AGAIN, (lane, skip, limit))
                if first is not None:
                    found += _rows(db, _NEW_NOT_TOLD, (lane, first, limit))
            rows = {seq: _said_of(lane, seq, *row) for seq, *row in found}
        return sorted(rows.items())[:limit]

    def tell(self, lane: Lane, seqs: Sequence[int], now_ms: int) -> None:
        """These go to be announced now."""
        with self._write(now_ms) as (db, books):
            db.executemany("INSERT OR IGNORE INTO announced VALUES (?, ?)", [(seq, lane) for seq in seqs])
            books.event("announced", from_numbers(seqs))

    def restate(self, start: int, stop: int, known: Ranges, keep: Ranges) -> tuple[int, int]:
        """Of `[start, stop)` the ledger knows exactly `known`; of `keep` it could not speak yet. Returns how
        many count as not announced now, and how many as announced, that did not before."""
        with self._write(None) as (db, _):
            lost, learned = _changes(db, start, stop, known, keep)
            db.executemany("DELETE FROM announced WHERE seq = ?", [(seq,) for seq in lost])
            db.executemany("INSERT INTO announced VALUES (?, ?)", learned)
        return len(lost), len(learned)


def told_by_lane(db: apsw.Connection) -> dict[int, int]:
    """Announced packets without a receipt, by lane."""
    return dict(_rows(db, "SELECT lane, count(*) FROM announced GROUP BY lane"))


def _changes(
    db: apsw.Connection, start: int, stop: int, known: Ranges, keep: Ranges
) -> tuple[list[int], list[tuple[int, int]]]:
    """Seqs that the ledger does not know, and (seq, lane) of those that it knows and we did not."""
    told = _rows(db, "SELECT seq FROM announced WHERE seq >= ? AND seq < ?", (start, stop))
    held = {seq for (seq,) in told}
    lost = [seq for seq in sorted(held) if not contains(known, seq) and not contains(keep, seq)]
    learned = [
        row
        for first, last in known
        for row in _rows(
            db,
            f"SELECT seq, lane FROM packet WHERE seq >= ? AND seq < ? AND {_NO_RECEIPT}",
            (max(first, start), min(last, stop)),
        )
        if row[0] not in held
    ]
    return lost, learned


def _said_of(
    wanted: Lane, seq: int, lane: int, nik: int, size: int, digest: bytes, at_ms: int
) -> Announcement:
    """What is said of a packet, of which the index or the table `again` said that it waits in `wanted`."""
    if lane != wanted:
        raise StoreDamaged(
            f"what leads to the packets of lane {int(wanted)} is damaged (at {seq}). {REBUILD}"
        )
    return _announcement(nik, size, digest, at_ms)


def _announcement(nik: int, size: int, digest: bytes, at_ms: int) -> Announcement:
    return Announcement(nik.to_bytes(NIK_BYTES, "big", signed=True), size, digest, at_ms)


def _rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    return db.execute(query, values).fetchall()
