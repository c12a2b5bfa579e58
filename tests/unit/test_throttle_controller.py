"""The controller step by step, where the scenarios would not notice."""

from __future__ import annotations

from pipeline.throttle import Controller, State

BASE_S = 0.1


def steady(controller: Controller, now_s: float, rtt_s: float, rounds: int = 20) -> float:
    """A link that carries 100 kB/s: ten answers of 1,000 bytes in a round trip; the window is always full."""
    for _ in range(10 * rounds):
        room = controller.window_bytes
        controller.on_sent(now_s, room)  # always full, whatever is let
        now_s += 0.01
        controller.on_acked(now_s, 1_000, rtt_s)
        controller.on_acked(now_s, room - 1_000, None)
    return now_s


def test_the_window_is_never_more_than_twice_what_arrives_in_a_round_trip() -> None:
    """A kernel that does not send what it is given shows no queue: the rest would only lie in the socket."""
    controller, now_s = Controller(), 0.0
    for _ in range(2_000):
        controller.on_sent(now_s, max(0, controller.window_bytes - controller.settings.window_bytes_min))
        now_s += 0.01
        controller.on_acked(now_s, 1_000, BASE_S)
    most = max(controller.settings.window_bytes_first, 2.2 * controller.rate_bytes_s * BASE_S)
    assert controller.rate_bytes_s < 200_000
    assert controller.window_bytes <= most


def test_a_clock_that_is_set_back_does_not_keep_the_window_from_shrinking() -> None:
    controller = Controller()
    now_s = steady(controller, 10_000.0, BASE_S)
    now_s = steady(controller, now_s, BASE_S + 0.2, rounds=1)
    before = controller.window_bytes
    for n in range(40):  # two hours earlier
        controller.on_acked(now_s - 7_200.0 + 0.01 * n, 1_000, BASE_S + 0.2)
    assert controller.window_bytes < before


def test_a_link_that_went_down_lets_nothing_go_and_begins_with_half_of_what_it_carried() -> None:
    controller = Controller()
    now_s = steady(controller, 0.0, BASE_S)
    controller.on_down()
    assert (controller.window_bytes, controller.state) == (0, State.DOWN)
    controller.on_up(now_s + 60)
    half = 0.5 * controller.rate_bytes_s * BASE_S
    assert controller.window_bytes >= int(half)
    assert controller.state is State.RAMP
