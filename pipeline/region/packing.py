"""Step 1: a recorded thing as a JSON object -> a draft that the outbox can take.

    {"kind": "enrolment", "lane": "record", "id": "...", "payload": {...},
     "attachments": [{"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}]}

`lane` may be left out, `id` is the producer's own name for the packet, `base64` may stand for `path`. Every
rule that the center will apply is applied here first, so that what is wrong is said while the person who can
mend it is still there. Files are read twice: once to hash, once to store; only small ones are held.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.outbox_layout import PIECE_BYTES
from schemas.codec import unpack
from schemas.enrolment import SCHEMA_VERSION
from schemas.errors import InvalidPacket, SchemaError
from schemas.lanes import Lane, parse_lane
from schemas.limits import ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, LINE_BYTES_MAX, PACKET_BYTES_MAX
from schemas.nik import nik_hash
from schemas.packet import Attachment, Packet, check_packet, pack_head

#: Attachments larger than this in total (bytes) make a packet `biometric` where it names no lane.
RECORD_ATTACHMENT_BYTES_MAX = 16 * 1024
_READ_BYTES = 1024 * 1024
_FIELDS = ("kind", "lane", "id", "schema", "payload", "attachments")
_ATTACHMENT_FIELDS = ("name", "media_type", "path", "base64")


@dataclass(frozen=True)
class PackingLimits:
    """The largest attachment and the longest line, in bytes (the settings have the same names)."""

    attachment_bytes_max: int = ATTACHMENT_BYTES_MAX
    line_bytes_max: int = LINE_BYTES_MAX


DEFAULT_LIMITS = PackingLimits()


class _Source(NamedTuple):
    """An attachment and where its bytes are: in `data`, or still in the file `path`."""

    said: Attachment
    data: bytes | None
    path: Path | None


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
    is taken once. Without one, `once` recognises a packet by its contents.
    """
    _no_unknown(said, _FIELDS, "")
    sources = _sources(said.get("attachments"), folder, limits)
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
    named = _producer_key(said.get("id"), key)
    stored = b"".join((head[0], *_parts(sources))) if size <= PIECE_BYTES else None
    return Draft(
        lane=_lane(said.get("lane"), packet.attachments),
        kind=packet.kind,
        size=size,
        digest=hashlib.sha256(stored).digest() if stored is not None else _digest(head[0], sources),
        nik_hash=nik_hash(packet.nik),
        key=named or head[1],
        at_ms=now_ms,
        once=once or named is not None,
        stored=stored,
        stream=None if stored is not None else (lambda: _stream(head[0], sources)),
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


def _no_unknown(said: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in said:
        if name not in known:
            listed = ", ".join(known)
            raise InvalidPacket(
                f"{where}{str(name)[:40]!r} is not known here; there are: {listed}",
                code="unknown_field",
                field=f"{where}{str(name)[:40]}",
            )


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


def _producer_key(named: object, key: str | None) -> bytes | None:
    name = key if key is not None else named
    if name is None:
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise InvalidPacket("an id is a text of 1 to 200 characters", code="bad_id", field="id")
    return hashlib.sha256(b"titian producer key 1" + name.encode("utf-8", "surrogatepass")).digest()[:16]


def _lane(named: object, attachments: Sequence[Attachment]) -> Lane:
    if named is None:
        large = sum(one.size for one in attachments) > RECORD_ATTACHMENT_BYTES_MAX
        return Lane.BIOMETRIC if large else Lane.RECORD
    try:
        return parse_lane(named if isinstance(named, str) else str(named))
    except SchemaError as why:
        raise InvalidPacket(str(why), code=why.code, field="lane") from None


# --- attachments ----------------------------------------------------------------------------------


def _sources(listed: object, folder: Path, limits: PackingLimits) -> tuple[_Source, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list | tuple):
        raise InvalidPacket("attachments is not a list", field="attachments")
    if len(listed) > ATTACHMENTS_MAX:
        raise InvalidPacket(f"more than {ATTACHMENTS_MAX} attachments", field="attachments")
    return tuple(_source(item, folder, limits) for item in listed)


def _source(item: object, folder: Path, limits: PackingLimits) -> _Source:
    if not isinstance(item, Mapping):
        raise InvalidPacket("an attachment is not an object", field="attachments")
    _no_unknown(item, _ATTACHMENT_FIELDS, "attachments.")
    name, media_type, path, text = (item.get(field) for field in _ATTACHMENT_FIELDS)
    if not isinstance(name, str) or not isinstance(media_type, str):
        missing = "media_type" if isinstance(name, str) else "name"
        raise InvalidPacket(f"an attachment has no {missing}", field=f"attachments.{missing}")
    if (path is None) == (text is None):
        raise InvalidPacket(f"attachment {name[:40]!r} needs either path or base64", field="attachments")
    if text is not None:
        return _held(name, media_type, _decoded(text, name), limits)
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidPacket(f"the path of {name[:40]!r} is not a path", field="attachments.path")
    return _from_file(name, media_type, folder / path, limits)


def _decoded(text: object, name: str) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidPacket(
        f"the base64 of {name[:40]!r} is damaged", code="bad_base64", field="attachments.base64"
    )


def _held(name: str, media_type: str, data: bytes, limits: PackingLimits) -> _Source:
    _check_size(name, len(data), limits, "attachments.base64")
    return _Source(Attachment(name, media_type, len(data), hashlib.sha256(data).digest()), data, None)


def _check_size(name: str, size: int, limits: PackingLimits, field: str) -> None:
    most = limits.attachment_bytes_max
    if size > most:
        raise InvalidPacket(
            f"attachment {name[:40]!r} has {size} bytes ({_mib(size)}), at most {most} ({_mib(most)}) are "
            "allowed; the setting attachment_bytes_max changes that",
            code="too_large",
            field=field,
        )


def _from_file(name: str, media_type: str, path: Path, limits: PackingLimits) -> _Source:
    try:
        with open(path, "rb", opener=_open_file) as file:
            size = os.fstat(file.fileno()).st_size
            _check_size(name, size, limits, "attachments.path")
            if size <= PIECE_BYTES:
                return _held(name, media_type, file.read(PIECE_BYTES + 1), limits)
            digest = hashlib.sha256()
            read = 0
            while part := file.read(_READ_BYTES):
                digest.update(part)
                read += len(part)
    except OSError as why:
        raise InvalidPacket(
            f"{path} cannot be read: {why.strerror or why}", code="missing_file", field="attachments.path"
        ) from None
    _check_size(name, read, limits, "attachments.path")
    return _Source(Attachment(name, media_type, read, digest.digest()), None, path)


def _open_file(path: str, flags: int) -> int:
    """Open a plain file, without waiting for whoever writes into a pipe."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is not a plain file")
    return fd


def _parts(sources: Sequence[_Source]) -> Iterator[bytes]:
    for one in sources:
        if one.data is not None:
            yield one.data
            continue
        assert one.path is not None
        try:
            with open(one.path, "rb", opener=_open_file) as file:
                while part := file.read(_READ_BYTES):
                    yield part
        except OSError as why:
            raise InvalidPacket(
                f"{one.path} cannot be read any more: {why.strerror or why}",
                code="missing_file",
                field="attachments.path",
            ) from None


def _stream(prefix: bytes, sources: Sequence[_Source]) -> Iterator[bytes]:
    yield prefix
    yield from _parts(sources)


def _digest(prefix: bytes, sources: Sequence[_Source]) -> bytes:
    digest = hashlib.sha256()
    for part in _stream(prefix, sources):
        digest.update(part)
    return digest.digest()


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
