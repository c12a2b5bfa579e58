"""What a side's watching process does again and again: one look at the document of `depth`, handed to parts.

A part (alarms, the notice, samples, what the want says of our health) only listens: none may hold up another,
or the transfer, which knows nothing of this process. One that fails is said in the log and asked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.ports import Clock
from workers.logs import log

#: How often each side is looked at, seconds: a center with hundreds of regions costs more.
LOOK_S = {"region": 1.0, "center": 5.0}
#: A look that failed is said again after so long, seconds.
SAID_S = 60.0


class Part(Protocol):
    """Something that wants to see each document."""

    def saw(self, document: Mapping[str, Any]) -> None:
        """The document of `titian depth` as it is now (`at_ms`: when). Raises `TitianError` or `OSError`."""


class Depths(Protocol):
    """Whose `depth()` is looked at: `workers.looking`."""

    def depth(self) -> dict[str, Any]:
        """The document of `titian depth`."""


class Watching(threading.Thread):
    """Looks every `every_s` seconds until `stop` is set, and keeps the newest document."""

    def __init__(
        self,
        store: Depths,
        parts: Sequence[Part],
        clock: Clock,
        stop: threading.Event,
        every_s: float,
        tick: Path | None = None,
    ) -> None:
        super().__init__(name="watching", daemon=True)
        self._store, self._parts, self._clock, self._stop_event = store, parts, clock, stop
        self._every_s, self._tick = every_s, tick
        self._latest: dict[str, Any] | None = None
        self._looked = threading.Condition()
        self._said_s: dict[str, float] = {}
        #: How often it has looked: who waits for a newer document compares this.
        self.looks = 0

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for: who waits for a newer document should end."""
        return self._stop_event.is_set()

    def latest(self) -> dict[str, Any] | None:
        """The newest document; `None` before the first look."""
        return self._latest

    def wait_newer(self, looks: int, wait_s: float) -> int:
        """Wait until it has looked more often than `looks`, at most `wait_s`; how often it has by then."""
        with self._looked:
            self._looked.wait_for(lambda: self.looks > looks, wait_s)
            return self.looks

    def run(self) -> None:
        """Until a stop is asked for."""
        while not self._stop_event.is_set():
            began_s = time.monotonic()
            self.look()
            if self._tick is not None:
                self._tick.touch()
            self._stop_event.wait(max(0.05, self._every_s - (time.monotonic() - began_s)))

    def look(self) -> None:
        """One look."""
        try:
            document = self._store.depth()
        except Exception as why:  # a store that is away or, once, a defect of ours: it is looked at again
            self._complain("depth", why)
            return
        with self._looked:
            self._latest, self.looks = document, self.looks + 1
            self._looked.notify_all()
        for part in self._parts:
            try:
                part.saw(document)
            except Exception as why:  # what it needs is away, or a defect of ours: the others go on
                self._complain(type(part).__name__, why)

    def _complain(self, what: str, why: Exception) -> None:
        now_s = self._clock.now_s()
        if now_s - self._said_s.get(what, float("-inf")) >= SAID_S:
            self._said_s[what] = now_s
            log("watch").warning(what, code=type(why).__name__, why=str(why))
