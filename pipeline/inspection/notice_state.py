"""Inspection, pure: the state of the public notice, with hysteresis: what citizens read does not flap.

                 a cause, more with it than without until that comes to after_ms
    quiet ------------------------------------------------------------------------> disturbed
      ^                                                                                 |
      |  keep_ms later it is no longer shown                 clear_ms without a cause   |
      +---------------------------------- resolved <------------------------------------+

Time is an argument. A gap between two looks (a restart) counts as what both saw; where they differ, it counts
as nothing but what the cause itself says ("down since 09:10"). What is kept is `watch.db`'s state `notice`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import tzinfo
from typing import Any

from pipeline.inspection.notice_causes import SERVICES, Cause
from pipeline.inspection.notice_until import Until, say

VERSION = 1
#: So many resolved ones are kept at most.
RESOLVED_MAX = 20


@dataclass(frozen=True)
class Limits:
    """See `NoticePart`; milliseconds."""

    after_ms: int
    clear_ms: int
    keep_ms: int


@dataclass(frozen=True)
class Track:
    """One service. `bad_ms`: by how much there was more time with a cause than without, since `first_ms`.
    `good_ms`: since when there is no cause (`None`: there is one). `since_ms`: since when it is said
    to be disturbed (`None`: it is not). `ended_ms`: when the last disturbance was over."""

    bad_ms: int = 0
    first_ms: int | None = None
    good_ms: int | None = 0
    since_ms: int | None = None
    ended_ms: int = 0
    codes: tuple[str, ...] = ()
    until: Until | None = None


@dataclass(frozen=True)
class Resolved:
    """A disturbance that is over, and still shown."""

    what: str
    codes: tuple[str, ...]
    since_ms: int
    ended_ms: int
    shown_ms: int


@dataclass(frozen=True)
class NoticeState:
    """Of all three services, as of `at_ms` (0: never looked)."""

    at_ms: int = 0
    tracks: Mapping[str, Track] = field(default_factory=lambda: {what: Track() for what in SERVICES})
    resolved: tuple[Resolved, ...] = ()

    @property
    def disturbed(self) -> tuple[str, ...]:
        """The services that are said to be disturbed."""
        return tuple(what for what in SERVICES if self.tracks[what].since_ms is not None)

    def to_json(self) -> dict[str, Any]:
        """For `watch.db`."""
        return {
            "version": VERSION,
            "at_ms": self.at_ms,
            "tracks": {what: asdict(track) for what, track in self.tracks.items()},
            "resolved": [asdict(one) for one in self.resolved],
        }


def from_json(value: Any) -> NoticeState:
    """What was kept; a state that does not read, or a newer one's, counts as none."""
    try:
        if value["version"] != VERSION:
            return NoticeState()
        tracks = {what: _track(value["tracks"][what]) for what in SERVICES}
        resolved = tuple(Resolved(**{**one, "codes": tuple(one["codes"])}) for one in value["resolved"])
        return NoticeState(int(value["at_ms"]), tracks, resolved)
    except (TypeError, KeyError, ValueError, AttributeError):
        return NoticeState()


def step(
    state: NoticeState, causes: Sequence[Cause], now_ms: int, limits: Limits, zone: tzinfo | None = None
) -> NoticeState:
    """The state after a look at `now_ms` that found those causes."""
    tracks, over = {}, []
    for what in SERVICES:
        mine = [one for one in causes if one.what == what]
        track = _look(_not_later(state.tracks[what], now_ms), mine, state.at_ms, now_ms)
        track = _say(track, mine, now_ms, limits, zone)
        if track.since_ms is not None and track.good_ms is not None:
            ended_ms = max(track.good_ms, track.since_ms)
            if now_ms - track.good_ms >= limits.clear_ms:
                over.append(Resolved(what, track.codes, track.since_ms, ended_ms, now_ms))
                track = Track(good_ms=track.good_ms, ended_ms=ended_ms)
        tracks[what] = track
    kept = (_resolved_not_later(one, now_ms) for one in (*over, *state.resolved))
    resolved = tuple(one for one in kept if now_ms - one.shown_ms < limits.keep_ms)[:RESOLVED_MAX]
    return NoticeState(now_ms, tracks, resolved)


def _look(track: Track, causes: Sequence[Cause], looked_ms: int, now_ms: int) -> Track:
    """Count the time since the last look."""
    elapsed_ms = max(0, now_ms - looked_ms) if looked_ms else 0
    if not causes:
        if track.good_ms is None:
            return replace(track, good_ms=now_ms)
        bad_ms = max(0, track.bad_ms - elapsed_ms)
        return replace(track, bad_ms=bad_ms, first_ms=track.first_ms if bad_ms else None)
    if track.good_ms is None:
        return replace(track, bad_ms=track.bad_ms + elapsed_ms, codes=_codes(causes))
    # Not before it was seen to be well: what a cause says of the past must not undo the hysteresis.
    began_ms = min(now_ms, max(_claimed_ms(causes, now_ms), min(looked_ms, now_ms), track.ended_ms))
    first_ms = began_ms if track.first_ms is None else track.first_ms
    bad_ms = track.bad_ms + now_ms - began_ms
    return replace(track, bad_ms=bad_ms, first_ms=first_ms, good_ms=None, codes=_codes(causes))


def _say(track: Track, causes: Sequence[Cause], now_ms: int, limits: Limits, zone: tzinfo | None) -> Track:
    """Begin to say it where it has lasted, and say until when."""
    if not causes:
        return track
    if track.since_ms is None:
        if track.bad_ms < limits.after_ms and not any(one.at_once for one in causes):
            return track
        first_ms = now_ms if track.first_ms is None else track.first_ms
        since_ms = max(min(first_ms, _claimed_ms(causes, now_ms)), track.ended_ms)
        track = replace(track, since_ms=min(since_ms, now_ms), until=None)
    known = [one.until_ms for one in causes if one.until_ms is not None]
    expected_ms = max(known) if len(known) == len(causes) else None
    exact = any(one.exact and one.until_ms == expected_ms for one in causes)
    return replace(track, until=say(track.until, expected_ms, now_ms, zone, exact=exact))


def _claimed_ms(causes: Iterable[Cause], now_ms: int) -> int:
    """Since when the oldest of them says that it is so; now where none says it."""
    return min((one.since_ms for one in causes if one.since_ms is not None), default=now_ms)


def _codes(causes: Iterable[Cause]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.code for one in causes))


def _not_later(track: Track, now_ms: int) -> Track:
    """A clock that was set back leaves nothing in the future."""
    return replace(
        track,
        first_ms=_least(track.first_ms, now_ms),
        good_ms=_least(track.good_ms, now_ms),
        since_ms=_least(track.since_ms, now_ms),
        ended_ms=min(track.ended_ms, now_ms),
    )


def _resolved_not_later(one: Resolved, now_ms: int) -> Resolved:
    since_ms, ended_ms = min(one.since_ms, now_ms), min(one.ended_ms, now_ms)
    return replace(one, since_ms=since_ms, ended_ms=ended_ms, shown_ms=min(one.shown_ms, now_ms))


def _least(one: int | None, now_ms: int) -> int | None:
    return None if one is None else min(one, now_ms)


def _track(value: Mapping[str, Any]) -> Track:
    until = None if value["until"] is None else Until(**value["until"])
    return Track(**{**value, "codes": tuple(value["codes"]), "until": until})
