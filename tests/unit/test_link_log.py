"""What a region's worker remembers of its link: cuts of a moment, restarts, how late the way back is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.region.link_log import CUTS_MAX, TOPS_MAX, Goodput, LinkLog, StateSince, WayBack


def told(log: LinkLog) -> dict[str, Any]:
    """As it comes out of the file."""
    found: dict[str, Any] = json.loads(json.dumps(log.to_json()))
    return found


def test_a_cut_of_a_moment_counts() -> None:
    log = LinkLog(0)
    for at_ms, up in ((10, True), (20, False), (25, True), (26, True)):
        log.saw(up, at_ms)
    assert told(log)["cuts"] == [[20, 25]]
    assert (log.cuts_n, log.since_ms, told(log)["up_since_ms"]) == (1, 25, 25)


def test_a_link_that_was_never_up_is_down_and_was_not_cut() -> None:
    log = LinkLog(0)
    log.saw(False, 5)
    assert (log.cuts_n, log.since_ms, told(log)["up_since_ms"], told(log)["cuts"]) == (0, 5, None, [[5, 0]])


def test_a_worker_that_starts_anew_goes_on_from_what_the_one_before_it_said() -> None:
    before = LinkLog(0)
    for at_ms, up in ((10, True), (20, False), (30, True), (40, False)):
        before.saw(up, at_ms)
    before.moved(38)
    after = LinkLog(100)
    after.recall(told(before) | {"at_ms": 60})
    assert [list(one) for one in after.cuts] == [[20, 30], [40, 60]]
    assert (after.moved_ms, after.cuts_n) == (38, 0)
    after.saw(True, 110)
    assert [list(one) for one in after.cuts] == [[20, 30], [40, 60]]


def test_a_file_that_says_something_else_is_passed_over() -> None:
    log = LinkLog(0)
    log.recall({"cuts": [[1], "x", [None, 2], [3, 4]], "moved_ms": "x", "at_ms": None})
    assert ([list(one) for one in log.cuts], log.moved_ms) == ([[3, 4]], None)


@given(st.lists(st.booleans(), max_size=400))
def test_however_the_link_flaps_what_is_kept_is_bounded_and_in_order(ups: list[bool]) -> None:
    log = LinkLog(0)
    for at_ms, up in enumerate(ups, 1):
        log.saw(up, at_ms)
    cuts = told(log)["cuts"]
    assert len(cuts) <= CUTS_MAX
    times = [ms for cut in cuts for ms in cut]
    assert times == sorted(times) or (cuts[-1][1] == 0 and times[:-1] == sorted(times[:-1]))
    assert (cuts[-1][1] == 0) is (ups[-1] is False) if cuts else all(ups)


def test_goodput_is_of_the_last_minute() -> None:
    good = Goodput()
    assert good.bytes_s == 0.0
    for second in range(200):
        good.saw(float(second), 1_000 * min(second, 100))
    assert good.bytes_s == 0.0
    good.saw(200.0, 160_000)
    assert good.bytes_s == 1_000.0


def test_the_way_back_is_behind_since_the_center_first_said_what_is_not_here() -> None:
    back = WayBack()
    assert back.to_json(0, 0) is None
    back.heard(1_000, 10, 10, "1.0")
    back.heard(5_000, 20, 10, "1.0")
    assert back.behind_since_ms(9, 10) == 1_000
    assert back.behind_since_ms(10, 10) == 5_000  # what came since is not late by what came before
    assert back.behind_since_ms(20, 10) is None
    back.heard(9_000, 20, 10, "1.0")
    assert back.behind_since_ms(20, 10) is None


def test_a_ledger_that_went_back_is_no_lag() -> None:
    back = WayBack()
    back.heard(1_000, 100, 100, "")
    back.heard(2_000, 50, 50, "")
    assert back.behind_since_ms(50, 50) is None


def test_a_registry_that_stands_still_is_behind_since_the_first_word_however_many_came() -> None:
    back = WayBack()
    for n in range(1, 3 * TOPS_MAX):
        back.heard(n, n, 0, "")
    assert back.behind_since_ms(0, 0) == 1
    assert back.behind_since_ms(3 * TOPS_MAX, 0) is None


def test_a_state_is_known_since_it_began() -> None:
    since = StateSince()
    assert [since.saw(*one) for one in (("ramp", 1), ("ramp", 2), ("steady", 3), (None, 4), ("ramp", 5))] == [
        1,
        1,
        3,
        None,
        5,
    ]
