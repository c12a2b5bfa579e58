"""Steps 2 and 7, pure: how a region finds out where it differs from the center, and what then is to be done.

A `Search` compares digests of ranges, splits those that differ, and lists exactly what is in those that
are small. It says what to ask next, and is told the answers; what we hold ourselves it asks its `Side`. What
is on its way looks like a difference, so there are two looks, and only what differed in both, and did not
change in between, counts. What to do about one difference is decided by `mend_packet` and `mend_record`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from schemas.asks import HeldPacket
from schemas.compare import RANGES_A_LIST, RANGES_A_QUESTION, ListedRecord
from schemas.messages import ASKS_MAX
from schemas.ranges import Ranges, merge
from schemas.verdicts import Status

#: A range that differs and holds at most so many, on either side, is listed instead of split.
SMALL = 100
#: Differences that one reconciliation finds out exactly; where there are more, the next one goes on.
DIFFERENCES_MAX = 10_000
#: What is listed for that.
LISTED_MAX = 4 * DIFFERENCES_MAX


class Question(NamedTuple):
    """What to ask the center (`schemas.messages.Ask`)."""

    what: str
    args: bytes


class Difference(NamedTuple):
    """What differs: a NIK or a seq, what the center holds of it and what we do (`None`: nothing)."""

    key: int
    theirs: Any
    ours: Any


class Digest(Protocol):
    """What stands for a range; `n` is how many are in it."""

    @property
    def n(self) -> int: ...

    def agrees(self, other: Any) -> bool:
        """Whether both are of the same."""


class Side(Protocol):
    """One kind of thing to compare: how it is asked for, and what we hold of it."""

    def compare(self, bounds: Sequence[int]) -> Question:
        """The question for the digests of the ranges between `bounds`."""

    def theirs(self, bounds: Sequence[int], payloads: Sequence[bytes]) -> Sequence[Digest]:
        """The center's digests; raises `CodecError`."""

    def ours(self, bounds: Sequence[int]) -> Sequence[Digest]:
        """The same of what we hold."""

    def split(self, start: int, stop: int, n: int) -> Sequence[int]:
        """Boundaries, `start` and `stop` among them, at which to divide a range of which we hold `n`."""

    def listing(self, ranges: Ranges) -> Question:
        """The question for exactly what is in these ranges."""

    def differences(self, ranges: Ranges, payloads: Sequence[bytes]) -> Iterable[Difference]:
        """What differs in them; raises `CodecError`."""


@dataclass
class Search:
    """A comparison under way: ask `questions`, `take` each answer, until there are none left.

    `differing` is what was found so far (after `again`: in both looks). `compared`: how many the center holds
    of what was asked first. `cut`: there was more than is looked at exactly.
    """

    side: Side
    first: Sequence[Sequence[int]]
    differing: dict[int, Difference] = field(default_factory=dict)
    compared: int = 0
    cut: bool = False
    _open: dict[Question, tuple[bool, Any]] = field(default_factory=dict)
    _small: list[tuple[int, int]] = field(default_factory=list)
    _before: dict[int, Difference] | None = None
    _firsts: int = 0
    _listed: int = 0

    def __post_init__(self) -> None:
        for bounds in self.first:
            self._compare(bounds)
        self._firsts = len(self._open)

    def questions(self) -> tuple[Question, ...]:
        """What is open now, at most as many as one want asks."""
        return tuple(self._open)[:ASKS_MAX]

    def take(self, question: Question, payloads: Sequence[bytes]) -> None:
        """The whole answer to one of `questions`. Raises `CodecError` where it is none."""
        lists, what = self._open[question]
        if lists:
            for one in self.side.differences(what, payloads):
                self._found(one)
        else:
            self._take_digests(what, payloads)
        del self._open[question]
        if not self._open and self._small and self._before is None:
            self._list(merge(self._small))
            self._small.clear()

    def again(self) -> None:
        """The second look, at what differed in the first one."""
        self._before, self.differing = self.differing, {}
        where = merge((key, key + 1) for key in self._before)
        self._list(where)

    def _compare(self, bounds: Sequence[int]) -> None:
        for at in range(0, len(bounds) - 1, RANGES_A_QUESTION):
            part = tuple(bounds[at : at + RANGES_A_QUESTION + 1])
            self._open[self.side.compare(part)] = (False, part)

    def _list(self, ranges: Ranges) -> None:
        for at in range(0, len(ranges), RANGES_A_LIST):
            part = ranges[at : at + RANGES_A_LIST]
            self._open[self.side.listing(part)] = (True, part)

    def _take_digests(self, bounds: Sequence[int], payloads: Sequence[bytes]) -> None:
        theirs, ours = self.side.theirs(bounds, payloads), self.side.ours(bounds)
        if self._firsts:
            self._firsts -= 1
            self.compared += sum(one.n for one in theirs)
        for (start, stop), there, here in zip(pairwise(bounds), theirs, ours, strict=True):
            if there.agrees(here) or self.cut:
                continue
            if (n := max(there.n, here.n)) <= SMALL or stop - start == 1:
                self._to_list(start, stop, n)
            else:
                self._compare(self.side.split(start, stop, here.n))

    def _to_list(self, start: int, stop: int, n: int) -> None:
        """Ranges in which something differs are listed exactly, so many of them."""
        self._listed += n
        if self._listed > LISTED_MAX:
            self.cut = True
            return
        self._small.append((start, stop))

    def _found(self, one: Difference) -> None:
        if self._before is not None and self._before.get(one.key) != one:
            return
        if len(self.differing) >= DIFFERENCES_MAX:
            self.cut = True
            return
        self.differing[one.key] = one


