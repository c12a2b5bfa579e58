"""Step 3, pure: why frames wait. Urgent ones wait for less than the others.

Small urgent packets go by `ctl`, past every window and hold of `up`. What bounds them instead: about one
frame at a time without the broker's answer, so that ten thousand of them do not flood a line whose throttle
watches `up` only; and a little beyond the receipt window, so that a center that is behind keeps its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.region.flights import Flights
from pipeline.region.pushed import PushSettings
from pipeline.region.speaker import Speaker
from pipeline.throttle import ThrottleView

#: What urgent packets may take beyond the receipt window, bytes (514 regions: 32 MiB at the center).
URGENT_BEYOND_BYTES = 64 * 1024


@dataclass
class Holds:
    """What stands against sending. The times are of the monotonic clock, in seconds.

    `full_until_s`: the center's broker has no memory, so nothing is put there at all. `lost_until_s`: frames
    are taken from `up` by somebody who does not know them. `urgent_lost_until_s`: the same, of `ctl`.
    """

    speaker: Speaker
    flights: Flights
    settings: PushSettings
    full_until_s: float = 0.0
    lost_until_s: float = 0.0
    urgent_lost_until_s: float = 0.0

    def why(self, now_s: float, aim: int, view: ThrottleView | None) -> str:
        """Why no frame may go into `up` now, in a word; empty if one may. `aim`: bytes of a frame."""
        if barred := self._barred(now_s):
            return barred
        if now_s < self.speaker.hold_until_s:
            return "held by the center"
        if now_s < self.lost_until_s:
            return "paused after a loss"
        if view is not None and view.unwritten_bytes >= aim:
            return "link window"  # a frame waits for room in the socket: what follows can still be chosen
        # Not by what is unanswered: behind one lost segment all answers wait, though the line is free.
        if self.flights.on_the_wire_bytes >= self.settings.link_window_bytes:
            return "link window"
        return "" if self._receipts_have_room() else "receipt window"

    def why_urgent(self, now_s: float, aim: int) -> str:
        """The same of `ctl`; it has room for `aim` bytes less what is on the wire."""
        if barred := self._barred(now_s):
            return barred
        if now_s < self.urgent_lost_until_s:
            return "paused after a loss"
        if not self._receipts_have_room() and self.flights.ctl_bytes >= URGENT_BEYOND_BYTES:
            return "receipt window"
        return "answers to urgent packets" if self.flights.ctl_on_the_wire_bytes >= aim else ""

    def _barred(self, now_s: float) -> str:
        """What holds urgent packets too."""
        if self.speaker.refusal:
            return "refused"
        if not self.speaker.session:
            return "no session"
        return "the center's broker is full" if now_s < self.full_until_s else ""

    def _receipts_have_room(self) -> bool:
        return self.flights.bytes < self.speaker.window_bytes
