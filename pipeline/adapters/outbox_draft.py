"""Step 2: a packet on its way into the outbox, and what became of it. Plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.codec import pack
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.packet import Packet


class Named(NamedTuple):
    """The id that a producer gave a packet, and `contents_of` what it stands for (32 bytes)."""

    name: str
    contents: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A packet that keeps every rule and has no seq yet.

    `size` and `digest` (SHA-256, 32 bytes) are of its stored bytes; `nik_hash` 16 bytes; `at_ms` the wall
    clock that its head says. `key` (16 bytes) names it for its producer, and with `once` a packet whose key
    the outbox holds is not taken again. `stored` are its bytes where they fit one piece, else `stream` reads
    them again, from the start, in parts of any size. `named` if the key comes from a producer's id: that says
    nothing of the contents, so they are compared (`None`: the key itself is of the contents).
    """

    lane: Lane
    kind: str
    size: int
    digest: bytes
    nik_hash: bytes
    key: bytes
    at_ms: int
    once: bool
    stored: bytes | None
    stream: Callable[[], Iterator[bytes]] | None = None
    named: Named | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The packet is in the outbox, durably."""

    id: PacketId


@dataclass(frozen=True, slots=True)
class AlreadyTaken:
    """The outbox holds this packet already, as `id`; nothing was stored."""

    id: PacketId


@dataclass(frozen=True, slots=True)
class IdUsed:
    """The producer's id names a packet with other contents, `id`; nothing was stored. A store's answer: who
    hands packets in is told `Refused`."""

    id: PacketId


@dataclass(frozen=True, slots=True)
class Refused:
    """The packet was not taken. `line` counts from 1 (0: there is no line), `field` names the place in it
    (may be empty), `message` says what is wrong; `source` is the file it stood in (may be empty)."""

    line: int
    field: str
    message: str
    source: str = ""

    def __str__(self) -> str:
        """One line: `FILE:LINE: field: what is wrong`, without the parts that there are not."""
        where = ":".join(part for part in (self.source, str(self.line) if self.line else "") if part)
        said = self.message
        if self.field and not said.startswith(f"{self.field}:"):
            said = f"{self.field}: {said}"
        return f"{where}: {said}" if where else said


Outcome = Taken | AlreadyTaken | Refused
#: What a store makes of a draft.
Stored = Taken | AlreadyTaken | IdUsed


def contents_of(packet: Packet) -> bytes:
    """32 bytes that are equal for two packets with the same kind, payload and attachments.

    Not the digest: the stored bytes hold the time of recording, so a line that is enqueued again has another.
    Nor does the order of an object's members count: some languages write it anew each time.
    """
    attachments = [[one.name, one.media_type, one.size, one.digest] for one in packet.attachments]
    return hashlib.sha256(pack([packet.kind, _ordered(packet.payload), attachments])).digest()


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=str)}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value
