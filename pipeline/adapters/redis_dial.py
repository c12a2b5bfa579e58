"""Steps 3 and 7: dialling the center's broker: redis-py connects and signs in, with our socket options."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from redis.connection import Connection

from pipeline.adapters.throttled import ThrottledSocket


@dataclass(frozen=True)
class Endpoint:
    """Where the center's broker is, as whom, and how patient to be. Times in seconds.

    `user_timeout_s`: bytes unacknowledged for so long mean that the link is down. `notsent_bytes`: what the
    kernel may hold that is not yet on the wire (`None`: as much as it likes).
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    connect_timeout_s: float = 5.0
    auth_timeout_s: float = 20.0
    user_timeout_s: float = 15.0
    stalled_s: float = 60.0
    keepalive_s: int = 15
    notsent_bytes: int | None = 128 * 1024


class Dial(Connection):
    """redis-py's connection with our socket options; it shows the socket as soon as there is one."""

    def __init__(self, at: Endpoint, throttle: ThrottledSocket | None = None) -> None:
        self.at, self.throttle = at, throttle
        self.dialled: socket.socket | None = None
        super().__init__(  # type: ignore[no-untyped-call]
            host=at.host,
            port=at.port,
            username=at.username,
            password=at.password,
            socket_connect_timeout=at.connect_timeout_s,
            socket_timeout=at.auth_timeout_s,
            protocol=2,
            driver_info=None,  # no CLIENT SETINFO: two commands more at each connect
        )

    def _connect(self) -> socket.socket:
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self.at.host, self.at.port, 0, socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            self.dialled = sock
            try:
                _set_options(sock, self.at)
                if self.throttle is not None:
                    self.throttle.ask(sock)
                sock.settimeout(self.at.connect_timeout_s)
                sock.connect(address)
                # Signing in waits behind what the buffer of the line holds.
                sock.settimeout(self.at.auth_timeout_s)
                return sock
            except OSError as why:
                sock.close()
                error = why
        raise error or OSError(f"{self.at.host} has no address")


def _set_options(sock: socket.socket, at: Endpoint) -> None:
    """What the host offers of it; each is a help, none is needed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_KEEPIDLE": at.keepalive_s,
        "TCP_KEEPALIVE": at.keepalive_s,  # macOS's name of the same
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": int(at.user_timeout_s * 1000),
        "TCP_NOTSENT_LOWAT": at.notsent_bytes,
    }
    for name, value in wanted.items():
        option = getattr(socket, name, None)
        if option is not None and value is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
