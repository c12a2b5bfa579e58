"""For crash tests: states of a disk, put into a folder and counted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

#: How long the region's stores are tried, seconds (`TITIAN_CRASH_S`); everything else takes a few more.
BUDGET_S = float(os.environ.get("TITIAN_CRASH_S", "40"))
#: See `crash_disk.Disk.cut`.
STYLES = ("none", "all", "point", "any", "any", "any")

#: Files by their path in the folder.
Image = dict[str, bytes]


def put(image: Image, folder: Path) -> Path:
    """These files and no others are in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, data in image.items():
        (folder / path).write_bytes(data)
    return folder


@dataclass
class Tally:
    """States that were looked at (each once), and how long it took."""

    states: int = 0
    seen: set[int] = field(default_factory=set)
    began_s: float = field(default_factory=time.monotonic)

    def is_new(self, image: Image, promised: Hashable) -> bool:
        """Whether these files, of which that is promised, come for the first time."""
        key = hash((tuple(sorted(image.items())), promised))
        if key in self.seen:
            return False
        self.seen.add(key)
        self.states += 1
        return True

    def is_enough(self, budget_s: float, states_min: int) -> bool:
        """The time is over; a machine that is busy with other things is given twice of it to see enough."""
        short = self.states < states_min and self.spent_s < 2 * budget_s
        return self.spent_s > budget_s and not short

    @property
    def spent_s(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self.began_s
