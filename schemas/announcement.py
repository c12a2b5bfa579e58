"""What a region announces: packets that it holds and cannot send within seconds (rule 5).

    announce = msgpack flat [NIK, size, digest, time, ...]      four a seq of the header

`NIK` are the first 8 bytes of `schemas.nik.nik_hash`, by which both stores find a citizen's packets; `size`
and `digest` are those of the packet's stored bytes; `time` is when it was enqueued, in milliseconds, as the
difference to the packet before it (the first: to 1970). The header names the lane of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.limits import PACKET_BYTES_MAX
from schemas.packet import DIGEST_BYTES

#: Announcements in one frame, as read; who writes stays below (`pipeline.region.announcing`).
ANNOUNCED_PACKETS_MAX = 200
#: Seqs that an ack restates of what is announced.
RESTATED_MAX = 500
NIK_BYTES = 8
#: A time further from 1970 than this (ms) is no time.
AT_MS_MAX = 2**53
_FIELDS = 4


class Announcement(NamedTuple):
    """One packet that exists at its region: its size in bytes, the SHA-256 of its stored bytes, when it was
    enqueued (ms), and 8 bytes of the hash of its NIK."""

    nik: bytes
    size: int
    digest: bytes
    at_ms: int


def pack_announcements(packets: Sequence[Announcement]) -> bytes:
    """The body of an `announce` frame, in rising order of seq; raises `CodecError` past a limit."""
    if not 1 <= len(packets) <= ANNOUNCED_PACKETS_MAX:
        raise CodecError(f"{len(packets)} announcements, at most {ANNOUNCED_PACKETS_MAX}", code="too_many")
    flat: list[int | bytes] = []
    before_ms = 0
    for one in packets:
        _check(one)
        flat += (one.nik, one.size, one.digest, one.at_ms - before_ms)
        before_ms = one.at_ms
    return pack_flat(flat)


def unpack_announcements(body: bytes, count: int) -> tuple[Announcement, ...]:
    """The announcements of `count` packets; raises `CodecError`."""
    flat = unpack_flat(body, items_max=_FIELDS * ANNOUNCED_PACKETS_MAX)
    if not flat or len(flat) != _FIELDS * count:
        raise CodecError(f"{len(flat)} fields where the header names {count} packets", code="bad_count")
    found: list[Announcement] = []
    at_ms = 0
    for start in range(0, len(flat), _FIELDS):
        match flat[start : start + _FIELDS]:
            case [bytes(nik), int(size), bytes(digest), int(later_ms)]:
                at_ms += later_ms
                found.append(Announcement(nik, size, digest, at_ms))
                _check(found[-1])
            case _:
                raise CodecError("not the form of an announcement")
    return tuple(found)


def _check(one: Announcement) -> None:
    if len(one.nik) != NIK_BYTES or len(one.digest) != DIGEST_BYTES:
        raise CodecError("an announcement whose NIK has not 8 bytes or whose digest has not 32")
    if not 1 <= one.size <= PACKET_BYTES_MAX:
        raise CodecError(f"a packet of {one.size} bytes, at most {PACKET_BYTES_MAX}", code="too_large")
    if abs(one.at_ms) > AT_MS_MAX:
        raise CodecError("the recording time is out of range", field="at_ms")
