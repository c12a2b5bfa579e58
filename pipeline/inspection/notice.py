"""Inspection: the public notice as a document, codes and times only; `workers.notice_page` has the words.

`now`: what is disturbed, by the side itself (`by`: `titian`) or in people's words (`office`); `planned`: what
will be; `resolved`: what was, a while ago. The JSON that everybody may read is made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.inspection.notice_causes import RECORDING, SERVICES
from pipeline.inspection.notice_own import Notices, Own
from pipeline.inspection.notice_state import NoticeState, Resolved, Track, from_json

if TYPE_CHECKING:
    from pipeline.settings import NoticePart

VERSION = 1
#: The name of its state in `watch.db`.
STATE = "notice"
#: What an own notice about the whole office disturbs; packets go on by themselves.
OFFICE = (RECORDING, "printing")
#: At most so many of people's own are shown, and of what is over.
SHOWN_MAX = 50


class Kept(Protocol):
    """Where a watching part's state is kept: `WatchReader`, `WatchStore`."""

    def get(self, name: str) -> Any:
        """The state of that name, or `None`."""


def notice_document(
    state: NoticeState, own: Notices, now_ms: int, region: str, part: NoticePart
) -> dict[str, Any]:
    """What citizens may know now."""
    keep_ms = int(part.keep_s * 1000)
    said = list(_own_now(own.notices, now_ms))[:SHOWN_MAX]
    now = sorted([*_automatic(state, now_ms), *said], key=lambda one: one["what"] != "office")
    planned = [_own_json(one) for one in own.notices if _is_planned(one, now_ms)]
    over = [*(_resolved_json(one) for one in state.resolved), *_own_over(own.notices, now_ms, keep_ms)]
    over = [one for one in over if now_ms - one["ended_ms"] < keep_ms or one["by"] == "titian"]
    disturbed = _disturbed(now)
    return {
        "version": VERSION,
        "region": region,
        "office": part.office,
        "phone": part.phone,
        "made_ms": now_ms,
        "looked_ms": state.at_ms or None,
        "disturbed": disturbed,
        "all_well": not now,
        "now": now,
        "planned": sorted(planned, key=lambda one: int(one["since_ms"]))[:SHOWN_MAX],
        "resolved": sorted(over, key=lambda one: -int(one["ended_ms"]))[:SHOWN_MAX],
    }


def disturbed_now(kept: Kept, folder: Path | None = None, now_ms: int = 0) -> list[str]:
    """Which services are said to be disturbed, out of a side's `watch.db`; with `folder` and `now_ms` also
    those that people's own notices there name. For `health`; quick, raises nothing."""
    from pipeline.adapters.notices_file import read_notices
    from pipeline.errors import TitianError

    state = from_json(kept.get(STATE))
    own: list[dict[str, Any]] = []
    if folder is not None:
        try:
            own = list(_own_now(read_notices(folder).notices, now_ms))
        except TitianError:
            own = []
    return _disturbed([*_automatic(state, now_ms), *own])


def _disturbed(now: Sequence[dict[str, Any]]) -> list[str]:
    found = {what for one in now for what in (OFFICE if one["what"] == "office" else (one["what"],))}
    return [what for what in SERVICES if what in found]


def _automatic(state: NoticeState, now_ms: int) -> Iterator[dict[str, Any]]:
    for what in state.disturbed:
        yield _track_json(what, state.tracks[what], now_ms)


def _track_json(what: str, track: Track, now_ms: int) -> dict[str, Any]:
    until = track.until
    known = until is not None and until.at_ms is not None and until.at_ms > now_ms
    return {
        "by": "titian",
        "what": what,
        "codes": list(track.codes),
        "since_ms": track.since_ms,
        "until_ms": until.at_ms if known and until is not None else None,
        "until_step_ms": until.step_ms if known and until is not None else None,
        "next_look_ms": until.look_ms if until is not None and not known and until.look_ms > now_ms else None,
    }


def _resolved_json(one: Resolved) -> dict[str, Any]:
    return {
        "by": "titian",
        "what": one.what,
        "codes": list(one.codes),
        "since_ms": one.since_ms,
        "ended_ms": one.ended_ms,
    }


def _own_json(one: Own) -> dict[str, Any]:
    return {
        "by": "office",
        "n": one.n,
        "what": one.what,
        "text": {"id": one.text_id, "en": one.text_en},
        "since_ms": one.from_ms,
        "until_ms": one.until_ms,
        "until_step_ms": None if one.until_ms is None else 0,
        "next_look_ms": None,
    }


def _is_planned(one: Own, now_ms: int) -> bool:
    return one.over_ms(now_ms) is None and one.shown_ms <= now_ms < one.from_ms


def _own_now(notices: Sequence[Own], now_ms: int) -> Iterator[dict[str, Any]]:
    for one in notices:
        if one.over_ms(now_ms) is None and one.from_ms <= now_ms:
            yield _own_json(one)


def _own_over(notices: Sequence[Own], now_ms: int, keep_ms: int) -> Iterator[dict[str, Any]]:
    for one in notices:
        over_ms = one.over_ms(now_ms)
        if over_ms is not None and now_ms - over_ms < keep_ms:
            yield {**_own_json(one), "ended_ms": over_ms}
