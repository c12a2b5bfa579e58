"""From when on something is an alarm: the thresholds of the settings, and documents just below and above."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.center.behind import WHY_BEHIND
from pipeline.inspection.alarms import center_alarms, region_alarms
from pipeline.inspection.alarms_version import differs, older
from pipeline.inspection.running import LinkState
from pipeline.settings import AlarmsPart
from pipeline.throttle.view import State, reason_of

NOW_MS = 1_700_000_000_000
LIMITS = AlarmsPart()


def ago(seconds: float) -> int:
    return NOW_MS - int(seconds * 1000)


def lane(**changes: Any) -> dict[str, Any]:
    base = {"oldest_age_s": None, "oldest_ms": None, "not_sent": 0, "in_stream": 0, "held": ""}
    return base | changes


def region(**changes: Any) -> dict[str, Any]:
    """A region's document in which all is well, but for `changes`."""
    base: dict[str, Any] = {
        "side": "region",
        "titian": "1.2.0",
        "at_ms": NOW_MS,
        "waiting": 0,
        "dead": 0,
        "tallies": {},
        "registry": {"kept_raw": 0},
        "lanes": {"record": lane()},
        "runway": {"free_bytes": 10, "low_water_bytes": 1, "full_in_days": 400.0},
        "link": up(),
        "moved_ms": ago(1),
        "throttle": None,
        "return": None,
        "aside": 0,
        "losses": None,
        "in_doubt": False,
        "mirror": None,
        "recovery": None,
        "reconciled": None,
    }
    return base | changes


def up(**said: Any) -> dict[str, Any]:
    state = LinkState(True, {"state": "up"}, 1.0).to_json()
    return state | {"up_since_ms": ago(90_000), "center_titian": "1.2.9"} | said


def center(**changes: Any) -> dict[str, Any]:
    """A center's document in which all is well, but for `changes`."""
    base: dict[str, Any] = {
        "side": "center",
        "titian": "1.2.0",
        "at_ms": NOW_MS,
        "running": True,
        "unverdicted": 0,
        "quarantined": 0,
        "oldest_unverdicted_ms": None,
        "lost": 0,
        "counters": {},
        "restraint": None,
        "regions": [],
    }
    return base | changes


def office(code: int, **changes: Any) -> dict[str, Any]:
    base = {"region": str(code), "state": "joined", "last_seen_s": 5.0, "titian": "1.2.3", "wire": 1}
    return base | changes


def codes(document: dict[str, Any], limits: AlarmsPart = LIMITS) -> list[str]:
    alarms = region_alarms if document["side"] == "region" else center_alarms
    found = alarms(document, limits)
    for one in found:
        says_the_same_in_both(one)
    return [one["code"] for one in found]


def says_the_same_in_both(alarm: dict[str, Any]) -> None:
    """Every alarm of these tests: both languages, other words, the same numbers in each one's dress."""
    for name in ("text", "do"):
        english, indonesian = alarm[name], alarm[f"{name}_id"]
        assert english
        assert indonesian
        assert numbers(english) == numbers(indonesian), (english, indonesian)
        assert english != indonesian or english.startswith("`"), english
        assert not re.search(r"\b(the|packets|is|are|has|of|days|min|see)\b", indonesian)


def numbers(text: str) -> list[str]:
    """Those of a sentence, without the marks that each language puts into them."""
    return sorted(re.sub(r"[.,]", "", one) for one in re.findall(r"\d[\d.,]*", text))


def crowded(for_s: float) -> dict[str, Any]:
    return up(congested_since_ms=ago(for_s))


def test_where_all_is_well_nothing_stands() -> None:
    assert codes(region()) == []
    assert codes(center(regions=[office(1806)])) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"link": crowded(1_801), "throttle": {"reason": reason_of(State.YIELD, 0.2, 0.05)}}, "congested"),
        ({"link": crowded(1_801)}, "congested"),
        ({"lanes": {"record": lane(not_sent=3, oldest_ms=ago(400))}, "moved_ms": ago(301)}, "not_moving"),
        ({"lanes": {"record": lane(in_stream=3)}, "moved_ms": ago(301)}, "not_moving"),
        ({"lanes": {"record": lane(not_sent=3, oldest_ms=ago(400))}, "moved_ms": None}, "not_moving"),
        ({"return": {"lag_s": 3_601}}, "return_lag"),
        ({"link": up(center_titian="1.3.0")}, "version"),
        ({"link": up(center_titian="0.9.4")}, "version"),
        ({"link": up(clock_off_ms=-61_000)}, "clock_off"),
        ({"link": up(state="down", down_for_s=61)}, "link_down"),
        ({"lanes": {"record": lane(oldest_age_s=86_401)}}, "old"),
        ({"runway": {"free_bytes": 10, "low_water_bytes": 1, "full_in_days": 13.9}}, "runway"),
    ],
)
def test_each_ill_of_a_region_stands_beyond_its_threshold(changes: dict[str, Any], code: str) -> None:
    assert codes(region(**changes)) == [code]
    far = dict.fromkeys(
        ("old_s", "link_down_s", "congested_s", "not_moving_s", "return_lag_s", "clock_off_s"), 1e9
    )
    with_far_limits = codes(region(**changes), AlarmsPart(**far, runway_days=0))
    assert with_far_limits == ([code] if code == "version" else [])


