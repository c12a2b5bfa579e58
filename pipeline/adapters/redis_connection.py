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
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from pipeline.adapters.redis_dial import Dial, Endpoint
from pipeline.adapters.resp import BadReply, Reply, ReplyReader
from pipeline.adapters.throttled import ThrottledSocket
from pipeline.errors import LinkDenied, LinkDown

RECEIVE_BYTES = 64 * 1024
#: What may wait in our memory for room in the socket before `post` waits for it, in bytes.
PENDING_BYTES_MAX = 1024 * 1024
#: How long `close` waits for the thread that is inside, seconds (it was woken; a name look-up cannot be).
CLOSE_WAIT_S = 0.5


class _Command:
    """A command that is owed an answer: the caller's token, its bytes, and when the last one was written."""

    __slots__ = ("bytes", "token", "written_s")

    def __init__(self, token: object) -> None:
        self.token, self.bytes, self.written_s = token, 0, 0.0


class Beside(Protocol):
    """What goes on beside the reading of a connection. `fileno`: what to wait for too; -1: nothing."""

    fileno: Callable[[], int]

    def received(self, sock: socket.socket, some_bytes: int) -> None:
        """So many came on it."""

    def readable(self, waited: bool) -> None:
        """What is waited for too can be read; `waited`: it could not be when we began to."""


class BrokerConnection:
    """See the module. `token` is what the caller wants back with the answer to a command. With a `throttle`
    no more is written than it has room for."""

    def __init__(
        self, at: Endpoint, throttle: ThrottledSocket | None = None, beside: Beside | None = None
    ) -> None:
        self._at, self._throttle, self._beside = at, throttle, beside
        self._dial: Dial | None = None
        self._sock: socket.socket | None = None
        self._pid = os.getpid()
        self._reader = ReplyReader()
        self._owed: deque[_Command] = deque()
        self._pending: deque[tuple[memoryview, _Command, bool]] = deque()  # `True`: a command begins with it
        self._pending_bytes = 0
        self._progress_s = 0.0
        self._inside = threading.Lock()
        self._closing = False

    @property
    def owed(self) -> int:
        """Commands whose answers have not come."""
        return len(self._owed)

    def fileno(self) -> int:
        """Of the socket, while answers are owed; else -1."""
        return self._sock.fileno() if self._owed and self._sock is not None else -1

    @property
    def unwritten_bytes(self) -> int:
        """What waits in our memory for room in the socket."""
        return self._pending_bytes

    def post(self, token: object, *command: bytes | str | int) -> None:
        """Put a command on its way (connecting if need be). Raises `LinkDown`, `LinkDenied`."""
        with self._working():
            dial = self._connected()
            if not self._owed:
                self._progress_s = time.monotonic()
            owed = _Command(token)
            self._owed.append(owed)
            for piece in dial.pack_command(*command):  # type: ignore[no-untyped-call]
                self._pending.append((memoryview(piece), owed, owed.bytes == 0))
                owed.bytes += len(piece)
            self._pending_bytes += owed.bytes
            self._write()
            while self._pending_bytes > PENDING_BYTES_MAX:
                self._wait(None)
                self._read()
                self._write()

    def answers(
        self, wait_s: float, first_only: bool = False, till_begun: bool = False
    ) -> list[tuple[Any, Reply]]:
        """The answers that are there, in order; waits at most `wait_s` for the first (`till_begun`: or until
        one has begun to come, see `beginning`). Nothing owed: none. Raises `LinkDown`."""
        if not self._owed:
            return []
        with self._working():
            deadline_s = time.monotonic() + wait_s
            while True:
                answered = self._drain(first_only)
                if answered or not self._owed or (till_begun and self._reader.beginning()):
                    return answered
                self._write()
                if self._read():
                    continue
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    self._patience_s()
                    return []
                self._wait(left_s)

    def beginning(self) -> bytes:
        """The first bytes of an answer that is still coming; empty where none is."""
        return self._reader.beginning()

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

    def _connected(self) -> Dial:
        if self._pid != os.getpid():
            self._drop()
        if self._dial is None:
            self._pid = os.getpid()
            self._dial = Dial(self._at, self._throttle)
        if self._sock is None:
            self._dial.connect()  # type: ignore[no-untyped-call]
            self._sock = self._dial.dialled
            if self._sock is None or self._closing:
                raise LinkDown("the connection was closed here")
            self._sock.setblocking(False)
            if self._throttle is not None:
                self._throttle.opened(self._sock)
        return self._dial

    def _drop(self) -> None:
        if self._dial is not None:
            self._dial.disconnect()  # type: ignore[no-untyped-call]  # knows about forks
        self._dial = self._sock = None
        if self._throttle is not None:
            self._throttle.closed()
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
            owed = self._owed.popleft()
            answered.append((owed.token, reply[0]))
            if self._throttle is not None:
                self._throttle.answered(owed.bytes, time.monotonic() - owed.written_s)
        return answered

    def _write(self) -> None:
        """As much of what waits as the throttle and the socket take."""
        sock = self._open()
        while self._pending:
            piece, owed, begins = self._pending[0]
            room = len(piece)
            if self._throttle is not None:
                room = self._throttle.room(self._pending_bytes, whole=begins)
                if not room:
                    return
            try:
                sent = sock.send(piece[:room])
            except BlockingIOError:
                return
            self._progress_s = owed.written_s = time.monotonic()
            self._pending_bytes -= sent
            if self._throttle is not None:
                self._throttle.wrote(sent)
            if sent == len(piece):
                self._pending.popleft()
            else:
                self._pending[0] = (piece[sent:], owed, False)

    def _read(self) -> bool:
        """One helping of what came; False if nothing did."""
        sock = self._open()
        try:
            data = sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise LinkDown("the center's broker has closed the connection")
        self._progress_s = time.monotonic()
        self._reader.feed(data)
        if self._beside is not None:
            self._beside.received(sock, len(data))
        if self._throttle is not None:
            self._throttle.look()
        return True

    def _wait(self, left_s: float | None) -> None:
        """Until the socket can be read (or written, if something waits for that), or time is up."""
        patience_s = self._patience_s()
        wait_s = patience_s if left_s is None else min(left_s, patience_s)
        events = select.POLLIN
        if self._pending and self._throttle is not None:
            wait_s = min(wait_s, self._throttle.pause_s)  # nobody tells us that bytes have arrived
        elif self._pending:
            events |= select.POLLOUT
        poll = select.poll()
        poll.register(self._open(), events)
        other = -1 if self._beside is None else self._beside.fileno()
        if self._beside is None or other < 0:
            poll.poll(1000 * wait_s)
            return
        poll.register(other, select.POLLIN)
        ready = poll.poll(0)
        waited = not ready
        if any(one == other for one, _ in ready or poll.poll(1000 * wait_s)):
            self._beside.readable(waited)

    def _patience_s(self) -> float:
        """How long an answer may still take."""
        patience_s = self._progress_s + self._at.stalled_s - time.monotonic()
        if patience_s <= 0:
            raise LinkDown(f"no answer and no progress for {self._at.stalled_s:g} s")
        return patience_s

    def _open(self) -> socket.socket:
        if self._sock is None or self._closing:
            raise LinkDown("the connection was closed here")
        return self._sock
