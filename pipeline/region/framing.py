"""Step 3: what was claimed -> a frame, and how much to claim for one. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ports import Batch, Chunk, Sent
from pipeline.throttle.pace import LEVEL_CHUNK, zstd_level
from schemas.bodies import pack_batch, pack_chunk
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey, PublicKey
from schemas.lanes import Lane
from schemas.limits import BODY_BYTES_MAX
from schemas.ranges import Ranges

#: What a batch of records shrinks to before one was measured, and how much of each measurement is believed.
RATIO_FIRST = 0.2
RATIO_GAIN = 0.2
RATIO_MIN, RATIO_MAX = 0.02, 1.0


@dataclass
class Framer:
    """Seals to the center in the name of a region's epoch, and learns how far records shrink."""

    region: str
    epoch: str
    ours: PrivateKey
    center: PublicKey
    _ratio: float | None = None

    def batch_bytes_max(self, frame_bytes: int) -> int:
        """How many stored bytes make a frame of about `frame_bytes` on the link."""
        ratio = RATIO_FIRST if self._ratio is None else self._ratio
        return min(int(frame_bytes / ratio), BODY_BYTES_MAX // 2)

    def frame_of(self, claimed: Batch | Chunk, rate_bytes_s: float = 0.0) -> bytes:
        """The frame of what was claimed, for a link of that rate (0: not known)."""
        if isinstance(claimed, Chunk):
            body = pack_chunk(claimed.size, claimed.digest, claimed.offset, claimed.data)
            seqs = ((claimed.seq, claimed.seq + 1),)
            return self.seal(Kind.CHUNK, body, claimed.lane, seqs, LEVEL_CHUNK)
        body = pack_batch(claimed.stored)
        frame = self.seal(Kind.BATCH, body, claimed.lane, claimed.seqs, zstd_level(rate_bytes_s))
        if claimed.lane is Lane.RECORD and len(claimed.stored) > 1:
            measured = max(RATIO_MIN, min(RATIO_MAX, len(frame) / len(body)))
            before = measured if self._ratio is None else self._ratio
            self._ratio = before + RATIO_GAIN * (measured - before)
        return frame

    def seal(
        self,
        kind: Kind,
        body: bytes,
        lane: Lane = Lane.CONTROL,
        seqs: Ranges = (),
        level: int | None = None,
    ) -> bytes:
        """A frame of that kind."""
        header = Header(kind, self.region, self.epoch, self.ours.id, self.center.id, lane, seqs)
        return seal_frame(header, body, ours=self.ours, theirs=self.center, level=level)


def sent_of(claimed: Batch | Chunk) -> Sent:
    """What the outbox keeps of a claim, and `flights` judges."""
    if isinstance(claimed, Batch):
        carried = sum(map(len, claimed.stored))
        return Sent(claimed.entry, claimed.lane, claimed.seqs, None, carried)
    span = (claimed.offset, claimed.offset + len(claimed.data))
    return Sent(claimed.entry, claimed.lane, ((claimed.seq, claimed.seq + 1),), span, len(claimed.data))
