"""What the reading commands have in common: a side's stores opened to look, and what its worker last said."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.steering_file import minute_of_day, read_steering
from pipeline.adapters.watch_store import WatchReader
from pipeline.errors import NotFound, StoreDamaged
from pipeline.inspection.alarms_since import STATE, with_since
from pipeline.inspection.compared import last_result
from pipeline.inspection.custody import Beside
from pipeline.inspection.depth import region_depth, until_empty
from pipeline.inspection.depth_parts import Around
from pipeline.inspection.losses import last_count
from pipeline.inspection.mirror import mirror_json, recovery_json
from pipeline.inspection.running import LinkState, link_state
from pipeline.throttle.steering import Steering
from pipeline.version import VERSION
from schemas.lanes import Lane
from workers.supervisor_state import running

if TYPE_CHECKING:  # a region does not load the center's database library
    from pipeline.adapters.ledger_reader import LedgerReader
    from pipeline.inspection.trace import Query

#: As `pipeline.adapters.ledger_sql.LEDGER_NAME`.
LEDGER_NAME = "ledger.db"
#: Turns of the link are read from so long before this day on: a cut may have begun earlier, milliseconds.
TURNS_BACK_MS = 2 * 86_400_000


def ledger_place(folder: Folder) -> Path | str:
    """Where a center's ledger is: its URL, or the SQLite file in the folder."""
    return folder.settings.ledger.url or folder.path / LEDGER_NAME


@dataclass
class RegionLook:
    """A region's stores, read-only."""

    folder: Folder
    outbox: OutboxReader
    registry: RegistryReader

    def depth(self) -> dict[str, Any]:
        """The document of `titian depth`."""
        link, now_ms = link_of(self.folder), SystemClock().now_ms()
        found = region_depth(
            self.outbox,
            self.registry,
            link,
            now_ms=now_ms,
            free_bytes=free_bytes(self.folder.path),
            low_water_bytes=self.folder.settings.outbox.low_water_bytes,
            beside=Beside(
                mirror_json(self.folder),
                last_result(self.folder.path),
                last_count(self.folder.path),
                recovery_json(self.folder),
            ),
            around=around_of(self.folder, now_ms),
        )
        return found | {"alarms": since(self.folder, found["alarms"])}

    def trace(self, query: Query) -> dict[str, Any]:
        """The document of `titian trace`; raises `NotFound`."""
        from pipeline.inspection.trace import region_trace

        now_ms, depth = SystemClock().now_ms(), self.depth()
        return region_trace(self.outbox, self.registry, link_of(self.folder), query, now_ms, depth)

    def left(self) -> tuple[int, int]:
        """(`waiting`, `unverdicted`)."""
        return until_empty(self.outbox, None)


@dataclass
class CenterLook:
    """A center's ledger, read-only."""

    folder: Folder
    ledger: LedgerReader
    only: str | None = None

    def depth(self) -> dict[str, Any]:
        """The document of `titian depth`."""
        from pipeline.inspection.alarms import center_alarms  # here: a region's `depth` is quick without them
        from pipeline.inspection.depth_center import center_depth
        from pipeline.inspection.trouble import Limits
        from workers.restraint import read_restraint

        runs, now_ms = is_running(self.folder), SystemClock().now_ms()
        restraint = read_restraint(self.folder.run, now_ms) if runs else None
        told = self.folder.settings.alarms
        found = center_depth(
            self.ledger,
            running=runs,
            now_ms=now_ms,
            only=self.only,
            restraint=restraint,
            limits=Limits(told.silent_s, told.old_s, told.runway_days),
            titian=VERSION,
        )
        found["runway"] = self._room()
        return found | {"alarms": since(self.folder, center_alarms(found, told))}

    def _room(self) -> dict[str, Any] | None:
        """Of the ledger's disk; `None` where it is a server's."""
        settings = self.folder.settings
        if settings.ledger.url:
            return None
        free, low = free_bytes(self.folder.path), settings.intake.low_water_bytes
        return {"free_bytes": free, "low_water_bytes": low, "full_in_days": None}

    def trace(self, query: Query) -> dict[str, Any]:
        """The document of `titian trace`; raises `NotFound`."""
        from pipeline.inspection.trace import center_trace

        return center_trace(self.ledger, query, SystemClock().now_ms())

    def left(self) -> tuple[int, int]:
        """(`waiting`, `unverdicted`)."""
        return until_empty(None, self.ledger, self.only)


def since(folder: Folder, alarms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same alarms, each with since when the watching process has seen it."""
    if not alarms:
        return alarms
    watch = WatchReader(folder.path)
    try:
        return with_since(alarms, watch.get(STATE))
    finally:
        watch.close()


def look(folder: Folder, only: str | None = None) -> RegionLook | CenterLook:
    """The stores of that side; raises `NotFound` where they are not there, or `StoreError`."""
    if folder.settings.side == "center":
        from pipeline.adapters.ledger_reader import LedgerReader

        ledger = LedgerReader.open(ledger_place(folder))
        if only is not None and only not in [row.code for row in ledger.regions()]:
            raise NotFound(f"region {only} was never admitted here (`titian regions` lists those that were)")
        return CenterLook(folder, ledger, only)
    return RegionLook(folder, OutboxReader(folder.path), RegistryReader(folder.path))


def is_running(folder: Folder) -> bool:
    """Whether the side's `titian up` runs on this machine."""
    return running(folder.path / "run") is not None


def check_heard(folder: Folder) -> None:
    """Raises `Unreachable` where the center, or its broker, has said that it will not serve this side: then
    waiting for an answer is vain."""
    from pipeline.errors import Unreachable
    from pipeline.inspection.alarms import denial_sentence, refusal_sentence

    link = link_of(folder)
    if link.value("denied"):
        raise Unreachable(denial_sentence(str(link.value("denied"))).en)
    if link.value("refusal"):
        raise Unreachable(refusal_sentence(str(link.value("refusal"))).en)


def link_of(folder: Folder) -> LinkState:
    """What the region's worker last said of the link; a file that is gone or half there says nothing."""
    try:
        said: Any = json.loads((folder.path / "run" / "push.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    said = {**said, "held": held_lanes(folder)} if isinstance(said, dict) else {}
    return link_state(is_running(folder), said, SystemClock().now_ms())


def around_of(folder: Folder, now_ms: int) -> Around:
    """What a region's document needs beside its stores."""
    wrong = ""
    try:
        steering = read_steering(folder.path)
    except StoreDamaged as why:
        steering, wrong = Steering(), str(why)
    midnight_ms = midnight_of(now_ms)
    watch = WatchReader(folder.path)
    try:
        turns = tuple(
            (one.at_ms, one.what)
            for one in reversed(watch.turns(midnight_ms - TURNS_BACK_MS, "link %", 2_000))
        )
        seen_ms = watch.newest_ms("free_bytes")
    finally:
        watch.close()
    minute = minute_of_day(now_ms)
    return Around(VERSION, steering, minute, midnight_ms, wrong, turns, seen_ms, folder.settings.alarms)


def midnight_of(now_ms: int) -> int:
    """When the office's day began, by the machine's time zone, milliseconds."""
    now = time.localtime(now_ms / 1000)
    return int(time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1)) * 1000)


def held_lanes(folder: Folder) -> dict[str, str]:
    """Why each lane does not go freely now, by its name; empty where people asked for nothing."""
    try:
        steering = read_steering(folder.path)
    except StoreDamaged as why:
        return {lane.label: str(why) for lane in Lane}
    minute = minute_of_day(SystemClock().now_ms())
    return {lane.label: steering.why(lane, minute) for lane in Lane}
