"""When a link that is down is probed again: doubling with jitter. Pure; `now_s` is a monotonic time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

#: The first wait and the longest, seconds (each shortened by up to a half, so that offices do not march).
FIRST_S = 0.25
LONGEST_S = 2.0


@dataclass
class Backoff:
    """How often in a row it failed, since when, and until when to leave it alone."""

    rng: random.Random = field(default_factory=random.Random)
    since_s: float | None = None
    until_s: float = 0.0
    _failures: int = 0

    def failed(self, now_s: float) -> None:
        """It failed once more."""
        self._failures += 1
        if self.since_s is None:
            self.since_s = now_s
        longest = min(FIRST_S * 2.0 ** min(self._failures - 1, 16), LONGEST_S)
        self.until_s = now_s + longest * self.rng.uniform(0.5, 1.0)

    def worked(self) -> None:
        """It worked: nothing is remembered."""
        self._failures, self.since_s = 0, None
