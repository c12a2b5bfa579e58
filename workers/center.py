"""The center's workers: `intake`, `validate` and `deliver` as tasks, one process each.

Intake is a resident; the other two run while there is work. A nudge that is refused its lease leaves its
region in the set of the process, which the holder serves.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from celery import Celery
from celery.signals import beat_embedded_init, worker_shutting_down

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder
from workers.application import CENTER_BEAT, DELIVER, INTAKE, VALIDATE, make_application
from workers.deathsig import die_with_parent
from workers.logs import log
from workers.region import follow
from workers.slices import Ended, Slice
from workers.wiring import broker_url, center_pipeline

SLICE_S = 30.0
#: How long a blocked region waits before its level is looked at again, seconds.
LEVEL_S = 0.05


@dataclass
class CenterSide:
    """The state of one of the center's processes."""

    folder: Folder
    app: Celery
    stop: threading.Event = field(default_factory=threading.Event)
    dirty: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = center_pipeline(self.folder)
        self.ledger, self.link, self.intake, self.validation, self.deliver, self.clock = parts

    def intake_once(self) -> float:
        """Take in what lies in every region's streams."""
        regions = self.ledger.regions()
        self.link.wait(regions, 0.5)
        for region in self.link.lengths(regions):
            if self.stop.is_set():
                break
            done = self.intake.step(region)
            for one in done.rejected:
                self.deliver.refuse(region, one.key, one.code)
            self.counts["packets"] = self.counts.get("packets", 0) + done.packets
            if done.to_validate:
                follow(self.app, VALIDATE)
            if done.facts or done.wants:
                follow(self.app, DELIVER, region)
        return 0.0 if regions else 1.0

    def validate_once(self) -> float | None:
        """Decide what is due; `None` when nothing is."""
        done = self.validation.step(self.clock.now_ms())
        for region in done.regions:
            follow(self.app, DELIVER, region)
        self.counts["packets"] = self.counts.get("packets", 0) + done.packets
        return 0.0 if done.packets else None

    def deliver_once(self) -> float | None:
        """Serve the regions that have news; `None` when none is left."""
        blocked = False
        for region in tuple(self.dirty):
            self.dirty.discard(region)
            done = self.deliver.step(region)
            self.counts["records"] = self.counts.get("records", 0) + done.records
            if done.blocked:
                self.dirty.add(region)
                blocked = True
        if blocked:
            return LEVEL_S
        return 0.0 if self.dirty else None

    def run(self, task: str) -> None:
        """A slice of one task, then a nudge if there is more."""
        short = task.removeprefix("titian.")
        work = {INTAKE: self.intake_once, VALIDATE: self.validate_once, DELIVER: self.deliver_once}[task]
        before, started = dict(self.counts), self.clock.now_s()
        lease = FileLock(self.folder.run / f"{short}.lease")
        tick = self.folder.run / f"{short}.tick" if task == INTAKE else None
        ended = Slice(lease, work, self.clock, self.stop, SLICE_S, tick=tick).run()
        did = {k: v - before.get(k, 0) for k, v in self.counts.items() if v != before.get(k, 0)}
        if did:
            took_s = round(self.clock.now_s() - started, 3)
            log(short).info("slice", ended=ended.name.lower(), s=took_s, **did)
        if ended is Ended.TIME_UP:
            follow(self.app, task)


def center_application(folder: Folder) -> Celery:
    """The Celery application of a center's worker, with its three tasks registered."""
    app = make_application("titian-center", broker_url(folder), (INTAKE, VALIDATE, DELIVER), CENTER_BEAT)
    side = CenterSide(folder, app)

    @app.task(name=INTAKE)
    def intake() -> None:
        side.run(INTAKE)

    @app.task(name=VALIDATE)
    def validate() -> None:
        side.run(VALIDATE)

    @app.task(name=DELIVER)
    def deliver(region: str = "") -> None:
        side.dirty.update([region] if region else side.ledger.regions())
        side.run(DELIVER)

    worker_shutting_down.connect(lambda **_: side.stop.set(), weak=False)
    beat_embedded_init.connect(lambda **_: die_with_parent(), weak=False)
    return app
