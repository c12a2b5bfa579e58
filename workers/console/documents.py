"""What the console shows, out of `pipeline/inspection/`: the same documents for its pages and its JSON."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.adapters.notices_file import read_notices
from pipeline.errors import NotFound, TitianError, Unreachable
from pipeline.inspection.audit import audit_document
from pipeline.inspection.dead import center_dead, center_dead_one, region_dead, region_dead_one
from pipeline.inspection.notice_own import ABOUT, BUILT_IN, EQUIPMENT
from pipeline.inspection.series import (
    CENTER_COUNTED,
    CENTER_SEEN,
    COUNTED_H,
    REGION_COUNTED,
    REGION_SEEN,
    center_minutes,
    history,
    names_of,
    region_minutes,
)
from pipeline.inspection.trace import Query
from schemas.identity import check_region
from schemas.lanes import parse_lane
from workers.console.headline import headlines
from workers.console.opened import opened, seen
from workers.console.side import Side
from workers.looking import CenterLook

#: One region's document at a center is made at most so often, seconds, and for so many regions.
REGION_EACH_S, REGIONS_KEPT = 2.0, 16
_HOUR_MS = 3_600_000


def now_ms() -> int:
    """Now, wall clock."""
    return int(time.time() * 1000)


def with_headline(document: dict[str, Any]) -> dict[str, Any]:
    """A document of `depth` with its sentence in both languages."""
    return {**document, "headline": headlines(document)}


class Documents:
    """Those of one side. Used by several threads."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._lock = threading.Lock()
        self._regions: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()

    def newest(self) -> dict[str, Any] | None:
        """The newest document of `depth` that the watching thread made; `None` before its first look."""
        return self.side.watching.latest()

    def depth(self, region: str | None) -> dict[str, Any]:
        """The same with its sentence; of one region of a center. Raises `Unreachable` before a look."""
        if region:
            return self.of_region(region)
        found = self.newest()
        if found is None:
            raise Unreachable("nothing was seen yet: ask again in a few seconds")
        return with_headline(found)

    def made_now(self) -> dict[str, Any] | None:
        """One that is made now: what was just done stands in it. The newest where that cannot be."""
        try:
            with self._lock, opened(self.side) as store:
                return store.depth()
        except (TitianError, OSError):
            return self.newest()

    def of_region(self, code: str, *, now: bool = False) -> dict[str, Any]:
        """`depth` of one region, read from the ledger (`now`: not even a moment ago); raises `NotFound`."""
        code = check_region(code)
        with self._lock:  # one at a time: it is read anew each
            at_s, found = self._regions.get(code, (float("-inf"), {}))
            if now or time.monotonic() - at_s > REGION_EACH_S:
                with opened(self.side, code) as store:
                    found = with_headline(store.depth())
                self._regions[code] = time.monotonic(), found
                self._regions.move_to_end(code)
                while len(self._regions) > REGIONS_KEPT:
                    self._regions.popitem(last=False)
            return found

    def history(self, hours: int, names: str, region: str | None) -> dict[str, Any]:
        """Figures over time (`pipeline/inspection/series.py`)."""
        at_ms = now_ms()
        since = (at_ms - hours * _HOUR_MS) // 60_000 - 5
        with opened(self.side, check_region(region) if region else None) as store, seen(self.side) as watch:
            if isinstance(store, CenterLook):
                known = CENTER_COUNTED if region else (*CENTER_SEEN, *CENTER_COUNTED)
                chosen = names_of(names, known)
                counted = center_minutes(store.ledger, since, region) if hours <= COUNTED_H else {}
                every = _none(CENTER_COUNTED) | dict(counted)
            else:
                chosen = names_of(names, (*REGION_SEEN, *REGION_COUNTED))
                counted = region_minutes(store.outbox, since) if hours <= COUNTED_H else {}
                every = _none(REGION_COUNTED) | dict(counted)
            return history(hours, at_ms, chosen, watch, every)

    def turns(self, hours: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """When the link and the throttle turned, newest first; last, how the link was before that."""
        since_ms = now_ms() - hours * _HOUR_MS
        with seen(self.side) as watch:
            found = watch.turns(since_ms, limit=limit)
            found += [one for one in watch.turns(0, "link %", limit=limit + 1) if one.at_ms < since_ms][:1]
        return [{"at_ms": one.at_ms, "what": one.what, "detail": one.detail} for one in found]

    def dead(self, lane: str | None, region: str | None, limit: int) -> dict[str, Any]:
        """The document of `dead list`."""
        wanted = parse_lane(lane) if lane else None
        with opened(self.side, check_region(region) if region else None) as store:
            if isinstance(store, CenterLook):
                return center_dead(store.ledger, region or None, limit)
            return region_dead(store.outbox, wanted, limit)

    def dead_one(self, which: str) -> dict[str, Any]:
        """The document of `dead show`; raises `NotFound`."""
        with opened(self.side) as store:
            if isinstance(store, CenterLook):
                return center_dead_one(store.ledger, which)
            return region_dead_one(store.outbox, which)

    def trace(self, query: Query) -> dict[str, Any]:
        """The document of `trace`; raises `NotFound`."""
        with opened(self.side) as store:
            return store.trace(query)

    def audit(self, what: str | None, limit: int) -> dict[str, Any]:
        """The document of `audit`."""
        return audit_document(self.side.folder.path, self.side.kind, limit, what)

    def own_notices(self) -> dict[str, Any] | None:
        """What people wrote for the public notice, what they said is broken, and the words there are."""
        if self.side.kind != "region":
            return None
        found = read_notices(self.side.folder.path)
        templates = {**BUILT_IN, **found.templates}
        return {
            "notices": [asdict(one) for one in found.notices],
            "equipment": {one.name: asdict(one) for one in found.equipment},
            "equipment_names": list(EQUIPMENT),
            "about": list(ABOUT),
            "templates": {name: asdict(one) for name, one in templates.items()},
        }

    def dead_or_none(self, limit: int) -> dict[str, Any] | None:
        """`dead` for the first page, which is shown whether or not the stores can be read."""
        try:
            return self.dead(None, None, limit)
        except (NotFound, Unreachable):
            return None


def _none(names: Iterable[str]) -> dict[str, Mapping[int, float]]:
    """Nothing counted, of each."""
    return {name: {} for name in names}
