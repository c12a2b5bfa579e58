"""The console's pages: what a side is like, what is dead, what became of a packet, who did what."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pipeline.errors import NotFound, TitianError, UsageError
from pipeline.inspection.trace import parse_query
from schemas.errors import SchemaError
from schemas.identity import PacketId
from workers.console.answers import Answers
from workers.console.documents import Documents
from workers.console.guard import form_of

FIRST_DEAD, FIRST_AUDIT, TURNS_H = 5, 8, 24
LIST_MAX, AUDIT_MAX = 200, 200


class Pages:
    """Those of one side. They are plain functions: starlette runs each in a thread."""

    def __init__(self, answers: Answers, documents: Documents) -> None:
        self._answers, self._documents = answers, documents

    def routes(self) -> list[BaseRoute]:
        """Theirs."""
        found: list[BaseRoute] = [
            Route("/", self._first),
            Route("/dead", self._dead),
            Route("/dead/{which}", self._dead_one),
            Route("/search", self._search),
            Route("/search", self._searched, methods=["POST"]),
            Route("/packet/{which}", self._packet),
            Route("/audit", self._audit),
        ]
        if self._answers.side.kind == "center":
            found.append(Route("/region/{code}", self._region))
        return found

    def _first(self, request: Request) -> Response:
        documents = self._documents
        return self._answers.page(
            request,
            f"{self._answers.side.kind}.html",
            doc=documents.made_now() if _was_done(request) else documents.newest(),
            turns=documents.turns(TURNS_H, 200),
            found=documents.dead_or_none(FIRST_DEAD),
            audit=documents.audit(None, FIRST_AUDIT),
            own=documents.own_notices(),
        )

    def _region(self, request: Request) -> Response:
        code = request.path_params["code"]
        document = self._documents.of_region(code, now=_was_done(request))
        entry = next(one for one in document["regions"] if one["region"] == code)
        return self._answers.page(request, "center_region.html", doc=document, region=entry, code=code)

    def _dead(self, request: Request) -> Response:
        lane, region = request.query_params.get("lane"), request.query_params.get("region")
        found = self._documents.dead(lane, region, LIST_MAX)
        return self._answers.page(request, "dead.html", found=found, lane=lane or "", region=region or "")

    def _dead_one(self, request: Request) -> Response:
        which = request.path_params["which"]
        return self._answers.page(request, "dead_one.html", one=self._documents.dead_one(which), id=which)

    def _search(self, request: Request) -> Response:
        return self._answers.page(request, "search.html", found=None, asked="", wrong="")

    def _searched(self, request: Request) -> Response:
        return self._found(request, (form_of(request).get("q") or [""])[0].strip())

    def _packet(self, request: Request) -> Response:
        which = request.path_params["which"]
        if which.isdigit():
            raise UsageError("a NIK belongs into the form of the search, never into an address")
        return self._found(request, which)

    def _found(self, request: Request, text: str) -> Response:
        """The page of what was sought; a NIK is not shown again, nor anything that could be one."""
        shown: dict[str, Any] = {"found": None, "asked": "", "wrong": ""}
        status = 200
        try:
            query = parse_query(text)
            shown["asked"] = str(query) if isinstance(query, PacketId) else ""
            shown["found"] = self._documents.trace(query)
        except NotFound as why:
            shown["wrong"], status = str(why), 404
        except (TitianError, SchemaError) as why:
            shown["wrong"], status = str(why), 400 if isinstance(why, UsageError | SchemaError) else 500
        return self._answers.page(request, "search.html", status, **shown)

    def _audit(self, request: Request) -> Response:
        what = request.query_params.get("what") or None
        found = self._documents.audit(what, AUDIT_MAX)
        return self._answers.page(request, "audit.html", found=found, what=what or "")


def _was_done(request: Request) -> bool:
    """Whether the browser comes from an act: what it did is to be seen."""
    return "done" in request.query_params
