"""The traffic of others: its window on virtual time, and its share of a relay's line."""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.linksim import (
    SEGMENT_BYTES,
    Address,
    AimdFlow,
    Bottleneck,
    LinkProfile,
    Relay,
    RelayStats,
    figures,
)
from pipeline.linksim.foreground import WINDOW_MIN
from pipeline.linksim.virtual import VirtualLink, VirtualProfile
from pipeline.linksim.virtual_flows import GreedyFlow

ANYWHERE = Address("127.0.0.1", 0)


class Line:
    """Flows on one bottleneck and virtual time: a full buffer drops, an answer takes the delay."""

    def __init__(self, rate_bit_s: float, delay_s: float, buffer_bytes: int, flows: int) -> None:
        self.line: Bottleneck[tuple[AimdFlow, float]] = Bottleneck(rate_bit_s, delay_s, buffer_bytes)
        self.delay_s, self.now = delay_s, 0.0
        self.flows = [AimdFlow() for _ in range(flows)]
        self._answers: list[tuple[float, int, AimdFlow, float]] = []
        self._order = itertools.count()

    def run(self, until_s: float) -> None:
        for flow in self.flows:
            self.fill(flow)
        while True:
            arrival_at = self.line.next_arrival_at()
            answer_at = self._answers[0][0] if self._answers else None
            times = [at for at in (arrival_at, answer_at) if at is not None and at <= until_s]
            if not times:
                self.now = until_s
                return
            self.now = max(self.now, min(times))
            for flow, sent_at in self.line.take(self.now):
                entry = (self.now + self.delay_s, next(self._order), flow, sent_at)
                heapq.heappush(self._answers, entry)
            while self._answers and self._answers[0][0] <= self.now:
                _at, _n, flow, sent_at = heapq.heappop(self._answers)
                flow.on_acked(sent_at)
                self.fill(flow)

    def fill(self, flow: AimdFlow) -> None:
        while flow.may_send():
            if not self.line.offer((flow, self.now), SEGMENT_BYTES, self.now, foreground=True):
                flow.on_lost(self.now)
                return
            flow.on_sent()
            assert flow.in_flight_segments <= flow.window_segments


rates = st.floats(200_000, 2_000_000)
delays_s = st.floats(0.005, 0.15)


@given(rates, delays_s)
def test_one_greedy_flow_fills_a_line_whose_buffer_is_deep_enough(rate_bit_s: float, delay_s: float) -> None:
    path_bytes = round(rate_bit_s / 8 * 2 * delay_s) + 8 * 1500
    link = Line(rate_bit_s, delay_s, path_bytes, flows=1)
    link.flows[0].start(0.0)
    link.run(20.0)
    before = link.line.carried_foreground_bytes
    link.run(50.0)
    used = (link.line.carried_foreground_bytes - before) * 8 / 30 / rate_bit_s
    assert 0.85 < used <= 1.01
    assert link.line.carried_wire_bytes == 0


@given(delays_s)
def test_a_flow_that_stops_sends_nothing_and_one_that_starts_again_fills(delay_s: float) -> None:
    link = Line(1_000_000, delay_s, 64 * 1024, flows=1)
    flow = link.flows[0]
    link.run(1.0)
    assert link.line.carried_foreground_bytes == 0
    flow.start(link.now)
    link.run(10.0)
    flow.stop()
    link.run(15.0)
    sent = link.line.carried_foreground_bytes
    assert sent > 0
    assert flow.in_flight_segments == 0
    link.run(30.0)
    assert link.line.carried_foreground_bytes == sent
    flow.start(link.now)
    link.run(40.0)
    assert link.line.carried_foreground_bytes > sent


@given(
    st.lists(st.sampled_from(["sent", "acked", "lost", "timeout", "forget", "stop", "start"]), max_size=200)
)
def test_a_window_is_never_below_its_least_nor_a_flight_below_nothing(events: list[str]) -> None:
    flow, now = AimdFlow(), 0.0
    for event in events:
        now += 0.01
        if event == "sent" and flow.may_send():
            flow.on_sent()
        elif event == "acked":
            flow.on_acked(now - 0.05)
        elif event == "lost":
            flow.on_lost(now)
        elif event == "timeout":
            flow.on_timeout()
        elif event == "forget":
            flow.forget(now)
        elif event == "stop":
            flow.stop()
        elif event == "start":
            flow.start(now)
        assert flow.window_segments >= WINDOW_MIN
        assert flow.in_flight_segments >= 0
        assert flow.running or not flow.may_send()


