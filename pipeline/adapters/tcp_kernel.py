"""Step 3, the kernel's part: what Linux says of a TCP socket, and what we ask of it. Elsewhere: nothing.

`TCP_INFO` is a struct that only grows (linux/tcp.h); a shorter one, of an older kernel, is read as far as it
goes. Each option is a help and none is needed: `ask` says which were granted, and `doctor`
reads back what a socket has (`tcp_options.py`).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

TCP_INFO = getattr(socket, "TCP_INFO", 11)
TCP_CONGESTION = getattr(socket, "TCP_CONGESTION", 13)
SO_MAX_PACING_RATE = getattr(socket, "SO_MAX_PACING_RATE", 47)
#: The kernel's word for no limit, and the slowest that is asked for, bytes a second.
PACE_MAX, PACE_MIN = 0xFFFFFFFF, 2048
#: Lower Effort (RFC 8622): codepoint 1, in the upper six bits.
DSCP_LE = 1 << 2
_INFO_BYTES = 256
#: Offsets in struct tcp_info, bytes.
_SEGMENT, _SACKED, _RTT, _TOTAL_RETRANS = 16, 28, 68, 100
_BYTES_ACKED, _SEGS_IN, _MIN_RTT = 120, 140, 148
#: How long it is at least where all of these are filled in (Linux 4.9).
_INFO_BYTES_MIN = 168


@dataclass(frozen=True)
class TcpView:
    """A socket as the kernel sees it. `acked_bytes` in order and `arrived_bytes` beyond holes too, since it
    was connected; `rtt_s` smoothed."""

    rtt_s: float
    min_rtt_s: float
    acked_bytes: int
    arrived_bytes: int
    retransmits: int
    segments_in: int
    segment_bytes: int


def parse_tcp_info(raw: bytes) -> TcpView | None:
    """What a `TCP_INFO` says; `None` where the kernel is too old to count acknowledged bytes (before 4.9)."""
    if len(raw) < _INFO_BYTES_MIN:
        return None

    def u32(at: int) -> int:
        return int(struct.unpack_from("=I", raw, at)[0])

    def u64(at: int) -> int:
        return int(struct.unpack_from("=Q", raw, at)[0])

    # A lost segment holds up what came after it: by acknowledged bytes alone, a link that loses one segment
    # in a round trip looks full at half of what it carries.
    segment = u32(_SEGMENT)
    return TcpView(
        rtt_s=u32(_RTT) / 1e6,
        min_rtt_s=u32(_MIN_RTT) / 1e6,
        acked_bytes=u64(_BYTES_ACKED),
        arrived_bytes=u64(_BYTES_ACKED) + u32(_SACKED) * segment,
        retransmits=u32(_TOTAL_RETRANS),
        segments_in=u32(_SEGS_IN),
        segment_bytes=segment,
    )


def tcp_view(sock: socket.socket) -> TcpView | None:
    """What the kernel says of `sock` now; `None` where it says nothing."""
    try:
        return parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, _INFO_BYTES))
    except OSError:
        return None


def newest_rtt_s(before: TcpView, now: TcpView, arrived_bytes: int) -> float:
    """What the answers since `before` took, by how far they moved the kernel's smoothed round trip.

    Each moves it by an eighth (RFC 6298): smoothed, a queue is seen late, and for long after it has gone.
    """
    segments = -(-arrived_bytes // max(1, now.segment_bytes))  # one answer each at most
    answers = max(1, min(segments, (now.segments_in - before.segments_in) & 0xFFFFFFFF))
    moved = 1.0 - 0.875**answers
    return before.rtt_s + (now.rtt_s - before.rtt_s) / moved


def ask(sock: socket.socket, *, congestion: str = "bbr", lower_effort: bool = True) -> dict[str, bool]:
    """Ask for what the host allows before the socket is connected; returns what was granted, by name."""
    granted: dict[str, bool] = {}
    if congestion:
        granted["congestion"] = _set(sock, socket.IPPROTO_TCP, TCP_CONGESTION, congestion.encode())
    if lower_effort:
        v6 = sock.family == socket.AF_INET6
        level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
        granted["lower_effort"] = _set(sock, level, socket.IPV6_TCLASS if v6 else socket.IP_TOS, DSCP_LE)
    return granted


def pace(sock: socket.socket, bytes_s: float) -> bool:
    """Let segments leave no faster than that, evenly (0: as fast as they can); whether the host does it."""
    asked = max(PACE_MIN, min(int(bytes_s), PACE_MAX - 1)) if bytes_s else PACE_MAX
    return _set(sock, socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("=I", asked))


def congestion_of(sock: socket.socket) -> str:
    """The congestion control in use; empty where the kernel does not say."""
    with contextlib.suppress(OSError):
        return sock.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0").decode()
    return ""


def _set(sock: socket.socket, level: int, option: int, value: int | bytes) -> bool:
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, value)
        return True
    return False
