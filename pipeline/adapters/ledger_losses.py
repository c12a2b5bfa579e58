"""Steps 4 to 6, to look at: the loss list, read-only: packets of epochs that are over which never came.

An epoch is over when its region speaks under a later one: nothing of it is sent any more, but for what a
mirror or a courier brings. Of its seqs, from 1 to the highest that was ever heard of, those are lost that are
not received, do not go by a newer name (`was`), and did not come under an older one. Of those that were
announced it is known who they are; the others are gaps, and listed as ranges.

Losses have an order and each a *position*: all epochs that are over, one after the other, oldest first, each
as long as its highest seq. Where counts say that nothing is lost, nothing else is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import ColumnElement, Connection, exists, func, select

from pipeline.adapters.ledger_announced import is_over
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_losses_page import CAME_BEFORE, HERE, OverEpoch, read_page
from pipeline.adapters.ledger_shelf import LedgerShelf
from pipeline.adapters.ledger_tables import ANNOUNCED, EPOCH, PACKET, REGION, SETTING, TALLY, WAS
from schemas.asks import PAYLOAD_BYTES_MAX
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.limits import INTEGER_MAX
from schemas.losses import LOSS_BYTES, LOSSES_A_PAYLOAD, Loss, Why, pack_losses
from schemas.packet import Packet
from schemas.verdicts import Status

#: The version of the ledger from which on it is known how far an epoch had got.
_SINCE_VERSION = 4
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
            return losses_count(connection, region)

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
        packets = losses_count(connection, region) if at == 0 else 0
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
        if start <= epoch.highest and (start > 1 or _lost(connection, [epoch])):
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


def over(connection: Connection, region: str) -> list[OverEpoch]:
    """The region's epochs that are over and had any packet, oldest first; none in a ledger that was not
    opened since there are loss lists."""
    if not there_are(connection):
        return []
    # A refusal alone is no sign that there was such a packet: nobody could read what came under that number.
    received = select(PACKET.c.seq).where(PACKET.c.epoch_id == EPOCH.c.id, HERE)
    announced = select(ANNOUNCED.c.seq).where(ANNOUNCED.c.epoch_id == EPOCH.c.id)
    tops = [
        received.order_by(PACKET.c.seq.desc()).limit(1).scalar_subquery(),
        announced.order_by(ANNOUNCED.c.seq.desc()).limit(1).scalar_subquery(),
    ]
    rows = connection.execute(
        select(EPOCH.c.id, EPOCH.c.epoch, EPOCH.c.last_ms, EPOCH.c.highest_seq, *tops)
        .where(EPOCH.c.region == region, is_over())
        .order_by(EPOCH.c.ord, EPOCH.c.id)
    )
    # What lies behind the last seq must have a number too.
    tops_of = ((row, min(INTEGER_MAX - 1, max(n or 0 for n in row[3:]))) for row in rows)
    found = [OverEpoch(row[0], row[1], top, row[2]) for row, top in tops_of]
    return [epoch for epoch in found if epoch.highest]


def losses_counts(connection: Connection) -> dict[str, int]:
    """How many packets each region lost; regions that lost none are left out."""
    regions = connection.execute(select(EPOCH.c.region).where(is_over()).distinct()).scalars().all()
    found = {region: losses_count(connection, region) for region in sorted(regions)}
    return {region: n for region, n in found.items() if n}


def losses_count(connection: Connection, region: str) -> int:
    """How many packets that region lost. Cheap: of received packets only those of the region's epochs are
    counted that are over, or only the others, whichever are fewer."""
    return _lost(connection, over(connection, region), region)


def _lost(connection: Connection, epochs: Sequence[OverEpoch], region: str | None = None) -> int:
    """How many packets of these epochs are lost; of `region`: they are all of its epochs that are over."""
    highest = sum(epoch.highest for epoch in epochs)
    if not highest:
        return 0
    ids = [epoch.id for epoch in epochs]
    received = None if region is None else _received_by_rest(connection, region, ids, highest)
    if received is None:
        received = _received(connection, PACKET.c.epoch_id.in_(ids))
    named = sum(_named(connection, epoch) for epoch in epochs)
    return highest - received - named - sum(_came_before(connection, epoch) for epoch in epochs)


def _received(connection: Connection, *where: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(PACKET).where(HERE, *where)
    return int(connection.execute(counted).scalar_one())


def _received_by_rest(connection: Connection, region: str, ids: Sequence[int], highest: int) -> int | None:
    """What the region's other epochs leave of all that it was received of it; `None`: they are the larger."""
    current = connection.execute(select(REGION.c.highest_seq).where(REGION.c.code == region)).scalar() or 0
    if current > highest:
        return None
    all_ = select(func.sum(TALLY.c.n)).where(TALLY.c.region == region, TALLY.c.status != int(Status.REFUSED))
    others = select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.id.not_in(ids))
    rest = _received(connection, PACKET.c.epoch_id.in_(connection.execute(others).scalars().all()))
    return int(connection.execute(all_).scalar() or 0) - rest


def _named(connection: Connection, epoch: OverEpoch) -> int:
    """Packets that go by a newer name and are not here under this one."""
    here = exists().where(PACKET.c.epoch_id == WAS.c.old_epoch_id, PACKET.c.seq == WAS.c.old_seq, HERE)
    counted = select(func.count()).select_from(WAS)
    counted = counted.where(WAS.c.old_epoch_id == epoch.id, WAS.c.old_seq <= epoch.highest, ~here)
    return int(connection.execute(counted).scalar_one())


def _came_before(connection: Connection, epoch: OverEpoch) -> int:
    """Packets that came under an older name, not under this one, and do not go by a newer one."""
    here = exists().where(PACKET.c.epoch_id == WAS.c.epoch_id, PACKET.c.seq == WAS.c.seq, HERE)
    newer = WAS.alias()
    led_on = exists().where(newer.c.old_epoch_id == WAS.c.epoch_id, newer.c.old_seq == WAS.c.seq)
    counted = select(func.count(WAS.c.seq.distinct())).where(
        WAS.c.epoch_id == epoch.id, WAS.c.seq <= epoch.highest, CAME_BEFORE, ~here, ~led_on
    )
    return int(connection.execute(counted).scalar_one())


def there_are(connection: Connection) -> bool:
    """Whether the ledger was opened since there are loss lists."""
    version = select(SETTING.c.value).where(SETTING.c.name == "schema")
    return int(connection.execute(version).scalar() or 0) >= _SINCE_VERSION
