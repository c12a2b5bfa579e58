"""Steps 4 to 6, to look at: the loss list, read-only: packets of epochs that are over which never came.

An epoch is over when its region speaks under a later one: nothing of it is sent any more, but for what a
mirror or a courier brings. Of its seqs, from 1 to the highest that was ever heard of, those are lost that are
not received, do not go by a newer name (`was`), and did not come under an older one. Of those that were
announced it is known who they are; the others are gaps, and listed as ranges.

Losses have an order and each a *position*: all epochs that are over, one after the other, oldest first, each
as long as its highest seq. Where counts say that nothing is lost, nothing else is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, select

from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_losses_count import losses_counts, lost_of, over
from pipeline.adapters.ledger_losses_page import HERE, OverEpoch, read_page
from pipeline.adapters.ledger_shelf import LedgerShelf
from pipeline.adapters.ledger_tables import EPOCH, PACKET
from schemas.asks import PAYLOAD_BYTES_MAX
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.limits import INTEGER_MAX
from schemas.losses import LOSS_BYTES, LOSSES_A_PAYLOAD, Loss, Why, pack_losses
from schemas.packet import Packet

_HEADS_MAX = 16


class LedgerLosses(LedgerShelf):
    """The part of a ledger's reader that knows what is lost. Each method is one read."""

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """Of the SQLite file or URL of a ledger that is there; raises `NotFound` otherwise."""
        return cls(open_store(where, look_only=True))

    @classmethod
    def of(cls, reader: LedgerShelf) -> Self:
        """Beside another reader, over the same store."""
        return cls(reader._store)

    def losses(self, region: str, limit: int | None = None) -> list[Loss]:
        """What that region lost, in order, the first `limit` entries (a range is one)."""
        found: list[Loss] = []
        with self._store.read() as connection:
            for _, loss in losses(connection, region):
                if limit is not None and len(found) >= limit:
                    break
                found.append(loss)
        return found

    def losses_counts(self) -> dict[str, int]:
        """How many packets each region lost; regions that lost none are left out. Cheap."""
        with self._store.read() as connection:
            return losses_counts(connection)

    def losses_count(self, region: str) -> int:
        """How many packets that region lost. Cheap."""
        with self._store.read() as connection:
            return losses_counts(connection, region).get(region, 0)

    def heads_of(self, region: str, nik: bytes) -> list[Packet]:
        """What that region's packets about a citizen say (8 bytes of the hash of the NIK; two citizens may
        share them), the newest first, some of them at most."""
        key = int.from_bytes(nik, "big", signed=True)
        chosen = (
            select(EPOCH.c.epoch, PACKET.c.seq)
            .join(EPOCH, EPOCH.c.id == PACKET.c.epoch_id)
            .where(PACKET.c.nik_key == key, PACKET.c.region == region, HERE)
            .order_by(PACKET.c.received_ms.desc())
            .limit(_HEADS_MAX)
        )
        with self._store.read() as connection:
            names = [PacketId(region, row.epoch, row.seq) for row in connection.execute(chosen)]
        return [head for head in map(self._readable, names) if head is not None]

    def _readable(self, packet: PacketId) -> Packet | None:
        try:
            return self.head(packet)
        except SchemaError:  # its bytes are damaged: others may say it
            return None

    def over(self, region: str) -> list[OverEpoch]:
        """The region's epochs that are over, oldest first."""
        with self._store.read() as connection:
            return over(connection, region)


def answer(reader: LedgerShelf, region: str, args: bytes, at: int) -> tuple[bytes, int, bool]:
    """The answer to the ask `losses` from position `at` on: a payload, where that ends, and whether it is
    the last (`schemas.losses`)."""
    del args
    listed: list[Loss] = []
    to, size = at, 0
    store = reader._store
    with store.read() as connection:
        packets = losses_counts(connection, region).get(region, 0) if at == 0 else 0
        if at > 0 or packets:
            for stop, loss in losses(connection, region, at):
                size += LOSS_BYTES + len(loss.digest)
                if stop > INTEGER_MAX:
                    break
                if len(listed) == LOSSES_A_PAYLOAD or size > PAYLOAD_BYTES_MAX:
                    return pack_losses(listed, packets), to, False
                listed.append(loss)
                to = stop
    return pack_losses(listed, packets), to, True


def losses(connection: Connection, region: str, at: int = 0) -> Iterator[tuple[int, Loss]]:
    """What is lost behind position `at`, in order, each with the position where it ends."""
    base = 0
    for epoch in over(connection, region):
        start = max(1, at - base + 1)
        if start <= epoch.highest and (start > 1 or lost_of(connection, epoch)):
            for loss in _joined(_paged(connection, epoch, start)):
                yield base + loss.seq + loss.packets - 1, loss
        base += epoch.highest


def _paged(connection: Connection, epoch: OverEpoch, start: int) -> Iterator[Loss]:
    while start <= epoch.highest:
        page = read_page(connection, epoch, start)
        yield from page.losses
        start = page.stop


def _joined(found: Iterator[Loss]) -> Iterator[Loss]:
    """With ranges in one that the end of a page cut in two."""
    before: Loss | None = None
    for loss in found:
        if before is not None:
            if loss.why is before.why is Why.NEVER_ANNOUNCED and loss.seq == before.seq + before.packets:
                before = before._replace(packets=before.packets + loss.packets, until_ms=loss.until_ms)
                continue
            yield before
        before = loss
    if before is not None:
        yield before
