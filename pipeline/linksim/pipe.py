"""Beside the way, the link simulator: one direction of the link on real time (asyncio, one loop)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pipeline.linksim.bottleneck import HEADER_BYTES, SEGMENT_BYTES, Bottleneck, wire_bytes
from pipeline.linksim.stats import DirectionStats
from pipeline.linksim.trace import Trace

QUANTUM_S = 0.002
"""A fast line takes several segments at a time, so that what a wake-up costs is paid once in 2 ms."""

PRESSED_S = 0.05
"""So long after a connection had to wait for room, it is taken to want more: it is about to read on."""


class Mark(Enum):
    """What travels in the order of the bytes but is none: the three ends of TCP's handshakes."""

    OPEN = "open"
    END = "end"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Item:
    """What crosses the link in one piece, and what to do with it at the far end."""

    content: bytes | Mark
    arrive: Callable[[bytes | Mark], None]


class Pipe:
    """One direction of the link on real time: a bottleneck, a timer, and the queue for its buffer."""

    def __init__(
        self, rate_bit_s: float, delay_s: float, buffer_bytes: int, jitter_s: float, seed: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = Bottleneck[Item](
            rate_bit_s, delay_s, buffer_bytes, jitter_s=jitter_s, rng=random.Random(seed)
        )
        self._rate_bit_s = rate_bit_s
        self._trace: Trace | None = None
        self._connections_wait = 0
        self._pressed_at = float("-inf")
        self._stalled_by: set[str] = set()
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.quantum_bytes = _quantum_bytes(rate_bit_s)

    async def send(self, content: bytes | Mark, arrive: Callable[[bytes | Mark], None]) -> None:
        """Returns once the item is in the buffer; `arrive` is called when it is at the far end."""
        self._connections_wait += 1
        try:
            if await self._send(Item(content, arrive), foreground=False):
                self._pressed_at = self._loop.time()
        finally:
            self._connections_wait -= 1

    async def send_foreground(self, content: bytes, arrive: Callable[[bytes | Mark], None]) -> None:
        """The same for the traffic of others, which is counted apart."""
        await self._send(Item(content, arrive), foreground=True)

    def would_drop(self, payload_bytes: int) -> bool:
        """Whether a router would drop it: the buffer is full. While connections press for room it takes
        turns with them instead; they never lose anything, and would leave nothing to one who does."""
        now = self._loop.time()
        pressed = self._connections_wait or now - self._pressed_at < PRESSED_S
        return not pressed and not self._line.has_room(wire_bytes(payload_bytes), now)

    async def _send(self, item: Item, *, foreground: bool) -> bool:
        """True when it had to wait for room."""
        waited = False
        payload_bytes = len(item.content) if isinstance(item.content, bytes) else 0
        async with self._turn:
            while not self._line.offer(item, payload_bytes, self._loop.time(), foreground=foreground):
                waited = True
                self._room = self._loop.create_future()
                self._arm()
                await self._room
        self._arm()
        return waited

    def tick(self) -> None:
        """Hands over what has arrived, wakes who waits for room, and sets the timer anew."""
        now = self._loop.time()
        for item in self._line.take(now):
            item.arrive(item.content)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._arm()

    def change(self, rate_bit_s: float, delay_s: float, buffer_bytes: int, jitter_s: float) -> None:
        """The line's properties from now on."""
        self._line.change(rate_bit_s, delay_s, buffer_bytes, self._loop.time(), jitter_s=jitter_s)
        if self._trace is None:
            self.quantum_bytes = _quantum_bytes(rate_bit_s)
        self._rate_bit_s = rate_bit_s
        self._restart()

    def follow(self, trace: Trace | None) -> None:
        """Takes the rate from a recording that begins now; None: the constant rate again."""
        self._line.follow(trace, self._loop.time())
        self._trace = trace
        self.quantum_bytes = _quantum_bytes(self._rate_bit_s if trace is None else trace.rate_bit_s)
        self._restart()

    def stall(self, why: str) -> None:
        """Nothing moves until every reason to stand still is over."""
        self._stalled_by.add(why)
        self._line.stall(self._loop.time())
        self._restart()

    def resume(self, why: str) -> bool:
        """This reason is over; when it was the last, everything goes on in order. False: it was none."""
        was_one = why in self._stalled_by
        self._stalled_by.discard(why)
        if not self._stalled_by:
            self._line.resume(self._loop.time())
            self._restart()
        return was_one

    def clear(self) -> None:
        """Forgets what is under way."""
        self._line.clear(self._loop.time())
        self._restart()

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stats(self) -> DirectionStats:
        """What has crossed until now."""
        self.tick()
        line = self._line
        return DirectionStats(
            line.carried_payload_bytes,
            line.carried_wire_bytes,
            line.queued_bytes,
            line.carried_foreground_bytes,
            bool(self._stalled_by),
        )

    def _restart(self) -> None:
        self.close()
        self.tick()

    def _arm(self) -> None:
        """Sets the timer to the next event that anybody waits for; never more than one timer."""
        at = self._line.next_arrival_at()
        if self._room is not None and not self._room.done():
            room_at = self._line.next_room_at()
            at = room_at if at is None or (room_at is not None and room_at < at) else at
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        self.close()
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.tick()


def _quantum_bytes(rate_bit_s: float) -> int:
    segment_s = (SEGMENT_BYTES + HEADER_BYTES) * 8 / rate_bit_s
    return SEGMENT_BYTES * max(1, round(QUANTUM_S / segment_s))
