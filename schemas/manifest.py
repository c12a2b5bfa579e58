"""The last entry of a bundle: a signed and sealed frame of `Kind.MANIFEST` that says what the file holds.

    body = msgpack {version, what, entries, size, chain, made_ms, epochs, history, facts_from, ...}

`entries`, `size` (bytes) and `chain` are those of the file before the manifest's own entry: a bundle from
which something was cut or into which something was put does not fit its manifest.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.bundle import CHAIN_BYTES, Mark
from schemas.codec import pack, unpack
from schemas.errors import CodecError
from schemas.limits import RANGES_MAX
from schemas.messages import HISTORY_MAX, Count, EpochText, Short, Since
from schemas.ranges import Ranges, from_wire, to_wire

#: What a manifest's `what` may be today: packets for the center; records and receipts for a region.
PACKETS, RECORDS = "packets", "records"
MANIFEST_VERSION = 1
#: Bytes of a manifest before compression, and epochs that it names.
MANIFEST_BYTES_MAX = 256 * 1024
EPOCHS_MAX = 1_000


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class EpochSeqs(_Part):
    """Packets of an epoch, as flat ranges (`schemas.ranges.to_wire`)."""

    epoch: EpochText
    ranges: list[Count] = Field(max_length=2 * RANGES_MAX)

    @classmethod
    def of(cls, epoch: str, seqs: Ranges) -> EpochSeqs:
        """The packets `seqs` of `epoch`."""
        return cls(epoch=epoch, ranges=to_wire(seqs))

    @property
    def seqs(self) -> Ranges:
        """Raises `CodecError` where they are no ranges."""
        return from_wire(self.ranges)


class Manifest(_Part):
    """What a bundle holds, said by whoever made it. `entries`, `size` and `chain` are those before it.

    `what`: `packets` (of `epochs`), or `records`: facts `(facts_from, facts_to]` and records
    `(records_from, records_to]` of a region, under the ledger's incarnations `history`, newest last.
    `made_ms`: when, by the clock of who made it.
    """

    what: Short
    entries: Count
    size: Count
    chain: Annotated[bytes, Field(min_length=CHAIN_BYTES, max_length=CHAIN_BYTES)]
    made_ms: Count = 0
    epochs: list[EpochSeqs] = Field(default_factory=list, max_length=EPOCHS_MAX)
    history: list[Since] = Field(default_factory=list, max_length=HISTORY_MAX)
    facts_from: Count = 0
    facts_to: Count = 0
    records_from: Count = 0
    records_to: Count = 0
    version: Count = MANIFEST_VERSION

    def fits(self, before: Mark) -> bool:
        """Whether what was read up to its own entry is what it speaks of."""
        return (self.size, self.entries, self.chain) == before


def pack_manifest(manifest: Manifest) -> bytes:
    """The body of a manifest's frame; raises `CodecError` where no reader would take it."""
    body = pack(manifest.model_dump(exclude_defaults=True) | {"version": manifest.version})
    if len(body) > MANIFEST_BYTES_MAX:
        raise CodecError(f"a manifest of {len(body)} bytes, at most {MANIFEST_BYTES_MAX}", code="too_large")
    return body


def unpack_manifest(body: bytes) -> Manifest:
    """The manifest of its body; raises `CodecError` (code `newer_version` for a later form)."""
    value = unpack(body, bytes_max=MANIFEST_BYTES_MAX, items_max=2 * RANGES_MAX, depth_max=5)
    if isinstance(value, dict) and type(value.get("version")) is int and value["version"] > MANIFEST_VERSION:
        raise CodecError(
            f"a bundle of version {value['version']}, newer than here: update Titian", code="newer_version"
        )
    try:
        manifest = Manifest.model_validate(value)
        for one in manifest.epochs:
            from_wire(one.ranges)
    except ValidationError as why:
        first = why.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CodecError(f"manifest {where}: {first['msg']}", field=where) from None
    return manifest
