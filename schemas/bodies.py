"""What a frame from a region carries in its body: a batch of small packets, or one chunk of a large one.

    batch = msgpack flat [stored bytes, stored bytes, ...]      one per seq of the header, rising
    chunk = msgpack flat [size, digest, offset, bytes]          the header names exactly one seq

`size` and `digest` are those of the whole packet's stored bytes; `[offset, offset + len(bytes))` is the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.limits import BATCH_PACKETS_MAX, CHUNK_BYTES_MAX, PACKET_BYTES_MAX
from schemas.packet import DIGEST_BYTES


class ChunkBody(NamedTuple):
    """A part of a large packet: its whole size in bytes, its digest (32 bytes), and where `data` begins."""

    size: int
    digest: bytes
    offset: int
    data: bytes


def pack_batch(stored: Sequence[bytes]) -> bytes:
    """The body of a batch: 1 to `BATCH_PACKETS_MAX` packets' stored bytes, in rising order of seq."""
    if not 1 <= len(stored) <= BATCH_PACKETS_MAX:
        raise CodecError(f"{len(stored)} packets in a batch, at most {BATCH_PACKETS_MAX}", code="too_many")
    return pack_flat(stored)


def unpack_batch(body: bytes, count: int) -> list[bytes]:
    """The stored bytes of `count` packets; raises `CodecError`."""
    values = unpack_flat(body, items_max=BATCH_PACKETS_MAX)
    if len(values) != count:
        raise CodecError(f"{len(values)} packets where the header names {count}", code="bad_count")
    stored = [one for one in values if isinstance(one, bytes)]
    if len(stored) != count:
        raise CodecError("a number where a packet's bytes should be")
    if any(len(one) > CHUNK_BYTES_MAX for one in stored):
        raise CodecError(f"a packet of more than {CHUNK_BYTES_MAX} bytes in a batch", code="too_large")
    return stored


def pack_chunk(size: int, digest: bytes, offset: int, data: bytes) -> bytes:
    """The body of a chunk; raises `CodecError` past a limit."""
    _check_chunk(size, digest, offset, data)
    return pack_flat((size, digest, offset, data))


def unpack_chunk(body: bytes) -> ChunkBody:
    """The chunk of its body; raises `CodecError` (code `too_large` where the packet passes our limit)."""
    match unpack_flat(body, items_max=4):
        case [int(size), bytes(digest), int(offset), bytes(data)]:
            _check_chunk(size, digest, offset, data)
            return ChunkBody(size, digest, offset, data)
    raise CodecError("not the body of a chunk")


def _check_chunk(size: int, digest: bytes, offset: int, data: bytes) -> None:
    if not 1 <= size <= PACKET_BYTES_MAX:
        raise CodecError(f"a packet of {size} bytes, at most {PACKET_BYTES_MAX}", code="too_large")
    if len(digest) != DIGEST_BYTES:
        raise CodecError("a digest that has not 32 bytes")
    if not 1 <= len(data) <= CHUNK_BYTES_MAX:
        raise CodecError(
            f"a chunk of {len(data)} bytes, 1 to {CHUNK_BYTES_MAX} are allowed", code="too_large"
        )
    if offset < 0 or offset + len(data) > size:
        raise CodecError("a chunk that lies outside its packet")