@pytest.mark.parametrize(
    "changes",
    [
        {"link": crowded(1_700)},
        {"link": crowded(90_000) | {"state": "down", "down_for_s": 5}},
        # packets wait, but none that may go: the lane is held, the center asks to hold, it is in doubt
        {"lanes": {"record": lane(not_sent=3, oldest_ms=ago(900), held="night")}, "moved_ms": ago(900)},
        {
            "lanes": {"record": lane(not_sent=3, oldest_ms=ago(900))},
            "moved_ms": ago(900),
            "link": up(held_for_s=20.0),
        },
        # nothing moved for long, and the packet, or the link, came a moment ago
        {"lanes": {"record": lane(not_sent=1, oldest_ms=ago(5))}, "moved_ms": ago(90_000)},
        {
            "lanes": {"record": lane(not_sent=1, oldest_ms=ago(900))},
            "moved_ms": ago(90_000),
            "link": up(up_since_ms=ago(20)),
        },
        {"lanes": {"record": lane()}, "moved_ms": ago(90_000)},
        {"link": up(center_titian="")},
        {"link": up(center_titian="what?")},
        {"return": {"lag_s": 3_599}},
    ],
)
def test_what_is_no_ill_is_no_alarm(changes: dict[str, Any]) -> None:
    assert codes(region(**changes)) == []


def test_a_document_of_before_these_figures_has_no_alarm_of_them() -> None:
    old = region(lanes={"record": {"oldest_age_s": None}})
    for name in ("titian", "moved_ms", "throttle", "return"):
        del old[name]
    assert codes(old) == []


@pytest.mark.parametrize(
    ("regions", "code", "said"),
    [
        ([office(1806, last_seen_s=3_601)], "region_silent", "region 1806 has not been heard for 60 min"),
        ([office(1806, silent=True)], "region_silent", "region 1806 has not been heard"),
        ([office(1806, wire=9)], "version", "spoken by region 1806"),
        ([office(1806, titian="1.1.9")], "version", "an older Titian than 1.2.0 runs at region 1806"),
    ],
)
def test_each_ill_of_regions_stands_at_the_center(
    regions: list[dict[str, Any]], code: str, said: str
) -> None:
    (alarm,) = center_alarms(center(regions=regions), LIMITS)
    assert alarm["code"] == code
    assert said in alarm["text"]


def test_many_silent_regions_are_one_alarm_that_names_five() -> None:
    regions = [office(1800 + n, last_seen_s=9_999) for n in range(9)]
    (alarm,) = center_alarms(center(regions=regions), LIMITS)
    assert "9 regions (1800, 1801, 1802, 1803, 1804 and 4 more) have not" in alarm["text"]


def test_who_never_joined_or_was_revoked_is_not_silent_and_a_stopped_center_hears_nobody() -> None:
    away = [office(1, state="revoked", last_seen_s=9e9), office(2, state="not joined yet", last_seen_s=None)]
    assert codes(center(regions=away)) == []
    assert codes(center(running=False, regions=[office(3, last_seen_s=9e9)])) == ["not_running"]


@pytest.mark.parametrize(
    ("runway", "expected"),
    [
        ({"free_bytes": 5, "low_water_bytes": 9, "full_in_days": None}, ["disk_full"]),
        ({"free_bytes": 50, "low_water_bytes": 9, "full_in_days": 2.0}, ["runway"]),
        ({"free_bytes": 50, "low_water_bytes": 9, "full_in_days": None}, []),
        ({}, []),
        (None, []),
    ],
)
def test_the_room_of_the_ledger(runway: dict[str, Any] | None, expected: list[str]) -> None:
    assert codes(center(runway=runway)) == expected


def test_every_alarm_says_what_to_do_and_stands_once() -> None:
    ill = region(
        dead=1,
        aside=1,
        in_doubt=True,
        tallies={"lost": 1, "forks": 1},
        registry={"kept_raw": 1},
        losses={"packets": 1},
        lanes={"record": lane(oldest_age_s=9e9)},
        mirror={"failing_since_ms": ago(9), "missing": 1, "why": "EIO"},
        recovery={"why": "EIO"},
        reconciled={"at_ms": 0, "left": 1},
        link=crowded(9_999)
        | up(denied="WRONGPASS", refusal="revoked", superseded=True, clock_off_ms=9_999_999),
    )
    found = region_alarms(ill, LIMITS)
    assert len({one["code"] for one in found}) == len(found) >= 15
    for one in found:
        assert one["do"], one
        assert one["level"] in ("warn", "fail")
        assert not one["text"].endswith((".", ":"))
        says_the_same_in_both(one)


def test_the_center_says_everything_in_both_languages() -> None:
    ill = center(
        running=True,
        quarantined=1_234,
        oldest_unverdicted_ms=ago(1e6),
        lost=2,
        counters={"forks": 3},
        runway={"free_bytes": 50, "low_water_bytes": 9, "full_in_days": 2.5},
        restraint={
            "step": 2,
            "hold_s": 0.0,
            "window_bytes": 65_536,
            "why": WHY_BEHIND[0].of(n=4_500, first=9).en,
        },
        regions=[office(1800 + n, last_seen_s=9_999, titian="1.1.0") for n in range(9)],
    )
    assert len(codes(ill)) == 8
    found = {one["code"]: one for one in center_alarms(ill, LIMITS)}
    assert found["quarantine"]["text_id"] == "1.234 kiriman disisihkan"
    assert found["runway"]["text_id"] == "dengan laju ini cakram buku besar penuh dalam 2,5 hari"
    assert found["behind"]["text_id"].endswith("4.500 paket menunggu putusan, yang pertama sejak 9 dtk lalu")


@given(st.tuples(st.integers(0, 99), st.integers(0, 99)), st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_versions_are_compared_by_number(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = (f"{major}.{minor}.7.dev1" for major, minor in (one, other))
    assert older(first, second) is (one < other)
    assert differs(first, second) is (one != other)
    assert not differs(first, "unknown")
    assert not older("", second)
