"""A packet's stored bytes: what is hashed, stored, travels, and is stored again, unchanged.

    stored = u32 length of head (big endian) | head | bytes of attachment 1 | bytes of attachment 2 | ...
    head   = msgpack [schema version, recorded at (ms), kind, payload, attachments]
    attachments = [[name, media type, bytes, SHA-256], ...]

The digest of a packet is the SHA-256 of these bytes, computed once, at enqueue.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.codec import pack, unpack
from schemas.enrolment import SCHEMA_VERSION, check_payload
from schemas.errors import InvalidPacket, SchemaError
from schemas.limits import (
    ATTACHMENT_NAME_CHARS_MAX,
    ATTACHMENTS_MAX,
    HEAD_BYTES_MAX,
    PACKET_BYTES_MAX,
)

_LENGTH = struct.Struct(">I")
_HEAD_FIELDS = 5
DIGEST_BYTES = 32
#: A file's name has at most 255 bytes on common file systems; this leaves room for what a store adds.
_NAME_BYTES_MAX = 200
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
)  # RFC 6838, 4.2


class Attachment(NamedTuple):
    """What a head says of an attachment: `size` in bytes and the SHA-256 of its bytes."""

    name: str
    media_type: str
    size: int
    digest: bytes


class Packet(NamedTuple):
    """A packet's head, read: `at_ms` is the region's clock when it was recorded (informative only)."""

    kind: str
    payload: dict[str, Any]
    attachments: tuple[Attachment, ...]
    at_ms: int
    version: int = SCHEMA_VERSION

    @property
    def nik(self) -> str:
        """The citizen whom it is about (every kind has one)."""
        return str(self.payload["nik"])


class PackedHead(NamedTuple):
    """`prefix` is the beginning of the stored bytes (length and head); `content_key` (16 bytes) is equal for
    two packets that say the same, whenever they were recorded."""

    prefix: bytes
    content_key: bytes


def check_attachment(name: str, media_type: str, size: int) -> None:
    """Raise `InvalidPacket` unless name and media type have a form that is safe to store and to show."""
    if (
        not 1 <= len(name) <= ATTACHMENT_NAME_CHARS_MAX
        or not name.isprintable()
        or "/" in name
        or "\\" in name
    ):
        raise InvalidPacket(
            f"an attachment's name has 1 to {ATTACHMENT_NAME_CHARS_MAX} printable characters and no slash",
            field="attachments.name",
        )
    if len(name.encode()) > _NAME_BYTES_MAX:
        raise InvalidPacket(
            f"an attachment's name has at most {_NAME_BYTES_MAX} bytes", field="attachments.name"
        )
    if name in (".", ".."):
        raise InvalidPacket("an attachment's name cannot be a folder", field="attachments.name")
    if len(media_type) > ATTACHMENT_NAME_CHARS_MAX or _MEDIA_TYPE.fullmatch(media_type) is None:
        raise InvalidPacket(
            "a media type looks like image/jpeg", code="bad_media_type", field="attachments.media_type"
        )
    if not 0 <= size <= PACKET_BYTES_MAX:
        raise InvalidPacket(
            "an attachment's size is out of range", code="too_large", field="attachments.size"
        )


def check_packet(packet: Packet) -> None:
    """Raise `InvalidPacket` naming the field unless the packet keeps every rule of its schema."""
    check_payload(packet.kind, packet.version, packet.payload)
    if len(packet.attachments) > ATTACHMENTS_MAX:
        raise InvalidPacket(f"more than {ATTACHMENTS_MAX} attachments", field="attachments")
    names = set()
    for one in packet.attachments:
        check_attachment(one.name, one.media_type, one.size)
        if one.name in names:
            raise InvalidPacket(f"two attachments are named {one.name!r}", field="attachments.name")
        names.add(one.name)


def pack_head(packet: Packet) -> PackedHead:
    """The beginning of a packet's stored bytes; raises `InvalidPacket` if the head passes its limit."""
    content = (
        pack(packet.kind)
        + pack(packet.payload)
        + pack([[a.name, a.media_type, a.size, a.digest] for a in packet.attachments])
    )
    head = b"\x95" + pack(packet.version) + pack(packet.at_ms) + content
    if len(head) > HEAD_BYTES_MAX:
        raise InvalidPacket(
            f"the payload has {len(head)} bytes, at most {HEAD_BYTES_MAX} are allowed; "
            "put large values into attachments",
            code="too_large",
            field="payload",
        )
    return PackedHead(_LENGTH.pack(len(head)) + head, hashlib.sha256(content).digest()[:16])


def head_bytes(stored: bytes) -> int:
    """How many bytes the prefix (length and head) takes; `stored` holds at least the first four bytes."""
    if len(stored) < _LENGTH.size:
        raise InvalidPacket("a packet shorter than its own length field", code="malformed")
    length: int = _LENGTH.unpack_from(stored)[0]
    if not 1 <= length <= HEAD_BYTES_MAX:
        raise InvalidPacket(f"a head of {length} bytes", code="too_large")
    return _LENGTH.size + length


def read_head(stored: bytes, *, check: bool = True) -> Packet:
    """The packet whose stored bytes begin with `stored` (at least the whole head).

    With `check` every rule of the schema is applied (a trusted store may skip it). Raises `InvalidPacket`.
    """
    end = head_bytes(stored)
    if len(stored) < end:
        raise InvalidPacket("the head is cut off", code="malformed")
    try:
        value = unpack(stored[_LENGTH.size : end])
        if not isinstance(value, list) or len(value) != _HEAD_FIELDS or not isinstance(value[4], list):
            raise _other_form(value)
        version, at_ms, kind, payload, listed = value
        attachments = tuple(_attachment(item) for item in listed)
    except (TypeError, ValueError) as why:
        if isinstance(why, InvalidPacket):
            raise
        if isinstance(why, SchemaError):
            raise InvalidPacket(str(why), code=why.code) from why
        raise InvalidPacket("the head has not the form of a packet's", code="malformed") from why
    if type(at_ms) is not int or type(version) is not int or type(kind) is not str:
        raise InvalidPacket("the head has not the form of a packet's", code="malformed")
    packet = Packet(kind, payload, attachments, at_ms, version)
    if check:
        check_packet(packet)
    return packet


def _other_form(value: object) -> InvalidPacket:
    """What to say of a head that is not ours: a newer version may have more fields than we know."""
    if isinstance(value, list) and value and type(value[0]) is int and value[0] > SCHEMA_VERSION:
        return InvalidPacket(
            f"schema version {value[0]} is not known here (this is version {SCHEMA_VERSION})",
            code="unknown_schema_version",
            field="schema",
        )
    return InvalidPacket("the head has not the form of a packet's", code="malformed")


def _attachment(item: Sequence[Any]) -> Attachment:
    name, media_type, size, digest = item
    if type(name) is not str or type(media_type) is not str or type(size) is not int:
        raise InvalidPacket("an attachment's entry has a wrong type", code="malformed")
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        raise InvalidPacket("an attachment's digest has not 32 bytes", code="malformed")
    return Attachment(name, media_type, size, digest)


def stored_size(prefix_bytes: int, attachments: Sequence[Attachment]) -> int:
    """How many bytes a packet's stored bytes have in all."""
    return prefix_bytes + sum(one.size for one in attachments)


def attachment_span(
    prefix_bytes: int, attachments: Sequence[Attachment], name: str
) -> tuple[int, int] | None:
    """Where in the stored bytes the attachment `name` lies, as `[start, stop)`; `None` if there is none."""
    at = prefix_bytes
    for one in attachments:
        if one.name == name:
            return at, at + one.size
        at += one.size
    return None
