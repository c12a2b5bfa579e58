"""Step 3, pure: since when others have had the line, over the moments in which it is measured or is calm.

The throttle's own state changes every few seconds (it measures the base anew, and may be steady between two
of others' downloads): from that alone nobody sees that the line has been taken for an hour.
"""

from __future__ import annotations

from pipeline.throttle.view import State, ThrottleSettings, ThrottleView

#: It is over when the line has been ours for so long, milliseconds.
CALM_MS = 60_000
#: The smallest window: with it the link carries nothing to speak of.
FLOOR_BYTES = ThrottleSettings().window_bytes_min


class Congested:
    """Tell it what is seen; `since_ms` (wall clock) is `None` where the line is ours."""

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self._last_ms = 0

    def saw(self, view: ThrottleView | None, now_ms: int) -> int | None:
        """How the throttle stands now; returns `since_ms`."""
        if view is None or view.state is State.DOWN:
            self.since_ms = None
        elif view.state is State.YIELD or (view.state is State.STEADY and view.window_bytes <= FLOOR_BYTES):
            self.since_ms = now_ms if self.since_ms is None else min(self.since_ms, now_ms)
            self._last_ms = now_ms
        elif self.since_ms is not None and not 0 <= now_ms - self._last_ms <= CALM_MS:
            self.since_ms = None
        return self.since_ms
