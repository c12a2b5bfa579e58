"""Step 6: what a person lets one region send: in `region` its window and hold, in `hold` who and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import upsert
from pipeline.adapters.ledger_tables import HOLD, REGION, SETTING
from pipeline.center.holding import Hold

#: The version of the ledger from which on it is kept who holds a region.
_SINCE_VERSION = 5


def put(connection: Connection, region: str, hold: Hold | None, now_ms: int) -> bool:
    """What holds for that region from now on (`None`: what holds for all); False where it is not there."""
    one = Hold(None) if hold is None else hold
    values = {"window_bytes": one.window_bytes, "hold_s": one.hold_s}
    if not connection.execute(update(REGION).where(REGION.c.code == region).values(values)).rowcount:
        return False
    books = Books(region, now_ms)
    if hold is None:
        connection.execute(delete(HOLD).where(HOLD.c.region == region))
        books.event("released")
    else:
        kept = {"reason": hold.reason, "who": hold.who, "at_ms": hold.at_ms, "until_ms": hold.until_ms}
        new = upsert(connection, HOLD).values(region=region, **kept)
        connection.execute(new.on_conflict_do_update(index_elements=["region"], set_=kept))
        books.event("held")
    books.write(connection)
    return True


def hold_of(connection: Connection, row: Any) -> Hold | None:
    """What a person has set for a region, whose row of `region` this is; over or not."""
    if row.window_bytes is None and not row.hold_s:
        return None
    words = connection.execute(select(HOLD).where(HOLD.c.region == row.code)).one_or_none()
    return _hold(row, words)


def holds(connection: Connection) -> dict[str, Hold]:
    """The same of every region of which a person has set anything."""
    of = or_(REGION.c.window_bytes.is_not(None), REGION.c.hold_s > 0)
    rows = connection.execute(select(REGION.c.code, REGION.c.window_bytes, REGION.c.hold_s).where(of)).all()
    if not rows or not _is_there(connection):
        return {row.code: _hold(row, None) for row in rows}
    words = {row.region: row for row in connection.execute(select(HOLD))}
    return {row.code: _hold(row, words.get(row.code)) for row in rows}


def _hold(row: Any, words: Any) -> Hold:
    if words is None:
        return Hold(row.window_bytes, row.hold_s)
    return Hold(row.window_bytes, row.hold_s, words.until_ms, words.reason, words.who, words.at_ms)


def _is_there(connection: Connection) -> bool:
    """Whether this ledger was opened since it is kept who holds (who only looks does not migrate it)."""
    version = select(SETTING.c.value).where(SETTING.c.name == "schema")
    return int(connection.execute(version).scalar() or 0) >= _SINCE_VERSION
