"""`depth --watch` on a terminal: the document again and again, with the last hour beside it.

What was kept is in `watch.db` (a figure a minute); where nothing watches this side, what was seen since this
began has to do. Ctrl-C ends it, and the terminal is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.adapters.watch_store import WatchReader
from pipeline.inspection.sampling import samples
from workers.cli_depth_screen import NAMES, WAITING, Series, screen

if TYPE_CHECKING:
    from workers.looking import CenterLook, RegionLook

HOUR_MIN = 60
_MARKS = (
    ("! ", "bold red"),
    ("held:", "yellow"),
    ("throttle:", "cyan"),
    ("lane ", "bold"),
    ("region ", "bold"),
)


class LastHour:
    """Figures by minute: those that were kept, over them those that were seen here."""

    def __init__(self, watch: WatchReader) -> None:
        self._watch = watch
        self._seen: dict[str, dict[int, float]] = {}

    def saw(self, document: Mapping[str, Any]) -> Series:
        """Take its figures in, and return those of the last hour: a value a minute, `None` where it is not
        known."""
        now = int(document["at_ms"]) // 60_000
        for name, value in samples(document).items():
            row = self._seen.setdefault(name, {})
            row[now] = value
            row.pop(now - HOUR_MIN, None)
        names = (*WAITING, *NAMES) if document["side"] == "region" else ()
        kept = self._watch.minutes(names, now - HOUR_MIN + 1)
        return {name: self._row(name, kept.get(name, []), now) for name in names}

    def _row(self, name: str, kept: list[Any], now: int) -> list[float | None]:
        known = {one.minute: one.mean for one in kept} | self._seen.get(name, {})
        return [known.get(minute) for minute in range(now - HOUR_MIN + 1, now + 1)]


def coloured(lines: list[str]) -> Text:
    """The lines, the more important ones marked; never wrapped."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for at, line in enumerate(lines):
        style = next((style for begin, style in _MARKS if line.startswith(begin)), "")
        text.append("\n" if at else "").append(line, style or ("red" if ": down" in line else ""))
    return text


def watch_live(
    store: RegionLook | CenterLook, pause: Callable[[], None], console: Console | None = None
) -> None:
    """Until Ctrl-C; `pause` waits between two looks."""
    used = console or Console()
    reader = WatchReader(store.folder.path)
    hour = LastHour(reader)
    try:
        with Live(console=used, auto_refresh=False, screen=True) as live:
            while True:
                document = store.depth()
                size = used.size
                shown = screen(document, hour.saw(document), size.width, size.height)
                live.update(coloured(shown), refresh=True)
                pause()
    finally:
        reader.close()
