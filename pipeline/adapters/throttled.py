"""Step 3: the controller on a real socket: how many bytes the connection may write now.

What is under way is counted in one of two ways. The kernel's: bytes that the other side's kernel has not
acknowledged, in order or beyond a hole, and its own round trip; it sees every segment. By answers: bytes of
commands that the broker has not answered, and what the answer took; for hosts without `TCP_INFO`, and for a
path that ends at a proxy on the way (a relay, a tunnel), whose kernel acknowledges what has not crossed the
link. Which one holds is found out: where no answer ever comes promptly after the kernel saw its command
arrive, they come from further away than its peer.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from pipeline.adapters.tcp_kernel import TcpView, ask, newest_rtt_s, pace, tcp_view
from pipeline.adapters.tcp_options import TcpHelp, help_of
from pipeline.throttle import Controller, ThrottleView
from pipeline.throttle.view import SEGMENT_BYTES

#: A full segment with its headers.
FULL_SEGMENT_BYTES = 1500
#: How long the other side waits for a second segment before it answers to one (Linux), seconds.
DELAYED_ANSWER_S = 0.04
#: The kernel is not asked more often, seconds.
LOOK_S = 0.002
#: The kernel is told a new pace when it has moved by that share.
PACE_SHARE = 0.05
#: The connection looks for room again after this share of a round trip, seconds at least and at most.
PAUSE_SHARE, PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 0.002, 0.02
#: An answer is prompt that comes within a round trip and so long after its command has arrived. A proxy is on
#: the way where the first so many are not, or none for so long: one that is late was lost on its way back.
PROMPT_S, PROXY_ANSWERS, PROXY_AFTER_S = 0.002, 6, 5.0
#: Times of arrival that are kept, at most.
ARRIVALS_MAX = 4096


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
        self.by_answers = False
        self._paced_bytes_s = 0.0
        self._sock: socket.socket | None = None
        self._view: TcpView | None = None
        self._looked_s = float("-inf")
        self._retransmits = 0
        self._written = self._arrived = self._answered = 0
        self._acked_first = 0
        self._acked: deque[tuple[int, float]] = deque(maxlen=ARRIVALS_MAX)
        self._late, self._prompt_s = 0, float("-inf")

    # --- the life of a connection ---------------------------------------------------------------

    def ask(self, sock: socket.socket) -> None:
        """Before it connects: for what the host may grant (`help` says what it did)."""
        ask(sock, congestion=self._congestion, lower_effort=self._lower_effort)

    def opened(self, sock: socket.socket) -> None:
        """It is connected and nothing of ours is on it."""
        self._sock, self._view = sock, tcp_view(sock)
        self.by_answers |= self._view is None
        self._acked_first = 0 if self._view is None else self._view.acked_bytes
        self._retransmits = 0 if self._view is None else self._view.retransmits
        self._written = self._arrived = self._answered = 0
        self._acked.clear()
        self._late, self._prompt_s = 0, float("-inf")
        self.controller.on_up(self._now())
        self._paced_bytes_s = 0.0
        self._pace(sock)

    def closed(self) -> None:
        """It is gone."""
        if self._sock is not None:
            self._sock = None
            self.controller.on_down()

    def view(self) -> ThrottleView:
        """How it stands."""
        return replace(self.controller.view(), by_answers=self.by_answers)

    @property
    def help(self) -> TcpHelp | None:
        """What the open connection has of the kernel's help; `None` where none is open."""
        return None if self._sock is None else help_of(self._sock)

    # --- writing --------------------------------------------------------------------------------

    @property
    def pause_s(self) -> float:
        """After which time there may be room again."""
        return max(PAUSE_S_MIN, min(PAUSE_S_MAX, PAUSE_SHARE * (self.controller.rtt_s or 0.0)))

    @property
    def under_way_bytes(self) -> int:
        """What was written and has not arrived, as far as is known."""
        return max(0, self._written - (self._answered if self.by_answers else self._arrived))

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
        self._look_for_a_proxy()

    def look(self) -> None:
        """Ask the kernel what has arrived, if that is not too soon."""
        now_s = self._now()
        if self._sock is None or self.by_answers or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        before, view = self._view, tcp_view(self._sock)
        self._view = view
        if view is None:
            return
        if view.retransmits > self._retransmits:
            self.controller.on_lost(view.retransmits - self._retransmits)
            self._retransmits = view.retransmits
        acked = view.acked_bytes - self._acked_first
        if not self._acked or acked > self._acked[-1][0]:
            self._acked.append((acked, now_s))
        so_far = view.arrived_bytes - self._acked_first
        if so_far > self._arrived:
            arrived, self._arrived = so_far - self._arrived, so_far
            newest_s = view.rtt_s if before is None else newest_rtt_s(before, view, arrived)
            own_s = self._own_s()
            self.controller.on_acked(now_s, arrived, max(view.min_rtt_s, newest_s - own_s))
            self._pace(self._sock)

    def _count_by_answers(self) -> None:
        """What is under way from here on is what the broker has not answered, and the base is another one."""
        self.by_answers = True
        if self._sock is not None:
            self._pace(self._sock)
        self.controller.begin_anew(self.under_way_bytes)

    def _own_s(self) -> float:
        """What full segments take on the line themselves; the base may be that of a small one. An answer is
        to two of them, unless the second takes longer than the other side waits for it."""
        one_s = self.controller.on_the_line_s(FULL_SEGMENT_BYTES)
        return 2 * one_s if one_s <= DELAYED_ANSWER_S else one_s

    def _pace(self, sock: socket.socket) -> None:
        """Spread the window over its round trip. By answers the bytes go to a proxy first: nobody waits."""
        wanted = 0.0 if self.by_answers else self.controller.pace_bytes_s
        if abs(wanted - self._paced_bytes_s) > PACE_SHARE * self._paced_bytes_s:
            self._paced_bytes_s = wanted
            pace(sock, wanted)

    def _look_for_a_proxy(self) -> None:
        if self._view is None:
            return
        while self._acked and self._acked[0][0] < self._answered:
            self._acked.popleft()
        now_s = self._now()
        late_s = now_s - self._acked[0][1] if self._acked else 0.0
        if late_s <= self._view.min_rtt_s + PROMPT_S:
            self._late, self._prompt_s = 0, now_s
            return
        self._late += 1
        if self._late >= PROXY_ANSWERS and now_s - self._prompt_s > PROXY_AFTER_S:
            self._count_by_answers()
