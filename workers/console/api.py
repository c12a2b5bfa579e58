"""The console's figures as JSON: the documents of the commands, and figures over time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pipeline.errors import UsageError
from pipeline.inspection.series import STEPS_S
from pipeline.inspection.trace import parse_query
from workers.console.documents import Documents
from workers.console.guard import form_of

LIMIT, LIMIT_MAX = 100, 1_000


class Api:
    """That of one side. They are plain functions: starlette runs each in a thread."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            Route("/api/depth", self._depth),
            Route("/api/history", self._history),
            Route("/api/turns", self._turns),
            Route("/api/dead", self._dead),
            Route("/api/dead/{which}", self._dead_one),
            Route("/api/audit", self._audit),
            Route("/api/trace", self._trace, methods=["POST"]),
        ]

    def _depth(self, request: Request) -> Response:
        return JSONResponse(self._documents.depth(request.query_params.get("region")))

    def _history(self, request: Request) -> Response:
        query = request.query_params
        hours = _number(query.get("hours", "1"), "hours", max(STEPS_S))
        return JSONResponse(self._documents.history(hours, query.get("names", ""), query.get("region")))

    def _turns(self, request: Request) -> Response:
        hours = _number(request.query_params.get("hours", "24"), "hours", max(STEPS_S))
        return JSONResponse({"version": 1, "turns": self._documents.turns(hours)})

    def _dead(self, request: Request) -> Response:
        query = request.query_params
        return JSONResponse(self._documents.dead(query.get("lane"), query.get("region"), _limit(request)))

    def _dead_one(self, request: Request) -> Response:
        return JSONResponse(self._documents.dead_one(request.path_params["which"]))

    def _audit(self, request: Request) -> Response:
        return JSONResponse(self._documents.audit(request.query_params.get("what"), _limit(request)))

    def _trace(self, request: Request) -> Response:
        query = parse_query((form_of(request).get("q") or [""])[0].strip())
        return JSONResponse(self._documents.trace(query))


def _limit(request: Request) -> int:
    return _number(request.query_params.get("limit", str(LIMIT)), "limit", LIMIT_MAX)


def _number(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise UsageError(f"{name} is a number from 1 to {most}")
    return int(text)
