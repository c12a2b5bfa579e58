"""What the region's worker says of itself once a second, in `run/push.json`: link, windows, throttles.

`depth`, `doctor` and the watching process read files and stores only, so this is all they know of a running
worker. What lies between two seconds is gathered after every step: a cut of a moment counts.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import write_private
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.ports import Clock
from pipeline.region.congested import Congested
from pipeline.region.link_log import Goodput, LinkLog, StateSince, WayBack
from pipeline.region.pull import Pull
from pipeline.region.push import Push
from pipeline.region.pushed import Pushed
from pipeline.region_link import RegionLink
from pipeline.throttle import ThrottleView

NAME = "push.json"
SAY_S = 1.0


@dataclass
class Said:
    """Watches push and pull of this process, and writes the file into `run`."""

    push: Push
    pull: Pull
    clock: Clock
    run: Path
    log: LinkLog = field(init=False)
    _goodput: Goodput = field(default_factory=Goodput)
    _back: WayBack = field(default_factory=WayBack)
    _throttle: StateSince = field(default_factory=StateSince)
    _level: StateSince = field(default_factory=StateSince)
    _congested: Congested = field(default_factory=Congested)
    _answer_n: tuple[int, int] = (0, 0)
    _acknowledged: int = 0
    _said_s: float = float("-inf")

    def __post_init__(self) -> None:
        self.log = LinkLog(self.clock.now_ms())
        with suppress(OSError, ValueError):
            before: Any = json.loads((self.run / NAME).read_text(encoding="utf-8"))
            if isinstance(before, dict):
                self.log.recall(before)

    def saw(self, done: Pushed, pushed: dict[str, int], pulled: dict[str, int]) -> None:
        """After every step of push; `pushed` and `pulled` count what was done so far."""
        now_ms, now_s = self.clock.now_ms(), self.clock.now_s()
        speaker, down = self.push.speaker, self.push.backoff.since_s is not None
        if down or speaker.n:  # before its first word nothing is known of the link
            self.log.saw(not down, now_ms)
        acknowledged = self.push.acknowledged_bytes
        if done.frames or done.settled or acknowledged != self._acknowledged:
            self.log.moved(now_ms)
        self._acknowledged = acknowledged
        answer = speaker.answer
        if answer is not None and (answer.session, answer.n) != self._answer_n:
            self._answer_n = (answer.session, answer.n)
            self._back.heard(now_ms, answer.facts_top, answer.records_top, answer.titian)
        if 0 <= now_s - self._said_s < SAY_S:
            return
        self._said_s = now_s
        self._goodput.saw(now_s, acknowledged)
        with suppress(OSError):  # a full disk must not stop what would empty it
            write_private(self.run / NAME, json.dumps(self._state(done, now_ms, now_s, pushed, pulled)))

    def _state(
        self, done: Pushed, now_ms: int, now_s: float, pushed: dict[str, int], pulled: dict[str, int]
    ) -> dict[str, Any]:
        speaker, since_s = self.push.speaker, self.push.backoff.since_s
        cursors, throttle = self.push.registry.cursors(), self.push.link.throttle()
        return {
            "version": 1,
            "at_ms": now_ms,
            "state": "up" if since_s is None else "down",
            "down_for_s": None if since_s is None else round(now_s - since_s, 1),
            "waits": done.waits,
            "held_for_s": round(max(0.0, speaker.hold_until_s - now_s), 1),
            "hold_why": "" if speaker.answer is None else speaker.answer.hold_why,
            "session": speaker.session,
            "superseded": speaker.superseded,
            "refusal": speaker.refusal,
            "denied": self.push.denied,
            "in_flight_bytes": self.push.in_flight_bytes,
            "window_bytes": speaker.window_bytes,
            "goodput_bytes_s": round(self._goodput.bytes_s, 1),
            "clock_off_ms": self.pull.clock_off_ms,
            "center": self._back.to_json(cursors.facts, cursors.records),
            "kernel": kernel_json(self.push.link),
            "throttle": _since(throttle_json(throttle), self._throttle, now_ms),
            "congested_since_ms": self._congested.saw(throttle, now_ms),
            "level": _since(level_json(self.pull.link), self._level, now_ms),
            "pushed": pushed,
            "pulled": pulled,
            **self.log.to_json(),
        }


def _since(view: dict[str, Any] | None, since: StateSince, now_ms: int) -> dict[str, Any] | None:
    at_ms = since.saw(None if view is None else view["state"], now_ms)
    return None if view is None else view | {"since_ms": at_ms}


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
