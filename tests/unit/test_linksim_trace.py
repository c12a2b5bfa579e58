"""Recorded links: how they are written, and when a line that follows one lets bytes go."""

from __future__ import annotations

import random
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.linksim import SEGMENT_BYTES, Bottleneck, Trace, parse_trace, read_trace
from pipeline.linksim import trace as trace_module

traces = st.lists(st.integers(0, 400), min_size=1, max_size=40).map(
    lambda times: Trace("drawn", array("q", [*sorted(times), max(times) + 1]))
)


def trace(*times_ms: int) -> Trace:
    return Trace("small", array("q", times_ms))


def following(recording: Trace, *, at_s: float = 0.0, delay_s: float = 0.0) -> Bottleneck[int]:
    line: Bottleneck[int] = Bottleneck(1_000.0, delay_s, 10**9)
    line.follow(recording, at_s)
    return line


def arrivals(line: Bottleneck[int]) -> list[float]:
    times: list[float] = []
    while (at := line.next_arrival_at()) is not None:
        times += [at] * len(line.take(at))
    return times


def test_a_trace_reads_with_its_length_and_its_mean_rate() -> None:
    recording = parse_trace(["0\n", "5\n", "5\r\n", "\n", "10\n"], "t")
    assert list(recording.times_ms) == [0, 5, 5, 10]
    assert recording.seconds == 0.01
    assert recording.rate_bit_s == 4 * 12_000 / 0.01


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1", "x"], "t, line 2: 'x' is not"),
        (["1", "", "-3"], "line 3: '-3'"),
        (["1.5"], "line 1"),
        (["²"], "line 1"),
        (["9" * 5000], "line 1"),
        (["7", "6"], "line 2: 6 ms comes after 7"),
        (["86400001"], "line 1.*a day"),
        ([], "at least one line above 0"),
        (["0", "0"], "at least one line above 0"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_trace(lines, "t")


def test_a_trace_of_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "TRACE_LINES_MAX", 3)
    with pytest.raises(UsageError, match=r"line 4: .*at most 3 lines"):
        parse_trace(["1", "2", "3", "4"])


def test_a_file_is_read_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "office.up"
    path.write_text("3\n9\n")
    assert read_trace(path) == Trace("office.up", array("q", [3, 9]))
    monkeypatch.setattr(trace_module, "TRACE_BYTES_MAX", 3)
    with pytest.raises(UsageError, match=r"office\.up.*MiB"):
        read_trace(path)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        read_trace(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"1\n\xff\xfe\x00\n")
    with pytest.raises(UsageError, match="binary, line 2"):
        read_trace(tmp_path / "binary")


def test_segments_leave_at_the_recorded_milliseconds_and_the_trace_repeats() -> None:
    line = following(trace(10, 30, 30, 100), at_s=5.0, delay_s=0.5)
    for n in range(6):
        assert line.offer(n, SEGMENT_BYTES, 5.0)
    assert arrivals(line) == pytest.approx([5.51, 5.53, 5.53, 5.6, 5.61, 5.63])


def test_an_opportunity_that_nobody_uses_is_gone() -> None:
    line = following(trace(10, 20, 50))
    assert line.offer(1, SEGMENT_BYTES, 0.03)
    assert arrivals(line) == pytest.approx([0.05])


def test_small_items_share_one_opportunity_and_a_large_one_takes_several() -> None:
    line = following(trace(10, 20, 30))
    for n in range(15):
        assert line.offer(n, 48, 0.0)  # 100 bytes on the wire each
    assert line.offer(15, 2 * SEGMENT_BYTES, 0.0)
    assert arrivals(line) == pytest.approx([0.01] * 15 + [0.03])


def test_a_line_that_stood_still_has_missed_what_the_trace_offered() -> None:
    line = following(trace(10, 20, 30, 40))
    assert line.offer(1, SEGMENT_BYTES, 0.0)
    line.stall(0.005)
    line.resume(0.025)
    assert arrivals(line) == pytest.approx([0.03])


def test_an_item_half_way_goes_on_when_the_line_stops_following() -> None:
    line = following(trace(10, 1000))
    assert line.offer(1, 2 * SEGMENT_BYTES, 0.0)
    line.follow(None, 0.5)  # one of its two segments has left; the other one at 1 kbit/s
    assert arrivals(line) == pytest.approx([0.5 + 12.0])


@given(traces, st.integers(1, 200))
def test_a_full_line_carries_exactly_what_the_trace_offers(recording: Trace, n_segments: int) -> None:
    line = following(recording)
    for n in range(n_segments):
        assert line.offer(n, SEGMENT_BYTES, 0.0)
    assert arrivals(line) == pytest.approx([recording.opportunity_s(n) for n in range(n_segments)])


@given(traces, st.integers(0, 10**6), st.integers(0, 500))
def test_counting_and_timing_are_each_others_inverse(recording: Trace, seed: int, number: int) -> None:
    at_s = recording.opportunity_s(number)
    assert recording.opportunities_before(at_s) <= number
    assert recording.opportunities_before(at_s + 0.001) > number
    anywhen_s = random.Random(seed).random() * 3 * recording.seconds
    before = recording.opportunities_before(anywhen_s)
    assert recording.opportunity_s(before) >= anywhen_s - 1e-7


@given(traces, st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 5000)), max_size=30))
def test_items_arrive_in_order_and_never_before_they_were_offered(
    recording: Trace, offers: list[tuple[float, int]]
) -> None:
    line = following(recording, at_s=1000.0)
    now, offered_at, arrived = 1000.0, [], []
    for n, (gap_s, size) in enumerate(offers):
        now += gap_s
        arrived += [(item, now) for item in line.take(now)]
        assert line.offer(n, size, now)
        offered_at.append(now)
    while (at := line.next_arrival_at()) is not None:
        arrived += [(item, at) for item in line.take(at)]
    assert [item for item, _at in arrived] == list(range(len(offers)))
    assert all(at >= offered_at[item] for item, at in arrived)
