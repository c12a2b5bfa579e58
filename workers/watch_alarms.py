"""Alarms: what began and what is over, told to the log, a webhook, a command."""

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


def alarms_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    del folder, store
    return _Nothing()
