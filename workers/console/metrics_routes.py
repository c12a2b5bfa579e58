"""Routes of the console for machines: `/metrics`, `/healthz`, `/readyz`.

A scrape takes the newest document of the thread that looks; where that is older than two of its periods (it
hangs, or the first look is still to come) it makes one itself. `/metrics` is for those whom `auth.may_read`
lets in; the other two answer anybody, in words only this machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pipeline.inspection.health import Checked, document
from workers.console.auth import is_local, may_read
from workers.console.side import Side
from workers.exposition import exposed
from workers.measured import depth_of, health_of, metrics_of, readiness_of
from workers.watching import LOOK_S

#: What is measured for `/readyz` holds so long, seconds: it answers anybody, as often as they ask.
READY_S = 1.0


def routes(side: Side) -> list[BaseRoute]:
    """Those of that side."""
    gzip = Middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)  # 14 times smaller in 2 ms
    machines = Machines(side)
    return [
        Route("/metrics", machines.metrics, middleware=[gzip]),
        Route("/healthz", machines.healthz),
        Route("/readyz", machines.readyz),
    ]


class Machines:
    """What the routes share. They are plain functions: starlette runs each in a thread."""

    def __init__(self, side: Side) -> None:
        self._side, self._every_s = side, LOOK_S[side.kind]
        self._lock = threading.Lock()
        self._ready: tuple[float, list[Checked]] = (float("-inf"), [])

    def metrics(self, request: Request) -> Response:
        """`/metrics`."""
        if not may_read(request, self._side):
            return PlainTextResponse(
                "metrics are for this machine, for who has signed in or has a token, and for everybody only "
                "with console.metrics_open\n",
                403,
            )
        found = metrics_of(self._side.folder, self._document())
        text, content_type = exposed(found, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})

    def healthz(self, request: Request) -> Response:
        """`/healthz`."""
        latest = self._side.watching.latest()
        looked_ms = None if latest is None else int(latest["at_ms"])
        return _answer(request, health_of(self._side.folder, looked_ms, self._every_s))

    def readyz(self, request: Request) -> Response:
        """`/readyz`."""
        with self._lock:
            at_s, checks = self._ready
            if time.monotonic() - at_s > READY_S:
                checks = list(readiness_of(self._side.folder))
                self._ready = time.monotonic(), checks
        return _answer(request, checks)

    def _document(self) -> Mapping[str, Any] | None:
        latest = self._side.watching.latest()
        if latest is not None and abs(time.time() - latest["at_ms"] / 1000) <= 2 * self._every_s:
            return latest
        return depth_of(self._side.folder)


def _answer(request: Request, checks: Iterable[Checked]) -> Response:
    said = document(checks, in_words=is_local(request))
    return JSONResponse(said, 200 if said["ok"] else 503, headers={"cache-control": "no-store"})
