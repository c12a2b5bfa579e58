"""Alarms: what began and what is over, told to the log, a webhook, a command.

Which alarms stand since when, and who was told, is in watch.db and survives a restart. A slow or dead webhook
holds nothing up: what goes outside has a thread of its own behind a bounded queue, and what does not fit, or
fails, is tried again at a later look.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any

from pipeline.adapters.folder import Folder
from pipeline.adapters.watch_store import WatchStore
from pipeline.inspection.alarms_since import STATE
from pipeline.inspection.alarms_told import Tell, Told
from pipeline.settings import AlarmsPart
from workers.logs import log
from workers.telling import Sender, payload, senders
from workers.watching import Part

LOG = "log"
#: So much waits for the thread that tells; the rest waits in the state.
QUEUE_MAX = 32


class Teller(threading.Thread):
    """Tells one thing after the other; outcomes wait in `outcomes` until they are taken."""

    def __init__(self, senders_: Mapping[str, Sender]) -> None:
        super().__init__(name="telling", daemon=True)
        self._senders = senders_
        self._jobs: queue.Queue[tuple[Tell, Mapping[str, Any]]] = queue.Queue(QUEUE_MAX)
        self.outcomes: queue.SimpleQueue[tuple[Tell, str]] = queue.SimpleQueue()

    def ask(self, tell: Tell, value: Mapping[str, Any]) -> bool:
        """Whether there was room for it; never waits."""
        try:
            self._jobs.put_nowait((tell, value))
        except queue.Full:
            return False
        if not self.is_alive():
            self.start()
        return True

    def run(self) -> None:
        """Until the process ends."""
        while True:
            tell, value = self._jobs.get()
            try:
                why = self._senders[tell.sink](value)
            except Exception as defect:  # our own: it must not end the telling
                why = type(defect).__name__
            self.outcomes.put((tell, why))


class AlarmsTold:
    """The part: sees each document's alarms, and tells."""

    def __init__(self, store: WatchStore, limits: AlarmsPart, outside: Mapping[str, Sender]) -> None:
        self._store, self._teller = store, Teller(outside)
        self._told = Told(store.get(STATE), limits, (LOG, *outside))
        self._under_way: set[tuple[str, str, int, str]] = set()

    def saw(self, document: Mapping[str, Any]) -> None:
        """See `Part`."""
        now_ms = int(document["at_ms"])
        changed = self._take_outcomes(now_ms)
        changed |= self._told.saw(document["alarms"], now_ms)
        for tell in self._told.due(now_ms):
            if tell.sink == LOG:
                _say(tell)
                self._told.noted(tell, True, now_ms)
                changed = True
            elif tell.key not in self._under_way:
                value = payload(tell, str(document["side"]), str(document.get("region", "")), now_ms)
                if self._teller.ask(tell, value):
                    self._under_way.add(tell.key)
        if changed:
            self._store.put(STATE, self._told.to_json())

    def _take_outcomes(self, now_ms: int) -> bool:
        changed = False
        while not self._teller.outcomes.empty():
            tell, why = self._teller.outcomes.get()
            self._under_way.discard(tell.key)
            self._told.noted(tell, not why, now_ms)
            changed = True
            if why:  # what it said is for `titian alarms --test`: it may be anything
                log("alarms").warning("not told", code=tell.code, sink=tell.sink)
        return changed


def _say(tell: Tell) -> None:
    since_ms = tell.stands_since_ms
    log("alarms").warning("alarm", code=tell.code, turn=tell.event, level_=tell.level, since_ms=since_ms)


def alarms_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    limits = folder.settings.alarms
    return AlarmsTold(store, limits, senders(limits))
