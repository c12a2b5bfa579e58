"""Step 4: in which order a region's epochs come, also where one is heard of later than what followed it.

What a mirror or a courier brings may be of an epoch whose region had no link in all its life. Were it counted
as the newest one, its records would win over later ones, and it would never be over.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from pipeline.adapters.ledger_packets import epoch_id
from pipeline.adapters.ledger_tables import EPOCH
from pipeline.adapters.ledger_was import EPOCHS_MAX
from pipeline.center.outcomes import Item
from pipeline.center.reading import Announcements, ChunkOf, Packets, Unreadable
from schemas.errors import SchemaError
from schemas.frame import split


def register(connection: Connection, region: str, epoch: str, earlier: Sequence[str]) -> int:
    """The id of `epoch`, which is registered; so are those of the `earlier` ones (oldest first) that nobody
    has heard of: each goes before the next one that is known. The region's row must be locked."""
    number = epoch_id(connection, region, epoch)
    if not earlier:
        return number
    rows = connection.execute(select(EPOCH.c.epoch, EPOCH.c.ord).where(EPOCH.c.region == region))
    known = {str(row.epoch): int(row.ord) for row in rows}
    at = known[epoch]
    for name in reversed(list(dict.fromkeys(earlier))):
        if name not in known and len(known) < EPOCHS_MAX:
            later = update(EPOCH).where(EPOCH.c.region == region, EPOCH.c.ord >= at)
            connection.execute(later.values(ord=EPOCH.c.ord + 1))
            connection.execute(insert(EPOCH).values(region=region, epoch=name, ord=at))
            known = {one: ord_ + (ord_ >= at) for one, ord_ in known.items()} | {name: at}
        at = min(at, known.get(name, at))
    return number


def place(
    connection: Connection, region: str, speaks: str, items: Sequence[Item], current: bytes | None
) -> None:
    """What a machine that was replaced had signed is of epochs before the one that `speaks` now, although it
    comes later: of a mirror or a bundle. `current` is the id of the region's key."""
    found: dict[str, Item] = {}
    for item in items:
        outcome = item.outcome
        if isinstance(outcome, Packets | ChunkOf | Announcements | Unreadable) and outcome.epoch != speaks:
            found.setdefault(outcome.epoch, item)
    if not found or not speaks or current is None:
        return
    known = set(connection.execute(select(EPOCH.c.epoch).where(EPOCH.c.region == region)).scalars())
    for epoch, item in found.items():
        if epoch not in known and _signer(item.frame) not in (None, current):
            register(connection, region, speaks, [epoch])


def _signer(frame: bytes) -> bytes | None:
    try:
        return split(frame).header.signer
    except SchemaError:
        return None


def older(connection: Connection, region: str) -> set[str]:
    """The region's epochs but for the newest one."""
    rows = connection.execute(select(EPOCH.c.epoch).where(EPOCH.c.region == region).order_by(EPOCH.c.ord))
    return set(rows.scalars().all()[:-1])
