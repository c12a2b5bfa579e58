"""Step 2: what is known of the mirror, in the outbox's folder, so that `depth` and `doctor` can tell it.

mirror.json   0600   `pipeline.region.mirror.MirrorState`
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.folder import write_private
from pipeline.region.mirror import MirrorState

NAME = "mirror.json"


class MirrorNotes:
    """The file, of the mirror at `mirror`. Nobody waits for it: where it cannot be written it is not."""

    def __init__(self, folder: Path, mirror: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._mirror = str(mirror)

    def load(self) -> MirrorState:
        """What holds; a file that is gone or damaged says nothing."""
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            value = None
        return MirrorState.of_json(value, self._mirror)

    def save(self, state: MirrorState) -> None:
        """What holds from now on."""
        with suppress(OSError):
            write_private(self._path, json.dumps(state.to_json(), ensure_ascii=False) + "\n")
