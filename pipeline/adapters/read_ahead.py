"""Step 7, pure: which reads of `down` to keep in flight, and which of their answers still hold.

Theory. One read at a time costs a round trip for each; but ids are `<session>-<n>` with n = 1, 2, 3 ..., so
what the next read will ask for is known before this one is answered. Only the first of several waits at the
broker (BLOCK); those ahead of it answer at once, with nothing if the guess was wrong. Were they to wait as
well, one that guessed too far would sleep while the entry before it lies there.

An answer to "after a" holds if `a` is not beyond the position reached: it then begins with the first entry
after `a`, so whatever of it is above the position continues it without a gap. An answer to a guess beyond the
position may have skipped something, and is dropped (rare: it costs its bytes again).

An answer that has begun to come says how many entries it has, and so what the read behind it must ask for:
that one is sent then (`begins`), waiting, and is at the broker before the answer has come to its end. Large
entries on a thin line come one answer after the other; without this each would cost a round trip of silence.

Depth is `READS_MAX` after a full answer, doubles after one that brought something, and is 1 after one that
brought nothing: a burst is fetched in one round trip more; an ack now and then costs a vain read or a few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.ports import EntryId

#: Reads in flight while data flows, and entries that one read asks for.
READS_MAX = 6
ENTRIES_PER_READ = 4

Entry = tuple[EntryId, bytes]


class Ask(NamedTuple):
    """A read to send now. `waits`: at the broker, until something is there."""

    after: EntryId
    waits: bool


class ReadAhead:
    """The reads of one connection. `position` is the last entry that was handed out."""

    def __init__(self, position: EntryId = EntryId(0, 0)) -> None:  # noqa: B008  (immutable)
        self.position = position
        self._in_flight: deque[EntryId] = deque()
        self._depth = 1

    def due(self) -> list[Ask]:
        """The reads to send now; they count as in flight."""
        asks: list[Ask] = []
        if not self._in_flight:
            asks.append(Ask(self.position, waits=True))
            self._in_flight.append(self.position)
        while len(self._in_flight) < self._depth:
            guess = max(self._in_flight[-1], self.position)
            guess = EntryId(guess.session, guess.n + ENTRIES_PER_READ)
            asks.append(Ask(guess, waits=False))
            self._in_flight.append(guess)
        return asks

    def begins(self, first: EntryId, count: int) -> list[Ask]:
        """An answer of `count` entries from `first` on has begun to come: the read behind it, unless that is
        in flight already, or the answer is one to a guess and will be dropped. It counts as in flight."""
        last = EntryId(first.session, first.n + count - 1)
        if not self._in_flight or self._in_flight[0] > self.position:
            return []
        if last in self._in_flight or last <= self.position or len(self._in_flight) >= READS_MAX:
            return []
        self._in_flight.append(last)
        return [Ask(last, waits=True)]

    def answered(self, after: EntryId, entries: Sequence[Entry]) -> list[Entry]:
        """The read "after `after`" is answered, so all before it are done with; returns what of the answer
        continues the position, which moves."""
        while self._in_flight and self._in_flight.popleft() != after:
            pass
        fresh = [one for one in entries if one[0] > self.position] if after <= self.position else []
        deeper = READS_MAX if len(entries) == ENTRIES_PER_READ else 2 * self._depth
        self._depth = min(deeper, READS_MAX) if fresh else 1
        if fresh:
            self.position = fresh[-1][0]
        return fresh

    def moves_to(self, after: EntryId) -> bool:
        """The caller's position. False if the reads in flight cannot serve it: then the connection must go,
        since a read that waits beyond it would sleep over what the caller asks for."""
        serves = after >= self.position or not self._in_flight
        self.position = after
        return serves
