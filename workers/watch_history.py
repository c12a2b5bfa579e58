"""What is kept of a side over time: figures by minute, turns of the link and of the throttle (`watch.db`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.adapters.folder import Folder
from pipeline.adapters.watch_store import WatchStore
from pipeline.inspection.sampling import Turns, samples
from workers.watching import Part

#: How often figures are kept, milliseconds.
SAMPLE_MS = 10_000


class HistoryPart:
    """Keeps samples and turns."""

    def __init__(self, store: WatchStore) -> None:
        self._store, self._turns = store, Turns(store.get("turns") or {})
        self._sampled_ms = 0

    def saw(self, document: Mapping[str, Any]) -> None:
        """See `Part`."""
        now_ms = int(document["at_ms"])
        turned = self._turns.saw(document)
        for at_ms, what, detail in turned:
            self._store.turn(at_ms, what, detail)
        if turned:
            self._store.put("turns", self._turns.state)
        if not 0 <= now_ms - self._sampled_ms < SAMPLE_MS:
            self._sampled_ms = now_ms
            self._store.sample(now_ms, samples(document))


def history_part(folder: Folder, store: WatchStore) -> Part:
    """The part of that side."""
    del folder
    return HistoryPart(store)
