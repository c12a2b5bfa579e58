"""Inspection, pure: how often the link was cut today, and for how long: what was watched and what was said.

`watch.db` knows turns as the watching process saw them (once a second); the worker itself knows every one,
but only the last ones. Both name a cut by the moment at which it began, so together they count each once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Today(NamedTuple):
    """Cuts that began today, and seconds of today in which the link was down while this side ran."""

    cuts: int
    down_s: float


def cuts_of_turns(turns: Iterable[tuple[int, str]]) -> list[tuple[int, int]]:
    """`(down_ms, up_ms)` of turns `(at_ms, what)`, oldest first; `up_ms` 0: it has not come back."""
    cuts: list[tuple[int, int]] = []
    for at_ms, what in turns:
        still = bool(cuts) and cuts[-1][1] == 0
        if what == "link down" and not still:
            cuts.append((at_ms, 0))
        elif what == "link up" and still:
            cuts[-1] = (cuts[-1][0], max(at_ms, cuts[-1][0]))
    return cuts


def cuts_of_word(said: Any) -> list[tuple[int, int]]:
    """The same of `cuts` in `run/push.json`; what cannot be understood is left out."""
    return [
        (one[0], one[1])
        for one in (said if isinstance(said, list) else [])
        if isinstance(one, list) and len(one) == 2 and all(isinstance(ms, int) for ms in one)
    ]


def today(
    watched: Sequence[tuple[int, int]],
    said: Sequence[tuple[int, int]],
    *,
    midnight_ms: int,
    now_ms: int,
    last_said_ms: int | None,
) -> Today:
    """Of cuts as above. One that is open ends when the worker last spoke, or where the next one begins."""
    cuts = dict(watched) | dict(said)  # the worker knows better when it was back
    listed = sorted(cuts.items())
    down_ms = 0
    for at, (began, ended) in enumerate(listed):
        following = listed[at + 1][0] if at + 1 < len(listed) else now_ms
        end = min(ended or min(last_said_ms or now_ms, now_ms), following, now_ms)
        down_ms += max(0, end - max(began, midnight_ms))
    return Today(sum(midnight_ms <= began <= now_ms for began, _ in listed), round(down_ms / 1000, 1))
