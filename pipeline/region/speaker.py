"""Who speaks: the region's half of `want` and `ack`. Decides when a want is due, and what an ack means.

Pure but for one lock: `push` and `pull` share it between their threads. It reads no clock; `now_s` is a
monotonic time in seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from pipeline.ports import Cursors
from schemas.messages import Ack, Want

#: A standing want is repeated this often, seconds.
REPEAT_S = 30.0
#: The same while something is on its way and nothing moves, or no session is granted yet.
WAITING_REPEAT_S = 4.0
#: Wants whose cursors are remembered.
SAID_MAX = 64
#: Between two wants that only bring news (cursors, level), seconds; and the news of a voice (a question).
NEWS_S, VOICE_S = 1.0, 0.1


class Heard(Enum):
    """What an ack means for us."""

    STALE = "it answers an older grant or another instance"
    GRANTED = "a session begins"
    ANSWER = "our session goes on"
    SUPERSEDED = "another instance speaks as this region"
    REFUSED = "the center does not let us speak"
    OUTDATED = "a session begins from where we no longer are"


class _Said(NamedTuple):
    """What a want said, as far as a change of it is news."""

    grant: int
    facts: int
    records: int
    level: int
    fresh: bool
    back: tuple[int, ...]


def _said(grant: int, cursors: Cursors, level: int) -> _Said:
    back = cursors.back
    at = () if back is None else (back.pass_no, back.floor, back.at, back.top, back.opened_ms)
    return _Said(grant, cursors.facts, cursors.records, level, cursors.fresh, at)


def _begin(cursors: Cursors) -> Cursors:
    """From where a session begins. What it sends again of a rebuild does no harm, so that may have moved."""
    return cursors._replace(back=None)


def _below(cursors: Cursors, before: Cursors) -> bool:
    return cursors.facts < before.facts or cursors.records < before.records


@dataclass
class Speaker:
    """The state of the conversation. `n` counts our wants; `grant` our requests for a session.

    `session` is 0 until granted. `answer` is the newest ack of our session. `hold_until_s` while the center
    asks us to wait. `window_bytes` is the receipt window in force: 0 until an ack names it. `level_bytes` is
    what `pull` finds that `down` should hold: 0 until it knows.
    """

    instance: str
    window_bytes: int = 0
    take_over: bool = False
    whole: bool = False
    titian: str = ""
    grant: int = 1
    session: int = 0
    n: int = 0
    answer: Ack | None = None
    superseded: bool = False
    refusal: str = ""
    hold_until_s: float = 0.0
    level_bytes: int = 0
    _sent_s: float | None = None
    _ours_to: int = 0
    _stood: Cursors | None = None
    _said: _Said | None = None
    _cursors_said: dict[int, Cursors] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def due(self, now_s: float, cursors: Cursors, level: int, waiting: bool, voices: bool = False) -> bool:
        """Whether a want should go now. `waiting`: something of ours is on its way and unanswered; `voices`:
        one has something to say at once."""
        with self._lock:
            if self.superseded:
                return False
            if self._sent_s is None:
                return True
            idle_s = now_s - self._sent_s
            if voices and idle_s >= VOICE_S:
                return True
            news = self._said != _said(self.grant, cursors, level)
            answered = self.answer is not None and self.answer.n >= self.n
            if (news and answered) or (self.session and waiting and answered):
                return idle_s >= NEWS_S
            if self._said is not None and self._said.grant != self.grant:
                return idle_s >= NEWS_S  # a new session is asked for: nothing else moves until it is granted
            return idle_s >= (WAITING_REPEAT_S if waiting or not self.session else REPEAT_S)

    def next_n(self) -> int:
        """The number that the next want will carry."""
        with self._lock:
            return self.n + 1

    @property
    def unanswered(self) -> bool:
        """Whether no session is granted, or the last two wants of it brought no answer."""
        with self._lock:
            return self.answer is None or self.answer.n < self.n - 1

    def want(
        self, now_s: float, now_ms: int, *, epoch: str, highest_seq: int, cursors: Cursors, level: int
    ) -> Want:
        """The want to send now. Cursors that lie below what this session has said (a comparison found that
        the ledger went back, and told nobody) ask for a new session: in this one nothing would come again."""
        with self._lock:
            self.n += 1
            if self.session and self._stood is not None and _below(cursors, self._stood):
                self._renew()
            self._stood = cursors if self.session else None
            self._sent_s = now_s
            self._said = _said(self.grant, cursors, level)
            self._cursors_said[self.n] = _begin(cursors)
            self._cursors_said.pop(self.n - SAID_MAX, None)
            return Want(
                n=self.n,
                instance=self.instance,
                grant=self.grant,
                session=self.session,
                epoch=epoch,
                highest_seq=highest_seq,
                clock_ms=max(0, now_ms),
                facts=cursors.facts,
                records=cursors.records,
                history=list(cursors.history),
                level=level,
                whole=self.whole,
                take_over=self.take_over,
                fresh=cursors.fresh,
                back=cursors.back,
                titian=self.titian,
            )

    def hear(self, ack: Ack, now_s: float, cursors: Cursors) -> Heard:
        """Take in an ack; what it says about rewinding and facts is for the caller to act on, before anything
        else of that session.

        A session begins from the cursors of the want that the ack answers. If we have moved since (an old
        want, answered by a ledger that was restored), it is not taken: what we hold above might be lost.
        """
        with self._lock:
            if ack.instance == "-":  # sealed to our key, so it is for us
                self.refusal = ack.refusal
                return Heard.REFUSED
            if ack.instance != self.instance:
                if self.session and ack.session > self.session:
                    self.superseded = True
                    return Heard.SUPERSEDED
                return Heard.STALE
            if ack.superseded:
                self.superseded = True
                return Heard.SUPERSEDED
            if ack.grant != self.grant or ack.n > self.n or ack.session < self.session:
                if ack.session > self.session:  # a ledger that was restored answers what we said long ago
                    self._ours_to, self._sent_s = max(self._ours_to, ack.session), None
                return Heard.STALE
            begins = ack.session != self.session
            if not begins and self.answer is not None and ack.n < self.answer.n:
                return Heard.STALE
            if begins and self._cursors_said.get(ack.n) != _begin(cursors):
                return Heard.OUTDATED
            self.session = ack.session
            self.answer = ack
            self.refusal = ack.refusal
            self.window_bytes = ack.window_bytes
            self.hold_until_s = now_s + ack.hold_s if ack.hold_s else 0.0
            self.take_over = False
            if begins:  # its rewind, if any, comes next
                self._stood = None
            return Heard.GRANTED if begins else Heard.ANSWER

    def meet(self, session: int) -> None:
        """An entry of `session` was met in `down`; one later than ours, without an ack for us before it,
        means that another instance speaks as this region."""
        with self._lock:
            if 0 < self.session < session and session > self._ours_to:
                self.superseded = True

    def ask_anew(self, *, whole: bool = False, outdated: bool = False) -> None:
        """A gap, a damaged frame or another incarnation: ask for a new session, from our cursors on."""
        with self._lock:
            if self.session or outdated:
                self._renew()
            self.whole = self.whole or whole

    def repeat(self) -> None:
        """The connection is new: what was said may not have arrived, so say it at once."""
        with self._lock:
            self._sent_s = None

    def _renew(self) -> None:
        self.grant += 1
        self.session = 0
        self.answer = None
        self._stood = None
