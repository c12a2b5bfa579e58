"""Steps 2 and 7, pure: what is compared: records by NIK, packets of an epoch by seq, and these by day.

The stores say what we hold through two small ports; the forms of questions and answers are
`schemas.compare`'s (and of the exact packets `schemas.asks`').
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.region.reconcile import SMALL, Difference, OurPacket, Question, differences, evenly
from schemas import compare
from schemas.asks import PACKETS, HeldPacket, pack_packets_args, unpack_packets
from schemas.compare import (
    DAY_MS,
    NIK_STOP,
    SEQS_A_RANGE_MAX,
    ComparePackets,
    CompareRecords,
    ListedRecord,
    PacketsDigest,
    RecordsDigest,
    Tops,
)
from schemas.ranges import Ranges, numbers
from schemas.verdicts import Status

#: Days by which packets are looked at: each of the last 28, then weeks, then months of 30 days.
_DAYS, _WEEKS, _MONTHS = 28, 12, 22


class OurRecords(Protocol):
    """What the registry holds, each time as it is now or was at one moment of this reconciliation."""

    def digests(self, bounds: Sequence[int]) -> list[RecordsDigest]:
        """Of the ranges between `bounds`, from what the rows say."""

    def split(self, start: int, stop: int, ways: int) -> Sequence[int]:
        """Boundaries between which there are about as many records each."""

    def listed(self, ranges: Ranges) -> dict[int, ListedRecord]:
        """The records of these ranges, as they are now."""


class OurPackets(Protocol):
    """What the outbox holds of packets of which the center has said something."""

    def digests(self, epoch: str, bounds: Sequence[int]) -> list[PacketsDigest]:
        """Of the ranges between `bounds`."""

    def by_day(self, epoch: str, days: Sequence[int], stop: int) -> list[list[int]]:
        """How many there are below the seq `stop`, as `schemas.compare` counts them."""

    def packets(self, epoch: str, ranges: Ranges) -> dict[int, OurPacket]:
        """The packets of these seqs, those without a word of the center too."""


@dataclass
class RecordsSide:
    """See `reconcile.Side`. `tops` and `unknown` are those of the first answer: the center's numbers then,
    and of how many records it does not know the leaf yet (these are compared by their versions)."""

    store: OurRecords
    tops: Tops | None = None
    unknown: int = 0

    first = ((0, NIK_STOP),)

    def compare(self, bounds: Sequence[int]) -> Question:
        """See the port. Statuses are counted with the first one."""
        statuses = tuple(bounds) == self.first[0]
        return Question(
            compare.RECORDS, compare.pack_compare_records(CompareRecords(tuple(bounds), statuses))
        )

    def theirs(self, bounds: Sequence[int], payloads: Sequence[bytes]) -> Sequence[RecordsDigest]:
        """See the port."""
        tops, digests = compare.unpack_compared_records(b"".join(payloads), len(bounds) - 1)
        if self.tops is None:
            self.tops, self.unknown = tops, sum(one.unknown for one in digests)
        return digests

    def ours(self, bounds: Sequence[int]) -> Sequence[RecordsDigest]:
        """See the port."""
        return self.store.digests(bounds)

    def split(self, start: int, stop: int, n: int) -> Sequence[int]:
        """See the port. By what we hold, unless that is next to nothing."""
        return self.store.split(start, stop, compare.RANGES_A_QUESTION) if n > SMALL else evenly(start, stop)

    def listing(self, ranges: Ranges) -> Question:
        """See the port."""
        return Question(compare.LIST_RECORDS, compare.pack_list_records(ranges))

    def differences(self, ranges: Ranges, payloads: Sequence[bytes]) -> Iterable[Difference]:
        """See the port."""
        theirs = {one.nik: one for one in compare.unpack_listed(b"".join(payloads))}
        ours = self.store.listed(ranges)
        return differences(sorted(theirs.keys() | ours.keys()), theirs, ours)


@dataclass
class PacketsSide:
    """See `reconcile.Side`: the packets of `epoch` below the seq `stop`."""

    store: OurPackets
    epoch: str
    stop: int

    @property
    def first(self) -> Sequence[Sequence[int]]:
        """The ranges to begin with: no center has to look at much at a time."""
        return (tuple(dict.fromkeys((*range(1, self.stop, SEQS_A_RANGE_MAX), self.stop))),)

    def compare(self, bounds: Sequence[int]) -> Question:
        """See the port."""
        return Question(
            compare.PACKETS, compare.pack_compare_packets(ComparePackets(self.epoch, tuple(bounds)))
        )

    def theirs(self, bounds: Sequence[int], payloads: Sequence[bytes]) -> Sequence[PacketsDigest]:
        """See the port."""
        return compare.unpack_packets_digests(b"".join(payloads), len(bounds) - 1)

    def ours(self, bounds: Sequence[int]) -> Sequence[PacketsDigest]:
        """See the port."""
        return self.store.digests(self.epoch, bounds)

    def split(self, start: int, stop: int, n: int) -> Sequence[int]:
        """See the port."""
        del n
        return evenly(start, stop)

    def listing(self, ranges: Ranges) -> Question:
        """See the port."""
        return Question(PACKETS, pack_packets_args(self.epoch, ranges))

    def differences(self, ranges: Ranges, payloads: Sequence[bytes]) -> Iterable[Difference]:
        """See the port. Of a packet without a word on either side nothing is to be compared."""
        theirs = {one.seq: one for part in payloads if part for one in unpack_packets(part)}
        ours = self.store.packets(self.epoch, ranges)
        found = differences(numbers(ranges), theirs, ours)
        return [one for one in found if one.theirs is not None or _has_word(one.ours)]


class Day(NamedTuple):
    """Packets enqueued from `day` on (UTC, days since 1970; 0: before the days that are looked at) whose
    numbers differ, by status, theirs and ours."""

    day: int
    theirs: dict[Status, int]
    ours: dict[Status, int]


@dataclass(frozen=True)
class Days:
    """Packets of `epoch` below `stop`, by day and status: a first look, for people."""

    store: OurPackets
    epoch: str
    stop: int
    days: tuple[int, ...]

    def question(self) -> Question:
        """What to ask."""
        return Question(
            compare.PACKETS, compare.pack_compare_packets(ComparePackets(self.epoch, self.days, self.stop))
        )

    def take(self, payloads: Sequence[bytes]) -> list[Day]:
        """The days that differ; raises `CodecError`."""
        theirs = compare.unpack_buckets(b"".join(payloads), len(self.days) + 1)
        ours = self.store.by_day(self.epoch, self.days, self.stop)
        found = zip((0, *self.days), theirs, ours, strict=True)
        return [Day(day, _named(a), _named(b)) for day, a, b in found if list(a) != list(b)]


def days_before(now_ms: int) -> tuple[int, ...]:
    """The days at which the counts begin, up to the one after today (a clock may be ahead)."""
    after = max(now_ms // DAY_MS + 1, 0)
    first = after - _DAYS
    weeks = first - 7 * _WEEKS
    days = [
        *(weeks - 30 * n for n in range(_MONTHS, 0, -1)),
        *range(weeks, first, 7),
        *range(first, after + 1),
    ]
    return tuple(dict.fromkeys(max(day, 1) for day in days))


def held(one: Difference) -> HeldPacket:
    """What the center holds of a packet that it holds."""
    assert isinstance(one.theirs, HeldPacket)
    return one.theirs


def _has_word(ours: OurPacket | None) -> bool:
    return ours is not None and ours.status is not None


def _named(counts: Sequence[int]) -> dict[Status, int]:
    return {Status(n): count for n, count in enumerate(counts, 1) if count}
