"""Beside the way, the link simulator on virtual time: who sends, ours and the TCP of others.

Both do what a kernel does for them: what is lost is sent again, and a timer finds out when nobody answers.
"""

from __future__ import annotations

import random
from typing import Protocol

from pipeline.linksim.bottleneck import SEGMENT_BYTES
from pipeline.linksim.foreground import AimdFlow
from pipeline.linksim.virtual import Segment, VirtualLink

#: What a kernel waits at least for before it repeats what nobody answered, seconds; it doubles each time.
RTO_S_MIN, RTO_S_MAX = 0.2, 60.0
#: Bytes unacknowledged for so long mean that the link is down (`TCP_USER_TIMEOUT`), seconds.
DOWN_AFTER_S = 15.0
#: The longest pause between two probes of a link that is down, seconds.
PROBE_S_MAX = 30.0


class _Sender:
    """What is under way, and the timer over it."""

    def __init__(self, link: VirtualLink) -> None:
        self.link = link
        self.sent_bytes = self.delivered_bytes = self.again_bytes = 0
        self._segments: dict[int, Segment] = {}
        self._suspects: list[Segment] = []
        self._heard_s = link.now_s
        self._rto_s = 1.0
        self._rto_at_s = float("inf")

    def acked(self, segment: Segment) -> None:
        """See `Flow`."""
        raise NotImplementedError

    def lost(self, segment: Segment) -> None:
        """See `Flow`."""
        raise NotImplementedError

    @property
    def under_way_bytes(self) -> int:
        """Bytes that nobody has acknowledged."""
        return len(self._segments) * SEGMENT_BYTES

    def _send(self, segment: Segment) -> None:
        self._segments[id(segment)] = segment
        self.sent_bytes += segment.payload_bytes
        self.link.send(segment)
        if self._rto_at_s == float("inf"):
            self._arm()

    def _new(self) -> Segment:
        return Segment(self, SEGMENT_BYTES, self.link.now_s)

    def _repeat(self, segment: Segment) -> None:
        segment.again = True
        self.again_bytes += segment.payload_bytes
        self._send(segment)

    def _heard(self, segment: Segment) -> bool:
        """It was acknowledged; False if that was known (it arrived twice)."""
        if self._segments.pop(id(segment), None) is None:
            return False
        self._heard_s = self.link.now_s
        self.delivered_bytes += segment.payload_bytes
        if not segment.again:
            self._rto_s = max(RTO_S_MIN, 2 * (self.link.now_s - segment.sent_s))
        self._rto_at_s = float("inf")
        self._repeat_suspects()
        if self._segments:
            self._arm()
        return True

    def _arm(self) -> None:
        self._rto_at_s = at_s = self.link.now_s + self._rto_s
        self.link.at(at_s, lambda: self._rto(at_s))

    def _rto(self, at_s: float) -> None:
        if at_s != self._rto_at_s or not self._segments:
            return
        self._rto_s = min(RTO_S_MAX, 2 * self._rto_s)
        self._rto_at_s = float("inf")
        self._timed_out()

    def _timed_out(self) -> None:
        """Repeat the oldest; the answer to it will tell that the others are to be repeated too."""
        oldest, *self._suspects = self._segments.values()
        self._repeat(oldest)

    def _repeat_suspects(self) -> None:
        """Two for each answer, as in slow start."""
        for _ in range(2):
            while self._suspects:
                segment = self._suspects.pop(0)
                if id(segment) in self._segments:
                    self._repeat(segment)
                    break


class Throttled(Protocol):
    """What decides for `WindowFlow` (`pipeline.throttle.Controller`)."""

    @property
    def window_bytes(self) -> int: ...
    @property
    def pace_bytes_s(self) -> float: ...
    def on_sent(self, now_s: float, sent_bytes: int) -> None: ...
    def on_acked(self, now_s: float, acked_bytes: int, rtt_s: float | None) -> None: ...
    def on_lost(self, segments: int) -> None: ...
    def on_down(self) -> None: ...
    def on_up(self, now_s: float) -> None: ...


