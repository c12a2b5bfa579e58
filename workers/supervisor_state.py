"""Which `titian up` runs on a folder: one at a time, and what it says of itself.

In `DATA/run`: `up.lock`, held while it runs (a dead process frees it), and `up.json`:

    {"version": 1, "pid": 12, "started_at": "2026-11-24T09:00:00+00:00",
     "children": [{"name": "valkey", "pid": 13, "starts": 1}]}        pid null: it waits for its restart
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import write_private
from pipeline.errors import AlreadyRunning

STATE_NAME = "up.json"
LOCK_NAME = "up.lock"
#: A process that was just killed may hold its lock for a moment more, seconds.
PATIENCE_S = 0.3


@dataclass(frozen=True)
class ChildState:
    """A child: its process while it runs, and how often it was started."""

    name: str
    pid: int | None
    starts: int


@dataclass(frozen=True)
class UpState:
    """A running `titian up`. started_at: ISO 8601, UTC."""

    pid: int
    started_at: str
    children: tuple[ChildState, ...] = ()


class Claim:
    """The right to run this side, held. Made by `claim`; also a context manager that lets go at the end."""

    def __init__(self, run: Path, lock: FileLock) -> None:
        self._run, self._lock = run, lock
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.say(())

    def say(self, children: Sequence[ChildState]) -> None:
        """Write down how the children stand."""
        state = UpState(os.getpid(), self._started_at, tuple(children))
        write_private(self._run / STATE_NAME, json.dumps({"version": 1, **asdict(state)}))

    def release(self) -> None:
        """Let go."""
        (self._run / STATE_NAME).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def claim(run: Path) -> Claim:
    """Take the folder's right to run, before anything in it is touched; raises `AlreadyRunning`."""
    lock = FileLock(run / LOCK_NAME)
    end_s = time.monotonic() + PATIENCE_S
    while not lock.try_acquire():
        if time.monotonic() > end_s:
            found = running(run)
            who = "" if found is None else f", pid {found.pid}, since {found.started_at}"
            raise AlreadyRunning(f"already running{who}: `titian stop` ends it")
        time.sleep(0.02)
    return Claim(run, lock)


def running(run: Path) -> UpState | None:
    """The `titian up` that runs on this folder now, or `None`. It only reads."""
    holder = FileLock(run / LOCK_NAME).holder()
    if holder is None:
        return None
    try:
        value: Any = json.loads((run / STATE_NAME).read_text(encoding="utf-8"))
        children = tuple(
            ChildState(child["name"], child["pid"], child["starts"]) for child in value["children"]
        )
        state = UpState(value["pid"], value["started_at"], children)
    except (OSError, ValueError, KeyError, TypeError):
        return UpState(holder, "a moment ago")  # it has the lock and has not written yet
    return state if state.pid == holder else UpState(holder, "a moment ago")
