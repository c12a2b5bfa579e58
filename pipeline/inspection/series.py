"""Inspection: figures over time, for charts: what was seen (`watch.db`), and what the stores count by minute.

The document (JSON of `/api/history`): `from_ms`, `to_ms`, `step_s`, and `names`: by name as many values as
there are steps, `null` where nothing is known. Names of what was seen are in `sampling.py`; of the stores, at
a region `in.LANE`, `out.LANE`, `receipt.LANE`, `verdict.LANE` in bytes a second, at a center `received` and
`validated` in packets and `frames` in bytes a second. What the stores count goes back a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.adapters.watch_store import Sample, WatchReader
from pipeline.errors import UsageError
from schemas.lanes import Lane
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import LedgerReader
    from pipeline.adapters.outbox_reader import OutboxReader

VERSION = 1
#: Hours that can be asked for -> how many seconds a step is.
STEPS_S = {1: 60, 6: 60, 24: 300, 840: 3_600}
NAMES_MAX = 60
#: How far back the stores count, hours.
COUNTED_H = 24
_COUNTED = ("in", "out", "receipt", "verdict")
_ALONE = ("unverdicted", "dead", "eta_s", "rtt_ms", "base_ms", "queue_ms", "window_bytes", "rate_bytes_s")
_BESIDE = ("level_bytes", "goodput_bytes_s", "cap_bytes_s", "link", "return_lag_s", "free_bytes")
_LANES = tuple(lane.label for lane in Lane)
REGION_SEEN = (
    *(f"{what}.{one}" for what in ("waiting", "waiting_bytes") for one in _LANES),
    *_ALONE,
    *_BESIDE,
)
REGION_COUNTED = tuple(f"{what}.{one}" for what in _COUNTED for one in _LANES)
CENTER_SEEN = ("unverdicted", "incomplete", "quarantined", "announced", "regions_silent")
CENTER_COUNTED = ("received", "validated", "frames")

#: By name, and by minute since 1970: how much in that minute.
Minutes = Mapping[str, Mapping[int, float]]


def region_minutes(outbox: OutboxReader, since_minute: int) -> Minutes:
    """What the outbox counted since then, bytes."""
    found: dict[str, dict[int, float]] = {name: {} for name in REGION_COUNTED}
    for one in outbox.rates(since_minute):
        minutes = found.get(f"{one.what}.{one.lane.label}")
        if minutes is not None:
            minutes[one.minute] = minutes.get(one.minute, 0) + one.bytes
    return found


def center_minutes(ledger: LedgerReader, since_minute: int, region: str | None) -> Minutes:
    """What the ledger counted since then, of all regions or of one: packets, and of frames bytes."""
    found: dict[str, dict[int, float]] = {name: {} for name in CENTER_COUNTED}
    for minute, happened in ledger.rates(since_minute, region).items():
        for what, n in happened.items():
            name = "validated" if what in Status.__members__ else {"bytes": "frames"}.get(what, what)
            if name in found:
                found[name][minute] = found[name].get(minute, 0) + n
    return found


def names_of(text: str, known: Sequence[str]) -> list[str]:
    """Names that were asked for, separated by commas; none: all. Raises `UsageError`."""
    names = list(dict.fromkeys(one for one in text.split(",") if one)) or list(known)
    odd = [name for name in names if name not in known]
    if odd:
        raise UsageError(f"no figure is called {odd[0][:60]!r}; there are {', '.join(known)}")
    return names[:NAMES_MAX]


def history(
    hours: int, now_ms: int, names: Iterable[str], watch: WatchReader | None, counted: Minutes
) -> dict[str, Any]:
    """The document. `watch` `None`: nothing was seen. Raises `UsageError` for hours that are not kept so."""
    step_s = STEPS_S.get(hours)
    if step_s is None:
        raise UsageError(f"hours is one of {', '.join(map(str, STEPS_S))}")
    step_min, steps = step_s // 60, hours * 3_600 // step_s
    last = now_ms // 60_000 // step_min  # the step that is not over yet is the last one
    first = last - steps + 1
    seen: Mapping[str, Sequence[Sample]] = {}
    wanted = list(names)
    if watch is not None and step_s >= 3_600:
        seen = watch.hours([one for one in wanted if one not in counted], first)
    elif watch is not None:
        seen = watch.minutes([one for one in wanted if one not in counted], first * step_min)
    found: dict[str, list[float | None]] = {}
    for name in wanted:
        if name in counted:
            over_min = now_ms / 60_000 - last * step_min
            kept = _rates(counted[name], first, steps, step_min, over_min)
            found[name] = kept if hours <= COUNTED_H else [None] * steps
        else:
            found[name] = _means(seen.get(name, ()), first, steps, 1 if step_s >= 3_600 else step_min)
    return {
        "version": VERSION,
        "at_ms": now_ms,
        "from_ms": first * step_s * 1000,
        "to_ms": (last + 1) * step_s * 1000,
        "step_s": step_s,
        "names": found,
    }


def _means(samples: Sequence[Sample], first: int, steps: int, width: int) -> list[float | None]:
    """By step, the mean of what was seen in it."""
    sums: dict[int, tuple[float, int]] = {}
    for one in samples:
        at = one.minute // width - first
        total, n = sums.get(at, (0.0, 0))
        sums[at] = total + one.mean, n + 1
    return [_brief(sums[at][0] / sums[at][1]) if at in sums else None for at in range(steps)]


def _rates(
    minutes: Mapping[int, float], first: int, steps: int, step_min: int, last_min: float
) -> list[float | None]:
    """By step, how much a second; of the last one, `last_min` minutes are over."""
    sums = [0.0] * steps
    for minute, n in minutes.items():
        at = minute // step_min - first
        if 0 <= at < steps:
            sums[at] += n
    over_s = [step_min * 60.0] * (steps - 1) + [max(1.0, last_min * 60)]
    return [_brief(total / length_s) for total, length_s in zip(sums, over_s, strict=True)]


def _brief(value: float) -> float:
    """Four digits that count: a chart shows no more, and they travel."""
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
