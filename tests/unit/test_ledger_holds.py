"""A person holds a region: kept with who and why, told to the region in its acks, over by itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_feed import Standing
from pipeline.adapters.ledger_holds import holds
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import EVENT, HOLD, SETTING
from pipeline.center.acks import ack_of
from pipeline.center.behind import Restraint
from pipeline.center.holding import Hold, in_words
from pipeline.ports import DownHint
from schemas.messages import HOLD_WHY_CHARS_MAX, Ack, Announced, Since, Want, pack_message, unpack_message
from tests.unit.ledger_rig import REGION, Rig

NIGHT = Hold(None, 60.0, 10_000, "the night's backup", "ana", 1_000)
STANDING = Standing(
    REGION,
    1,
    "i",
    1,
    "k3v9qa",
    0,
    0,
    1_000_000,
    want=Want(
        n=1,
        instance="i",
        grant=1,
        session=1,
        epoch="k3v9qa",
        highest_seq=0,
        clock_ms=0,
        facts=0,
        records=0,
        level=1,
    ),
    since=(Since(incarnation="a"),),
)


def told(hold: Hold | None, all_get: Restraint | None = None, now_ms: int = 5_000) -> Ack:
    """What the region is told."""
    standing = replace(STANDING, hold=hold)
    ack = ack_of(standing, DownHint(1, 0, 0, 0, -1), Announced(), None, all_get, now_ms, "")
    assert unpack_message(Ack, pack_message(ack)) == ack
    return ack


def held(rig: Rig) -> dict[str, Hold]:
    """What is kept."""
    with closing(open_store(rig.place, look_only=True)) as store, store.read() as connection:
        return holds(connection)


def went_back_to_version_4(rig: Rig) -> None:
    """What version 5 of the layout added, taken away again."""
    rig.ledger.close()
    with closing(open_store(rig.place)) as store, store.write() as connection:
        HOLD.drop(connection)
        connection.execute(SETTING.update().where(SETTING.c.name == "schema").values(value=4))


# --- what is kept -----------------------------------------------------------------------------------


def test_a_hold_is_kept_with_who_and_why_and_goes_when_it_is_released(rig: Rig) -> None:
    assert rig.ledger.hold(REGION, NIGHT, 1_000)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert (standing.hold, held(rig)) == (NIGHT, {REGION: NIGHT})
    lower = Hold(65_536, 0.0, None, "a slow line", "budi", 2_000)
    assert rig.ledger.hold(REGION, lower, 2_000)
    assert held(rig) == {REGION: lower}
    assert rig.ledger.hold(REGION, None, 3_000)
    assert held(rig) == {}


def test_a_region_that_is_not_there_is_not_held(rig: Rig) -> None:
    assert not rig.ledger.hold("9999", NIGHT, 1_000)
    assert not rig.ledger.hold("9999", None, 1_000)
    assert held(rig) == {}


def test_the_regions_history_says_that_it_was_held_and_neither_who_nor_why(rig: Rig) -> None:
    rig.ledger.hold(REGION, NIGHT, 1_000)
    rig.ledger.hold(REGION, None, 2_000)
    with closing(open_store(rig.place, look_only=True)) as store, store.read() as connection:
        events = select(EVENT.c.at_ms, EVENT.c.what, EVENT.c.detail).where(EVENT.c.region == REGION)
        rows = [tuple(row) for row in connection.execute(events.order_by(EVENT.c.id))]
    assert rows[-2:] == [(1_000, "held", ""), (2_000, "released", "")]


def test_a_ledger_of_version_4_is_read_and_brought_over_with_its_windows(rig: Rig) -> None:
    rig.ledger.set_window(REGION, 65_536, hold_s=60.0)
    went_back_to_version_4(rig)
    assert held(rig) == {REGION: Hold(65_536, 60.0)}, "it can be looked at before it is brought over"
    rig.ledger = SqlLedger(rig.place)
    assert held(rig) == {REGION: Hold(65_536, 60.0)}
    assert rig.ledger.hold(REGION, NIGHT, 1_000)
    assert held(rig) == {REGION: NIGHT}


# --- what the region is told ------------------------------------------------------------------------


def test_who_holds_and_why_is_told_and_the_window_stays() -> None:
    ack = told(NIGHT)
    assert (ack.window_bytes, ack.hold_s, ack.hold_why) == (1_000_000, 5.0, "the night's backup (ana)")


def test_no_ack_asks_to_hold_longer_than_the_hold_lasts() -> None:
    assert told(NIGHT._replace(until_ms=None)).hold_s == 60.0
    assert told(NIGHT._replace(until_ms=6_500)).hold_s == 1.5


@pytest.mark.parametrize("now_ms", [10_000, 10_001, 10**12])
def test_a_hold_is_over_at_its_time(now_ms: int) -> None:
    ack = told(NIGHT._replace(window_bytes=4_096), now_ms=now_ms)
    assert (ack.window_bytes, ack.hold_s, ack.hold_why) == (1_000_000, 0.0, "")


def test_the_stricter_of_a_person_and_the_center_counts() -> None:
    behind = Restraint(70_000, 45.0, 8, "9,000 packets wait for a verdict")
    ack = told(Hold(65_536, reason="a slow line", who="budi"), behind)
    assert (ack.window_bytes, ack.hold_s, ack.hold_why) == (65_536, 45.0, "a slow line (budi)")
    ack = told(Hold(900_000), behind)
    assert (ack.window_bytes, ack.hold_s) == (70_000, 45.0)
    assert ack.hold_why == "the center is behind: 9,000 packets wait for a verdict"
    assert told(None).hold_why == ""


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (Hold(None, 60.0, reason="x" * 300, who="ana"), "x" * (HOLD_WHY_CHARS_MAX - 1) + "…"),
        (Hold(None, 60.0, reason="red\x1b[31m\nline", who="a\tb"), "red[31m line (a b)"),
        (Hold(None, 60.0), ""),
    ],
    ids=["long", "hostile", "unknown"],
)
def test_what_is_told_is_short_and_harmless(hold: Hold, words: str) -> None:
    assert in_words(hold) == words
    assert told(hold).hold_why == words


def test_an_older_region_passes_over_who_holds() -> None:
    said: dict[str, Any] = told(NIGHT).model_dump(exclude={"hold_why"})
    assert told(NIGHT).model_copy(update={"hold_why": ""}) == Ack(**said)
