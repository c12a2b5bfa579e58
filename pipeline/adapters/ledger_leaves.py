"""Step 5: `record.leaf`, the hash over all that a record says, by which both sides compare what they hold.

It is written with each change of a record; what a ledger of an earlier version holds gets it when that is
migrated. A record whose packet cannot be read has 0: "not known".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, tuple_, update

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_engine import Statement
from pipeline.adapters.ledger_tables import BODY, EPOCH, RECORD
from pipeline.center.matching import Held
from pipeline.center.validation import Pending
from schemas.errors import SchemaError
from schemas.feed import RecordChange, record_leaf
from schemas.packet import head_bytes
from schemas.verdicts import Status

#: Records that the migration fills at a time.
ROWS_AT_A_TIME = 1_000
_IN_MAX = 500

Place = tuple[int, int]
_FILL = Statement(
    update(RECORD)
    .where(RECORD.c.region == bindparam("of_region"), RECORD.c.nik == bindparam("of_nik"))
    .values(leaf=bindparam("leaf")),
    ("leaf", "of_region", "of_nik"),
)


def leaves(
    connection: Connection, pending: Iterable[Pending], changes: Sequence[tuple[str, Held]]
) -> list[int]:
    """The leaf of each changed record `(NIK, as it will be)`; most are made from a packet of `pending`."""
    known = {(one.epoch_id, one.seq): one.prefix for one in pending}
    unknown = {(held.epoch_id, held.seq) for _, held in changes} - known.keys()
    known |= prefixes(connection, unknown)
    names = epoch_names(connection, {held.epoch_id for _, held in changes})
    return [_leaf(nik, held, names, known) for nik, held in changes]


def prefixes(connection: Connection, places: Iterable[Place]) -> dict[Place, bytes]:
    """Length and head of these packets (epoch's id, seq); one whose bytes cannot be read is left out."""
    by_epoch: dict[int, list[int]] = {}
    for epoch, seq in sorted(places):
        by_epoch.setdefault(epoch, []).append(seq)
    found: dict[Place, bytes] = {}
    for epoch, seqs in by_epoch.items():
        for start in range(0, len(seqs), _IN_MAX):
            part = seqs[start : start + _IN_MAX]
            small = select(BODY.c.seq, BODY.c.stored).where(BODY.c.epoch_id == epoch, BODY.c.seq.in_(part))
            held = {row.seq: bytes(row.stored) for row in connection.execute(small)}
            for seq in part:
                prefix = prefix_of(connection, epoch, seq, held.get(seq))
                if prefix is not None:
                    found[epoch, seq] = prefix
    return found


def prefix_of(connection: Connection, epoch_id: int, seq: int, stored: bytes | None) -> bytes | None:
    """Length and head of a packet whose small body is `stored` (`None`: it is in pieces, if anywhere)."""
    try:
        begin = pieces.read_prefix(connection, epoch_id, seq) if stored is None else stored
        end = head_bytes(begin)
    except SchemaError:
        return None
    return begin[:end] if len(begin) >= end else None


def epoch_names(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """The names of epochs by their ids."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = connection.execute(select(EPOCH.c.id, EPOCH.c.epoch).where(EPOCH.c.id.in_(wanted)))
    return {row.id: row.epoch for row in rows}


def fill(connection: Connection) -> int:
    """Give every record without one its leaf; returns how many got it."""
    columns = [RECORD.c[name] for name in ("region", "nik", "version", "status", "epoch_id", "seq")]
    key, after, filled = tuple_(RECORD.c.region, RECORD.c.nik), ("", ""), 0
    while True:
        rows: Sequence[Any] = connection.execute(
            select(*columns)
            .where(key > tuple_(*after), RECORD.c.leaf == 0)
            .order_by(RECORD.c.region, RECORD.c.nik)
            .limit(ROWS_AT_A_TIME)
        ).all()
        if not rows:
            return filled
        after = (rows[-1].region, rows[-1].nik)
        known = prefixes(connection, {(row.epoch_id, row.seq) for row in rows})
        names = epoch_names(connection, {row.epoch_id for row in rows})
        filled += _FILL.many(
            connection,
            [(_leaf(row.nik, row, names, known), row.region, row.nik) for row in rows],
        )


def _leaf(nik: str, held: Any, names: Mapping[int, str], known: Mapping[Place, bytes]) -> int:
    """The leaf of a record (a `Held`, or a row of the same columns); 0 where its packet is not known."""
    prefix = known.get((held.epoch_id, held.seq))
    if prefix is None:
        return 0
    said = RecordChange(held.version, Status(held.status), names[held.epoch_id], held.seq, prefix)
    return record_leaf(said, nik)
