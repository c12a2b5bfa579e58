"""What every route of the console knows: the folder, and the thread that looks."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.adapters.folder import Folder
from workers.watching import Watching


@dataclass(frozen=True)
class Side:
    """One side, looked at."""

    folder: Folder
    watching: Watching

    @property
    def kind(self) -> str:
        """`region` or `center`."""
        return self.folder.settings.side
