"""What every act of the console has in common: it is for operators who signed in; told as a page or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pipeline.adapters.folder import Folder
from pipeline.errors import UsageError
from workers.acts import CONSOLE, Actor, Done
from workers.console.answers import Answers, back_of
from workers.console.auth import who_of
from workers.console.guard import form_of
from workers.console.sessions import Who

#: Characters of a field that a person writes.
FIELD_CHARS_MAX = 2_000


@dataclass(frozen=True)
class Asked:
    """An act as a form asks for it: on which folder, by whom, and the form's fields."""

    folder: Folder
    actor: Actor
    form: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """One field, without spaces around it; empty where it is not there. Raises `UsageError`."""
        value = (self.form.get(name) or [""])[0].strip()
        if len(value) > FIELD_CHARS_MAX:
            raise UsageError(f"{name} is too long: {FIELD_CHARS_MAX:,} characters at most")
        return value

    def needed(self, name: str) -> str:
        """The same; raises `UsageError` where it is empty."""
        value = self.text(name)
        if not value:
            raise UsageError(f"{name} is missing: nothing was done")
        return value

    def every(self, name: str) -> list[str]:
        """All values of a field that may be there several times."""
        return [one.strip() for one in self.form.get(name, []) if one.strip()]


Act = Callable[[Asked], Done | None]


def act_route(answers: Answers, what: str, act: Act, done: str = "") -> Route:
    """`POST /act/WHAT`: does `act`; `done`: what it is called on the page afterwards, where that differs.

    `Done` with failures is told in full (409 where nothing was done); `None` counts as one thing done.
    """

    def run(request: Request) -> Response:
        who = who_of(request)
        if not _may_act(who):
            return answers.refused(
                request,
                403,
                "not_allowed",
                "that is for operators who have signed in to the console; nothing was done",
            )
        assert who is not None
        form = form_of(request)
        outcome = act(Asked(answers.side.folder, Actor(who.name, CONSOLE), form)) or Done(1)
        return _told(answers, request, done or what, outcome, form["back"][0] if form.get("back") else None)

    return Route(f"/act/{what}", run, methods=["POST"])


def _may_act(who: Who | None) -> bool:
    return who is not None and who.operator and not who.by_bearer


def _told(answers: Answers, request: Request, what: str, outcome: Done, back: str | None) -> Response:
    said: dict[str, Any] = {"version": 1, "what": what, "count": outcome.count, "failed": outcome.failed}
    nothing = bool(outcome.failed) and not outcome.count
    if not answers.wants_page(request):
        return JSONResponse(said, 409 if nothing else 200)
    if outcome.failed:
        sentence = f"{what}: done to {outcome.count}, not to {len(outcome.failed)}"
        return answers.refused(request, 409 if nothing else 200, "failed", sentence, outcome.failed)
    to = back_of(request, back)
    path, _, query = to.partition("?")
    kept = "&".join(one for one in query.split("&") if one and not one.startswith(("done=", "count=")))
    return RedirectResponse(f"{path}?{kept}{'&' if kept else ''}done={what}&count={outcome.count}", 303)
