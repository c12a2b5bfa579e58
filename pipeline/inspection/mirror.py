"""Inspection: how the mirror of a region stands, for `depth` and `doctor`; read-only, running or not."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters.folder import RECOVER_NAME, Folder
from pipeline.errors import TitianError

if TYPE_CHECKING:
    from pipeline.inspection.doctor import Check


def mirror_json(folder: Folder) -> dict[str, Any] | None:
    """How it stands; `None` where the settings name none. `failing_since_ms` is `None` while it works,
    `missing` counts packets without a receipt that are not on it, `used` whether it ever took one."""
    if not folder.settings.mirror:
        return None
    from pipeline.adapters.mirror_notes import (
        MirrorNotes,  # here: most offices have none, and `depth` is quick
    )
    from pipeline.adapters.outbox_custody import OutboxCustody

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


def recovery_json(folder: Folder) -> dict[str, Any] | None:
    """How far it is with what an old mirror holds (`init region --rebuild --mirror`); `None` where there is
    none. `done` counts files, `finished_ms` is `None` until the center has all that it lacked."""
    if not (folder.path / RECOVER_NAME).exists():
        return None
    from pipeline.adapters.recover_file import RecoverFile

    try:
        found = RecoverFile(folder.path).read()
    except TitianError as why:
        return {"path": "", "done": 0, "counts": {}, "why": str(why), "finished_ms": None}
    if found is None:
        return None
    return {
        "path": found.path,
        "done": len(found.done),
        "counts": found.counts,
        "why": found.why,
        "finished_ms": found.finished_ms or None,
    }


def recovery_check(found: dict[str, Any]) -> Check:
    """The same, judged."""
    from pipeline.inspection.doctor import Check

    counts = Counter(found["counts"])
    said = f"from {found['path']}: {counts['sent']:,} packets sent, {counts['there']:,} were there"
    if found["why"]:
        return Check("old mirror", "fail", found["why"], "mount that disk; it goes on by itself")
    if counts["failed"] or counts["damaged"]:
        lost = f"{said}; {counts['failed']:,} not taken, {counts['damaged']:,} places damaged"
        return Check("old mirror", "warn", lost, "`titian losses` says which citizens to ask again")
    return Check("old mirror", "ok", said if found["finished_ms"] else f"{said}, and it goes on")
