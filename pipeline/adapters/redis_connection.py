"""Steps 3 and 7: one TCP connection to the center's broker on which many commands are in flight.

redis-py dials, authenticates and packs; sending and receiving are done here without ever blocking on one
direction only: what does not fit into the socket waits in our memory, and is written while answers are
read. Time on a slow link is judged by progress, never by the size of what travels: a frame of 256 KiB takes
16 s at 128 kbit/s. A peer that is gone is noticed by the kernel (`TCP_USER_TIMEOUT`, keepalive); `stalled_s`
stands behind it for what the kernel cannot see (a proxy that acknowledges for a peer that is gone).

One thread works with a connection at a time (the caller's lock or habit); `close` may come from any other.
Forks: a child must not use its parent's connection. It is noticed by the process id: the child's first call
drops the copy (without a shutdown, which would end the parent's) and connects anew. Fork before threads.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis.connection import Connection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from pipeline.adapters.resp import BadReply, Reply, ReplyReader
from pipeline.errors import LinkDenied, LinkDown

RECEIVE_BYTES = 64 * 1024
#: What may wait in our memory for room in the socket before `post` waits for it, in bytes.
PENDING_BYTES_MAX = 1024 * 1024
#: How long `close` waits for the thread that is inside, seconds (it was woken; a name look-up cannot be).
CLOSE_WAIT_S = 0.5


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


class _Dial(Connection):
    """redis-py's connection with our socket options; it shows the socket as soon as there is one."""

    def __init__(self, at: Endpoint) -> None:
        self.at = at
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
                sock.settimeout(self.at.connect_timeout_s)
                sock.connect(address)
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


class BrokerConnection:
    """See the module. `token` is whatever the caller wants back with the answer to a command."""

    def __init__(self, at: Endpoint) -> None:
        self._at = at
        self._dial: _Dial | None = None
        self._sock: socket.socket | None = None
        self._pid = os.getpid()
        self._reader = ReplyReader()
        self._owed: deque[Any] = deque()
        self._pending: deque[memoryview] = deque()
        self._pending_bytes = 0
        self._progress_s = 0.0
        self._inside = threading.Lock()
        self._closing = False

    @property
    def owed(self) -> int:
        """Commands whose answers have not come."""
        return len(self._owed)

    def post(self, token: object, *command: bytes | str | int) -> None:
        """Put a command on its way (connecting if need be). Raises `LinkDown`, `LinkDenied`."""
        with self._working():
            dial = self._connected()
            if not self._owed:
                self._progress_s = time.monotonic()
            self._owed.append(token)
            for piece in dial.pack_command(*command):  # type: ignore[no-untyped-call]
                self._pending.append(memoryview(piece))
                self._pending_bytes += len(piece)
            self._write()
            while self._pending_bytes > PENDING_BYTES_MAX:
                self._wait(None)
                self._read()
                self._write()

    def answers(self, wait_s: float, first_only: bool = False) -> list[tuple[Any, Reply]]:
        """The answers that are there, in order; waits at most `wait_s` for the first. Nothing owed: none.
        Raises `LinkDown`."""
        if not self._owed:
            return []
        with self._working():
            deadline_s = time.monotonic() + wait_s
            while True:
                answered = self._drain(first_only)
                if answered or not self._owed:
                    return answered
                self._write()
                if self._read():
                    continue
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return []
                self._wait(left_s)

    def call(self, *command: bytes | str | int) -> Reply:
        """One command and its answer; nothing else may be owed. Raises `LinkDown`, `LinkDenied`."""
        self.post(None, *command)
        while True:
            for _, reply in self.answers(self._at.stalled_s, first_only=True):
                return reply
            if not self._owed:
                raise LinkDown("the connection was closed while an answer was owed")

    def close(self) -> None:
        """Let go, from any thread; a thread that waits inside gets `LinkDown` at once."""
        self._closing = True
        dial = self._dial
        if dial is not None and dial.dialled is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                dial.dialled.shutdown(socket.SHUT_RDWR)
        if self._inside.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._drop()
                self._closing = False
            finally:
                self._inside.release()

    # --- inside ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Errors of the socket and of redis-py become ours, and the connection is dropped with them."""
        with self._inside:
            done = False
            try:
                yield
                if self._closing:
                    raise LinkDown("the connection was closed here")
                done = True
            except (AuthenticationError, NoPermissionError) as why:
                raise LinkDenied(f"the center's broker refuses us: {why} (look at the join file)") from why
            except (RedisError, OSError, BadReply) as why:
                raise LinkDown(f"{self._at.host}:{self._at.port}: {why}") from why
            finally:
                if not done:
                    self._drop()
                    self._closing = False

    def _connected(self) -> _Dial:
        if self._pid != os.getpid():
            self._drop()
        if self._dial is None:
            self._pid = os.getpid()
            self._dial = _Dial(self._at)
        if self._sock is None:
            self._dial.connect()  # type: ignore[no-untyped-call]
            self._sock = self._dial.dialled
            if self._sock is None or self._closing:
                raise LinkDown("the connection was closed here")
            self._sock.setblocking(False)
        return self._dial

    def _drop(self) -> None:
        if self._dial is not None:
            self._dial.disconnect()  # type: ignore[no-untyped-call]  # knows about forks
        self._dial = self._sock = None
        self._reader = ReplyReader()
        self._owed.clear()
        self._pending.clear()
        self._pending_bytes = 0

    def _drain(self, first_only: bool) -> list[tuple[Any, Reply]]:
        answered: list[tuple[Any, Reply]] = []
        while self._owed and not (answered and first_only):
            reply = self._reader.next()
            if reply is None:
                break
            answered.append((self._owed.popleft(), reply[0]))
        return answered

    def _write(self) -> None:
        """As much of what waits as the socket takes."""
        sock = self._open()
        while self._pending:
            piece = self._pending[0]
            try:
                sent = sock.send(piece)
            except BlockingIOError:
                return
            self._progress_s = time.monotonic()
            self._pending_bytes -= sent
            if sent == len(piece):
                self._pending.popleft()
            else:
                self._pending[0] = piece[sent:]

    def _read(self) -> bool:
        """One helping of what came; False if nothing did."""
        try:
            data = self._open().recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise LinkDown("the center's broker has closed the connection")
        self._progress_s = time.monotonic()
        self._reader.feed(data)
        return True

    def _wait(self, left_s: float | None) -> None:
        """Until the socket can be read (or written, if something waits for that), or time is up."""
        patience_s = self._progress_s + self._at.stalled_s - time.monotonic()
        if patience_s <= 0:
            raise LinkDown(f"no answer and no progress for {self._at.stalled_s:g} s")
        poll = select.poll()
        poll.register(self._open(), select.POLLIN | (select.POLLOUT if self._pending else 0))
        poll.poll(1000 * (patience_s if left_s is None else min(left_s, patience_s)))

    def _open(self) -> socket.socket:
        if self._sock is None or self._closing:
            raise LinkDown("the connection was closed here")
        return self._sock
