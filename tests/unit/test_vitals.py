"""How a region is, in its wants: few bytes, never a want more, and nothing that is old or broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.health_file import NAME, HealthFile
from pipeline.region.vitals import ALARMS_MAX, STALE_S, Vitals, health_of
from pipeline.testing.clock import ManualClock
from schemas.frame import Header, Kind, seal_frame
from schemas.lanes import Lane
from schemas.messages import Health, Since, Want, pack_message, unpack_message
from tests.unit.ledger_rig import CENTER_KEY, EPOCH, REGION, REGION_KEY
from workers.watch_health import WRITE_MS, HealthPart

WANT = Want(
    n=1_234,
    instance="0123456789abcdef",
    grant=3,
    session=17,
    epoch=EPOCH,
    highest_seq=45_123,
    clock_ms=1_767_229_300_000,
    facts=45_000,
    records=40_211,
    history=[Since(incarnation="9f3c2a1b9f3c2a1b", facts=4, records=5)],
    level=65_536,
    titian="0.1.0",
)
DOCUMENT: dict[str, Any] = {
    "at_ms": 1_767_229_300_000,
    "waiting": 312,
    "waiting_bytes": 41_987_654,
    "oldest_ms": 1_767_225_700_000,
    "eta_s": 841.7,
    "dead": 0,
    "runway": {"full_in_days": 120.4},
    "link": {"rtt_ms": 641.3, "base_ms": 600.1, "goodput_bytes_s": 29_876.5, "cuts_today": 3},
    "alarms": [],
}
USUAL = Health(
    waiting=312,
    waiting_kib=41_000,
    oldest_s=3_600,
    eta_s=841,
    full_in_days=120,
    rtt_ms=641,
    base_ms=600,
    goodput_bytes_s=29_900,
    cuts_today=3,
)


def sealed_bytes(want: Want) -> int:
    """What a want takes on the link."""
    header = Header(Kind.WANT, REGION, EPOCH, REGION_KEY.id, CENTER_KEY.id, Lane.CONTROL, (), dictionary=0)
    return len(seal_frame(header, pack_message(want), ours=REGION_KEY, theirs=CENTER_KEY.public))


@pytest.fixture
def file(tmp_path: Path) -> HealthFile:
    return HealthFile(tmp_path, ManualClock())


# --- in few words -----------------------------------------------------------------------------------


def test_a_document_of_depth_in_few_words() -> None:
    assert health_of(DOCUMENT, []) == USUAL


def test_a_document_that_knows_next_to_nothing_has_a_health() -> None:
    assert health_of({"at_ms": 5}, []) == Health()


def test_what_nobody_waits_for_has_neither_age_nor_time() -> None:
    found = health_of(DOCUMENT | {"waiting": 0, "waiting_bytes": 0, "oldest_ms": None, "eta_s": 0.0}, [])
    assert (found.oldest_s, found.eta_s, found.waiting_kib) == (0, None, 0)


def test_a_round_trip_below_a_millisecond_is_one_and_none_is_none() -> None:
    found = health_of(DOCUMENT | {"link": {"rtt_ms": 0.2, "base_ms": None}}, [])
    assert (found.rtt_ms, found.base_ms) == (1, 0)


def test_where_no_time_can_be_given_none_is() -> None:
    assert health_of(DOCUMENT | {"eta_s": None}, []).eta_s is None
    assert health_of(DOCUMENT | {"runway": {"full_in_days": 5_000.0}}, []).full_in_days is None
    assert health_of(DOCUMENT | {"runway": {"full_in_days": None}}, []).full_in_days is None


def test_the_worst_alarms_go_and_not_more_than_a_few() -> None:
    mild = [{"code": f"mild{n}", "level": "warn"} for n in range(9)]
    found = health_of(DOCUMENT | {"alarms": [*mild, {"code": "dead", "level": "fail"}]}, ["sending"])
    assert found.alarms == ["dead", "mild0", "mild1", "mild2", "mild3", "mild4"]
    assert (len(found.alarms), found.disturbed) == (ALARMS_MAX, ["sending"])


def test_figures_of_any_size_fit() -> None:
    huge = {
        "waiting": 2**70,
        "waiting_bytes": 2**80,
        "dead": 2**64,
        "eta_s": 1e300,
        "alarms": [{"code": "x" * 99}],
    }
    found = health_of(DOCUMENT | huge | {"link": {"rtt_ms": -5.0, "goodput_bytes_s": 1e200}}, [])
    assert unpack_message(Want, pack_message(WANT.model_copy(update={"health": found}))).health == found


@pytest.mark.parametrize(
    ("alarms", "disturbed", "bytes_max"),
    [
        ([], [], 50),
        (["runway", "dead"], ["sending"], 90),
        (["congested", "clock_off", "old"], ["recording"], 120),
    ],
    ids=["well", "two alarms", "three alarms"],
)
def test_it_costs_few_bytes_of_a_want(alarms: list[str], disturbed: list[str], bytes_max: int) -> None:
    told = health_of(DOCUMENT | {"alarms": [{"code": code} for code in alarms], "dead": 12}, disturbed)
    assert sealed_bytes(WANT.model_copy(update={"health": told})) - sealed_bytes(WANT) <= bytes_max


# --- in a want --------------------------------------------------------------------------------------


def test_what_was_written_goes_with_the_want_and_causes_none(file: HealthFile) -> None:
    vitals = Vitals(file)
    assert vitals.ask(WANT) == WANT, "nothing was written"
    file.write(USUAL)
    assert vitals.ask(WANT) == WANT.model_copy(update={"health": USUAL})
    assert (vitals.news(), vitals.holds()) == (False, "")


@pytest.mark.parametrize("off_s", [STALE_S + 1, -STALE_S - 1])
def test_what_is_old_is_not_said(file: HealthFile, off_s: float) -> None:
    file.write(USUAL)
    file.clock.wall_ms += int(off_s * 1000)  # type: ignore[attr-defined]
    assert Vitals(file).ask(WANT) == WANT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2, "at_ms": 1, "health": {}}',
        '{"version": 1, "at_ms": "x", "health": {}}',
        '{"version": 1, "at_ms": NOW, "health": {"waiting": -1}}',
        '{"version": 1, "at_ms": NOW, "health": {"waiting": "9"}}',
        '{"version": 1, "at_ms": NOW, "health": {"alarms": ["' + "x" * 9_000 + '"]}}',
        "\xff\xfe",
    ],
    ids=lambda text: text[:48],
)
def test_a_file_that_does_not_read_says_nothing(file: HealthFile, text: str) -> None:
    now = text.replace("NOW", str(file.clock.now_ms()))
    (file.run / NAME).write_bytes(now.encode("latin-1"))
    assert Vitals(file).ask(WANT) == WANT


# --- the watching process ---------------------------------------------------------------------------


def test_it_is_written_every_ten_seconds_and_for_nobody_else(file: HealthFile) -> None:
    part = HealthPart(file, lambda now_ms: ["sending"] if now_ms > 1_767_229_300_000 else [])
    path = file.run / NAME
    part.saw(DOCUMENT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.read() == USUAL
    part.saw(DOCUMENT | {"at_ms": DOCUMENT["at_ms"] + WRITE_MS - 1, "waiting": 9})
    assert file.read() == USUAL
    part.saw(DOCUMENT | {"at_ms": DOCUMENT["at_ms"] + WRITE_MS, "waiting": 9})
    read = file.read()
    assert read is not None
    assert (read.waiting, read.disturbed) == (9, ["sending"])
    part.saw(DOCUMENT | {"at_ms": DOCUMENT["at_ms"] - 1, "waiting": 8})  # the clock was set back
    read = file.read()
    assert read is not None
    assert read.waiting == 8
    part.saw(
        DOCUMENT | {"at_ms": DOCUMENT["at_ms"] + 999, "waiting": 0}
    )  # what changes much is written at once
    read = file.read()
    assert read is not None
    assert read.waiting == 0
    assert set(json.loads(path.read_text())) == {"version", "at_ms", "health"}
