"""For tests of any step: a clock that stands still until it is moved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ManualClock:
    """Both clocks of a process. `wall_ms` may be set backwards on its own, as a wrong clock would be."""

    wall_ms: int = 1_700_000_000_000
    monotonic_s: float = 1_000.0

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return self.wall_ms

    def now_s(self) -> float:
        """Monotonic clock, seconds."""
        return self.monotonic_s

    def advance(self, by_s: float) -> None:
        """Let `by_s` seconds pass on both clocks."""
        if by_s < 0:
            raise ValueError("a monotonic clock does not go back; set wall_ms to turn the wall clock back")
        self.monotonic_s += by_s
        self.wall_ms += round(by_s * 1000)
