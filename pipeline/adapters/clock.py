"""For every step: the clocks of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """The two clocks of a process, read from the system."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def now_s(self) -> float:
        """Monotonic clock, seconds."""
        return time.monotonic()
