"""The jobs that a region's worker keeps beside its tasks: retention, the mirror, the nightly comparison."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_retention import RegistryRetention
from pipeline.adapters.sqlite import Database
from pipeline.ports import Clock
from pipeline.region.housekeeping import Housekeeping
from pipeline.region.mirrored import Mirrored
from pipeline.region.mirroring import Upkeep, mirror_of
from workers.keeping import Job, Keeper
from workers.logs import log
from workers.reconcile_nightly import Nightly

#: How often each is looked at, seconds.
RETENTION_S, MIRROR_S, FROM_MIRROR_S, NIGHT_S = 60.0, 2.0, 5.0, 60.0


def keepers(
    folder: Folder, outbox: SqliteOutbox, mirrored: Mirrored, clock: Clock, stop: threading.Event
) -> tuple[Keeper, Keeper]:
    """Two of them: the comparison waits for the center's answers, and the rest does not wait for that."""
    jobs = [
        Job("retention", RETENTION_S, _retention(folder, outbox, clock), first_s=10.0),
        Job("from a mirror", FROM_MIRROR_S, mirrored.step),
    ]
    mirror = mirror_of(folder, clock)
    if mirror is not None:
        upkeep = Upkeep(mirror, OutboxCustody(folder.path), clock)

        def keep_the_mirror() -> bool:
            done = upkeep.step()
            if done.packets or done.damaged:
                log("mirror").info("filled up", packets=done.packets, damaged=done.damaged)
            return done.more

        jobs.append(Job("mirror", MIRROR_S, keep_the_mirror))
    night = Job("reconcile", NIGHT_S, Nightly(folder, clock, stop), first_s=30.0)
    return Keeper(jobs, clock, stop), Keeper([night], clock, stop)


class RetentionJob:
    """A round of housekeeping as a job; what went is said in the log. Below the low water the ballast goes
    first: cleaning up takes room, too."""

    def __init__(self, house: Housekeeping, is_full: Callable[[], bool], on_full: Callable[[], None]) -> None:
        self._house, self._is_full, self._on_full = house, is_full, on_full

    def __call__(self) -> bool:
        if self._is_full():
            self._on_full()
        done = self._house.round()
        if done.packets or done.pages:
            log("retention").info("gone", packets=done.packets, bytes=done.bytes, pages=done.pages)
        return done.more


def _retention(folder: Folder, outbox: SqliteOutbox, clock: Clock) -> RetentionJob:
    registry = RegistryRetention(Database(folder.path / FILE_NAME, LAYOUT))
    part = folder.settings.outbox
    house = Housekeeping((outbox.retention, registry), clock, part.retention_days)

    def is_full() -> bool:
        return free_bytes(folder.path) < part.low_water_bytes

    return RetentionJob(house, is_full, outbox.give_up_ballast)


def start(threads: tuple[Keeper, ...]) -> None:
    """Start them; what was started already stays as it is."""
    for one in threads:
        if not one.is_alive():
            one.start()
