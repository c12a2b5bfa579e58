"""Steps 4 and 6, for bundles: what the ledger knows of a bundle's packets and keys. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_packets import reasons_of
from pipeline.adapters.ledger_tables import EPOCH, PACKET, REGION, REGION_KEY
from schemas.feed import FactGroup, digests_hash
from schemas.ranges import Ranges, from_numbers
from schemas.verdicts import Status

#: Packets that one look is about at most; fact groups of one answer, and about how many bytes they take.
SPAN_A_LOOK = 4_000
GROUPS_MAX, GROUPS_BYTES_MAX = 1_000, 128 * 1024
_GROUP_BYTES = 64


class HeldPacket(NamedTuple):
    """A packet that the ledger knows: its digest (empty where it was refused), and whether it was refused."""

    digest: bytes
    refused: bool


class LedgerBundles:
    """Of the SQLite file or URL of a ledger that is there; raises `NotFound` otherwise, or `StoreError`."""

    def __init__(self, where: Path | str) -> None:
        self._store = open_store(where, look_only=True)

    def close(self) -> None:
        """Let go of every connection."""
        self._store.close()

    def held(self, region: str, epoch: str, seqs: Ranges) -> dict[int, HeldPacket]:
        """What is known of these packets; those that are not known are missing."""
        found: dict[int, HeldPacket] = {}
        with self._store.read() as connection:
            number = _epoch_id(connection, region, epoch)
            for start, stop in () if number is None else _looks(seqs):
                rows = connection.execute(
                    select(PACKET.c.seq, PACKET.c.digest, PACKET.c.status).where(
                        PACKET.c.epoch_id == number, PACKET.c.seq >= start, PACKET.c.seq < stop
                    )
                )
                for seq, digest, status in rows:
                    found[seq] = HeldPacket(digest, status == Status.REFUSED)
        return found

    def key_word(self, key_id: bytes) -> str:
        """What became of a key: `good`, `retired`, `revoked`, or empty where it was never bound."""
        with self._store.read() as connection:
            row = connection.execute(select(REGION_KEY).where(REGION_KEY.c.key_id == key_id)).one_or_none()
        if row is None:
            return ""
        return "revoked" if row.revoked_ms is not None else "good" if row.retired_ms is None else "retired"

    def facts_of(self, region: str, epoch: str, seqs: Ranges) -> Iterator[tuple[int, tuple[FactGroup, ...]]]:
        """What the center says now of those packets that it knows, in groups, each look with the number up to
        which nothing later is said of them."""
        for start, stop in _looks(seqs):
            with self._store.read() as connection:
                top = (
                    connection.execute(select(REGION.c.facts_no).where(REGION.c.code == region)).scalar() or 0
                )
                number = _epoch_id(connection, region, epoch)
                groups = [] if number is None else _groups(connection, epoch, number, start, stop)
            for some in _frames(groups):
                yield top, some


def _epoch_id(connection: Connection, region: str, epoch: str) -> int | None:
    named = select(EPOCH.c.id).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
    found: int | None = connection.execute(named).scalar()
    return found


def _groups(connection: Connection, epoch: str, number: int, start: int, stop: int) -> list[FactGroup]:
    rows: Any = connection.execute(
        select(PACKET.c.status, PACKET.c.reasons, PACKET.c.seq, PACKET.c.digest)
        .where(PACKET.c.epoch_id == number, PACKET.c.seq >= start, PACKET.c.seq < stop)
        .order_by(PACKET.c.seq)
    )
    listed: dict[tuple[int, str], list[tuple[int, bytes]]] = {}
    for status, reasons, seq, digest in rows:
        listed.setdefault((status, reasons), []).append((seq, digest))
    return [
        FactGroup(
            epoch,
            Status(status),
            reasons_of(reasons),
            from_numbers(seq for seq, _ in packets),
            b"" if status == Status.REFUSED else digests_hash(digest for _, digest in packets),
        )
        for (status, reasons), packets in listed.items()
    ]


def _frames(groups: Sequence[FactGroup]) -> Iterator[tuple[FactGroup, ...]]:
    """As many groups at a time as a frame of facts takes."""
    some: list[FactGroup] = []
    bytes_left = GROUPS_BYTES_MAX
    for group in groups:
        bytes_left -= _GROUP_BYTES + sum(len(code) + 4 * len(detail) for code, detail in group.reasons)
        bytes_left -= 6 * len(group.seqs)
        if some and (bytes_left < 0 or len(some) >= GROUPS_MAX):
            yield tuple(some)
            some, bytes_left = [], GROUPS_BYTES_MAX
        some.append(group)
    if some:
        yield tuple(some)


def _looks(seqs: Ranges) -> Iterator[tuple[int, int]]:
    """The ranges in spans of a bounded length; neighbours that lie close together share one."""
    at: tuple[int, int] | None = None
    for begin, end in seqs:
        for start in range(begin, end, SPAN_A_LOOK):
            stop = min(end, start + SPAN_A_LOOK)
            if at is not None and stop - at[0] <= SPAN_A_LOOK:
                at = (at[0], stop)
                continue
            if at is not None:
                yield at
            at = (start, stop)
    if at is not None:
        yield at
