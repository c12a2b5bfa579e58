"""Inspection at the center: which region an engineer looks at first, and why, in one sentence. Pure.

The order, most pressing first:

900  not heard for long, though packets of it are known that are not here
800  not heard for long
700  its disk is full, or nearly
650  frames of it were kept aside, 600 packets of it are refused: somebody has to decide
550  it comes back after a loss, and is not open for service yet
500  its oldest packet waits longer than the alarms' `old_s`, 300 longer than a 24th of that
450  its disk lasts shorter than the alarms' `runway_days`
250  it has alarms of its own
200  its link was cut often today
160  a person holds it
150  packets came with other contents, 140 packets were lost: neither is ever over, so they are not first
100  it runs an older Titian than the center

Within a step the larger number comes first. A region that is shut out or has not joined is in no trouble: it
stands last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.said import NOTHING, Said, Saying, say

#: Cuts a day from which on a link is worth a look.
CUTS = 10
#: A disk that lasts shorter is nearly full, days.
NEARLY_FULL_DAYS = 2
#: Alarms of a region that have a step of their own here.
_SAID_BY_OTHERS = frozenset(("runway", "dead", "old", "disk_full"))
_WITHIN = 49
_ASIDE = Saying("{n:,} frames of it were kept aside", "{n:,} kirimannya disisihkan")
_DEAD = Saying("{n:,} of its packets were refused", "{n:,} paketnya ditolak")
_FORKS = Saying(
    "{n:,} of its packets came with other contents than before",
    "{n:,} paketnya datang dengan isi lain daripada sebelumnya",
)
_LOST = Saying("{n:,} of its packets were lost with a disk", "{n:,} paketnya hilang bersama cakram")
_COMES_BACK = Said(
    "its records come back after a loss, and it is not open for service yet",
    "catatannya sedang dipulihkan setelah kehilangan, dan layanannya belum dibuka",
)
_OLD = Saying("its oldest packet has waited for {age}", "paket terlamanya sudah menunggu {age}")
_ALARMS = Saying("it has alarms of its own: {codes}", "ada peringatannya sendiri: {codes}")
_CUTS = Saying("its link was cut {n:,} times today", "sambungannya putus {n:,} kali hari ini")
_OLDER = Saying("it runs Titian {theirs}, the center {ours}", "memakai Titian {theirs}, pusat {ours}")
_NEVER = Said("never heard", "belum pernah terdengar")
_NOT_HEARD = Saying("not heard for {age}", "tanpa kabar selama {age}")
_AND_WAITS = Saying("{heard}, and {n:,} packets wait there", "{heard}, dan {n:,} paket menunggu di sana")
_TOO_FULL = Said("its disk is too full to take packets", "cakramnya terlalu penuh untuk menerima paket")
_FULL_IN = Saying("its disk is full in about {n:g} days", "cakramnya penuh kira-kira dalam {n:g} hari")


class Limits(NamedTuple):
    """From when on something is trouble (`settings.AlarmsPart`)."""

    silent_s: float = 3_600.0
    old_s: float = 86_400.0
    runway_days: float = 14.0


class Trouble(NamedTuple):
    """How much (0: none), and the reason in a sentence of both languages."""

    trouble: int
    why: Said


def trouble_of(region: Mapping[str, Any], limits: Limits, ours: str) -> Trouble:
    """Of one entry of `regions` in the center's document; `ours`: the center's version."""
    if region["state"] != "joined":
        return Trouble(0, NOTHING)
    return max(
        _found(region, limits, ours), key=lambda one: (one.trouble, one.why.en), default=Trouble(0, NOTHING)
    )


def worst_first(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries in the order in which one looks at them; regions that are not in use last."""
    return sorted(regions, key=lambda one: (one["state"] != "joined", -one["trouble"], one["region"]))


def is_older(theirs: str, ours: str) -> bool:
    """Whether `theirs` is a version before `ours`; False where either cannot be read."""
    return bool(theirs and ours) and _version(theirs) < _version(ours)


