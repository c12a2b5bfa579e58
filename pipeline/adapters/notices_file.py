"""Inspection: what people add to the public notice, in a region's folder.

notices.json    0600, replaced as a whole
    {"version": 1, "next_n": 3,
     "notices": [{"n": 2, "what": "printing", "text_id": "...", "text_en": "...", "from_ms": 0,
                  "until_ms": null, "shown_ms": 0, "ended_ms": null}],
     "templates": {"NAME": {"what": "office", "text_id": "...", "text_en": "..."}},
     "equipment": [{"name": "printer", "since_ms": 0, "until_ms": null, "reason": "..."}]}

Who changes it holds the audit log meanwhile (`workers.acts_notice`); who reads it takes no lock.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import write_private
from pipeline.errors import StoreDamaged, UsageError
from pipeline.inspection.notice_own import ABOUT, EQUIPMENT, Equipment, Notices, Own, Template

NAME = "notices.json"
VERSION = 1


def read_notices(folder: Path) -> Notices:
    """What people said. Raises `StoreDamaged` where the file cannot be understood."""
    path = folder / NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            raise ValueError(f"version {value['version']}")
        return Notices(
            tuple(_own(one) for one in value["notices"]),
            {str(name): Template(**one) for name, one in value["templates"].items()},
            tuple(_equipment(one) for one in value["equipment"]),
            int(value["next_n"]),
        )
    except FileNotFoundError:
        return Notices()
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise StoreDamaged(
            f"{path} is damaged ({why}): remove it, and write again what the public should read"
        ) from None
    except OSError as why:
        raise UsageError(f"{path} cannot be read: {why.strerror}") from None


def write_notices(folder: Path, notices: Notices) -> None:
    """What holds from now on."""
    value = {
        "version": VERSION,
        "next_n": notices.next_n,
        "notices": [asdict(one) for one in notices.notices],
        "templates": {name: asdict(one) for name, one in notices.templates.items()},
        "equipment": [asdict(one) for one in notices.equipment],
    }
    write_private(folder / NAME, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


class NoticesFile:
    """Reads the file again when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int, int] | None = None
        #: What was read last.
        self.held = Notices()

    def read(self) -> Notices:
        """See `read_notices`; a file that is damaged is said at each call, and `held` holds meanwhile."""
        try:
            stat = (self._folder / NAME).stat()
            seen: tuple[int, int, int] | None = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._seen, self.held = None, read_notices(self._folder)
            self._seen = seen
        return self.held


def _own(value: dict[str, Any]) -> Own:
    one = Own(**value)
    texts = isinstance(one.text_id, str) and isinstance(one.text_en, str)
    times = (one.from_ms, one.shown_ms, one.until_ms or 0, one.ended_ms or 0, one.n)
    if one.what not in ABOUT or not texts or not all(type(ms) is int for ms in times):
        raise ValueError("a notice")
    return one


def _equipment(value: dict[str, Any]) -> Equipment:
    one = Equipment(**value)
    if one.name not in EQUIPMENT or type(one.since_ms) is not int or type(one.until_ms or 0) is not int:
        raise ValueError("equipment")
    return one
