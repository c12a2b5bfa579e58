"""Step 6, by courier: a region's facts and records -> the frames of a bundle; and the receipt for one of its.

As on the way down, facts come first, and every frame says which part of its sequence it carries:
`(start, to]` as of its making, under a life of the ledger. A receipt goes on from the cursor that the region
named last, so it moves the region's cursor as the link would. What it says of packets whose facts lie below
that stands in frames of an empty span, which are applied by their position and move nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from pipeline.bundles import (
    MANIFEST_RANGES_MAX,
    PLAN,
    SESSION,
    Sealed,
    Seqs,
    header_of,
    joined,
    life_of,
    told,
)
from pipeline.hop import rewind_to
from schemas.bundle import START, Entry, Mark
from schemas.feed import FactGroup, RecordChange, Span, pack_facts, pack_records
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey, PublicKey
from schemas.manifest import RECORDS, EpochSeqs, Manifest, pack_manifest
from schemas.messages import Since, Want
from schemas.ranges import Ranges, total

#: Packets in a frame of facts; records in a frame of records, and their bytes before compression.
FACTS_PACKETS_MAX = 4_000
RECORDS_MAX = 1_000
RECORDS_BYTES_MAX = 256 * 1024
#: A file is read again by couriers: it may take longer to be made.
LEVEL = 9
T = TypeVar("T")


class Feed(Protocol):
    """The ledger as an export sees it."""

    def since_of(self, region: str) -> tuple[Since, ...]:
        """The ledger's lives, oldest first."""

    def facts_after(self, region: str, position: int, packets_max: int) -> tuple[tuple[FactGroup, ...], int]:
        """Facts numbered above `position`, grouped, and the number up to which that is all."""

    def records_after(
        self, region: str, position: int, records_max: int, bytes_max: int, by_reference_epoch: str | None
    ) -> tuple[tuple[RecordChange, ...], int]:
        """The same for records."""


class Known(Protocol):
    """What the ledger knows of single packets."""

    def facts_of(self, region: str, epoch: str, seqs: Ranges) -> Iterator[tuple[int, tuple[FactGroup, ...]]]:
        """What the center says of those packets, each answer with its position."""


class Begin(NamedTuple):
    """Where a sequence begins: what is numbered above goes into the bundle."""

    facts: int = 0
    records: int = 0


@dataclass
class Held:
    """What a part of a bundle holds already, as the headers of its frames say: where each sequence begins
    and how far it has got (`None`: nothing of it yet), and how far under which life of the ledger."""

    facts: tuple[int, int] | None = None
    records: tuple[int, int] | None = None
    lives: dict[str, Begin] = field(default_factory=dict)

    def read(self, entries: Iterable[Entry]) -> Held:
        """Take note of these entries, which are frames of ours."""
        for entry in entries:
            header = header_of(entry.frame)
            if header is None or header.kind not in (Kind.FACTS, Kind.RECORDS) or not header.seqs:
                continue
            start, to = header.seqs[0][0] - 1, header.seqs[-1][1] - 1
            if header.kind is Kind.FACTS:
                self.facts = (self.facts[0] if self.facts else start, to)
            else:
                self.records = (self.records[0] if self.records else start, to)
            self.lives[header.epoch] = Begin(
                self.facts[1] if self.facts else 0, self.records[1] if self.records else 0
            )
        return self

    def begins(self, asked: Begin) -> Begin:
        """From where on the file is, given what is asked for now."""
        facts = self.facts[0] if self.facts else asked.facts
        return Begin(facts, self.records[0] if self.records else asked.records)

    def is_of(self, since: Sequence[Since]) -> bool:
        """Whether the ledger still means the same by these numbers: nothing of them was lost in a restore."""
        names = [life_of(one.incarnation) for one in since]
        for life, reached in self.lives.items():
            if life not in names:
                return False
            later = since[names.index(life) + 1 :]
            if any(one.facts < reached.facts or one.records < reached.records for one in later):
                return False
        return True


class Sealer:
    """Seals frames of one region's bundle to its key."""

    def __init__(self, region: str, ours: PrivateKey, theirs: PublicKey) -> None:
        self.region = region
        self._ours, self._theirs = ours, theirs

    def seal(self, kind: Kind, body: bytes, incarnation: str, start: int = 0, to: int = 0) -> bytes:
        """The frame that carries `(start, to]`."""
        seqs = ((start + 1, to + 1),) if to > start else ()
        header = Header(kind, self.region, life_of(incarnation), b"", b"", seqs=seqs)
        return seal_frame(header, body, ours=self._ours, theirs=self._theirs, level=LEVEL)


