"""A PostgreSQL of the tests' own: made in a temporary folder, reached by a socket in it, gone afterwards.

Nothing is asked of a server that runs on the machine, and no TCP port is opened. `initdb` refuses root: then
the server runs as `postgres`, or as `nobody` where there is no such user.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

#: Debian keeps a folder a version, and none of them in PATH.
_DEBIAN = Path("/usr/lib/postgresql")
START_S = 60.0
_SETTINGS = (
    "listen_addresses=",
    "max_connections=200",
    "fsync=off",  # a throwaway: what is tested is what a transaction does, not what a disk does
    "log_min_messages=warning",
)


@dataclass
class Server:
    """A server; `folder` has its socket and its log, `who` is what starts a process as its user."""

    folder: Path
    programs: Path
    who: dict[str, Any]
    names: Iterator[int] = field(default_factory=itertools.count)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [part for one in _SETTINGS for part in ("-c", one)]
        argv = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        how: dict[str, Any] = {"cwd": self.folder, "start_new_session": True, **self.who}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*argv, *settings], stdout=log, stderr=log, **how)
        end_s = time.monotonic() + START_S
        while "ready" not in _status(self.folder):
            alive = self.process.poll() is None and time.monotonic() < end_s
            assert alive, f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}"
            time.sleep(0.02)

    def stop(self, *, crash: bool = False) -> None:
        """Stop it at once, whoever is connected; `crash`: without putting anything in order."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://titian@/{database}?host={self.folder}"

    def tell(self, *sentences: str) -> None:
        """Run statements, each by itself (some of these are not allowed within a transaction)."""
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for one in sentences:
                connection.exec_driver_sql(one)
        engine.dispose()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database; it is dropped at the end, with whoever is still connected."""
        name = f"ledger{next(self.names)}"
        self.tell(f"create database {name}")
        try:
            yield self.url(name)
        finally:
            self.tell(f"drop database {name} with (force)")


@contextmanager
def postgresql() -> Iterator[Server]:
    """A server that runs while this lasts; the test is skipped, in words, where there is none to run."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (on Debian and Ubuntu, as root, `make nightly` installs it)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (Titian's extra `postgresql`; `make nightly` installs it)")
    folder = Path(tempfile.mkdtemp(prefix="titian-pg-"))  # short: a socket's path has at most 107 bytes
    try:
        who = _unprivileged(folder)
        argv = [
            str(programs / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "titian",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(
            [*argv, "--no-locale"], cwd=folder, capture_output=True, text=True, timeout=60, check=False, **who
        )
        assert made.returncode == 0, made.stderr
        server = Server(folder, programs, who)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _status(folder: Path) -> str:
    """What the server says of itself in its lock file."""
    try:
        return (folder / "data" / "postmaster.pid").read_text()
    except FileNotFoundError:
        return ""


def _programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest version that is there."""
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]), reverse=True)
    found = shutil.which("postgres")
    candidates = [*versions, *([Path(found)] if found else [])]
    return next((path.parent for path in candidates if (path.parent / "initdb").exists()), None)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to start a process that may own a cluster in `folder`, which becomes its own."""
    if os.geteuid() != 0:
        return {}
    names = {one.pw_name: one for one in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
