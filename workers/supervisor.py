"""`titian up`'s core: runs the side's servers and workers, restarts what dies or hangs, stops them in order.

Servers (children that can say whether they are ready) start first, one after the other, then the workers; a
stop goes the other way round: workers end their slices while their server still answers. A child that ends by
itself is started again with a growing delay; one whose tick file no longer changes is killed for it. What a
child leaves behind in its process group is killed with it.

The children die with us, also by `kill -9` (each asks for that itself: `workers.deathsig`); so a supervisor
is used from the main thread.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import TitianError, Unreachable
from workers.embedded_files import last_lines
from workers.supervisor_child import LIVED_WELL_S, Child, ChildSpec, restart_delay_s
from workers.supervisor_state import ChildState, Claim

__all__ = ["ChildSpec", "Stopped", "Supervisor", "restart_delay_s"]

#: How long a side may take to stop, seconds; the servers have the last fifth of it.
STOP_S = 5.0
_SERVERS_SHARE = 0.2
#: How soon the end of a child is seen, seconds.
LOOK_S = 0.2
#: If two looks lie so far apart, we have slept ourselves (a paused machine): no tick is too old then.
SLEPT_S = 10.0
_POLL_S = 0.01
#: How often a server is started before `start` gives up: `before` may have mended what was in its way.
_STARTS_MAX = 2

OnEvent = Callable[..., None]


class StopEvent(Protocol):
    """`threading.Event`, or `StopSignal` where a signal handler sets it."""

    def is_set(self) -> bool:
        """Whether a stop was asked for."""

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether a stop was asked for."""


@dataclass(frozen=True)
class Stopped:
    """How a stop went: the children that had to be killed, and how long it took, seconds."""

    killed: tuple[str, ...]
    seconds: float


class Supervisor:
    """Runs `children`. on_event: `on_event(name, **fields)` at each turn: `child_started`, `child_ended`,
    `child_stuck`, `child_not_started`, `child_note`, `child_killed`, `stopped`. claim: where it is written
    down how they stand. check: raises where there is no sense in going on; asked at each look."""

    def __init__(
        self,
        children: Sequence[ChildSpec],
        on_event: OnEvent,
        claim: Claim | None = None,
        rng: random.Random | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._servers = [Child(spec) for spec in children if spec.ready is not None]
        self._workers = [Child(spec) for spec in children if spec.ready is None]
        self._on_event = on_event
        self._claim = claim
        self._rng = rng or random.Random()
        self._check = check
        self._looked_s = time.monotonic()

    @property
    def states(self) -> tuple[ChildState, ...]:
        """How the children stand."""
        return tuple(
            ChildState(child.spec.name, child.pid, child.starts) for child in self._servers + self._workers
        )

    def run_until(self, stop: StopEvent) -> Stopped:
        """Start all, keep them running until `stop` is set, then stop all.

        Raises `Unreachable` if a server does not start; nothing runs then.
        """
        try:
            self.start(stop)
            while not stop.wait(LOOK_S):
                self._check()
                self.look(time.monotonic())
        except BaseException:
            self.stop()
            raise
        return self.stop()

    def start(self, stop: StopEvent | None = None) -> None:
        """Start all, servers first; ends early when `stop` is set. Raises `Unreachable`: see `run_until`."""
        for server in self._servers:
            self._start_server(server, stop)
        for worker in self._workers:
            if stop is None or not stop.is_set():
                self._start(worker)
        self._looked_s = time.monotonic()

    def look(self, now_s: float) -> None:
        """One look at every child: what has ended gets its time of restart, what is due is started."""
        slept = now_s - self._looked_s > SLEPT_S
        self._looked_s = now_s
        for child in self._servers + self._workers:
            if child.process is None:
                if now_s >= child.due_s:
                    self._start(child)
                continue
            if slept:
                child.forgive(now_s)
            stuck = child.stuck(now_s)
            if stuck is not None and not child.has_ended():
                self._on_event("child_stuck", child=child.spec.name, pid=child.pid, tick=stuck.name)
                child.signal_group(signal.SIGKILL)
                self._wait([child], now_s + 1.0)
            if child.has_ended():
                self._ended(child, now_s)

    def stop(self, deadline_s: float = STOP_S) -> Stopped:
        """SIGTERM to the workers, then to the servers; SIGKILL to what is left in the end. Says which."""
        began_s = time.monotonic()
        end_s = began_s + deadline_s
        killed: list[str] = []
        groups = (self._workers, end_s - deadline_s * _SERVERS_SHARE), (self._servers, end_s)
        for children, until_s in groups:
            for child in children:
                child.send(signal.SIGTERM)
            for child in self._wait(children, until_s):
                child.signal_group(signal.SIGKILL)
                self._on_event("child_killed", child=child.spec.name, pid=child.pid)
                killed.append(child.spec.name)
            self._wait(children, time.monotonic() + 1.0)
            for child in children:
                child.process = None
        stopped = Stopped(tuple(killed), time.monotonic() - began_s)
        self._on_event("stopped", killed=list(stopped.killed), seconds=round(stopped.seconds, 2))
        return stopped

    # --- inside ---------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        try:
            notes = child.start()
        except (OSError, TitianError) as why:
            child.failures += 1
            delay_s = restart_delay_s(child.failures, 0.0, self._rng)
            child.due_s = time.monotonic() + delay_s
            self._on_event(
                "child_not_started", child=child.spec.name, why=str(why), restart_in_s=round(delay_s, 1)
            )
            return
        for note in notes:
            self._on_event("child_note", child=child.spec.name, what=note)
        self._on_event("child_started", child=child.spec.name, pid=child.pid)
        self._say()

    def _start_server(self, server: Child, stop: StopEvent | None) -> None:
        for _ in range(_STARTS_MAX):
            self._start(server)
            if self._awaited(server, stop):
                return
            if not server.has_ended():
                break
        raise Unreachable(
            f"{server.spec.name} did not start: {server.spec.log} says\n{last_lines(server.spec.log)}"
        )

    def _awaited(self, server: Child, stop: StopEvent | None) -> bool:
        """Wait until it is ready; True also when a stop was asked for meanwhile."""
        ready = server.spec.ready
        end_s = time.monotonic() + server.spec.ready_s
        while time.monotonic() < end_s and not server.has_ended():
            if (stop is not None and stop.is_set()) or ready is None or ready():
                return True
            time.sleep(_POLL_S)
        return False

    def _ended(self, child: Child, now_s: float) -> None:
        process, child.process = child.process, None
        lived_s = now_s - child.started_s
        child.failures = 1 if lived_s >= LIVED_WELL_S else child.failures + 1
        delay_s = restart_delay_s(child.failures, lived_s, self._rng)
        child.due_s = now_s + delay_s
        self._on_event(
            "child_ended",
            child=child.spec.name,
            code=None if process is None else process.returncode,
            lived_s=round(lived_s, 1),
            restart_in_s=round(delay_s, 1),
        )
        self._say()

    def _wait(self, children: Sequence[Child], until_s: float) -> list[Child]:
        """Wait until they have ended; returns those that have not."""
        while left := [child for child in children if not child.has_ended()]:
            if time.monotonic() >= until_s:
                break
            time.sleep(_POLL_S)
        return left

    def _say(self) -> None:
        """Write down how they stand; a full disk is no reason to stop them."""
        if self._claim is not None:
            try:
                self._claim.say(self.states)
            except OSError as why:
                self._on_event("state_not_written", why=str(why))
