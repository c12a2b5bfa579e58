"""Step 3, pure: how many bytes may be under way on the link, so that nobody else waits for us.

A delay-based window after LEDBAT (RFC 6817) and LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus): what an answer
takes above the base is queue. Below the target the window grows, above it shrinks, in proportion. What is
our own: the ramp ends at what the line was measured to carry, the window is let grow again as soon as a
round met no queue, and the base is measured anew only when nothing has met it for a while, since each time
costs. Loss alone is no congestion (a radio link loses without being full); the kernel repeats what is lost.

Bytes are those in the socket that the other side's kernel has not acknowledged, or frames without an answer
where the kernel does not say. Seconds; `now_s` of a clock that does not run backwards.
"""

from __future__ import annotations

from collections import deque

from pipeline.throttle.base_delay import BaseDelay
from pipeline.throttle.others import Others
from pipeline.throttle.view import SEGMENT_BYTES, State, ThrottleSettings, ThrottleView, reason_of

#: The queue that we allow ourselves even on a fast line: below it, measuring is guessing.
TARGET_S_MIN = 0.015
#: ... and on a thin line, in full segments: with less, none is there when the one before has gone.
THIN = 1.6
#: Segments that the window grows by in a round without queue, or so much of the target, if that is less.
GROWTH, GROWTH_SHARE = 2.0, 0.5
#: The base is measured anew when nothing met it for so long, seconds.
MEASURE_AFTER_S = 20.0
#: Delivery rates are the largest of so many rounds.
ROUNDS = 10
#: A round is at least a round trip, and so many bytes on a line that brings them in this time (seconds).
ROUND_BYTES_MIN, ROUND_S_MAX = 8 * SEGMENT_BYTES, 1.0
#: How much faster than a window in a round trip bytes may leave: a window that leaves at once is a queue, and
#: a ramp must be able to double.
PACE, PACE_RAMP = 1.25, 2.0
#: Whatever is awaited from further off than this is due: the clock was set (seconds).
WAIT_S_MAX = 60.0
#: A delay is the fastest of so many answers at least, and of those of this share of a round trip: what a few
#: answers are late by is jitter, or a segment that was lost before them.
ANSWERS, ANSWERS_SHARE = 4, 0.25


