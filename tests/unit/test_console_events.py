"""Figures that are pushed: one document for all pages, none too often, none kept for who does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.console_rig import Browser, Console, add_token, console_of, copied_sides
from workers.console import events
from workers.console.events import STREAMS_MAX

#: Nothing here takes so long, seconds.
DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EACH_S", 0.05)
    monkeypatch.setattr(events, "_STOP_S", 0.05)


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return console_of(copied_sides(tmp_path).region)


class Stream:
    """One open page: what it was sent, as ASGI has it. It reads only when `reads` is set."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: list[bytes] = []
        self.reads, self.gone = asyncio.Event(), asyncio.Event()
        self.reads.set()

    async def send(self, message: dict[str, Any]) -> None:
        """What the server calls."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            await self.reads.wait()
            self.parts.append(message.get("body", b""))

    async def receive(self) -> dict[str, Any]:
        """What the server waits for: that the page is closed."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def events(self) -> list[dict[str, Any]]:
        """The documents."""
        lines = b"".join(self.parts).decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def scope_of(console: Console, headers: dict[str, str]) -> dict[str, Any]:
    sent = {"host": "127.0.0.1:6381", "accept": "text/event-stream", "accept-encoding": "gzip", **headers}
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/events", "raw_path": b"/events", "query_string": b"", "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in sent.items()],
        "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 6381), "state": {}, "app": console.app,
    }  # fmt: skip


@asynccontextmanager
async def opened(
    console: Console, headers: dict[str, str]
) -> AsyncIterator[tuple[Stream, asyncio.Task[None]]]:
    stream = Stream()
    task = asyncio.create_task(console.app(scope_of(console, headers), stream.receive, stream.send))  # type: ignore[arg-type]
    try:
        yield stream, task
    finally:
        stream.gone.set()
        stream.reads.set()
        await asyncio.wait_for(task, DEADLINE_S)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


def cookies(browser: Browser) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


def bearer(console: Console) -> dict[str, str]:
    return {"authorization": f"Bearer {add_token(console.folder.path, 'ab12', 'reader', 'titian_secret')}"}


def test_a_page_gets_the_newest_document_at_once_and_then_each_newer_one(console: Console) -> None:
    signed_in = cookies(console.signed_in("budi"))

    async def run() -> None:
        async with opened(console, signed_in) as (stream, _):
            await until(lambda: len(stream.events) == 1)
            console.watching.look()
            await until(lambda: len(stream.events) == 2)
            text = b"".join(stream.parts).decode()
            assert stream.status == 200
            assert "event: depth" in text
            assert [line for line in text.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2"]
            assert set(stream.events[1]["headline"]) == {"id", "en"}
            assert stream.events[1] | {"headline": 0} == (console.watching.latest() or {}) | {"headline": 0}

    asyncio.run(run())


def test_a_page_that_opens_before_the_first_look_waits_for_it(tmp_path: Path) -> None:
    console = console_of(copied_sides(tmp_path).region, looked=False)
    headers = bearer(console)

    async def run() -> None:
        async with opened(console, headers) as (stream, _):
            await until(lambda: stream.status == 200)
            assert not stream.events
            console.watching.look()
            await until(lambda: len(stream.events) == 1)

    asyncio.run(run())


def test_many_pages_cost_one_document(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, made = bearer(console), []
    encoded = events._encoded
    monkeypatch.setattr(events, "_encoded", lambda document: made.append(1) or encoded(document))

    async def run() -> None:
        async with opened(console, headers) as (one, _), opened(console, headers) as (two, _):
            async with opened(console, headers) as (three, _):
                await until(lambda: all(len(each.events) == 1 for each in (one, two, three)))
                console.watching.look()
                await until(lambda: all(len(each.events) == 2 for each in (one, two, three)))
            console.watching.look()
            await until(lambda: len(one.events) == len(two.events) == 3)
            assert len(three.events) == 2

    asyncio.run(run())
    assert len(made) == 3


def test_a_page_that_does_not_read_misses_documents_and_holds_none(console: Console) -> None:
    headers = bearer(console)

    async def run() -> None:
        async with opened(console, headers) as (slow, _), opened(console, headers) as (quick, _):
            await until(lambda: len(slow.events) == len(quick.events) == 1)
            slow.reads.clear()
            for n in range(2, 8):
                console.watching.look()
                await until(lambda n=n: len(quick.events) == n)  # type: ignore[misc]
            slow.reads.set()
            await until(lambda: len(slow.events) == 3)
            ids = [line for line in b"".join(slow.parts).decode().splitlines() if line.startswith("id: ")]
            assert ids == ["id: 1", "id: 2", "id: 7"], "what was on its way, then the newest"

    asyncio.run(run())


def test_only_so_many_are_open_and_one_that_closes_makes_room(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = bearer(console)
    monkeypatch.setattr(events, "STREAMS_MAX", 2)

    async def run() -> None:
        async with opened(console, headers) as (one, _):
            async with opened(console, headers) as (two, _), opened(console, headers) as (three, task):
                await asyncio.wait_for(task, DEADLINE_S)  # all three came at once
                assert three.status == 503
                await until(lambda: bool(one.events and two.events))
            async with opened(console, headers) as (four, _):
                await until(lambda: bool(four.events))

    asyncio.run(run())
    assert STREAMS_MAX == 64


def test_all_end_when_the_process_is_asked_to_stop(console: Console) -> None:
    headers = bearer(console)

    async def run() -> None:
        async with opened(console, headers) as (one, first), opened(console, headers) as (two, second):
            await until(lambda: bool(one.events and two.events))
            console.stop.set()
            done, _ = await asyncio.wait({first, second}, timeout=2.0)
            assert len(done) == 2

    asyncio.run(run())


def test_a_stream_ends_with_its_session_and_does_not_keep_it(console: Console) -> None:
    browser = console.signed_in("budi")
    headers = cookies(browser)

    async def run() -> None:
        async with opened(console, headers) as (stream, task):
            await until(lambda: bool(stream.events))
            console.clock.advance(0.6 * console.folder.settings.console.session_s)
            console.watching.look()
            await until(lambda: len(stream.events) == 2)
            console.clock.advance(0.6 * console.folder.settings.console.session_s)
            console.watching.look()
            await asyncio.wait_for(task, DEADLINE_S)
            assert len(stream.events) == 2

    asyncio.run(run())
    assert browser.get("/").status_code == 303


def test_whoever_has_not_signed_in_gets_none(console: Console) -> None:
    async def run() -> None:
        async with opened(console, {}) as (stream, task):
            await asyncio.wait_for(task, DEADLINE_S)
            assert stream.status == 401

    asyncio.run(run())


def test_at_the_center_the_regions_are_not_sent_again_and_again(tmp_path: Path) -> None:
    console = console_of(copied_sides(tmp_path).center)
    headers = bearer(console)

    async def run() -> None:
        async with opened(console, headers) as (stream, _):
            await until(lambda: bool(stream.events))
            assert "regions" not in stream.events[0]

    asyncio.run(run())
    latest = console.watching.latest()
    assert latest is not None
    assert latest["regions"], "the document itself keeps them"
