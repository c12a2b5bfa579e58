"""What is said to citizens does not flap, never names a time that has passed, and outlives a restart."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspection.notice_causes import Cause, causes
from pipeline.inspection.notice_own import EQUIPMENT, Equipment
from pipeline.inspection.notice_state import Limits, NoticeState, Resolved, from_json, step
from pipeline.inspection.notice_until import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    STANDS_MS,
    Past,
    Until,
    cuts_ms,
    link_until_ms,
    round_up_ms,
    say,
)

WIB = timezone(timedelta(hours=7), "WIB")
#: 24 November 2026, 09:00 in Jakarta.
NINE_MS = 1_795_485_600_000
LIMITS = Limits(after_ms=10 * MINUTE_MS, clear_ms=10 * MINUTE_MS, keep_ms=DAY_MS)
DOWN = Cause("sending", "link_down")


def at(hours: float) -> int:
    """So many hours after midnight of that day in Jakarta."""
    return NINE_MS + int((hours - 9) * HOUR_MS)


def run(
    state: NoticeState, begin_ms: int, end_ms: int, *found: Cause, every_ms: int = MINUTE_MS
) -> NoticeState:
    """Look every minute, from one time up to another, and see that."""
    for now_ms in range(begin_ms, end_ms + 1, every_ms):
        state = step(state, found, now_ms, LIMITS, WIB)
    return state


def said(state: NoticeState, what: str = "sending") -> Until:
    until = state.tracks[what].until
    assert until is not None
    return until


# --- when something is said -------------------------------------------------------------------------


def test_a_short_cut_is_not_said() -> None:
    state = run(NoticeState(), at(9), at(9.1), DOWN)
    assert state.disturbed == ()
    assert run(state, at(9.2), at(12)).resolved == ()


def test_one_that_lasts_is_said_with_its_own_beginning() -> None:
    state = run(NoticeState(), at(9), at(9.1))
    state = run(state, at(9.15), at(9.5), DOWN)
    assert state.disturbed == ("sending",)
    assert state.tracks["sending"].since_ms == at(9.15)


def test_what_the_cause_says_of_the_past_is_believed_where_nobody_looked() -> None:
    seen = run(NoticeState(), at(9), at(9.1))
    state = step(seen, [Cause("sending", "link_down", at(9.2))], at(11), LIMITS, WIB)
    assert state.disturbed == ("sending",)
    assert state.tracks["sending"].since_ms == at(9.2)


def test_what_a_cause_says_of_the_past_does_not_undo_what_was_seen() -> None:
    seen = run(NoticeState(), at(9), at(10))
    state = step(seen, [Cause("sending", "slow", at(9))], at(10) + 1_000, LIMITS, WIB)
    assert state.disturbed == ()


def test_it_is_over_after_a_while_without_it_and_stays_shown_as_resolved() -> None:
    state = run(NoticeState(), at(9), at(10), DOWN)
    state = run(state, at(10), at(10) + 9 * MINUTE_MS)
    assert state.disturbed == ("sending",)
    state = run(state, at(10) + 10 * MINUTE_MS, at(11))
    assert state.disturbed == ()
    assert state.resolved == (Resolved("sending", ("link_down",), at(9), at(10), at(10) + 10 * MINUTE_MS),)
    assert len(run(state, at(11), at(34)).resolved) == 1
    assert run(state, at(11), at(34.2)).resolved == ()


def test_a_link_that_is_away_more_than_it_is_there_is_said_though_no_cut_lasts() -> None:
    state = NoticeState()
    for n in range(20):
        begin_ms = at(9) + n * 6 * MINUTE_MS
        state = run(state, begin_ms, begin_ms + 4 * MINUTE_MS, DOWN)
        state = step(state, [], begin_ms + 5 * MINUTE_MS, LIMITS, WIB)
    assert state.disturbed == ("sending",)
    assert state.tracks["sending"].since_ms == at(9)


def test_what_people_say_is_broken_is_said_at_once() -> None:
    [cause] = causes(document(), [Equipment("printer", at(9), at(12))], Past())
    state = step(NoticeState(), [cause], at(9), LIMITS, WIB)
    assert state.disturbed == ("printing",)
    assert said(state, "printing").at_ms == at(12)


def test_a_clock_that_was_set_back_leaves_nothing_in_the_future() -> None:
    state = run(NoticeState(), at(9), at(10), DOWN)
    state = step(state, [DOWN], at(3), LIMITS, WIB)
    assert state.tracks["sending"].since_ms == at(3)
    state = run(state, at(3), at(3) + 11 * MINUTE_MS)
    assert [one.ended_ms <= one.shown_ms <= state.at_ms for one in state.resolved] == [True]


# --- until when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "shown"),
    [(at(9.2), at(9.25)), (at(13.6), at(14)), (at(13.1), at(13.5)), (at(20), at(24)), (at(26), at(48))],
)
def test_a_time_is_said_in_steps_that_grow_with_its_distance(expected: int, shown: int) -> None:
    assert say(None, expected, at(9), WIB).at_ms == shown


def test_steps_are_those_of_the_wall_clock_where_a_zone_is_off_by_half_an_hour() -> None:
    half = timezone(timedelta(hours=6, minutes=30))
    assert (round_up_ms(at(9) + 1, 30 * MINUTE_MS, half) + 6.5 * HOUR_MS) % (30 * MINUTE_MS) == 0
    assert (round_up_ms(at(9) + 1, DAY_MS, half) + 6.5 * HOUR_MS) % DAY_MS == 0


def test_a_said_time_stands_until_it_is_off_by_more_than_a_step() -> None:
    first = say(None, at(12.4), at(9), WIB)
    assert first.at_ms == at(12.5)
    assert say(first, at(12.9), at(10), WIB) is first
    assert say(first, at(14), at(10), WIB).at_ms == at(14)
    assert say(first, at(14), at(9) + STANDS_MS - 1, WIB) is first, "it has just been said"


def test_a_time_that_is_no_longer_known_stands_until_it_passes() -> None:
    first = say(None, at(9.4), at(9), WIB)
    assert say(first, None, at(9.3), WIB) is first
    later = say(first, None, at(9.5), WIB)
    assert later.at_ms is None
    assert later.look_ms > at(9.5)
    assert say(later, None, later.look_ms - 1, WIB).look_ms == later.look_ms
    assert say(later, None, later.look_ms, WIB).look_ms > later.look_ms


def test_a_persons_time_is_said_as_it_is() -> None:
    first = say(None, at(12) + 7 * MINUTE_MS, at(9), WIB, exact=True)
    assert (first.at_ms, first.step_ms) == (at(12) + 7 * MINUTE_MS, 0)
    changed = say(first, at(15), at(9) + 1, WIB, exact=True)
    assert changed.at_ms == at(15)
    assert say(changed, None, at(16), WIB).at_ms is None


def test_how_long_a_cut_lasts_is_told_by_those_that_lasted_longer() -> None:
    past = Past((HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS, 4 * HOUR_MS, 5 * HOUR_MS, 6 * HOUR_MS), 1_000.0)
    assert link_until_ms(at(9), at(9), past, 0) == at(12.5)
    assert link_until_ms(at(9), at(10), past, 3_600_000) == at(9) + 4 * HOUR_MS + HOUR_MS
    assert link_until_ms(at(9), at(11), past, 0) is None, "only four lasted longer"
    assert link_until_ms(None, at(11), past, 0) is None


def test_cuts_are_read_out_of_turns() -> None:
    turns = [(5, "link up"), (10, "link down"), (12, "link down"), (30, "link up"), (40, "link down")]
    assert cuts_ms(turns) == (20,)


# --- what disturbs ----------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    """Of a region where all is well."""
    lane = {"not_sent": 0, "held": "", "opens_ms": None}
    return {
        "at_ms": at(9),
        "link": {"state": "up"},
        "lanes": {"record": dict(lane), "biometric": dict(lane)},
        "runway": {"free_bytes": 10, "low_water_bytes": 5},
        "rebuild": None,
        "in_doubt": False,
        "waiting_bytes": 0,
        "pauses": [],
    } | changes


def lanes(**biometric: Any) -> dict[str, Any]:
    held = {"not_sent": 5, "held": "", "opens_ms": None} | biometric
    return {"lanes": {"record": {"not_sent": 0, "held": ""}, "biometric": held}}


PAUSE = {"lane": "biometric", "reason": "", "who": "made", "at_ms": at(8)}
REBUILD = {"state": "running", "opened_ms": None, "began_ms": at(8), "eta_s": 3_600.0}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"link": {"state": "down", "down_for_s": 3_600.0}}, [("sending", "link_down", at(8))]),
        ({"link": {"state": "down", "since_ms": at(7)}}, [("sending", "link_down", at(7))]),
        ({"link": {"state": "down", "denied": "NOAUTH"}}, [("sending", "refused", None)]),
        ({"link": {"state": "unknown"}}, [("sending", "silent", None)]),
        ({"link": {"state": "not running"}}, [("sending", "not_running", None)]),
        ({"runway": {"free_bytes": 5, "low_water_bytes": 5}}, [("recording", "disk_full", None)]),
        ({"return": {"lag_s": 7_200.0}}, [("printing", "return_lag", at(7))]),
        ({"return": {"lag_s": 60.0}}, []),
        ({"rebuild": REBUILD}, [("printing", "rebuild", at(8))]),
        ({"rebuild": REBUILD | {"opened_ms": at(8.5)}}, []),
        ({"in_doubt": True}, [("sending", "in_doubt", None)]),
        (lanes(held="paused") | {"pauses": [PAUSE]}, [("sending", "paused", at(8))]),
        ({"pauses": [PAUSE]}, []),
        (lanes(held="opens at 22:00", opens_ms=at(22)), []),
        (
            lanes() | {"throttle": {"state": "yield", "since_ms": at(8)}, "eta_s": None},
            [("sending", "slow", at(8))],
        ),
        (lanes() | {"throttle": {"state": "yield", "since_ms": at(8)}, "eta_s": 60.0}, []),
    ],
)
def test_what_disturbs_a_service(changes: dict[str, Any], found: list[tuple[str, str, int | None]]) -> None:
    seen = causes(document(**changes), [], Past())
    assert [(one.what, one.code, one.since_ms) for one in seen] == found


def test_each_thing_that_is_broken_disturbs_its_service() -> None:
    broken = [Equipment(name, at(8), at(8.5)) for name in EQUIPMENT]
    seen = causes(document(), broken, Past())
    assert {one.code: one.what for one in seen} == EQUIPMENT
    assert {one.until_ms for one in seen} == {None}, "their time has passed, and they are broken still"


# --- whatever happens -------------------------------------------------------------------------------


def flapping(seed: int) -> Iterator[tuple[int, list[Cause]]]:
    """Looks at any distance that find anything."""
    chance, now_ms = random.Random(seed), NINE_MS
    codes = [
        ("sending", "link_down"),
        ("sending", "slow"),
        ("printing", "return_lag"),
        ("recording", "disk_full"),
    ]
    for _ in range(25):
        present = [pair for pair in codes if chance.random() < chance.choice([0.1, 0.5, 0.9])]
        for _ in range(chance.randrange(1, 20)):
            now_ms += chance.choice(
                [1_000, 30_000, 60_000, 5 * MINUTE_MS, 3 * HOUR_MS][: chance.randrange(1, 6)]
            )
            yield now_ms, [_cause(pair, now_ms, chance) for pair in present]


def _cause(pair: tuple[str, str], now_ms: int, chance: random.Random) -> Cause:
    since_ms = chance.choice([None, now_ms, now_ms - chance.randrange(10 * HOUR_MS), now_ms + HOUR_MS])
    until_ms = chance.choice([None, now_ms - 1, now_ms + chance.randrange(1, 48 * HOUR_MS)])
    return Cause(*pair, since_ms, until_ms)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_happens_it_does_not_flap(seed: int) -> None:
    state, began_ms = NoticeState(), {}
    for now_ms, found in flapping(seed):
        before, state = state, step(state, found, now_ms, LIMITS, WIB)
        for what, track in state.tracks.items():
            was = before.tracks[what]
            if track.since_ms is not None and was.since_ms is None:
                assert now_ms - began_ms.get(what, 0) >= LIMITS.clear_ms
                assert track.since_ms >= was.ended_ms
                began_ms[what] = now_ms
            elif track.since_ms is not None:
                assert track.since_ms == was.since_ms
                _is_steady(was.until, track.until, now_ms)
            if track.since_ms is not None:
                assert track.since_ms <= now_ms
                assert track.until is not None
                assert (
                    any(one.what == what for one in found) is False
                    or (track.until.at_ms or now_ms + 1) > now_ms
                )
        assert all(now_ms - one.shown_ms < LIMITS.keep_ms for one in state.resolved)


def _is_steady(was: Until | None, now: Until | None, now_ms: int) -> None:
    """A said time that has not passed changes at most once in ten minutes."""
    if was is None or now is None or was == now or was.at_ms is None or was.at_ms <= now_ms:
        return
    assert now.at_ms is not None
    assert now_ms - was.said_ms >= STANDS_MS


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_a_restart_in_between_changes_nothing(seed: int, every: int) -> None:
    through, restarted = NoticeState(), NoticeState()
    for n, (now_ms, found) in enumerate(flapping(seed)):
        through = step(through, found, now_ms, LIMITS, WIB)
        if n % every == 0:
            restarted = from_json(json.loads(json.dumps(restarted.to_json())))
        restarted = step(restarted, found, now_ms, LIMITS, WIB)
        assert restarted == through


@pytest.mark.parametrize("kept", [None, 7, {}, {"version": 2}, {"version": 1, "tracks": {}}, {"version": 1}])
def test_a_state_that_does_not_read_counts_as_none(kept: Any) -> None:
    assert from_json(kept) == NoticeState()
