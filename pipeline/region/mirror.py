"""Step 2: what goes on the mirror, when a failing one is tried again, when a segment may go. Pure.

On the mirror lie the frames that push would make of the packets, sealed to the center: small packets of one
call together, a large one as chunks. Nobody but the center can read them, and they can be sent as they are.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.region.framing import Framer
from schemas.bodies import pack_batch, pack_chunk
from schemas.frame import Kind
from schemas.lanes import Lane
from schemas.limits import BATCH_PACKETS_MAX, BATCHED_PACKET_BYTES_MAX
from schemas.ranges import Ranges, contains, from_numbers, merge

#: Contents of a chunk on the mirror, bytes: what a thin link still carries in seconds.
CHUNK_BYTES = 64 * 1024
#: Contents of a batch on the mirror, bytes.
BATCH_BYTES = 256 * 1024
#: A packet up to this size (bytes) is appended in one write; a larger one is streamed into its own segment.
HELD_BYTES_MAX = 8 * 1024 * 1024
#: A mirror that failed is tried again after this long, milliseconds.
RETRY_MS = 5_000
#: Speed counts: the enqueue waits for it. Measured for 500 records: 0.9 ms (9: 4.1), and 14 % more bytes.
_LEVEL = 3


class Kept(NamedTuple):
    """A packet that goes on the mirror. `stored` are its bytes where they are at hand, else they are read."""

    seq: int
    lane: Lane
    size: int
    digest: bytes
    stored: bytes | None = None


#: Reads stored bytes of a packet: (seq, start, stop).
Read = Callable[[int, int, int], bytes]


class Append(NamedTuple):
    """One write: frames of packets `first` to `last`. `alone`: a large packet, to be streamed."""

    first: int
    last: int
    frames: Iterable[bytes]
    alone: bool = False


def appends(framer: Framer, packets: Sequence[Kept], read: Read) -> Iterator[Append]:
    """What is written for `packets` (of the framer's epoch, rising seqs), in writes of a bounded size."""
    small: list[Kept] = []
    held = 0
    for one in packets:
        if one.size > BATCHED_PACKET_BYTES_MAX:
            chunks = chunk_frames(framer, one, read)
            alone = one.size > HELD_BYTES_MAX
            yield Append(one.seq, one.seq, chunks if alone else list(chunks), alone)
            continue
        if small and (held + one.size > BATCH_BYTES or len(small) == BATCH_PACKETS_MAX):
            yield _batches(framer, small, read)
            small, held = [], 0
        small.append(one)
        held += one.size
    if small:
        yield _batches(framer, small, read)


def chunk_frames(framer: Framer, packet: Kept, read: Read) -> Iterator[bytes]:
    """The frames of a large packet, in order."""
    for start in range(0, packet.size, CHUNK_BYTES):
        stop = min(packet.size, start + CHUNK_BYTES)
        data = packet.stored[start:stop] if packet.stored is not None else read(packet.seq, start, stop)
        body = pack_chunk(packet.size, packet.digest, start, data)
        yield framer.seal(Kind.CHUNK, body, packet.lane, ((packet.seq, packet.seq + 1),), _LEVEL)


def chunks_of(size: int) -> int:
    """How many frames a packet of `size` bytes is on the mirror; 0: it lies in a batch."""
    return -(-size // CHUNK_BYTES) if size > BATCHED_PACKET_BYTES_MAX else 0


def _batches(framer: Framer, packets: Sequence[Kept], read: Read) -> Append:
    """A frame for each lane that there is."""
    frames = []
    for lane in sorted({one.lane for one in packets}):
        those = [one for one in packets if one.lane == lane]
        stored = [read(one.seq, 0, one.size) if one.stored is None else one.stored for one in those]
        seqs = from_numbers(one.seq for one in those)
        frames.append(framer.seal(Kind.BATCH, pack_batch(stored), lane, seqs, _LEVEL))
    return Append(packets[0].seq, packets[-1].seq, frames)


# --- what a segment holds -------------------------------------------------------------------------


@dataclass
class Inside:
    """What lies in one segment or in several: small packets, and how many chunks there are of each large
    one (all of them are in one segment, in one go, so the number tells whether it is whole)."""

    small: Ranges = ()
    chunks: Counter[int] = field(default_factory=Counter)

    def add(self, small: Iterable[tuple[int, int]], chunks: Iterable[int]) -> None:
        """More was read."""
        self.small = merge((*self.small, *small))
        self.chunks.update(chunks)

    def holds(self, packet: Kept) -> bool:
        """Whether all of the packet is there."""
        need = chunks_of(packet.size)
        return self.chunks[packet.seq] >= need if need else contains(self.small, packet.seq)

    @property
    def seqs(self) -> Ranges:
        """Every packet of which anything is there."""
        return merge((*self.small, *((seq, seq + 1) for seq in self.chunks)))


# --- whether it works -----------------------------------------------------------------------------


@dataclass(frozen=True)
class MirrorState:
    """What is known of the mirror, kept beside the outbox. Times in ms of the wall clock.

    `id`: the mirror that was used (empty: none yet). `since_ms`: since when it fails (0: it does not), `why`
    a sentence, `tried_ms`: the last try. `missing`: a seq from which on packets may not be on it (0: none).
    """

    path: str
    id: str = ""
    since_ms: int = 0
    tried_ms: int = 0
    why: str = ""
    missing: int = 0

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self.since_ms > 0

    def may_try(self, now_ms: int) -> bool:
        """Whether it is worth a try; a clock that went back makes it one."""
        return not self.failing or abs(now_ms - self.tried_ms) >= RETRY_MS

    def failed(self, why: str, seq: int, now_ms: int) -> MirrorState:
        """A try failed, at packet `seq` (0: it was not for a packet)."""
        missing = min(seq, self.missing) if seq and self.missing else seq or self.missing
        return replace(
            self, since_ms=self.since_ms or max(1, now_ms), tried_ms=now_ms, why=why, missing=missing
        )

    def worked(self, mirror_id: str) -> MirrorState:
        """A try worked; what is missing is for the catching up."""
        return replace(self, id=mirror_id, since_ms=0, tried_ms=0, why="")

    def caught_up(self, upto: int) -> MirrorState:
        """Packets up to `upto` are on it, or have receipts."""
        return self if upto < self.missing else replace(self, missing=0)

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"version": 1, **asdict(self)}

    @classmethod
    def of_json(cls, value: Any, path: str) -> MirrorState:
        """Of what was kept; another folder in the settings, or nothing that can be read, begins anew."""
        try:
            found = cls(**{name: value[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError):
            return cls(path)
        return found if found.path == path else cls(path)


class CaughtUp(NamedTuple):
    """What one step did: packets that were missing and are there now, segments that went, damaged places that
    were found; `more`: there is more to do already."""

    packets: int = 0
    removed: int = 0
    damaged: int = 0
    more: bool = False


def sentence(path: Path, why: Exception) -> str:
    """What is wrong with a mirror, in words that say what to do."""
    if not isinstance(why, OSError):
        return str(why)
    match why.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk of {path} is full: free space there"
        case errno.EROFS:
            return f"the disk of {path} is mounted read-only: look at that disk"
        case errno.EACCES | errno.EPERM:
            return f"{path} may not be written by us: look at its owner and mode"
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no folder {path}: is its disk mounted?"
    return f"{path} cannot be written ({why.strerror}): look at that disk"
