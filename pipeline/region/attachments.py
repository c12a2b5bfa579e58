"""Step 1: a packet's attachments as a producer names them: in the object as base64, or as files.

Files are read twice, once to hash and once to store; only those that fit one piece are held.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.outbox_layout import PIECE_BYTES
from schemas.errors import InvalidPacket
from schemas.limits import ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, LINE_BYTES_MAX
from schemas.packet import Attachment

_READ_BYTES = 1024 * 1024
_ATTACHMENT_FIELDS = ("name", "media_type", "path", "base64")


@dataclass(frozen=True)
class PackingLimits:
    """The largest attachment and the longest line, in bytes (the settings have the same names)."""

    attachment_bytes_max: int = ATTACHMENT_BYTES_MAX
    line_bytes_max: int = LINE_BYTES_MAX


DEFAULT_LIMITS = PackingLimits()


class Source(NamedTuple):
    """An attachment and where its bytes are: in `data`, or still in the file `path`."""

    said: Attachment
    data: bytes | None
    path: Path | None


def check_known(said: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise `InvalidPacket` naming the first field of an object that is not among `known`."""
    for name in said:
        if name not in known:
            listed = ", ".join(known)
            raise InvalidPacket(
                f"{where}{str(name)[:40]!r} is not known here; there are: {listed}",
                code="unknown_field",
                field=f"{where}{str(name)[:40]}",
            )


def read_sources(listed: object, folder: Path, limits: PackingLimits) -> tuple[Source, ...]:
    """The attachments of a packet, checked and hashed; raises `InvalidPacket` naming the field."""
    if listed is None:
        return ()
    if not isinstance(listed, list | tuple):
        raise InvalidPacket("attachments is not a list", field="attachments")
    if len(listed) > ATTACHMENTS_MAX:
        raise InvalidPacket(f"more than {ATTACHMENTS_MAX} attachments", field="attachments")
    return tuple(_source(item, folder, limits) for item in listed)


def _source(item: object, folder: Path, limits: PackingLimits) -> Source:
    if not isinstance(item, Mapping):
        raise InvalidPacket("an attachment is not an object", field="attachments")
    check_known(item, _ATTACHMENT_FIELDS, "attachments.")
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


def _held(name: str, media_type: str, data: bytes, limits: PackingLimits) -> Source:
    _check_size(name, len(data), limits, "attachments.base64")
    return Source(Attachment(name, media_type, len(data), hashlib.sha256(data).digest()), data, None)


def _check_size(name: str, size: int, limits: PackingLimits, field: str) -> None:
    most = limits.attachment_bytes_max
    if size > most:
        raise InvalidPacket(
            f"attachment {name[:40]!r} has {size} bytes ({_mib(size)}), at most {most} ({_mib(most)}) are "
            "allowed; the setting attachment_bytes_max changes that",
            code="too_large",
            field=field,
        )


def _from_file(name: str, media_type: str, path: Path, limits: PackingLimits) -> Source:
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
    return Source(Attachment(name, media_type, read, digest.digest()), None, path)


def _open_file(path: str, flags: int) -> int:
    """Open a plain file, without waiting for whoever writes into a pipe."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is not a plain file")
    return fd


def parts(sources: Sequence[Source]) -> Iterator[bytes]:
    """The bytes of all attachments, one after the other, read again from the files."""
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


def stream(prefix: bytes, sources: Sequence[Source]) -> Iterator[bytes]:
    """The stored bytes of a packet from its start."""
    yield prefix
    yield from parts(sources)


def digest_of(prefix: bytes, sources: Sequence[Source]) -> bytes:
    """SHA-256 of the stored bytes."""
    digest = hashlib.sha256()
    for part in stream(prefix, sources):
        digest.update(part)
    return digest.digest()


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
