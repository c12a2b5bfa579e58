"""`titian up`, `status` and `stop`: one side's servers and worker processes, under one supervisor."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import SETTINGS_NAME, Folder
from pipeline.errors import StoreDamaged
from pipeline.linksim.profile import parse_address
from workers.embedded import ValkeyServer
from workers.logs import log, set_up_logs
from workers.making import LINK_VALKEY, link_users
from workers.stop_signal import StopSignal
from workers.supervisor import Supervisor
from workers.supervisor_child import ChildSpec
from workers.supervisor_state import claim, running
from workers.watch import TICK
from workers.wiring import ledger_of, nudge_server

#: role -> the ticks of its residents.
REGION_ROLES = {"region": ("push.tick", "pull.tick")}
CENTER_ROLES: dict[str, tuple[str, ...]] = {"intake": ("intake.tick",), "validate": (), "deliver": ()}


def run_up(folder: Folder, take_over: bool) -> int:
    """Run this side until SIGTERM, SIGINT or SIGHUP; returns the exit code.

    Raises `AlreadyRunning`, or `UsageError` for a region whose join file is not right."""
    set_up_logs(folder.settings.log)
    center = folder.settings.side == "center"
    if not center:
        folder.join_file()  # one that is damaged or another's is said here, not by a worker that cannot live
    with claim(folder.run) as held, _servers(folder, center) as servers:
        if center:
            ledger = ledger_of(folder)
            ledger.open_incarnation(int(time.time() * 1000))
            ledger.close()
        roles = CENTER_ROLES if center else REGION_ROLES
        workers = [_worker(folder, role, ticks, take_over) for role, ticks in roles.items()]
        workers.append(_watch(folder))
        said = log("up")
        said.info("up", side=folder.settings.side, folder=str(folder.path))
        there = StillThere(folder.path)
        children = [*servers, *workers]
        stopped = Supervisor(
            children, lambda name, **fields: said.info(name, **fields), held, check=there.check
        )
        stopped.run_until(StopSignal(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    return 0


class StillThere:
    """Whether the folder at `path` is the one that was there: who deletes it leaves processes behind that
    write into files which nobody will ever see."""

    def __init__(self, path: Path) -> None:
        self._path, self._was = path, self._now(path)

    def check(self) -> None:
        """Raises `StoreDamaged` where it was deleted or replaced."""
        if self._now(self._path) != self._was:
            raise StoreDamaged(
                f"{self._path} was deleted or replaced while this side ran on it, so it stops. A center: "
                "restore its ledger from a backup. A region: `titian admit CODE --again` at the center, then "
                "`titian init region --join FILE --rebuild` here"
            )

    @staticmethod
    def _now(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
            (path / SETTINGS_NAME).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


@contextmanager
def _servers(folder: Folder, center: bool) -> Iterator[list[ChildSpec]]:
    """The embedded servers of this side; at the end, once stopped, their sockets' folders go."""
    servers: dict[str, ValkeyServer] = {}
    if not folder.settings.broker.url:
        servers["valkey"] = nudge_server(folder)
    if center and not folder.settings.link.url:
        servers["link-valkey"] = _link_server(folder)
    try:
        yield [server.child(name) for name, server in servers.items()]
    finally:
        for server in servers.values():
            server.leave()


def _link_server(folder: Folder) -> ValkeyServer:
    """The link's broker: regions by TCP, each as its own user; our own processes by socket."""
    listen = parse_address(folder.settings.link.listen)
    return ValkeyServer(
        folder.run / LINK_VALKEY,
        port=listen.port,
        host=listen.host,
        users=link_users(folder),
        maxmemory_bytes=folder.settings.link.memory_bytes_max,
    )


def _worker(folder: Folder, role: str, ticks: tuple[str, ...], take_over: bool) -> ChildSpec:
    argv = [sys.executable, "-I", "-m", "workers.run", role, str(folder.path), str(os.getpid())]
    env = {**os.environ, "TITIAN_DATA": str(folder.path)}
    if take_over:
        argv.append("--take-over")
    ticking: tuple[Path, ...] = tuple(folder.run / name for name in ticks)
    return ChildSpec(role, argv, folder.logs / f"{role}.log", env=env, ticks=ticking)


def _watch(folder: Folder) -> ChildSpec:
    """The process that looks: alarms, the notice, the console."""
    argv = [sys.executable, "-I", "-m", "workers.watch", str(folder.path), str(os.getpid())]
    env = {**os.environ, "TITIAN_DATA": str(folder.path)}
    return ChildSpec("watch", argv, folder.logs / "watch.log", env=env, ticks=(folder.run / TICK,))


def status(folder: Folder) -> dict[str, Any]:
    """Whether this side runs: `running`, and where it does, `pid`, `started_at` and its children."""
    state = running(folder.run)
    found: dict[str, Any] = {"version": 1, "side": folder.settings.side, "running": state is not None}
    if state is not None:
        found |= {**asdict(state), "children": [asdict(child) for child in state.children]}
    return found


def stop(folder: Folder, timeout_s: float) -> bool:
    """Ask this side to stop and wait at most `timeout_s`; True once it has (or did not run)."""
    state = running(folder.run)
    if state is None:
        return True
    os.kill(state.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + timeout_s
    signalled = StopSignal()
    while running(folder.run) is not None:
        if time.monotonic() > deadline_s:
            return False
        signalled.wait(0.1)
    return True
