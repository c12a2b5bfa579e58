"""Headers of every answer of the console, and what is said where a route of ours fails."""

from __future__ import annotations

import traceback

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.logs import log

#: Scripts and styles come from our own files only: what somebody wrote into a packet cannot run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Headers:
    """The middleware. A route that sets one of these headers itself keeps its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except Exception as why:
            if started or scope["type"] != "http":
                raise
            frames = traceback.extract_tb(why.__traceback__)[-3:]
            # Not its words, which may hold what somebody asked for.
            log("console").error(
                "defect", code=type(why).__name__, at=[f"{one.filename}:{one.lineno}" for one in frames]
            )
            answer = PlainTextResponse("a defect of Titian's own: see the log of its watching process\n", 500)
            await answer(scope, receive, with_headers)
