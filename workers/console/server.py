"""The console's uvicorn: loaded only where a console is served, since it is most of what loading costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from workers.console.app import make_app
from workers.console.connections import Bounded
from workers.console.side import Side

#: Open pages have so long to end, seconds.
END_S = 1


class Server(uvicorn.Server):
    """Signals are ours: they also end the watching."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes none."""
        yield


def server_of(side: Side) -> Server:
    """The console of that side, not serving yet."""
    return Server(
        uvicorn.Config(
            make_app(side),
            http=Bounded,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=END_S,
        )
    )
