"""The center's workers: `intake`, `validate` and `deliver` as tasks, one process each.

Intake is a resident; the other two run while there is work. A nudge that is refused its lease leaves its
region in the set of the process, which the holder serves.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from celery import Celery
from celery.signals import beat_embedded_init, worker_shutting_down

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder
from pipeline.center.fair_share import FairShare
from pipeline.center.intake import IntakeResult
from pipeline.center.turns import Turns
from pipeline.errors import TitianError
from workers.application import CENTER_BEAT, DELIVER, INTAKE, VALIDATE, make_application
from workers.deathsig import die_with_parent
from workers.logs import log
from workers.nudges import Nudges, follow
from workers.slices import Ended, Slice, did
from workers.wiring import CenterParts, broker_url

SLICE_S = 30.0
#: How long a blocked region waits before its level is looked at again, seconds.
LEVEL_S = 0.05
#: How often it is looked for what may be forgotten, seconds.
FORGET_S = 3600.0


@dataclass
class CenterSide:
    """The state of one of the center's processes."""

    parts: CenterParts
    app: Celery
    run_folder: Path
    events_days: int = 90
    parts_days: int = 30
    stop: threading.Event = field(default_factory=threading.Event)
    dirty: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nudges = Nudges(partial(follow, self.app), self.parts.clock)
        self._forget_s = float("-inf")
        self._turns: Turns | None = None

    def intake_once(self) -> float:
        """Take in what lies in the regions' streams, for a moment: every `ctl`, and `up` by turns."""
        if self._turns is None:  # a process that died of a frame begins with other regions
            share = FairShare(first=f"{random.randrange(10_000):04d}")
            parts = self.parts
            self._turns = Turns(parts.link, parts.intake, parts.clock, self._took_in, _failed, share)
        turns, regions = self._turns, self.parts.ledger.regions()
        waiting = turns.waiting(regions)
        self.nudges.flush(idle=not waiting)
        if waiting:
            turns.once(waiting)
        else:
            self.parts.link.wait(turns.awake(regions), 0.5)
        return 0.0 if regions else 1.0

    def _took_in(self, region: str, done: IntakeResult) -> None:
        for one in done.rejected:
            self.parts.deliver.refuse(region, one.key, one.code)
        self._count(packets=done.packets, bytes=done.bytes)
        if done.to_validate:
            self.nudges.add(VALIDATE)
        if done.facts or done.wants:
            self.nudges.add(DELIVER, region)

    def validate_once(self) -> float | None:
        """Decide what is due; `None` when nothing is."""
        done = self.parts.validation.step(self.parts.clock.now_ms())
        for region in done.regions:
            self.nudges.add(DELIVER, region)
        self.nudges.flush(idle=not done.packets)
        self._count(packets=done.packets, bytes=done.bytes)
        if not done.packets:
            self._forget()
        return 0.0 if done.packets else None

    def _forget(self) -> None:
        """Old events, and parts that nobody completes, go at most once an hour, while there is no work."""
        now_s = self.parts.clock.now_s()
        if now_s - self._forget_s >= FORGET_S:
            self._forget_s = now_s  # first, so that a failure is not repeated at every nudge
            ledger, now_ms = self.parts.ledger, self.parts.clock.now_ms()
            gone = {
                "events_forgotten": ledger.forget_events(self.events_days, now_ms),
                "parts_discarded": ledger.forget_parts(self.parts_days, now_ms),
            }
            self._count(**gone)

    def _count(self, **amounts: int) -> None:
        for what, n in amounts.items():
            self.counts[what] = self.counts.get(what, 0) + n

    def deliver_once(self) -> float | None:
        """Serve the regions that have news; `None` when none is left."""
        blocked = False
        for region in tuple(self.dirty):
            self.dirty.discard(region)
            done = self.parts.deliver.step(region)
            self._count(packets=done.packets, bytes=done.bytes, records=done.records)
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
        before, started = dict(self.counts), self.parts.clock.now_s()
        lease = FileLock(self.run_folder / f"{short}.lease")
        tick = self.run_folder / f"{short}.tick" if task == INTAKE else None
        ended = Slice(lease, work, self.parts.clock, self.stop, SLICE_S, tick=tick).run()
        self.nudges.flush(idle=True)
        if done := did(before, self.counts):
            took_s = round(self.parts.clock.now_s() - started, 3)
            log(short).info("slice", ended=ended.name.lower(), s=took_s, **done)
        if ended is Ended.TIME_UP:
            follow(self.app, task)


def _failed(region: str, why: TitianError) -> None:
    log("intake").warning("region", region=region, code=type(why).__name__, why=str(why))


def center_application(folder: Folder) -> Celery:
    """The Celery application of a center's worker, with its three tasks registered."""
    app = make_application("titian-center", broker_url(folder), (INTAKE, VALIDATE, DELIVER), CENTER_BEAT)
    kept = folder.settings.ledger
    side = CenterSide(CenterParts(folder), app, folder.run, kept.events_days, kept.parts_days)

    @app.task(name=INTAKE)
    def intake() -> None:
        side.run(INTAKE)

    @app.task(name=VALIDATE)
    def validate() -> None:
        side.run(VALIDATE)

    @app.task(name=DELIVER)
    def deliver(region: str = "") -> None:
        side.dirty.update([region] if region else side.parts.ledger.regions())
        side.run(DELIVER)

    worker_shutting_down.connect(lambda **_: side.stop.set(), weak=False)
    beat_embedded_init.connect(lambda **_: die_with_parent(), weak=False)
    return app
