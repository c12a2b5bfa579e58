"""What `titian doctor` measures, here and on the way to the center; `pipeline.inspection.doctor` judges."""

from __future__ import annotations

import os
import socket
import stat
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.redis_dial import Dial, Endpoint
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.tcp_options import help_of
from pipeline.adapters.throttled import ThrottledSocket
from pipeline.errors import TitianError
from pipeline.inspection import doctor, doctor_kernel
from pipeline.inspection.doctor import Check
from pipeline.inspection.doctor_kernel import Host, Kernel
from pipeline.inspection.mirror import mirror_json, recovery_check, recovery_json
from pipeline.settings import Settings
from pipeline.throttle import Controller
from workers.embedded import ValkeyServer
from workers.looking import ledger_place, link_of
from workers.making import LINK_VALKEY
from workers.supervisor_state import running

#: How long a server may take to answer, seconds.
ANSWER_S = 3.0
_FSYNCS = 5
#: Variables of ours that are no settings.
_OURS = ("TITIAN_DATA", "TITIAN_DEBUG")
#: Where Linux says which congestion controls are loaded, and which are allowed to everybody.
_CONGESTION = "/proc/sys/net/ipv4/tcp_{}_congestion_control"


def examine(folder: Folder) -> Iterator[Check]:
    """Every check of that side, in order."""
    path, now_ms = folder.path, SystemClock().now_ms()
    up = running(path / "run")
    yield doctor.python(tuple(sys.version_info[:3]))
    yield doctor.packages({name: _place(name) for name in ("schemas", "pipeline", "workers")})
    yield doctor.settings(_unknown_variables())
    yield doctor.modes(_open_to_others(path), str(path))
    yield doctor.room(free_bytes(path), folder.settings.outbox.low_water_bytes)
    yield doctor.fsync(_fsync_ms(path))
    yield _keys(folder)
    yield doctor.running(None if up is None else up.pid, "" if up is None else up.started_at, str(path))
    if folder.settings.side == "region":
        yield from _region(folder, now_ms)
    else:
        yield from _center(folder, now_ms, up is not None)
    yield from _broker("broker", folder, folder.settings.broker.url, "valkey", up is not None)


