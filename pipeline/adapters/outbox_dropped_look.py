"""Inspection of the outbox: the packets that a person gave up, and which are dead."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.outbox_layout import DROPPED
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.put_away import FOLDER_NAME
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.ranges import Ranges, from_numbers
from schemas.verdicts import Status


class Dropped(NamedTuple):
    """A packet that was given up: when, by whom, and why. `whole`: what was put away is what was enqueued."""

    packet: PacketId
    at_ms: int
    who: str
    reason: str
    whole: bool

    def sentence(self) -> str:
        """In words."""
        return f"dropped by {self.who}" + (f": {self.reason}" if self.reason else "")


def file_name(packet: PacketId) -> str:
    """What the file of a dropped packet's bytes is called."""
    return f"{packet}.packet"


def file_of(folder: Path, packet: PacketId) -> Path:
    """Where a dropped packet's bytes were put."""
    return folder / FOLDER_NAME / file_name(packet)


def dropped_of(outbox: OutboxReader, packet: PacketId) -> Dropped | None:
    """Who gave the packet up, and why; `None` where nobody did."""
    found = outbox._database.rows(
        "SELECT at_ms, who, reason, whole FROM dropped WHERE epoch = ? AND seq = ?",
        (packet.epoch, packet.seq),
        lambda row: Dropped(packet, row[0], row[1], row[2], bool(row[3])),
    )
    return found[0] if found else None


def dropped(outbox: OutboxReader, limit: int) -> list[Dropped]:
    """The newest `limit` packets that were given up, the last one first."""
    region = outbox.meta().region
    return outbox._database.rows(
        "SELECT epoch, seq, at_ms, who, reason, whole FROM dropped ORDER BY at_ms DESC, seq DESC LIMIT ?",
        (limit,),
        lambda row: Dropped(PacketId(region, row[0], row[1]), row[2], row[3], row[4], bool(row[5])),
    )


def refused_seqs(outbox: OutboxReader, lane: Lane | None) -> Ranges:
    """The seqs of all packets of this epoch (of that lane) that the center refused and nobody gave up."""
    rows = outbox._database.rows(
        f"SELECT seq FROM packet WHERE status = {int(Status.REFUSED)} AND pruned_ms IS NOT {DROPPED} "
        "AND (?1 IS NULL OR lane = ?1) ORDER BY seq",
        (None if lane is None else int(lane),),
        lambda row: int(row[0]),
    )
    return from_numbers(rows)
