"""Beside the way, the link simulator: the traffic of others, as flows that fill what they find (pure).

An `AimdFlow` is the window of a TCP that shares our line (additive increase, multiplicative decrease; RFC
5681): it doubles each round trip until a segment is lost, then halves, and from there grows by one segment a
round trip. A window that is not used does not grow (RFC 7661). Not in it: a receiver's limit, and when to
take silence for a loss (`on_timeout` says what follows). Time is an argument (seconds, any origin); who
carries its segments is `Foreground` in the relay and `GreedyFlow` on virtual time.
"""

from __future__ import annotations

WINDOW_FIRST = 10.0
"""Segments in the first round trip (RFC 6928)."""

WINDOW_MIN = 1.0

WINDOW_HALVED_MIN = 2.0
"""What a loss leaves at least, in segments (RFC 5681, equation 4)."""


class AimdFlow:
    """Greedy while it runs: `may_send` says whether another segment may leave."""

    def __init__(self) -> None:
        self.running = False
        self.window_segments = WINDOW_FIRST
        self.in_flight_segments = 0
        self.acked_segments = 0
        self._threshold = float("inf")
        self._halved_at = float("-inf")
        self._answered_sent_at = 0.0

    def start(self, now: float) -> None:
        """Begins (anew), as a fresh connection would; what an earlier one has in flight still counts."""
        self.running, self.window_segments, self._threshold = True, WINDOW_FIRST, float("inf")
        self._answered_sent_at = now

    def stop(self) -> None:
        """Nothing new is sent; what is in flight arrives."""
        self.running = False

    def forget(self, now: float) -> None:
        """What is in flight will not arrive (the link forgot it); it begins anew."""
        self.in_flight_segments = 0
        if self.running:
            self.start(now)

    def may_send(self) -> bool:
        """Whether the window has room for one more segment."""
        return self.running and self.in_flight_segments + 1 <= self.window_segments

    def on_sent(self) -> None:
        """A segment is in the buffer, or waits for its turn."""
        self.in_flight_segments += 1

    def on_lost(self, now: float) -> None:
        """A segment is lost, or the buffer had no room for one. Halves the window, once a round trip: a full
        buffer drops many in one, and that is one sign, felt only by what is sent after it. A segment that
        will be sent again stays in flight."""
        if self._answered_sent_at < self._halved_at:
            return
        self._halved_at = now
        self._threshold = self.window_segments = self._half()

    def on_timeout(self) -> None:
        """Nothing was answered for long: from the least window on, it doubles up to half of what it was."""
        self._threshold, self.window_segments = self._half(), WINDOW_MIN

    def on_acked(self, sent_at: float) -> None:
        """The answer to a segment sent at `sent_at` has come."""
        was_full = self.in_flight_segments + 1 > self.window_segments
        self.in_flight_segments = max(0, self.in_flight_segments - 1)
        self.acked_segments += 1
        self._answered_sent_at = max(self._answered_sent_at, sent_at)
        if was_full:
            slow_start = self.window_segments < self._threshold
            self.window_segments += 1.0 if slow_start else 1.0 / self.window_segments

    def _half(self) -> float:
        return max(WINDOW_HALVED_MIN, self.window_segments / 2)
