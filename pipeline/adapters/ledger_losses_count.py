"""Steps 4 to 6, to look at: how many packets are lost, from counts alone: of the seqs of an epoch that is
over those that are not received, do not go by a newer name, and did not come under an older one.

It is asked every few seconds for every region there is, so it takes as many queries for five hundred as for
one (and two more for an epoch of which there are older names).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, exists, func, select

from pipeline.adapters.ledger_announced import is_over
from pipeline.adapters.ledger_losses_page import CAME_BEFORE, HERE, OverEpoch
from pipeline.adapters.ledger_tables import ANNOUNCED, EPOCH, PACKET, REGION, SETTING, TALLY, WAS
from schemas.limits import INTEGER_MAX
from schemas.verdicts import Status

#: The version of the ledger from which on it is known how far an epoch had got.
_SINCE_VERSION = 4
#: Epochs in one query.
_EPOCHS_A_LOOK = 500


def over(connection: Connection, region: str) -> list[OverEpoch]:
    """The region's epochs that are over and had any packet, oldest first; none in a ledger that was not
    opened since there are loss lists."""
    return over_by_region(connection, region).get(region, [])


def over_by_region(connection: Connection, region: str | None = None) -> dict[str, list[OverEpoch]]:
    """The same of every region that has any."""
    if not there_are(connection):
        return {}
    # A refusal alone is no sign that there was such a packet: nobody could read what came under that number.
    received = select(PACKET.c.seq).where(PACKET.c.epoch_id == EPOCH.c.id, HERE)
    announced = select(ANNOUNCED.c.seq).where(ANNOUNCED.c.epoch_id == EPOCH.c.id)
    tops = [
        received.order_by(PACKET.c.seq.desc()).limit(1).scalar_subquery(),
        announced.order_by(ANNOUNCED.c.seq.desc()).limit(1).scalar_subquery(),
    ]
    rows = connection.execute(
        select(EPOCH.c.region, EPOCH.c.id, EPOCH.c.epoch, EPOCH.c.last_ms, EPOCH.c.highest_seq, *tops)
        .where(is_over(), True if region is None else EPOCH.c.region == region)  # type: ignore[arg-type]
        .order_by(EPOCH.c.region, EPOCH.c.ord, EPOCH.c.id)
    )
    found: dict[str, list[OverEpoch]] = {}
    for row in rows:
        # What lies behind the last seq must have a number too.
        highest = min(INTEGER_MAX - 1, max(n or 0 for n in row[4:]))
        if highest:
            found.setdefault(row[0], []).append(OverEpoch(row[1], row[2], highest, row[3]))
    return found


def losses_counts(connection: Connection, region: str | None = None) -> dict[str, int]:
    """How many packets each region lost, or that one; regions that lost none are left out."""
    epochs = over_by_region(connection, region)
    received = _received_of(connection, epochs)
    told = _told_anew(connection, [one.id for listed in epochs.values() for one in listed])
    found = {
        code: sum(one.highest for one in listed)
        - received[code]
        - sum(_under_other_names(connection, one) for one in listed if one.id in told)
        for code, listed in epochs.items()
    }
    return {code: n for code, n in found.items() if n}


def lost_of(connection: Connection, epoch: OverEpoch) -> int:
    """How many packets of that epoch are lost."""
    received = _received(connection, [epoch.id]).get(epoch.id, 0)
    return epoch.highest - received - _under_other_names(connection, epoch)


def there_are(connection: Connection) -> bool:
    """Whether the ledger was opened since there are loss lists."""
    version = select(SETTING.c.value).where(SETTING.c.name == "schema")
    return int(connection.execute(version).scalar() or 0) >= _SINCE_VERSION


def _received_of(connection: Connection, epochs: dict[str, list[OverEpoch]]) -> dict[str, int]:
    """How many packets of its epochs that are over were received of each region. Where its other epochs are
    the smaller, these are counted, and what the books say of all less them."""
    if not epochs:
        return {}
    mine, now = {code: {one.id for one in listed} for code, listed in epochs.items()}, _now(connection)
    by_rest = {code for code, listed in epochs.items() if now.get(code, 0) <= sum(e.highest for e in listed)}
    others: dict[str, set[int]] = {}
    for code, number in connection.execute(select(EPOCH.c.region, EPOCH.c.id)):
        if code in by_rest and number not in mine[code]:
            others.setdefault(code, set()).add(number)
    looked = {code: others.get(code, set()) if code in by_rest else mine[code] for code in epochs}
    counted = _received(connection, [number for numbers in looked.values() for number in numbers])
    found = {code: sum(counted.get(number, 0) for number in numbers) for code, numbers in looked.items()}
    if by_rest:
        all_ = _in_the_books(connection)
        found |= {code: all_.get(code, 0) - found[code] for code in by_rest}
    return found


def _now(connection: Connection) -> dict[str, int]:
    """How far each region's present epoch has got."""
    rows = connection.execute(select(REGION.c.code, REGION.c.highest_seq))
    return {row.code: row.highest_seq for row in rows}


def _in_the_books(connection: Connection) -> dict[str, int]:
    received = TALLY.c.status != int(Status.REFUSED)
    rows = select(TALLY.c.region, func.sum(TALLY.c.n)).where(received).group_by(TALLY.c.region)
    return {code: int(n) for code, n in connection.execute(rows)}


def _received(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in _parts(ids):
        counted = select(PACKET.c.epoch_id, func.count()).where(HERE, PACKET.c.epoch_id.in_(part))
        found |= {row[0]: row[1] for row in connection.execute(counted.group_by(PACKET.c.epoch_id))}
    return found


def _told_anew(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those epochs of which any packet has an older or a newer name."""
    newer = exists().where(WAS.c.old_epoch_id == EPOCH.c.id)
    older = exists().where(WAS.c.epoch_id == EPOCH.c.id)
    found: set[int] = set()
    for part in _parts(ids):
        of = select(EPOCH.c.id).where(EPOCH.c.id.in_(part), newer | older)
        found |= set(connection.execute(of).scalars())
    return found


def _parts(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + _EPOCHS_A_LOOK] for start in range(0, len(ids), _EPOCHS_A_LOOK))


def _under_other_names(connection: Connection, epoch: OverEpoch) -> int:
    return _named(connection, epoch) + _came_before(connection, epoch)


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
