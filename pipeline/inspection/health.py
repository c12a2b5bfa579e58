"""Inspection: does this side's watching process look (healthy), and can the side do its work (ready)? Pure.

What was measured goes in, checks come out; `workers.console.health_routes` measures. `/healthz` is for what
restarts a process that hangs, `/readyz` for whoever asks whether packets can be enqueued, or taken in, now.
A region is ready without its link: what is enqueued waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1
#: The tasks that never end, by side: each touches `run/NAME.tick`.
RESIDENTS = {"region": ("push", "pull"), "center": ("intake",)}
#: A resident touches its tick file once a second; `titian up` restarts one that has not for so long, seconds.
TICK_S_MAX = 30.0
#: So many looks may be missed, and so many seconds in any case.
LOOKS_MISSED_MAX = 5
LOOK_S_MAX = 15.0


@dataclass(frozen=True)
class Checked:
    """A check by its `name`: whether it is `ok`, what was found, and whether the answer hangs on it."""

    name: str
    ok: bool
    said: str
    needed: bool = True


def healthy(
    look_age_s: float | None, look_every_s: float, tick_ages_s: Mapping[str, float | None]
) -> Iterator[Checked]:
    """`look_age_s`: since the newest look (`None`: none yet). `tick_ages_s`: by resident, since it last moved
    (`None`: it never has)."""
    most_s = max(LOOK_S_MAX, LOOKS_MISSED_MAX * look_every_s)
    said = "not once yet" if look_age_s is None else f"{look_age_s:.1f} s ago"
    yield Checked("look", look_age_s is not None and look_age_s <= most_s, said)
    for name, age_s in tick_ages_s.items():
        said = "has not moved yet" if age_s is None else f"moved {age_s:.1f} s ago"
        yield Checked(name, age_s is not None and age_s <= TICK_S_MAX, said)


def ready(
    stores: Mapping[str, str],
    room_bytes: int | None,
    workers: Mapping[str, bool],
    brokers: Mapping[str, str],
    link: str | None = None,
) -> Iterator[Checked]:
    """`stores` and `brokers`: by name, what is wrong (empty: nothing). `room_bytes`: free above the low water
    (`None`: the disk is not ours). `workers`: whether each runs. `link`: how it stands, at a region."""
    for name, why in stores.items():
        yield Checked(name, not why, why or "opens")
    if room_bytes is not None:
        yield Checked("room", room_bytes > 0, f"{max(0, room_bytes)} bytes may be written")
    if not workers:
        yield Checked("workers", False, "none runs: `titian up`")
    for name, runs in workers.items():
        yield Checked(name, runs, "runs" if runs else "waits for its restart: see its log")
    for name, why in brokers.items():
        yield Checked(name, not why, why or "answers")
    if link is not None:
        yield Checked("link", link == "up", link, needed=False)


def document(checks: Iterable[Checked], *, in_words: bool) -> dict[str, Any]:
    """The JSON of either: `ok`, and the checks. Without `in_words` only which they are and how they went."""
    listed = list(checks)
    return {
        "version": VERSION,
        "ok": all(one.ok for one in listed if one.needed),
        "checks": [
            {"name": one.name, "ok": one.ok, "needed": one.needed} | ({"said": one.said} if in_words else {})
            for one in listed
        ],
    }
