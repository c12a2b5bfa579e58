"""The region's worker: `push` and `pull` as tasks, and the one process state that they share.

Connection, windows and flights belong to the process, not to a slice: a slice ends with frames in flight and
the next one settles them. Both tasks are residents: they run for a slice and then nudge themselves; beat
nudges them again should that be lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_embedded_init, worker_ready, worker_shutting_down

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder
from pipeline.errors import DiskFull
from pipeline.ports import Clock
from pipeline.region.pull import Pull
from pipeline.region.pulled import SETTLING, Pulled
from pipeline.region.push import Push
from workers.application import PULL, PUSH, REGION_BEAT, make_application
from workers.deathsig import die_with_parent
from workers.logs import log
from workers.nudges import follow
from workers.region_said import Said
from workers.slices import Ended, Slice, did
from workers.upkeep import keepers, start
from workers.wiring import broker_url, region_pipeline

SLICE_S = 30.0
#: How long `pull` waits for `push` to settle receipts, seconds.
SETTLE_S = 0.005
#: How long `push` waits for news of its stores when it has nothing to do, seconds.
LOOK_S = 0.05


@dataclass
class RegionSide:
    """The state of the process: made once, used by whichever thread holds the lease."""

    push: Push
    pull: Pull
    clock: Clock
    run: Path
    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)
    pushed: dict[str, int] = field(default_factory=dict)
    pulled: dict[str, int] = field(default_factory=dict)
    on_full: Callable[[], None] = lambda: None
    said: Said = field(init=False)

    def __post_init__(self) -> None:
        self.said = Said(self.push, self.pull, self.clock, self.run)

    def push_once(self) -> float:
        """One round of push; returns how long to wait before the next."""
        done = self.push.step(wait_s=LOOK_S)
        _count(self.pushed, frames=done.frames, packets=done.packets, bytes=done.bytes, settled=done.settled)
        _count(self.pushed, requeued=done.requeued, forks=done.forks)
        self.said.saw(done, self.pushed, self.pulled)
        if done.waits in ("", "link window") or (done.frames and done.waits == "receipt window"):
            return 0.0
        return LOOK_S

    def pull_once(self) -> float:
        """One round of pull; push is woken when facts came, since they open its window."""
        try:
            done: Pulled = self.pull.step(wait_s=1.0)
        except DiskFull:
            self.on_full()
            raise
        _count(self.pulled, frames=done.frames, facts=done.facts, records=done.records)
        _count(self.pulled, packets=done.facts, bytes=done.bytes)
        if done.frames:
            self.wake.set()
        if done.waits == SETTLING:
            return SETTLE_S
        return 0.2 if done.waits else 0.0

    def ask_to_stop(self) -> None:
        """Slices end within a second: waits are woken, and a read on the link is ended."""
        self.stop.set()
        self.wake.set()
        self.pull.close()


def _count(into: dict[str, int], **amounts: int) -> None:
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + amount


def region_application(folder: Folder, *, take_over: bool = False) -> Celery:
    """The Celery application of a region's worker, with its two tasks registered."""
    app = make_application(f"titian-{folder.settings.region}", broker_url(folder), (PUSH, PULL), REGION_BEAT)
    parts = region_pipeline(folder, take_over=take_over)
    side = RegionSide(parts.push, parts.pull, parts.clock, folder.run, on_full=parts.outbox.give_up_ballast)
    threads = keepers(folder, parts.outbox, parts.mirrored, parts.clock, side.stop)

    @app.task(name=PUSH)
    def push() -> None:
        _resident(app, side, folder, PUSH, side.push_once, side.pushed)

    @app.task(name=PULL)
    def pull() -> None:
        _resident(app, side, folder, PULL, side.pull_once, side.pulled)

    worker_shutting_down.connect(lambda **_: side.ask_to_stop(), weak=False)
    worker_ready.connect(lambda **_: start(threads), weak=False)  # not before: beat forks from this process
    beat_embedded_init.connect(lambda **_: die_with_parent(), weak=False)
    return app


def _resident(
    app: Celery, side: RegionSide, folder: Folder, task: str, work: Any, counts: dict[str, int]
) -> None:
    short = task.removeprefix("titian.")
    before = dict(counts)
    started = side.clock.now_s()
    ended = Slice(
        lease=FileLock(folder.run / f"{short}.lease"),
        work=work,
        clock=side.clock,
        stop=side.stop,
        slice_s=SLICE_S,
        wake=side.wake if task == PUSH else None,
        tick=folder.run / f"{short}.tick",
    ).run()
    if done := did(before, counts):
        log(short).info("slice", ended=ended.name.lower(), s=round(side.clock.now_s() - started, 3), **done)
    if ended is Ended.TIME_UP:
        follow(app, task)
