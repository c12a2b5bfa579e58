"""Step 6: the way back of a rebuild, and attachments piece by piece, out of the ledger.

Records are found by their numbers, going down, through the indexes `record_open` (pass 1 and 3) and
`record_number` (pass 2, in which those of pass 1 are passed over without a look at their packets). No query
reads more rows than it is told. A packet whose bytes cannot be read is named and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, literal_column, select

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_leaves import epoch_names, prefix_of
from pipeline.adapters.ledger_tables import BODY, PIECE, RECORD
from pipeline.center.back import Step, Stretch
from schemas.back import CARD_ATTACHMENTS, PASS_OPEN, PASS_PICTURES, PASS_REST, Piece, Position
from schemas.errors import SchemaError
from schemas.feed import RecordChange
from schemas.limits import CHUNK_BYTES_MAX
from schemas.packet import read_head
from schemas.verdicts import Status

#: Bytes of a record beside its head.
RECORD_BYTES = 24
#: Records looked at for attachments in one stretch: most have none, and each head must be read.
PICTURES_A_STRETCH = 1_000

#: As the partial index says it: a plan that is made without the values does not see through a bound one.
_OPEN = RECORD.c.status != literal_column("7")
COLUMNS = [RECORD.c[name] for name in ("record_no", "version", "status", "epoch_id", "seq")]
SOURCE = and_(BODY.c.epoch_id == RECORD.c.epoch_id, BODY.c.seq == RECORD.c.seq)
STATUS = {int(one): one for one in Status}


class Unreadable(Exception):
    """Bytes of a packet that should be here are not."""


def way_back(
    connection: Connection,
    region: str,
    at: Position,
    records_max: int,
    bytes_max: int,
    piece_bytes: int,
    own_epoch: str,
) -> Stretch:
    """What comes after `at` on the way back: see `pipeline.center.back.BackFeed`."""
    if at.pass_no == PASS_PICTURES:
        records_max = min(records_max, PICTURES_A_STRETCH)
    rows = connection.execute(_below(at.pass_no, region, at.floor, records_max)).all()
    names = epoch_names(connection, {row.epoch_id for row in rows})
    if at.pass_no == PASS_PICTURES:
        found = _pictures(connection, rows, names, at, bytes_max, piece_bytes, own_epoch)
    else:
        found = _heads(connection, rows, names, at)
    steps: list[Step] = []
    unreadable: list[tuple[int, int]] = []
    for step, lost in found:
        steps.append(step)
        if lost is not None:
            unreadable.append(lost)
        bytes_max -= step.bytes
        if bytes_max <= 0:
            break
    else:
        down = Position(at.pass_no, rows[-1].record_no - 1) if rows else Position(at.pass_no, 0)
        return Stretch(tuple(steps), down, len(rows) < records_max, tuple(unreadable))
    return Stretch(tuple(steps), steps[-1].to, False, tuple(unreadable))


def left(connection: Connection, region: str, pass_no: int, floor: int) -> int:
    """How many records of that pass are numbered `floor` or below (out of the indexes alone)."""
    below = (
        select(func.count()).select_from(RECORD).where(RECORD.c.region == region, RECORD.c.record_no <= floor)
    )
    waiting = int(connection.execute(below.where(_OPEN)).scalar_one())
    if pass_no != PASS_REST:
        return waiting
    return int(connection.execute(below).scalar_one()) - waiting


def note_unreadable(
    connection: Connection, region: str, packets: Sequence[tuple[int, int]], now_ms: int
) -> None:
    """Count them, and write it into their history."""
    books = Books(region, now_ms)
    books.count("records_unreadable", len(packets))
    for epoch, seq in packets:
        books.event("unreadable", epoch, seq, seq, "its bytes cannot be read: its record is not sent")
    books.write(connection)


def _below(pass_no: int, region: str, floor: int, records_max: int) -> Any:
    """Records numbered `floor` or below, the highest first, with the bodies of those of the pass."""
    source = and_(SOURCE, ~_OPEN) if pass_no == PASS_REST else SOURCE
    chosen = (
        select(*COLUMNS, BODY.c.stored)
        .join_from(RECORD, BODY, source, isouter=True)
        .where(RECORD.c.region == region, RECORD.c.record_no <= floor)
    )
    if pass_no != PASS_REST:
        chosen = chosen.where(_OPEN)
    return chosen.order_by(RECORD.c.record_no.desc()).limit(records_max)


def _heads(
    connection: Connection, rows: Sequence[Any], names: dict[int, str], at: Position
) -> Iterator[tuple[Step, tuple[int, int] | None]]:
    """A step for each record of the pass, and the packet that could not be read for it, if so."""
    printed = int(Status.CARD_PRINTED)
    for number, version, status, epoch, seq, stored in rows:
        if (status == printed) is (at.pass_no == PASS_OPEN):
            continue
        to = Position(at.pass_no, number - 1)
        head = prefix_of(connection, epoch, seq, stored)
        if head is None:
            yield Step(to, 0, 1), (epoch, seq)
        else:
            change = RecordChange(version, STATUS[status], names[epoch], seq, head)
            yield Step(to, RECORD_BYTES + len(head), 1, change), None


def _pictures(
    connection: Connection,
    rows: Sequence[Any],
    names: dict[int, str],
    at: Position,
    bytes_max: int,
    piece_bytes: int,
    own_epoch: str,
) -> Iterator[tuple[Step, tuple[int, int] | None]]:
    """A step for each piece of what a card shows, or for a record that has nothing of it."""
    for number, _, _, epoch, seq, stored in rows:
        done = Position(PASS_PICTURES, number - 1)
        begin = at.at if number == at.floor else 0
        head = None if names[epoch] == own_epoch else prefix_of(connection, epoch, seq, stored)
        if head is None or _has_nothing(head, stored):  # what cannot be read was named in the passes before
            yield Step(done, 0, 1), None
            continue
        source = Source(epoch, names[epoch], seq, head, stored)
        try:
            pieces, whole = cut(connection, source, CARD_ATTACHMENTS, begin, bytes_max, piece_bytes)
        except (Unreadable, SchemaError):
            yield Step(done, 0, 1), (epoch, seq)
            continue
        for place, (reached, piece) in enumerate(pieces, start=1):
            last = whole and place == len(pieces)
            to = done if last else Position(PASS_PICTURES, number, reached)
            yield Step(to, len(piece.data), int(last), piece=piece), None
        if not pieces:
            yield Step(done, 0, 1), None


def _has_nothing(head: bytes, stored: bytes | None) -> bool:
    """Whether a packet has no attachments, at a glance: most have none, and reading a head takes 20 us. The
    list at its end is empty, or ends with a digest; one of an attachment of no bytes ends otherwise."""
    return stored is not None and len(stored) == len(head) and head.endswith(b"\x90")


# --- attachments ----------------------------------------------------------------------------------


class Source(NamedTuple):
    """A packet to cut attachments from: its prefix (length and head), and its body if it is a small one."""

    epoch_id: int
    epoch: str
    seq: int
    prefix: bytes
    stored: bytes | None


def cut(
    connection: Connection,
    source: Source,
    names: Collection[str] | None,
    at: int,
    bytes_max: int,
    piece_bytes: int,
) -> tuple[list[tuple[int, Piece]], bool]:
    """The attachments of those names (`None`: all) from byte `at` of them on, about `bytes_max` bytes (at
    least a piece): each piece with the byte that it reaches, and whether that is the end of them.

    Raises `Unreadable` where the bytes are not there, `SchemaError` for a head that is none.
    """
    out: list[tuple[int, Piece]] = []
    piece_bytes = max(1, min(piece_bytes, CHUNK_BYTES_MAX))
    start, before = len(source.prefix), 0
    for one in read_head(source.prefix, check=False).attachments:
        if names is None or one.name in names:
            for offset in _offsets(one.size, at - before, piece_bytes):
                if out and bytes_max <= 0:
                    return out, False
                stop = min(one.size, offset + piece_bytes)
                data = _bytes_of(connection, source, start + offset, start + stop)
                said = (source.epoch, source.seq, one.name, one.media_type, one.size, one.digest)
                out.append((before + stop, Piece(*said, offset, data)))
                bytes_max -= len(data)
            before += one.size
        start += one.size
    return out, True


def _offsets(size: int, begin: int, piece_bytes: int) -> Iterator[int]:
    """Where the pieces of an attachment begin, from `begin` on; an empty one has one too."""
    if size == 0 and begin <= 0:
        yield 0
    yield from range(max(0, begin), size, piece_bytes)


def _bytes_of(connection: Connection, source: Source, start: int, stop: int) -> bytes:
    """The stored bytes `[start, stop)` of a packet."""
    if source.stored is not None:
        data = bytes(source.stored[start:stop])
    else:
        of = (PIECE.c.epoch_id == source.epoch_id, PIECE.c.seq == source.seq)
        first = select(func.max(PIECE.c.start)).where(*of, PIECE.c.start <= start).scalar_subquery()
        rows = connection.execute(
            select(PIECE.c.start, PIECE.c.data)
            .where(*of, PIECE.c.start >= first, PIECE.c.start < stop)
            .order_by(PIECE.c.start)
        ).all()
        data = b"".join(row.data[max(0, start - row.start) : stop - row.start] for row in rows)
    if len(data) != stop - start:
        raise Unreadable(f"{source.epoch} {source.seq}: bytes {start} to {stop} are not there")
    return data
