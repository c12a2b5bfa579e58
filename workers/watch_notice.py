"""The public notice: its state is kept up to date, and written out as a page.

It looks at each document of `depth`; what earlier cuts say is read again once a minute. The page and its JSON
are written where `notice.folder` says whenever they changed, and every 5 minutes in any case: a page that
says an old time is seen to be old.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.adapters.folder import Folder
from pipeline.adapters.notices_file import NoticesFile
from pipeline.adapters.watch_store import WatchReader, WatchStore
from pipeline.errors import StoreDamaged, UsageError
from pipeline.inspection.notice import STATE, notice_document
from pipeline.inspection.notice_causes import causes
from pipeline.inspection.notice_own import Notices
from pipeline.inspection.notice_state import NoticeState, from_json, step
from pipeline.inspection.notice_until import Past
from workers.noticing import JSON_NAME, PAGE_NAME, Seen, limits_of, past_of, write_public
from workers.watching import Part

#: How often the state is kept though nothing turned, cuts are read, the files written, milliseconds.
KEEP_MS, PAST_MS, WRITE_MS = 30_000, 60_000, 300_000


class Keeps(Protocol):
    """Where the state is kept: `WatchStore`."""

    def get(self, name: str) -> Any:
        """The state of that name, or `None`."""

    def put(self, name: str, value: Any) -> None:
        """Keep it."""


class NoticeKept:
    """Keeps the state, and the files where they are wanted."""

    def __init__(self, folder: Folder, store: Keeps, seen: Seen) -> None:
        self._folder, self._store, self._seen = folder, store, seen
        self._own = NoticesFile(folder.path)
        self._state: NoticeState = from_json(store.get(STATE))
        self._limits = limits_of(folder.settings.notice)
        self._past, self._past_ms = Past(), 0
        self._kept_ms, self._written_ms = 0, 0
        self._written: dict[str, Any] = {}

    def saw(self, document: Mapping[str, Any]) -> None:
        """See `Part`. Raises `StoreDamaged` (people's own notices do not read), `UsageError`."""
        now_ms = int(document["at_ms"])
        if not 0 <= now_ms - self._past_ms < PAST_MS:
            self._past, self._past_ms = past_of(self._seen, now_ms), now_ms
        own, wrong = self._notices()
        before = self._state
        self._state = step(before, causes(document, own.equipment, self._past), now_ms, self._limits)
        if _turned(before, self._state) or not 0 <= now_ms - self._kept_ms < KEEP_MS:
            self._kept_ms = now_ms
            self._store.put(STATE, self._state.to_json())
        if self._folder.settings.notice.folder:
            self._write(own, now_ms)
        if wrong is not None:
            raise wrong

    def _notices(self) -> tuple[Notices, StoreDamaged | None]:
        try:
            return self._own.read(), None
        except StoreDamaged as why:
            return self._own.held, why

    def _write(self, own: Notices, now_ms: int) -> None:
        settings = self._folder.settings
        found = notice_document(self._state, own, now_ms, settings.region, settings.notice)
        told = {name: value for name, value in found.items() if name not in ("made_ms", "looked_ms")}
        if told == self._written and 0 <= now_ms - self._written_ms < WRITE_MS:
            return
        from workers.notice_page.page import public, to_html, to_json

        shown, place = public(found), public_folder(self._folder)
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            write_public(place / JSON_NAME, to_json(shown))
            write_public(place / PAGE_NAME, to_html(shown))
        except OSError as why:
            raise UsageError(f"notice.folder: {place} cannot be written: {why.strerror}") from None
        self._written, self._written_ms = told, now_ms


def public_folder(folder: Folder) -> Path:
    """Where the page is written; a name that does not begin with / is below the side's folder."""
    return folder.path / Path(folder.settings.notice.folder).expanduser()


def _turned(before: NoticeState, now: NoticeState) -> bool:
    """Whether something changed that a restart must not forget (what is only counted on, it makes up for)."""
    if before.resolved != now.resolved:
        return True
    return any(
        (before.tracks[what].good_ms is None, before.tracks[what].since_ms, before.tracks[what].until)
        != (track.good_ms is None, track.since_ms, track.until)
        for what, track in now.tracks.items()
    )


def notice_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    return NoticeKept(folder, store, WatchReader(folder.path))
