"""Step 4: the ledger on a database server: how PostgreSQL is reached, and what it is told first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from pipeline.errors import UsageError

#: How long a connection may take, seconds, where the URL does not say it.
CONNECT_S = 10
#: Under this number the one process stands that makes or migrates a ledger.
_MIGRATING = 0x7469_7469_616E
#: A receipt promises that the packet is on disk, whatever the default of the database is.
_DURABLE = """
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
"""


def one_at_a_time(connection: Connection) -> None:
    """Wait until nobody else makes or migrates the ledger: the center's processes start at once."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))


def server_engine(url: str, look_only: bool) -> Engine:
    """The engine of a database server. Who only looks keeps no connection between two looks.

    Raises `UsageError` for a URL that is none, or whose driver is not installed.
    """
    try:
        told = make_url(url)
        patience = {} if "connect_timeout" in told.query else {"connect_timeout": CONNECT_S}
        ours = patience if told.get_backend_name() == "postgresql" else {}
        engine = create_engine(told, connect_args=ours, **({"poolclass": NullPool} if look_only else {}))
    except exc.ArgumentError as why:
        raise UsageError(f"ledger.url is no SQLAlchemy URL: {why}") from why
    except ModuleNotFoundError as why:
        raise UsageError(
            f"ledger.url needs {why.name}, which is not installed: install Titian with its extra `postgresql`"
        ) from why
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "connect")
        def _durable(raw: Any, _: object) -> None:
            raw.execute(_DURABLE)
            raw.commit()

    return engine
