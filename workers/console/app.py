"""The console as a Starlette application: the routes of each of its parts, put together."""

from __future__ import annotations

from starlette.applications import Starlette

from workers.console import metrics_routes, notice_routes
from workers.console.side import Side


def make_app(side: Side) -> Starlette:
    """The application of that side."""
    routes = [*metrics_routes.routes(side), *notice_routes.routes(side)]
    return Starlette(routes=routes)
