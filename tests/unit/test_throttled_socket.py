"""The controller on a socket: what the kernel says, what it is told, and when it is not believed."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

import pytest

from pipeline.adapters.tcp_kernel import (
    PACE_MAX,
    SO_MAX_PACING_RATE,
    TCP_INFO,
    newest_rtt_s,
    pace,
    parse_tcp_info,
    tcp_view,
)
from pipeline.adapters.throttled import LOOK_S, PROXY_AFTER_S, PROXY_ANSWERS, ThrottledSocket
from pipeline.throttle import Controller
from pipeline.throttle.view import SEGMENT_BYTES

MSS = 1000


def tcp_info(**fields: int) -> bytes:
    """A struct tcp_info with these fields (linux/tcp.h), the others 0."""
    offsets = {"snd_mss": 16, "sacked": 28, "rtt": 68, "total_retrans": 100, "segs_in": 140, "min_rtt": 148}
    raw = bytearray(232)
    struct.pack_into("=I", raw, 16, MSS)
    for name, value in fields.items():
        if name == "bytes_acked":
            struct.pack_into("=Q", raw, 120, value)
        else:
            struct.pack_into("=I", raw, offsets[name], value)
    return bytes(raw)


class KernelSocket:
    """A socket of which only the kernel's words are real."""

    def __init__(self) -> None:
        self.info: dict[str, int] = {"rtt": 100_000, "min_rtt": 100_000}
        self.paces: list[int] = []
        self.family = socket.AF_INET

    def getsockopt(self, level: int, option: int, _size: int = 0) -> bytes:
        return tcp_info(**self.info) if option == TCP_INFO else b"bbr\0"

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option == SO_MAX_PACING_RATE:
            self.paces.append(struct.unpack("=I", value)[0])


