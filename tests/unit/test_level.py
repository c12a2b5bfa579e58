"""The throttle of the way back, on virtual time: it fills the line, and others hardly wait for it."""

from __future__ import annotations

from statistics import median

import pytest

from pipeline.linksim.bottleneck import HEADER_BYTES, SEGMENT_BYTES
from pipeline.linksim.virtual import Segment, VirtualLink, VirtualProfile
from pipeline.linksim.virtual_flows import WindowFlow
from pipeline.region.level import ASK_BYTES, ASK_S, ASKED_MAX, IDLE_S, WINDOW_BYTES_MIN, Level
from pipeline.throttle import State

WIRE = (SEGMENT_BYTES + HEADER_BYTES) / SEGMENT_BYTES
QUESTION_BYTES = 20


class Fixed:
    """A window that nothing moves: what a level of so many bytes was."""

    pace_bytes_s = 0.0

    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes

    def on_sent(self, now_s: float, sent_bytes: int) -> None: ...
    def on_acked(self, now_s: float, acked_bytes: int, rtt_s: float | None) -> None: ...
    def on_lost(self, segments: int) -> None: ...
    def on_down(self) -> None: ...
    def on_up(self, now_s: float) -> None: ...


class Offered(Fixed):
    """The center's TCP, bound by what the region offers; the region asks beside it. It is a `Flow` of its own
    for the questions."""

    def __init__(self, link: VirtualLink, level: Level) -> None:
        super().__init__(level.window_bytes)
        self.link, self.level = link, level

        self.on_acked(link.now_s, 300, None)  # an ack comes before any record

    def on_acked(self, now_s: float, acked_bytes: int, rtt_s: float | None) -> None:
        self.level.on_received(now_s, acked_bytes)
        if self.level.asks(now_s):
            self.link.send(Segment(self, QUESTION_BYTES, now_s))
        self.window_bytes = self.level.window_bytes

    def acked(self, segment: Segment) -> None:
        self.level.on_answer(self.link.now_s, self.link.now_s - segment.sent_s)

    def lost(self, segment: Segment) -> None:  # TCP repeats it, and it is late
        self.link.send(Segment(self, QUESTION_BYTES, segment.sent_s))


def came_back(link: VirtualLink, window: Fixed) -> tuple[float, float]:
    """The share of the line, and the median queue in milliseconds, from 10 to 40 s."""
    link.run(2)
    flow = WindowFlow(link, window)
    link.run(10)
    before = flow.delivered_bytes
    link.run(40)
    share = WIRE * (flow.delivered_bytes - before) / (30 * link.profile.rate_bit_s / 8)
    return share, 1000 * median(look.queue_s for look in link.looks if look.at_s >= 10)


@pytest.mark.parametrize(
    ("rate_bit_s", "delay_s", "loss", "share_min", "queue_ms_max"),
    [
        (128_000, 0.1, 0.0, 0.85, 350),  # two segments take 190 ms there
        (512_000, 0.3, 0.0, 0.85, 100),
        (512_000, 0.3, 0.01, 0.80, 100),
        (2_000_000, 0.05, 0.0, 0.90, 50),
        (10_000_000, 0.05, 0.0, 0.85, 50),
    ],
)
def test_the_way_back_fills_the_line_and_keeps_its_queue_short(
    rate_bit_s: float, delay_s: float, loss: float, share_min: float, queue_ms_max: float
) -> None:
    link = VirtualLink(VirtualProfile(rate_bit_s, delay_s, 256 * 1024, loss=loss), seed=1)
    share, queue_ms = came_back(link, Offered(link, Level()))
    assert share >= share_min
    assert queue_ms <= queue_ms_max


def test_a_level_that_nothing_moves_would_be_a_queue_of_seconds_on_a_thin_line() -> None:
    link = VirtualLink(VirtualProfile(128_000, 0.1, 256 * 1024), seed=1)
    assert came_back(link, Fixed(200 * 1024))[1] > 5_000


def test_questions_go_with_what_comes_and_not_too_often() -> None:
    level = Level()
    level.on_received(0.0, 1)
    assert level.asks(0.0)
    assert not level.asks(1.0)
    level.on_received(1.0, ASK_BYTES)
    level.on_received(1.0, ASK_BYTES)
    assert level.asks(1.0)
    level.on_received(1.0, ASK_BYTES)
    assert not level.asks(1.0 + ASK_S / 2)


def test_after_a_while_without_any_the_first_bytes_are_asked_about() -> None:
    level = Level()
    level.on_received(0.0, 1)
    assert level.asks(0.0)
    level.on_answer(0.1, 0.1)
    level.on_received(IDLE_S - 1, 1)
    assert not level.asks(IDLE_S - 1)
    assert level.asks(IDLE_S)


def test_not_more_questions_are_unanswered_than_a_few() -> None:
    level, asked = Level(), 0
    for second in range(2 * ASKED_MAX):
        level.on_received(float(second), ASK_BYTES)
        asked += level.asks(float(second))
    assert asked == ASKED_MAX


def test_an_answer_that_waited_for_us_says_nothing_of_the_line() -> None:
    level = Level()
    for n in range(10):
        level.on_received(0.1 * n, ASK_BYTES)
        level.on_answer(0.1 * n, None)
    assert level.view.rtt_s is None


def test_what_the_line_carries_is_remembered_over_a_reconnect() -> None:
    link, level = VirtualLink(VirtualProfile(2_000_000, 0.05, 256 * 1024), seed=1), Level()
    came_back(link, Offered(link, level))
    level.on_down()
    carried_bytes_s = level.view.rate_bytes_s
    assert level.view.state is State.DOWN
    assert level.window_bytes >= WINDOW_BYTES_MIN
    assert carried_bytes_s >= 0.9 * 2_000_000 / 8
    level.on_received(41.0, 1)
    assert level.window_bytes >= 0.4 * carried_bytes_s * 0.1
