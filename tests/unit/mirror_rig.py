"""For tests of the mirror: an outbox with a mirror on another disk (a folder), and what the center reads."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters import mirror_files
from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.adapters.outbox_draft import Draft, Stored
from pipeline.region.mirroring import SETTLED_S, Mirror, Upkeep
from pipeline.testing.clock import ManualClock
from schemas.bodies import unpack_batch, unpack_chunk
from schemas.errors import FrameError
from schemas.frame import Kind, open_body, split, verify
from schemas.keys import PrivateKey
from schemas.ranges import numbers
from schemas.verdicts import Status
from tests.unit.outbox_rig import group, new_outbox

CENTER = PrivateKey.generate()
REGION = PrivateKey.generate("1806")
SMALL_SEGMENTS = 3_000


class Office:
    """An outbox with a mirror on another disk (a folder), and the upkeep of it; the clock by hand."""

    def __init__(self, folder: Path, segment_bytes: int = mirror_files.SEGMENT_BYTES) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.segment_bytes = segment_bytes
        self.clock = ManualClock()
        self.outbox = new_outbox(folder / "data")
        self.mirror = self.open_mirror()
        self.upkeep = self.open_upkeep()
        self._fact_no = 0

    def open_mirror(self) -> Mirror:
        place = MirrorFolder(self.disk, "1806", segment_bytes=self.segment_bytes)
        notes = MirrorNotes(self.folder / "data", self.disk)
        return Mirror(place, notes, [REGION], CENTER.public, self.clock)

    def open_upkeep(self) -> Upkeep:
        return Upkeep(self.mirror, OutboxCustody(self.folder / "data"), self.clock)

    def restart(self) -> None:
        self.mirror.close()
        self.mirror = self.open_mirror()
        self.upkeep = self.open_upkeep()

    def take(self, *drafts: Draft, mirrored: bool = True) -> list[Stored]:
        now_ms = self.clock.now_ms()
        large = [one for one in drafts if one.stored is None]
        done = [self.outbox.take_large(one, now_ms) for one in large] if large else []
        done = done or self.outbox.take(drafts, now_ms)
        if mirrored:
            self.mirror.keep(drafts, done, self.outbox.read)
        return done

    def receipt(self, first: int, last: int, status: Status = Status.RECEIVED_AT_CENTRAL) -> None:
        self._fact_no += 1
        said = group(self.outbox, ((first, last + 1),), status)
        self.outbox.settle([(self._fact_no, said)], self._fact_no, self.clock.now_ms())

    def keep_up(self, rounds: int = 20) -> int:
        """Steps of the upkeep until it rests twice; returns how many packets it put there."""
        put = 0
        for _ in range(rounds):
            self.clock.advance(SETTLED_S + 1)
            put += self.upkeep.step().packets
        return put

    def packets(self) -> dict[int, bytes]:
        """seq -> stored bytes, of all that the center could read of the mirror's segments."""
        found: dict[int, bytearray] = {}
        for path in sorted(self.disk.glob("*.titian")):
            for entry in BundleSource(path, salvage=True):
                try:
                    parts = split(entry.frame)
                    verify(parts, {REGION.id: REGION.public}.get)
                    body = open_body(parts, {CENTER.id: CENTER}.get)
                except FrameError:
                    assert not entry.chained, "the chain vouches for a frame that does not hold"
                    continue
                if parts.header.kind is Kind.BATCH:
                    seqs = list(numbers(parts.header.seqs))
                    for seq, stored in zip(seqs, unpack_batch(body, len(seqs)), strict=True):
                        found[seq] = bytearray(stored)
                else:
                    chunk, ((seq, _),) = unpack_chunk(body), parts.header.seqs
                    whole = found.setdefault(seq, bytearray(chunk.size))
                    whole[chunk.offset : chunk.offset + len(chunk.data)] = chunk.data
        return {seq: bytes(stored) for seq, stored in found.items()}

    def check(self, *seqs: int) -> None:
        """Exactly these packets lie on the mirror, each with the bytes that the outbox has."""
        assert self.packets() == {seq: self.outbox.read(seq) for seq in seqs}

    def segments(self) -> list[str]:
        return sorted(path.name for path in self.disk.glob("*.titian"))
