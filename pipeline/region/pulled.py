"""Step 7: what one step of a pull did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: What a pull waits for while `push` has facts to settle.
SETTLING = "receipts to be settled here"


class Step(Enum):
    """What became of one frame."""

    APPLIED = "applied"
    OLD = "held already"
    ACK = "an ack"
    OTHERS = "sealed to the key of another machine"
    SKIPPED = "not from our center, or of a session that is over"
    ASKED_ANEW = "asked for again"
    NOT_YET = "it refers to packets whose receipts are not settled yet: it is taken again"
    KEPT_RAW = "verified, but from a newer center: kept for a later version"


@dataclass(frozen=True)
class Pulled:
    """What one step did: frames by outcome and their bytes, packets that facts spoke of, records changed."""

    steps: tuple[Step, ...] = ()
    facts: int = 0
    records: int = 0
    waits: str = ""
    bytes: int = 0

    @property
    def frames(self) -> int:
        """Frames that were read."""
        return len(self.steps)
