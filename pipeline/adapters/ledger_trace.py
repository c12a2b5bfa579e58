"""Steps 4 to 6, to look at: by which names a packet goes, and how much of one is here that is not whole."""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlalchemy import and_, select

from pipeline.adapters.ledger_losses import LedgerLosses
from pipeline.adapters.ledger_losses_count import there_are
from pipeline.adapters.ledger_tables import ASSEMBLING, EPOCH, WAS
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.ranges import from_wire, total


class Arriving(NamedTuple):
    """A packet of which only parts are here: its lane, size and digest, and how many bytes are here."""

    id: PacketId
    lane: Lane
    size: int
    digest: bytes
    held: int


class LedgerTrace(LedgerLosses):
    """The part of a ledger's reader that follows packets through the epochs of their region."""

    def names(self, packet: PacketId) -> list[PacketId]:
        """All names by which that packet goes, this one with them, oldest epoch first."""
        with self._store.read() as connection:
            of = and_(EPOCH.c.region == packet.region, EPOCH.c.epoch == packet.epoch)
            number = connection.execute(select(EPOCH.c.id).where(of)).scalar()
            if number is None or not there_are(connection):
                return [packet]
            old = (WAS.c.old_epoch_id == number, WAS.c.old_seq == packet.seq)
            row = connection.execute(select(WAS.c.epoch_id, WAS.c.seq).where(*old)).one_or_none()
            newest = (number, packet.seq) if row is None else (row.epoch_id, row.seq)
            of_newest = (WAS.c.epoch_id == newest[0], WAS.c.seq == newest[1])
            older = connection.execute(select(WAS.c.old_epoch_id, WAS.c.old_seq).where(*of_newest)).all()
            every = {newest, *((one.old_epoch_id, one.old_seq) for one in older)}
            chosen = select(EPOCH.c.id, EPOCH.c.epoch).where(EPOCH.c.id.in_({one for one, _ in every}))
            rows = connection.execute(chosen.order_by(EPOCH.c.ord, EPOCH.c.id)).all()
        return [
            PacketId(packet.region, row.epoch, seq)
            for row in rows
            for seq in sorted(seq for epoch, seq in every if epoch == row.id)
        ]

    def arriving(self, packet: PacketId) -> Arriving | None:
        """What is here of a packet that is not whole."""
        named = and_(EPOCH.c.region == packet.region, EPOCH.c.epoch == packet.epoch)
        chosen = select(ASSEMBLING).join(EPOCH, EPOCH.c.id == ASSEMBLING.c.epoch_id)
        with self._store.read() as connection:
            row = connection.execute(chosen.where(named, ASSEMBLING.c.seq == packet.seq)).one_or_none()
        if row is None:
            return None
        held = total(from_wire(json.loads(row.ranges)))
        return Arriving(packet, Lane(row.lane), row.size, row.digest, held)

    def lost_up_to(self, region: str) -> dict[str, int]:
        """The region's epochs that are over, and the highest seq that was heard of in each."""
        return {one.name: one.highest for one in self.over(region)}
