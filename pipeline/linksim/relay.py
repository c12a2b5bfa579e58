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
from types import TracebackType
from typing import TypeVar

from pipeline.errors import UsageError
from pipeline.linksim.carrier import Carrier
from pipeline.linksim.profile import Address, Direction, LinkProfile, Side
from pipeline.linksim.script import FOREGROUND_MAX, Script, parse_script
from pipeline.linksim.sockets import listen_at, refuse_itself
from pipeline.linksim.stats import CutMode, LinkEvent, RelayStats
from pipeline.linksim.trace import Trace

R = TypeVar("R")


class Relay:
    """Listens at `listen` and carries each connection to `to` through a link like `profile`.

    It runs as soon as it is made and until `stop` (or the end of its `with`). Up is from whoever
    connects to `to`. `seed` decides the jitter and what a script draws. A direction with a trace takes
    its rate from the recording and the rest from the profile. `script` takes the place of the profile's
    own. `on_event` is told what happens, in the relay's thread, which waits for it: be quick, raise nothing,
    and call no method of the relay. UsageError when `listen` is taken, and when it is where `to` is.
    """

    def __init__(
        self,
        listen: Address,
        to: Address,
        profile: LinkProfile,
        *,
        seed: int = 0,
        trace_up: Trace | None = None,
        trace_down: Trace | None = None,
        script: Script | None = None,
        on_event: Callable[[LinkEvent], None] | None = None,
    ) -> None:
        script = parse_script(profile.script) if script is None else script
        refuse_itself(listen, to)
        self._listener = listen_at(listen)
        host, port = self._listener.getsockname()[:2]
        self.address = Address(host, port)
        self._last_stats: RelayStats | None = None
        started: Future[tuple[asyncio.AbstractEventLoop, Carrier]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(
                _run(self._listener, to, profile, seed, on_event or _tell_nobody, started)
            ),
            name=f"linksim {self.address}",
            daemon=True,
        )
        self._thread.start()
        self._loop, self._carrier = started.result()
        if trace_up is not None:
            self.follow(trace_up, "up")
        if trace_down is not None:
            self.follow(trace_down, "down")
        self.play(script)

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

    @property
    def profile(self) -> LinkProfile:
        """What the link is like just now; a recording that is followed has the word on the rate."""
        return self._carrier.profile

    def set_profile(self, profile: LinkProfile) -> None:
        """Makes it another link from now on, under the connections that are open.

        Recordings, the script and competing traffic of the last one end; its own script begins.
        """
        self._call(lambda: self._carrier.set_profile(profile))

    def play(self, script: Script, *, seed: int | None = None) -> None:
        """Begins a timetable now, in the place of the one before (an empty one: none). What that one
        did stays in force. `seed`: the relay's own by default."""
        self._call(lambda: self._carrier.play(script, seed))

    def set_foreground(self, flows: int, direction: Direction = "both") -> None:
        """So many greedy flows of others in each direction from now on, through the same buffer.

        They behave like TCP (`AimdFlow`) and are counted apart. UsageError below 0 or above 16.
        """
        if not 0 <= flows <= FOREGROUND_MAX:
            raise UsageError(f"{flows} competing flows cannot be: write 0 to {FOREGROUND_MAX}")
        self._call(lambda: self._carrier.set_foreground(flows, direction))

    def set_rate(
        self, rate_bit_s: int | None = None, *, up: int | None = None, down: int | None = None
    ) -> None:
        """This rate from now on, in both directions or in those named; their recordings end."""
        up = rate_bit_s if up is None else up
        down = rate_bit_s if down is None else down
        self._call(lambda: self._carrier.set_rate(up, down))

    def follow(self, trace: Trace | None, direction: Direction = "both") -> None:
        """Takes the rate from a recording that begins now; None: the profile's rate again."""
        self._call(lambda: self._carrier.follow(trace, direction))

    def stall(self, direction: Direction = "both", seconds: float | None = None) -> None:
        """Lets nothing move in a direction, for `seconds` or until `resume`; connections stay.

        Unlike in a black hole, who connects is answered; its first bytes wait with everybody's.
        """
        self._call(lambda: self._carrier.stall(direction, seconds))

    def resume(self, direction: Direction = "both") -> None:
        """Ends a stall; what stood still goes on, in order. A cut goes on."""
        self._call(lambda: self._carrier.resume(direction))

    def half_open(self, gone: Side = "server") -> None:
        """The connections that are open now lose one side, and the other is never told.

        The side that is gone gets a reset (as if it had restarted); what is under way is lost. The side
        that stays sees silence: its kernel takes some 64 KiB more, then its writes block. New
        connections are as ever; `stop` and a reset end half-open ones too.
        """
        self._call(lambda: self._carrier.half_open(gone))

    def cut(self, mode: CutMode = "blackhole", direction: Direction = "both") -> None:
        """Cuts the link until `restore`.

        `blackhole`: nothing moves and nobody is told, as when a cable is cut. New connections get no
        answer (on Linux; elsewhere they seem to open and stay silent) and TCP tries them again by itself.
        In one direction only, the other goes on for who is connected; nobody connects anew.
        `reset`: all connections are reset, and new ones at once, as when a router has lost its state.
        UsageError for a reset of one direction.
        """
        self._cut(mode, None, direction)

    def cut_for(self, seconds: float, mode: CutMode = "blackhole", direction: Direction = "both") -> None:
        """Cuts the link now and restores it after `seconds`; returns at once."""
        self._cut(mode, seconds, direction)

    def _cut(self, mode: CutMode, seconds: float | None, direction: Direction) -> None:
        if mode == "reset" and direction != "both":
            raise UsageError("a reset ends a connection in both directions: cut one with mode='blackhole'")
        self._call(lambda: self._carrier.cut(mode, seconds, direction))

    def restore(self) -> None:
        """Ends a cut and every stall; what stood still goes on, in order. Harmless when there is none."""
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


def _tell_nobody(_event: LinkEvent) -> None:
    """What happens is in the figures."""


async def _run(
    listener: socket.socket,
    to: Address,
    profile: LinkProfile,
    seed: int,
    on_event: Callable[[LinkEvent], None],
    started: Future[tuple[asyncio.AbstractEventLoop, Carrier]],
) -> None:
    with listener:
        carrier = Carrier(listener, to, profile, seed, on_event)
        started.set_result((asyncio.get_running_loop(), carrier))
        await carrier.stopping.wait()
        await carrier.close()
