"""Connections of the console: so many and no more, and none that never ends what it asks.

uvicorn waits without an end for the rest of a request. The watching that serves the pages opens files too:
whoever holds a thousand connections open by a byte each would leave it none to open.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: More than all streams of events (`events.STREAMS_MAX`) and their pages together.
CONNECTIONS_MAX = 256
#: The head of a request has to be there so soon after the connection, or after its own first byte, seconds.
HEAD_S = 10.0


class Bounded(H11Protocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected; one too many is cut off at once."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._unwatch()
        super().connection_lost(exc)

    def _asks(self) -> bool:
        """Whether a request's head is still awaited."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._asks():
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._end)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        if self._asks():
            self.transport.close()