class Export:
    """The frames of what a region lacks above `begin`, up to the ledger's numbers `tops` of the beginning.
    `at` is how far it has got; `packets` are those that its facts speak of, `changes` its records."""

    def __init__(
        self, feed: Feed, sealer: Sealer, begin: Begin, tops: Begin, held: Held | None = None
    ) -> None:
        self._feed, self._sealer, self._tops = feed, sealer, tops
        self.region, self.begin = sealer.region, begin
        facts = held.facts[1] if held and held.facts else begin.facts
        self.at = Begin(facts, held.records[1] if held and held.records else begin.records)
        self.packets = self.changes = 0

    def frames(self) -> Iterator[Sealed]:
        """Everything that the file lacks: facts, then records."""
        yield from self._facts()
        region = self._sealer.region
        while (start := self.at.records) < self._tops.records:
            incarnation, (changes, to) = self._of_one_life(
                partial(self._feed.records_after, region, start, RECORDS_MAX, RECORDS_BYTES_MAX, None)
            )
            if to <= start:
                return
            body = pack_records(Span(incarnation, SESSION, start, to), changes)
            self.changes += len(changes)
            self.at = self.at._replace(records=to)
            size = sum(len(one.head or b"") for one in changes)
            yield Sealed(self._sealer.seal(Kind.RECORDS, body, incarnation, start, to), len(changes), size)

    def _facts(self) -> Iterator[Sealed]:
        while (start := self.at.facts) < self._tops.facts:
            incarnation, (groups, to) = self._of_one_life(
                partial(self._feed.facts_after, self._sealer.region, start, FACTS_PACKETS_MAX)
            )
            if to <= start:
                return
            body = pack_facts(Span(incarnation, SESSION, start, to), groups)
            self.packets += sum(total(group.seqs) for group in groups)
            self.at = self.at._replace(facts=to)
            yield Sealed(self._sealer.seal(Kind.FACTS, body, incarnation, start, to))

    def _of_one_life(self, look: Callable[[], T]) -> tuple[str, T]:
        """What a look finds, and the life of the ledger that it is of: no other began meanwhile."""
        while True:
            before = self._feed.since_of(self._sealer.region)[-1].incarnation
            found = look()
            if self._feed.since_of(self._sealer.region)[-1].incarnation == before:
                return before, found

    def plan(self, now_ms: int, known: Sequence[Since]) -> bytes:
        """The frame that begins the bundle: up to where it is meant to go."""
        since = self._feed.since_of(self.region)
        said = Manifest(
            what=PLAN,
            entries=0,
            size=0,
            chain=START.chain,
            made_ms=max(0, now_ms),
            history=told(since, known),
            facts_from=self.begin.facts,
            facts_to=max(self.begin.facts, self._tops.facts),
            records_from=self.begin.records,
            records_to=max(self.begin.records, self._tops.records),
        )
        return self._sealer.seal(Kind.MANIFEST, pack_manifest(said), since[-1].incarnation)

    def manifest(self, mark: Mark, now_ms: int, known: Sequence[Since], packets: Seqs | None = None) -> bytes:
        """The frame that ends the bundle; `known` are the lives of the ledger that the region named last,
        `packets` those that a receipt is for."""
        since = self._feed.since_of(self._sealer.region)
        epochs = [(epoch, seqs) for epoch, seqs in packets.items() if seqs] if packets else []
        most = max(1, MANIFEST_RANGES_MAX // max(1, len(epochs)))
        said = Manifest(
            what=RECORDS,
            entries=mark.entries,
            size=mark.size,
            chain=mark.chain,
            made_ms=max(0, now_ms),
            epochs=[EpochSeqs.of(epoch, joined(seqs, most)) for epoch, seqs in epochs],
            history=told(since, known),
            facts_from=self.begin.facts,
            facts_to=self.at.facts,
            records_from=self.begin.records,
            records_to=self.at.records,
        )
        return self._sealer.seal(Kind.MANIFEST, pack_manifest(said), since[-1].incarnation)


class Receipt(Export):
    """The frames of a receipt: facts above what the region knew last, and those of the bundle's packets."""

    def __init__(self, feed: Feed, sealer: Sealer, begin: Begin, tops: Begin) -> None:
        # Of records it says nothing: an empty span at the top.
        super().__init__(feed, sealer, Begin(begin.facts, tops.records), tops)

    def frames_for(self, known: Known, packets: Seqs) -> Iterator[Sealed]:
        """The feed's facts, which move the region's cursor; then those of the packets, by their position."""
        yield from self._facts()
        for epoch, seqs in packets.items():
            for position, groups in known.facts_of(self._sealer.region, epoch, seqs):
                incarnation = self._feed.since_of(self._sealer.region)[-1].incarnation
                body = pack_facts(Span(incarnation, SESSION, position, position), groups)
                yield Sealed(self._sealer.seal(Kind.FACTS, body, incarnation))


def known_to(want: Want | None, since: Sequence[Since]) -> Begin:
    """The cursors that a region named last, as far as they still hold; nothing where it never spoke."""
    if want is None:
        return Begin()
    rewind = rewind_to(want.facts, want.records, want.history, since)
    return Begin(*(rewind if rewind is not None else (want.facts, want.records)))
