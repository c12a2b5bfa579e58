"""What a region's want says of its health, kept in run/health.json for the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.adapters.folder import Folder
from pipeline.adapters.watch_store import WatchStore
from workers.watching import Part


class _Nothing:
    """Not yet."""

    def saw(self, document: Mapping[str, Any]) -> None:
        """See `Part`."""


def health_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    del folder, store
    return _Nothing()
