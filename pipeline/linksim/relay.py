"""Beside the way, the link simulator: a TCP relay that is as slow as a link, in a thread of its own.

`Relay` is synchronous outside and asyncio inside: every method may be called from any thread and has
taken effect when it returns. What it does not do: lose packets below TCP (a link that loses shows as a
slower one), answer with TCP's own doubled timeouts after a cut, carry acknowledgements as bytes.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from pipeline.errors import UsageError
from pipeline.linksim.carrier import Carrier, CutMode, RelayStats, listen_at
from pipeline.linksim.profile import Address, LinkProfile

R = TypeVar("R")


class Relay:
    """Listens at `listen` and carries each connection to `to` through a link like `profile`.

    It runs as soon as it is made and until `stop` (or the end of its `with`). Up is from whoever
    connects to `to`. `seed` decides the jitter. UsageError when `listen` is taken.
    """

    def __init__(self, listen: Address, to: Address, profile: LinkProfile, *, seed: int = 0) -> None:
        self._listener = listen_at(listen)
        host, port = self._listener.getsockname()[:2]
        self.address = Address(host, port)
        self.profile = profile
        self._last_stats: RelayStats | None = None
        started: Future[tuple[asyncio.AbstractEventLoop, Carrier]] = Future()
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
    started: Future[tuple[asyncio.AbstractEventLoop, Carrier]],
) -> None:
    with listener:
        carrier = Carrier(listener, to, profile, seed)
        started.set_result((asyncio.get_running_loop(), carrier))
        await carrier.stopping.wait()
        await carrier.close()
