"""The region's worker: `push` and `pull` as tasks, and the one process state that they share.

Connection, windows and flights belong to the process, not to a slice: a slice ends with frames in flight and
the next one settles them. Both tasks are residents: they run for a slice and then nudge themselves; beat
nudges them again should that be lost.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_embedded_init, worker_ready, worker_shutting_down

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder, write_private
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.errors import DiskFull
from pipeline.ports import Clock
from pipeline.region.pull import Pull
from pipeline.region.pulled import SETTLING, Pulled
from pipeline.region.push import Push
from pipeline.region.pushed import Pushed
from pipeline.region_link import RegionLink
from pipeline.throttle import ThrottleView
from workers.application import PULL, PUSH, REGION_BEAT, make_application
from workers.deathsig import die_with_parent
from workers.logs import log
from workers.nudges import follow
from workers.slices import Ended, Slice
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
    _shown_s: float = -1.0

    def push_once(self) -> float:
        """One round of push; returns how long to wait before the next."""
        done = self.push.step(wait_s=LOOK_S)
        _count(self.pushed, frames=done.frames, packets=done.packets, bytes=done.bytes, settled=done.settled)
        _count(self.pushed, requeued=done.requeued, forks=done.forks)
        self._show(done)
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

    def _show(self, done: Pushed) -> None:
        """Say once a second how it stands, for `depth` and `doctor` (they read files and stores only)."""
        now_s = self.clock.now_s()
        if now_s - self._shown_s < 1.0:
            return
        self._shown_s = now_s
        speaker, since_s = self.push.speaker, self.push.backoff.since_s
        state: dict[str, Any] = {
            "version": 1,
            "at_ms": self.clock.now_ms(),
            "state": "up" if since_s is None else "down",
            "down_for_s": None if since_s is None else round(now_s - since_s, 1),
            "waits": done.waits,
            "held_for_s": round(max(0.0, speaker.hold_until_s - now_s), 1),
            "session": speaker.session,
            "superseded": speaker.superseded,
            "refusal": speaker.refusal,
            "denied": self.push.denied,
            "in_flight_bytes": self.push.in_flight_bytes,
            "window_bytes": speaker.window_bytes,
            "clock_off_ms": self.pull.clock_off_ms,
            "kernel": kernel_json(self.push.link),
            "throttle": throttle_json(self.push.link.throttle()),
            "level": level_json(self.pull.link),
            "pushed": self.pushed,
            "pulled": self.pulled,
        }
        with suppress(OSError):  # a full disk must not stop what would empty it
            write_private(self.run / "push.json", json.dumps(state))


def throttle_json(view: ThrottleView | None) -> dict[str, Any] | None:
    """How the throttle stands, as it is shown; `None` where the link has none."""
    return None if view is None else {**asdict(view), "state": view.state.value}


def level_json(link: RegionLink) -> dict[str, Any] | None:
    """How the throttle of the way back stands; `None` where there is none."""
    return throttle_json(link.way_back()) if isinstance(link, RedisRegionLink) else None


def kernel_json(link: RegionLink) -> dict[str, Any] | None:
    """Which of the kernel's help the connection of `up` has; `None` where none is open."""
    throttled = link.throttled if isinstance(link, RedisRegionLink) else None
    held = None if throttled is None else throttled.help
    return None if held is None else asdict(held)


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
    did = {
        name: value - before.get(name, 0) for name, value in counts.items() if value != before.get(name, 0)
    }
    if did:
        log(short).info("slice", ended=ended.name.lower(), s=round(side.clock.now_s() - started, 3), **did)
    if ended is Ended.TIME_UP:
        follow(app, task)
