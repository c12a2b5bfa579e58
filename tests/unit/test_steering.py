"""Pauses, caps and the timetable: which lane may go, how fast, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.steering_file import NAME, SteeredLanes, read_steering, write_steering
from pipeline.errors import StoreDamaged
from pipeline.region.lanes import LAST_LANE_EVERY, LaneOrder
from pipeline.testing.clock import ManualClock
from pipeline.throttle.steering import UNBOUND, Budgets, Cap, Pause, Steering, parse_hours
from schemas.lanes import Lane

NIGHT = Cap(Lane.BIOMETRIC, 0.0, 5 * 60, 22 * 60)
PAUSED = Pause(Lane.RECORD, "the server moves", "sari", 1_000)


def test_a_lane_is_closed_in_the_hours_of_its_cap_and_free_outside() -> None:
    steering = Steering(caps=(NIGHT,))
    assert steering.rate_bytes_s(Lane.BIOMETRIC, 12 * 60) == 0
    assert steering.rate_bytes_s(Lane.BIOMETRIC, 23 * 60) == UNBOUND
    assert steering.rate_bytes_s(Lane.RECORD, 12 * 60) == UNBOUND
    assert steering.why(Lane.BIOMETRIC, 21 * 60) == "lane biometric is closed until 22:00 by the timetable"


def test_hours_go_over_midnight() -> None:
    cap = Cap(None, 8_000.0, *parse_hours("22:00-5"))
    assert [cap.holds(minute) for minute in (22 * 60, 0, 5 * 60 - 1, 5 * 60, 12 * 60)] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["22", "a-b", "25:00-3:00", "7:61-8", "7-7"])
def test_hours_that_are_none_say_how_to_write_them(text: str) -> None:
    with pytest.raises(ValueError, match="write 22:00-05:00"):
        parse_hours(text)


def test_of_several_caps_the_lowest_counts() -> None:
    steering = Steering(caps=(Cap(None, 9_000.0), Cap(Lane.RECORD, 4_000.0)))
    assert (steering.rate_bytes_s(Lane.RECORD, 0), steering.rate_bytes_s(Lane.URGENT, 0)) == (4_000, 9_000)


def test_a_pause_says_who_and_why_and_has_no_end_of_its_own() -> None:
    steering = Steering(pauses=(PAUSED,))
    assert steering.why(Lane.RECORD, 0) == "lane record is paused by sari (the server moves)"
    assert steering.opens_in(Lane.RECORD, 0) is None


@given(rate=st.floats(500, 1e6), frames=st.lists(st.integers(100, 60_000), min_size=20, max_size=60))
def test_a_capped_lane_never_sends_faster_than_its_cap(rate: float, frames: list[int]) -> None:
    """Over any run it sends at most its rate, one second saved up, and one frame more."""
    budgets, now_s, sent = Budgets(), 0.0, 0
    for frame in frames:
        while not budgets.may(Lane.BIOMETRIC, rate, now_s):
            now_s += 0.05
        budgets.spent(Lane.BIOMETRIC, frame)
        sent += frame
        assert sent <= rate * (now_s + 1.05) + frame


def test_what_was_asked_is_read_again_as_it_was_said(tmp_path: Path) -> None:
    asked = Steering(
        (PAUSED, Pause(None, "", "budi", 2)), (NIGHT, Cap(None, 1_000.0, reason="shared", who="x"))
    )
    write_steering(tmp_path, asked)
    assert read_steering(tmp_path) == asked
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "pauses": [{}], "caps": []}']
)
def test_a_damaged_file_is_said_and_changes_nothing_of_what_held(tmp_path: Path, text: str) -> None:
    write_steering(tmp_path, Steering((PAUSED,)))
    lanes = SteeredLanes(tmp_path, ManualClock())
    assert lanes.open_lanes(tuple(Lane)) == (Lane.URGENT, Lane.CONTROL, Lane.BIOMETRIC)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_text(text)
    with pytest.raises(StoreDamaged, match="remove it"):
        read_steering(tmp_path)
    assert lanes.open_lanes(tuple(Lane)) == (Lane.URGENT, Lane.CONTROL, Lane.BIOMETRIC)


def test_a_running_side_follows_a_change_at_once(tmp_path: Path) -> None:
    lanes = SteeredLanes(tmp_path, ManualClock())
    assert lanes.open_lanes(tuple(Lane)) == tuple(Lane)
    write_steering(tmp_path, Steering((Pause(None, "", "sari", 1),)))
    assert lanes.open_lanes(tuple(Lane)) == ()
    write_steering(tmp_path, Steering())
    assert lanes.open_lanes(tuple(Lane)) == tuple(Lane)


def test_version_1_of_the_file_is_read(tmp_path: Path) -> None:
    old = {
        "version": 1,
        "pauses": [{"lane": "record", "reason": "r", "who": "w", "at_ms": 5}],
        "caps": [{"lane": None, "bytes_s": 10.0, "start": 0, "stop": 60, "reason": "", "who": ""}],
    }
    (tmp_path / NAME).write_text(json.dumps(old))
    assert read_steering(tmp_path) == Steering((Pause(Lane.RECORD, "r", "w", 5),), (Cap(None, 10.0, 0, 60),))


def test_the_last_lane_goes_first_now_and_then_so_that_it_never_starves() -> None:
    order = LaneOrder()
    firsts = [order.next()[0] for _ in range(2 * LAST_LANE_EVERY)]
    assert firsts.count(Lane.BIOMETRIC) == 2
    assert not order.held
