"""What stands before every route of the console: who asks, whether it is meant, and how large it may be.

Whatever is not named here as open is for whoever has signed in: a new route cannot forget it. A POST is read
here, with its form, so that none can forget what `csrf.py` asks for.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.console import csrf
from workers.console.answers import Answers
from workers.console.auth import FORM, HOST_IS_OURS, SESSION, WHO, Access, session_of, who_of
from workers.console.where import is_ours, listen_host

BODY_BYTES_MAX, QUERY_BYTES_MAX, PATH_CHARS_MAX, FIELDS_MAX = 64 * 1024, 2_048, 256, 200
#: A form has to be here so soon, seconds.
BODY_S = 30.0
#: For everybody, under whatever name they call us: there is nothing in them of a person, or they ask again.
PUBLIC = ("/healthz", "/readyz", "/metrics", "/notice")
#: For whoever has not signed in yet.
BEFORE = ("/login", "/static")
Form = dict[str, list[str]]


class _Refused(Exception):
    def __init__(self, status: int, title: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.title, self.sentence = status, title, sentence


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, access: Access, answers: Answers) -> None:
        self._app, self._access, self._answers = app, access, answers
        listen = listen_host(answers.side.folder.settings.console.listen)
        self._names = frozenset({listen.lower(), socket.gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        scope[HOST_IS_OURS] = is_ours(request.headers.get("host", ""), self._names)
        session = self._access.session(request)
        scope[SESSION], scope[WHO] = session, self._access.bearer(request) if session is None else session.who
        try:
            self._check(request)
            answer = self._sign_in_first(request)
            if answer is None and request.method == "POST":
                receive = await self._read(request)
        except _Refused as why:
            answer = self._answers.refused(request, why.status, why.title, why.sentence)
        except ClientDisconnect:
            return
        await (self._app if answer is None else answer)(scope, receive, send)

    def _check(self, request: Request) -> None:
        """Raises `_Refused` where it is too large, or not for us."""
        path = request.url.path
        if len(request.scope.get("query_string", b"")) > QUERY_BYTES_MAX or len(path) > PATH_CHARS_MAX:
            raise _Refused(414, "wrong", "that address is too long")
        if not request.scope[HOST_IS_OURS] and not _is_under(path, PUBLIC):
            raise _Refused(
                421,
                "not_allowed",
                "this console does not go by that name: open it by the address of its machine, or give "
                "that name as the host of console.listen (docs/console.md)",
            )

    def _sign_in_first(self, request: Request) -> Response | None:
        """What is answered to somebody whom we do not know; `None` where it may go on."""
        path = request.url.path
        if who_of(request) is not None or _is_under(path, (*PUBLIC, *BEFORE)):
            return None
        if request.method == "GET" and self._answers.wants_page(request):
            asked = path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse("/login" if path == "/" else f"/login?next={quote(asked)}", 303)
        return self._answers.refused(request, 401, "not_allowed", "sign in first: /login, or send a token")

    async def _read(self, request: Request) -> Receive:
        """The form into the scope; returns what gives the body once more. Raises `_Refused`."""
        body = await _body(request)
        form = _form(request.headers.get("content-type", ""), body)
        request.scope[FORM] = form
        word = request.headers.get(csrf.HEADER) or (form.get(csrf.FIELD) or [""])[0]
        if not csrf.is_meant(request, self._access, word):
            raise _Refused(
                403,
                "not_allowed",
                "this did not come from a page of this console that is still good: open the page anew, "
                "then do it again (nothing was done)",
            )
        return _again(body)


def form_of(request: Request) -> Form:
    """What was posted."""
    found: Form = request.scope.get(FORM, {})
    return found


def is_signed_in(request: Request) -> bool:
    """Whether it is in a session."""
    return session_of(request) is not None


def _is_under(path: str, places: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith((f"{one}/", f"{one}.")) for one in places)


async def _body(request: Request) -> bytes:
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > BODY_BYTES_MAX:
        raise _Refused(413, "wrong", f"at most {BODY_BYTES_MAX:,} bytes may be sent")
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > BODY_BYTES_MAX:
                    raise _Refused(413, "wrong", f"at most {BODY_BYTES_MAX:,} bytes may be sent")
    except TimeoutError:
        raise _Refused(408, "wrong", "that took too long: send it again (nothing was done)") from None
    return body


def _form(content_type: str, body: bytes) -> Form:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded" or not body:
            return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
        if kind == "application/json":
            value: Any = json.loads(body)
            return {str(key): [one] if isinstance(one, str) else _texts(one) for key, one in value.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise _Refused(400, "wrong", "what was sent cannot be read") from None
    raise _Refused(415, "wrong", "send a form as application/x-www-form-urlencoded, or JSON")


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError
    return value


def _again(body: bytes) -> Receive:
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive
