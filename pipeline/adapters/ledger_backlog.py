"""Steps 4 to 6: how much the ledger has to do, for what the center lets regions send. Cheap: three reads of
small tables and the first entry of an index."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from pipeline.adapters.ledger_tables import PACKET, RATE, REGION, TALLY
from pipeline.center.behind import Backlog
from schemas.verdicts import Status

_MINUTE_MS = 60_000
#: Words that are no verdict.
_WAITING = (Status.RECEIVED_AT_CENTRAL, Status.SEARCH_FAILURE_AT_CENTRAL)
_VERDICTS = [status.name for status in Status if status not in (*_WAITING, Status.REFUSED)]


def backlog(connection: Connection, now_ms: int) -> Backlog:
    """What waits for validation now: not a packet that is due later, since its search failed."""
    first_ms = connection.execute(
        select(func.min(PACKET.c.due_ms)).where(PACKET.c.due_ms.is_not(None), PACKET.c.due_ms <= now_ms)
    ).scalar()
    regions = connection.execute(
        select(func.count()).where(REGION.c.revoked_ms.is_(None), REGION.c.session > 0)
    ).scalar_one()
    if first_ms is None:
        return Backlog(regions=regions)
    waits = select(func.sum(TALLY.c.n)).where(TALLY.c.status == int(Status.RECEIVED_AT_CENTRAL))
    minute = now_ms // _MINUTE_MS
    verdicts = select(func.sum(RATE.c.n)).where(RATE.c.minute >= minute - 1, RATE.c.what.in_(_VERDICTS))
    counted_s = (now_ms - (minute - 1) * _MINUTE_MS) / 1000
    return Backlog(
        max(1, int(connection.execute(waits).scalar() or 0)),
        (now_ms - first_ms) / 1000,
        int(connection.execute(verdicts).scalar() or 0) / counted_s,
        regions,
    )
