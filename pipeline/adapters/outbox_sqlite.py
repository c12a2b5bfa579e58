"""Step 2: the region's outbox over SQLite: `pipeline.ports.Outbox`, and the taking in of packets.

The layout is described in `outbox_layout.py`. One object may be used by several threads and after a fork:
each thread of each process opens what it needs for itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters import outbox_claims, outbox_intake, outbox_loss, outbox_settle, outbox_suspect
from pipeline.adapters.disk import Ballast, check_room
from pipeline.adapters.high_water import HighWaterFiles
from pipeline.adapters.outbox_aside import RESTATED_MAX, damage_of_large
from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_bytes import read_known_heads, read_span
from pipeline.adapters.outbox_draft import Draft, Stored, Taken
from pipeline.adapters.outbox_layout import (
    BALLAST_NAME,
    FILE_NAME,
    HIGH_WATER_NAME,
    LAYOUT,
    UPLOADS_LOCK_NAME,
)
from pipeline.adapters.outbox_making import create_outbox as create_outbox
from pipeline.adapters.outbox_mend import Mender
from pipeline.adapters.outbox_retention import OutboxRetention
from pipeline.adapters.outbox_settings import DEFAULT_SETTINGS as DEFAULT_SETTINGS
from pipeline.adapters.outbox_settings import Mirrors
from pipeline.adapters.outbox_settings import OutboxSettings as OutboxSettings
from pipeline.adapters.outbox_suspect import HeldAnnounced, OutboxDoubts
from pipeline.adapters.sqlite import Database
from pipeline.adapters.sqlite_errors import REBUILD
from pipeline.errors import DiskFull, NotFound, StoreDamaged
from pipeline.ports import Batch, Chunk, EntryId, Sent, Settled
from schemas.errors import SchemaError
from schemas.feed import FactGroup
from schemas.identity import check_epoch
from schemas.lanes import Lane
from schemas.ranges import Ranges


class SqliteOutbox:
    """See `pipeline.ports.Outbox` for what push uses; `take` and `take_large` are for producers."""

    def __init__(self, folder: Path, settings: OutboxSettings = DEFAULT_SETTINGS) -> None:
        self.folder = folder
        self.settings = settings
        self.mirror: Mirrors | None = None
        self._database = Database(folder / FILE_NAME, LAYOUT)
        self._lock_path = folder / UPLOADS_LOCK_NAME
        self._ballast = Ballast(folder / BALLAST_NAME, settings.ballast_bytes)
        self._high_water = HighWaterFiles(settings.high_water or folder / HIGH_WATER_NAME)
        self.announced = HeldAnnounced(self._database, self._write)
        self.retention = OutboxRetention(self._database, self._write)
        self.doubts = OutboxDoubts(self._database, self._write, self._began_epoch)
        self._epoch_lock, self._epoch_n = threading.Lock(), 0
        self._restated: Counter[int] = Counter()
        self._mender = Mender()
        with self._database.read() as db:
            self.region = str(db.execute("SELECT value FROM meta WHERE key = 'region'").get)
            self.epoch = ""
            self._follow_epoch(db)

    def check(self, now_ms: int) -> None:
        """What is done once at opening: sweep what dead processes left, notice a lost tail of acknowledged
        packets (then there is doubt about what the center has, with an event), lay out the ballast."""
        outbox_intake.sweep(self._database, self._lock_path)
        said = [self._high_water.read(), None if self.mirror is None else self.mirror.promised(self.epoch)]
        with self._write(now_ms) as (db, books):
            top = outbox_suspect.top_seq(db)
            gone = filter(None, (outbox_loss.find(db, one, top) for one in said))
            lost = max(gone, key=lambda one: one.promised, default=None)
            if lost is not None:
                outbox_loss.count_loss(db, books, lost, self.epoch)
                seqs = lost.seqs if lost.epoch == self.epoch else ((top + 1, top + 2),)
                outbox_suspect.note(db, books, seqs, "enqueued packets are gone: the center may have them")
            highest = int(db.execute("SELECT max(seq) FROM packet").get or 0)
        if lost is not None and self.mirror is not None:
            self.mirror.lost(lost.epoch, lost.seqs)
        if highest or lost is not None:
            self._high_water.raise_to(self.epoch, highest)
        self._ballast.lay(self.settings.low_water_bytes)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()
        self._high_water.close()

    # --- taking packets in --------------------------------------------------------------------------

    def take(self, drafts: Sequence[Draft], now_ms: int) -> list[Stored]:
        """Store drafts that hold their bytes, in one transaction; returns when they are on the disk.

        Raises `DiskFull` (nothing of them is stored) or another `StoreError`."""
        check_room(self.folder, sum(draft.size for draft in drafts), self.settings.low_water_bytes)
        with self._database.write() as db:
            self._follow_epoch(db)
            books = Books(db, now_ms, self.settings.events_max)
            outcomes = outbox_intake.take(db, books, self.region, self.epoch, drafts)
            books.close()
        self._promise(drafts, outcomes)
        return outcomes

    def take_large(self, draft: Draft, now_ms: int) -> Stored:
        """Store a draft whose bytes are streamed: pieces first, each its own transaction, the packet last.

        Raises `InvalidPacket` if its bytes are not those that were hashed, `DiskFull`, or `StoreError`."""
        with self._database.read() as db:
            before = outbox_intake.repeated(db, self.region, self.epoch, draft)
        if before is not None:
            return before
        check_room(self.folder, draft.size, self.settings.low_water_bytes)
        with outbox_intake.uploading(self._lock_path):
            upload = outbox_intake.upload(self._database, draft, now_ms)
            with self._database.write() as db:
                self._follow_epoch(db)
                books = Books(db, now_ms, self.settings.events_max)
                (outcome,) = outbox_intake.take(db, books, self.region, self.epoch, [draft], upload)
                if isinstance(outcome, Taken):
                    db.execute("DELETE FROM upload WHERE id = ?", (upload,))
                books.close()
            if not isinstance(outcome, Taken):
                outbox_intake.discard(self._database, upload)
        self._promise([draft], [outcome])
        return outcome

    # --- pipeline.ports.Outbox ----------------------------------------------------------------------

    def data_version(self) -> int:
        """See the port."""
        return self._database.number("PRAGMA data_version")

    def highest_seq(self) -> int:
        """See the port."""
        return self._database.number("SELECT max(seq) FROM packet", none=0)

    def claim(
        self,
        entry: EntryId,
        lanes: Sequence[Lane],
        batch_bytes_max: int,
        chunk_bytes_max: int,
        now_ms: int,
    ) -> Batch | Chunk | None:
        """See the port. Bounds are bytes."""
        if not outbox_claims.something_waits(self._database, lanes):
            return None

        def attempt() -> Batch | Chunk | None:
            with self._write(now_ms) as (db, books):
                if outbox_suspect.in_doubt(db):
                    return None
                for lane in lanes:
                    claimed = outbox_claims.claim(db, books, entry, lane, batch_bytes_max, chunk_bytes_max)
                    if claimed is not None:
                        return claimed
            return None

        def still_waits() -> bool:
            return outbox_claims.something_waits(self._database, lanes) and not self.doubts.there_are()

        return self._mender.claim(attempt, still_waits, lambda: self._write(now_ms))

    def in_flight(self) -> list[Sent]:
        """See the port; `seqs` are those of which the center has said nothing yet."""
        with self._database.read() as db:
            return outbox_claims.in_flight(db)

    def cover(self, partly: dict[int, Ranges], done: Sequence[EntryId]) -> None:
        """See the port."""
        with self._write(None) as (db, books):
            shrunk = outbox_claims.cover(db, books, partly, done)
        self._restated.update(shrunk)
        for seq in shrunk:
            if self._restated[seq] >= RESTATED_MAX:
                self._verify(seq)

    def requeue(self, lost: Sequence[Sent], now_ms: int) -> int:
        """See the port."""
        with self._write(now_ms) as (db, books):
            return outbox_claims.requeue(db, books, lost)

    def settle(
        self, facts: Sequence[tuple[int, FactGroup]], to: int, now_ms: int, start: int | None = None
    ) -> Settled:
        """See the port. With `start`, the position after which `facts` were read, nothing is done unless that
        is still where the outbox stands: facts that were taken back meanwhile do not come in again."""
        with self._write(now_ms) as (db, books):
            at = outbox_settle.settled_to(db)
            if start is not None and start != at:
                return Settled(at, (), ())
            done = outbox_settle.settle(db, books, self.epoch, facts, to)
            for group in (one for one in done.forks if one.hash):  # a refusal says nothing of contents
                outbox_suspect.note(db, books, group.seqs, "the center has other packets under these numbers")
            return done

    def settled_to(self) -> int:
        """See the port."""
        return self._database.number(outbox_settle.SETTLED_TO)

    def take_back(self, above: int, now_ms: int) -> int:
        """See the port."""
        with self._write(now_ms) as (db, books):
            return outbox_settle.take_back(db, books, above)

    def heads(self, seqs: Iterable[int]) -> dict[int, bytes]:
        """See the port."""
        with self._database.read() as db:
            if self._follow_epoch(db):
                return {}  # the seqs that were meant are of an epoch that is over
            return read_known_heads(db, seqs)

    def give_up_ballast(self) -> None:
        """The disk is full, or nearly: let go of what was held ready, so that what is here can be settled."""
        self._ballast.give_up()

    # --- beyond the port ----------------------------------------------------------------------------

    def retry(self, seqs: Ranges, now_ms: int) -> int:
        """Let those of `seqs` that the center refused wait again; returns how many."""
        with self._write(now_ms) as (db, books):
            return outbox_settle.retry(db, books, seqs)

    def read(self, seq: int, start: int = 0, stop: int | None = None) -> bytes:
        """The stored bytes `[start, stop)` of a packet; raises `NotFound` if there is none of that seq."""
        with self._database.read() as db:
            row = db.execute("SELECT upload, size FROM packet WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                raise NotFound(f"the outbox has no packet {seq}")
            upload, size = row
            return read_span(db, seq, upload, start, size if stop is None else min(stop, size))

    @property
    def connection(self) -> apsw.Connection:
        """This thread's connection (tests look at its settings)."""
        return self._database.db

    # --- inside -------------------------------------------------------------------------------------

    @contextmanager
    def _write(self, now_ms: int | None) -> Iterator[tuple[apsw.Connection, Books]]:
        """A transaction that is not a producer's. If the disk is full the ballast is given up, so that what
        is on its way can still be settled: the next try finds room."""
        try:
            with self._database.write() as db:
                self._follow_epoch(db)
                books = Books(db, now_ms or 0, self.settings.events_max)
                yield db, books
                books.close()
        except DiskFull:
            self._ballast.give_up()
            raise

    def _follow_epoch(self, db: apsw.Connection) -> bool:
        """The epoch as it is now: another process may have begun a new one. Returns whether it is another.
        It never goes back, though another thread may have looked before us and come here after us."""
        row: Any = db.execute("SELECT n, epoch FROM epoch ORDER BY n DESC LIMIT 1").fetchone()
        n, epoch = int(row[0]), _sound(row[1])
        with self._epoch_lock:
            if n <= self._epoch_n:
                return False
            self._epoch_n, self.epoch = n, epoch
        return True

    def _verify(self, seq: int) -> None:
        """The center has thrown the bytes of this large packet away again: are ours whole?"""
        with self._database.read() as db:
            why = damage_of_large(db, seq)
        if why:
            with self._write(None) as (db, books):
                outbox_claims.put_large_aside(db, books, seq, why)

    def _promise(self, drafts: Sequence[Draft], outcomes: Sequence[Stored]) -> None:
        there = self.mirror is not None and self.mirror.keep(drafts, outcomes, self.read)
        taken = [one.id for one in outcomes if isinstance(one, Taken)]
        if taken:  # a packet that lies on the mirror tells by itself how high the seqs went
            self._high_water.raise_to(taken[-1].epoch, taken[-1].seq, sync=not there)

    def _began_epoch(self) -> None:
        with self._database.read() as db:
            self._follow_epoch(db)
        self._high_water.raise_to(self.epoch, self.highest_seq())


def _sound(epoch: object) -> str:
    """What is stored as the epoch, if it can be one."""
    try:
        return check_epoch(str(epoch))
    except SchemaError as why:
        raise StoreDamaged(
            f"the outbox's note of its epoch is damaged on this disk ({why}). {REBUILD}"
        ) from why
