"""Step 2: what bounds an outbox, and the second disk beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.adapters.high_water import HighWater
from pipeline.adapters.outbox_books import EVENTS_MAX
from pipeline.adapters.outbox_draft import Draft, Stored
from schemas.ranges import Ranges


@dataclass(frozen=True)
class OutboxSettings:
    """What bounds an outbox. New packets are refused while the disk has less than `low_water_bytes` free (0:
    never); `ballast_bytes` are held in a file that is given up when a full disk stops the sending (0: none);
    `events_max` events are kept. `high_water` is another place for the file of the highest seq."""

    low_water_bytes: int = 64 * 1024 * 1024
    ballast_bytes: int = 8 * 1024 * 1024
    events_max: int = EVENTS_MAX
    high_water: Path | None = None


DEFAULT_SETTINGS = OutboxSettings()


class Mirrors(Protocol):
    """A second disk (`pipeline.region.mirroring`). It never raises: a mirror that fails stops nothing."""

    def keep(
        self, drafts: Sequence[Draft], outcomes: Sequence[Stored], read: Callable[[int, int, int], bytes]
    ) -> bool:
        """Put there what was just committed (`read` gives stored bytes); whether it is there, durably."""

    def promised(self, epoch: str) -> HighWater | None:
        """The highest seq of `epoch` that was put there by this outbox."""

    def lost(self, epoch: str, seqs: Ranges) -> None:
        """These are gone from the outbox: what the mirror has of them is sent from there."""
