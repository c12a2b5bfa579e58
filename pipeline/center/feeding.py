"""Step 6: the ledger as `deliver` sees it: the port."""

from __future__ import annotations

from typing import Any, Protocol

from pipeline.center.acks import Standing
from pipeline.center.back import BackFeed
from schemas.feed import FactGroup, RecordChange
from schemas.messages import Announced


class Feed(BackFeed, Protocol):
    """The ledger as `deliver` sees it."""

    @property
    def reader(self) -> Any:
        """What answers read (`pipeline.center.answers`)."""

    def standing(self, region: str) -> Standing | None:
        """How it stands with that region; `None` where it is not admitted."""

    def renew_session(self, region: str, session: int, last_session: int) -> int:
        """Grant the same instance a session after `session` (if that is still the one) and after
        `last_session`, the highest that the broker has seen; returns it."""

    def told_superseded(self, region: str, instance: str) -> None:
        """It was told that another followed it, until it speaks again."""

    def facts_after(self, region: str, position: int, packets_max: int) -> tuple[tuple[FactGroup, ...], int]:
        """Facts numbered above `position`, grouped, and the number up to which that is all."""

    def records_after(
        self, region: str, position: int, records_max: int, bytes_max: int, by_reference_epoch: str | None
    ) -> tuple[tuple[RecordChange, ...], int]:
        """The same for records; those whose packet belongs to `by_reference_epoch` come without a head."""

    def announced(self, region: str, epoch: str, start: int | None) -> Announced:
        """What is announced of that epoch from seq `start` on and not received, as far as it fits an ack.
        What came since `standing` was asked is missing in it: a region does not announce what it has sent."""
