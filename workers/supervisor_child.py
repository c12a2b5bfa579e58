"""One child process of the supervisor: its start, its end, and whether it still moves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RESTART_S_MIN = 0.5
RESTART_S_MAX = 30.0
#: A child that lived so long had started well: its next failure counts as the first.
LIVED_WELL_S = 60.0
#: A tick file that has not changed for so long means that the child hangs, seconds.
TICK_S_MAX = 30.0
#: The same until its first change after a start: a slow machine imports for long.
FIRST_TICK_S_MAX = 60.0
LOG_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True)
class ChildSpec:
    """How a child is run. It must end with its parent by itself: see `workers.deathsig`.

    argv: its command line. env: `None` for ours. log: takes all that it says.
    ready: whether it answers. A child that has it is one that others need: it is started before them, awaited
    (`ready_s` seconds) and stopped after them. before: called before each start; says in words what it did.
    ticks: files that it touches once a second while it moves.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    ready: Callable[[], bool] | None = None
    ready_s: float = 60.0
    before: Callable[[], Sequence[str]] | None = None
    ticks: Sequence[Path] = ()


def restart_delay_s(failures: int, lived_s: float, rng: random.Random) -> float:
    """Seconds to wait before a restart: 0.5, doubling with each failure in a row, a quarter more or less, at
    most 30.

    failures: how many short lives in a row, this one included (1 or more). A life of 60 s starts anew.
    """
    row = 1 if lived_s >= LIVED_WELL_S else max(1, failures)
    longest = min(RESTART_S_MAX, RESTART_S_MIN * 2.0 ** min(row - 1, 16))
    return min(RESTART_S_MAX, longest * rng.uniform(0.75, 1.25))


class Child:
    """The process of a spec, over its lives. Times in seconds on the monotonic clock."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.starts = 0
        self.started_s = 0.0
        #: When to start it again, while it does not run.
        self.due_s = 0.0
        self._ticks: dict[Path, tuple[int, float, bool]] = {}

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self.process is None else self.process.pid

    def start(self) -> list[str]:
        """Start it; returns what was done before. Errors come through: the caller tries again."""
        notes = list(self.spec.before()) if self.spec.before is not None else []
        _turn_over(self.spec.log)
        self.process = spawn(self.spec.argv, self.spec.log, self.spec.env)
        self.starts += 1
        self.started_s = time.monotonic()
        self.forgive(self.started_s)
        return notes

    def has_ended(self) -> bool:
        """Whether it does not run any more; what it left in its process group is killed with that."""
        if self.process is None or self.process.returncode is not None:
            return True
        if hasattr(os, "waitid"):
            # Seen but not reaped: its number is still its own, so the group is surely its.
            with suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return False
                self.signal_group(signal.SIGKILL)
        return self.process.poll() is not None

    def send(self, signum: signal.Signals) -> None:
        """A signal to the child alone, if it runs."""
        if self.process is not None and self.process.returncode is None:  # not reaped: the number is its own
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signum)

    def signal_group(self, signum: signal.Signals) -> None:
        """A signal to the child and all that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signum)

    # --- does it move ---------------------------------------------------------------------------

    def forgive(self, now_s: float) -> None:
        """Count the age of its ticks from now on: it has just started, or we have slept ourselves."""
        self._ticks = {path: (_stamp(path), now_s, False) for path in self.spec.ticks}

    def stuck(self, now_s: float) -> Path | None:
        """The tick file that is too old, if there is one.

        Its age is counted on our clock from its last change that we saw: a wall clock that was set does no
        harm.
        """
        for path, (seen, since_s, moved) in self._ticks.items():
            stamp = _stamp(path)
            if stamp != seen:
                self._ticks[path] = (stamp, now_s, True)
            elif now_s - since_s > (TICK_S_MAX if moved else FIRST_TICK_S_MAX):
                return path
        return None


def spawn(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process that says all to `log` (0600), in a session of its own: Ctrl-C at the terminal reaches
    only us."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            list(argv),
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(output)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _turn_over(log: Path) -> None:
    """A log that has grown large becomes the former one."""
    with suppress(OSError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_name(f"{log.name}.1"))