class WindowFlow(_Sender):
    """Ours: a backlog that leaves as the controller's window and pace allow. `backlog_bytes`: endless by
    default."""

    def __init__(
        self, link: VirtualLink, throttle: Throttled, *, backlog_bytes: float = float("inf"), seed: int = 0
    ) -> None:
        super().__init__(link)
        self.throttle, self.backlog_bytes = throttle, backlog_bytes
        self.reconnects = 0
        self.clock_off_s = 0.0
        self._rng = random.Random(seed)
        self._down = False
        self._probe_s = 0.5
        self._probe: Segment | None = None
        self._next_s = self._fill_at_s = 0.0
        link.at(link.now_s, self._fill)

    def acked(self, segment: Segment) -> None:
        """See `Flow`."""
        if segment is self._probe:
            self._came_back()
        elif self._heard(segment):
            rtt_s = None if segment.again else self.link.now_s - segment.sent_s
            self.throttle.on_acked(self._clock_s(), segment.payload_bytes, rtt_s)
            self._fill()

    def lost(self, segment: Segment) -> None:
        """See `Flow`."""
        if id(segment) in self._segments:
            self.throttle.on_lost(1)
            self._repeat(segment)

    def offer(self, backlog_bytes: float) -> None:
        """So much may leave from now on."""
        self.backlog_bytes = backlog_bytes
        self._fill()

    def _clock_s(self) -> float:
        return self.link.now_s + self.clock_off_s

    def _fill(self) -> None:
        while not self._down and self.backlog_bytes >= SEGMENT_BYTES:
            if self.under_way_bytes + SEGMENT_BYTES > self.throttle.window_bytes:
                return
            if self.link.now_s < self._next_s:
                self._fill_later()
                return
            pace = self.throttle.pace_bytes_s
            self._next_s = self.link.now_s + (SEGMENT_BYTES / pace if pace else 0.0)
            self.backlog_bytes -= SEGMENT_BYTES
            self.throttle.on_sent(self._clock_s(), SEGMENT_BYTES)
            self._send(self._new())

    def _fill_later(self) -> None:
        if self._fill_at_s <= self.link.now_s:
            self._fill_at_s = self._next_s
            self.link.at(self._next_s, self._fill)

    def _timed_out(self) -> None:
        if self.link.now_s - self._heard_s < DOWN_AFTER_S:
            super()._timed_out()
            return
        self._down = True
        self.reconnects += 1
        self.backlog_bytes += self.under_way_bytes
        self._segments.clear()
        self.throttle.on_down()
        self._probe_s = 0.5
        self._try()

    def _try(self) -> None:
        """A small probe; the next one later, with jitter."""
        if not self._down:
            return
        self._probe = self._new()
        self.link.send(self._probe)
        self._probe_s = min(PROBE_S_MAX, 2 * self._probe_s)
        self.link.after(self._probe_s * self._rng.uniform(0.5, 1.0), self._try)

    def _came_back(self) -> None:
        if self._down:
            self._down, self._probe, self._heard_s = False, None, self.link.now_s
            self.throttle.on_up(self._clock_s())
            self._fill()


class GreedyFlow(_Sender):
    """Someone else's TCP (`AimdFlow`): it fills the buffer until something is lost. `start` and `stop` it."""

    def __init__(self, link: VirtualLink) -> None:
        super().__init__(link)
        self.window = AimdFlow()

    def start(self) -> None:
        """Begin (again), with a fresh connection."""
        self.window.start(self.link.now_s)
        self._fill()

    def stop(self) -> None:
        """Nothing new is sent."""
        self.window.stop()

    def acked(self, segment: Segment) -> None:
        """See `Flow`."""
        if self._heard(segment):
            self.window.on_acked(segment.sent_s)
            self._fill()

    def lost(self, segment: Segment) -> None:
        """See `Flow`."""
        if id(segment) in self._segments:
            self.window.on_lost(self.link.now_s)
            self._repeat(segment)

    def _timed_out(self) -> None:
        self.window.on_timeout()
        super()._timed_out()

    def _fill(self) -> None:
        while self.window.may_send():
            self.window.on_sent()
            self._send(self._new())
