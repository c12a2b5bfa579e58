"""Step 1: a recorded thing as a JSON object -> a draft that the outbox can take.

    {"kind": "enrolment", "lane": "record", "id": "...", "payload": {...},
     "attachments": [{"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}]}

`lane` may be left out, `id` is the producer's own name for the packet, `base64` may stand for `path`. Every
rule that the center will apply is applied here first, so that what is wrong is said while the person who can
mend it is still there. Files are read twice: once to hash, once to store; only small ones are held.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.adapters.outbox_draft import Draft, Named, contents_of
from pipeline.adapters.outbox_layout import PIECE_BYTES
from pipeline.region.attachments import (
    DEFAULT_LIMITS,
    PackingLimits,
    check_known,
    digest_of,
    parts,
    read_sources,
    stream,
)
from schemas.codec import unpack
from schemas.enrolment import SCHEMA_VERSION
from schemas.errors import InvalidPacket, SchemaError
from schemas.lanes import Lane, parse_lane
from schemas.limits import PACKET_BYTES_MAX
from schemas.nik import nik_hash
from schemas.packet import Attachment, Packet, check_packet, pack_head

#: Attachments larger than this in total (bytes) make a packet `biometric` where it names no lane.
RECORD_ATTACHMENT_BYTES_MAX = 16 * 1024
_FIELDS = ("kind", "lane", "id", "schema", "payload", "attachments")


def read_line(line: bytes, limits: PackingLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """The object of one NDJSON line; raises `InvalidPacket` that says what is wrong with it."""
    if len(line) > limits.line_bytes_max:
        raise InvalidPacket(
            f"a line of more than {limits.line_bytes_max} bytes; put attachments into files", code="too_large"
        )
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except SchemaError:
        raise
    except UnicodeDecodeError:
        raise InvalidPacket("the line is not UTF-8", code="bad_json") from None
    except RecursionError:
        raise InvalidPacket("the line nests too deeply", code="too_deep") from None
    except ValueError as why:
        said = f"{why.msg} at column {why.colno}" if isinstance(why, json.JSONDecodeError) else str(why)
        raise InvalidPacket(f"the line is not JSON: {said}", code="bad_json") from None
    if not isinstance(value, dict):
        raise InvalidPacket("the line is not a JSON object", code="bad_json")
    return value


def draft_of(
    said: Mapping[str, Any],
    now_ms: int,
    *,
    folder: Path,
    once: bool,
    key: str | None = None,
    limits: PackingLimits = DEFAULT_LIMITS,
) -> Draft:
    """The draft of a packet as a producer says it; raises `InvalidPacket` naming the field.

    Paths are relative to `folder`. A `key` (or an `id` in the object) names the packet for its producer: it
    is taken once, and the name is good for these contents only. Without one, `once` recognises a packet by
    its contents.
    """
    check_known(said, _FIELDS, "")
    sources = read_sources(said.get("attachments"), folder, limits)
    version = said.get("schema", SCHEMA_VERSION)
    packet = Packet(
        said.get("kind", ""), said.get("payload", {}), tuple(one.said for one in sources), now_ms, version
    )
    check_packet(packet)
    head = _head(packet)
    size = len(head[0]) + sum(one.said.size for one in sources)
    if size > PACKET_BYTES_MAX:
        raise InvalidPacket(
            f"the packet has {size} bytes, at most {PACKET_BYTES_MAX} are allowed", field="attachments"
        )
    name = _producer_name(said.get("id"), key)
    stored = b"".join((head[0], *parts(sources))) if size <= PIECE_BYTES else None
    return Draft(
        lane=_lane(said.get("lane"), packet.attachments),
        kind=packet.kind,
        size=size,
        digest=hashlib.sha256(stored).digest() if stored is not None else digest_of(head[0], sources),
        nik_hash=nik_hash(packet.nik),
        key=head[1] if name is None else _producer_key(name),
        at_ms=now_ms,
        once=once or name is not None,
        stored=stored,
        stream=None if stored is not None else (lambda: stream(head[0], sources)),
        named=None if name is None else Named(name, contents_of(packet)),
    )


# --- the object -----------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidPacket(
            f"{twice[:40]!r} stands twice in one object", code="doubled_key", field=twice[:40]
        )
    return made


def _no_constant(text: str) -> Any:
    raise InvalidPacket(f"{text} is not a number in JSON", code="not_finite")


def _head(packet: Packet) -> tuple[bytes, bytes]:
    try:
        prefix, content_key = pack_head(packet)
        if any(type(value) in (dict, list, tuple, float) for value in packet.payload.values()):
            unpack(prefix[4:])  # what the center will refuse (depth, counts, infinity) is refused here
    except InvalidPacket:
        raise
    except SchemaError as why:
        raise InvalidPacket(str(why), code=why.code, field="payload") from None
    return prefix, content_key


def _producer_name(named: object, key: str | None) -> str | None:
    name = key if key is not None else named
    if name is None:
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise InvalidPacket("an id is a text of 1 to 200 characters", code="bad_id", field="id")
    return name


def _producer_key(name: str) -> bytes:
    return hashlib.sha256(b"titian producer key 1" + name.encode("utf-8", "surrogatepass")).digest()[:16]


def _lane(named: object, attachments: Sequence[Attachment]) -> Lane:
    if named is None:
        large = sum(one.size for one in attachments) > RECORD_ATTACHMENT_BYTES_MAX
        return Lane.BIOMETRIC if large else Lane.RECORD
    try:
        return parse_lane(named if isinstance(named, str) else str(named))
    except SchemaError as why:
        raise InvalidPacket(str(why), code=why.code, field="lane") from None
