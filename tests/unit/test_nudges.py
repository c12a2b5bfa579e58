"""Nudges are joined while more work comes, and none is left behind when it ends."""

from __future__ import annotations

from typing import Any

from pipeline.testing.clock import ManualClock
from workers.nudges import JOINED_S, Nudges


class Sent(list[tuple[Any, ...]]):
    """Nudges that went out, in order."""

    def __call__(self, *nudge: Any) -> None:
        self.append(nudge)


def test_the_first_nudge_goes_at_once() -> None:
    sent, clock = Sent(), ManualClock()
    nudges = Nudges(sent, clock)
    nudges.add("validate")
    nudges.flush(idle=False)
    assert sent == [("validate",)]


def test_nudges_of_fifty_milliseconds_become_one_for_each_work() -> None:
    sent, clock = Sent(), ManualClock()
    nudges = Nudges(sent, clock)
    nudges.add("deliver", "1806")
    nudges.flush(idle=False)
    for _ in range(10):
        nudges.add("deliver", "1806")
        nudges.add("deliver", "3174")
        nudges.flush(idle=False)
    assert sent == [("deliver", "1806")]
    clock.advance(2 * JOINED_S)
    nudges.flush(idle=False)
    assert sent[1:] == [("deliver", "1806"), ("deliver", "3174")]


def test_a_nudge_goes_at_once_when_nothing_more_comes() -> None:
    sent, clock = Sent(), ManualClock()
    nudges = Nudges(sent, clock)
    for _ in range(2):
        nudges.add("validate")
        nudges.flush(idle=True)
    assert sent == [("validate",)] * 2


def test_a_round_without_news_sends_nothing() -> None:
    sent = Sent()
    Nudges(sent, ManualClock()).flush(idle=True)
    assert sent == []
