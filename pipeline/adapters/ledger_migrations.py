"""Step 4: how a ledger of an earlier version becomes one of this version: one function a version.

A new ledger goes through all of them: the first makes the tables as they are now, and each later one finds
that done already.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, inspect, select, update

from pipeline.adapters.ledger_postgresql import one_at_a_time
from pipeline.adapters.ledger_tables import ANNOUNCED, ASSEMBLING, META, SETTING
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


#: `MIGRATIONS[n]` brings a ledger of version n to n + 1.
MIGRATIONS: list[Callable[[Connection], None]] = [_create, _announced, _last_chunk]


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
