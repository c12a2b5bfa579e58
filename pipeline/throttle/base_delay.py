"""Step 3, pure: how long an answer takes when nothing queues: a minimum over minutes (RFC 6817, 4.2).

The minimum of each of the last ten minutes is kept, so that a line whose route became longer is believed
after ten minutes at most. It is believed sooner when it is plain: we hold almost nothing under way, and the
answers are later than before by an amount that does not move. A queue that others fill goes up and down; a
route does not.
"""

from __future__ import annotations

from collections import deque

#: How long a minimum counts, seconds, and in how many parts.
MEMORY_S = 600.0
PARTS = 10
#: A longer route is believed after so long at the smallest window, seconds, and so many answers ...
STEADY_S = 15.0
STEADY_ANSWERS = 12
#: ... that lie within so much of each other: the larger of a time and a share of the rise.
STEADY_WITHIN_S = 0.004
STEADY_WITHIN = 0.05


class BaseDelay:
    """The sliding minimum. Times in seconds; `now_s` of a clock that does not run backwards."""

    def __init__(self) -> None:
        self._minima: deque[tuple[float, float]] = deque()
        self._quiet: deque[tuple[float, float]] = deque()
        self._met_s = float("-inf")

    @property
    def value_s(self) -> float | None:
        """The base round trip; `None` before the first answer."""
        return min((low for _, low in self._minima), default=None)

    @property
    def met_s(self) -> float:
        """When an answer was last about as fast as the base."""
        return self._met_s

    def add(self, now_s: float, rtt_s: float, *, quiet: bool) -> None:
        """An answer took `rtt_s`; `quiet`: we had no more under way than the smallest window."""
        part_s = MEMORY_S / PARTS
        while self._minima and self._minima[0][0] < now_s - MEMORY_S:
            self._minima.popleft()
        if not self._minima or now_s - self._minima[-1][0] >= part_s:
            self._minima.append((now_s, rtt_s))
        elif rtt_s < self._minima[-1][1]:
            self._minima[-1] = (self._minima[-1][0], rtt_s)
        base_s = self.value_s
        if base_s is not None and rtt_s <= base_s + max(0.002, 0.02 * base_s):
            self._met_s = now_s
        self._believe_a_longer_route(now_s, rtt_s, quiet)

    def forget(self) -> None:
        """The next answer begins anew: another network, or a clock that jumped."""
        self._minima.clear()
        self._quiet.clear()

    def _believe_a_longer_route(self, now_s: float, rtt_s: float, quiet: bool) -> None:
        if not quiet:
            self._quiet.clear()
            return
        self._quiet.append((now_s, rtt_s))
        while self._quiet[0][0] < now_s - 2 * STEADY_S:
            self._quiet.popleft()
        base_s = self.value_s
        if base_s is None or len(self._quiet) < STEADY_ANSWERS or now_s - self._quiet[0][0] < STEADY_S:
            return
        late = [rtt for _, rtt in self._quiet]
        rise_s, spread_s = min(late) - base_s, max(late) - min(late)
        if rise_s > spread_s and spread_s <= max(STEADY_WITHIN_S, STEADY_WITHIN * rise_s):
            self._minima.clear()
            self._minima.append((now_s, min(late)))
            self._met_s = now_s
