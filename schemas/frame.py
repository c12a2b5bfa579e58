"""A frame: what crosses the link in one piece, signed and sealed.

    frame  = msgpack [header bytes, sealed body, signature]                 (flat, `schemas.codec`)
    header = msgpack [wire version, kind, region, epoch, lane, codec, dictionary, signer, recipient, seqs...]
    sealed = HPKE(recipient, info = "titian frame 1" | SHA-256(header), zstd(body))
    signature = Ed25519(signer, "titian frame 1" | u32 length of header | header | sealed)

The header says which packets a frame is about (`seqs`, as flat ranges), so that a frame whose signature holds
but which cannot be read is still refused by identity. Whoever reads goes through the steps in order and stops
at the first that fails: `split` (size, form, header), `verify` (known key, signature), `open_body` (seal,
bounded decompression). Nothing is re-encoded: signature and seal are over the bytes as received.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from schemas.codec import pack_flat, unpack_flat
from schemas.compression import CODEC_ZSTD, DICTIONARY_NEWEST, compress, decompress
from schemas.errors import (
    BadSignature,
    CodecError,
    FrameError,
    MalformedFrame,
    SchemaError,
    UnknownKey,
    UnreadableBody,
)
from schemas.identity import check_epoch, check_region
from schemas.keys import KEY_ID_BYTES, PrivateKey, PublicKey
from schemas.lanes import Lane
from schemas.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX, RANGES_MAX
from schemas.messages import WIRE_VERSION
from schemas.ranges import Ranges, from_wire, to_wire

_CONTEXT = b"titian frame 1"
_LENGTH = struct.Struct(">I")
_SIGNATURE_BYTES = 64
_FIXED_FIELDS = 9


class Kind(IntEnum):
    """What a frame carries; the number travels. Up: below 16; down: from 16; in files only: from 32."""

    BATCH = 1
    CHUNK = 2
    WANT = 3
    JOIN = 4
    ANNOUNCE = 5
    ACK = 16
    FACTS = 17
    RECORDS = 18
    BACK = 19
    ANSWER = 20
    MANIFEST = 32


class Header(NamedTuple):
    """What stands outside the seal. `signer` and `recipient` are key ids of 8 bytes."""

    kind: Kind
    region: str
    epoch: str
    signer: bytes
    recipient: bytes
    lane: Lane = Lane.CONTROL
    seqs: Ranges = ()
    codec: int = CODEC_ZSTD
    dictionary: int = DICTIONARY_NEWEST


class Parts(NamedTuple):
    """A frame taken apart, nothing of it believed yet."""

    header: Header
    header_bytes: bytes
    sealed: bytes
    signature: bytes


def seal_frame(
    header: Header, body: bytes, *, ours: PrivateKey, theirs: PublicKey, level: int | None = None
) -> bytes:
    """The frame of `body` (at most `BODY_BYTES_MAX` bytes), signed by `ours` and sealed to `theirs`.

    `header.signer` and `.recipient` are filled in from the keys. Raises `FrameError` past a limit.
    """
    if len(body) > BODY_BYTES_MAX:
        raise FrameError(f"a body of {len(body)} bytes, at most {BODY_BYTES_MAX}", code="too_large")
    header = header._replace(signer=ours.id, recipient=theirs.id)
    header_bytes = pack_header(header)
    squeezed = compress(body, codec=header.codec, dictionary=header.dictionary, level=level)
    sealed = theirs.seal_to(squeezed, _info(header_bytes))
    frame = pack_flat((header_bytes, sealed, ours.signature(_signed(header_bytes, sealed))))
    if len(frame) > FRAME_BYTES_MAX:
        raise FrameError(f"a frame of {len(frame)} bytes, at most {FRAME_BYTES_MAX}", code="too_large")
    return frame


def split(frame: bytes) -> Parts:
    """The frame's parts; raises `MalformedFrame` unless size, form and header are right."""
    if len(frame) > FRAME_BYTES_MAX:
        raise MalformedFrame(f"a frame of {len(frame)} bytes, at most {FRAME_BYTES_MAX}", code="too_large")
    try:
        outer = unpack_flat(frame, items_max=3, bytes_max=FRAME_BYTES_MAX)
    except CodecError as why:
        raise MalformedFrame(f"not a frame: {why}") from why
    match outer:
        case [bytes(header_bytes), bytes(sealed), bytes(signature)] if len(signature) == _SIGNATURE_BYTES:
            return Parts(unpack_header(header_bytes), header_bytes, sealed, signature)
    raise MalformedFrame("not a frame: it has not three parts")


