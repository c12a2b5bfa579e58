"""Step 3, the kernel's part: which of its help for TCP a socket has, as the socket itself says.

What was asked for may have been refused, and what was granted may be another thing than what is in use: so
`doctor` reads it back. Constants of Linux where Python has no name for them; elsewhere the kernel says no.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from pipeline.adapters.tcp_kernel import DSCP_LE, congestion_of, tcp_view


@dataclass(frozen=True)
class TcpHelp:
    """`congestion`: the control in use, empty where the kernel does not say. `tcp_info`: it says what has
    arrived. 0 ms, 0 bytes: no bound was accepted."""

    congestion: str
    lower_effort: bool
    tcp_info: bool
    user_timeout_ms: int
    notsent_bytes: int


def help_of(sock: socket.socket) -> TcpHelp:
    """What this socket has; it need not be connected."""
    return TcpHelp(
        congestion=congestion_of(sock),
        lower_effort=_lower_effort(sock),
        tcp_info=tcp_view(sock) is not None,
        user_timeout_ms=_number(sock, socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
        notsent_bytes=_number(sock, socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT"),
    )


def _lower_effort(sock: socket.socket) -> bool:
    if sock.family == socket.AF_INET6:
        marked = _number(sock, socket.IPPROTO_IPV6, "IPV6_TCLASS")
    else:
        marked = _number(sock, socket.IPPROTO_IP, "IP_TOS")
    return marked & 0xFC == DSCP_LE  # the lower two bits are congestion notification's


def _number(sock: socket.socket, level: int, name: str) -> int:
    option = getattr(socket, name, None)
    if option is not None:
        with contextlib.suppress(OSError):
            return max(0, sock.getsockopt(level, option))
    return 0
