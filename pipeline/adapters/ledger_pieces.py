"""Step 4: large packets, put together from chunks that come in any order, in any sizes, more than once.

Only what is new of a chunk is stored, so the pieces of a packet never overlap and stand for exactly the
ranges that the ledger acknowledges. Covered from end to end, the packet is read through once: head, then the
SHA-256 over all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, bindparam, delete, select

from pipeline.adapters.ledger_engine import Statement, upsert
from pipeline.adapters.ledger_tables import ASSEMBLING, PIECE
from pipeline.center.reading import ChunkOf, check_whole, reason_of
from schemas.errors import SchemaError
from schemas.limits import RANGES_MAX
from schemas.packet import Packet, head_bytes, read_head
from schemas.ranges import Ranges, covers, from_wire, merge, missing, to_wire
from schemas.verdicts import Reason

#: Pieces read in one query: at most 2 MiB in memory.
_PIECES_A_READ = 8
#: So many times a packet may come out with another digest before it is refused.
FAILED_MAX = 2

_INSERT = Statement(
    PIECE.insert().values({name: bindparam(name) for name in ("epoch_id", "seq", "start", "data")}),
    ("epoch_id", "seq", "start", "data"),
)


@dataclass
class Assembly:
    """A large packet of which some bytes are here. `failed`: how often it came out with a wrong digest;
    `last_ms`: when the last chunk of it came."""

    epoch_id: int
    seq: int
    size: int
    digest: bytes
    lane: int
    ranges: Ranges
    failed: int
    last_ms: int


@dataclass(frozen=True)
class Complete:
    """All of it is there and its digest is right."""

    packet: Packet


@dataclass(frozen=True)
class Incomplete:
    """More must come. `restated`: everything was discarded, since it came out with a wrong digest."""

    restated: bool = False


@dataclass(frozen=True)
class NotAPacket:
    """All of it is there, and it will never be a packet."""

    reason: Reason


Assembled: TypeAlias = Complete | Incomplete | NotAPacket


def load(connection: Connection, epoch_id: int, seq: int) -> Assembly | None:
    """What is known of an incomplete packet."""
    row = connection.execute(
        select(ASSEMBLING).where(ASSEMBLING.c.epoch_id == epoch_id, ASSEMBLING.c.seq == seq)
    ).one_or_none()
    if row is None:
        return None
    return Assembly(
        epoch_id,
        seq,
        row.size,
        row.digest,
        row.lane,
        from_wire(json.loads(row.ranges)),
        row.failed,
        row.last_ms,
    )


def add(
    connection: Connection, held: Assembly | None, epoch_id: int, chunk: ChunkOf, now_ms: int
) -> tuple[Assembly, int]:
    """Store what is new of a chunk; returns what is held then (not yet written down: see `finish`), and how
    many bytes of the chunk were held before.

    A chunk that names another digest or size than what is held begins anew: nothing was promised of that yet.
    """
    if held is not None and (held.digest, held.size) != (chunk.digest, chunk.size):
        drop(connection, epoch_id, chunk.seq)
        held = None
    if held is None:
        held = Assembly(epoch_id, chunk.seq, chunk.size, chunk.digest, int(chunk.lane), (), 0, now_ms)
    end = chunk.offset + len(chunk.data)
    new = [(max(start, chunk.offset), min(stop, end)) for start, stop in missing(held.ranges, held.size)]
    rows = [
        (epoch_id, chunk.seq, start, chunk.data[start - chunk.offset : stop - chunk.offset])
        for start, stop in new
        if start < stop
    ]
    _INSERT.many(connection, rows)
    held.ranges = merge((*held.ranges, (chunk.offset, end)))
    held.last_ms = now_ms
    return held, len(chunk.data) - sum(len(data) for _, _, _, data in rows)


def finish(connection: Connection, held: Assembly) -> Assembled:
    """Read the packet through if it is complete, and write down how it stands."""
    outcome: Assembled = Incomplete()
    if len(held.ranges) > RANGES_MAX:
        held.ranges, outcome = (), Incomplete(restated=True)
    elif covers(held.ranges, (0, held.size)):
        outcome = _read_through(connection, held)
    if isinstance(outcome, Incomplete):
        if outcome.restated:
            drop(connection, held.epoch_id, held.seq)
        _write(connection, held)
    else:
        gone = delete(ASSEMBLING).where(ASSEMBLING.c.epoch_id == held.epoch_id, ASSEMBLING.c.seq == held.seq)
        connection.execute(gone)
    if isinstance(outcome, NotAPacket):
        drop(connection, held.epoch_id, held.seq)
    return outcome


def drop(connection: Connection, epoch_id: int, seq: int) -> None:
    """Discard every piece of a packet, and that it was being put together."""
    for table in (PIECE, ASSEMBLING):
        connection.execute(delete(table).where(table.c.epoch_id == epoch_id, table.c.seq == seq))


def read(connection: Connection, epoch_id: int, seq: int, start: int = 0) -> Iterator[bytes]:
    """The stored bytes of a large packet from the piece that begins at `start` on, piece by piece."""
    at = start
    while True:
        rows = connection.execute(
            select(PIECE.c.start, PIECE.c.data)
            .where(PIECE.c.epoch_id == epoch_id, PIECE.c.seq == seq, PIECE.c.start >= at)
            .order_by(PIECE.c.start)
            .limit(_PIECES_A_READ)
        ).all()
        for row in rows:
            yield bytes(row.data)
        if len(rows) < _PIECES_A_READ:
            return
        at = rows[-1].start + 1


def read_prefix(connection: Connection, epoch_id: int, seq: int) -> bytes:
    """Length and head of a large packet; raises `InvalidPacket` if they are none."""
    begin = b""
    for data in read(connection, epoch_id, seq):
        begin += data
        if len(begin) >= 4 and len(begin) >= head_bytes(begin):
            break
    return begin[: head_bytes(begin)]


def _read_through(connection: Connection, held: Assembly) -> Assembled:
    hashing = hashlib.sha256()
    for data in read(connection, held.epoch_id, held.seq):
        hashing.update(data)
    if hashing.digest() != held.digest:
        held.ranges, held.failed = (), held.failed + 1
        if held.failed >= FAILED_MAX:
            return NotAPacket(Reason("digest_differs"))
        return Incomplete(restated=True)
    try:
        prefix = read_prefix(connection, held.epoch_id, held.seq)
        packet = read_head(prefix)
        check_whole(held.size, len(prefix), packet)
    except SchemaError as why:
        return NotAPacket(reason_of(why, "invalid_packet"))
    return Complete(packet)


def _write(connection: Connection, held: Assembly) -> None:
    values = {
        "size": held.size,
        "digest": held.digest,
        "lane": held.lane,
        "ranges": json.dumps(to_wire(held.ranges)),
        "failed": held.failed,
        "last_ms": held.last_ms,
    }
    connection.execute(
        upsert(connection, ASSEMBLING)
        .values(epoch_id=held.epoch_id, seq=held.seq, **values)
        .on_conflict_do_update(index_elements=[ASSEMBLING.c.epoch_id, ASSEMBLING.c.seq], set_=values)
    )
