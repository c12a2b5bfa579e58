"""Step 4, by courier: the frames of a region's bundle -> the ledger, in bounded transactions, as intake does.

What a bundle brings is taken in by the same `read_frame` and `take_in` as what the link brings; each packet
counts once, whichever way it came first. What does not verify is counted and said, and nothing of it is kept:
the file is still there. What the ledger has already is passed over, so that a second run writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.bundles import Problem, Seqs
from pipeline.center.outcomes import AlreadyBound, BadItem, Bound, Item, Joining, TookIn
from pipeline.center.reading import ChunkOf, JoinIs, Outcome, Packets, Quarantined, Unreadable, read_frame
from pipeline.ports import Clock
from schemas.errors import SchemaError
from schemas.frame import Header, Kind, split
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Join
from schemas.ranges import Ranges, from_numbers, total

#: What one transaction aims at: packets, and bytes of their contents.
BITE_PACKETS = 600
BITE_BYTES = 2 * 1024 * 1024
_KINDS = (Kind.BATCH, Kind.CHUNK, Kind.JOIN)
#: Under which name the books keep where these frames came from.
STREAM = "bundle"


class HeldPacket(Protocol):
    """A packet that the ledger knows."""

    @property
    def digest(self) -> bytes: ...
    @property
    def refused(self) -> bool: ...


class Known(Protocol):
    """What the ledger knows, to look at."""

    def held(self, region: str, epoch: str, seqs: Ranges) -> Mapping[int, HeldPacket]:
        """Those of these packets that it knows."""

    def key_word(self, key_id: bytes) -> str:
        """`good`, `retired`, `revoked`, or empty: never bound."""


class BundleLedger(Protocol):
    """The ledger as an import sees it."""

    def refresh_keys(self) -> None:
        """Look whether a key changed."""

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """The region's key of that id, if it verifies."""

    def bind(self, region: str, key: PublicKey, join: Join, now_ms: int) -> Joining:
        """What a join means."""

    def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
        """A batch in one transaction. Raises `StoreError`, having done nothing."""


@dataclass
class Imported:
    """What an import did, in packets: `new` ones, `already` there, `forks` (the same number with other
    contents: not taken), `refused` (the center cannot read them), `incomplete` large ones, of which more must
    come. `problems`: frames that were not taken, by code. `joined`: what the region's first word came to."""

    new: int = 0
    already: int = 0
    forks: int = 0
    refused: int = 0
    incomplete: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    joined: str = ""
    seqs: Seqs = field(default_factory=Seqs)

    def problem(self, code: str, packets: int = 0) -> None:
        """One more frame that was not taken."""
        before = self.problems.get(code, Problem())
        self.problems[code] = Problem(before.frames + 1, before.packets + packets)

    @property
    def clean(self) -> bool:
        """Whether everything in the bundle is in the ledger."""
        return not (self.problems or self.forks or self.refused or self.incomplete)


