"""Beside the way, the link simulator: a TCP relay that is as slow as a link, in a thread of its own.

`Relay` is synchronous outside and asyncio inside: every method may be called from any thread and has
taken effect when it returns. What it does not do: lose packets below TCP (a link that loses shows as a
slower one), answer with TCP's own doubled timeouts after a cut, carry acknowledgements as bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, TypeVar

from pipeline.errors import UsageError
from pipeline.linksim.forwarding import Connection, Pipe, close, prepare
from pipeline.linksim.profile import Address, LinkProfile

BACKLOG = 128

R = TypeVar("R")

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


class Relay:
    """Listens at `listen` and carries each connection to `to` through a link like `profile`.

    It runs as soon as it is made and until `stop` (or the end of its `with`). Up is from whoever
    connects to `to`. `seed` decides the jitter. UsageError when `listen` is taken.
    """

    def __init__(self, listen: Address, to: Address, profile: LinkProfile, *, seed: int = 0) -> None:
        self._listener = _listen(listen)
        host, port = self._listener.getsockname()[:2]
        self.address = Address(host, port)
        self.profile = profile
        self._last_stats: RelayStats | None = None
        started: Future[tuple[asyncio.AbstractEventLoop, _Carrier]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_run(self._listener, to, profile, seed, started)),
            name=f"linksim {self.address}",
            daemon=True,
        )
        self._thread.start()
        self._loop, self._carrier = started.result()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stats(self) -> RelayStats:
        """What was carried until now; after `stop`, what was carried in all."""
        if self._last_stats is not None:
            return self._last_stats
        return self._call(self._carrier.stats)

    def set_profile(self, profile: LinkProfile) -> None:
        """Makes it another link from now on, under the connections that are open."""
        self._call(lambda: self._carrier.set_profile(profile))
        self.profile = profile

    def set_rate(self, rate_bit_s: int) -> None:
        """Both directions at this rate from now on."""
        self.set_profile(replace(self.profile, rate_up_bit_s=rate_bit_s, rate_down_bit_s=rate_bit_s))

    def cut(self, mode: CutMode = "blackhole") -> None:
        """Cuts the link until `restore`.

        `blackhole`: nothing moves and nobody is told, as when a cable is cut. New connections get no
        answer (on Linux; elsewhere they seem to open and stay silent) and TCP tries them again by itself.
        `reset`: all connections are reset, and new ones at once, as when a router has lost its state.
        """
        self._call(lambda: self._carrier.cut(mode))

    def cut_for(self, seconds: float, mode: CutMode = "blackhole") -> None:
        """Cuts the link now and restores it after `seconds`; returns at once."""
        self._call(lambda: self._carrier.cut(mode, seconds))

    def restore(self) -> None:
        """Ends a cut; what stood still goes on, in order. Nothing happens when there is none."""
        self._call(self._carrier.restore)

    def stop(self) -> None:
        """Resets what is open, closes everything, ends the thread; again is harmless."""
        if self._last_stats is not None:
            return
        self._last_stats = self._call(self._carrier.stats)
        self._call(self._carrier.stopping.set)
        self._thread.join()

    def _call(self, action: Callable[[], R]) -> R:
        """Runs `action` in the relay's thread and waits for what it returns."""
        if self._last_stats is not None and not self._thread.is_alive():
            raise UsageError("this relay has been stopped: make a new one")
        done: Future[R] = Future()

        def run() -> None:
            try:
                done.set_result(action())
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result()


async def _run(
    listener: socket.socket,
    to: Address,
    profile: LinkProfile,
    seed: int,
    started: Future[tuple[asyncio.AbstractEventLoop, _Carrier]],
) -> None:
    with listener:
        carrier = _Carrier(listener, to, profile, seed)
        started.set_result((asyncio.get_running_loop(), carrier))
        await carrier.stopping.wait()
        await carrier.close()


class _Carrier:
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


def _listen(address: Address) -> socket.socket:
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
