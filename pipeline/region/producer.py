"""Steps 1 and 2: what other programs use to hand packets in: three lines of Python.

    from pipeline.region import open_outbox
    outbox = open_outbox("DATA")
    packet_id = outbox.enqueue({"kind": "enrolment", "payload": {"nik": "...", "nama": "..."}})

When `enqueue` returns, the packet is on the disk. Nothing is published: the transfer sees that the outbox has
changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import SETTINGS_NAME, open_folder
from pipeline.adapters.outbox_draft import Draft, IdUsed, Outcome, Refused, Stored
from pipeline.adapters.outbox_sqlite import DEFAULT_SETTINGS, OutboxSettings, SqliteOutbox
from pipeline.ports import Clock
from pipeline.region.attachments import DEFAULT_LIMITS, PackingLimits
from pipeline.region.mirroring import mirror_of
from pipeline.region.packing import draft_of
from schemas.errors import InvalidPacket
from schemas.identity import PacketId

#: Packets and bytes of one transaction: an operator's enqueue waits while one holds the lock (10 ms).
BATCH_PACKETS = 500
BATCH_BYTES = 1024 * 1024

#: What can be handed over in place of an object: why it cannot be read.
Said = Mapping[str, Any] | InvalidPacket


class Producer:
    """A region's outbox, seen by who hands packets in. May be shared by threads and kept over a fork."""

    def __init__(
        self, store: SqliteOutbox, limits: PackingLimits = DEFAULT_LIMITS, clock: Clock | None = None
    ) -> None:
        self.store = store
        self.limits = limits
        self._clock: Clock = clock or SystemClock()

    @property
    def region(self) -> str:
        """The region's code, such as `1806`."""
        return self.store.region

    @property
    def epoch(self) -> str:
        """The life of this outbox; it stands in every packet's identity."""
        return self.store.epoch

    def enqueue(
        self, packet: Mapping[str, Any], *, key: str | None = None, folder: str | os.PathLike[str] = "."
    ) -> PacketId:
        """Store one packet and return its identity; it is on the disk by then.

        With a `key` (or an `id` in the object) a packet that was taken under it before is not taken again:
        its identity is returned. Paths of attachments are relative to `folder`. Raises `InvalidPacket` (a
        `ValueError`) naming the field (`code` `id_used`: that key was used for other contents), `DiskFull`,
        or another `StoreError`; then nothing was stored.
        """
        now_ms = self._clock.now_ms()
        draft = draft_of(packet, now_ms, folder=Path(folder), once=False, key=key, limits=self.limits)
        large = draft.stored is None
        outcome = self.store.take_large(draft, now_ms) if large else self.store.take([draft], now_ms)[0]
        if isinstance(outcome, IdUsed):
            raise _id_used(draft, outcome)
        return outcome.id

    def enqueue_many(
        self,
        packets: Iterable[Mapping[str, Any]],
        *,
        once: bool = False,
        folder: str | os.PathLike[str] = ".",
    ) -> list[Outcome]:
        """Store many packets, hundreds to a transaction; one outcome each, in order, and a bad one
        (`Refused`, whose `line` is its place, from 1) stops no other; bad is also one whose `id` was used
        for other contents. With `once` a packet whose contents the outbox holds already is not taken again.
        Raises `DiskFull` or `StoreError`: what came before may be stored, so run it again with `once`."""
        numbered: Iterable[tuple[int, Said]] = enumerate(packets, 1)
        return [one for _, one in self.enqueue_each(numbered, folder=Path(folder), once=once)]

    def enqueue_each(
        self, said: Iterable[tuple[int, Said]], *, folder: Path, once: bool, source: str = ""
    ) -> Iterator[tuple[int, Outcome]]:
        """The same, an outcome as soon as it holds, with the number that came with the object."""
        waiting: list[tuple[int, Draft | Refused]] = []
        size = 0
        for number, one in said:
            draft = self._draft(number, one, folder, once, source)
            if isinstance(draft, Draft) and draft.stored is None:
                yield from self._take(waiting, source)
                yield number, self._take_large(number, draft, source)
                waiting, size = [], 0
                continue
            waiting.append((number, draft))
            size += draft.size if isinstance(draft, Draft) else 0
            if len(waiting) >= BATCH_PACKETS or size >= BATCH_BYTES:
                yield from self._take(waiting, source)
                waiting, size = [], 0
        yield from self._take(waiting, source)

    def close(self) -> None:
        """Close what this thread holds open."""
        self.store.close()

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draft(self, number: int, said: Said, folder: Path, once: bool, source: str) -> Draft | Refused:
        if isinstance(said, InvalidPacket):
            return _refused(number, said, source)
        try:
            return draft_of(said, self._clock.now_ms(), folder=folder, once=once, limits=self.limits)
        except InvalidPacket as why:
            return _refused(number, why, source)

    def _take(self, waiting: list[tuple[int, Draft | Refused]], source: str) -> Iterator[tuple[int, Outcome]]:
        drafts = [one for _, one in waiting if isinstance(one, Draft)]
        taken: Iterator[Stored] = iter(self.store.take(drafts, self._clock.now_ms()) if drafts else ())
        for number, one in waiting:
            yield number, one if isinstance(one, Refused) else _told(number, one, next(taken), source)

    def _take_large(self, number: int, draft: Draft, source: str) -> Outcome:
        try:
            return _told(number, draft, self.store.take_large(draft, self._clock.now_ms()), source)
        except InvalidPacket as why:
            return _refused(number, why, source)


def _refused(number: int, why: InvalidPacket, source: str) -> Refused:
    return Refused(number, why.field or "", str(why), source)


def _told(number: int, draft: Draft, outcome: Stored, source: str) -> Outcome:
    """The outcome as the producer hears it: an id that was used is a refusal as any other."""
    return _refused(number, _id_used(draft, outcome), source) if isinstance(outcome, IdUsed) else outcome


def _id_used(draft: Draft, outcome: IdUsed) -> InvalidPacket:
    assert draft.named is not None
    return InvalidPacket(
        f"id {draft.named.name!r} was used for another packet (seq {outcome.id.seq}): give this one another "
        "id, or leave `id` out",
        code="id_used",
        field="id",
    )


def open_outbox(
    folder: str | os.PathLike[str],
    *,
    settings: OutboxSettings = DEFAULT_SETTINGS,
    limits: PackingLimits = DEFAULT_LIMITS,
    clock: Clock | None = None,
) -> Producer:
    """The outbox in a region's DATA folder, checked: leftovers of dead programs are swept, and a loss of
    acknowledged packets is noticed. Where the folder's settings name a mirror, packets are put there too.
    Raises `NotFound` if there is none, `StoreDamaged`, `StoreError`, `UsageError` for wrong settings."""
    used = clock or SystemClock()
    store = SqliteOutbox(Path(folder), settings)
    if (store.folder / SETTINGS_NAME).is_file():
        store.mirror = mirror_of(open_folder(store.folder), used)
    store.check(used.now_ms())
    return Producer(store, limits, used)