def evenly(start: int, stop: int, ways: int = RANGES_A_QUESTION) -> list[int]:
    """Boundaries that divide `[start, stop)` into at most so many parts of about the same width."""
    ways = min(ways, stop - start)
    return [start + (stop - start) * n // ways for n in range(ways + 1)]


def differences(keys: Iterable[int], theirs: dict[int, Any], ours: dict[int, Any]) -> Iterator[Difference]:
    """Those of `keys` of which both do not agree (what is missing on both sides does not differ)."""
    for key in keys:
        there, here = theirs.get(key), ours.get(key)
        if there is None and here is None:
            continue
        if there is None or here is None or not here.agrees(there):
            yield Difference(key, there, here)


# --- what to do -----------------------------------------------------------------------------------


class Mend(Enum):
    """What is done about a difference; the value is how it is counted and said."""

    FETCH = "fetched again"
    SEND = "sent again"
    SETTLE = "settled"
    SUSPECT = "found to be used for other contents"
    ON_ITS_WAY = "on its way"
    ONLY_HERE = "records that only this region has"
    PRUNED = "packets that the center lacks and whose attachments were deleted here"
    DROPPED = "packets that the center lacks and that were given up here"
    OLD = "packets of an earlier epoch that the center lacks"
    ABSENT = "packets of this epoch that only the center has"


#: What is left when all is done, and what a person has to look at.
LEFT = frozenset({Mend.SUSPECT, Mend.ONLY_HERE, Mend.PRUNED, Mend.OLD, Mend.ABSENT})


class OurPacket(NamedTuple):
    """A packet in our outbox: `status` and `fact_no` are the center's latest word (`None`: no word).
    `pruned`: parts of it are deleted. `past`: it is of an earlier epoch. `dropped`: given up by a person. One
    that was refused and is tried again has no word, and still the refusal's position."""

    seq: int
    status: Status | None
    fact_no: int | None
    digest: bytes
    pruned: bool = False
    past: bool = False
    dropped: bool = False

    def agrees(self, theirs: HeldPacket) -> bool:
        """Whether the center says the same of the same contents."""
        return self.status is theirs.status and self.same(theirs)

    def same(self, theirs: HeldPacket) -> bool:
        """Whether the contents are the same, as far as is known: of a refused packet the center has none."""
        return not theirs.digest or theirs.status is Status.REFUSED or theirs.digest == self.digest


def mend_packet(one: Difference, settled_to: int) -> Mend:
    """What to do about a packet; `settled_to`: up to which position facts are settled here."""
    theirs: HeldPacket | None = one.theirs
    ours: OurPacket | None = one.ours
    if ours is None:
        return Mend.ABSENT
    if theirs is None:
        if ours.status is None:
            return Mend.ON_ITS_WAY  # it waits, or travels
        if ours.past:
            return Mend.OLD
        if ours.dropped:
            return Mend.DROPPED
        return Mend.PRUNED if ours.pruned else Mend.SEND
    if ours.past or theirs.fact_no > settled_to:
        return Mend.ON_ITS_WAY  # an earlier epoch is settled by facts, and what it lost is numbered anew
    if ours.status is None and ours.fact_no == theirs.fact_no:
        return Mend.ON_ITS_WAY  # it was refused, and is tried again
    return Mend.SETTLE if ours.same(theirs) else Mend.SUSPECT


def mend_record(one: Difference) -> Mend:
    """What to do about a record (`ListedRecord` on both sides)."""
    theirs: ListedRecord | None = one.theirs
    return Mend.ONLY_HERE if theirs is None else Mend.FETCH
