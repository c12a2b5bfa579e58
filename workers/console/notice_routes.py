"""Routes of the console that need nobody to sign in: the public notice, as a page and as JSON.

Citizens read it, over the same bad lines: what was made is kept for a few seconds, may be kept by whoever
asked for a minute, and is not sent again to who has it (ETag).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pipeline.adapters.notices_file import NoticesFile
from pipeline.errors import StoreDamaged, TitianError
from pipeline.inspection.notice_own import Notices
from workers.console.side import Side
from workers.notice_page.page import policy, public, to_html, to_json
from workers.noticing import read_document

#: What was made is shown for so long, seconds; whoever asked may keep it for so long.
MADE_S, CACHE_S = 5.0, 60


class Made:
    """The page and the JSON as they were made last."""

    def __init__(self, side: Side, now_s: Callable[[], float] = time.monotonic) -> None:
        self._side, self._now_s = side, now_s
        self._own = NoticesFile(side.folder.path)
        self._lock = threading.Lock()
        self._at_s = float("-inf")
        self._texts = ("", "")

    def texts(self) -> tuple[str, str]:
        """(HTML, JSON). Raises `TitianError`."""
        with self._lock:
            if self._now_s() - self._at_s >= MADE_S:
                found = public(read_document(self._side.folder, int(time.time() * 1000), self._notices()))
                self._texts, self._at_s = (to_html(found), to_json(found)), self._now_s()
            return self._texts

    def _notices(self) -> Notices:
        try:
            return self._own.read()
        except StoreDamaged:  # the watching says so in the log
            return self._own.held


def routes(side: Side) -> list[BaseRoute]:
    """Those of that side: the notice is a region's."""
    if side.kind != "region":
        return []
    made = Made(side)

    def page(request: Request) -> Response:
        return _answer(
            request,
            lambda: made.texts()[0],
            "text/html; charset=utf-8",
            {
                "Content-Security-Policy": policy(),
            },
        )

    def as_json(request: Request) -> Response:
        return _answer(
            request,
            lambda: made.texts()[1],
            "application/json",
            {
                "Access-Control-Allow-Origin": "*",
                "Content-Security-Policy": "default-src 'none'",
            },
        )

    return [Route("/notice", page, name="notice"), Route("/notice.json", as_json, name="notice.json")]


def _answer(request: Request, text: Callable[[], str], kind: str, more: dict[str, str]) -> Response:
    headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", **more}
    try:
        body = text().encode()
    except (TitianError, OSError):
        headers |= {"Cache-Control": "no-store", "Retry-After": "60"}
        return Response("503\n", 503, headers, "text/plain; charset=utf-8")
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers |= {"Cache-Control": f"public, max-age={CACHE_S}", "ETag": etag}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, kind)
