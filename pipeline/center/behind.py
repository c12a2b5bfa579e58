"""Steps 4 to 6, pure: how far the center is behind, and so what it lets each region send.

A region may have a *receipt window* of bytes accepted and not acknowledged. All windows together fit into
what the link's broker may hold. Beyond that the center lowers them in halves, the same for every region,
while packets wait long for validation, while the ledger's disk fills up, and while its broker does (intake
is behind). When it is far behind it asks the regions to hold: they send what is urgent and what is control,
and ask again every 30 s. What a person has set for a region is not touched: the smaller of the two counts.

So that it does not swing: it goes down at once, as many steps as are due, and up one step every `RAISE_S`,
once twice the load that is there would still be less than what brought it down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.ports import Clock
from pipeline.said import Saying

MIB = 1024 * 1024
#: The smallest window of a region that is not held, bytes.
WINDOW_BYTES_MIN = 64 * 1024
#: Steps: the window is halved at each; at the last one regions are held.
HELD = 8
#: From one step to the next packets must wait so many times as long.
STEP_FACTOR = 1.5
#: How long one ack asks a region to hold, seconds: twice the time after which it asks again.
HOLD_S = 60.0
RAISE_S = 10.0
#: What of the broker's memory the windows may take together; the rest is for `down` and what is urgent.
WINDOWS_SHARE = 0.75
#: How full the broker is at the first step, and when regions are held (shares of what it may hold).
BROKER_FROM, BROKER_FULL = 0.5, 0.9
#: The disk counts from so many times its low water on.
DISK_FROM = 4.0
#: A wait that is only predicted (backlog by rate) is believed up to so many times what has been waited.
PREDICTED_MAX = 4.0
#: How old a look at the load may be, seconds: acks are many.
LOOK_S = 1.0


@dataclass(frozen=True)
class Limits:
    """`window_bytes` of a region at most; `windows_bytes_max` of all together (0: by the broker's memory).

    `behind_s`: from what wait for validation on the window is lowered (the last step, hold, comes at 17 times
    that). Below `low_water_bytes` of free disk regions are held (0: never for that).
    """

    window_bytes: int = 8 * MIB
    windows_bytes_max: int = 0
    behind_s: float = 30.0
    low_water_bytes: int = 256 * MIB


class Backlog(NamedTuple):
    """What the ledger has to do: packets without a verdict that are due, for how long the first of them has
    been (seconds), verdicts a second lately, and regions that may send."""

    packets: int = 0
    oldest_s: float = 0.0
    verdicts_s: float = 0.0
    regions: int = 1


class Load(NamedTuple):
    """All that decides. `broker_bytes`: what the link's broker may hold (0: unknown); `free_bytes`: of the
    ledger's disk (`None`: unknown)."""

    backlog: Backlog = Backlog()
    broker_used_bytes: int = 0
    broker_bytes: int = 0
    free_bytes: int | None = None


_BACKLOG = Saying(
    "{n:,} packets wait for a verdict, the first for {first:,.0f} s",
    "{n:,} paket menunggu putusan, yang pertama sejak {first:,.0f} dtk lalu",
)
_DISK_LEFT = Saying("its disk has {n:,.0f} MiB left", "sisa cakramnya {n:,.0f} MiB")
_BROKER_HOLDS = Saying(
    "its broker holds {n:.0%} of what it may: intake is behind",
    "perantaranya sudah menampung {n:.0%} dari yang boleh: penerimaan tertinggal",
)
_CAUGHT_UP = Saying("it has just caught up", "baru saja terkejar")
#: Every `Restraint.why`.
WHY_BEHIND = (_BACKLOG, _DISK_LEFT, _BROKER_HOLDS, _CAUGHT_UP)


@dataclass(frozen=True)
class Restraint:
    """What every region gets at most: its window, and for how long it is asked to hold (0: it is not).

    `step` 0: the center is not behind; `HELD`: regions are held. `why`: in words, empty at step 0.
    """

    window_bytes: int
    hold_s: float = 0.0
    step: int = 0
    why: str = ""


def wait_s(backlog: Backlog) -> float:
    """How long a packet that comes now will wait for its verdict, about: as long as the first one that is
    due has, or as the backlog takes at the rate of late."""
    if not backlog.packets or backlog.oldest_s <= 0:
        return 0.0
    most_s = PREDICTED_MAX * backlog.oldest_s
    predicted_s = min(backlog.packets / backlog.verdicts_s, most_s) if backlog.verdicts_s > 0 else 0.0
    return max(backlog.oldest_s, predicted_s)


def window_bytes(limits: Limits, load: Load) -> int:
    """A region's window while the center is not behind: all of them fit into the broker."""
    together = limits.windows_bytes_max or int(load.broker_bytes * WINDOWS_SHARE)
    if not together:
        return limits.window_bytes
    return max(WINDOW_BYTES_MIN, min(limits.window_bytes, together // max(1, load.backlog.regions)))


class Behind:
    """Decides the step, and remembers it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._step = 0
        self._why = ""
        self._since_s = 0.0

    def decide(self, load: Load, now_s: float) -> Restraint:
        """What holds from now on. `now_s`: a monotonic clock."""
        due, why = _steps(self._limits, load, 1.0)
        if due >= self._step:
            # At the same step as well: what is due again puts off the way up.
            self._step, self._why, self._since_s = due, why, now_s
        else:
            least, still = _steps(self._limits, load, 2.0)
            up = int((now_s - self._since_s) / RAISE_S)
            if up and least < self._step:
                self._step = max(least, self._step - up)
                self._since_s = now_s
            self._why = (still or _CAUGHT_UP.en) if self._step else ""
        normal = window_bytes(self._limits, load)
        lowered = max(WINDOW_BYTES_MIN, normal >> self._step)
        return Restraint(lowered, HOLD_S if self._step == HELD else 0.0, self._step, self._why)


def _steps(limits: Limits, load: Load, times: float) -> tuple[int, str]:
    """The step that is due if the load were `times` as much, and why: the heaviest of what there is."""
    found = [
        (_validation(limits, load.backlog, times), _of_backlog(load.backlog)),
        (_disk(limits, load.free_bytes, times), _DISK_LEFT.of(n=(load.free_bytes or 0) / MIB).en),
        (_broker(load, times), _BROKER_HOLDS.of(n=_used(load)).en),
    ]
    step, why = max(found, key=lambda one: one[0])
    return step, why if step else ""


def _validation(limits: Limits, backlog: Backlog, times: float) -> int:
    waits_s = times * wait_s(backlog)
    if waits_s < limits.behind_s:
        return 0
    return min(HELD, 1 + int(math.log(waits_s / limits.behind_s, STEP_FACTOR)))


def _disk(limits: Limits, free_bytes: int | None, times: float) -> int:
    if free_bytes is None or not limits.low_water_bytes:
        return 0
    left = free_bytes / limits.low_water_bytes
    return _between(DISK_FROM - left + (times - 1.0) / 2, DISK_FROM - 1.0)


def _broker(load: Load, times: float) -> int:
    return _between(_used(load) - BROKER_FROM + (times - 1.0) / 10, BROKER_FULL - BROKER_FROM)


def _between(over: float, full: float) -> int:
    """Step 1 from 0 on, the last at `full`."""
    return 0 if over <= 0 else min(HELD, 1 + int((HELD - 1) * over / full))


def _used(load: Load) -> float:
    return load.broker_used_bytes / load.broker_bytes if load.broker_bytes else 0.0


def _of_backlog(backlog: Backlog) -> str:
    return _BACKLOG.of(n=backlog.packets, first=backlog.oldest_s).en


# --- looking ----------------------------------------------------------------------------------------


class BacklogLedger(Protocol):
    """The ledger, as the watch sees it."""

    def backlog(self, now_ms: int) -> Backlog:
        """What waits for validation."""


class Broker(Protocol):
    """The link's broker, as the watch sees it."""

    def memory(self) -> tuple[int, int]:
        """Bytes that it holds, and may hold."""


class Watch:
    """Looks at the load, at most once in `LOOK_S`, and says what holds; `said` is told each time."""

    def __init__(
        self,
        limits: Limits,
        ledger: BacklogLedger,
        broker: Broker,
        clock: Clock,
        free_bytes: Callable[[], int | None] = lambda: None,
        said: Callable[[Restraint], None] = lambda _: None,
    ) -> None:
        self._behind, self._ledger, self._broker, self._clock = Behind(limits), ledger, broker, clock
        self._free_bytes, self._said = free_bytes, said
        self._looked_s = -math.inf
        self._restraint = Restraint(limits.window_bytes)

    def __call__(self) -> Restraint:
        """What every region gets at most now."""
        now_s = self._clock.now_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            load = Load(
                self._ledger.backlog(self._clock.now_ms()), *self._broker.memory(), self._free_bytes()
            )
            self._restraint = self._behind.decide(load, now_s)
            self._said(self._restraint)
        return self._restraint
