"""The arithmetic of a slow line, on virtual time."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.linksim import HEADER_BYTES, SEGMENT_BYTES, Bottleneck, wire_bytes

RATE_BIT_S = 2_000_000.0
DELAY_S = 0.05

gaps_s = st.floats(0, 0.2)
sizes = st.integers(0, 4 * SEGMENT_BYTES)
actions = st.one_of(
    st.tuples(st.just("offer"), gaps_s, sizes),
    st.tuples(st.just("take"), gaps_s, st.just(0)),
    st.tuples(st.just("stall"), gaps_s, st.just(0)),
    st.tuples(st.just("resume"), gaps_s, st.just(0)),
    st.tuples(st.just("slower"), gaps_s, st.integers(10_000, 2_000_000)),
)


def line(*, buffer_bytes: int = 64 * 1024, jitter_s: float = 0.0) -> Bottleneck[int]:
    return Bottleneck(RATE_BIT_S, DELAY_S, buffer_bytes, jitter_s=jitter_s, rng=random.Random(1))


def drain(bottleneck: Bottleneck[int]) -> list[tuple[float, int]]:
    """(time, item) of everything that is still to come, waking only when the line says so."""
    arrivals: list[tuple[float, int]] = []
    while (at := bottleneck.next_arrival_at()) is not None:
        arrivals += [(at, item) for item in bottleneck.take(at)]
    return arrivals


def times(arrivals: list[tuple[float, int]]) -> list[float]:
    return [at for at, _item in arrivals]


def test_one_segment_takes_its_time_on_the_wire_and_then_the_delay() -> None:
    bottleneck = line()
    assert bottleneck.offer(1, SEGMENT_BYTES, 10.0)
    assert times(drain(bottleneck)) == pytest.approx([10.0 + 1500 * 8 / RATE_BIT_S + DELAY_S])


@pytest.mark.parametrize(("payload", "segments"), [(0, 1), (1, 1), (1448, 1), (1449, 2), (14_480, 10)])
def test_every_segment_costs_its_headers(payload: int, segments: int) -> None:
    assert wire_bytes(payload) == payload + segments * HEADER_BYTES


def test_a_full_buffer_refuses_and_has_room_again_when_it_says_so() -> None:
    bottleneck = line(buffer_bytes=3000)
    assert [bottleneck.offer(n, SEGMENT_BYTES, 0.0) for n in range(3)] == [True, True, False]
    room_at = bottleneck.next_room_at()
    assert room_at is not None
    assert not bottleneck.offer(2, SEGMENT_BYTES, room_at * 0.99)
    assert bottleneck.offer(2, SEGMENT_BYTES, room_at)


def test_an_item_larger_than_the_buffer_gets_through_alone() -> None:
    bottleneck = line(buffer_bytes=100)
    assert bottleneck.offer(1, 10_000, 0.0)
    assert [item for _at, item in drain(bottleneck)] == [1]


def test_an_idle_line_saves_up_no_rate() -> None:
    bottleneck = line()
    for n in range(2):
        bottleneck.offer(n, SEGMENT_BYTES, 100.0 * (n + 1))
    bottleneck.offer(2, SEGMENT_BYTES, 200.0)
    _first, second, third = times(drain(bottleneck))
    assert third - second == pytest.approx(0.006)


def test_a_standing_line_delivers_everything_later_by_as_long_as_it_stood() -> None:
    moving, stalled = line(), line()
    for bottleneck in (moving, stalled):
        for n in range(20):
            bottleneck.offer(n, SEGMENT_BYTES, 0.0)
    stalled.stall(0.055)
    assert stalled.take(100.0) == []
    assert stalled.next_arrival_at() is None
    stalled.resume(1000.055)
    expected, late = drain(moving), drain(stalled)
    assert times(late) == pytest.approx([at + 1000 for at in times(expected)])
    assert [item for _at, item in late] == [item for _at, item in expected]


def test_a_rate_that_changes_in_the_middle_of_an_item_counts_both_parts() -> None:
    bottleneck = line()
    bottleneck.offer(1, SEGMENT_BYTES, 0.0)  # 6 ms at 2 Mbit/s
    bottleneck.change(RATE_BIT_S / 2, 0.0, 64 * 1024, 0.003)
    assert times(drain(bottleneck)) == pytest.approx([0.003 + 0.006])


def test_a_delay_that_shrinks_lets_nothing_overtake() -> None:
    bottleneck = line()
    bottleneck.offer(1, 100, 0.0)
    bottleneck.change(RATE_BIT_S, 0.0, 64 * 1024, 0.01)
    bottleneck.offer(2, 100, 0.01)
    assert [item for _at, item in drain(bottleneck)] == [1, 2]


def test_jitter_is_late_by_at_most_its_bound_and_the_same_for_the_same_seed() -> None:
    def late_s() -> list[float]:
        bottleneck = line(jitter_s=0.02)
        late: list[float] = []
        for n in range(50):
            bottleneck.offer(n, 100, float(n))
            late += [at - n - DELAY_S - wire_bytes(100) * 8 / RATE_BIT_S for at, _ in drain(bottleneck)]
        return late

    first = late_s()
    assert first == late_s()
    assert max(first) <= 0.02 + 1e-9
    assert max(first) - min(first) > 0.01


def test_a_cleared_line_forgets_and_goes_on() -> None:
    bottleneck = line()
    for n in range(10):
        bottleneck.offer(n, SEGMENT_BYTES, 0.0)
    bottleneck.clear(0.03)
    assert bottleneck.queued_bytes == 0
    bottleneck.offer(99, SEGMENT_BYTES, 0.03)
    last = drain(bottleneck)
    assert times(last) == pytest.approx([0.036 + DELAY_S])
    assert last[0][1] == 99


@given(st.lists(actions, max_size=60))
def test_whatever_happens_nothing_is_lost_doubled_or_reordered(
    steps: list[tuple[str, float, int]],
) -> None:
    bottleneck = line(buffer_bytes=8000, jitter_s=0.01)
    now, accepted, arrived = 0.0, 0, list[int]()
    for action, gap_s, value in steps:
        now += gap_s
        match action:
            case "offer":
                accepted += bottleneck.offer(accepted, value, now)
            case "take":
                arrived += bottleneck.take(now)
            case "stall":
                bottleneck.stall(now)
            case "resume":
                bottleneck.resume(now)
            case "slower":
                bottleneck.change(value, DELAY_S, 8000, now)
        assert 0 <= bottleneck.queued_bytes <= max(8000, wire_bytes(4 * SEGMENT_BYTES))
    bottleneck.resume(now)
    arrived += [item for _at, item in drain(bottleneck)]
    assert arrived == list(range(accepted))


@given(st.lists(st.tuples(gaps_s, sizes), min_size=1, max_size=60))
def test_no_stretch_of_arrivals_is_faster_than_the_rate_or_earlier_than_the_delay(
    offers: list[tuple[float, int]],
) -> None:
    bottleneck = line(buffer_bytes=10**9)
    offered_at = list(itertools.accumulate(gap_s for gap_s, _size in offers))
    for n, (at, (_gap_s, size)) in enumerate(zip(offered_at, offers, strict=True)):
        assert bottleneck.offer(n, size, at)
    arrived_at = [at for at, _item in drain(bottleneck)]
    wire_s = [wire_bytes(size) * 8 / RATE_BIT_S for _gap_s, size in offers]
    previous = float("-inf")
    for at, offered, took_s in zip(arrived_at, offered_at, wire_s, strict=True):
        expected = max(offered + DELAY_S, previous) + took_s
        assert at == pytest.approx(expected, abs=1e-9)
        previous = at
    assert bottleneck.carried_wire_bytes == sum(wire_bytes(size) for _gap_s, size in offers)
    assert bottleneck.carried_payload_bytes == sum(size for _gap_s, size in offers)
