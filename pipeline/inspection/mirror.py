"""Inspection: how the mirror of a region stands, for `depth` and `doctor`; read-only, running or not."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import Folder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.errors import TitianError


def mirror_json(folder: Folder) -> dict[str, Any] | None:
    """How it stands; `None` where the settings name none. `failing_since_ms` is `None` while it works,
    `missing` counts packets without a receipt that are not on it, `used` whether it ever took one."""
    if not folder.settings.mirror:
        return None
    path = Path(folder.settings.mirror).expanduser()
    state = MirrorNotes(folder.path, path).load()
    missing = 0
    if state.missing:
        with suppress(TitianError), closing(OutboxCustody(folder.path)) as outbox:
            missing = outbox.count_open(state.missing)
    return {
        "path": str(path),
        "used": bool(state.id),
        "failing_since_ms": state.since_ms or None,
        "why": state.why,
        "missing": missing,
        "same_disk": _same_disk(folder.path, path),
    }


def _same_disk(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.stat().st_dev == other.stat().st_dev
    return False
