"""Which region an engineer looks at first, and why."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.inspection.trouble import Limits, Trouble, for_how_long, is_older, trouble_of, worst_first

LIMITS = Limits(silent_s=3_600, old_s=86_400, runway_days=14)
HELD = {"window_bytes": None, "reason": "the night's backup", "who": "ana"}


def region(code: str = "1806", **changes: Any) -> dict[str, Any]:
    """A region in which all is well, but for `changes`; `health_...` are of its health."""
    health = {"waiting": 0, "full_in_days": None, "cuts_today": 0, "alarms": []}
    health |= {
        name.removeprefix("health_"): value for name, value in changes.items() if name[:7] == "health_"
    }
    base: dict[str, Any] = {
        "region": code,
        "state": "joined",
        "silent": False,
        "last_seen_s": 5.0,
        "announced": 0,
        "quarantined": 0,
        "dead": 0,
        "forks": 0,
        "lost": 0,
        "rebuild": None,
        "lag_s": None,
        "held": None,
        "titian": "0.2.0",
        "health": health,
    }
    return base | {name: value for name, value in changes.items() if name[:7] != "health_"}


def trouble(**changes: Any) -> Trouble:
    return trouble_of(region(**changes), LIMITS, "0.2.0")


def test_where_all_is_well_there_is_no_trouble_and_no_word() -> None:
    assert trouble() == (0, ("", ""))
    assert trouble(health=None, titian="", lag_s=600.0) == (0, ("", ""))


IN_ORDER: list[tuple[dict[str, Any], str]] = [
    (
        {"silent": True, "last_seen_s": 9_000.0, "announced": 312},
        "not heard for 2 h, and 312 packets wait there",
    ),
    ({"silent": True, "last_seen_s": 90_000.0}, "not heard for 25 h"),
    ({"silent": True, "last_seen_s": None}, "never heard"),
    ({"health_alarms": ["disk_full"]}, "its disk is too full to take packets"),
    ({"health_full_in_days": 1}, "its disk is full in about 1 days"),
    ({"quarantined": 2}, "2 frames of it were kept aside"),
    ({"dead": 1_200}, "1,200 of its packets were refused"),
    (
        {"rebuild": {"state": "running", "opened_ms": None}},
        "its records come back after a loss, and it is not open for service yet",
    ),
    ({"lag_s": 200_000.0}, "its oldest packet has waited for 2 days"),
    ({"health_full_in_days": 9}, "its disk is full in about 9 days"),
    ({"lag_s": 7_300.0}, "its oldest packet has waited for 2 h"),
    ({"health_alarms": ["clock_off", "old"]}, "it has alarms of its own: clock_off"),
    ({"health_cuts_today": 11}, "its link was cut 11 times today"),
    ({"held": HELD}, "it is held by ana: the night's backup"),
    ({"forks": 1}, "1 of its packets came with other contents than before"),
    ({"lost": 1}, "1 of its packets were lost with a disk"),
    ({"titian": "0.1.9"}, "it runs Titian 0.1.9, the center 0.2.0"),
]


@pytest.mark.parametrize(("changes", "why"), IN_ORDER, ids=[why for _, why in IN_ORDER])
def test_each_trouble_has_its_sentence(changes: dict[str, Any], why: str) -> None:
    said = trouble(**changes).why
    assert said.en == why
    assert said.id not in ("", said.en)
    assert re.findall(r"\d+", said.id) == re.findall(r"\d+", said.en)


def test_they_come_in_the_order_in_which_one_looks() -> None:
    found = [trouble(**changes).trouble for changes, _ in IN_ORDER]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_of_several_troubles_the_most_pressing_is_said() -> None:
    every: dict[str, Any] = {}
    for changes, why in reversed(IN_ORDER[1:]):
        every |= changes
        assert trouble(**every).why.en == why or why in ("never heard", "its disk is full in about 1 days")


def test_within_one_kind_the_larger_comes_first_and_never_leaves_its_kind() -> None:
    few, many, most = (trouble(dead=n).trouble for n in (3, 3_000, 10**15))
    assert few < many < most < trouble(quarantined=1).trouble
    assert trouble(health_full_in_days=3).trouble > trouble(health_full_in_days=10).trouble


@pytest.mark.parametrize("state", ["revoked", "not joined yet", "joining anew"])
def test_a_region_that_is_not_in_use_is_in_no_trouble_and_stands_last(state: str) -> None:
    gone = region("1801", state=state, silent=True, dead=9)
    assert trouble_of(gone, LIMITS, "0.2.0") == (0, ("", ""))
    rows = [gone | {"trouble": 0}, region("1802") | {"trouble": 0}, region("1803") | {"trouble": 600}]
    assert [one["region"] for one in worst_first(rows)] == ["1803", "1802", "1801"]


def test_a_window_that_is_lowered_is_said_so() -> None:
    assert trouble(held={"window_bytes": 65_536, "reason": "", "who": ""}).why.en == (
        "it may send only a little at a time"
    )


@pytest.mark.parametrize(
    ("theirs", "ours", "older"),
    [
        ("0.1.0", "0.2.0", True),
        ("0.9.0", "0.10.0", True),
        ("0.2.0", "0.2.0", False),
        ("0.3.0", "0.2.0", False),
        ("", "0.2.0", False),
        ("0.2.0", "", False),
        ("0.2.0+local7", "0.2.0", False),
    ],
)
def test_versions_are_compared_as_versions(theirs: str, ours: str, older: bool) -> None:
    assert is_older(theirs, ours) is older


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (86_400, "24 h"),
        (172_800, "2 days"),
    ],
)
def test_a_time_is_said_in_one_unit(seconds: float, said: str) -> None:
    assert for_how_long(seconds) == said
