"""Step 4, pure: the bytes of one frame -> what they are, as a frozen outcome. It never raises for bad input.

The order of the steps is the order of trust: size and form, the stream's region, a known key, the signature,
the seal, bounded decompression, bounded msgpack, the packet's schema. What fails before the signature holds
says nothing about anyone and goes to quarantine; what fails afterwards is refused by identity, since the
header that names the packets is signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from schemas.announcement import Announcement, unpack_announcements
from schemas.bodies import unpack_batch, unpack_chunk
from schemas.errors import FrameError, InvalidPacket, SchemaError
from schemas.feed import DETAIL_CHARS_MAX
from schemas.frame import Header, Kind, Parts, open_body, split, verify
from schemas.keys import PrivateKey, PublicBytes, PublicKey
from schemas.lanes import Lane
from schemas.limits import BATCH_PACKETS_MAX
from schemas.messages import Join, Want, unpack_message
from schemas.packet import Packet, head_bytes, read_head, stored_size
from schemas.ranges import Ranges, numbers, total
from schemas.verdicts import Reason

#: A recording time further from 1970 than this (ms) is no time.
_AT_MS_MAX = 2**53


class ReadPacket(NamedTuple):
    """A packet that keeps every rule of its schema: its stored bytes, their SHA-256, and its head, read."""

    seq: int
    stored: bytes
    digest: bytes
    packet: Packet


@dataclass(frozen=True)
class Packets:
    """A batch. `refused` are those that break a rule, each alone."""

    region: str
    epoch: str
    lane: Lane
    read: tuple[ReadPacket, ...]
    refused: tuple[tuple[int, Reason], ...] = ()


@dataclass(frozen=True)
class ChunkOf:
    """A part of a large packet."""

    region: str
    epoch: str
    lane: Lane
    seq: int
    size: int
    digest: bytes
    offset: int
    data: bytes


@dataclass(frozen=True)
class Announcements:
    """Packets that exist at the region and will come later."""

    region: str
    epoch: str
    lane: Lane
    packets: tuple[tuple[int, Announcement], ...]


@dataclass(frozen=True)
class Unreadable:
    """The signature holds, but what is inside cannot be read: the packets `seqs` are refused."""

    region: str
    epoch: str
    lane: Lane
    seqs: Ranges
    reason: Reason


@dataclass(frozen=True)
class WantIs:
    """A region's word about itself, and the key that signed it."""

    region: str
    signer: PublicKey
    want: Want


@dataclass(frozen=True)
class JoinIs:
    """A machine shows its keys (which sign and hold) under a token."""

    region: str
    key: PublicKey
    join: Join


@dataclass(frozen=True)
class Quarantined:
    """Nothing that anyone could be told about: kept aside with a code and a sentence."""

    code: str
    sentence: str


Outcome: TypeAlias = Packets | ChunkOf | Announcements | Unreadable | WantIs | JoinIs | Quarantined


def read_frame(
    frame: bytes,
    region: str,
    signer_of: Callable[[bytes], PublicKey | None],
    ours_of: Callable[[bytes], PrivateKey | None],
) -> Outcome:
    """What `frame`, found in a stream of `region`, is.

    `signer_of` gives a region's key by its id (`None`: not known or revoked), `ours_of` our private keys.
    """
    try:
        parts = split(frame)
        header = parts.header
        if header.region != region:
            return Quarantined(
                "foreign_region", f"a frame of region {header.region} in the stream of {region}"
            )
        if header.kind is Kind.JOIN:
            return _read_join(parts, ours_of)
        key = verify(parts, signer_of)
    except SchemaError as why:
        return Quarantined(why.code, str(why))
    if total(header.seqs) > BATCH_PACKETS_MAX:
        return Quarantined("too_many", f"a frame about {total(header.seqs)} packets")
    try:
        return _read_body(header, key, open_body(parts, ours_of))
    except SchemaError as why:
        return _unreadable(header, why)


def reason_of(why: SchemaError, code: str = "unreadable") -> Reason:
    """The reason for a refusal, with what was wrong as its detail (one line, bounded)."""
    line = "".join(char if char.isprintable() else " " for char in f"{why.code}: {why}")
    return Reason(code, line[:DETAIL_CHARS_MAX])


def check_whole(stored_bytes: int, prefix_bytes: int, packet: Packet) -> None:
    """Raise `InvalidPacket` unless head and attachments are exactly as long as the packet."""
    if stored_size(prefix_bytes, packet.attachments) != stored_bytes:
        raise InvalidPacket("the attachments are not as long as the head says", code="malformed")
    if abs(packet.at_ms) > _AT_MS_MAX:
        raise InvalidPacket("the recording time is out of range", field="at_ms")


def _read_join(parts: Parts, ours_of: Callable[[bytes], PrivateKey | None]) -> Outcome:
    """The key is in the body, so it is opened first; the signature must be that key's."""
    join = unpack_message(Join, open_body(parts, ours_of))
    key = PublicKey.load(PublicBytes(join.sign, join.seal), parts.header.region)
    verify(parts, lambda asked: key if asked == key.id else None)
    return JoinIs(parts.header.region, key, join)


def _read_body(header: Header, key: PublicKey, body: bytes) -> Outcome:
    if header.kind is Kind.BATCH:
        return _read_batch(header, body)
    if header.kind is Kind.CHUNK:
        if total(header.seqs) != 1:
            raise FrameError("a chunk is of exactly one packet", code="malformed")
        chunk = unpack_chunk(body)
        return ChunkOf(header.region, header.epoch, header.lane, header.seqs[0][0], *chunk)
    if header.kind is Kind.ANNOUNCE:
        packets = zip(numbers(header.seqs), unpack_announcements(body, total(header.seqs)), strict=True)
        return Announcements(header.region, header.epoch, header.lane, tuple(packets))
    if header.kind is Kind.WANT:
        return WantIs(header.region, key, unpack_message(Want, body))
    raise FrameError(f"a frame of kind {header.kind.name} does not come from a region", code="wrong_kind")


def _read_batch(header: Header, body: bytes) -> Packets:
    read: list[ReadPacket] = []
    refused: list[tuple[int, Reason]] = []
    stored_all = unpack_batch(body, total(header.seqs))
    for seq, stored in zip(numbers(header.seqs), stored_all, strict=True):
        try:
            packet = read_head(stored)
            check_whole(len(stored), head_bytes(stored), packet)
        except SchemaError as why:
            refused.append((seq, reason_of(why, "invalid_packet")))
            continue
        read.append(ReadPacket(seq, stored, hashlib.sha256(stored).digest(), packet))
    return Packets(header.region, header.epoch, header.lane, tuple(read), tuple(refused))


def _unreadable(header: Header, why: SchemaError) -> Outcome:
    if header.kind in (Kind.BATCH, Kind.CHUNK) and header.seqs:
        return Unreadable(header.region, header.epoch, header.lane, header.seqs, reason_of(why))
    return Quarantined(why.code, str(why))
