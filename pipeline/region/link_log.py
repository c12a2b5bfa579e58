"""Step 3, pure: what a region's worker remembers of its link for whoever looks: cuts, movement, the way back.

The worker says it once a second in `run/push.json`, and reads that file when it starts, so that a cut counts
though nobody looked and though the worker was started anew. Times: `*_ms` wall clock, `*_s` monotonic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Cuts that are kept one by one; older ones are in `watch.db`.
CUTS_MAX = 64
#: Goodput is measured over so long, seconds.
GOODPUT_S = 60.0
#: Acks that are remembered until the registry has come up to them.
TOPS_MAX = 256


@dataclass
class LinkLog:
    """Ups and downs. `cuts`: `[down_ms, up_ms]`, the last one open (0) while it is down; `cuts_n`: how often
    it went down since the worker started at `started_ms`. Before the first word there is no state."""

    started_ms: int
    cuts: deque[list[int]] = field(default_factory=lambda: deque(maxlen=CUTS_MAX))
    cuts_n: int = 0
    since_ms: int | None = None
    up: bool | None = None
    moved_ms: int | None = None

    def recall(self, said: Mapping[str, Any]) -> None:
        """What the process before us said last. A cut that was open ends where it was last seen."""
        at_ms, moved_ms = said.get("at_ms"), said.get("moved_ms")
        self.moved_ms = moved_ms if isinstance(moved_ms, int) else None
        for one in said.get("cuts") or ():
            if isinstance(one, list) and len(one) == 2 and all(isinstance(ms, int) for ms in one):
                self.cuts.append([one[0], one[1] or (at_ms if isinstance(at_ms, int) else one[0])])

    def saw(self, up: bool, now_ms: int) -> None:
        """How it is now; called after every step, so that a cut of a moment counts too."""
        if up is self.up:
            return
        if not up:
            self.cuts.append([now_ms, 0])
            self.cuts_n += self.up is not None  # one that was never up was not cut
        elif self.cuts and not self.cuts[-1][1]:
            self.cuts[-1][1] = max(now_ms, self.cuts[-1][0])
        self.up, self.since_ms = up, now_ms

    def moved(self, now_ms: int) -> None:
        """Bytes left, or receipts came."""
        self.moved_ms = now_ms

    def to_json(self) -> dict[str, Any]:
        """As it stands in `run/push.json`."""
        return {
            "started_ms": self.started_ms,
            "since_ms": self.since_ms,
            "up_since_ms": self.since_ms if self.up else None,
            "cuts_n": self.cuts_n,
            "cuts": [list(one) for one in self.cuts],
            "moved_ms": self.moved_ms,
        }


@dataclass
class Goodput:
    """Bytes a second that the center acknowledged, over the last minute."""

    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def saw(self, now_s: float, acknowledged_bytes: int) -> None:
        """So many in all by now; about once a second."""
        self._marks.append((now_s, acknowledged_bytes))
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= GOODPUT_S:
            self._marks.popleft()

    @property
    def bytes_s(self) -> float:
        """0 before there is anything to compare."""
        if len(self._marks) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


@dataclass
class WayBack:
    """How far the registry is behind what the center's acks said there was, and since when."""

    ack_ms: int | None = None
    facts_top: int = 0
    records_top: int = 0
    titian: str = ""
    _tops: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=TOPS_MAX))

    def heard(self, now_ms: int, facts_top: int, records_top: int, titian: str) -> None:
        """An ack came."""
        self.ack_ms, self.facts_top, self.records_top, self.titian = now_ms, facts_top, records_top, titian
        last = self._tops[-1] if self._tops else None
        if last is not None and (last[1] > facts_top or last[2] > records_top):
            self._tops.clear()  # the ledger went back
        if last is None or last[1:] != (facts_top, records_top):
            if len(self._tops) == TOPS_MAX:  # keep the oldest: it says since when
                self._tops.pop()
            self._tops.append((now_ms, facts_top, records_top))

    def behind_since_ms(self, facts: int, records: int) -> int | None:
        """When the center first said what the registry, at these cursors, does not have yet; `None`: it has
        all."""
        while self._tops and facts >= self._tops[0][1] and records >= self._tops[0][2]:
            self._tops.popleft()
        return self._tops[0][0] if self._tops else None

    def to_json(self, facts: int, records: int) -> dict[str, Any] | None:
        """As it stands in `run/push.json`; `None` before the first ack."""
        if self.ack_ms is None:
            return None
        return {
            "ack_ms": self.ack_ms,
            "facts_top": self.facts_top,
            "records_top": self.records_top,
            "behind_since_ms": self.behind_since_ms(facts, records),
            "titian": self.titian,
        }


@dataclass
class StateSince:
    """Since when something has been in its state."""

    state: str | None = None
    since_ms: int | None = None

    def saw(self, state: str | None, now_ms: int) -> int | None:
        """Since when; `None` while there is none."""
        if state != self.state:
            self.state, self.since_ms = state, None if state is None else now_ms
        return self.since_ms
