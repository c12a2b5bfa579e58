"""Beside the way, the link simulator: accepts, keeps the connections, cuts, stalls, restores (one loop)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

from pipeline.linksim.foreground_tasks import Foreground
from pipeline.linksim.forwarding import Connection
from pipeline.linksim.pipe import Pipe
from pipeline.linksim.player import Player
from pipeline.linksim.profile import Address, Direction, LinkProfile, Side
from pipeline.linksim.script import Event, Script, parse_script
from pipeline.linksim.sockets import BACKLOG, close, has_left, plug, prepare
from pipeline.linksim.stats import CutMode, Happening, LinkEvent, RelayStats
from pipeline.linksim.trace import Trace


class Carrier:
    """The relay inside its loop: accepts, keeps the connections, and makes the link go wrong."""

    def __init__(
        self,
        listener: socket.socket,
        to: Address,
        profile: LinkProfile,
        seed: int,
        on_event: Callable[[LinkEvent], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at, self._on_event = self._loop.time(), on_event
        self.stopping = asyncio.Event()
        self._listener, self._to = listener, to
        self.profile = profile
        delay_s, jitter_s = profile.delay_ms / 1000, profile.jitter_ms / 1000
        self._up = Pipe(profile.rate_up_bit_s, delay_s, profile.buffer_bytes, jitter_s, seed)
        self._down = Pipe(profile.rate_down_bit_s, delay_s, profile.buffer_bytes, jitter_s, seed + 1)
        self._foreground = {
            name: Foreground(pipe, lambda: self.profile.delay_ms / 1000)
            for name, pipe in self._pipes("both").items()
        }
        self._player = Player(self._happen)
        self._seed = seed
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._plug: socket.socket | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cut: CutMode | None = None
        self._connections = self._resets = self._unreachable = 0
        self._start_accepting()

    def stats(self) -> RelayStats:
        return RelayStats(
            up=self._up.stats(),
            down=self._down.stats(),
            connections=self._connections,
            connections_open=len(self._open),
            resets=self._resets,
            cut=self._cut,
            steps_played=self._player.steps_played,
            foreground_flows=sum(foreground.flows for foreground in self._foreground.values()),
            unreachable=self._unreachable,
        )

    def set_profile(self, profile: LinkProfile) -> None:
        """Another link: what belonged to the last one ends, its own script begins."""
        script = parse_script(profile.script)
        self._follow(None, "both")
        self._set_foreground(0, "both")
        self._change(profile)
        self._tell("profile", profile=str(profile))
        self.play(script)

    def play(self, script: Script, seed: int | None = None) -> None:
        self._player.start(script, self._seed if seed is None else seed)

    def set_foreground(self, flows: int, direction: Direction) -> None:
        self._set_foreground(flows, direction)
        self._tell("foreground", flows=flows, way=direction)

    def _set_foreground(self, flows: int, direction: Direction) -> None:
        for name in self._pipes(direction):
            self._foreground[name].set_flows(flows)

    def _change(self, profile: LinkProfile) -> None:
        self.profile = profile
        delay_s, jitter_s = profile.delay_ms / 1000, profile.jitter_ms / 1000
        self._up.change(profile.rate_up_bit_s, delay_s, profile.buffer_bytes, jitter_s)
        self._down.change(profile.rate_down_bit_s, delay_s, profile.buffer_bytes, jitter_s)

    def set_rate(self, up: int | None, down: int | None) -> None:
        """Other rates where one is given; a recording there ends."""
        profile = replace(
            self.profile,
            rate_up_bit_s=self.profile.rate_up_bit_s if up is None else up,
            rate_down_bit_s=self.profile.rate_down_bit_s if down is None else down,
        )
        if up is not None:
            self._follow(None, "up")
        if down is not None:
            self._follow(None, "down")
        self._change(profile)
        self._tell("rate", up_bit_s=up, down_bit_s=down)

    def follow(self, trace: Trace | None, direction: Direction) -> None:
        self._follow(trace, direction)
        self._tell("trace", name=None if trace is None else trace.name, way=direction)

    def _follow(self, trace: Trace | None, direction: Direction) -> None:
        for pipe in self._pipes(direction).values():
            pipe.follow(trace)

    def cut(self, mode: CutMode, seconds: float | None = None, direction: Direction = "both") -> None:
        """A black hole may be in one direction only: handshakes need both, so nobody connects either."""
        self._end_cut()
        self._cut = mode
        if mode == "reset":
            for connection in self._open.values():
                connection.abort()
            for name, pipe in self._pipes("both").items():
                pipe.clear()
                self._foreground[name].forget()
        else:
            self._stop_accepting()
            self._plug = plug(self._listener)
            for pipe in self._pipes(direction).values():
                pipe.stall("cut")
        self._later("cut", seconds, self._end_cut)
        self._tell("cut", mode=mode, way=direction, seconds=seconds)

    def stall(self, direction: Direction, seconds: float | None = None) -> None:
        for name, pipe in self._pipes(direction).items():
            pipe.stall("stall")
            self._later(name, seconds, partial(self._resume, name, pipe))
        self._tell("stall", way=direction, seconds=seconds)

    def resume(self, direction: Direction) -> None:
        for name, pipe in self._pipes(direction).items():
            self._resume(name, pipe)

    def _resume(self, name: str, pipe: Pipe) -> None:
        self._forget(name)
        if pipe.resume("stall"):
            self._tell("resumed", way=name)

    def restore(self) -> None:
        self._end_cut()
        self.resume("both")

    def half_open(self, gone: Side) -> None:
        for connection in self._open.values():
            connection.half_open(gone)
        self._tell("half-open", gone=gone)

    def _happen(self, event: Event) -> None:
        """An entry of the script."""
        value = event.value
        match event.do:
            case "cut":
                self.cut("blackhole", value, event.way)
            case "reset":
                self.cut("reset", value)
                if not value:
                    self._end_cut()
            case "stall":
                self.stall(event.way, value)
            case "half-open":
                self.half_open(event.side)
            case "rate":
                up, down = event.way != "down", event.way != "up"
                self.set_rate(int(value) if up else None, int(value) if down else None)
            case "delay":
                self._change(replace(self.profile, delay_ms=value))
                self._tell("delay", ms=value)
            case "jitter":
                self._change(replace(self.profile, jitter_ms=value))
                self._tell("jitter", ms=value)
            case "foreground":
                self.set_foreground(int(value), event.way)
            case _ as never:
                assert_never(never)

    async def close(self) -> None:
        """Ends everything; raises what went wrong in a connection that nobody planned."""
        self._player.stop()
        for name in list(self._timers):
            self._forget(name)
        self._stop_accepting()
        self._unplug()
        for connection in self._open.values():
            connection.abort()
        while self._open:
            await asyncio.gather(*self._open)
        for name, pipe in self._pipes("both").items():
            await self._foreground[name].close()
            pipe.close()

    def _pipes(self, direction: Direction) -> dict[str, Pipe]:
        both = {"up": self._up, "down": self._down}
        return both if direction == "both" else {direction: both[direction]}

    def _end_cut(self) -> None:
        self._forget("cut")
        if self._cut is not None:
            self._tell("restored")
        self._cut = None
        self._up.resume("cut")
        self._down.resume("cut")
        if not self._accepting:
            self._unplug()
            self._accept(after_a_cut=True)
            self._start_accepting()

    def _later(self, name: str, seconds: float | None, do: Callable[[], None]) -> None:
        """One timer for each name: a new one takes the place of the last."""
        self._forget(name)
        if seconds is not None:
            self._timers[name] = self._loop.call_later(seconds, do)

    def _forget(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

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
                client, address = self._listener.accept()
            except OSError:
                return
            if after_a_cut and has_left(client):
                close(client, reset=True)
            else:
                self._begin(client, str(Address(*address[:2])))

    def _unplug(self) -> None:
        if self._plug is not None:
            self._plug.close()
            self._plug = None
            self._listener.listen(BACKLOG)

    def _begin(self, client: socket.socket, address: str) -> None:
        if self._cut == "reset":
            self._resets += 1
            self._tell("reset", client=address)
            close(client, reset=True)
            return
        prepare(client)
        connection = Connection(client, self._to, self._up, self._down)
        self._connections += 1
        self._tell("open", connection=self._connections, client=address)
        task = asyncio.create_task(self._carry(connection, self._connections))
        self._open[task] = connection
        task.add_done_callback(self._open.pop)

    async def _carry(self, connection: Connection, number: int) -> None:
        was_reset = await connection.run()
        if connection.unreachable is not None:
            self._unreachable += 1
            self._tell("unreachable", connection=number, to=str(self._to), why=connection.unreachable)
        self._resets += was_reset
        self._tell("reset" if was_reset else "end", connection=number)

    def _tell(self, what: Happening, **detail: object) -> None:
        self._on_event(LinkEvent(self._loop.time() - self._began_at, what, detail))
