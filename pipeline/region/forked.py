"""Step 3: an outbox that is not what the center knows: an old backup, a copy, a lost end. The doubt's voice.

Doubt begins when the center has heard of a higher seq than was ever given out here, when a group of facts is
not of our packets (`Outbox.settle` notes that), or at opening when packets are missing; and it is on the disk
from then on. Nothing is sent while it lasts. First everything that was ever sent must be judged: our own
frames are settled or found lost, and the stream is seen empty, for what lies there may be of whoever had the
folder before. Then the center is asked, portion by portion, what it holds of all packets that have no word
and of all that is in doubt. What it has with our digest is settled; if it has anything else under our
numbers, the rest goes on in a new epoch. So no packet goes twice, and none is dropped.

A kill at any point costs the questions again: what the answers settled is settled, and the end is one
transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.ports import Outbox
from schemas.asks import PACKETS, HeldPacket, pack_packets_args, unpack_packets
from schemas.errors import CodecError
from schemas.messages import Ack, Want
from schemas.ranges import Ranges, merge

#: Why nothing is sent, in words.
HOLDS = "it is being found out which packets the center has"


class Doubts(Protocol):
    """What an outbox keeps of the doubt. Every method is one transaction."""

    def there_are(self) -> bool:
        """Whether any seq is in doubt: then nothing is claimed and nothing announced."""

    def top_seq(self) -> int:
        """The highest seq that was given out, here or (as far as is known) under the same epoch elsewhere."""

    def note(self, seqs: Ranges, why: str, now_ms: int) -> None:
        """These are in doubt, too; new packets get seqs above them."""

    def portion(self, after: int) -> Ranges:
        """What to ask about next, above the seq `after`; `()` when all has been asked."""

    def compare(self, held: list[HeldPacket], now_ms: int) -> Ranges:
        """Settle what the center holds of our packets; returns the seqs under which it has others."""

    def end(self, foreign: Ranges, now_ms: int) -> str:
        """The center has been asked about all, and has others under `foreign`. Returns the new epoch, empty
        where all that was in doubt is ours."""


class Answered(Protocol):
    """A question and what was answered."""

    @property
    def answered_ms(self) -> int | None:
        """When the answer was whole."""

    @property
    def payloads(self) -> tuple[bytes, ...]:
        """Its parts."""


class Asks(Protocol):
    """Where questions to the center are written (the registry)."""

    def ask(self, what: str, args: bytes, now_ms: int) -> int:
        """Ask, and return the question's id."""

    def asked(self, number: int) -> Answered | None:
        """The question; `None` where it is forgotten."""


class _Asked(NamedTuple):
    """The question that is open: its id, and what it is about."""

    id: int
    seqs: Ranges


@dataclass
class Forked:
    """See the module. One of `push`'s voices; it lives as long as the push does."""

    outbox: Outbox
    doubts: Doubts
    asks: Asks
    _said_n: int = 0
    _from_n: int | None = None
    _empty_n: int | None = None
    _drained: bool = False
    _asked: _Asked | None = None
    _after: int = 0
    _foreign: Ranges = ()
    _now_ms: int = 0

    # --- pipeline.region.voices.Voice -----------------------------------------------------------------

    def news(self) -> bool:
        """Whether a want should go now: the first one of a doubt, which begins the judging."""
        if not self._is_there():
            return False
        if self._drained and not self.outbox.in_flight():
            self._find_out()
        return self._from_n is not None and self._said_n < self._from_n

    def ask(self, want: Want) -> Want:
        """The questions themselves are said with all others."""
        self._said_n = want.n
        self._now_ms = want.clock_ms
        return want

    def hear(self, ack: Ack, now_ms: int) -> None:
        """Whether the center knows more of us than we do; and whether what was sent is judged."""
        self._now_ms = now_ms
        top = self.doubts.top_seq()
        if ack.epoch == self.outbox.epoch and ack.known_seq > top:
            self.doubts.note(((top + 1, ack.known_seq + 1),), _older(ack.known_seq, top), now_ms)
        if self._empty_n is not None and ack.n >= self._empty_n:
            self._drained = True

    def holds(self) -> str:
        """Why nothing is sent."""
        return HOLDS if self._is_there() else ""

    def stream_was_empty(self, n: int) -> None:
        """`up` held nothing before want `n` was sent (see `pipeline.region.flights.StreamWatch`)."""
        if self._from_n is not None and n >= self._from_n and self._empty_n is None:
            self._empty_n = n

    # --- inside ---------------------------------------------------------------------------------------

    def _is_there(self) -> bool:
        there = self.doubts.there_are()
        if not there:
            self._from_n = self._empty_n = None
            self._drained = False
            self._begin_asking()
        elif self._from_n is None:
            self._from_n = self._said_n + 1
        return there

    def _begin_asking(self) -> None:
        self._asked, self._after, self._foreign = None, 0, ()

    def _find_out(self) -> None:
        """Ask, take in an answer, ask on, and come to the end."""
        if self._asked is not None:
            row = self.asks.asked(self._asked.id)
            if row is not None and row.answered_ms is None:
                return
            if row is not None and not self._take(row):
                return
            self._asked = None
        seqs = self.doubts.portion(self._after)
        if seqs:
            args = pack_packets_args(self.outbox.epoch, seqs)
            self._asked = _Asked(self.asks.ask(PACKETS, args, self._now_ms), seqs)
            return
        self.doubts.end(self._foreign, self._now_ms)

    def _take(self, row: Answered) -> bool:
        """An answer is whole. False where this version cannot read it: then the doubt stays."""
        assert self._asked is not None
        try:
            held = [one for payload in row.payloads for one in unpack_packets(payload)]
        except CodecError:
            return False
        others = self.doubts.compare(held, self._now_ms)
        self._foreign = merge((*self._foreign, *others))
        self._after = self._asked.seqs[-1][1] - 1
        return True


def _older(known: int, top: int) -> str:
    return (
        f"this folder is older than what it had promised: the center knows of packets up to {known}, and "
        f"here the last one given out is {top}. A backup was restored, or it is a copy"
    )