def _region(folder: Folder, now_ms: int) -> Iterator[Check]:
    import apsw

    yield doctor.sqlite("apsw", apsw.sqlite_lib_version())
    try:
        outbox = OutboxReader(folder.path)
        future = [one.minute * 60_000 for one in outbox.rates(now_ms // 60_000 + 1)]
        lost = outbox.meta().tallies.get("lost", 0)
        outbox.close()
        yield doctor.store("outbox", "")
        yield doctor.lost(lost)
        yield doctor.clock_forward(now_ms, max(future, default=None))
    except TitianError as why:
        yield doctor.store("outbox", str(why))
    try:
        RegistryReader(folder.path).close()
        yield doctor.store("registry", "")
    except TitianError as why:
        yield doctor.store("registry", str(why))
    mirror = mirror_json(folder)
    if mirror is not None:
        yield doctor.mirror(mirror)
    recovery = recovery_json(folder)
    if recovery is not None:
        yield recovery_check(recovery)
    worker = link_of(folder)
    off_ms = worker.value("clock_off_ms")
    yield doctor.clock_off(None if off_ms is None else int(off_ms))
    yield doctor.served(
        _link(folder),
        bool(worker.value("superseded")),
        str(worker.value("refusal") or ""),
        str(worker.value("denied") or ""),
    )
    yield from doctor_kernel.kernel(_kernel(folder))


def _center(folder: Folder, now_ms: int, is_up: bool) -> Iterator[Check]:
    import pysqlite3

    place = ledger_place(folder)
    if isinstance(place, Path):
        yield doctor.sqlite("pysqlite3", str(pysqlite3.sqlite_version))
    try:
        ledger = LedgerReader.open(place)
        future = [minute * 60_000 for minute in ledger.rates(now_ms // 60_000 + 1)]
        ledger.close()
        yield doctor.store("ledger", "")
        yield doctor.clock_forward(now_ms, max(future, default=None))
    except TitianError as why:
        yield doctor.store("ledger", str(why))
    yield from _broker("link broker", folder, folder.settings.link.url, LINK_VALKEY, is_up)


# --- the machine ----------------------------------------------------------------------------------


def _place(name: str) -> str:
    file = import_module(name).__file__
    return str(Path(file).resolve().parent.parent) if file else "?"


def _unknown_variables() -> list[str]:
    """TITIAN_... variables whose first part is no setting."""
    known = tuple(f"TITIAN_{name.upper()}" for name in Settings.model_fields)
    found = [name for name in os.environ if name.startswith("TITIAN_") and name not in _OURS]
    return sorted(name for name in found if name.split("__")[0] not in known)


def _open_to_others(path: Path) -> list[str]:
    """What of the folder others may read or write: any right for group or others."""
    found = []
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        found.append(str(path))
    for one in sorted([*path.iterdir(), *(path / "keys").glob("*")]):
        with suppress(OSError):  # it may go while we look
            mode = one.lstat().st_mode
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
                found.append(one.name)
    return found


def _fsync_ms(path: Path) -> float | None:
    """The median of a few durable writes of 4 KiB, milliseconds."""
    probe = path / f".doctor.{os.getpid()}"
    took = []
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(_FSYNCS):
                began_s = time.perf_counter()
                os.write(handle, bytes(4096))
                os.fsync(handle)
                took.append((time.perf_counter() - began_s) * 1000)
        finally:
            os.close(handle)
            probe.unlink()
    except OSError:
        return None
    return statistics.median(took)


def _keys(folder: Folder) -> Check:
    try:
        return doctor.keys(len(folder.private_keys()), "")
    except TitianError as why:
        return doctor.keys(0, str(why))
    except (ValueError, KeyError, TypeError, OSError) as why:
        return doctor.keys(0, f"a key cannot be read: {why}")


# --- the kernel's part of the link -------------------------------------------------------------------


def _kernel(folder: Folder) -> Kernel:
    """From the open connection, as the worker says; with none, from a socket that asks for the same."""
    asked, link = folder.settings.throttle, link_of(folder)
    said, throttle = link.value("kernel"), link.value("throttle")
    connected = isinstance(said, dict)
    return Kernel(
        congestion=asked.congestion,
        lower_effort=asked.lower_effort,
        held=said if connected else _tried(asked.congestion, asked.lower_effort),
        connected=connected,
        by_answers=connected and isinstance(throttle, dict) and bool(throttle.get("by_answers")),
        host=Host(_listed("available"), _listed("allowed")),
    )


def _tried(congestion: str, lower_effort: bool) -> dict[str, Any]:
    """A connection within this machine, dialled as the link's is: nobody accepts it, nothing is sent."""
    throttled = ThrottledSocket(
        Controller(), time.monotonic, congestion=congestion, lower_effort=lower_effort
    )
    with suppress(OSError, redis.exceptions.RedisError), socket.create_server(("127.0.0.1", 0)) as nobody:
        dial = Dial(Endpoint("127.0.0.1", nobody.getsockname()[1]), throttled)
        try:
            dial.connect()  # type: ignore[no-untyped-call]
            if dial.dialled is not None:
                return asdict(help_of(dial.dialled))
        finally:
            dial.disconnect()  # type: ignore[no-untyped-call]
    return {}


def _listed(which: str) -> tuple[str, ...]:
    with suppress(OSError):
        return tuple(Path(_CONGESTION.format(which)).read_text(encoding="ascii").split())
    return ()


# --- servers --------------------------------------------------------------------------------------


def _broker(name: str, folder: Folder, url: str, valkey: str, is_up: bool) -> Iterator[Check]:
    if not url and not is_up:
        yield from doctor.broker(name, None, "", "")
        return
    try:
        url = url or ValkeyServer(folder.path / "run" / valkey, users=None).url
        with _client(url) as client:
            client.ping()
            policy = ""
            with suppress(redis.exceptions.ResponseError):  # CONFIG may be denied to us
                said: Any = client.config_get("maxmemory-policy")
                policy = str(said.get("maxmemory-policy", ""))
        yield from doctor.broker(name, True, "", policy)
    except (redis.exceptions.RedisError, TitianError, OSError, ValueError) as why:
        yield from doctor.broker(name, False, " ".join(str(why).split()), "")


def _link(folder: Folder) -> Check:
    """Dial the center's broker as the region does, and say who we are."""
    try:
        join = folder.join_file()
    except TitianError as why:
        return Check("link", "fail", str(why), "ask the center: titian admit CODE --again")
    address = f"{join.host}:{join.port}"
    try:
        with redis.Redis(
            host=join.host,
            port=join.port,
            username=join.username,
            password=join.password,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
        return doctor.link(address, "ok", "")
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as why:
        return doctor.link(address, "denied", str(why))
    except (redis.exceptions.RedisError, OSError, socket.gaierror) as why:
        return doctor.link(address, "unreachable", " ".join(str(why).split()))


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
