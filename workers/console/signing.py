"""Signing in and out of the console."""

from __future__ import annotations

import math
import secrets
import shlex

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from workers.console.answers import Answers, own_path
from workers.console.auth import Access, is_local
from workers.console.guard import form_of

#: What lets somebody in, by why nobody can be.
_REMEDY = {"nobody": "console", "open_without_user": "console users add NAME", "damaged": "doctor"}
_STATUS = {"wrong": 401, "wait": 429, "shut": 403}


class Signing:
    """That of one side. Trying a password takes long: these are plain functions, each in a thread."""

    def __init__(self, answers: Answers, access: Access) -> None:
        self._answers, self._access = answers, access

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            Route("/login", self._ask),
            Route("/login", self._sign_in, methods=["POST"]),
            Route("/logout", self._sign_out, methods=["POST"]),
        ]

    def _ask(self, request: Request) -> Response:
        return self._form(request, own_path(request.query_params.get("next", "/")))

    def _form(
        self,
        request: Request,
        after: str,
        why: str = "",
        wait_s: float = 0.0,
        name: str = "",
        *,
        token: bool = False,
    ) -> Response:
        before = request.cookies.get(self._access.before_cookie) or secrets.token_urlsafe(24)
        known, shut = self._access.everybody(), self._access.shut()
        answer = self._answers.page(
            request,
            "signin.html",
            _STATUS.get(why, 200),
            wrong=why,
            wait_s=math.ceil(wait_s),
            shut=shut,
            remedy=f"titian {_REMEDY[shut]}{self._of_this_side(request)}" if shut else "",
            by_token=token,
            passwords=bool(known.users) or not known.tokens,
            tokens=bool(known.tokens),
            next=after,
            user=name,
            csrf=self._access.before(before),
        )
        self._cookie(request, answer, self._access.before_cookie, before)
        if wait_s:
            answer.headers["retry-after"] = str(math.ceil(wait_s))
        return answer

    def _of_this_side(self, request: Request) -> str:
        """Which folder a command is about: where several sides share a machine it would be a guess."""
        return f" --data {shlex.quote(str(self._answers.side.folder.path))}" if is_local(request) else ""

    def _sign_in(self, request: Request) -> Response:
        form = form_of(request)
        name, password, token, after = (
            (form.get(key) or [""])[0] for key in ("name", "password", "token", "next")
        )
        address = "" if request.client is None else request.client.host
        tried = self._access.sign_in(address, name, password, token)
        if not tried.identity:
            return self._form(request, own_path(after), tried.why, tried.wait_s, name[:40], token=bool(token))
        self._access.sign_out(request)  # one that this browser had
        return self._cookie(
            request, RedirectResponse(own_path(after), 303), self._access.cookie, tried.identity
        )

    def _sign_out(self, request: Request) -> Response:
        self._access.sign_out(request)
        answer: Response = RedirectResponse("/login", 303)
        if not self._answers.wants_page(request):
            answer = JSONResponse({"version": 1, "signed_in": False})
        answer.delete_cookie(self._access.cookie, samesite="strict", httponly=True)
        return answer

    @staticmethod
    def _cookie(request: Request, answer: Response, name: str, value: str) -> Response:
        """For this browser session, for no script. Over https (also a proxy's on this machine) only there."""
        secure = request.url.scheme == "https"
        answer.set_cookie(name, value, httponly=True, samesite="strict", secure=secure)
        return answer
