"""Beside the way, the link simulator: accepts, keeps the connections, cuts and restores (one loop)."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError
from pipeline.linksim.forwarding import Connection, Pipe, close, prepare
from pipeline.linksim.profile import Address, LinkProfile

BACKLOG = 128

CutMode = Literal["blackhole", "reset"]


@dataclass(frozen=True)
class DirectionStats:
    """One direction since the start: `wire_bytes` is payload plus 52 bytes of headers a segment.

    `queued_wire_bytes` is what stands in the buffer just now.
    """

    payload_bytes: int
    wire_bytes: int
    queued_wire_bytes: int


@dataclass(frozen=True)
class RelayStats:
    """What the relay has carried: bytes that have crossed the slow line, also of connections that broke."""

    up: DirectionStats
    down: DirectionStats
    connections: int
    connections_open: int
    resets: int
    cut: CutMode | None


class Carrier:
    """The relay inside its loop: accepts, keeps the connections, and cuts."""

    def __init__(self, listener: socket.socket, to: Address, profile: LinkProfile, seed: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self._listener, self._to = listener, to
        delay_s, jitter_s = profile.delay_ms / 1000, profile.jitter_ms / 1000
        self._up = Pipe(profile.rate_up_bit_s, delay_s, profile.buffer_bytes, jitter_s, seed)
        self._down = Pipe(profile.rate_down_bit_s, delay_s, profile.buffer_bytes, jitter_s, seed + 1)
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._plug: socket.socket | None = None
        self._restoring: asyncio.TimerHandle | None = None
        self._cut: CutMode | None = None
        self._connections = self._resets = 0
        self._start_accepting()

    def stats(self) -> RelayStats:
        return RelayStats(
            up=DirectionStats(*self._up.carried()),
            down=DirectionStats(*self._down.carried()),
            connections=self._connections,
            connections_open=len(self._open),
            resets=self._resets,
            cut=self._cut,
        )

    def set_profile(self, profile: LinkProfile) -> None:
        delay_s, jitter_s = profile.delay_ms / 1000, profile.jitter_ms / 1000
        self._up.change(profile.rate_up_bit_s, delay_s, profile.buffer_bytes, jitter_s)
        self._down.change(profile.rate_down_bit_s, delay_s, profile.buffer_bytes, jitter_s)

    def cut(self, mode: CutMode, seconds: float | None = None) -> None:
        self.restore()
        self._cut = mode
        if mode == "reset":
            for connection in self._open.values():
                connection.abort()
            self._up.clear()
            self._down.clear()
        else:
            self._stop_accepting()
            self._plug = _plug(self._listener)
            self._up.stall()
            self._down.stall()
        if seconds is not None:
            self._restoring = self._loop.call_later(seconds, self.restore)

    def restore(self) -> None:
        if self._restoring is not None:
            self._restoring.cancel()
            self._restoring = None
        self._cut = None
        self._up.resume()
        self._down.resume()
        if not self._accepting:
            self._unplug()
            self._accept(after_a_cut=True)
            self._start_accepting()

    async def close(self) -> None:
        """Ends everything; raises what went wrong in a connection that nobody planned."""
        if self._restoring is not None:
            self._restoring.cancel()
        self._stop_accepting()
        self._unplug()
        for connection in self._open.values():
            connection.abort()
        while self._open:
            await asyncio.gather(*self._open)
        self._up.close()
        self._down.close()

    def _start_accepting(self) -> None:
        self._accepting = True
        self._loop.add_reader(self._listener, self._accept)

    def _stop_accepting(self) -> None:
        self._accepting = False
        self._loop.remove_reader(self._listener)

    def _accept(self, *, after_a_cut: bool = False) -> None:
        """Takes everybody who waits. Of those who connected during a black hole, only who is still there:
        on a real link the others would never have been connected, nor what they wrote have arrived."""
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            if after_a_cut and _has_left(client):
                close(client, reset=True)
            else:
                self._begin(client)

    def _unplug(self) -> None:
        if self._plug is not None:
            self._plug.close()
            self._plug = None
            self._listener.listen(BACKLOG)

    def _begin(self, client: socket.socket) -> None:
        if self._cut == "reset":
            self._resets += 1
            close(client, reset=True)
            return
        prepare(client)
        connection = Connection(client, self._to, self._up, self._down)
        task = asyncio.create_task(self._carry(connection))
        self._open[task] = connection
        self._connections += 1
        task.add_done_callback(self._open.pop)

    async def _carry(self, connection: Connection) -> None:
        if await connection.run():
            self._resets += 1


def _plug(listener: socket.socket) -> socket.socket | None:
    """Makes the kernel leave new SYNs unanswered: Linux drops them while the backlog is full, and one of
    length 0 is full with the one connection returned here. None on systems that behave differently."""
    if sys.platform != "linux":
        return None
    listener.listen(0)
    plug = socket.socket(listener.family)
    plug.setblocking(False)
    plug.connect_ex(listener.getsockname())
    return plug


def _has_left(client: socket.socket) -> bool:
    """Whether the other side has closed, seen without reading; on systems that cannot tell, no."""
    hung_up = getattr(select, "POLLRDHUP", 0)
    if not hung_up:
        return False
    poll = select.poll()
    poll.register(client, hung_up | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def listen_at(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare(sock)
        try:
            sock.bind(address)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {address} ({error.strerror}): free it or name another address"
            ) from error
        sock.listen(BACKLOG)
        undo.pop_all()
    return sock
