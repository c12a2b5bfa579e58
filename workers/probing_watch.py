"""What `titian doctor` asks of who watches: alarms, console, audit log, notice, versions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.adapters.audit_file import NAME as AUDIT
from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import Folder
from pipeline.errors import TitianError
from pipeline.inspection import doctor_watch
from pipeline.inspection.doctor import Check
from pipeline.version import VERSION
from workers.looking import look
from workers.standing import alarms_of, watched_s


def watch_checks(folder: Folder, is_up: bool) -> Iterator[Check]:
    """Every check of this part, in order."""
    yield doctor_watch.watching(is_up, watched_s(folder))
    yield doctor_watch.console(is_up, folder.settings.console.listen, _console(folder))
    depth = _depth(folder)
    yield from doctor_watch.alarms(None if depth is None else alarms_of(folder, depth))
    yield _audit(folder)
    if folder.settings.side == "region":
        place = folder.settings.notice.folder
        path = os.path.expanduser(place)
        yield doctor_watch.notice(place, os.path.isdir(path), os.access(path, os.W_OK | os.X_OK))
        link = {} if depth is None else depth["link"]
        yield doctor_watch.version(VERSION, str(link.get("center_titian") or ""))
    elif depth is not None:
        yield doctor_watch.versions(VERSION, depth["regions"])


def _console(folder: Folder) -> Mapping[str, Any] | None:
    try:
        said = json.loads((folder.path / "run" / "console.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _depth(folder: Folder) -> dict[str, Any] | None:
    """The document of `titian depth`; `None` where the stores do not open, which other checks say."""
    try:
        return look(folder).depth()
    except (TitianError, OSError):
        return None


def _audit(folder: Folder) -> Check:
    try:
        wrong = AuditFile(folder.path).check()
    except (TitianError, OSError) as why:
        wrong = f"it cannot be read: {why}"
    return doctor_watch.audit((folder.path / AUDIT).exists(), wrong)
