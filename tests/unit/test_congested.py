"""Since when others have had the line, over what the throttle does in between."""

from __future__ import annotations

from dataclasses import replace

from pipeline.region.congested import CALM_MS, FLOOR_BYTES, Congested
from pipeline.throttle.view import State, ThrottleView

VIEW = ThrottleView(State.STEADY, "", 100_000, 0.0, None, None, 0.0, 0.05, 0)
T = 1_700_000_000_000


def at(state: State, window_bytes: int = 100_000) -> ThrottleView:
    return replace(VIEW, state=state, window_bytes=window_bytes)


def test_measuring_and_a_calm_moment_do_not_end_it_and_a_calm_minute_does() -> None:
    seen = Congested()
    assert seen.saw(at(State.STEADY), T) is None
    for second in range(0, 3_600, 5):
        state = (State.YIELD, State.YIELD, State.MEASURE, State.STEADY)[second // 5 % 4]
        assert seen.saw(at(state), T + second * 1_000) == T
    over_ms = T + 3_590_000 + CALM_MS
    assert seen.saw(at(State.STEADY), over_ms - 6_000) == T
    assert seen.saw(at(State.STEADY), over_ms + 6_000) is None


def test_a_window_at_its_floor_counts_and_a_ramp_does_not() -> None:
    seen = Congested()
    assert seen.saw(at(State.RAMP, FLOOR_BYTES), T) is None
    assert seen.saw(at(State.STEADY, FLOOR_BYTES), T) == T


def test_a_link_that_is_down_ends_it_and_a_clock_set_back_makes_it_no_younger_than_now() -> None:
    seen = Congested()
    assert seen.saw(at(State.YIELD), T) == T
    assert seen.saw(at(State.YIELD), T - 9_000_000) == T - 9_000_000
    assert seen.saw(at(State.DOWN, 0), T) is None
    assert seen.saw(at(State.YIELD), T) == T
    assert seen.saw(None, T) is None