def for_how_long(seconds: float) -> str:
    """A time in one unit: `40 s`, `12 min`, `5 h`, `3 days`."""
    return how_long(seconds).en


def how_long(seconds: float) -> Said:
    """The same in both languages."""
    for unit, size in (
        (Said("days", "hari"), 86_400),
        (Said("h", "jam"), 3_600),
        (Said("min", "mnt"), 60),
    ):
        if seconds >= 2 * size:
            return say("{n:,.0f} {unit}", "{n:,.0f} {unit}", n=seconds / size, unit=unit)
    return say("{n:,.0f} s", "{n:,.0f} dtk", n=max(0.0, seconds))


def _found(region: Mapping[str, Any], limits: Limits, ours: str) -> Iterator[Trouble]:
    health: Mapping[str, Any] = region["health"] or {}
    yield from _silent(region, health)
    yield from _disk(health, limits)
    for rank, name, what in (
        (650, "quarantined", _ASIDE),
        (600, "dead", _DEAD),
        (150, "forks", _FORKS),
        (140, "lost", _LOST),
    ):
        if n := region.get(name, 0):
            yield _step(rank, n, what.of(n=n))
    rebuild = region.get("rebuild")
    if rebuild is not None and rebuild["state"] != "done" and rebuild["opened_ms"] is None:
        yield _step(550, 1, _COMES_BACK)
    lag_s = region["lag_s"] or 0.0
    if lag_s > limits.old_s / 24:
        rank = 500 if lag_s > limits.old_s else 300
        yield _step(rank, lag_s / 60, _OLD.of(age=how_long(lag_s)))
    said = [code for code in health.get("alarms", ()) if code not in _SAID_BY_OTHERS]
    if said:
        yield _step(250, len(said), _ALARMS.of(codes=", ".join(said)))
    if (cuts := health.get("cuts_today") or 0) >= CUTS:
        yield _step(200, cuts, _CUTS.of(n=cuts))
    if region["held"] is not None:
        yield _step(160, 1, _held(region["held"]))
    if is_older(region["titian"], ours):
        yield _step(100, 1, _OLDER.of(theirs=region["titian"], ours=ours))


def _silent(region: Mapping[str, Any], health: Mapping[str, Any]) -> Iterator[Trouble]:
    if not region["silent"]:
        return
    waits = max(region["announced"], health.get("waiting") or 0)
    heard_s = region["last_seen_s"]
    heard = _NEVER if heard_s is None else _NOT_HEARD.of(age=how_long(heard_s))
    if waits:
        yield _step(900, waits, _AND_WAITS.of(heard=heard, n=waits))
    else:
        yield _step(800, (heard_s or 0) / 60, heard)


def _disk(health: Mapping[str, Any], limits: Limits) -> Iterator[Trouble]:
    days = health.get("full_in_days")
    if "disk_full" in health.get("alarms", ()):
        yield _step(700, 10**9, _TOO_FULL)
    elif days is not None and days < limits.runway_days:
        rank = 700 if days < NEARLY_FULL_DAYS else 450
        yield _step(rank, 1_000 / (1 + days), _FULL_IN.of(n=days))


def _held(held: Mapping[str, Any]) -> Said:
    little = Said("may send only a little at a time", "hanya boleh mengirim sedikit demi sedikit")
    what = Said("is held", "ditahan") if held["window_bytes"] is None else little
    who = say(" by {who}", " oleh {who}", who=held["who"]) if held["who"] else NOTHING
    reason = f": {held['reason']}" if held["reason"] else ""
    return say("it {what}{who}{reason}", "{what}{who}{reason}", what=what, who=who, reason=reason)


def _step(rank: int, size: float, why: Said) -> Trouble:
    """`size` decides within the step, by its magnitude: from a million million on it counts as that."""
    return Trouble(rank + min(_WITHIN, int(4 * math.log10(max(1.0, size)))), why)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])
