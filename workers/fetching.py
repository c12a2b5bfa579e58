"""`titian records --nik N --fetch`: ask the center for one record ahead of all else, and wait for it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.adapters.clock import SystemClock
from pipeline.errors import Unreachable, UsageError
from pipeline.ports import Clock
from schemas.asks import RECORD, pack_record_args, unpack_record
from schemas.errors import SchemaError
from schemas.messages import ASK_BYTES_MAX
from schemas.packet import read_head

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.adapters.registry_asks import Asked
    from schemas.packet import Attachment
    from workers.looking import RegionLook

#: Between two looks at the answer, and how long nothing may come before we give up, seconds.
POLL_S = 0.05
PATIENCE_S = 60.0
ALL = ("*",)


def fetch_record(store: RegionLook, nik: str, *, whole: bool, timeout_s: float | None) -> bool:
    """Ask for the record, and with `whole` for those of its attachments that are not here. False: the center
    has no such record. Raises `Unreachable` where this side does not run or no answer came in time."""
    from workers.looking import check_heard, is_running

    if not is_running(store.folder):
        raise Unreachable(
            "this region is not running, so it cannot ask its center: start it with "
            f"`titian up --data {store.folder.path}`, then run this again"
        )
    check_heard(store.folder)
    wait = _Wait(store.folder.path, SystemClock(), timeout_s)
    known = _missing(store, nik) if whole else ()
    if not wait.for_answer(store, nik, ALL if known is None else known):
        return False
    if whole and known is not None and (more := _missing(store, nik)):  # made from another packet meanwhile
        wait.for_answer(store, nik, more)
    return True


def _missing(store: RegionLook, nik: str) -> tuple[str, ...] | None:
    """Names of the attachments that are not here as they should be; `None` where that cannot be said."""
    from pipeline.errors import StoreDamaged
    from pipeline.inspection.records import region_record

    try:
        one = region_record(
            store.registry, store.outbox, store.folder.path, store.folder.settings.region, nik
        )
    except StoreDamaged:
        return None
    if one is None:
        return None
    damaged = [at.name for at, parts in one.attached() if not _is_right(at, parts)]
    names = (*one.missing, *damaged)
    return names if len(pack_record_args(nik, names)) <= ASK_BYTES_MAX else ALL


def _is_right(at: Attachment, parts: Iterable[bytes]) -> bool:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.digest() == at.digest


@dataclass
class _Wait:
    """Waits until `timeout_s` is over (`None`: while something comes)."""

    folder: Path
    clock: Clock
    timeout_s: float | None

    def __post_init__(self) -> None:
        self._began_s = self._moved_s = self.clock.now_s()

    def for_answer(self, store: RegionLook, nik: str, names: tuple[str, ...]) -> bool:
        """Ask, and wait until all of the answer is here; False where the center has no such record."""
        from pipeline.adapters.registry_sqlite import SqliteRegistry
        from workers import render

        registry = SqliteRegistry(self.folder)
        try:
            ask = registry.ask(RECORD, pack_record_args(nik, names), self.clock.now_ms())
        finally:
            registry.close()
        pause, at = threading.Event(), -1
        with render.bar("asking the center", None) as step:
            while True:
                found = store.registry.asked(ask)
                if found is None:
                    raise Unreachable("the question was forgotten, for it is a day old: ask again")
                if found.answered_ms is not None:
                    return _has_record(found)
                if found.at != at:
                    at, self._moved_s = found.at, self.clock.now_s()
                self._look_at_time()
                step(self.clock.now_s() - self._began_s, _beside(found))
                pause.wait(POLL_S)

    def _look_at_time(self) -> None:
        now_s = self.clock.now_s()
        over = now_s - (self._moved_s if self.timeout_s is None else self._began_s)
        if over < (PATIENCE_S if self.timeout_s is None else self.timeout_s):
            return
        raise Unreachable(
            f"no answer within {over:.0f} s: `titian depth` says how the link is. The question stands for a "
            "day and is answered as soon as the link carries it: look then, without --fetch"
        )


def _has_record(found: Asked) -> bool:
    """Whether the answer brought a record."""
    if not found.payloads:
        raise UsageError("the center's answer is of a newer form than this version reads: update Titian here")
    return unpack_record(found.payloads[0]) is not None


def _beside(found: Asked) -> str:
    """What is here of the answer, in words."""
    from workers import render

    if not found.at or not found.payloads:
        return "no answer yet"
    try:
        change = unpack_record(found.payloads[0])
        attached = () if change is None else read_head(change.head or b"", check=False).attachments
    except SchemaError:
        attached = ()
    total = sum(one.size for one in attached)
    return f"the record is here; attachments {render.size(found.at - 1)} of up to {render.size(total)}"
