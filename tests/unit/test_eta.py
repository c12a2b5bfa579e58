"""When what waits will be there: by how fast each lane went, in the order of the lanes, and not at all where
that cannot be said; and how often the link was cut today."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.eta import JUST_S, STRETCH_MIN, LaneLoad, lane_etas, pace, together
from pipeline.inspection.link_history import Today, cuts_of_turns, cuts_of_word, today

MINUTE = 28_333_334
NOW_MS = MINUTE * 60_000 + 30_000
LONG_AGO_MS = NOW_MS - 30 * 86_400_000

# --- how fast a lane goes ---------------------------------------------------------------------------


def test_a_lane_goes_as_fast_as_in_its_newest_stretch_of_movement() -> None:
    steady = {MINUTE - n: 6_000.0 for n in range(STRETCH_MIN)} | {MINUTE: 3_000.0}
    assert pace(steady, NOW_MS, LONG_AGO_MS) == pytest.approx(100.0)
    before_a_gap = {MINUTE - n: 600_000.0 for n in range(5, 10)}
    assert pace(steady | {MINUTE - 1: 0} | before_a_gap, NOW_MS, LONG_AGO_MS) > 100.0
    three = {MINUTE: 3_000.0, MINUTE - 1: 6_000.0}
    assert pace(three | before_a_gap, NOW_MS, LONG_AGO_MS) == pytest.approx(100.0)


def test_minutes_between_two_large_packets_are_part_of_the_stretch() -> None:
    assert pace({MINUTE - 1: 9_000.0, MINUTE - 3: 9_000.0}, NOW_MS, LONG_AGO_MS) == pytest.approx(
        18_000 / 210
    )


def test_what_stood_for_minutes_does_not_go() -> None:
    assert pace({MINUTE - 4: 9_000.0}, NOW_MS, LONG_AGO_MS) == 0.0
    assert pace({}, NOW_MS, LONG_AGO_MS) == 0.0


def test_a_link_that_came_up_a_moment_ago_is_not_slow_for_it() -> None:
    assert pace({MINUTE: 1_000.0}, NOW_MS, NOW_MS - 10_000) == pytest.approx(100.0)


@given(st.dictionaries(st.integers(MINUTE - 60, MINUTE + 3), st.floats(0, 1e9)), st.integers(0, 4_000_000))
def test_a_pace_is_never_below_zero_nor_above_all_that_moved(minutes: dict[int, float], ago_ms: int) -> None:
    assert 0 <= pace(minutes, NOW_MS, NOW_MS - ago_ms) <= sum(minutes.values()) + 1e-6


# --- when it will be there --------------------------------------------------------------------------


def lane(label: str, left: int, now: float = 0.0, past: float = 0.0, **more: int | bool | None) -> LaneLoad:
    return LaneLoad(label, left, now, past, **more)  # type: ignore[arg-type]


def etas(*loads: LaneLoad, flows: bool = True, up_since_ms: int | None = LONG_AGO_MS) -> list[float | None]:
    return list(lane_etas(loads, NOW_MS, flows=flows, up_since_ms=up_since_ms).values())


def test_an_empty_lane_is_done_whatever_stands() -> None:
    assert etas(lane("record", 0), flows=False) == [0.0]
    assert etas(lane("record", 0, closed=True)) == [0.0]


def test_a_lane_that_moves_is_done_at_its_own_speed() -> None:
    assert etas(lane("record", 1_000, 10.0), lane("biometric", 900, 3.0)) == [100.0, 300.0]


def test_a_lane_behind_another_waits_for_it_and_goes_as_it_went_before() -> None:
    assert etas(lane("record", 1_000, 10.0), lane("biometric", 900, past=3.0)) == [100.0, 400.0]
    assert etas(lane("record", 1_000, 10.0), lane("biometric", 900)) == [100.0, None]  # it never went
    assert etas(lane("record", 1_000), lane("biometric", 900, past=3.0)) == [None, None]


def test_a_lane_waits_for_none_that_is_closed() -> None:
    closed = lane("record", 1_000, closed=True)
    just = lane("biometric", 900, past=3.0, since_ms=NOW_MS - 1_000)
    assert etas(closed, just) == [None, 300.0]


def test_a_lane_that_the_timetable_closes_counts_from_when_it_opens() -> None:
    closed = lane("biometric", 900, past=3.0, closed=True, opens_ms=NOW_MS + 60_000)
    assert etas(closed) == [360.0]
    assert etas(lane("biometric", 900, past=3.0, closed=True)) == [None]  # paused: nobody knows
    assert etas(lane("biometric", 900, closed=True, opens_ms=NOW_MS + 60_000)) == [None]


@pytest.mark.parametrize(("ago_s", "known"), [(JUST_S - 1, True), (JUST_S + 1, False)])
def test_what_could_have_moved_for_minutes_and_did_not_has_no_time(ago_s: float, known: bool) -> None:
    began_ms = NOW_MS - int(ago_s * 1000)
    (since,) = etas(lane("record", 100, past=10.0, since_ms=began_ms))
    (up,) = etas(lane("record", 100, past=10.0, since_ms=LONG_AGO_MS), up_since_ms=began_ms)
    assert (since, up) == ((10.0, 10.0) if known else (None, None))


def test_no_time_is_given_while_the_link_is_down() -> None:
    assert etas(lane("record", 1_000, 10.0), flows=False) == [None]


def test_all_of_it_is_there_when_the_last_lane_is() -> None:
    loads = [lane("urgent", 0), lane("record", 1_000, 10.0), lane("biometric", 900, 3.0)]
    assert together(loads, {"urgent": 0.0, "record": 100.0, "biometric": 300.0}) == 300.0
    assert together(loads, {"urgent": None, "record": 100.0, "biometric": 300.0}) == 300.0
    assert together(loads, {"urgent": 0.0, "record": 100.0, "biometric": None}) is None
    assert together([], {}) == 0.0


# --- cuts -------------------------------------------------------------------------------------------

MIDNIGHT_MS = 1_000_000


def of(
    watched: list[tuple[int, int]],
    said: list[tuple[int, int]],
    now_ms: int = 2_000_000,
    last: int | None = None,
) -> Today:
    return today(watched, said, midnight_ms=MIDNIGHT_MS, now_ms=now_ms, last_said_ms=last)


def test_cuts_that_both_saw_count_once_and_those_that_one_missed_count_too() -> None:
    turns = [
        (1_100_000, "link down"),
        (1_160_000, "link up"),
        (1_300_000, "link down"),
        (1_310_000, "link up"),
    ]
    watched = cuts_of_turns(turns)
    assert watched == [(1_100_000, 1_160_000), (1_300_000, 1_310_000)]
    said = cuts_of_word([[1_300_000, 1_309_500], [1_400_000, 1_400_300]])
    assert of(watched, said) == Today(3, 69.8)


def test_a_cut_that_began_yesterday_is_down_today_and_no_cut_of_today() -> None:
    assert of([(900_000, 1_060_000)], []) == Today(0, 60.0)


def test_a_cut_that_is_open_lasts_until_now_or_until_the_worker_last_spoke() -> None:
    assert of([], [(1_900_000, 0)]) == Today(1, 100.0)
    assert of([], [(1_900_000, 0)], last=1_950_000) == Today(1, 50.0)
    assert of([(1_100_000, 0)], [(1_200_000, 1_210_000)]) == Today(2, 110.0)


def test_what_was_said_otherwise_is_left_out() -> None:
    assert cuts_of_word(None) == cuts_of_word([1, [2], ["a", 3], [None, 0]]) == []
    assert cuts_of_turns([(1, "link up"), (2, "throttle"), (3, "link down"), (4, "link down")]) == [(3, 0)]


CUTS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 3_000_000)), max_size=20)


@given(CUTS, CUTS)
def test_the_link_is_never_down_for_longer_than_the_day_is_old(
    watched: list[tuple[int, int]], said: list[tuple[int, int]]
) -> None:
    found = of(watched, said)
    assert 0 <= found.down_s <= 1_000.0
    assert 0 <= found.cuts <= len(watched) + len(said)
