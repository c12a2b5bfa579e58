"""Step 4: the ledger, the center's durable store: one class over the files `ledger_*.py`, each method one
transaction. The layout stands at the top of `ledger_tables.py`.

Any thread may call any method; a process opens its own ledger, after any fork.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select, update

from pipeline.adapters import (
    ledger_announced,
    ledger_backlog,
    ledger_epochs,
    ledger_feed,
    ledger_holds,
    ledger_rebuild,
    ledger_regions,
    ledger_verdicts,
)
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.ledger_books import Books, forget_old_rates
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_feed import Standing
from pipeline.adapters.ledger_forget import DAY_MS, forget_old_events, forget_old_parts
from pipeline.adapters.ledger_packets import Batch
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.ledger_tables import REGION, SETTING
from pipeline.center.back import Stretch
from pipeline.center.behind import Backlog
from pipeline.center.holding import Hold
from pipeline.center.outcomes import Item, Joining, TookIn
from pipeline.center.reading import WantIs
from pipeline.center.validation import Decisions, Work
from pipeline.errors import NotFound, StoreError
from schemas.back import Position
from schemas.feed import FactGroup, RecordChange
from schemas.keys import PublicKey
from schemas.messages import Announced, Join, Since
from schemas.ranges import Ranges

LEDGER_NAME = "ledger.db"
#: The receipt window, unless a region's row or the settings name another.
WINDOW_BYTES = 8 * 1024 * 1024


class SqlLedger:
    """The ledger of a center.

    `where` is the SQLite file (`DATA/ledger.db`) or an SQLAlchemy URL (PostgreSQL by psycopg); it is made
    where it is not there. `window_bytes` is the receipt window of regions that have none of their own.
    Any method raises `StoreError` (or `DiskFull`, `StoreDamaged`, `Unreachable`), and then did nothing.
    """

    def __init__(self, where: Path | str, window_bytes: int = WINDOW_BYTES) -> None:
        self._store = open_store(where)
        self._window_bytes = window_bytes
        self._keys = ledger_regions.Keys(self._store)
        self._forgotten_to = 0
        self.reader = LedgerReader(self._store)

    def close(self) -> None:
        """Let go of every connection."""
        self._store.close()

    # --- regions --------------------------------------------------------------------------------

    def admit(self, region: str, token: bytes, now_ms: int) -> bool:
        """Let a region in under `token` (of which only the hash is kept). False: it was in before; then its
        old key stays good until a new one binds the new token."""
        with self._store.write() as connection:
            return ledger_regions.admit(connection, region, token, now_ms)

    def revoke(self, region: str, now_ms: int) -> bool:
        """Shut a region out until it is admitted again; False if it is not there."""
        with self._store.write() as connection:
            return ledger_regions.revoke(connection, region, now_ms)

    def bind(self, region: str, key: PublicKey, join: Join, now_ms: int) -> Joining:
        """What a machine that shows `key` under the join's token gets to be."""
        with self._store.write() as connection:
            bound = ledger_regions.bind(connection, region, key, join, now_ms)
        self._keys.refresh()
        return bound

    def regions(self) -> tuple[str, ...]:
        """Codes of the regions that are let in, rising."""
        with self._store.read() as connection:
            codes = select(REGION.c.code).where(REGION.c.revoked_ms.is_(None)).order_by(REGION.c.code)
            return tuple(connection.execute(codes).scalars())

    def refresh_keys(self) -> None:
        """Look whether a key changed; `signer_of` answers from memory."""
        self._keys.refresh()

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """The region's key of that id, unless it is revoked (retired ones still verify)."""
        return self._keys.signer_of(key_id)

    def hold(self, region: str, hold: Hold | None, now_ms: int) -> bool:
        """What a person lets that region send (`None`: what all may); False if it is not there."""
        with self._store.write() as connection:
            return ledger_holds.put(connection, region, hold, now_ms)

    def set_window(self, region: str, window_bytes: int | None, hold_s: float = 0.0) -> None:
        """The region's own receipt window (`None`: the center's), and how long it is asked to hold."""
        free = window_bytes is None and not hold_s
        self.hold(region, None if free else Hold(window_bytes, hold_s), 0)

    # --- incarnations ---------------------------------------------------------------------------

    def open_incarnation(self, now_ms: int) -> str:
        """Begin a life of the ledger (at each start of the center, before anything else); returns its id."""
        with self._store.write() as connection:
            forget_old_rates(connection, now_ms)
            return ledger_regions.open_incarnation(connection, now_ms)

    def since_of(self, region: str) -> tuple[Since, ...]:
        """The ledger's lives with the last numbers given out to that region before each, oldest first."""
        with self._store.read() as connection:
            return ledger_regions.since_of(connection, region)

    # --- intake ---------------------------------------------------------------------------------

    def probe(self) -> None:
        """Write something small and durable: raises what the next batch would fail with."""
        with self._store.write() as connection:
            probed = update(SETTING).where(SETTING.c.name == "probe").values(value=secrets.randbits(31))
            connection.execute(probed)

    def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
        """A batch of frames of one region, in one transaction: all of it or nothing.

        `last_session` is the highest session that the broker has seen of it. Items that are joins are passed
        over (`bind`). Raises `BadItem` if one of the items cannot be stored.
        """
        wants = [item.outcome for item in items if isinstance(item.outcome, WantIs)]
        current = self._keys.current_of(region)
        books = Books(region, now_ms)
        with self._store.write() as connection:
            row = connection.execute(
                select(REGION).where(REGION.c.code == region).with_for_update()
            ).one_or_none()
            if row is None:
                raise NotFound(f"region {region} is not admitted: `titian admit {region}`")
            current_id = None if current is None else current.id
            taken, values = ledger_regions.take_wants(connection, books, row, wants, current_id, last_session)
            speaks = values.get("epoch", row.epoch)
            ledger_epochs.place(connection, region, speaks, items, current_id)
            batch = Batch(connection, books)
            batch.take(items)
            facts_no = batch.finish(row.facts_no)
            ledger_announced.note(connection, books, items)
            frame_bytes = sum(len(item.frame) for item in items)
            books.count("bytes", frame_bytes)
            values |= {"facts_no": facts_no, "last_seen_ms": now_ms}
            connection.execute(update(REGION).where(REGION.c.code == region).values(values))
            books.write(connection)
        return TookIn(**batch.taken, bytes=frame_bytes, wants=tuple(taken))

    # --- validation -----------------------------------------------------------------------------

    def unverdicted(self, limit: int, now_ms: int) -> Work:
        """Packets that are due for a verdict, oldest first, with what is known of their citizens."""
        with self._store.read() as connection:
            return ledger_verdicts.unverdicted(connection, limit, now_ms)

    def give_verdicts(self, work: Work, decisions: Decisions, now_ms: int) -> bool:
        """Write decisions; False, and nothing done, if what `work` says is no longer so."""
        try:
            with self._store.write() as connection:
                ledger_verdicts.give_verdicts(connection, work, decisions, now_ms)
        except ledger_verdicts.Moved:
            return False
        return True

    def next_due_ms(self) -> int | None:
        """When the next packet is due for validation (`None`: none waits)."""
        with self._store.read() as connection:
            return ledger_verdicts.next_due_ms(connection)

    def backlog(self, now_ms: int) -> Backlog:
        """How much waits for validation, and how fast it goes."""
        with self._store.read() as connection:
            return ledger_backlog.backlog(connection, now_ms)

    def forget_events(self, days: int, now_ms: int) -> int:
        """Delete events of packets whose final verdict is older than `days`; returns how many went. A bounded
        number at a call: the next one goes on from there."""
        before_ms = now_ms - days * DAY_MS
        gone, self._forgotten_to = forget_old_events(self._store, self._forgotten_to, before_ms)
        return gone

    def forget_parts(self, days: int, now_ms: int) -> int:
        """Discard the parts of packets of which no chunk came for `days`; returns of how many packets. A
        region that still has such a packet sends it whole."""
        return forget_old_parts(self._store, now_ms - days * DAY_MS, now_ms)

    # --- the feed -------------------------------------------------------------------------------

    def standing(self, region: str) -> Standing | None:
        """How the center stands with that region; `None` where it is not admitted."""
        self._keys.refresh()
        with self._store.read() as connection:
            return ledger_feed.standing(connection, region, self._keys, self._window_bytes)

    def told_superseded(self, region: str, instance: str) -> None:
        """An instance that another followed was told so, until it speaks again."""
        with self._store.write() as connection:
            of = update(REGION).where(REGION.c.code == region, REGION.c.superseded == instance)
            connection.execute(of.values(superseded=""))

    def renew_session(self, region: str, session: int, last_session: int) -> int:
        """Grant the same instance a session after `session` (if that is still the one) and after
        `last_session`; returns it."""
        with self._store.write() as connection:
            return ledger_regions.renew_session(connection, region, session, last_session)

    def facts_after(self, region: str, position: int, packets_max: int) -> tuple[tuple[FactGroup, ...], int]:
        """Facts numbered above `position`, grouped, and the number up to which that is all."""
        with self._store.read() as connection:
            return ledger_feed.facts_after(connection, region, position, packets_max)

    def records_after(
        self, region: str, position: int, records_max: int, bytes_max: int, by_reference_epoch: str | None
    ) -> tuple[tuple[RecordChange, ...], int]:
        """The same for records; those whose packet belongs to `by_reference_epoch` come without a head. One
        whose packet cannot be read is left out, and that is written down."""
        with self._store.read() as connection:
            changes, to, unreadable = ledger_feed.records_after(
                connection, region, position, records_max, bytes_max, by_reference_epoch
            )
        if unreadable:
            self.note_unreadable(region, unreadable, SystemClock().now_ms())
        return changes, to

    def way_back(
        self, region: str, at: Position, records_max: int, bytes_max: int, piece_bytes: int, own_epoch: str
    ) -> Stretch:
        """What comes after `at` on a rebuild's way back: see `pipeline.center.back.BackFeed`."""
        with self._store.read() as connection:
            return ledger_rebuild.way_back(
                connection, region, at, records_max, bytes_max, piece_bytes, own_epoch
            )

    def back_left(self, region: str, pass_no: int, floor: int) -> int:
        """How many records of that pass are numbered `floor` or below."""
        with self._store.read() as connection:
            return ledger_rebuild.left(connection, region, pass_no, floor)

    def note_unreadable(self, region: str, packets: Sequence[tuple[int, int]], now_ms: int) -> None:
        """Write down that these packets (epoch's id, seq), which records were made from, cannot be read. A
        disk that is full keeps that from being said, and nothing else from being sent."""
        with suppress(StoreError), self._store.write() as connection:
            ledger_rebuild.note_unreadable(connection, region, packets, now_ms)

    def announced(self, region: str, epoch: str, start: int | None) -> Announced:
        """What is announced of that epoch from seq `start` on and not received, as far as it fits an ack."""
        with self._store.read() as connection:
            return ledger_announced.restated(connection, region, epoch, start)

    def partly(self, region: str, epoch: str) -> dict[int, Ranges]:
        """The byte ranges held of that epoch's incomplete packets."""
        with self._store.read() as connection:
            return ledger_feed.partly(connection, region, epoch)