class Import:
    """Takes in the frames of one bundle of `region`; `take` each, then `finish`. With `dry_run` everything is
    verified and counted, and nothing is written."""

    def __init__(
        self,
        region: str,
        ledger: BundleLedger,
        known: Known,
        ours: Sequence[PrivateKey],
        clock: Clock,
        *,
        dry_run: bool = False,
    ) -> None:
        self._region, self._ledger, self._known, self._clock = region, ledger, known, clock
        self._ours = {key.id: key for key in ours}
        self._dry_run = dry_run
        self._bite: list[Item] = []
        self._packets = self._bytes = 0
        self._parts: dict[tuple[str, int], int] = {}
        self._newcomer: PublicKey | None = None
        self.done = Imported()
        ledger.refresh_keys()

    def take(self, frame: bytes) -> None:
        """One frame more. Raises `StoreError` if the ledger cannot write; what was taken before stays."""
        item = self._read(frame)
        if item is None:
            return
        packets, size = _weight(item.outcome)
        full = self._packets + packets > BITE_PACKETS or self._bytes + size > BITE_BYTES
        if self._bite and full:
            self._flush()
        self._bite.append(item)
        self._packets += packets
        self._bytes += size

    def finish(self) -> Imported:
        """The last transaction, and what came of it all."""
        self._flush()
        self.done.incomplete = len(self._parts)
        return self.done

    # --- reading --------------------------------------------------------------------------------

    def _read(self, frame: bytes) -> Item | None:
        """The frame, if there is something in it for the ledger."""
        try:
            header = split(frame).header
        except SchemaError as why:
            self.done.problem(why.code)
            return None
        if header.kind is Kind.MANIFEST:
            return None
        if (code := self._why_not(header)) is not None:
            self.done.problem(code, total(header.seqs))
            return None
        outcome = read_frame(frame, self._region, self.signer_of, self._ours.get)
        if isinstance(outcome, Quarantined):
            code = self._of_key(header.signer) if outcome.code == "unknown_key" else outcome.code
            self.done.problem(code, total(header.seqs))
            return None
        if isinstance(outcome, JoinIs):
            self._join(outcome)
            return None
        self.done.seqs.add(header.epoch, header.seqs)
        news = self._news(outcome)
        return None if news is None else Item(STREAM, frame, news)

    def _why_not(self, header: Header) -> str | None:
        """What stands against a frame before it is opened: the code of why, or `None`."""
        if header.region != self._region:
            return "foreign_region"
        if header.kind not in _KINDS:
            return "wrong_kind"
        return None if header.recipient in self._ours else "other_center"

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """Whose signatures hold: those of the ledger's keys, and in a dry run of one that would join."""
        if self._newcomer is not None and self._newcomer.id == key_id:
            return self._newcomer
        return self._ledger.signer_of(key_id)

    def _of_key(self, key_id: bytes) -> str:
        return "revoked_key" if self._known.key_word(key_id) == "revoked" else "unknown_key"

    def _join(self, joining: JoinIs) -> None:
        if self._known.key_word(joining.key.id):
            return
        if self._dry_run:
            self._newcomer, self.done.joined = joining.key, "would join"
            return
        answer = self._ledger.bind(self._region, joining.key, joining.join, self._clock.now_ms())
        self.done.joined = "joined" if isinstance(answer, Bound | AlreadyBound) else answer.code

    def _news(self, outcome: Outcome) -> Outcome | None:
        """What of a frame the ledger has not already."""
        match outcome:
            case Packets():
                return self._new_packets(outcome)
            case ChunkOf():
                return self._new_chunk(outcome)
            case Unreadable(epoch=epoch, seqs=seqs):
                known = self._known.held(self._region, epoch, seqs)
                if total(seqs) == sum(not one.refused for one in known.values()):
                    return None
                self.done.refused += total(seqs) if self._dry_run else 0
                return outcome
        return None

    def _new_packets(self, batch: Packets) -> Packets | None:
        named = [one.seq for one in batch.read] + [seq for seq, _ in batch.refused]
        known = self._known.held(self._region, batch.epoch, from_numbers(named))
        read, forks = [], 0
        for one in batch.read:
            held = known.get(one.seq)
            if held is not None and not held.refused and held.digest == one.digest:
                self.done.already += 1
                continue
            forks += held is not None and not held.refused
            read.append(one)
        refused = tuple(one for one in batch.refused if one[0] not in known)
        if self._dry_run:
            self.done.forks += forks
            self.done.new += len(read) - forks
            self.done.refused += len(refused)
        return replace(batch, read=tuple(read), refused=refused) if read or refused else None

    def _new_chunk(self, chunk: ChunkOf) -> ChunkOf | None:
        key = (chunk.epoch, chunk.seq)
        held = self._known.held(self._region, chunk.epoch, ((chunk.seq, chunk.seq + 1),)).get(chunk.seq)
        last = chunk.offset + len(chunk.data) == chunk.size
        if held is None or held.refused:
            self._parts[key] = self._parts.get(key, 0) + len(chunk.data)
            if self._dry_run and self._parts[key] >= chunk.size:
                del self._parts[key]
                self.done.new += 1
            return chunk
        if held.digest != chunk.digest:
            self.done.forks += last and self._dry_run
            return chunk if last else None
        if self._parts.pop(key, None) is None:
            self.done.already += last
        return None

    # --- taking in ------------------------------------------------------------------------------

    def _flush(self) -> None:
        bite, self._bite = self._bite, []
        self._packets = self._bytes = 0
        if not bite or self._dry_run:
            return
        try:
            self._count(self._ledger.take_in(self._region, bite, 0, self._clock.now_ms()))
        except BadItem:
            for item in bite:
                try:
                    self._count(self._ledger.take_in(self._region, [item], 0, self._clock.now_ms()))
                except BadItem:
                    self.done.problem("ledger_refused", _weight(item.outcome)[0])
        self._settle_parts(bite)

    def _count(self, took: TookIn) -> None:
        self.done.new += took.received
        self.done.already += took.duplicates
        self.done.forks += took.forks
        self.done.refused += took.refused

    def _settle_parts(self, bite: Sequence[Item]) -> None:
        """Large packets that are complete now (or were refused) are no longer waited for."""
        keys = {(one.epoch, one.seq) for item in bite if isinstance(one := item.outcome, ChunkOf)}
        for epoch, seq in keys & self._parts.keys():
            if self._known.held(self._region, epoch, ((seq, seq + 1),)):
                del self._parts[epoch, seq]


def _weight(outcome: Outcome) -> tuple[int, int]:
    """Packets and bytes that a transaction gets with it."""
    match outcome:
        case Packets(read=read, refused=refused):
            return len(read) + len(refused), sum(len(one.stored) for one in read)
        case ChunkOf(data=data):
            return 1, len(data)
    return 1, 0
