"""For tests: older names out of an outbox whose files are copied and deleted: nothing stays open."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pipeline.adapters.outbox_renumbered import OutboxNames
from schemas.messages import Run


class FolderNames:
    """`OutboxNames` of that folder, opened for each question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, epoch: str) -> int:
        """How many older names packets of `epoch` have."""
        with closing(OutboxNames(self._folder)) as names:
            return names.count(epoch)

    def earlier(self, epoch: str) -> list[str]:
        """The epochs before `epoch`, oldest first."""
        with closing(OutboxNames(self._folder)) as names:
            return names.earlier(epoch)

    def runs(self, epoch: str, after: int, limit: int) -> list[Run]:
        """The next `limit` runs behind the first `after` names."""
        with closing(OutboxNames(self._folder)) as names:
            return names.runs(epoch, after, limit)
