"""Step 3, pure: which lanes may fill the next frame, and in which order. The last one never starves.

`urgent` is asked for on its own and first: it has a way of its own (`ctl`), and waits for less.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ports import LaneGate
from schemas.lanes import Lane

URGENT_ONLY = (Lane.URGENT,)
IN_ORDER = (Lane.CONTROL, Lane.RECORD, Lane.BIOMETRIC)
LAST_FIRST = (Lane.BIOMETRIC, Lane.CONTROL, Lane.RECORD)
#: Every so many frames the last lane goes before the others (but `urgent`).
LAST_LANE_EVERY = 4


@dataclass
class LaneOrder:
    """`gate` says which lanes may go; without one all may."""

    gate: LaneGate | None = None
    _frames: int = 0
    _urgent_held: bool = False
    _others_held: bool = False

    @property
    def held(self) -> bool:
        """Whether some were left out the last time."""
        return self._urgent_held or self._others_held

    def urgent(self) -> tuple[Lane, ...]:
        """`urgent`, if it may go."""
        lanes = self._open(URGENT_ONLY)
        self._urgent_held = not lanes
        return lanes

    def next(self) -> tuple[Lane, ...]:
        """The other lanes for the next frame, first things first."""
        self._frames += 1
        order = LAST_FIRST if self._frames % LAST_LANE_EVERY == 0 else IN_ORDER
        lanes = self._open(order)
        self._others_held = len(lanes) < len(order)
        return lanes

    def may(self, lane: Lane) -> bool:
        """Whether that lane may go."""
        return bool(self._open((lane,)))

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """A frame of that lane went."""
        if self.gate is not None:
            self.gate.spent(lane, frame_bytes)

    def _open(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        return lanes if self.gate is None else self.gate.open_lanes(lanes)
