"""A region's document of `depth`: it costs the same however much waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import create_registry
from pipeline.inspection.depth import region_depth
from pipeline.inspection.depth_parts import Around
from pipeline.inspection.running import LinkState, link_state
from pipeline.throttle.steering import Cap, Pause, Steering
from schemas.lanes import Lane
from tests.unit.outbox_rig import draft, new_outbox


def steps_of(folder: Path, packets: int) -> int:
    """Steps of SQLite's machine that one look takes, in hundreds."""
    folder.mkdir()
    outbox = new_outbox(folder)
    create_registry(folder, 1)
    outbox.take([draft(n) for n in range(packets)], 1)
    outbox.close()
    reader, registry, steps = OutboxReader(folder), RegistryReader(folder), [0]

    def count() -> bool:
        steps[0] += 1
        return False

    reader._database.db.set_progress_handler(count, 100)
    found = region_depth(reader, registry, LinkState(False), now_ms=9_000, free_bytes=1, low_water_bytes=0)
    reader.close()
    registry.close()
    assert found["waiting"] == packets
    return steps[0]


def test_a_look_costs_the_same_however_much_waits(tmp_path: Path) -> None:
    assert steps_of(tmp_path / "many", 3_000) <= steps_of(tmp_path / "few", 3) + 2


NOW_MS = 1_800_000_000_000
VIEW = {
    "state": "yield",
    "reason": "others use the link: 80 ms of queue, 50 ms are ours",
    "since_ms": NOW_MS - 7_000,
    "window_bytes": 28_960,
    "rate_bytes_s": 9_000.0,
    "rtt_s": 0.18,
    "base_s": 0.1,
    "queue_s": 0.08,
    "target_s": 0.05,
    "losses": 2,
    "by_answers": False,
}
SAID: dict[str, Any] = {
    "at_ms": NOW_MS - 1_500,
    "state": "up",
    "since_ms": NOW_MS - 60_000,
    "up_since_ms": NOW_MS - 60_000,
    "goodput_bytes_s": 8_500.0,
    "throttle": VIEW,
    "level": {**VIEW, "state": "steady"},
    "center": {"ack_ms": NOW_MS - 4_000, "facts_top": 9, "records_top": 12, "titian": "0.1.0"},
}


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """The document of an empty region, by what its worker said and what people asked for."""
    new_outbox(tmp_path).close()
    create_registry(tmp_path, 1)

    def document(said: dict[str, Any], around: Around | None = None, running: bool = True) -> dict[str, Any]:
        link = link_state(running, said, NOW_MS)
        stores = OutboxReader(tmp_path), RegistryReader(tmp_path)
        return region_depth(
            *stores, link, now_ms=NOW_MS, free_bytes=1, low_water_bytes=0, around=around or Around()
        )

    return document


def test_the_throttle_and_the_link_are_shown_as_the_worker_says_in_milliseconds(look: Any) -> None:
    found = look(SAID)
    shown = ("state", "reason", "rtt_ms", "base_ms", "queue_ms", "target_ms", "window_bytes", "losses")
    assert [found["throttle"][name] for name in shown] == [
        "yield", VIEW["reason"], 180.0, 100.0, 80.0, 50.0, 28_960, 2,
    ]  # fmt: skip
    link = found["link"]
    assert (link["state"], link["rtt_ms"], link["base_ms"], link["goodput_bytes_s"]) == (
        "up",
        180.0,
        100.0,
        8500.0,
    )
    assert link["up_since_ms"] == NOW_MS - 60_000
    assert found["way_back"]["state"] == "steady"


def test_every_figure_says_how_old_it_is(look: Any) -> None:
    ages = look(SAID, Around(seen_ms=NOW_MS - 9_000))["ages"]
    assert ages == {
        "counts": 0.0, "link": 1.5, "throttle": 1.5, "history": 9.0, "center": 4.0, "reconciled": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "running"),
    [({**SAID, "at_ms": NOW_MS - 60_000}, True), (SAID, False), ({}, True)],
    ids=["said long ago", "not running", "never said"],
)
def test_what_does_not_hold_any_more_is_null_and_not_the_last_that_was_known(
    look: Any, said: dict[str, Any], running: bool
) -> None:
    found = look(said, running=running)
    assert found["throttle"] is None
    assert found["way_back"] is None
    assert [found["link"][name] for name in ("rtt_ms", "base_ms", "goodput_bytes_s", "since_ms")] == [
        None
    ] * 4


def test_a_way_back_that_is_down_has_no_throttle_that_would_hold(look: Any) -> None:
    assert look({**SAID, "state": "down", "up_since_ms": None})["way_back"] is None


def test_the_return_is_behind_by_what_the_last_ack_knew_more(look: Any) -> None:
    found = look(SAID)["return"]
    assert (found["facts_behind"], found["records_behind"], found["lag_s"]) == (9, 12, 4.0)


def test_pauses_and_caps_stand_with_who_and_why(look: Any) -> None:
    asked = Steering(
        (Pause(Lane.BIOMETRIC, "office hours", "siti", 5),), (Cap(None, 1_000.0, reason="shared", who="adi"),)
    )
    found = look(SAID, Around(steering=asked))
    assert found["pauses"] == [{"lane": "biometric", "reason": "office hours", "who": "siti", "at_ms": 5}]
    assert [(one["lane"], one["bytes_s"], one["who"]) for one in found["caps"]] == [(None, 1_000.0, "adi")]
    assert found["cap_bytes_s"] == 3_000.0
    assert "siti" in found["lanes"]["biometric"]["held"]
