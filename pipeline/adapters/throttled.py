"""Step 3: the controller on a real socket: how many bytes the connection may write now.

What is under way is counted in one of two ways. The kernel's: bytes that the other side's kernel has not
acknowledged, and its own round trip; it sees every segment. By answers: bytes of commands that the broker
has not answered, and what the answer took; for hosts without `TCP_INFO`, and for a path that ends at a proxy
on the way (a relay, a tunnel), whose kernel acknowledges what has not crossed the link. Which one holds is
found out: answers that take far longer than the kernel's round trip come from further away than its peer.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from pipeline.adapters.tcp_kernel import TcpView, ask, congestion_of, tcp_view
from pipeline.throttle import Controller, ThrottleView
from pipeline.throttle.view import SEGMENT_BYTES

#: A full segment with its headers.
FULL_SEGMENT_BYTES = 1500
#: The kernel is not asked more often, seconds.
LOOK_S = 0.002
#: The connection looks for room again after this share of a round trip, seconds at least and at most.
PAUSE_SHARE, PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 0.002, 0.02
#: A proxy is on the way where the fastest of so many answers takes more than so many round trips and so long.
PROXY_ANSWERS, PROXY_TRIPS, PROXY_S = 6, 4.0, 0.01


class ThrottledSocket:
    """One connection after the other, under one controller. One thread; `now` is a monotonic clock."""

    def __init__(
        self,
        controller: Controller,
        now: Callable[[], float],
        *,
        congestion: str = "bbr",
        lower_effort: bool = True,
    ) -> None:
        self.controller, self._now = controller, now
        self._congestion, self._lower_effort = congestion, lower_effort
        self.granted: dict[str, bool] = {}
        self.congestion = ""
        self.by_answers = False
        self._sock: socket.socket | None = None
        self._view: TcpView | None = None
        self._looked_s = float("-inf")
        self._acked_first = self._retransmits = 0
        self._written = self._acked = self._answered = 0
        self._took: deque[float] = deque(maxlen=PROXY_ANSWERS)

    # --- the life of a connection ---------------------------------------------------------------

    def ask(self, sock: socket.socket) -> None:
        """Before it connects: what the host grants."""
        self.granted = ask(sock, congestion=self._congestion, lower_effort=self._lower_effort)

    def opened(self, sock: socket.socket) -> None:
        """It is connected and nothing of ours is on it."""
        self._sock, self._view = sock, tcp_view(sock)
        self.congestion = congestion_of(sock)
        self.by_answers |= self._view is None
        self._acked_first = 0 if self._view is None else self._view.acked_bytes
        self._retransmits = 0 if self._view is None else self._view.retransmits
        self._written = self._acked = self._answered = 0
        self._took.clear()
        self.controller.on_up(self._now())

    def closed(self) -> None:
        """It is gone."""
        if self._sock is not None:
            self._sock = None
            self.controller.on_down()

    def view(self) -> ThrottleView:
        """How it stands."""
        return replace(self.controller.view(), by_answers=self.by_answers)

    # --- writing --------------------------------------------------------------------------------

    @property
    def pause_s(self) -> float:
        """After which time there may be room again."""
        return max(PAUSE_S_MIN, min(PAUSE_S_MAX, PAUSE_SHARE * (self.controller.rtt_s or 0.0)))

    @property
    def under_way_bytes(self) -> int:
        """What was written and has not arrived, as far as is known."""
        return max(0, self._written - (self._answered if self.by_answers else self._acked))

    def room(self, wanted: int, *, whole: bool) -> int:
        """How many of `wanted` bytes may be written now; `whole`: they begin a command.

        Less than a segment is written only if it is all: half a segment costs as much as a full one. By
        answers a command that has begun is always written to its end, since nobody answers half of one.
        """
        self.look()
        room = self.controller.window_bytes - self.under_way_bytes
        if self.by_answers:
            return wanted if not whole or room > 0 else 0
        return wanted if room >= wanted else (room if room >= SEGMENT_BYTES else 0)

    def wrote(self, sent_bytes: int) -> None:
        """The socket took so many."""
        self._written += sent_bytes
        self.controller.on_sent(self._now(), sent_bytes)

    def answered(self, command_bytes: int, took_s: float) -> None:
        """The broker answered a command; `took_s` since its last byte went into the socket."""
        self._answered += command_bytes
        if self.by_answers:  # what the command itself took on the line is no queue
            rtt_s = max(0.0, took_s - self.controller.on_the_line_s(command_bytes))
            self.controller.on_acked(self._now(), command_bytes, rtt_s)
            return
        self.look()
        self._took.append(took_s)
        view = self._view
        far = PROXY_TRIPS * view.rtt_s + PROXY_S if view is not None else 0.0
        if len(self._took) == PROXY_ANSWERS and min(self._took) > far:
            self._count_by_answers()

    def look(self) -> None:
        """Ask the kernel what has arrived, if that is not too soon."""
        now_s = self._now()
        if self._sock is None or self.by_answers or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        view = self._view = tcp_view(self._sock)
        if view is None:
            return
        if view.retransmits > self._retransmits:
            self.controller.on_lost(view.retransmits - self._retransmits)
            self._retransmits = view.retransmits
        acked = view.acked_bytes - self._acked_first
        if acked > self._acked:
            arrived, self._acked = acked - self._acked, acked
            # An answer is to two full segments at a time; the base may be that of a small one.
            own_s = self.controller.on_the_line_s(2 * FULL_SEGMENT_BYTES)
            self.controller.on_acked(now_s, arrived, max(view.min_rtt_s, view.rtt_s - own_s))

    def _count_by_answers(self) -> None:
        """What is under way from here on is what the broker has not answered, and the base is another one."""
        self.by_answers = True
        self.controller.begin_anew(self.under_way_bytes)
