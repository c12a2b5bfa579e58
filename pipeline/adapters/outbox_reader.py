"""Inspection of the outbox, read-only: how much waits, since when, and the history of one packet.

Every number comes from counters that the writers keep; nothing here grows with the backlog, except
`events_of` (which looks through the events that are kept).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters.outbox_aside import is_aside
from pipeline.adapters.outbox_books import ranges_of
from pipeline.adapters.outbox_bytes import read_heads
from pipeline.adapters.outbox_claims import in_flight, large_of, waits
from pipeline.adapters.outbox_counts import Amount as Amount
from pipeline.adapters.outbox_counts import LaneCounts as LaneCounts
from pipeline.adapters.outbox_counts import read_counts
from pipeline.adapters.outbox_found import Aside as Aside
from pipeline.adapters.outbox_found import Event as Event
from pipeline.adapters.outbox_found import Found as Found
from pipeline.adapters.outbox_found import Meta as Meta
from pipeline.adapters.outbox_found import Moved as Moved
from pipeline.adapters.outbox_found import Rate as Rate
from pipeline.adapters.outbox_intake import nik_number
from pipeline.adapters.outbox_layout import DROPPED, FILE_NAME, LAYOUT
from pipeline.adapters.outbox_queue import events_of, queue_before
from pipeline.adapters.outbox_renumbered import names_before
from pipeline.adapters.outbox_settle import settled_to
from pipeline.adapters.outbox_suspect import in_doubt
from pipeline.adapters.sqlite import Database
from pipeline.lifecycle import Place, state
from pipeline.ports import Sent
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX
from schemas.ranges import total
from schemas.verdicts import Reason, Status

_FOUND = "seq, lane, kind, size, digest, at_ms, status, fact_no, reasons"

_ASIDE = (
    f"SELECT {_FOUND}, since_ms, why FROM (SELECT seq, at_ms AS since_ms, why FROM aside) "
    f"JOIN packet USING(seq) WHERE pruned_ms IS NOT {DROPPED} ORDER BY seq LIMIT ?"
)
_PAST_ASIDE = (
    f"SELECT {_FOUND}, now_seq, epoch FROM past WHERE status IS NULL AND now_seq IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM dropped d WHERE d.epoch = past.epoch AND d.seq = past.seq) "
    "ORDER BY id LIMIT ?"
)
_DAMAGED_BEFORE = "its stored bytes are damaged: it did not go on into the next epoch"


class OutboxReader:
    """Opened beside whoever writes; takes no lock. Raises `NotFound` (no outbox there) or `StoreError`."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
        self._database.db  # noqa: B018  # say at once if it is not there

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def meta(self) -> Meta:
        """The outbox itself."""
        with self._database.read() as db:
            held = {str(key): value for key, value in _rows(db.execute("SELECT key, value FROM meta"))}
            epochs = tuple(str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n"))
            tallies = {str(what): int(n) for what, n in _rows(db.execute("SELECT what, n FROM tally"))}
            highest = int(db.execute("SELECT max(seq) FROM packet").get or 0)
            doubt = in_doubt(db)
            made_ms, settled = int(held["made_ms"]), int(held["settled_to"])
            return Meta(held["region"], epochs[-1], epochs, made_ms, highest, settled, tallies, doubt)

    def counts(self) -> dict[Lane, LaneCounts]:
        """How much there is of each lane, by what the center said of it."""
        with self._database.read() as db:
            return read_counts(db)

    def aside(self, limit: int = 1_000) -> list[Aside]:
        """The first `limit` packets that are damaged and cannot be sent, earlier epochs first."""
        meta = self.meta()
        with self._database.read() as db:
            old = _rows(db.execute(_PAST_ASIDE, (limit,)))
            rows = _rows(db.execute(_ASIDE, (limit - len(old),)))
            found = [Aside(_past(row[:-1], row[-1], meta), 0, _DAMAGED_BEFORE) for row in old]
            return found + [Aside(_held(db, row[:-2], meta), row[-2], row[-1]) for row in rows]

    def oldest(self, lane: Lane) -> int | None:
        """When the oldest packet of the lane without a receipt was enqueued (`at_ms`), not sent yet
        or on its way; `None`: there is none."""
        with self._database.read() as db:
            again = db.execute(
                "SELECT at_ms FROM again a JOIN packet p USING(seq) WHERE a.lane = ? ORDER BY seq LIMIT 1",
                (lane,),
            ).get
            new = db.execute(
                "SELECT at_ms FROM packet INDEXED BY packet_lane WHERE lane = ?1 AND status IS NULL "
                "AND seq > (SELECT cursor FROM lane WHERE lane = ?1) ORDER BY seq LIMIT 1",
                (lane,),
            ).get
            sent = db.execute(  # as many rows as there are frames under way: the window bounds them
                "SELECT at_ms FROM packet WHERE seq = (SELECT min(first) FROM sent WHERE lane = ?)", (lane,)
            ).get
        found = [int(at) for at in (again, new, sent) if at is not None]
        return min(found, default=None)

    def rates(self, since_minute: int) -> list[Rate]:
        """What moved from `since_minute` on (minutes since 1970), oldest first; at most 48 hours are kept."""
        return self._database.rows(
            "SELECT minute, lane, what, packets, bytes FROM rate WHERE minute >= ? ORDER BY minute",
            (since_minute,),
            lambda row: Rate(row[0], Lane(row[1]), *row[2:]),
        )

    def find(self, packet: PacketId) -> Found | None:
        """The packet of that identity, also of an earlier epoch of this outbox."""
        meta = self.meta()
        if packet.region != meta.region:
            return None
        if packet.epoch == meta.epoch:
            found = self._all(f"SELECT {_FOUND} FROM packet WHERE seq = ?", (packet.seq,), meta)
            return found[0] if found else None
        found = self._database.rows(
            f"SELECT {_FOUND}, now_seq FROM past WHERE epoch = ? AND seq = ?",
            (packet.epoch, packet.seq),
            lambda row: _past(row, packet.epoch, meta),
        )
        return found[0] if found else None

    def names_before(self, packet: PacketId) -> list[PacketId]:
        """What that packet was called in earlier epochs of this outbox, oldest first."""
        with self._database.read() as db:
            found = names_before(db, packet.epoch, packet.seq)
        return [PacketId(packet.region, epoch, seq) for epoch, seq in found]

    def find_by_nik_hash(self, nik_hash: bytes) -> list[Found]:
        """The packets about one citizen (`schemas.nik.nik_hash`), oldest first, earlier epochs first. Only 8
        bytes of the hash are kept: whose they are, `head` knows."""
        meta, number = self.meta(), nik_number(nik_hash)
        old = self._database.rows(
            f"SELECT {_FOUND}, now_seq, epoch FROM past WHERE nik = ? ORDER BY id",
            (number,),
            lambda row: _past(row[:-1], row[-1], meta),
        )
        return old + self._all(f"SELECT {_FOUND} FROM packet WHERE nik = ? ORDER BY seq", (number,), meta)

    def head(self, seq: int) -> bytes | None:
        """Length and head of the stored bytes of a packet of this epoch; `None` if it is not here."""
        with self._database.read() as db:
            return read_heads(db, (seq,)).get(seq)

    def dead(self, limit: int) -> list[Found]:
        """The first `limit` packets that the center refused, by seq."""
        meta = self.meta()
        dead = f"status = {int(Status.REFUSED)} AND pruned_ms IS NOT {DROPPED}"
        query = f"SELECT {_FOUND} FROM packet WHERE {dead} ORDER BY seq LIMIT ?"
        return self._all(query, (limit,), meta)

    def place_of(self, seq: int) -> Place | None:
        """Where the bytes of a packet of this epoch are; `None` if there is no such packet."""
        with self._database.read() as db:
            return _place_of(db, seq)

    def moved(self, since_minute: int) -> list[Moved]:
        """The sums of `rates` by lane and what it was."""
        return self._database.rows(
            "SELECT lane, what, sum(packets), sum(bytes), count(*) FROM rate WHERE minute >= ? GROUP BY 1, 2",
            (since_minute,),
            lambda row: Moved(Lane(row[0]), *row[1:]),
        )

    def before(self, lane: Lane, seq: int) -> Amount:
        """What waits in `lane` and goes before packet `seq` of this epoch, which waits there too."""
        with self._database.read() as db:
            return queue_before(db, lane, seq)

    def events_of(self, seq: int, epoch: str | None = None) -> list[Event]:
        """What happened to a packet of this epoch (or of that one), oldest first, as far as it is kept."""
        with self._database.read() as db:
            rows = events_of(db, seq, epoch)
        return [_event(row) for row in rows]

    def events(self, after: int = 0, limit: int = 1_000) -> list[Event]:
        """Events of an id above `after`, oldest first."""
        return self._database.rows(
            "SELECT id, at_ms, what, ranges, detail FROM event WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            _event,
        )

    def sent_frames(self) -> list[Sent]:
        """Every frame on its way, oldest entry first."""
        with self._database.read() as db:
            return in_flight(db)

    def settled_to(self) -> int:
        """The position up to which the center's facts are settled here."""
        with self._database.read() as db:
            return settled_to(db)

    def _all(self, query: str, values: tuple[Any, ...], meta: Meta) -> list[Found]:
        with self._database.read() as db:
            return [_held(db, row, meta) for row in _rows(db.execute(query, values))]


def _rows(found: apsw.Cursor) -> list[Any]:
    return found.fetchall()


def _place_of(db: apsw.Connection, seq: int) -> Place | None:
    row: Any = db.execute("SELECT lane, size, status FROM packet WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return None
    lane, size, status = row
    if status is not None:
        return Place.IN_STREAM
    if is_aside(db, seq):
        return Place.WAITING
    whole = waits(db, lane, seq)
    if size <= BATCHED_PACKET_BYTES_MAX:
        return Place.WAITING if whole else Place.IN_STREAM
    waiting = total(large_of(db, seq, size, waits=whole)[1])
    if waiting == 0:
        return Place.IN_STREAM
    return Place.WAITING if waiting == size else Place.PARTLY_IN_STREAM


def _held(db: apsw.Connection, row: Any, meta: Meta) -> Found:
    return _as_found(row, PacketId(meta.region, meta.epoch, row[0]), _place_of(db, row[0]), None)


def _as_found(row: Any, identity: PacketId, place: Place | None, now: PacketId | None) -> Found:
    _, lane, kind, size, digest, at_ms, status, fact_no, reasons = row[:9]
    word = None if status is None else Status(status)
    said = tuple(Reason(code, detail) for code, detail in json.loads(reasons or "[]"))
    shown, at = state(Place.WAITING if place is None else place, word), None if word is None else fact_no
    return Found(identity, Lane(lane), kind, size, digest, at_ms, word, at, said, place, shown, now)


def _past(row: Any, epoch: str, meta: Meta) -> Found:
    following = meta.epochs[meta.epochs.index(epoch) + 1]
    now = None if row[9] is None else PacketId(meta.region, following, row[9])
    return _as_found(row, PacketId(meta.region, epoch, row[0]), None, now)


def _event(row: Any) -> Event:
    number, at_ms, what, ranges, detail = row
    return Event(number, at_ms, what, ranges_of(ranges), detail)
