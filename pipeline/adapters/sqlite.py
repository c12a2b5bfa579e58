"""The region's SQLite files: how they are opened, written and left; SQLite's errors become ours here.

Every write is one `BEGIN IMMEDIATE` transaction under `synchronous=FULL`: when `write()` has ended without an
error, what was written survives a power cut. Each thread has a connection of its own, opened at its first use
in the process that uses it: a connection from before a fork is left alone, never closed (closing it would
checkpoint under the parent). A deferred transaction that upgrades gets "busy" at once whatever the timeout,
so there is none.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from pipeline.adapters.sqlite_errors import BUSY_S, FOREIGN, REBUILD, as_ours
from pipeline.errors import NotFound, OlderLayout, StoreDamaged, StoreError
from schemas.errors import SchemaError

#: Older libraries (3.7.0 to 3.51.2) can corrupt a WAL when it is reset.
SQLITE_LEAST = (3, 51, 3)
_BUSY_POLL_S = 0.000_5
_BUSY_POLL_S_MAX = 0.002

#: Connections that belong to another process (before a fork): kept so that nothing closes them here.
_left_alone: list[apsw.Connection] = []


def check_library(version: str | None = None) -> None:
    """Raise `StoreError` if the SQLite library is one that can corrupt a WAL."""
    found = apsw.sqlite_lib_version() if version is None else version
    if tuple(int(part) for part in found.split(".")) < SQLITE_LEAST:
        least = ".".join(str(part) for part in SQLITE_LEAST)
        raise StoreError(f"SQLite {found} can corrupt its log; install apsw with SQLite {least} or newer")


@dataclass(frozen=True)
class Layout:
    """What makes a file ours: `application_id`, and scripts of which the n-th leads to `user_version` n."""

    name: str
    application_id: int
    migrations: Sequence[str]


#: Which file a path led to: device and inode.
_Place = tuple[int, int]
T = TypeVar("T")


class _Local(threading.local):
    pid: int = 0
    connection: apsw.Connection | None = None
    suspect: bool = False
    place: _Place | None = None
    log_place: _Place | None = None


class Database:
    """One SQLite file with a connection per thread, opened lazily. Raises only `pipeline.errors`."""

    def __init__(self, path: Path, layout: Layout, *, readonly: bool = False) -> None:
        check_library()
        self.path = path
        self.layout = layout
        self._readonly = readonly
        self._local = _Local()

    @classmethod
    def create(cls, path: Path, layout: Layout) -> Database:
        """Make the file (a file that is there already is only brought up to date)."""
        made = cls(path, layout)
        with made._translated():
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            db = apsw.Connection(str(path), flags=flags)
            try:
                db.set_busy_timeout(int(BUSY_S * 1000))
                if not db.pragma("page_count"):
                    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
                made._migrate(db)
            finally:
                db.close()
        os.chmod(path, 0o600)
        return made

    @property
    def db(self) -> apsw.Connection:
        """This thread's connection."""
        local = self._local
        if local.connection is not None and local.pid == os.getpid():
            return local.connection
        if local.connection is not None:
            _left_alone.append(local.connection)
        local.connection = None
        with self._translated():
            local.connection, local.pid = self._open(), os.getpid()
        return local.connection

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """One durable transaction; an exception inside undoes all of it."""
        db = self.db
        with self._translated():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    with suppress(apsw.Error):
                        db.execute("ROLLBACK")
                raise
        self.check_place(written=True)

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """One consistent view of the file."""
        db = self.db
        self.check_place()
        with self._translated():
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")

    def number(self, query: str, values: Sequence[Any] = (), *, none: int | None = None) -> int:
        """The number that is all of the answer, in no transaction: microseconds. `none` stands for NULL."""
        db = self.db
        try:
            found: Any = db.execute(query, values).get
            return int(none if found is None else found)  # type: ignore[arg-type]  # is translated
        except FOREIGN as why:
            raise self._translate(why) from why

    def rows(self, query: str, values: Sequence[Any], make: Callable[[Any], T]) -> list[T]:
        """What `make` makes of each row, in no transaction."""
        db = self.db
        try:
            return [make(row) for row in db.execute(query, values)]
        except FOREIGN as why:
            raise self._translate(why) from why

    def close(self) -> None:
        """Close this thread's connection (others close with their threads)."""
        connection, self._local.connection = self._local.connection, None
        if connection is None:
            return
        if self._local.pid != os.getpid():
            _left_alone.append(connection)
            return
        with suppress(apsw.Error):
            connection.close()

    def check_place(self, *, written: bool = False) -> None:
        """Raise `StoreError` unless the path still leads to the file that is open (microseconds): SQLite goes
        on in a deleted one without a word. After a commit (`written`) the log is looked at as well."""
        local = self._local
        if local.connection is None or local.place is None:
            return
        gone = _place_of(self.path) != local.place
        if written and not gone:
            log = _place_of(f"{self.path}-wal")
            gone = log is None or (local.log_place is not None and log != local.log_place)
            local.log_place = log
        if gone:
            self.close()  # what is there now is opened anew
            raise StoreError(
                f"{self.path} was deleted or replaced while it was in use: nothing that was enqueued since "
                "is safe. Stop this side, see who did it, restore the folder or rebuild it "
                "(titian init region --rebuild), and enqueue again what was enqueued since"
            )

    # --- opening ------------------------------------------------------------------------------------

    def _open(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY if self._readonly else apsw.SQLITE_OPEN_READWRITE
        if not self.path.exists():
            raise NotFound(
                f"there is no {self.layout.name} at {self.path}; make one with: titian init region"
            )
        self._local.place, self._local.log_place = _place_of(self.path), None
        db = apsw.Connection(str(self.path), flags=flags)
        db.set_busy_handler(busy_handler())
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA temp_store=MEMORY")
        if self._readonly:
            db.execute("PRAGMA query_only=ON")
        else:
            db.execute("PRAGMA journal_size_limit=67108864")
        if db.pragma("application_id") != self.layout.application_id:
            raise StoreDamaged(
                f"{self.path} is no {self.layout.name} of Titian: it is empty or another program's file. "
                f"{REBUILD}"
            )
        if db.pragma("journal_mode") != "wal":
            raise StoreDamaged(f"{self.path} is not in WAL mode: it was changed by something else")
        self._check_version(db)
        if self._local.suspect:
            self._verify(db)
            self._local.suspect = False
        return db

    def _check_version(self, db: apsw.Connection) -> None:
        found, newest = int(db.pragma("user_version")), len(self.layout.migrations)
        if found > newest:
            raise StoreError(f"{self.path} was written by a newer Titian (layout {found}, here {newest})")
        if found < newest and self._readonly:
            raise OlderLayout(
                f"{self.path} has layout {found}, here {newest}: `titian up` brings it over, then look again"
            )
        if found < newest:
            self._migrate(db)

    def _migrate(self, db: apsw.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for number in range(int(db.pragma("user_version")), len(self.layout.migrations)):
                db.execute(self.layout.migrations[number])
                db.execute(f"PRAGMA user_version={number + 1}")
            db.execute(f"PRAGMA application_id={self.layout.application_id}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _stop_using(self) -> None:
        """After an I/O error: nothing is built upon a log whose sync failed. The kernel may have dropped what
        it could not write while it still shows it, and a later sync of the same file would say "done" of it.
        So the log is emptied into the file (what failed was rolled back and is not in it), here or, where
        even that fails, when it is opened next; then what is there must hold together."""
        connection = self._local.connection
        if connection is not None:
            with suppress(apsw.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        self._local.suspect = True

    def _verify(self, db: apsw.Connection) -> None:
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
        if busy:
            raise apsw.BusyError("the log cannot be emptied")
        said = db.execute("PRAGMA quick_check(1)").get
        if said != "ok":
            raise StoreDamaged(f"{self.path} did not survive an I/O error: {said}. {REBUILD}")

    # --- errors -------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SchemaError:
            raise  # what was to be stored is wrong, not the store
        except FOREIGN as why:
            raise self._translate(why) from why

    def _translate(self, why: Exception) -> StoreError:
        if isinstance(why, apsw.IOError):
            self._stop_using()
        return as_ours(self.path, why)


def _place_of(path: Path | str) -> _Place | None:
    """Which file the path leads to now; `None` where it leads to none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def busy_handler(busy_s: float = BUSY_S) -> Callable[[int], bool]:
    """Wait for the writer before us by asking every 0.5 to 2 ms: SQLite's own pauses grow to 100 ms, and a
    single enqueue that comes while a file is read in must get its turn in the pause between two batches."""
    began_s = 0.0

    def wait(tries: int) -> bool:
        nonlocal began_s
        now_s = time.monotonic()
        if tries == 0:
            began_s = now_s
        if now_s - began_s > busy_s:
            return False
        time.sleep(min(_BUSY_POLL_S * (1 + tries / 8), _BUSY_POLL_S_MAX))
        return True

    return wait
