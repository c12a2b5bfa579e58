"""What holds frames back, and what of it holds urgent ones."""

from __future__ import annotations

import pytest

from pipeline.ports import EntryId, Sent
from pipeline.region.flights import Flights
from pipeline.region.holds import URGENT_BEYOND_BYTES, Holds
from pipeline.region.pushed import PushSettings
from pipeline.region.speaker import Speaker
from pipeline.throttle import State, ThrottleView
from schemas.lanes import Lane

AIM = 1_000
SETTINGS = PushSettings(frame_bytes=AIM, link_window_bytes=3_000)


@pytest.fixture
def holds() -> Holds:
    speaker = Speaker(instance="me", window_bytes=10_000, session=1)
    return Holds(speaker, Flights(), SETTINGS)


def sends(holds: Holds, lane: Lane, frame_bytes: int, *, accepted: bool = False) -> None:
    n = len(holds.flights) + 1
    entry = EntryId(1, n)
    holds.flights.add(Sent(entry, lane, ((n, n + 1),), None, frame_bytes), frame_bytes, 1)
    if accepted:
        holds.flights.accept(entry)


def whys(holds: Holds, now_s: float = 5.0) -> tuple[str, str]:
    """Of `up` and of `ctl`."""
    return holds.why(now_s, AIM, None), holds.why_urgent(now_s, AIM)


def test_nothing_holds_either_where_nothing_is_on_its_way(holds: Holds) -> None:
    assert whys(holds) == ("", "")


def test_without_a_session_or_when_refused_nothing_goes(holds: Holds) -> None:
    holds.speaker.refusal = "key_revoked"
    assert whys(holds) == ("refused", "refused")
    holds.speaker.refusal, holds.speaker.session = "", 0
    assert whys(holds) == ("no session", "no session")


def test_a_broker_without_memory_holds_both_and_only_for_a_time(holds: Holds) -> None:
    holds.full_until_s = 5.5
    assert whys(holds) == ("the center's broker is full",) * 2
    assert whys(holds, 5.5) == ("", "")


def test_a_hold_of_the_center_a_loss_in_up_and_both_windows_do_not_hold_urgent_ones(holds: Holds) -> None:
    holds.speaker.hold_until_s = 6.0
    assert whys(holds) == ("held by the center", "")
    holds.speaker.hold_until_s, holds.lost_until_s = 0.0, 6.0
    assert whys(holds) == ("paused after a loss", "")
    holds.lost_until_s = 0.0
    sends(holds, Lane.BIOMETRIC, 3_000)
    assert whys(holds) == ("link window", "")
    holds.flights.accept(EntryId(1, 1))
    sends(holds, Lane.BIOMETRIC, 7_000, accepted=True)
    assert whys(holds) == ("receipt window", "")


def test_urgent_ones_that_were_lost_again_and_again_are_slowed_down_too(holds: Holds) -> None:
    holds.urgent_lost_until_s = 6.0
    assert whys(holds) == ("", "paused after a loss")


def test_about_one_urgent_frame_is_on_the_wire_and_does_not_count_in_the_link_window(holds: Holds) -> None:
    sends(holds, Lane.URGENT, AIM - 1)
    assert whys(holds) == ("", "")
    sends(holds, Lane.URGENT, 3_000)
    assert whys(holds) == ("", "answers to urgent packets")


def test_urgent_ones_pass_the_receipt_window_by_so_much_and_no_more(holds: Holds) -> None:
    holds.speaker.window_bytes = 0
    sends(holds, Lane.URGENT, URGENT_BEYOND_BYTES - 1, accepted=True)
    assert whys(holds) == ("receipt window", "")
    sends(holds, Lane.URGENT, 1, accepted=True)
    assert whys(holds) == ("receipt window", "receipt window")
    holds.speaker.window_bytes = URGENT_BEYOND_BYTES + 1  # and inside of it like all others
    assert whys(holds) == ("", "")


def throttle(unwritten_bytes: int) -> ThrottleView:
    """One whose window is full: the socket decides what it takes, not we."""
    state = State.STEADY
    return ThrottleView(state, "", AIM, 1_000.0, 0.6, 0.6, 0.0, 0.1, 0, unwritten_bytes=unwritten_bytes)


def test_with_a_throttle_frames_are_handed_over_while_less_than_one_waits_for_room_in_the_socket(
    holds: Holds,
) -> None:
    """However many are unanswered: behind one lost segment all answers wait, though the line is free."""
    for unanswered in range(3):
        assert holds.flights.on_the_wire_bytes == unanswered * AIM
        assert holds.why(5.0, AIM, throttle(0)) == ""
        assert holds.why(5.0, AIM, throttle(AIM - 1)) == ""
        assert holds.why(5.0, AIM, throttle(AIM)) == "link window"
        sends(holds, Lane.RECORD, AIM)
    assert holds.flights.on_the_wire_bytes == SETTINGS.link_window_bytes
    assert holds.why(5.0, AIM, throttle(0)) == "link window"


def test_frames_that_wait_for_room_in_the_socket_do_not_hold_urgent_ones(holds: Holds) -> None:
    assert holds.why(5.0, AIM, throttle(AIM)) == "link window"
    assert holds.why_urgent(5.0, AIM) == ""