class Controller:
    """One direction of one link. Tell it what happens; `window_bytes` is what may be under way."""

    def __init__(self, settings: ThrottleSettings | None = None) -> None:
        self.settings = settings or ThrottleSettings()
        self.base = BaseDelay()
        self.state = State.RAMP
        self.losses = 0
        self._window = float(self.settings.window_bytes_first)
        self._under_way = 0
        self._answers: deque[tuple[float, float]] = deque()
        self._rates: deque[float] = deque(maxlen=ROUNDS)
        self._line_bytes_s = 0.0
        self._round_began_s: float | None = None
        self._round_bytes = 0
        self._round_full = False
        self._round_queue_s = float("inf")
        self._empty_rounds = 0
        self._rounds_in_ramp = 0
        self._others = Others()
        self._knows_the_line = False
        self._seen_from_s = float("-inf")
        self._measure_until_s = 0.0
        self._measured_s = float("-inf")
        self._window_before = self._window

    # --- what it decides ------------------------------------------------------------------------

    @property
    def window_bytes(self) -> int:
        """What may be under way now, bytes; 0 while the link is down."""
        return 0 if self.state is State.DOWN else int(self._window)

    @property
    def rate_bytes_s(self) -> float:
        """What the link was last seen to carry, bytes a second; 0 before the first round."""
        return max(self._rates, default=0.0)

    @property
    def pace_bytes_s(self) -> float:
        """How fast the window may leave, bytes a second; 0 while nothing is known of the link."""
        rtt_s = self.rtt_s or self.base.value_s
        if not rtt_s or self.state is State.DOWN:
            return 0.0
        return (PACE_RAMP if self.state is State.RAMP else PACE) * self._window / rtt_s

    def on_the_line_s(self, some_bytes: int) -> float:
        """How long so many bytes take on the line alone; 0 while its rate is not known for sure."""
        return some_bytes / self._line_bytes_s if self._knows_the_line and self._line_bytes_s else 0.0

    @property
    def queue_s(self) -> float:
        """How long an answer takes above the base now."""
        base_s, rtt_s = self.base.value_s, self.rtt_s
        return 0.0 if base_s is None or rtt_s is None else max(0.0, rtt_s - base_s)

    @property
    def target_s(self) -> float:
        """The queue aimed at: a little, and two full segments on top, which take long on a thin line."""
        rate = self._line_bytes_s  # of the line, not of what others leave us
        segment_s = (SEGMENT_BYTES + 52) / rate if rate else 0.0
        return max(min(self.settings.target_s, TARGET_S_MIN + 2 * segment_s), THIN * segment_s)

    def view(self) -> ThrottleView:
        """How it stands."""
        return ThrottleView(
            self.state,
            reason_of(self.state, self.queue_s, self.target_s),
            self.window_bytes,
            self.rate_bytes_s,
            self.rtt_s,
            self.base.value_s,
            self.queue_s,
            self.target_s,
            self.losses,
        )

    @property
    def rtt_s(self) -> float | None:
        """What an answer takes now; `None` before the first."""
        return min((rtt_s for _, rtt_s in self._answers), default=None)

    # --- what happens ---------------------------------------------------------------------------

    def on_sent(self, now_s: float, sent_bytes: int) -> None:
        """So many bytes went on their way."""
        if self._under_way == 0 or self._round_began_s is None:
            self._begin_round(now_s)  # an idle line says nothing about its rate
        self._under_way += sent_bytes
        if self._is_full():
            self._round_full = True

    def on_acked(self, now_s: float, acked_bytes: int, rtt_s: float | None) -> None:
        """So many bytes arrived; `rtt_s`: what the answer took, where that is known."""
        if self.state is State.DOWN:
            self.on_up(now_s)
        self._under_way = max(0, self._under_way - acked_bytes)
        self._round_bytes += acked_bytes
        if rtt_s is not None:
            self._answers.append((now_s, rtt_s))
            since_s = now_s - ANSWERS_SHARE * rtt_s
            while len(self._answers) > ANSWERS and not since_s <= self._answers[0][0] <= now_s:
                self._answers.popleft()
            quiet = self._window <= 1.5 * self.settings.window_bytes_min
            self.base.add(now_s, rtt_s, quiet=quiet)
            self._round_queue_s = min(self._round_queue_s, self.queue_s)
        self._move(now_s, acked_bytes)
        self._end_round(now_s)

    def on_lost(self, segments: int) -> None:
        """The kernel repeated segments. Counted and shown; the queue alone decides."""
        self.losses += segments

    def on_down(self) -> None:
        """The link is gone, and with it what was under way. Rate and base are remembered."""
        self.state = State.DOWN
        self._under_way = 0
        self._answers.clear()
        self._round_began_s = None

    def on_up(self, now_s: float) -> None:
        """The link is back: start from half of what it carried."""
        base_s = self.base.value_s or 0.0
        self._window = self._bounded(max(self.settings.window_bytes_first, 0.5 * self.rate_bytes_s * base_s))
        self.state = State.RAMP
        self._empty_rounds = 0
        self._begin_round(now_s)

    def begin_anew(self, under_way_bytes: int) -> None:
        """What was learned is of another path: so much is under way, and the rest is to be found out."""
        self.base.forget()
        self._answers.clear()
        self._rates.clear()
        self._line_bytes_s, self._knows_the_line = 0.0, False
        self._window = float(self.settings.window_bytes_first)
        self.state, self._under_way, self._round_began_s = State.RAMP, under_way_bytes, None

    # --- the window -----------------------------------------------------------------------------

    def _move(self, now_s: float, acked_bytes: int) -> None:
        queue_s, target_s = self.queue_s, self.target_s
        self._others.look(now_s, queue_s, target_s, self.rtt_s or 0.0)
        if self.state is State.MEASURE:
            self._measure(now_s)
        elif queue_s > target_s:
            self._shrink(now_s, queue_s, target_s)
        elif self._others.are_here:
            self.state = State.YIELD
        elif self.state is State.RAMP and queue_s < 0.75 * target_s:
            if self._round_full:
                grown = self._ramp_share() * acked_bytes
                self._window = self._bounded(self._window + grown, self._most())
        else:
            self._knows_the_line |= self.state is State.RAMP
            self.state = State.STEADY
            if self._round_full:
                most = min(GROWTH * SEGMENT_BYTES, GROWTH_SHARE * target_s * self._line_bytes_s)
                grown = most * (1.0 - queue_s / target_s) * acked_bytes / self._window
                self._window = self._bounded(self._window + grown, self._most())

    def _ramp_share(self) -> float:
        """The ramp doubles the window in a round, up to what the line was known to carry. Above that it grows
        by what is part of the target if the line is as it was, and by twice as much with every other round
        that meets no queue: what is too much is seen more than a round trip later."""
        if not self._knows_the_line or self._window <= self._carries(0.0):
            return 1.0
        first = GROWTH_SHARE * self.target_s * self._line_bytes_s / self._window
        return float(min(1.0, first * 2 ** (self._rounds_in_ramp // 2)))

    def _shrink(self, now_s: float, queue_s: float, target_s: float) -> None:
        """To the window under which this queue would be the target; then not again until that can be seen."""
        if _is_to_come(self._seen_from_s, now_s):
            return
        base_s = self.base.value_s or 0.0
        ours_s = self._window / self._line_bytes_s if self._line_bytes_s else float("inf")
        if self.state is State.RAMP and self._rates:
            self._window = min(self._window, self.rate_bytes_s * (base_s + queue_s))
            self._knows_the_line = True
        keeps = self._others.keeps(now_s, base_s, queue_s, target_s, ours_s)
        self._window = self._bounded(self._window * keeps)
        self._seen_from_s = now_s + base_s + queue_s
        self.state = State.YIELD if self._window < 0.5 * self._carries(0.0) else State.STEADY

    def _carries(self, queue_s: float) -> float:
        """The window that keeps `queue_s` of queue at the rate that was seen, bytes."""
        return self.rate_bytes_s * ((self.base.value_s or 0.0) + queue_s)

    def _most(self) -> float:
        """Twice what arrived in a round trip: more would only wait in the socket."""
        rtt_s = self.rtt_s
        if not self._rates or not rtt_s:
            return self.settings.window_bytes_max
        return max(self.settings.window_bytes_first, 2 * self.rate_bytes_s * rtt_s)

    def _bounded(self, window: float, most: float | None = None) -> float:
        top = self.settings.window_bytes_max if most is None else min(most, self.settings.window_bytes_max)
        return max(self.settings.window_bytes_min, min(window, max(top, self.settings.window_bytes_min)))

    def _measure(self, now_s: float) -> None:
        if not _is_to_come(self._measure_until_s, now_s):
            self._measured_s = now_s
            self._window = self._bounded(self._window_before)
            self.state = State.STEADY

    # --- rounds ---------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        """Hardly another segment fits: what we see of the link is what the window lets us see."""
        return self._under_way + 2 * SEGMENT_BYTES > self._window

    def _begin_round(self, now_s: float) -> None:
        self._round_began_s, self._round_bytes = now_s, 0
        self._round_full, self._round_queue_s = self._is_full(), float("inf")

    def _end_round(self, now_s: float) -> None:
        rtt_s = self.rtt_s
        if self._round_began_s is None or rtt_s is None:
            return
        took_s = now_s - self._round_began_s
        if 0 <= took_s < max(0.02, rtt_s):
            return
        if 0 <= took_s < ROUND_S_MAX and self._round_bytes < ROUND_BYTES_MIN:
            return  # one segment more or less would be another rate
        if not 0 <= took_s <= WAIT_S_MAX:
            self._begin_round(now_s)  # the clock was set, or nothing came for long: it says nothing
            return
        if self._round_full or self._round_bytes / took_s > self.rate_bytes_s:
            before, now = self._rates[-1] if self._rates else 0.0, self._round_bytes / took_s
            self._rates.append(now)
            # Answers that come together are no faster line: two rounds must say it.
            self._line_bytes_s = max(self._line_bytes_s, min(before or now, now))
        self._look_for_room()
        self._look_for_the_base(now_s)
        self._begin_round(now_s)

    def _look_for_room(self) -> None:
        """Two rounds with a full window and hardly a queue: the line carries more than we thought."""
        empty = self._round_full and self._round_queue_s < 0.25 * self.target_s
        self._empty_rounds = self._empty_rounds + 1 if empty else 0
        self._rounds_in_ramp = self._rounds_in_ramp + 1 if empty and self.state is State.RAMP else 0
        may_look = self.state in (State.STEADY, State.YIELD) and not self._others.are_here
        if self._empty_rounds >= 2 and may_look:
            self.state = State.RAMP
            self._empty_rounds = 0

    def _look_for_the_base(self, now_s: float) -> None:
        """Nothing met the base for long: empty our part of the queue for a round, and look."""
        since_s = now_s - max(self.base.met_s, self._measured_s)
        if self.state is State.STEADY and since_s > MEASURE_AFTER_S:
            self._window_before = self._window
            self._window = self._bounded(0.5 * self._carries(0.0))
            self._measure_until_s = now_s + (self.rtt_s or 0.0) + 2 * self.target_s
            self.state = State.MEASURE


def _is_to_come(at_s: float, now_s: float) -> bool:
    return now_s < at_s <= now_s + WAIT_S_MAX
