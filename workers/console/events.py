"""Figures that move, pushed to every open page: `GET /events`.

However many pages are open, one task waits for the watching thread's next document and encodes it once. A
page gets the newest one whenever it can take one: one that reads slowly misses some, and holds one in memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from workers.console.auth import Access, who_of
from workers.console.documents import with_headline
from workers.console.side import Side

STREAMS_MAX = 64
#: A newer document is sent at most so often, seconds.
EACH_S = 2.0
PING_S = 15
#: How long a page may take to read one message, seconds; then it is cut off, and asks again by itself.
SEND_S = 20.0
#: So soon it is noticed that the process is asked to stop, seconds.
_STOP_S = 0.5


class _Message(NamedTuple):
    looks: int
    text: str


class _Counted(Response):
    """An answer that `Events.serve` gives."""

    def __init__(self, events: Events, request: Request) -> None:
        self._events, self._request = events, request
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._events.serve(self._request, scope, receive, send)


class Events:
    """All open streams of one side."""

    def __init__(self, side: Side, access: Access) -> None:
        self._side, self._access = side, access
        self._open = 0
        self._newest: _Message | None = None
        self._changed: asyncio.Condition | None = None
        self._task: asyncio.Task[None] | None = None

    def routes(self) -> list[BaseRoute]:
        """The one that streams."""
        return [Route("/events", self._events)]

    async def _events(self, request: Request) -> Response:
        return _Counted(self, request)

    async def serve(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """One stream, from its first byte to its last; or that there are too many."""
        if self._open >= STREAMS_MAX:
            said = {"version": 1, "error": f"{STREAMS_MAX} pages are open already: close one, or ask again"}
            return await JSONResponse(said, 503, headers={"retry-after": "30"})(scope, receive, send)
        self._open += 1  # nothing may stand between this and what was asked before it
        try:
            stream = EventSourceResponse(self._stream(request), ping=PING_S, send_timeout=SEND_S)
            await stream(scope, receive, send)
        finally:
            self._open -= 1

    async def _stream(self, request: Request) -> AsyncIterator[ServerSentEvent]:
        sent = -1
        while (message := await self._newer(sent)) is not None and self._may(request):
            sent = message.looks
            yield ServerSentEvent(message.text, event="depth", id=str(sent), retry=3_000)

    def _may(self, request: Request) -> bool:
        """Whether who looks is still signed in; a stream alone does not keep anybody so."""
        who = who_of(request)
        if who is not None and who.by_bearer:
            return self._access.bearer(request) is not None
        return self._access.session(request, touch=False) is not None

    async def _newer(self, looks: int) -> _Message | None:
        """The newest message, once it is newer than `looks`; `None` when the process is asked to stop."""
        if self._changed is None:
            self._changed = asyncio.Condition()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._pump(self._changed))
        async with self._changed:
            await self._changed.wait_for(lambda: self._stopping or self._is_newer(looks))
        return None if self._stopping else self._newest

    def _is_newer(self, looks: int) -> bool:
        return self._newest is not None and self._newest.looks > looks

    @property
    def _stopping(self) -> bool:
        return self._side.watching.stopping

    async def _pump(self, changed: asyncio.Condition) -> None:
        """Wait for documents as long as a page is open."""
        loop, watching = asyncio.get_running_loop(), self._side.watching
        while self._open and not self._stopping:
            before_s = loop.time()
            known = -1 if self._newest is None else self._newest.looks
            looks = await asyncio.to_thread(watching.wait_newer, max(0, known), _STOP_S)
            document = watching.latest()
            if looks > known and document is not None:
                text = await asyncio.to_thread(_encoded, document)
                async with changed:
                    self._newest = _Message(looks, text)
                    changed.notify_all()
                await self._rest(before_s + EACH_S)
        async with changed:
            changed.notify_all()

    async def _rest(self, until_s: float) -> None:
        """Until the next may be sent, or the process is asked to stop."""
        loop = asyncio.get_running_loop()
        while (left_s := until_s - loop.time()) > 0 and not self._stopping:
            with suppress(TimeoutError):
                await asyncio.sleep(min(left_s, _STOP_S))


def _encoded(document: dict[str, Any]) -> str:
    """As it travels; at a center without its regions, which are too many to be sent again and again."""
    found = with_headline(document)
    if found["side"] == "center":
        found.pop("regions", None)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
