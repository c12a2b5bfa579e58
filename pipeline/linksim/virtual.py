"""Beside the way, the link simulator on virtual time: hours of link in a second, the same every run.

    link = VirtualLink(VirtualProfile(rate_bit_s=2_000_000, delay_s=0.05), seed=1)
    ours = WindowFlow(link, controller)            # or GreedyFlow(link): TCP that fills what it finds
    link.at(10, lambda: link.change(rate_bit_s=1_000_000))
    link.run(until_s=60)

One bottleneck carries the data of all flows, segment by segment, first in, first out, through the same
`Bottleneck` that the relay uses; a full buffer drops. Answers come back after the delay. A lost segment is
known one round trip later (three duplicates), and is sent again by the flow: what stands behind it is not
late for the window, only for the reader. Times in seconds from 0.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.linksim.bottleneck import Bottleneck


@dataclass(frozen=True)
class VirtualProfile:
    """A link: `delay_s` one way; `loss`: the share that vanishes; `jitter_s`: how late a segment may be."""

    rate_bit_s: float
    delay_s: float
    buffer_bytes: int = 256 * 1024
    loss: float = 0.0
    jitter_s: float = 0.0


@dataclass(slots=True)
class Segment:
    """A piece of a flow on its way. `again`: sent before; its answer says nothing about the round trip."""

    flow: Flow
    payload_bytes: int
    sent_s: float
    again: bool = False
    lost: bool = False


class Flow(Protocol):
    """Something that sends."""

    def acked(self, segment: Segment) -> None:
        """The other side has it."""

    def lost(self, segment: Segment) -> None:
        """It was lost, and that is known now."""


@dataclass(frozen=True)
class Look:
    """One moment of the link: what stands in the buffer, in seconds of line, and bytes delivered so far."""

    at_s: float
    queue_s: float


class VirtualLink:
    """The link, its flows and its clock."""

    def __init__(self, profile: VirtualProfile, *, seed: int = 0, look_every_s: float = 0.05) -> None:
        self.profile, self.now_s = profile, 0.0
        self._rng = random.Random(seed)
        self._line: Bottleneck[Segment] = Bottleneck(
            profile.rate_bit_s,
            profile.delay_s,
            profile.buffer_bytes,
            jitter_s=profile.jitter_s,
            rng=random.Random(seed + 1),
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cut = False
        self.looks: list[Look] = []
        self._look_every_s = look_every_s
        self.at(0.0, self._look)

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        """Do something at a time that is not past."""
        heapq.heappush(self._events, (max(at_s, self.now_s), next(self._order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while."""
        self.at(self.now_s + seconds, do)

    def send(self, segment: Segment) -> None:
        """Put a segment before the line; a full buffer, bad luck or a cut link loses it."""
        if self._cut:
            return  # nobody is told: the sender's own timer finds out
        segment.lost = self.profile.loss > 0 and self._rng.random() < self.profile.loss
        if not self._line.offer(segment, segment.payload_bytes, self.now_s):
            self.after(self.round_trip_s(), lambda: segment.flow.lost(segment))

    def round_trip_s(self) -> float:
        """What a segment sent now takes until its answer, as things stand."""
        return 2 * self.profile.delay_s + 8 * self._line.queued_bytes / self.profile.rate_bit_s

    def change(self, **properties: float) -> None:
        """Make it another link from now on, under what is on its way."""
        self.profile = replace(self.profile, **properties)  # type: ignore[arg-type]
        profile = self.profile
        self._line.change(
            profile.rate_bit_s, profile.delay_s, profile.buffer_bytes, self.now_s, jitter_s=profile.jitter_s
        )

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._cut = True
        self._line.clear(self.now_s)

    def restore(self) -> None:
        """It is back; who waits is woken."""
        self._cut = False

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while True:
            arrival_s = self._line.next_arrival_at()
            event_s = self._events[0][0] if self._events else float("inf")
            at_s = min(event_s, float("inf") if arrival_s is None else arrival_s)
            if at_s > until_s:
                self.now_s = until_s
                return
            self.now_s = max(self.now_s, at_s)
            if event_s <= at_s:
                heapq.heappop(self._events)[2]()
            for segment in self._line.take(self.now_s):
                self._arrived(segment)

    def _arrived(self, segment: Segment) -> None:
        told = segment.flow.lost if segment.lost else segment.flow.acked  # as late as its answer would be
        self.after(self.profile.delay_s, lambda: told(segment))

    def _look(self) -> None:
        self.looks.append(Look(self.now_s, 8 * self._line.queued_bytes / self.profile.rate_bit_s))
        self.after(self._look_every_s, self._look)
