"""A center on a disk and one region that speaks to it frame by frame: what the ledger's tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.intake import Intake, IntakeResult
from pipeline.center.outcomes import TookIn
from pipeline.center.validation import Validation, ValidationResult
from pipeline.ports import EntryId
from pipeline.testing.memory_center import MemoryCenterLink
from pipeline.testing.memory_link import MemoryLink, MemoryRegionLink
from schemas.bodies import pack_batch, pack_chunk
from schemas.feed import FactGroup, RecordChange
from schemas.frame import Header, Kind, seal_frame
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.messages import Join, Want, pack_message
from schemas.packet import Attachment, Packet, pack_head
from schemas.ranges import Ranges, from_numbers
from schemas.verdicts import Reason, Status

REGION = "1806"
EPOCH = "k3v9qa"
TOKEN = b"a token of 16 by"
JPEG = b"\xff\xd8\xff\xe0"
CENTER_KEY = PrivateKey.generate()
REGION_KEY = PrivateKey.generate(REGION)


def nik(number: int = 1, region: str = REGION) -> str:
    """A right NIK of a woman born on 12 January 1990."""
    return f"{region}01520190{number:04d}"


def packet(
    number: int = 1,
    files: Sequence[tuple[str, str, bytes]] = (),
    *,
    kind: str = "enrolment",
    digests: Sequence[bytes] | None = None,
    **payload: Any,
) -> bytes:
    """Stored bytes of a packet about citizen `number`; `files` are (name, media type, bytes)."""
    base: dict[str, Any] = {"nik": nik(number)}
    base |= {"nama": f"SITI {number}"} if kind == "enrolment" else {"printed_at": "2026-11-24"}
    true = [hashlib.sha256(data).digest() for _, _, data in files]
    listed = tuple(
        Attachment(name, media_type, len(data), digest)
        for (name, media_type, data), digest in zip(files, digests or true, strict=True)
    )
    head = pack_head(Packet(kind, base | payload, listed, 1_700_000_000_000)).prefix
    return head + b"".join(data for _, _, data in files)


def face(mark: bytes) -> tuple[str, str, bytes]:
    """A photograph; the same mark is the same photograph."""
    return "face", "image/jpeg", JPEG + mark


class Places(Protocol):
    """Where a new, empty ledger can be: an SQLite file or an URL; it is gone at the end."""

    def __call__(self) -> AbstractContextManager[Path | str]: ...


@dataclass
class HandClock:
    """Time that moves when it is told to."""

    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        """Milliseconds."""
        return self.ms

    def now_s(self) -> float:
        """Seconds."""
        return self.ms / 1000


@dataclass
class Rig:
    """A center with one admitted and joined region; `place` is where its ledger is."""

    ledger: SqlLedger
    place: Path | str
    clock: HandClock = field(default_factory=HandClock)
    link: MemoryLink = field(default_factory=MemoryLink)
    n: int = 0
    wants: int = 0
    intake: Intake = field(init=False)
    validation: Validation = field(init=False)

    def __post_init__(self) -> None:
        self.center: MemoryCenterLink = self.link.center_end()
        self.region: MemoryRegionLink = self.link.region_end(REGION)
        self.restart()
        self.validation = Validation(self.ledger)

    def restart(self) -> None:
        """A new intake process."""
        self.intake = Intake(self.center, self.ledger, self.clock, [CENTER_KEY])

    def frame(
        self,
        kind: Kind,
        body: bytes,
        seqs: Ranges = (),
        *,
        region: str = REGION,
        epoch: str = EPOCH,
        lane: Lane = Lane.RECORD,
        ours: PrivateKey = REGION_KEY,
    ) -> bytes:
        """A sealed and signed frame."""
        header = Header(kind, region, epoch, ours.id, CENTER_KEY.id, lane, seqs, dictionary=0)
        return seal_frame(header, body, ours=ours, theirs=CENTER_KEY.public, level=1)

    def batch(self, packets: dict[int, bytes], **header: Any) -> bytes:
        """The frame of packets by seq."""
        body = pack_batch([packets[seq] for seq in sorted(packets)])
        return self.frame(Kind.BATCH, body, from_numbers(packets), **header)

    def chunk(
        self, seq: int, stored: bytes, start: int, stop: int, *, digest: bytes | None = None, **header: Any
    ) -> bytes:
        """The frame of a part of a large packet."""
        true = hashlib.sha256(stored).digest()
        body = pack_chunk(len(stored), digest or true, start, stored[start:stop])
        header = {"lane": Lane.BIOMETRIC} | header
        return self.frame(Kind.CHUNK, body, ((seq, seq + 1),), **header)

    def want(self, **fields: Any) -> bytes:
        """The frame of a want, numbered on."""
        self.wants += 1
        base: dict[str, Any] = {
            "n": self.wants,
            "instance": "first",
            "grant": 1,
            "session": 0,
            "epoch": EPOCH,
        }
        base |= {"highest_seq": 0, "clock_ms": 0, "facts": 0, "records": 0, "level": 65536}
        return self.frame(Kind.WANT, pack_message(Want(**(base | fields))))

    def put(self, *frames: bytes) -> None:
        """Into `up`."""
        for frame in frames:
            self.n += 1
            self.region.send(EntryId(1, self.n), frame)

    def step(self, *frames: bytes) -> IntakeResult:
        """Put frames into `up`, and take in all that lies there first."""
        self.put(*frames)
        return self.intake.step(REGION)

    def took(self, *frames: bytes) -> TookIn:
        """The same; everything together in one transaction."""
        (took,) = self.step(*frames).took
        return took

    def validate(self, limit: int = 500) -> ValidationResult:
        """One step of validation."""
        return self.validation.step(self.clock.ms, limit)

    def take(self, *stored: bytes, first: int = 1) -> dict[int, tuple[Status, tuple[Reason, ...]]]:
        """Take packets in under the seqs from `first` on, validate, and return what is said of each."""
        self.step(self.batch(dict(enumerate(stored, first))))
        while self.validate().packets:
            pass
        return {seq: self.word(seq) for seq in range(first, first + len(stored))}

    def word(self, seq: int, epoch: str = EPOCH) -> tuple[Status, tuple[Reason, ...]]:
        """What the center says of a packet."""
        row = self.ledger.reader.packet(PacketId(REGION, epoch, seq))
        assert row is not None, f"the ledger does not know {seq}"
        return row.status, row.reasons

    def facts(self, after: int = 0, packets_max: int = 4_000) -> list[FactGroup]:
        """The region's facts above a position."""
        groups: list[FactGroup] = []
        while True:
            found, to = self.ledger.facts_after(REGION, after, packets_max)
            if to == after:
                return groups
            groups += found
            after = to

    def records(self, after: int = 0, reference: str | None = None) -> list[RecordChange]:
        """The region's records above a position."""
        found, _ = self.ledger.records_after(REGION, after, 1_000, 1 << 20, reference)
        return list(found)

    def other_region(self, code: str, stored: dict[int, bytes]) -> None:
        """Another region is let in, joins, and its packets are taken in."""
        key = PrivateKey.generate(code)
        self.ledger.admit(code, TOKEN, 1)
        join = Join(token=TOKEN, sign=key.public.raw.sign, seal=key.public.raw.seal)
        self.ledger.bind(code, key.public, join, 1)
        self.link.region_end(code).send(EntryId(1, 1), self.batch(stored, region=code, ours=key))
        self.intake.step(code)

    def aside(self) -> list[str]:
        """Codes of the frames that were kept aside, oldest first."""
        return [row.code for row in reversed(self.ledger.reader.quarantine(REGION))]


def new_rig(place: Path | str) -> Rig:
    """A center whose region has joined, with its ledger in that file or at that URL."""
    ledger = SqlLedger(place)
    ledger.open_incarnation(1)
    ledger.admit(REGION, TOKEN, 1)
    join = Join(token=TOKEN, sign=REGION_KEY.public.raw.sign, seal=REGION_KEY.public.raw.seal)
    ledger.bind(REGION, REGION_KEY.public, join, 1)
    return Rig(ledger, place)