def test_many_losses_in_one_round_trip_halve_once() -> None:
    flow = AimdFlow()
    flow.start(0.0)
    flow.on_lost(1.0)
    flow.on_lost(1.1)
    flow.on_acked(0.9)
    flow.on_lost(1.2)
    assert flow.window_segments == 5
    flow.on_acked(1.05)
    flow.on_lost(1.3)
    assert flow.window_segments == 2.5


def test_after_silence_a_window_begins_at_one_and_doubles_up_to_half_of_what_it_was() -> None:
    flow = AimdFlow()
    flow.start(0.0)
    flow.on_timeout()
    flow.on_sent()
    windows = []
    for round_trip in range(1, 5):
        for _ in range(flow.in_flight_segments):
            flow.on_acked(round_trip)
            while flow.may_send():
                flow.on_sent()
        windows.append(flow.window_segments)
    assert windows[:2] == [2, 4]
    assert 5 < windows[2] < 6 < windows[3] < 7  # slow start ends at 5 of the 10 that it had


def test_on_virtual_time_a_greedy_flow_comes_back_after_a_cut() -> None:
    link = VirtualLink(VirtualProfile(rate_bit_s=2_000_000, delay_s=0.05, buffer_bytes=64 * 1024))
    flow = GreedyFlow(link)
    flow.start()
    link.at(10.0, link.cut)
    link.at(13.0, link.restore)
    link.run(12.0)
    then_bytes, window = flow.delivered_bytes, flow.window.window_segments
    link.run(13.0)
    assert (flow.delivered_bytes, window) == (then_bytes, 1.0)
    link.run(30.0)
    assert flow.delivered_bytes - then_bytes > 0.8 * 12 * 2_000_000 / 8
    assert flow.again_bytes > 0


def test_a_window_that_is_not_used_does_not_grow() -> None:
    flow = AimdFlow()
    flow.start(0.0)
    for n in range(100):
        flow.on_sent()
        flow.on_acked(n / 10)
    assert flow.window_segments == 10


def until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.01)


def carried(after: RelayStats, before: RelayStats) -> tuple[int, int]:
    """Wire bytes up: ours, and those of others."""
    return (
        after.up.wire_bytes - before.up.wire_bytes,
        after.up.foreground_wire_bytes - before.up.foreground_wire_bytes,
    )


def test_others_fill_a_relays_line_alone_and_leave_a_greedy_connection_its_share() -> None:
    profile = LinkProfile(4_000_000, 4_000_000, delay_ms=10, buffer_bytes=32 * 1024)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        to = Address("127.0.0.1", listener.getsockname()[1])
        relay = stack.enter_context(Relay(ANYWHERE, to, profile))
        relay.set_foreground(1, "up")
        until(lambda: relay.stats().up.foreground_wire_bytes > 100_000, "it has begun")
        before, start = relay.stats(), time.monotonic()
        until(lambda: carried(relay.stats(), before)[1] > 300_000, "it has sent more")
        alone_bit_s = carried(relay.stats(), before)[1] * 8 / (time.monotonic() - start)
        assert 0.7 < alone_bit_s / 4_000_000 < 1.05
        assert carried(relay.stats(), before)[0] == 0
        assert relay.stats().down.foreground_wire_bytes == 0

        client = stack.enter_context(socket.create_connection(relay.address, timeout=15))
        server = stack.enter_context(listener.accept()[0])
        threading.Thread(target=_push, args=(client,), daemon=True).start()
        threading.Thread(target=_pull, args=(server,), daemon=True).start()
        until(lambda: relay.stats().up.wire_bytes > 100_000, "the connection has its share")
        before = relay.stats()
        until(lambda: sum(carried(relay.stats(), before)) > 600_000, "both have sent")
        ours, others = carried(relay.stats(), before)
        assert 0.3 < ours / (ours + others) < 0.8
        assert "of others" in figures(before, relay.stats(), 1.0)
        relay.cut("reset")
        relay.restore()
        before = relay.stats()
        until(lambda: carried(relay.stats(), before)[1] > 100_000, "the others go on after a reset")
        relay.set_foreground(0)
        assert relay.stats().foreground_flows == 0


def test_a_number_of_flows_that_cannot_be_is_refused() -> None:
    profile = LinkProfile(4_000_000, 4_000_000, delay_ms=10, buffer_bytes=32 * 1024)
    with Relay(ANYWHERE, ANYWHERE, profile) as relay:
        for flows in (-1, 17):
            with pytest.raises(UsageError, match="0 to 16"):
                relay.set_foreground(flows)
        assert relay.stats().foreground_flows == 0


def _push(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(bytes(65536))


def _pull(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(65536):
            pass
