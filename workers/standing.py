"""The document of `titian alarms`, from a side's stores and what its watching process keeps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.watch_store import WatchReader
from pipeline.inspection.alarms_list import alarms_json
from pipeline.inspection.alarms_since import STATE
from workers.looking import look

#: A look that is longer ago than this many of its distances is none, seconds.
TICK_S_MAX = 30.0


def kept_alarms(folder: Folder) -> Any:
    """What the watching process keeps of the alarms; `None` where it never ran."""
    with closing(WatchReader(folder.path)) as reader:
        return reader.get(STATE)


def alarms_document(folder: Folder) -> dict[str, Any]:
    """What stands now; raises as `look` does."""
    return alarms_of(folder, look(folder).depth())


def alarms_of(folder: Folder, depth: Mapping[str, Any]) -> dict[str, Any]:
    """The same from a document of `depth`."""
    limits = folder.settings.alarms
    named = [("webhook", limits.webhook), ("command", limits.command)]
    sinks = ("log", *(name for name, value in named if value))
    return alarms_json(depth, kept_alarms(folder), sinks, watching=watched_s(folder) is not None)


def watched_s(folder: Folder) -> float | None:
    """How long ago the watching process looked, seconds; `None`: too long ago, or never."""
    try:
        touched_s = (folder.path / "run" / "watch.tick").stat().st_mtime
    except OSError:
        return None
    ago_s = max(0.0, SystemClock().now_ms() / 1000 - touched_s)
    return ago_s if ago_s <= TICK_S_MAX else None
