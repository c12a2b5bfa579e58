"""Who a packet is: `(region, epoch, seq)`, and its text form `1806-k3v9qa-000123`."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from schemas.errors import SchemaError
from schemas.limits import INTEGER_MAX

#: Crockford's base 32 in lower case: no i, l, o, u, so an id can be read out over the telephone.
EPOCH_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
EPOCH_CHARS = 6

_REGION = re.compile(r"[0-9]{4}")
_EPOCH = re.compile(rf"[{EPOCH_ALPHABET}]{{{EPOCH_CHARS}}}")
_TEXT = re.compile(rf"([0-9]{{4}})-([{EPOCH_ALPHABET}]{{{EPOCH_CHARS}}})-([0-9]{{6,19}})")


class PacketId(NamedTuple):
    """The identity of a packet, for ever.

    `region` four digits (province and regency), `epoch` six characters of `EPOCH_ALPHABET`, `seq` from 1.
    """

    region: str
    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.region}-{self.epoch}-{self.seq:06d}"


def parse_packet_id(text: str) -> PacketId:
    """The identity written as `1806-k3v9qa-000123`; raises `SchemaError` that shows the form."""
    found = _TEXT.fullmatch(text.strip().lower())
    if found is None:
        raise SchemaError(
            f"{text[:60]!r} is not a packet id: it looks like 1806-k3v9qa-000123", code="bad_packet_id"
        )
    seq = int(found[3])
    if not 1 <= seq <= INTEGER_MAX:
        raise SchemaError(f"the seq of {text[:60]!r} is out of range", code="bad_packet_id")
    return PacketId(found[1], found[2], seq)


def check_region(code: str) -> str:
    """`code` if it is a region code of four digits; raises `SchemaError` otherwise."""
    if not isinstance(code, str) or _REGION.fullmatch(code) is None:
        raise SchemaError(
            f"{str(code)[:20]!r} is not a region code: four digits, such as 1806 for Tanggamus",
            code="bad_region",
            field="region",
        )
    return code


def check_epoch(epoch: str) -> str:
    """`epoch` if it has the form of one; raises `SchemaError` otherwise."""
    if not isinstance(epoch, str) or _EPOCH.fullmatch(epoch) is None:
        raise SchemaError(f"{str(epoch)[:20]!r} is not an epoch", code="bad_epoch", field="epoch")
    return epoch


def new_epoch() -> str:
    """A fresh random epoch: 30 bits, enough to tell the few lives of one region's outbox apart."""
    return "".join(secrets.choice(EPOCH_ALPHABET) for _ in range(EPOCH_CHARS))
