"""Serves the console with uvicorn until a stop is asked for.

A port that is taken is tried again: the watching goes on without it meanwhile, and `run/console.json` says
where it is served, or why it is not.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import threading
from contextlib import suppress
from typing import Any

from pipeline.adapters.folder import Folder, write_private
from pipeline.errors import UsageError
from pipeline.linksim.profile import Address, parse_address
from pipeline.settings import CONSOLE_PORTS
from workers.console.side import Side
from workers.logs import log
from workers.watching import Watching

STATE_NAME = "console.json"
#: A taken port is tried again after so long, seconds.
AGAIN_S = 15.0


def listen_at(folder: Folder) -> tuple[str, int] | None:
    """Where the console of that side listens; `None`: nowhere. Raises `UsageError`."""
    wanted = folder.settings.console.listen
    if wanted == "off":
        return None
    if not wanted:
        return "127.0.0.1", CONSOLE_PORTS[folder.settings.side]
    try:
        address = parse_address(wanted)
    except ValueError as why:
        raise UsageError(f"console.listen: {why}") from None
    return address.host, address.port


def serve(folder: Folder, watching: Watching, stop: threading.Event) -> None:
    """Serve until SIGTERM or SIGINT; returns then."""
    asyncio.run(_serve(folder, watching, stop))


async def _serve(folder: Folder, watching: Watching, stop: threading.Event) -> None:
    asked = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, asked.set)
    at = listen_at(folder)
    while at is not None and not asked.is_set():
        try:
            listener = socket.create_server(at, family=_family(at[0]), reuse_port=False)
        except OSError as why:
            said = _why_not(Address(*at), why)
            _say(folder, {"listen": None, "why": said})
            log("console").warning("not served", why=said)
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), AGAIN_S)
            continue
        with listener:
            await _until(asked, listener, Side(folder, watching), stop)
    await asked.wait()
    stop.set()
    (folder.run / STATE_NAME).unlink(missing_ok=True)


async def _until(asked: asyncio.Event, listener: socket.socket, side: Side, stop: threading.Event) -> None:
    from workers.console.server import server_of

    where = str(Address(*listener.getsockname()[:2]))
    _say(side.folder, {"listen": where, "why": ""})
    log("console").info("served", at=f"http://{where}/")
    server = server_of(side)
    serving = asyncio.create_task(server.serve([listener]))
    done = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, done}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()  # streams of events end
    server.should_exit = True
    await serving
    done.cancel()


def _why_not(at: Address, why: OSError) -> str:
    if why.errno == errno.EADDRINUSE:
        return (
            f"{at} is taken, perhaps by another side's console: give this one an address of its own "
            f"(console.listen), or end what has it; it is tried again each {AGAIN_S:.0f} s"
        )
    return f"{at}: {os.strerror(why.errno) if why.errno else why}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _say(folder: Folder, state: dict[str, Any]) -> None:
    with suppress(OSError):
        write_private(folder.run / STATE_NAME, json.dumps({"version": 1, **state}))