def verify(parts: Parts, signer_of: Callable[[bytes], PublicKey | None]) -> PublicKey:
    """The key that signed; raises `UnknownKey` or `BadSignature`.

    `signer_of` gives the key of an id, or `None` where it is not known or no longer good. A region's key
    speaks for that region only.
    """
    key = signer_of(parts.header.signer)
    if key is None:
        raise UnknownKey(f"the signing key {parts.header.signer.hex()} is not known here")
    if key.region is not None and key.region != parts.header.region:
        raise UnknownKey(f"the key of region {key.region} does not speak for region {parts.header.region}")
    if not key.verifies(parts.signature, _signed(parts.header_bytes, parts.sealed)):
        raise BadSignature("the signature does not hold")
    return key


def open_body(parts: Parts, ours_of: Callable[[bytes], PrivateKey | None]) -> bytes:
    """The body of verified parts; raises `UnknownKey`, `BadSeal` or `UnreadableBody`."""
    ours = ours_of(parts.header.recipient)
    if ours is None:
        raise UnknownKey(f"it was sealed to the key {parts.header.recipient.hex()}, which is not ours")
    squeezed = ours.unseal(parts.sealed, _info(parts.header_bytes))
    try:
        return decompress(
            squeezed, codec=parts.header.codec, dictionary=parts.header.dictionary, bytes_max=BODY_BYTES_MAX
        )
    except SchemaError as why:
        raise UnreadableBody(str(why), code=why.code) from why


def pack_header(header: Header) -> bytes:
    """The header's bytes as they are signed."""
    return pack_flat(
        (
            WIRE_VERSION,
            int(header.kind),
            header.region.encode(),
            header.epoch.encode(),
            int(header.lane),
            header.codec,
            header.dictionary,
            header.signer,
            header.recipient,
            *to_wire(header.seqs),
        )
    )


def unpack_header(data: bytes) -> Header:
    """The header of its bytes; raises `MalformedFrame` (code `newer_version` for a higher wire version)."""
    try:
        flat = unpack_flat(data, items_max=_FIXED_FIELDS + 2 * RANGES_MAX, bytes_max=FRAME_BYTES_MAX)
        if not flat or type(flat[0]) is not int:
            raise CodecError("no wire version")
        if flat[0] != WIRE_VERSION:
            raise MalformedFrame(f"wire version {flat[0]}; this reads {WIRE_VERSION}", code="newer_version")
        match flat[1:_FIXED_FIELDS]:
            case [
                int(kind),
                bytes(region),
                bytes(epoch),
                int(lane),
                int(codec),
                int(dictionary),
                bytes(signer),
                bytes(recipient),
            ] if len(signer) == len(recipient) == KEY_ID_BYTES:
                seqs = from_wire(flat[_FIXED_FIELDS:])
                if seqs and seqs[0][0] < 1:
                    raise CodecError("a seq of 0")
                return Header(
                    Kind(kind),
                    check_region(region.decode("ascii")),
                    check_epoch(epoch.decode("ascii")),
                    signer,
                    recipient,
                    Lane(lane),
                    seqs,
                    codec,
                    dictionary,
                )
    except (CodecError, SchemaError, ValueError) as why:
        raise why if isinstance(why, MalformedFrame) else MalformedFrame(f"its header: {why}") from why
    raise MalformedFrame("its header has not the form of one")


def _info(header_bytes: bytes) -> bytes:
    return _CONTEXT + hashlib.sha256(header_bytes).digest()


def _signed(header_bytes: bytes, sealed: bytes) -> bytes:
    return b"".join((_CONTEXT, _LENGTH.pack(len(header_bytes)), header_bytes, sealed))
