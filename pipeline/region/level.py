"""Step 7, pure: how much of `down` may be under way to us: the throttle of the way back.

The receiver holds the window (as rLEDBAT does, RFC 9840): what our kernel offers the center's TCP is what the
controller allows, so it takes effect within a round trip and goes on with each segment. The level that a want
names stays what it was, a bound for what lies at the center's broker: as a window it is too coarse (measured:
told a second and a round trip late, given back frame by frame, it carried 0.6 of 2 Mbit/s with that queue).

A round trip is that of a small question on another connection than the records', asked while these come: what
others on the line see, to the center and back, past a proxy too. The kernel's own of the records' connection
says little while we only receive; from a want to its ack there are the center's stores. What our way up adds
is not taken off: push sees the same sum, with our queue in it, and the sum is what the office waits for.

That bound follows what the way back was measured to carry (`level_of`), so that what jumps the queue waits
for little that lies there before it.

How much is under way we cannot see. While something comes the window counts as full: the controller lets it
grow to twice what comes in a round trip and no further.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.throttle import Controller, ThrottleSettings, ThrottleView
from pipeline.throttle.view import SEGMENT_BYTES

#: The smallest window: less than three segments, and each waits for the delayed answer to the one before.
WINDOW_BYTES_MIN = 3 * SEGMENT_BYTES
#: A question goes with so many bytes that came, and not more often, seconds; unanswered ones at most.
ASK_BYTES, ASK_S, ASKED_MAX = 4096, 0.1, 32
#: What a want's level holds of the measured rate, seconds, beside a round trip; bytes at least; its steps. A
#: level stays while it is off by less than these factors (too little, too much), so that it is no news each
#: second: too little leaves the line idle while the next frame is made, too much lets questions wait.
LEVEL_S, LEVEL_BYTES_MIN, LEVEL_STEP_BYTES = 0.75, 64 * 1024, 32 * 1024
LEVEL_SHORT, LEVEL_LONG = 1.15, 1.6
#: After so long the first bytes are asked about at once: an ack on an empty line shows the base, seconds.
IDLE_S = 5.0


class Level:
    """The window of one region's `down`. One thread tells it what happens; `view` is for any."""

    def __init__(self, target_s: float = ThrottleSettings.target_s) -> None:
        self._controller = Controller(ThrottleSettings(target_s, WINDOW_BYTES_MIN))
        self._under_way = 0
        self._came_bytes = 0
        self._asked = 0
        self._asked_s = float("-inf")
        self.view: ThrottleView = self._controller.view()

    @property
    def window_bytes(self) -> int:
        """What the center may have under way to us."""
        return max(WINDOW_BYTES_MIN, self._controller.window_bytes)

    def on_received(self, now_s: float, received_bytes: int) -> None:
        """So many bytes of `down` came, of whatever frame."""
        self._came_bytes += received_bytes
        self._came(now_s, received_bytes, None)

    def asks(self, now_s: float) -> bool:
        """Whether a question should go to the broker now; it counts as asked."""
        since_s = now_s - self._asked_s
        few = self._came_bytes < ASK_BYTES and 0 <= since_s < IDLE_S
        if few or 0 <= since_s < ASK_S or self._asked >= ASKED_MAX:
            return False
        self._asked_s, self._came_bytes = now_s, 0
        self._asked += 1
        return True

    def on_answer(self, now_s: float, rtt_s: float | None) -> None:
        """A question was answered after `rtt_s` (`None`: it is not known since when the answer was there)."""
        self._asked = max(0, self._asked - 1)
        if rtt_s is not None:
            self._came(now_s, 0, rtt_s)
        self.view = self._controller.view()

    def on_down(self) -> None:
        """The connection is gone, with what was asked beside it. What the line carries is remembered."""
        self._controller.on_down()
        self._under_way = self._asked = 0
        self.view = self._controller.view()

    def _came(self, now_s: float, came_bytes: int, rtt_s: float | None) -> None:
        self._controller.on_acked(now_s, came_bytes, rtt_s)
        self._under_way = max(0, self._under_way - came_bytes)
        more = self._controller.window_bytes - self._under_way
        if more > 0:
            self._controller.on_sent(now_s, more)
            self._under_way += more


@runtime_checkable
class MeasuredLink(Protocol):
    """A link that measures its way back."""

    def way_back(self) -> ThrottleView | None:
        """How the throttle of `down` stands; `None` where there is none."""


def level_of(rate_bytes_s: float, rtt_s: float, before: int) -> int:
    """How much of `down` a want should ask for, in whole steps, at a way back of that rate; `before` is the
    level that was found last (0: none). A round trip's worth is added: what is on the line lies in `down`
    until we have deleted it."""
    aim = max(float(LEVEL_BYTES_MIN), (LEVEL_S + rtt_s) * rate_bytes_s)
    if before and before / LEVEL_LONG <= aim <= before * LEVEL_SHORT:
        return before
    return max(LEVEL_BYTES_MIN, LEVEL_STEP_BYTES * round(aim / LEVEL_STEP_BYTES))


def level_in_force(found_bytes: int, most_bytes: int) -> int:
    """The level that a want names: what was found, never more than the settings allow. While nothing is known
    of the way back (0) it is the least: on a thin line more would stand before the center's first word."""
    return min(found_bytes or LEVEL_BYTES_MIN, most_bytes)