class Rig:
    """A throttled socket on virtual time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.kernel = KernelSocket()
        self.throttled = ThrottledSocket(Controller(), lambda: self.now_s)
        self.throttled.opened(self.kernel)  # type: ignore[arg-type]

    def wait(self, for_s: float = 2 * LOOK_S, **info: int) -> None:
        """Time passes, and the kernel knows more."""
        self.now_s += for_s
        self.kernel.info |= info
        self.throttled.look()

    def answer(self, command_bytes: int, late_s: float) -> None:
        """A command goes, arrives, and is answered so long afterwards."""
        self.throttled.wrote(command_bytes)
        acked = self.kernel.info.get("bytes_acked", 0) + command_bytes
        self.wait(bytes_acked=acked, segs_in=self.kernel.info.get("segs_in", 0) + 1)
        self.now_s += late_s
        self.throttled.answered(command_bytes, late_s)


def test_what_the_kernel_says_is_read_as_far_as_it_goes() -> None:
    view = parse_tcp_info(
        tcp_info(rtt=250_000, min_rtt=100_000, bytes_acked=7_000, sacked=3, total_retrans=2)
    )
    assert view is not None
    assert (view.rtt_s, view.min_rtt_s, view.retransmits) == (0.25, 0.1, 2)
    assert (view.acked_bytes, view.arrived_bytes) == (7_000, 7_000 + 3 * MSS)
    assert parse_tcp_info(tcp_info()[:100]) is None


def test_what_arrived_beyond_a_lost_segment_is_not_under_way() -> None:
    rig = Rig()
    rig.throttled.wrote(10 * MSS)
    rig.wait(bytes_acked=2 * MSS, sacked=5)
    assert rig.throttled.under_way_bytes == 3 * MSS


def test_a_hole_that_is_filled_counts_what_was_behind_it_once() -> None:
    rig = Rig()
    rig.throttled.wrote(10 * MSS)
    rig.wait(bytes_acked=2 * MSS, sacked=5)
    rig.wait(bytes_acked=8 * MSS, sacked=0)
    assert rig.throttled.under_way_bytes == 2 * MSS


@pytest.mark.parametrize("answers", [1, 2, 5, 20])
def test_what_the_newest_answers_took_is_seen_through_the_smoothing(answers: int) -> None:
    smoothed = [100_000.0]
    for _ in range(answers):
        smoothed.append(smoothed[-1] + (300_000 - smoothed[-1]) / 8)
    before = parse_tcp_info(tcp_info(rtt=round(smoothed[0]), segs_in=7))
    now = parse_tcp_info(tcp_info(rtt=round(smoothed[-1]), segs_in=7 + answers))
    assert before is not None
    assert now is not None
    assert newest_rtt_s(before, now, 2 * MSS * answers) == pytest.approx(0.3, abs=0.001)


def test_segments_that_bring_no_answer_do_not_count_as_answers() -> None:
    before, now = (
        parse_tcp_info(tcp_info(rtt=rtt, segs_in=segs)) for rtt, segs in ((100_000, 0), (125_000, 9))
    )
    assert before is not None
    assert now is not None
    assert newest_rtt_s(before, now, MSS) == pytest.approx(0.3)


def test_the_window_leaves_within_its_round_trip_and_not_at_once() -> None:
    rig = Rig()
    controller = rig.throttled.controller
    assert rig.kernel.paces[-1:] in ([], [PACE_MAX])  # nothing is known yet
    rig.throttled.wrote(10 * MSS)
    rig.wait(0.1, bytes_acked=10 * MSS, segs_in=5)
    assert rig.kernel.paces[-1] == pytest.approx(controller.pace_bytes_s, rel=0.06)
    assert controller.window_bytes / 0.1 < rig.kernel.paces[-1] < 2.5 * controller.window_bytes / 0.1


def test_the_kernel_is_not_told_a_pace_that_hardly_moved() -> None:
    rig = Rig()
    rig.throttled.wrote(10 * MSS)
    rig.wait(0.1, bytes_acked=10 * MSS, segs_in=5)
    told = len(rig.kernel.paces)
    for _ in range(20):
        rig.wait()
    assert len(rig.kernel.paces) == told


def test_where_no_answer_is_prompt_a_proxy_is_on_the_way() -> None:
    rig = Rig()
    for _ in range(PROXY_ANSWERS):
        assert not rig.throttled.by_answers
        rig.answer(MSS, late_s=0.3)
    assert rig.throttled.by_answers
    assert rig.kernel.paces[-1] == PACE_MAX


def test_after_a_prompt_answer_late_ones_were_lost_on_their_way_back() -> None:
    rig = Rig()
    rig.answer(MSS, late_s=0.05)
    while rig.now_s < PROXY_AFTER_S - 1.0:
        rig.answer(MSS, late_s=0.3)
    assert not rig.throttled.by_answers


def test_late_answers_and_no_prompt_one_for_long_are_a_proxy_after_all() -> None:
    rig = Rig()
    rig.answer(MSS, late_s=0.05)
    while rig.now_s < PROXY_AFTER_S + 1.0:
        rig.answer(MSS, late_s=0.3)
    assert rig.throttled.by_answers


def test_part_of_a_segment_is_written_only_where_it_is_all() -> None:
    rig = Rig()
    window = rig.throttled.controller.window_bytes
    rig.throttled.wrote(window - 100)
    assert rig.throttled.room(5_000, whole=False) == 0
    assert rig.throttled.room(100, whole=False) == 100
    rig.wait(bytes_acked=SEGMENT_BYTES, segs_in=1)
    assert SEGMENT_BYTES <= rig.throttled.room(50_000, whole=False) < 50_000


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO and pacing are Linux's")
def test_a_real_socket_takes_a_pace_and_says_what_has_arrived() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
    ):
        theirs = server.accept()[0]
        with theirs:
            assert pace(ours, 1_000_000)
            assert (
                struct.unpack("=I", ours.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4))[0] == 1_000_000
            )
            ours.sendall(bytes(20_000))
            assert len(theirs.recv(20_000, socket.MSG_WAITALL)) == 20_000
            view = tcp_view(ours)
    assert view is not None
    assert view.arrived_bytes >= view.acked_bytes
    assert view.segment_bytes > 0
