"""Steps 2 and 3, by courier: packets of the outbox -> the frames of a bundle, as push would send them.

Nothing is claimed and nothing changes in the outbox: the link may carry the same at the same time, and the
ledger takes each packet once. Large packets go in chunks of one size, so that how much of one a part of a
file holds can be told from how many of its chunks are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.adapters.outbox_aside import damage_of
from pipeline.adapters.outbox_bundles import Choice, Chosen
from pipeline.bundles import MANIFEST_RANGES_MAX, PLAN, Sealed, Seqs, header_of, joined
from pipeline.errors import StoreDamaged
from pipeline.ports import Batch, Chunk, EntryId
from pipeline.region.framing import Framer
from schemas.bundle import START, Entry, Mark
from schemas.frame import Kind
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.limits import BATCH_PACKETS_MAX, BATCHED_PACKET_BYTES_MAX
from schemas.manifest import PACKETS, EpochSeqs, Manifest, pack_manifest
from schemas.messages import Join, pack_message
from schemas.ranges import contains, from_numbers

#: Stored bytes of one batch: where nothing compresses, its frame is still within the limit of frames.
BATCH_BYTES = 224 * 1024
#: Stored bytes of one chunk.
CHUNK_BYTES = 224 * 1024
_NO_ENTRY = EntryId(0, 0)


class Source(Protocol):
    """The outbox as a bundle sees it."""

    region: str
    epoch: str

    def chosen(self, choice: Choice, lane: Lane) -> Iterator[Chosen]:
        """The packets of one lane, rising."""

    def part(self, one: Chosen, start: int, stop: int) -> bytes:
        """A part of a large packet's stored bytes."""


@dataclass
class Held:
    """What a part of a bundle holds already: packets by epoch, and chunks of large ones."""

    whole: Seqs = field(default_factory=Seqs)
    chunks: dict[tuple[str, int], int] = field(default_factory=dict)
    joins: bool = False

    def read(self, entries: Iterable[Entry]) -> Held:
        """Take note of these entries (frames of ours: their headers say enough)."""
        for entry in entries:
            header = header_of(entry.frame)
            if header is None:
                continue
            self.joins = self.joins or header.kind is Kind.JOIN
            if header.kind is Kind.BATCH:
                self.whole.add(header.epoch, header.seqs)
            elif header.kind is Kind.CHUNK:
                key = (header.epoch, header.seqs[0][0])
                self.chunks[key] = self.chunks.get(key, 0) + 1
        return self


class Export:
    """The frames of one bundle; afterwards `seqs` are the packets in it, `damaged` those whose bytes are not
    what was enqueued (they are left out), and `packets` and `bytes` count what was added."""

    def __init__(self, source: Source, framer: Framer, choice: Choice, held: Held | None = None) -> None:
        self._source, self._framer, self._choice = source, framer, choice
        self._held = held or Held()
        self._before = self._held.whole.of(source.epoch)
        self.seqs = self._held.whole
        self.damaged: list[int] = []
        self.packets = 0
        self.bytes = 0

    def frames(self, join: Join | None = None) -> Iterator[Sealed]:
        """Everything that the file lacks; `join` goes first, for a center that has never heard of our key."""
        if join is not None and not self._held.joins:
            yield Sealed(self._framer.seal(Kind.JOIN, pack_message(join)))
        for lane in self._choice.lanes:
            for sealed in self._lane(lane):
                self.packets += sealed.packets
                self.bytes += sealed.bytes
                yield sealed

    def _lane(self, lane: Lane) -> Iterator[Sealed]:
        batch: list[Chosen] = []
        held_bytes = 0
        for one in self._source.chosen(self._choice, lane):
            if contains(self._before, one.seq):
                continue
            if one.size > BATCHED_PACKET_BYTES_MAX:
                yield from self._large(one)
                continue
            if damage_of(one.size, one.digest, one.stored):
                self.damaged.append(one.seq)
                continue
            if batch and (held_bytes + one.size > BATCH_BYTES or len(batch) >= BATCH_PACKETS_MAX):
                yield self._batch(lane, batch)
                batch, held_bytes = [], 0
            batch.append(one)
            held_bytes += one.size
        if batch:
            yield self._batch(lane, batch)

    def _batch(self, lane: Lane, packets: list[Chosen]) -> Sealed:
        seqs = from_numbers(one.seq for one in packets)
        stored = tuple(one.stored or b"" for one in packets)
        frame = self._framer.frame_of(Batch(_NO_ENTRY, lane, seqs, stored))
        self.seqs.add(self._source.epoch, seqs)
        return Sealed(frame, len(packets), sum(map(len, stored)))

    def _large(self, one: Chosen) -> Iterator[Sealed]:
        """Chunks that the file lacks. All of them are read: that the bytes are those which were enqueued is
        known at the end; if not, the center keeps what came of it for the link to complete."""
        hashed = hashlib.sha256()
        begun = self._held.chunks.get((self._source.epoch, one.seq), 0) * CHUNK_BYTES
        if begun >= one.size:
            self.seqs.add(self._source.epoch, ((one.seq, one.seq + 1),))
            return
        for start in range(0, one.size, CHUNK_BYTES):
            stop = min(one.size, start + CHUNK_BYTES)
            try:
                data = self._source.part(one, start, stop)
            except StoreDamaged:
                self.damaged.append(one.seq)
                return
            hashed.update(data)
            if stop == one.size and hashed.digest() != one.digest:
                self.damaged.append(one.seq)
                return
            if start < begun:
                continue
            chunk = Chunk(_NO_ENTRY, one.lane, one.seq, one.size, one.digest, start, data)
            yield Sealed(self._framer.frame_of(chunk), stop == one.size, len(data))
        self.seqs.add(self._source.epoch, ((one.seq, one.seq + 1),))

    def plan(self, packets: int, size: int, now_ms: int) -> bytes:
        """The frame that begins the bundle: how much is meant to be in it."""
        said = Manifest(what=PLAN, entries=packets, size=size, chain=START.chain, made_ms=max(0, now_ms))
        return self._framer.seal(Kind.MANIFEST, pack_manifest(said))

    def manifest(self, mark: Mark, now_ms: int) -> bytes:
        """The frame that ends the bundle, for what lies before `mark`."""
        epochs = [(epoch, seqs) for epoch, seqs in self.seqs.items() if seqs]
        most = max(1, MANIFEST_RANGES_MAX // max(1, len(epochs)))
        said = Manifest(
            what=PACKETS,
            entries=mark.entries,
            size=mark.size,
            chain=mark.chain,
            made_ms=max(0, now_ms),
            epochs=[EpochSeqs.of(epoch, joined(seqs, most)) for epoch, seqs in epochs],
        )
        return self._framer.seal(Kind.MANIFEST, pack_manifest(said))


def join_of(token: bytes, ours: PrivateKey) -> Join:
    """The region's first word, under its join file's token: the same key may say it again and again."""
    return Join(token=token, sign=ours.public.raw.sign, seal=ours.public.raw.seal)
