"""Step 3: what people asked of the lanes, in a region's folder, read again whenever it changes.

steering.json   0600
    {"version": 1, "pauses": [{"lane": "biometric", "reason": "...", "who": "...", "at_ms": 0}],
     "caps": [{"lane": null, "bytes_s": 8000.0, "start": 420, "stop": 960, "reason": "", "who": "..."}]}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import write_private
from pipeline.errors import StoreDamaged
from pipeline.ports import Clock
from pipeline.throttle.steering import Budgets, Cap, Pause, Steering
from schemas.errors import SchemaError
from schemas.lanes import Lane, parse_lane

NAME = "steering.json"
VERSION = 1


def read_steering(folder: Path) -> Steering:
    """What holds now. Raises `StoreDamaged` where the file cannot be understood."""
    path = folder / NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            raise ValueError(f"version {value['version']}")
        return Steering(
            tuple(Pause(**_with_lane(one)) for one in value["pauses"]),
            tuple(Cap(**_with_lane(one)) for one in value["caps"]),
        )
    except FileNotFoundError:
        return Steering()
    except (ValueError, KeyError, TypeError, SchemaError) as why:
        raise StoreDamaged(
            f"{path} is damaged ({why}): remove it, and say again what is paused or capped"
        ) from None


def write_steering(folder: Path, steering: Steering) -> None:
    """What holds from now on."""
    value = {
        "version": VERSION,
        "pauses": [_without_lane(asdict(one)) for one in steering.pauses],
        "caps": [_without_lane(asdict(one)) for one in steering.caps],
    }
    write_private(folder / NAME, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def minute_of_day(now_ms: int) -> int:
    """The minute of the office's day, by the machine's time zone."""
    now = time.localtime(now_ms / 1000)
    return now.tm_hour * 60 + now.tm_min


class SteeredLanes:
    """See `LaneGate`: the file and the clocks. A damaged file changes nothing (`doctor` says it)."""

    def __init__(self, folder: Path, clock: Clock, minute: Callable[[int], int] = minute_of_day) -> None:
        self._folder, self._clock, self._minute = folder, clock, minute
        self._seen: tuple[int, int] | None = None
        self._steering = Steering()
        self._budgets = Budgets()

    def open_lanes(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        """See the port."""
        self._look()
        if not (self._steering.pauses or self._steering.caps):
            return lanes
        minute, now_s = self._minute(self._clock.now_ms()), self._clock.now_s()
        rates = ((lane, self._steering.rate_bytes_s(lane, minute)) for lane in lanes)
        return tuple(lane for lane, rate in rates if self._budgets.may(lane, rate, now_s))

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """See the port."""
        self._budgets.spent(lane, frame_bytes)

    def _look(self) -> None:
        try:
            stat = (self._folder / NAME).stat()
            seen: tuple[int, int] | None = (stat.st_mtime_ns, stat.st_ino)
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._steering = read_steering(self._folder)
        except StoreDamaged:
            return


def _with_lane(value: dict[str, Any]) -> dict[str, Any]:
    lane = value["lane"]
    return {**value, "lane": None if lane is None else parse_lane(lane)}


def _without_lane(value: dict[str, Any]) -> dict[str, Any]:
    lane = value["lane"]
    return {**value, "lane": None if lane is None else Lane(lane).label}
