"""Step 3, pure: which lanes may fill the next frame, and in which order. The last one never starves."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ports import LaneGate
from schemas.lanes import Lane

IN_ORDER = (Lane.URGENT, Lane.CONTROL, Lane.RECORD, Lane.BIOMETRIC)
LAST_FIRST = (Lane.URGENT, Lane.BIOMETRIC, Lane.CONTROL, Lane.RECORD)
#: Every so many frames the last lane goes before the others (but `urgent`).
LAST_LANE_EVERY = 4


@dataclass
class LaneOrder:
    """`gate` says which lanes may go; without one all may. `held`: some were left out the last time."""

    gate: LaneGate | None = None
    held: bool = False
    _frames: int = 0

    def next(self) -> tuple[Lane, ...]:
        """The lanes for the next frame, first things first."""
        self._frames += 1
        order = LAST_FIRST if self._frames % LAST_LANE_EVERY == 0 else IN_ORDER
        lanes = order if self.gate is None else self.gate.open_lanes(order)
        self.held = len(lanes) < len(order)
        return lanes

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """A frame of that lane went."""
        if self.gate is not None:
            self.gate.spent(lane, frame_bytes)
