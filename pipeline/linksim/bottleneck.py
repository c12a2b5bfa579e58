"""Beside the way, the link simulator: when bytes leave a slow line (pure arithmetic, no clock, no I/O).

One `Bottleneck` is one direction of a link: a finite buffer, a serialiser that puts one item after the
other on the wire at the line's rate, and a propagation delay. It never drops: when the buffer is full an
offer is refused, and whoever offers must wait; that is how back pressure reaches a TCP sender. Items
leave in the order in which they were accepted. The line's rate is constant, or a recorded `Trace`.
Every method takes `now` (seconds, any origin, a clock that does not run backwards), so the relay runs it
on real time and the scenarios on virtual time.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.linksim.trace import Trace, TraceClock

T = TypeVar("T")

SEGMENT_BYTES = 1448
"""Payload of one full TCP segment on Ethernet: 1500 less IP (20), TCP (20) and its timestamps (12)."""

HEADER_BYTES = 52
"""What a segment costs beside its payload."""


def wire_bytes(payload_bytes: int) -> int:
    """The bytes that `payload_bytes` take on the wire; an empty item (SYN, FIN) is one bare header."""
    segments = max(1, -(-payload_bytes // SEGMENT_BYTES))
    return payload_bytes + segments * HEADER_BYTES


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """An item in the buffer; `bits_left` shrinks only when the rate changes in the middle of it."""

    item: T
    payload_bytes: int
    wire_bytes: int
    offered_at: float
    bits_left: float
    foreground: bool


class Bottleneck(Generic[T]):
    """One direction of a link as a token clock: `free_at` is when the wire can begin with the next item.

    Jitter is drawn evenly from 0 to `jitter_s` for each item and never changes the order, since a TCP
    stream that is reordered below comes out in order and late.
    """

    def __init__(
        self,
        rate_bit_s: float,
        delay_s: float,
        buffer_bytes: int,
        *,
        jitter_s: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        self._rate_bit_s = rate_bit_s
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._buffer_bytes = buffer_bytes
        self._rng = rng if rng is not None else random.Random(0)
        self._queue: deque[_Waiting[T]] = deque()
        self._on_the_way: deque[tuple[float, T]] = deque()
        self._free_at = float("-inf")
        self._stalled_since: float | None = None
        self._clock: TraceClock | None = None
        self.queued_bytes = 0
        self.carried_payload_bytes = 0
        self.carried_wire_bytes = 0
        self.carried_foreground_bytes = 0

    def offer(self, item: T, payload_bytes: int, now: float, *, foreground: bool = False) -> bool:
        """Puts an item into the buffer, or says False when it is full.

        An empty buffer takes any item, so that one larger than the whole buffer gets through as well.
        A `foreground` item (the traffic of others) is carried the same and counted apart, in wire bytes.
        """
        wire = wire_bytes(payload_bytes)
        if not self.has_room(wire, now):
            return False
        self._queue.append(_Waiting(item, payload_bytes, wire, now, wire * 8.0, foreground))
        self.queued_bytes += wire
        return True

    def has_room(self, item_wire_bytes: int, now: float) -> bool:
        """Whether an item of so many wire bytes would be taken."""
        self._serialise(now)
        return not self._queue or self.queued_bytes + item_wire_bytes <= self._buffer_bytes

    def take(self, now: float) -> list[T]:
        """The items that have arrived at the far end by `now`, in order; each is given once."""
        self._serialise(now)
        arrived: list[T] = []
        while self._stalled_since is None and self._on_the_way and self._on_the_way[0][0] <= now:
            arrived.append(self._on_the_way.popleft()[1])
        return arrived

    def next_arrival_at(self) -> float | None:
        """When `take` has something next; None while nothing is under way or the line stands still."""
        if self._stalled_since is not None:
            return None
        if self._on_the_way:
            return self._on_the_way[0][0]
        return self._head_done_at() + self._delay_s if self._queue else None

    def next_room_at(self) -> float | None:
        """When the buffer gets emptier next; None while it is empty or the line stands still."""
        return self._head_done_at() if self._queue and self._stalled_since is None else None

    def change(
        self, rate_bit_s: float, delay_s: float, buffer_bytes: int, now: float, *, jitter_s: float = 0.0
    ) -> None:
        """Gives the line other properties from `now` on; what is already on the way keeps its time."""
        self._settle(now)
        self._rate_bit_s, self._delay_s, self._jitter_s = rate_bit_s, delay_s, jitter_s
        self._buffer_bytes = buffer_bytes

    def follow(self, trace: Trace | None, now: float) -> None:
        """Takes the rate from a recording that starts `now`; None: the constant rate again."""
        self._settle(now)
        self._clock = None if trace is None else TraceClock(trace, now)

    def stall(self, now: float) -> None:
        """Stops everything where it is, in the buffer and on the way; offers are taken until it is full."""
        if self._stalled_since is None:
            self._settle(now)
            self._stalled_since = now

    def resume(self, now: float) -> None:
        """Goes on after `stall`; what was on the way arrives later by as long as the line stood still."""
        if self._stalled_since is None:
            return
        pause_s = max(0.0, now - self._stalled_since)
        self._stalled_since = None
        self._free_at = max(self._free_at, now)
        self._on_the_way = deque((at + pause_s, item) for at, item in self._on_the_way)

    def clear(self, now: float) -> None:
        """Forgets what is in the buffer and on the way (all connections were reset)."""
        self._settle(now)
        self._queue.clear()
        self._on_the_way.clear()
        self.queued_bytes = 0

    def _head_done_at(self) -> float:
        head = self._queue[0]
        begin_at = max(self._free_at, head.offered_at)
        if self._clock is not None:
            return self._clock.done_at(begin_at, head.bits_left)
        return begin_at + head.bits_left / self._rate_bit_s

    def _serialise(self, now: float) -> None:
        """Moves what has left the serialiser by `now` from the buffer onto the way."""
        while self._stalled_since is None and self._queue:
            done_at = self._head_done_at()
            if done_at > now:
                return
            head = self._queue.popleft()
            if self._clock is not None:
                self._clock.spend(max(self._free_at, head.offered_at), head.bits_left)
            self._free_at = done_at
            self._count(head)
            jitter_s = self._rng.random() * self._jitter_s if self._jitter_s else 0.0
            # a later item may have an earlier time; `take` lets it wait behind those before it
            self._on_the_way.append((done_at + self._delay_s + jitter_s, head.item))

    def _count(self, gone: _Waiting[T]) -> None:
        self.queued_bytes -= gone.wire_bytes
        if gone.foreground:
            self.carried_foreground_bytes += gone.wire_bytes
        else:
            self.carried_payload_bytes += gone.payload_bytes
            self.carried_wire_bytes += gone.wire_bytes

    def _settle(self, now: float) -> None:
        """Books the part of the head that is already on the wire, so that what follows starts at `now`."""
        self._serialise(now)
        if self._stalled_since is not None:
            return
        if self._queue:
            head = self._queue[0]
            begin_at = max(self._free_at, head.offered_at)
            if self._clock is not None:
                left_bits = self._clock.left_by(begin_at, now)
            else:
                left_bits = max(0.0, now - begin_at) * self._rate_bit_s
            head.bits_left = max(0.0, head.bits_left - left_bits)
        self._free_at = max(self._free_at, now)
