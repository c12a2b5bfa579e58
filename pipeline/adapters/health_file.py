"""Step 3: `DATA/run/health.json`: how the region is, written by the watching process for the worker's wants.

{"version": 1, "at_ms": ..., "health": {"waiting": ..., ...}}    fields as in `schemas.messages.Health`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.adapters.folder import write_private
from pipeline.ports import Clock
from pipeline.region.vitals import STALE_S
from schemas.messages import Health

NAME = "health.json"
VERSION = 1
#: A file that is larger was written by nobody of us.
_BYTES_MAX = 8_192


@dataclass(frozen=True)
class HealthFile:
    """The file in a side's `run` folder."""

    run: Path
    clock: Clock

    def write(self, health: Health) -> None:
        """Keep it, as of now; raises `OSError`."""
        said = health.model_dump(exclude_defaults=True)
        value = {"version": VERSION, "at_ms": self.clock.now_ms(), "health": said}
        write_private(self.run / NAME, json.dumps(value))

    def read(self) -> Health | None:
        """See `pipeline.region.vitals.Words`."""
        try:
            with (self.run / NAME).open("rb") as file:
                said = json.loads(file.read(_BYTES_MAX))
            if said["version"] != VERSION or not self._is_fresh(int(said["at_ms"])):
                return None
            return Health.model_validate(said["health"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None

    def _is_fresh(self, at_ms: int) -> bool:
        return abs(self.clock.now_ms() - at_ms) <= STALE_S * 1000
