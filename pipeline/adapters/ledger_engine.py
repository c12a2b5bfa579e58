"""Step 4: how the ledger is opened and written: transactions, the write turn, foreign errors.

SQLite: WAL, `synchronous=FULL`, `BEGIN IMMEDIATE` for every write. Its busy handler sleeps and asks again,
which starves one of several writers, so writers stand in line at a lock file first (the *write turn*; it
falls free with the process that held it). PostgreSQL needs neither: there writers meet at rows, which are
locked in one order, so that nobody waits in a circle: `setting` "verdicts" (`over_all_regions`, by whoever
locks more than one region), then rows of `region`, then `setting` "keys".
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3
from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    exc,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import ClauseElement

from pipeline.adapters.ledger_migrations import migrate
from pipeline.adapters.ledger_postgresql import server_engine
from pipeline.adapters.ledger_tables import SETTING
from pipeline.center.outcomes import BadItem
from pipeline.errors import DiskFull, NotFound, StoreAway, StoreDamaged, StoreError, UsageError

#: The first SQLite without the WAL-reset bug.
SQLITE_LEAST = (3, 51, 3)
#: How long a writer waits for SQLite's own lock, milliseconds (the turn makes that rare).
BUSY_MS = 30_000
PAGE_BYTES = 8192
CHECKPOINT_PAGES = 2_000
_PRAGMAS = (
    f"page_size={PAGE_BYTES}",
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    f"journal_size_limit={64 * 1024 * 1024}",
    "cache_size=-8192",
    "temp_store=MEMORY",
)


class Statement:
    """A statement compiled once, run for many rows by the driver itself: Core's own way of many rows costs
    several times what the insert does. `names` is the order of the values in a row."""

    def __init__(self, statement: ClauseElement, names: Sequence[str]) -> None:
        self._statement, self._names = statement, tuple(names)
        self._compiled: dict[str, tuple[str, list[int] | None]] = {}

    def sql(self, dialect: Dialect) -> str:
        """The statement as that database is told it."""
        return self._text(dialect)[0]

    def many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it for every row; returns how many rows of the table it changed."""
        if not rows:
            return 0
        text, order = self._text(connection.dialect)
        given: Any
        if order is None:
            given = [dict(zip(self._names, row, strict=True)) for row in rows]
        elif order == list(range(len(self._names))):
            given = list(rows)
        else:
            given = [tuple(row[i] for i in order) for row in rows]
        changed: int = connection.exec_driver_sql(text, given).rowcount
        return changed

    def _text(self, dialect: Dialect) -> tuple[str, list[int] | None]:
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._names))
            positions = compiled.positiontup if compiled.positional else None
            order = None if positions is None else [self._names.index(name) for name in positions]
            found = self._compiled[dialect.name] = (str(compiled), order)
        return found


def upsert(connection: Connection, table: Any) -> Any:
    """`insert` with `on_conflict_do_...`, of the connection's own dialect."""
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)


def inserted_id(result: CursorResult[Any]) -> int:
    """The number that the database gave to a row."""
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def over_all_regions(connection: Connection) -> None:
    """Stand in line with all who write about more than one region, or about one that is new."""
    connection.execute(select(SETTING.c.value).where(SETTING.c.name == "verdicts").with_for_update())


class Store:
    """The ledger's engine. One a process, opened after any fork; its methods may be used by any thread."""

    def __init__(self, engine: Engine, turn: Path | None) -> None:
        self._engine, self._turn = engine, turn
        self._writing = engine.execution_options(titian_write=True)
        one_state = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._reading = engine.execution_options(**one_state)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: all of it sees one state."""
        with _translated(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, all or nothing, durable when it returns."""
        with _translated(), self._in_turn(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        handle = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def open_store(where: Path | str, *, look_only: bool = False) -> Store:
    """The store in an SQLite file, or at an SQLAlchemy URL; made or migrated where that is due.

    With `look_only` nothing is made and nothing is written: raises `NotFound` where there is no ledger.
    Raises `UsageError` for a ledger of a newer Titian, an SQLite that is too old, a URL that is none or
    whose driver is not installed; `Unreachable` for a database server that does not answer; `StoreError`
    otherwise.
    """
    if isinstance(where, Path):
        if look_only and not where.exists():
            raise NotFound(f"there is no ledger at {where}: `titian up` at the center makes it")
        if not look_only:
            _born_private(where)
        store = Store(_sqlite_engine(where), where.with_name(where.name + ".turn"))
    else:
        store = Store(server_engine(where, look_only), None)
    try:
        if not look_only:
            with store.write() as connection:
                migrate(connection)
        elif not isinstance(where, Path):
            _must_be_there(store)
    except BaseException:
        store.close()
        raise
    return store


def _must_be_there(store: Store) -> None:
    with store.read() as connection:
        if not inspect(connection).has_table(SETTING.name):
            raise NotFound("there is no ledger in that database: `titian up` at the center makes it")


def _born_private(path: Path) -> None:
    """A file that is not there yet is made with mode 0600, before SQLite would make it with the umask's; its
    log gets the same mode from it. One that is there is not even opened: closing it would drop the locks that
    this process holds on it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as why:
        if why.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room for a ledger at {path} ({why.strerror}): free space") from None
        raise StoreError(f"the ledger {path} cannot be made: {why.strerror}") from None


def _sqlite_engine(path: Path) -> Engine:
    if pysqlite3.sqlite_version_info < SQLITE_LEAST:
        raise UsageError(
            f"SQLite {pysqlite3.sqlite_version} can corrupt a WAL: pysqlite3 with SQLite 3.51.3 is needed"
        )

    def connect() -> Any:
        connection = pysqlite3.connect(
            str(path),
            timeout=BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    engine = create_engine(
        "sqlite+pysqlite://",
        module=pysqlite3,
        creator=connect,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
    )

    @event.listens_for(engine, "begin")
    def _start(connection: Connection) -> None:
        writes = connection.get_execution_options().get("titian_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as why:
        raise _store_error(why) from why
    except (OverflowError, UnicodeEncodeError, exc.StatementError) as why:
        raise BadItem(f"the ledger cannot store these values: {why}") from why
    except pysqlite3.Error as why:
        raise StoreError(f"the ledger cannot be opened: {why}") from why


_OF_VALUES = (exc.IntegrityError, exc.DataError, exc.ProgrammingError, exc.InterfaceError)


def _store_error(why: exc.DBAPIError) -> Exception:
    text = str(why.orig)
    if why.connection_invalidated:
        return StoreAway(f"the ledger's database does not answer ({text})")
    # Class 42 is a table or a right that is missing: no frame is to blame for that.
    if isinstance(why, _OF_VALUES) and not str(getattr(why.orig, "sqlstate", "")).startswith("42"):
        return BadItem(f"the ledger refuses these values: {text}")
    if "full" in text or "No space" in text:
        return DiskFull(f"the ledger's disk is full ({text}): free space; what came in waits in the stream")
    if "malformed" in text or "not a database" in text:
        return StoreDamaged(f"the ledger is damaged ({text}): restore the newest backup")
    if "connection" in text:
        return StoreAway(f"the ledger's database does not answer ({text})")
    return StoreError(f"the ledger could not do that: {text}")
