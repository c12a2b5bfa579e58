"""Step 3, pure: whether somebody else uses the link, and for how long we keep out of the way.

Our own queue is no longer than all that we have under way takes on the line. One that is longer is somebody
else's: we yield by more than our part of it. Their flow comes and goes with its losses, so that the link
looks free now and then: who takes what a flow has just lost keeps it from coming back. So we do not grow
before the link has been quiet for a while; each queue that is seen until then begins that time anew.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A queue of so many times what is ours, and so many targets, is of others; this share of the window is kept.
OTHERS, OTHERS_TARGETS, YIELD_SHARE = 1.5, 2.0, 0.25
#: A queue of so many targets says that they are still there.
STILL = 1.5
#: The link must have been quiet for so long, seconds, and so many round trips.
QUIET_S, QUIET_TRIPS = 2.0, 3.0


@dataclass
class Others:
    """What was seen of them. Seconds, of a clock that does not run backwards."""

    _seen_s: float = float("-inf")
    _held: bool = False

    def look(self, now_s: float, queue_s: float, target_s: float, rtt_s: float) -> None:
        """An answer came: so long is the queue."""
        if self._held and queue_s > STILL * target_s:
            self._seen_s = now_s
        self._held &= 0 <= now_s - self._seen_s < max(QUIET_S, QUIET_TRIPS * rtt_s)

    def keeps(self, now_s: float, base_s: float, queue_s: float, target_s: float, ours_s: float) -> float:
        """The share of the window to keep, now that this queue is above the target. `ours_s`: what all that
        we have under way takes on the line."""
        keeps = (base_s + target_s) / (base_s + queue_s)
        if queue_s > max(OTHERS * ours_s, OTHERS_TARGETS * target_s):
            self._seen_s, self._held = now_s, True
            keeps = max(YIELD_SHARE, min(keeps, target_s / queue_s))
        return keeps

    @property
    def are_here(self) -> bool:
        """Whether not to grow now."""
        return self._held
