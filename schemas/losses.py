"""The loss list: packets of epochs that are over which the center never received (the ask `losses`).

    payload = msgpack flat [packets in all, then ten fields a loss]
    loss    = epoch, seq, packets, why, lane, from, until, size, bytes that came, digest and NIK (0 to 40)

An answer comes in as many payloads as it needs. The number of packets stands in the first of them, the
others have 0 there. `digest and NIK` is the digest followed by 8 bytes of the hash of the NIK, either of them
missing where it is not known. `at` and `to` of the ask are positions: seqs of all epochs that are over, one
after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from schemas.announcement import AT_MS_MAX, NIK_BYTES
from schemas.back import bytes_of, number_of, text_of
from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.identity import check_epoch
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX, PACKET_BYTES_MAX
from schemas.packet import DIGEST_BYTES

#: Losses in one payload.
LOSSES_A_PAYLOAD = 800
#: About so many bytes one loss has in a payload, beside its digest.
LOSS_BYTES = 60
_FIELDS = 10
#: What stands for a lane, and a time, that nobody knows.
_NO_LANE, _NO_TIME = 255, -1


class Why(IntEnum):
    """What the center knows of a packet that it lost."""

    ANNOUNCED = 1
    PARTLY = 2
    NEVER_ANNOUNCED = 3
    REFUSED = 4

    @property
    def label(self) -> str:
        """As it is shown: `announced`, `partly`, `never announced`, `refused`."""
        return self.name.lower().replace("_", " ")


class Loss(NamedTuple):
    """A packet `(epoch, seq)` that was recorded and never came; `packets` of them from `seq` on where nothing
    more is known of them than that.

    It was recorded between `from_ms` and `until_ms` (the same where that was announced; `None`: unknown).
    `held`: bytes of it that came. `size`, `lane`, `digest` and `nik` (8 bytes of `schemas.nik.nik_hash`) are
    0, `None` and empty where nobody knows.
    """

    epoch: str
    seq: int
    packets: int = 1
    why: Why = Why.NEVER_ANNOUNCED
    lane: Lane | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    size: int = 0
    held: int = 0
    digest: bytes = b""
    nik: bytes = b""


class Losses(NamedTuple):
    """What an answer says: packets lost in all (an answer that broke off may list fewer), and which."""

    packets: int
    losses: tuple[Loss, ...]


def pack_losses(losses: Sequence[Loss], packets: int = 0) -> bytes:
    """One payload of an answer; `packets`, how many are lost in all, in the first of them."""
    flat: list[int | bytes] = [min(packets, INTEGER_MAX)]
    for one in losses:
        lane = _NO_LANE if one.lane is None else int(one.lane)
        flat += (one.epoch.encode(), one.seq, one.packets, int(one.why), lane)
        flat += (_time(one.from_ms), _time(one.until_ms), one.size, one.held, one.digest + one.nik)
    return pack_flat(flat)


def unpack_losses(payloads: Sequence[bytes]) -> Losses:
    """What all payloads of an answer say; raises `CodecError`."""
    packets, found = 0, list[Loss]()
    for payload in payloads:
        flat = unpack_flat(payload, items_max=1 + _FIELDS * LOSSES_A_PAYLOAD)
        if len(flat) % _FIELDS != 1:
            raise CodecError("losses with a wrong number of fields")
        packets = max(packets, number_of(flat[0]))
        fields = iter(flat[1:])
        found += (_loss(*one) for one in zip(*[fields] * _FIELDS, strict=True))
    return Losses(packets, tuple(found))


def _time(at_ms: int | None) -> int:
    return _NO_TIME if at_ms is None or abs(at_ms) > AT_MS_MAX else at_ms


def _loss(
    epoch: object,
    seq: object,
    packets: object,
    why: object,
    lane: object,
    from_ms: object,
    until_ms: object,
    size: object,
    held: object,
    names: object,
) -> Loss:
    digest, nik = _names(bytes_of(names, DIGEST_BYTES + NIK_BYTES))
    line = number_of(lane, most=255)
    try:
        return Loss(
            check_epoch(text_of(epoch, 6)),
            number_of(seq, 1),
            number_of(packets, 1),
            Why(number_of(why, most=255)),
            None if line == _NO_LANE else Lane(line),
            _time_of(from_ms),
            _time_of(until_ms),
            number_of(size, most=PACKET_BYTES_MAX),
            number_of(held, most=INTEGER_MAX),
            digest,
            nik,
        )
    except ValueError as why_not:
        raise (
            why_not if isinstance(why_not, CodecError) else CodecError(f"not a loss: {why_not}")
        ) from why_not


def _names(both: bytes) -> tuple[bytes, bytes]:
    if len(both) not in (0, NIK_BYTES, DIGEST_BYTES, DIGEST_BYTES + NIK_BYTES):
        raise CodecError("neither a digest nor the hash of a NIK")
    at = len(both) // DIGEST_BYTES * DIGEST_BYTES
    return both[:at], both[at:]


def _time_of(value: object) -> int | None:
    at_ms = number_of(value, -AT_MS_MAX, AT_MS_MAX)
    return None if at_ms == _NO_TIME else at_ms
