"""What a region's wants say of its health, kept in run/health.json for the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.health_file import HealthFile
from pipeline.adapters.watch_store import WatchStore
from pipeline.inspection.notice import disturbed_now
from pipeline.region.vitals import health_of
from workers.watching import Part

#: How often it is written, milliseconds; at once where an alarm begins or is over, or the queue is empty.
WRITE_MS = 10_000


class HealthPart:
    """Writes the file. `disturbed`: what the public notice names at a time (ms)."""

    def __init__(self, file: HealthFile, disturbed: Callable[[int], list[str]]) -> None:
        self._file, self._disturbed = file, disturbed
        self._written_ms = 0
        self._marks: tuple[bool, list[str]] | None = None

    def saw(self, document: Mapping[str, Any]) -> None:
        """See `Part`."""
        now_ms = int(document["at_ms"])
        marks = (bool(document.get("waiting")), [one["code"] for one in document.get("alarms") or ()])
        if marks == self._marks and 0 <= now_ms - self._written_ms < WRITE_MS:
            return
        self._file.write(health_of(document, self._disturbed(now_ms)))
        self._written_ms, self._marks = now_ms, marks


def health_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    return HealthPart(
        HealthFile(folder.run, SystemClock()), lambda now_ms: disturbed_now(store, folder.path, now_ms)
    )
