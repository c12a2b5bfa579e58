"""Which figures are kept over time, and when the link or the throttle is said to have turned."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.sampling import Turns, samples


def document(
    link: str = "up", throttle: str | None = "steady", at_ms: int = 1_000, **more: Any
) -> dict[str, Any]:
    lane = {"waiting": 3, "waiting_bytes": 900}
    return {
        "side": "region",
        "at_ms": at_ms,
        "lanes": {"record": lane},
        "link": {"state": link, "goodput_bytes_s": 20.5},
        "throttle": None if throttle is None else {"state": throttle, "rtt_ms": 120.0, "base_ms": 100.0},
        "runway": {"free_bytes": 10},
        "unverdicted": 4,
        **more,
    }


def test_a_region_keeps_what_waits_by_lane_and_how_the_link_is() -> None:
    found = samples(document())
    assert found["waiting.record"] == 3.0
    assert found["waiting_bytes.record"] == 900.0
    assert (found["rtt_ms"], found["base_ms"], found["link"], found["unverdicted"]) == (
        120.0,
        100.0,
        1.0,
        4.0,
    )


def test_what_is_not_known_now_is_left_out_and_not_said_to_be_nothing() -> None:
    found = samples(document(link="unknown", throttle=None))
    assert {"rtt_ms", "link", "eta_s", "return_lag_s", "cap_bytes_s"}.isdisjoint(found)


def test_a_center_keeps_what_waits_for_a_verdict() -> None:
    found = samples({"side": "center", "unverdicted": 5, "waiting": 2, "quarantined": 0, "announced": 9})
    assert found == {"unverdicted": 5.0, "incomplete": 2.0, "quarantined": 0.0, "announced": 9.0}


@given(states=st.lists(st.sampled_from(["up", "down", "unknown", "not running"]), max_size=40))
def test_the_link_turns_as_often_as_it_changes_between_up_and_down(states: list[str]) -> None:
    turns = Turns({})
    turned = [what for n, state in enumerate(states) for _, what, _ in turns.saw(document(state, None, n))]
    known = [state for state in states if state in ("up", "down")]
    changes = [now for before, now in zip([None, *known], known, strict=False) if now != before]
    assert turned == [f"link {state}" for state in changes]


def test_a_turn_has_the_time_that_the_worker_says_not_that_of_the_look() -> None:
    said = document("down", None, at_ms=9_000)
    said["link"]["since_ms"] = 7_500
    assert Turns({"link": "up"}).saw(said) == [(7_500, "link down", "")]


def test_a_watching_process_that_was_started_again_sees_no_turn_that_it_had_seen() -> None:
    first = Turns({})
    first.saw(document())
    assert Turns(first.state).saw(document()) == []
    assert [what for _, what, _ in Turns(first.state).saw(document(throttle="yield"))] == ["throttle"]
