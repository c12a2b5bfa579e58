"""What the center's document of `depth` says of each region: its own words, lag, who holds it, trouble."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.center.holding import Hold
from pipeline.inspection.depth_center import center_depth
from pipeline.inspection.trouble import Limits
from schemas.messages import Health
from tests.unit.ledger_rig import REGION, TOKEN, Rig, packet
from workers.cli_depth_text import depth_text
from workers.cli_regions_text import regions_text

HEALTH = Health(
    waiting=312,
    waiting_kib=41_000,
    oldest_s=3_600,
    eta_s=840,
    rtt_ms=640,
    base_ms=600,
    goodput_bytes_s=30_000,
    cuts_today=3,
    alarms=["clock_off"],
    disturbed=["sending"],
)


def say(rig: Rig, health: Health | None = HEALTH, **fields: Any) -> None:
    """The region speaks."""
    rig.region.send_control(rig.want(health=health, **fields))
    rig.intake.step(REGION)


def depth(rig: Rig, **changes: Any) -> dict[str, Any]:
    return center_depth(
        rig.ledger.reader, running=True, now_ms=rig.clock.ms, **({"titian": "0.2.0"} | changes)
    )


def region(rig: Rig, code: str = REGION) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in depth(rig)["regions"] if one["region"] == code)
    return found


# --- its own words ----------------------------------------------------------------------------------


def test_a_regions_own_words_are_told_with_their_age(rig: Rig) -> None:
    say(rig, titian="0.2.0")
    heard_ms = rig.clock.ms
    rig.clock.ms += 20_000
    found = region(rig)
    assert found["health"] == {
        "waiting": 312,
        "waiting_bytes": 41_000 * 1024,
        "oldest_ms": heard_ms - 3_600_000,
        "eta_s": 840,
        "dead": 0,
        "full_in_days": None,
        "rtt_ms": 640,
        "base_ms": 600,
        "goodput_bytes_s": 30_000,
        "cuts_today": 3,
        "alarms": ["clock_off"],
        "disturbed": ["sending"],
        "age_s": 20.0,
    }
    assert (found["titian"], found["wire"]) == ("0.2.0", 1)


def test_a_region_that_says_nothing_of_itself_has_no_health(rig: Rig) -> None:
    assert (region(rig)["health"], region(rig)["titian"], region(rig)["wire"]) == (None, "", None)
    say(rig, health=None)
    assert (region(rig)["health"], region(rig)["lag_s"]) == (None, None)


def test_a_health_of_zeros_says_so_and_nothing_else(rig: Rig) -> None:
    say(rig, health=Health())
    health = region(rig)["health"]
    assert (health["waiting"], health["oldest_ms"], health["rtt_ms"], health["eta_s"]) == (
        0,
        None,
        None,
        None,
    )


# --- its lag ----------------------------------------------------------------------------------------


def test_the_lag_is_the_age_of_the_oldest_packet_wherever_it_is(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    rig.clock.ms += 30_000
    assert region(rig)["lag_s"] == 30.0
    say(rig)
    assert region(rig)["lag_s"] == 3_600.0
    say(rig, health=Health())
    assert region(rig)["lag_s"] == 30.0
    while rig.validate().packets:
        pass
    assert region(rig)["lag_s"] is None


# --- who is silent, who is held -----------------------------------------------------------------------


def test_a_region_is_silent_once_it_was_not_heard_for_so_long(rig: Rig) -> None:
    say(rig)
    rig.clock.ms += 3_600_000
    assert (region(rig)["silent"], depth(rig)["silent"]) == (False, 0)
    rig.clock.ms += 1
    assert (region(rig)["silent"], depth(rig)["silent"]) == (True, 1)
    assert region(rig)["trouble_why"] == "not heard for 60 min, and 312 packets wait there"
    assert depth(rig, limits=Limits(silent_s=9_000))["silent"] == 0


def test_a_region_that_has_not_joined_or_is_shut_out_is_not_silent(rig: Rig) -> None:
    rig.ledger.admit("3201", TOKEN, 1)
    rig.ledger.revoke(REGION, 5)
    assert [(one["silent"], one["trouble"]) for one in depth(rig)["regions"]] == [(False, 0), (False, 0)]


def test_a_hold_is_shown_while_it_lasts(rig: Rig) -> None:
    rig.ledger.hold(REGION, Hold(None, 60.0, rig.clock.ms + 5_000, "a backup", "ana", 7), 7)
    assert region(rig)["held"] == {
        "window_bytes": None,
        "hold_s": 5.0,
        "until_ms": rig.clock.ms + 5_000,
        "reason": "a backup",
        "who": "ana",
        "at_ms": 7,
    }
    assert depth(rig)["held"] == 1
    rig.clock.ms += 5_000
    assert (region(rig)["held"], depth(rig)["held"]) == (None, 0)


def test_where_the_center_asks_all_to_hold_all_that_joined_are_held(rig: Rig) -> None:
    rig.ledger.admit("3201", TOKEN, 1)
    restraint = {"window_bytes": 65_536, "hold_s": 60.0, "step": 8, "why": "behind"}
    assert depth(rig, restraint=restraint)["held"] == 1
    assert depth(rig, restraint=restraint | {"hold_s": 0.0, "step": 2})["held"] == 0


# --- all of them ------------------------------------------------------------------------------------


def test_the_versions_that_run_are_counted(rig: Rig) -> None:
    say(rig, titian="0.1.0")
    rig.ledger.admit("3201", TOKEN, 1)
    assert depth(rig)["versions"] == {"0.1.0": 1}
    assert region(rig)["trouble_why"] == "it has alarms of its own: clock_off"
    assert (depth(rig)["titian"], depth(rig)["ages"]) == ("0.2.0", {"counts": 0.0})


def test_one_region_alone_says_what_it_says_among_all(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    rig.other_region("3201", {1: packet(31), 2: packet(32)})
    alone = depth(rig, only="3201")
    assert alone["regions"] == [region(rig, "3201")]
    assert (alone["received"], alone["unverdicted"]) == (2, 2)
    assert depth(rig)["received"] == 3


@pytest.mark.parametrize("hostile", ["\x1b[2J", "x\ny", "\u202e"], ids=["escape", "line", "right to left"])
def test_text_from_elsewhere_is_shown_harmless(rig: Rig, hostile: str) -> None:
    say(rig, titian=f"0.1{hostile}", health=HEALTH.model_copy(update={"alarms": [f"x{hostile}"]}))
    rig.ledger.hold(REGION, Hold(None, 60.0, None, hostile, hostile, 7), 7)
    assert hostile not in depth_text(depth(rig))


def test_the_table_puts_the_region_in_trouble_first(rig: Rig) -> None:
    rig.other_region("1101", {1: packet(31)})
    say(rig, titian="0.2.0")
    rig.clock.ms += 20_000
    shown = regions_text(depth(rig)["regions"]).splitlines()
    assert [line.split()[0] for line in shown] == ["region", REGION, "1101"]
    assert "  312   1 h  30 kB/s, 640/600 ms, 3 cuts  20 s ago    0.2.0    its oldest packet has" in shown[1]
