"""For crash tests: what is promised at a moment, and what the product makes of what a power cut left."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.errors import StoreDamaged, StoreError
from pipeline.ports import Cursors
from pipeline.region.rebuild import position_of
from schemas.back import Position
from tests.unit.outbox_rig import SMALL_DISK

#: The cursor of the records, and where a rebuild stands (`None`: there is none).
Stand = tuple[int, Position | None]
#: Packets that no cut can spare.
NEWEST = 10
_OUTBOX_TABLES = (
    "SELECT seq, lane, kind, size, digest, key, nik, at_ms, status, fact_no, reasons FROM packet ORDER BY 1",
    "SELECT * FROM again ORDER BY lane, seq",
    "SELECT * FROM large ORDER BY seq",
    "SELECT * FROM lane ORDER BY lane",
    "SELECT * FROM sent ORDER BY session, n",
    "SELECT * FROM announced ORDER BY seq",
    "SELECT * FROM counter ORDER BY lane, what",
    "SELECT * FROM tally ORDER BY what",
    "SELECT * FROM event ORDER BY id",
    "SELECT * FROM meta ORDER BY key",
)
_REGISTRY_TABLES = (
    "SELECT * FROM meta ORDER BY key",
    "SELECT * FROM since ORDER BY n",
    "SELECT * FROM record ORDER BY id",
    "SELECT * FROM fact ORDER BY position, n",
    "SELECT * FROM event ORDER BY id",
    "SELECT * FROM ask ORDER BY id",
    "SELECT * FROM attachment ORDER BY id",
    "SELECT attachment, start, length(bytes) FROM piece ORDER BY 1, 2",
)


@dataclass(frozen=True)
class Promised:
    """What holds at one moment. Packets 1 to `acked` were promised to their producers, none above `begun` was
    ever handed in; the stores are as in view `view`, or as in the next one where something is `underway`.
    `rewound`: the registry went back, and the outbox follows when push runs next."""

    view: int = 0
    acked: int = 0
    begun: int = 0
    underway: str = ""
    rewound: bool = False


class Seen(NamedTuple):
    """What the product makes of a disk: `error` in words, or the stores. `held` is the highest seq before the
    check of opening, `lost` what that check said is lost; `packets` are SHA-256 by seq of what can be read.
    """

    error: str
    epoch: str = ""
    held: int = 0
    lost: int = 0
    packets: dict[int, bytes] = {}  # noqa: RUF012  # never changed
    settled_to: int = 0
    facts: int = 0
    stands: Stand = (0, None)
    fresh: bool = False
    niks: frozenset[int] = frozenset()
    facts_there: tuple[int, ...] = ()
    view: bytes = b""


def stands(cursors: Cursors) -> Stand:
    """How far the records are here: upwards, and of a rebuild downwards."""
    return cursors.records, None if cursors.back is None else position_of(cursors.back)


def see(folder: Path) -> Seen:
    """Open the stores as the product does, and read everything."""
    try:
        outbox = SqliteOutbox(folder, SMALL_DISK)
    except StoreError as why:
        return Seen(str(why))
    registry = SqliteRegistry(folder)
    try:
        for db in (outbox.connection, registry._database.db):  # what is in the logs may stay there
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        held = outbox.highest_seq()
        outbox.check(1)
        return look(outbox, registry, held)
    except StoreError as why:
        return Seen(str(why))
    finally:
        outbox.close()
        registry.close()


def look(outbox: SqliteOutbox, registry: SqliteRegistry, held: int) -> Seen:
    """What is in stores that are open."""
    packets = _packets(outbox)
    niks: list[Any] = registry._database.db.execute("SELECT nik FROM record").fetchall()
    cursors = registry.cursors()
    settled_to = outbox.settled_to()
    return Seen(
        "",
        epoch=outbox.epoch,
        held=held,
        lost=int(outbox.connection.execute("SELECT n FROM tally WHERE what = 'lost'").get or 0),
        packets=packets,
        settled_to=settled_to,
        facts=cursors.facts,
        stands=stands(cursors),
        fresh=cursors.fresh,
        niks=frozenset(int(nik) for (nik,) in niks),
        facts_there=tuple(at for at, _ in registry.facts_after(settled_to, 1_000_000)),
        view=view(outbox, registry, packets),
    )


def _packets(outbox: SqliteOutbox) -> dict[int, bytes]:
    """What can be read of each: of the newest as the product does, of the others faster."""
    rows: list[Any] = outbox.connection.execute(
        "SELECT seq, upload, stored FROM packet LEFT JOIN body USING(seq) ORDER BY seq"
    ).fetchall()
    found: dict[int, bytes] = {}
    for n, (seq, upload, stored) in enumerate(rows):
        try:
            by_product = upload is not None or n >= len(rows) - NEWEST
            found[seq] = hashlib.sha256(outbox.read(seq) if by_product else stored or b"").digest()
        except StoreDamaged:
            found[seq] = b""
    return found


def view(outbox: SqliteOutbox, registry: SqliteRegistry, packets: dict[int, bytes]) -> bytes:
    """Two pairs of stores with the same view hold the same."""
    said = hashlib.sha256(repr(sorted(packets.items())).encode())
    for query in _OUTBOX_TABLES:
        said.update(repr(outbox.connection.execute(query).fetchall()).encode())
    with registry._database.read() as db:
        for query in _REGISTRY_TABLES:
            said.update(repr(db.execute(query).fetchall()).encode())
    return said.digest()
