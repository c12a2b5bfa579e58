"""What `titian doctor` measures of the kernel's part of the link; `doctor_kernel` judges."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis

from pipeline.adapters.folder import Folder
from pipeline.adapters.redis_dial import Dial, Endpoint
from pipeline.adapters.tcp_options import help_of
from pipeline.adapters.throttled import ThrottledSocket
from pipeline.inspection.doctor_kernel import Host, Kernel
from pipeline.throttle import Controller
from workers.looking import link_of

#: Where Linux says which congestion controls are loaded, and which are allowed to everybody.
_CONGESTION = "/proc/sys/net/ipv4/tcp_{}_congestion_control"


def kernel_of(folder: Folder) -> Kernel:
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
