"""Step 4, pure: whose frames intake takes next, so that every region gets its share of it.

Deficit round robin (Shreedhar and Varghese, 1995), by bytes of frames. In each round every region that has
frames is given a quantum; it is served while it has credit. What it takes too much, since frames come whole
and a reading is not cut short, it owes, and it waits for as many rounds as that takes. So the share is the
same for regions of large and of small frames, and to send more brings no more. Who has nothing to send keeps
no credit. Where one region alone has frames, it is not counted at all: nothing is lost by the order.

`ctl` is read before anybody's `up`, of all regions: it is small. It counts too, and who owes more than
`CTL_OWED_BYTES` has its `ctl` read in its own turns only: so a flood there is no way past the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

#: What a round aims at, all regions together, and the bounds of one region's part of it (bytes of frames).
#: Much smaller ones would make small transactions, and those are what costs.
ROUND_BYTES = 16 * 1024 * 1024
QUANTUM_BYTES_MIN = 256 * 1024
QUANTUM_BYTES_MAX = 2 * 1024 * 1024
#: What the only region that has frames takes at a time.
ALONE_BYTES = 4 * 1024 * 1024
#: The most that a region can owe: what came to that is forgiven, so that nobody waits for ever.
OWED_BYTES_MAX = 4 * 1024 * 1024
CTL_OWED_BYTES = 512 * 1024


class Turn(NamedTuple):
    """It is `region`'s turn to have about `bytes` of its frames taken in."""

    region: str
    bytes: int


class FairShare:
    """The order of the regions. `first` is where the first round begins: a process that dies of a frame of
    one region should not begin with the same ones each time."""

    def __init__(self, first: str = "") -> None:
        self._first = first
        self._credit: dict[str, int] = {}
        self._round: set[str] = set()
        self._queue: deque[str] = deque()
        self._quantum = QUANTUM_BYTES_MAX
        self._counts = True

    def next(self, waiting: Collection[str]) -> Turn | None:
        """Whose turn it is among the regions that have frames (`None` if none has)."""
        self._counts = len(waiting) > 1
        if not self._counts:
            return next((self._alone(region) for region in waiting), None)
        if self._queue:
            self._join(sorted(set(waiting) - self._round))
        while True:
            while self._queue:
                region = self._queue[0]
                if region in waiting and self._credit.get(region, 0) > 0:
                    return Turn(region, max(self._credit[region], self._quantum // 4))
                self._queue.popleft()
            self._begin(waiting)

    def spent(self, region: str, taken_bytes: int) -> None:
        """So much was taken in of the region, in its turn or of its `ctl`."""
        if self._counts:
            self._credit[region] = max(self._credit.get(region, 0) - taken_bytes, -OWED_BYTES_MAX)

    def passed(self, region: str) -> None:
        """The turn of that region is over, whatever it has left: it could not be served."""
        self._credit[region] = min(self._credit.get(region, 0), 0)

    def may_be_first(self, region: str) -> bool:
        """Whether its `ctl` is read before the turns of the others."""
        return self._credit.get(region, 0) > -CTL_OWED_BYTES

    # --- rounds ---------------------------------------------------------------------------------

    def _alone(self, region: str) -> Turn:
        self._queue.clear()
        self._round.clear()
        self._credit.clear()
        return Turn(region, ALONE_BYTES)

    def _begin(self, waiting: Collection[str]) -> None:
        self._quantum = min(max(ROUND_BYTES // len(waiting), QUANTUM_BYTES_MIN), QUANTUM_BYTES_MAX)
        for region, credit in list(self._credit.items()):
            if region in waiting:
                continue
            if credit + self._quantum >= 0:  # who was idle has paid, and keeps nothing
                del self._credit[region]
            else:
                self._credit[region] = credit + self._quantum
        self._round.clear()
        order = sorted(waiting)
        self._join([one for one in order if one >= self._first] + [one for one in order if one < self._first])
        self._first = ""

    def _join(self, regions: Iterable[str]) -> None:
        """Into this round: with the others at its beginning, or behind them."""
        for region in regions:
            self._round.add(region)
            self._queue.append(region)
            self._credit[region] = min(self._credit.get(region, 0) + self._quantum, self._quantum)
