"""How the console answers: a page in the reader's language, or JSON; what a refusal looks like."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from pipeline.errors import DiskFull, NotFound, TitianError, Unreachable, UsageError, WrongSide
from pipeline.version import VERSION
from schemas.errors import SchemaError
from schemas.lanes import Lane
from workers.console.auth import session_of, who_of
from workers.console.front import make_environment, page
from workers.console.side import Side
from workers.console.static_files import Assets
from workers.console.words import LANGUAGES, language_of

LANGUAGE_COOKIE = "titian_lang"
_YEAR_S = 365 * 86_400
#: What was just done, as it may stand in `?done=`.
DONE = ("pause", "resume", "cap", "retry", "drop", "hold", "release", "notice", "equipment")
#: Errors of ours, the narrower first: (status, title).
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFound, 404, "not_found"),
    (WrongSide, 404, "not_found"),
    (UsageError, 400, "wrong"),
    (SchemaError, 400, "wrong"),
    (DiskFull, 507, "failed"),
    (Unreachable, 503, "away"),
    (TitianError, 500, "failed"),
)


class Answers:
    """Those of one console."""

    def __init__(self, side: Side) -> None:
        self.side, self.assets = side, Assets()
        self._environment = _environment()
        self._version = VERSION

    def page(self, request: Request, template: str, answer_status: int = 200, **variables: Any) -> Response:
        """That template, with what every page gets (see `app.py`) and these."""
        language = language_for(request)
        shown = self._common(request) | variables
        html = page(self._environment, template, language, **shown)
        answer = HTMLResponse(html, answer_status)
        answer.headers["vary"] = "Accept-Language, Cookie"
        if request.query_params.get("lang") in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_S, samesite="strict", httponly=True)
        return answer

    def refused(
        self,
        request: Request,
        status: int,
        title: str,
        sentence: str,
        failed: Sequence[tuple[str, str]] = (),
        **more: Any,
    ) -> Response:
        """That it was not done, or (`failed`) not all of it; as a page, or as JSON with `more` in it."""
        if not self.wants_page(request):
            said = {"version": 1, "error": sentence, **more}
            return JSONResponse(said, status)
        shown = {"status": status, "title": title, "sentence": sentence, "failed": list(failed)}
        return self.page(request, "message.html", status, back=back_of(request), **shown)

    def error(self, request: Request, why: Exception) -> Response:
        """What went wrong, in words that say what to do next."""
        for kind, status, title in _STATUS:
            if isinstance(why, kind):
                return self.refused(request, status, title, " ".join(str(why).split()))
        if isinstance(why, HTTPException):
            title = "not_found" if why.status_code == 404 else "wrong"
            answer = self.refused(request, why.status_code, title, str(why.detail))
            answer.headers.update(why.headers or {})
            return answer
        raise why

    def wants_page(self, request: Request) -> bool:
        """Whether a person looks (and not a script of ours, or a program)."""
        path = request.url.path
        accept = request.headers.get("accept", "")
        return not path.startswith(("/api/", "/events")) and "text/html" in accept

    def _common(self, request: Request) -> dict[str, Any]:
        settings, session = self.side.folder.settings, session_of(request)
        offset = datetime.now().astimezone().utcoffset()
        return {
            "side": self.side.kind,
            "place": settings.region,
            "who": who_of(request),
            "csrf": "" if session is None else session.csrf,
            "path": request.url.path,
            "asset": self.assets.url,
            "version": self._version,
            "now_ms": int(time.time() * 1000),
            "zone_min": 0 if offset is None else round(offset.total_seconds() / 60),
            "lanes": [lane.label for lane in Lane],
            "done": _done(request.query_params),
        }


@cache
def _environment() -> Environment:
    """Templates are compiled once in a process."""
    return make_environment()


def language_for(request: Request) -> str:
    """`id` or `en`: as asked for, as kept, or as the browser likes."""
    wanted = (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE))
    chosen = next((one for one in wanted if one in LANGUAGES), None)
    return chosen or language_of(request.headers.get("accept-language", ""))


def back_of(request: Request, asked: str | None = None) -> str:
    """A path of ours to go back to: `asked`, else the page before, else the first."""
    before = urlsplit(request.headers.get("referer", ""))
    if asked is None:
        is_own = before.netloc.lower() == request.headers.get("host", "").lower()
        asked = before.path if is_own and before.path != "/login" else "/"
    return own_path(asked)


def own_path(text: str) -> str:
    """`text` where it is a path on this console, else `/`: nobody is sent elsewhere by a form or a link."""
    parts = urlsplit(text)
    harmless = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= 500
    if not harmless or parts.scheme or parts.netloc or not text.startswith("/") or text.startswith("//"):
        return "/"
    return text


def _done(query: Mapping[str, str]) -> dict[str, Any] | None:
    what, count = query.get("done", ""), query.get("count", "")
    if what not in DONE:
        return None
    return {
        "what": what,
        "count": int(count) if count.isascii() and count.isdigit() and len(count) < 8 else 0,
    }
