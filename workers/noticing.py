"""The public notice of a region, put together: what its stores say, what people said, what was said before.

Three look at it: the watching process keeps the state (`workers.watch_notice`), the console's routes show
what it kept, and the command line does too, and makes the state itself while nothing runs.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.adapters.folder import Folder
from pipeline.adapters.notices_file import read_notices
from pipeline.adapters.watch_store import Sample, Turn, WatchReader
from pipeline.inspection.notice import STATE, notice_document
from pipeline.inspection.notice_causes import causes, not_running
from pipeline.inspection.notice_own import Notices
from pipeline.inspection.notice_state import Limits, NoticeState, from_json, step
from pipeline.inspection.notice_until import DAY_MS, HOUR_MS, Past, cuts_ms, usual_goodput_bytes_s
from pipeline.settings import NoticePart
from workers.looking import RegionLook, is_running, look

#: How far back cuts are looked at, and hours of goodput.
CUTS_DAYS, GOODPUT_DAYS = 35, 7
PAGE_NAME, JSON_NAME = "notice.html", "notice.json"


class Seen(Protocol):
    """What was seen over time: `WatchReader`."""

    def turns(self, since_ms: int, what: str = "%", limit: int = 10_000) -> list[Turn]:
        """See `WatchReader`."""

    def hours(self, names: Any, since_hour: int) -> dict[str, list[Sample]]:
        """See `WatchReader`."""


def limits_of(part: NoticePart) -> Limits:
    """The settings' hysteresis."""
    return Limits(int(part.after_s * 1000), int(part.clear_s * 1000), int(part.keep_s * 1000))


def past_of(seen: Seen, now_ms: int) -> Past:
    """How this office's link has been."""
    turns = reversed(seen.turns(now_ms - CUTS_DAYS * DAY_MS, "link %"))
    name = "goodput_bytes_s"
    hours = seen.hours([name], (now_ms - GOODPUT_DAYS * DAY_MS) // HOUR_MS)[name]
    lasted = cuts_ms((one.at_ms, one.what) for one in turns)
    return Past(lasted, usual_goodput_bytes_s([one.mean for one in hours]))


def read_document(folder: Folder, now_ms: int, own: Notices | None = None) -> dict[str, Any]:
    """The document as the watching process keeps it; where nothing runs, made out of the stores now. `own`:
    what people said, where that is read already. Raises `StoreError`."""
    said = read_notices(folder.path) if own is None else own
    with closing(WatchReader(folder.path)) as reader:
        state = from_json(reader.get(STATE))
        if not is_running(folder):
            state = _looked_now(folder, reader, state, said, now_ms)
    return notice_document(state, said, now_ms, folder.settings.region, folder.settings.notice)


def write_public(path: Path, text: str) -> None:
    """Write a file that everybody may read, whole or not at all. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask is
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _looked_now(
    folder: Folder, reader: WatchReader, state: NoticeState, own: Notices, now_ms: int
) -> NoticeState:
    """As if the watching process had looked now; nothing is kept of it."""
    there = look(folder)
    assert isinstance(there, RegionLook)
    found = {**there.depth(), "at_ms": now_ms}
    seen = causes(found, own.equipment, past_of(reader, now_ms))
    since = not_running(state.at_ms or _said_last_ms(found))
    seen = [since if one.code == since.code else one for one in seen]
    return step(state, seen, now_ms, limits_of(folder.settings.notice))


def _said_last_ms(document: dict[str, Any]) -> int | None:
    """When the worker last said anything; `None`: it never did."""
    age_s = document["link"]["age_s"]
    return None if age_s is None else int(document["at_ms"] - age_s * 1000)
