"""Step 4: how a ledger of an earlier version becomes one of this version: one function a version.

A new ledger goes through all of them: the first makes the tables as they are now, and each later one finds
that done already.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Column, Connection, Table, func, insert, inspect, select, update

from pipeline.adapters.ledger_postgresql import one_at_a_time
from pipeline.adapters.ledger_tables import (
    ANNOUNCED,
    ASSEMBLING,
    EPOCH,
    HOLD,
    META,
    PACKET,
    RECORD,
    RECORD_OPEN,
    REGION,
    SETTING,
    WAS,
)
from pipeline.errors import UsageError


def _create(connection: Connection) -> None:
    META.create_all(connection)
    names = ("schema", "keys", "verdicts", "probe")
    connection.execute(insert(SETTING), [{"name": name, "value": 0} for name in names])


def _announced(connection: Connection) -> None:
    ANNOUNCED.create(connection, checkfirst=True)


def _last_chunk(connection: Connection) -> None:
    """`assembling` said when the first chunk came, which nobody asked."""
    columns = {column["name"] for column in inspect(connection).get_columns(ASSEMBLING.name)}
    if "first_ms" in columns:
        connection.exec_driver_sql("ALTER TABLE assembling RENAME COLUMN first_ms TO last_ms")


def _custody(connection: Connection) -> None:
    """What a lost disk leaves behind: how far each epoch had got, older names, and what a record says."""
    WAS.create(connection, checkfirst=True)
    for column in (EPOCH.c.highest_seq, EPOCH.c.last_ms, RECORD.c.leaf):
        _add(connection, column.table, column)
    RECORD_OPEN.create(connection, checkfirst=True)
    _fill_custody(connection)


def _who_holds(connection: Connection) -> None:
    HOLD.create(connection, checkfirst=True)


def _fill_custody(connection: Connection) -> None:
    """What is known of the time before: a seq that was received or announced exists, and so does what a
    region named in its last want; and what every record says."""
    from pipeline.adapters.ledger_leaves import fill  # it needs the engine, which needs this file

    for table in (PACKET, ANNOUNCED):
        known = select(func.max(table.c.seq)).where(table.c.epoch_id == EPOCH.c.id).scalar_subquery()
        connection.execute(update(EPOCH).where(EPOCH.c.highest_seq < known).values(highest_seq=known))
    of_region = (REGION.c.code == EPOCH.c.region, REGION.c.epoch == EPOCH.c.epoch)
    said = select(REGION.c.highest_seq).where(*of_region).scalar_subquery()
    connection.execute(update(EPOCH).where(EPOCH.c.highest_seq < said).values(highest_seq=said))
    seen = select(REGION.c.last_seen_ms).where(*of_region).scalar_subquery()
    connection.execute(update(EPOCH).where(EPOCH.c.last_ms.is_(None)).values(last_ms=seen))
    fill(connection)


def _add(connection: Connection, table: Table, column: Column[int]) -> None:
    if column.name in {one["name"] for one in inspect(connection).get_columns(table.name)}:
        return
    rest = "" if column.nullable else " NOT NULL DEFAULT 0"
    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} BIGINT{rest}")


#: `MIGRATIONS[n]` brings a ledger of version n to n + 1.
MIGRATIONS: list[Callable[[Connection], None]] = [_create, _announced, _last_chunk, _custody, _who_holds]


def migrate(connection: Connection) -> None:
    """Bring the ledger to this version, within the transaction; raises `UsageError` for a newer one."""
    one_at_a_time(connection)
    SETTING.create(connection, checkfirst=True)
    found = connection.execute(select(SETTING.c.value).where(SETTING.c.name == "schema")).scalar()
    version = 0 if found is None else int(found)
    if version > len(MIGRATIONS):
        raise UsageError(
            f"the ledger has version {version}, this Titian reads {len(MIGRATIONS)}: update Titian"
        )
    for step in MIGRATIONS[version:]:
        step(connection)
    if version < len(MIGRATIONS):
        done = update(SETTING).where(SETTING.c.name == "schema").values(value=len(MIGRATIONS))
        connection.execute(done)
