"""Step 7: what `down` may bring at a time, and how late the line answers meanwhile.

Small questions go on the connection of `ctl` while `down` is read, and are awaited beside the reads: an
answer that is noticed only when the next frame is whole is late by that frame. What they say is for
`pipeline.region.level`; its window is set on the socket of `down` as the most that our kernel offers
(`TCP_WINDOW_CLAMP`, Linux; elsewhere nothing is bound). Where a proxy ends the connection, it binds what the
proxy sends us, and no more.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline.throttle import ThrottleView

TCP_WINDOW_CLAMP = getattr(socket, "TCP_WINDOW_CLAMP", 10)
#: The kernel is told a new window when it has moved by that share.
SAY_SHARE = 0.05
#: Nor is it less than so many of the connection's segments, which are 64 KiB within a machine: of a window
#: smaller than one a sender waits for more.
SEGMENTS_MIN = 3


class Sounded(Protocol):
    """Who wants to know (see `pipeline.region.level.Level`). Times in seconds, of a monotonic clock."""

    @property
    def window_bytes(self) -> int:
        """What may be under way to us."""

    @property
    def view(self) -> ThrottleView:
        """How it stands."""

    def on_received(self, now_s: float, received_bytes: int) -> None:
        """So many bytes of `down` came."""

    def asks(self, now_s: float) -> bool:
        """Whether a question should go now."""

    def on_answer(self, now_s: float, rtt_s: float | None) -> None:
        """A question was answered after so long, if that is known."""

    def on_down(self) -> None:
        """The connection is gone."""


@dataclass
class Question:
    """The token of one on its way; `asked_s`: when it was written."""

    asked_s: float = float("inf")


class Sounding:
    """See `Beside`. `post` puts a question on its way, `hear` takes in what was answered, `fileno` is of the
    connection that these are on (-1 while no answer is owed)."""

    def __init__(
        self,
        sounded: Sounded,
        post: Callable[[object, bytes], None],
        hear: Callable[[], None],
        fileno: Callable[[], int],
    ) -> None:
        self.sounded, self._post, self._hear, self.fileno = sounded, post, hear, fileno
        self._sock: socket.socket | None = None
        self._said_bytes = self._segment_bytes = 0
        self._prompt = False

    def received(self, sock: socket.socket, some_bytes: int) -> None:
        """Of `down`, on `sock`."""
        if sock is not self._sock:
            if self._sock is not None:
                self.sounded.on_down()
            self._sock, self._said_bytes = sock, 0
            self._segment_bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        now_s = time.monotonic()
        self.sounded.on_received(now_s, some_bytes)
        self._offer(sock)
        if self.sounded.asks(now_s):
            question = Question()
            self._post(question, b"PING")  # the only command without a key that a region may use
            question.asked_s = time.monotonic()  # it may have had to connect first

    def answered(self, question: Question) -> None:
        """The broker answered."""
        now_s = time.monotonic()
        known = self._prompt and now_s > question.asked_s
        self.sounded.on_answer(now_s, now_s - question.asked_s if known else None)

    def readable(self, waited: bool) -> None:
        """Answers are there. Those that were before we looked (`waited` is false) have waited for us."""
        self._prompt = waited
        try:
            self._hear()
        finally:
            self._prompt = False

    def _offer(self, sock: socket.socket) -> None:
        wanted = max(self.sounded.window_bytes, SEGMENTS_MIN * self._segment_bytes)
        if abs(wanted - self._said_bytes) > SAY_SHARE * self._said_bytes:
            self._said_bytes = wanted
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, TCP_WINDOW_CLAMP, wanted)
