"""Whoever connects and says nothing, or never ends what they say, does not keep others out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn

from pipeline.adapters.folder import open_folder
from tests.unit.console_rig import Console, add_user, copied_sides
from workers.console import connections, guard

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def console(tmp_path: Path) -> Console:
    region = copied_sides(tmp_path).region
    add_user(region, "siti", "operator")
    return Console(open_folder(region))


def served(console: Console, tried: Callable[[int], Awaitable[None]]) -> None:
    """Try something on that console, behind a real socket."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(
                console.app,
                http=connections.Bounded,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=0,
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server._serve([listener]))
            try:
                async with asyncio.timeout(15):
                    await tried(listener.getsockname()[1])
            finally:
                server.should_exit = True
                await serving

    asyncio.run(main())


def test_a_request_that_does_not_end_is_cut_off(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)

    async def tried(port: int) -> None:
        for beginning in (b"", HEAD, HEAD + b"\r\n" + HEAD):
            reads, writes = await asyncio.open_connection("127.0.0.1", port)
            writes.write(beginning)
            said = await reads.read()  # returns at the end
            assert said.startswith(b"HTTP/1.1 ") == (b"\r\n\r\n" in beginning)
            writes.close()

    served(console, tried)


def test_a_form_that_does_not_end_is_refused(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.1)

    async def tried(port: int) -> None:
        reads, writes = await asyncio.open_connection("127.0.0.1", port)
        writes.write(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nname=")
        assert (await reads.readline()).startswith(b"HTTP/1.1 408")
        writes.close()

    served(console, tried)


def test_so_many_connections_and_not_one_more(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 3)

    async def tried(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reads, writes = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            assert await reads.read() == b""
            raise ConnectionResetError
        writes.close()
        for _, one in held:
            one.close()

    served(console, tried)
