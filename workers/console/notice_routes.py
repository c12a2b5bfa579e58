"""Routes of the console that need nobody to sign in: notice."""

from __future__ import annotations

from starlette.routing import BaseRoute

from workers.console.side import Side


def routes(side: Side) -> list[BaseRoute]:
    """Those of that side."""
    del side
    return []
