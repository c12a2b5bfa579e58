"""Rates, and the disk's runway: plain arithmetic over sums by minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.rates import per_second, runway

NOW_MS = 1_700_000_040_000
MINUTE = NOW_MS // 60_000
OLD_S = 1e9


def test_what_moved_in_this_minute_and_a_part_of_the_one_before_is_the_rate_of_the_last_minute() -> None:
    now_ms = MINUTE * 60_000 + 40_000
    # 40 s of this minute, and the last third of the one before
    assert per_second({MINUTE: 400, MINUTE - 1: 600}, 60, now_ms, OLD_S) == pytest.approx((400 + 200) / 60)


def test_an_hour_is_an_hour() -> None:
    steady = {MINUTE - n: 60.0 for n in range(120)}
    assert per_second(steady, 3_600, MINUTE * 60_000 + 60_000 - 1, OLD_S) == pytest.approx(1.0, rel=0.001)


def test_what_has_begun_a_moment_ago_is_not_spread_over_an_hour() -> None:
    assert per_second({MINUTE: 100}, 3_600, NOW_MS, 10.0) == pytest.approx(10.0)


def test_a_clock_that_was_set_back_does_not_show_the_future() -> None:
    assert per_second({MINUTE + 60: 100}, 60, NOW_MS, OLD_S) == 0.0


@given(
    st.dictionaries(st.integers(MINUTE - 200, MINUTE + 5), st.integers(0, 10_000)),
    st.sampled_from([60, 3_600]),
    st.floats(0, 1e9),
)
def test_a_rate_is_never_below_zero_nor_above_all_that_there_is(
    minutes: dict[int, float], window_s: int, age_s: float
) -> None:
    rate = per_second(minutes, window_s, NOW_MS, age_s)
    assert 0 <= rate <= sum(minutes.values()) / max(1.0, min(window_s, age_s)) + 1e-9


def test_the_runway_ends_where_enqueueing_ends() -> None:
    assert runway(1_100, 100, 100.0)["full_in_days"] == 10.0
    assert runway(50, 100, 100.0)["full_in_days"] == 0.0
    assert runway(1_100, 100, 0.0)["full_in_days"] is None
