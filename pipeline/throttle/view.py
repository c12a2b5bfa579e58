"""Step 3, pure: what the throttle can be told, and what it shows of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.said import Saying

#: Payload of a full TCP segment.
SEGMENT_BYTES = 1448


class State(Enum):
    """What the controller is about."""

    DOWN = "down"
    RAMP = "ramp"
    STEADY = "steady"
    YIELD = "yield"
    MEASURE = "measure"


#: Why it stands so, in one sentence.
REASONS = {
    State.DOWN: Saying("the link is down", "sambungan putus"),
    State.RAMP: Saying(
        "finding out what the link carries ({queue:.0f} ms of queue so far)",
        "sedang mencari tahu kemampuan sambungan (sejauh ini {queue:.0f} ms antrean)",
    ),
    State.STEADY: Saying(
        "the link is used up to {target:.0f} ms of queue (now {queue:.0f} ms)",
        "sambungan dipakai sampai {target:.0f} ms antrean (sekarang {queue:.0f} ms)",
    ),
    State.YIELD: Saying(
        "others use the link: {queue:.0f} ms of queue, {target:.0f} ms are ours",
        "sambungan sedang dipakai pihak lain: {queue:.0f} ms antrean, {target:.0f} ms milik kita",
    ),
    State.MEASURE: Saying(
        "holding back for a moment to see how fast the empty link answers",
        "berhenti sejenak untuk mengukur secepat apa sambungan kosong menjawab",
    ),
}


def reason_of(state: State, queue_s: float, target_s: float) -> str:
    """Why it stands so, in English."""
    return REASONS[state].of(queue=1000 * queue_s, target=1000 * target_s).en


@dataclass(frozen=True)
class ThrottleSettings:
    """`target_s`: the most queueing delay to add for others. Windows in bytes."""

    target_s: float = 0.05
    window_bytes_min: int = 2 * SEGMENT_BYTES
    window_bytes_first: int = 10 * SEGMENT_BYTES
    window_bytes_max: int = 8 * 1024 * 1024


@dataclass(frozen=True)
class ThrottleView:
    """Everything that it decides, for whoever looks. `reason` is one sentence. `by_answers`: what is under
    way is known frame by frame only. `unwritten_bytes`: handed over, and not in the socket yet."""

    state: State
    reason: str
    window_bytes: int
    rate_bytes_s: float
    rtt_s: float | None
    base_s: float | None
    queue_s: float
    target_s: float
    losses: int
    by_answers: bool = False
    unwritten_bytes: int = 0
