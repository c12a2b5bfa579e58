"""Whether somebody else uses the link: what a long queue says, and for how long it counts."""

from __future__ import annotations

import pytest

from pipeline.throttle.others import OTHERS, OTHERS_TARGETS, QUIET_S, QUIET_TRIPS, STILL, YIELD_SHARE, Others

BASE_S, TARGET_S, OURS_S = 0.1, 0.05, 0.2


def kept(others: Others, queue_s: float, *, at_s: float = 0.0, ours_s: float = OURS_S) -> float:
    return others.keeps(at_s, BASE_S, queue_s, TARGET_S, ours_s)


def in_proportion(queue_s: float) -> float:
    return (BASE_S + TARGET_S) / (BASE_S + queue_s)


def test_a_queue_no_longer_than_what_we_have_under_way_may_be_our_own() -> None:
    others = Others()
    for at_s in (0.0, 0.5, 1.0):
        queue_s = 0.99 * OTHERS * OURS_S
        assert kept(others, queue_s, at_s=at_s) == pytest.approx(in_proportion(queue_s))
    assert not others.are_here


def test_a_queue_longer_than_that_is_of_others_and_we_yield_by_more() -> None:
    others = Others()
    queue_s = 1.01 * OTHERS * OURS_S
    assert kept(others, queue_s) < in_proportion(queue_s)
    assert others.are_here


def test_a_part_of_the_window_is_kept_however_long_the_queue_is() -> None:
    assert kept(Others(), 60.0) == YIELD_SHARE


def test_a_queue_of_hardly_more_than_the_target_is_no_reason_however_little_is_ours() -> None:
    others = Others()
    kept(others, 0.99 * OTHERS_TARGETS * TARGET_S, ours_s=0.001)
    assert not others.are_here


def test_while_the_rate_of_the_line_is_not_known_any_queue_may_be_ours() -> None:
    others = Others()
    kept(others, 60.0, ours_s=float("inf"))
    assert not others.are_here


def seen_at(at_s: float) -> Others:
    others = Others()
    kept(others, 2 * OTHERS * OURS_S, at_s=at_s)
    assert others.are_here
    return others


@pytest.mark.parametrize(("rtt_s", "quiet_s"), [(0.1, QUIET_S), (2.0, 2.0 * QUIET_TRIPS)])
def test_they_are_gone_when_it_was_quiet_for_a_while_and_some_round_trips(
    rtt_s: float, quiet_s: float
) -> None:
    others = seen_at(10.0)
    others.look(10.0 + 0.99 * quiet_s, 0.0, TARGET_S, rtt_s)
    assert others.are_here
    others.look(10.0 + 1.01 * quiet_s, 0.0, TARGET_S, rtt_s)
    assert not others.are_here


def test_each_queue_that_is_seen_meanwhile_begins_the_quiet_anew() -> None:
    others = seen_at(10.0)
    others.look(10.0 + 0.9 * QUIET_S, 1.1 * STILL * TARGET_S, TARGET_S, 0.1)
    others.look(10.0 + 1.8 * QUIET_S, 0.0, TARGET_S, 0.1)
    assert others.are_here


def test_a_clock_that_is_set_back_ends_it() -> None:
    others = seen_at(10.0)
    others.look(9.0, 0.0, TARGET_S, 0.1)
    assert not others.are_here
