"""Why a packet waits, in one sentence with numbers; and where each step of its history was."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.outbox_reader import Amount, Event, Found
from pipeline.inspection.places import history_json, place_of
from pipeline.inspection.running import LinkState
from pipeline.inspection.why_waits import packet_eta_s, size, span, waiting_sentence
from pipeline.lifecycle import Place
from schemas.identity import PacketId
from schemas.lanes import Lane

NOW_MS = 1_700_000_040_000
UP = LinkState(True, {"state": "up"}, 0.5)
PACKET = Found(
    PacketId("1806", "aaaaaa", 9),
    Lane.BIOMETRIC,
    "enrolment",
    1_000_000,
    b"",
    NOW_MS - 1_000,
    None,
    None,
    (),
    Place.WAITING,
    "BIO_CAPTURED",
)
BEFORE = Amount(312, 41_000_000)


def depth(eta_s: float | None = None, **lane: Any) -> dict[str, Any]:
    whole = {"waiting_bytes": 84_000_000, "eta_s": eta_s, "held": "", "opens_ms": None} | lane
    return {"lanes": {"biometric": whole}, "pauses": [], "throttle": {"reason": "others use the link"}}


def why(document: dict[str, Any] | None, link: LinkState = UP, before: Amount = BEFORE) -> str:
    return waiting_sentence("it waits", PACKET, before, link, document, NOW_MS)


def test_a_lane_that_the_timetable_closes_says_when_it_opens_and_how_long_it_takes_then() -> None:
    opens_ms = NOW_MS + 3_600_000
    said = why(depth(3_600.0 + 1_680.0, held="lane biometric is closed", opens_ms=opens_ms))
    assert said.startswith("lane biometric opens at ")
    assert said.endswith("; 312 packets and 41 MB before it; about 14 min at this rate")
    assert "the link" not in said


def test_a_lane_that_people_paused_says_who_since_when_and_no_time() -> None:
    document = depth(held="lane biometric is paused by ana (maintenance)")
    document["pauses"] = [{"lane": None, "reason": "maintenance", "who": "ana", "at_ms": NOW_MS - 60_000}]
    said = why(document)
    assert said.startswith("lane biometric is paused by ana (maintenance) since ")
    assert said.endswith("; 312 packets and 41 MB before it")


def test_a_lane_that_goes_says_how_the_link_stands_and_the_throttles_reason() -> None:
    assert why(depth(84.0)) == (
        "it waits in lane biometric; 312 packets and 41 MB before it; the link is up and sends; "
        "throttle: others use the link; about 42 s at this rate"
    )
    assert "nothing is before it" in why(depth(), before=Amount())
    assert "; 1 packet and 7 B before it" in why(depth(), before=Amount(1, 7))


def test_while_the_link_is_down_it_is_said_whatever_holds_the_lane() -> None:
    down = LinkState(True, {"state": "down", "down_for_s": 90.0}, 0.5)
    assert "the link has been down for 90 s" in why(depth(held="lane biometric is paused by ana"), down)
    assert "this side is not running" in why(None, LinkState(False))


def test_a_packet_is_through_when_what_lies_before_it_and_itself_are() -> None:
    lane = {"eta_s": 100.0, "waiting_bytes": 1_000}
    assert packet_eta_s(lane, 500, NOW_MS) == 50.0
    assert packet_eta_s(lane, 5_000, NOW_MS) == 100.0
    assert packet_eta_s(lane | {"opens_ms": NOW_MS + 60_000}, 500, NOW_MS) == 20.0
    assert packet_eta_s({"eta_s": None, "waiting_bytes": 1_000}, 500, NOW_MS) is None
    assert packet_eta_s({}, 500, NOW_MS) is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (41_000_000, "41 MB"), (999_600, "1 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "1 s"), (89, "89 s"), (840, "14 min"), (7_200, "2 h"), (259_200, "3 days")]
)
def test_times_are_about(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_each_step_has_its_place() -> None:
    steps = ["enqueued", "sent", "requeued", "RECEIVED_AT_CENTRAL", "PRINT_READY_RECORD", "REFUSED", "pruned"]
    assert [place_of(one) for one in steps] == [
        "office outbox",
        "link",
        "link",
        "center ledger",
        "center validation",
        "center ledger",
        "office outbox",
    ]


def test_a_history_of_which_the_beginning_is_forgotten_begins_with_when_it_was_recorded() -> None:
    (first, second) = history_json(5, [Event(9, 70, "sent", ((1, 2),), "1-1")])
    assert (first["what"], first["at_ms"], first["place"]) == ("recorded", 5, "office outbox")
    assert (second["what"], second["detail"], second["place"]) == ("sent", "1-1", "link")
    assert len(history_json(5, [Event(1, 5, "enqueued", ((1, 2),), "")])) == 1
