"""Step 6: answers to what a region asks (`schemas.asks`), part by part, each made from the ledger as it is.

`ANSWERS` says who answers what. An answerer is a function (the ledger's reader, region, args, at) that
returns (payload, to, done): the part of the answer that begins at `at`, where it ends, and whether that is
all. It keeps nothing between two parts, makes a payload of about `PAYLOAD_BYTES_MAX` at most, and may raise
`SchemaError` for args that are none: then the answer is done, and empty. Others add theirs to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from schemas.asks import (
    PACKETS,
    PACKETS_A_PAYLOAD,
    PAYLOAD_BYTES_MAX,
    RECORD,
    HeldPacket,
    pack_packets,
    pack_record,
    unpack_packets_args,
    unpack_record_args,
)
from schemas.back import Piece, flat_pieces
from schemas.codec import pack_flat
from schemas.errors import SchemaError
from schemas.feed import RecordChange
from schemas.messages import Ask
from schemas.ranges import Ranges

#: What asks for all attachments of a record.
ALL = "*"

Answered: TypeAlias = tuple[bytes, int, bool]
Answerer: TypeAlias = Callable[[Any, str, bytes, int], Answered]


class Shelf(Protocol):
    """What the answers here need of the ledger's reader."""

    def record_now(self, region: str, nik: str) -> RecordChange | None:
        """The region's record of that citizen with its head, if there is one that can be read."""

    def pieces_of(
        self, region: str, nik: str, names: Collection[str] | None, at: int, bytes_max: int
    ) -> tuple[Sequence[Piece], int, bool]:
        """Attachments of the packet that the record was made from (`names`; `None`: all), from byte `at` of
        them on: pieces, the byte that they reach, and whether that is the end."""

    def packets_held(
        self, region: str, epoch: str, seqs: Ranges, packets_max: int
    ) -> tuple[Sequence[HeldPacket], int | None]:
        """What the ledger says of those packets, rising, and the seq from which on it goes on (`None`: that
        is all)."""


def record(reader: Shelf, region: str, args: bytes, at: int) -> Answered:
    """The record of a NIK, then its attachments."""
    nik, names = unpack_record_args(args)
    if at == 0:
        found = reader.record_now(region, nik)
        return pack_record(found), 1, found is None or not names
    chosen = None if ALL in names else names
    pieces, to, done = reader.pieces_of(region, nik, chosen, at - 1, PAYLOAD_BYTES_MAX)
    return pack_flat(flat_pieces(pieces)), 1 + to, done


def packets(reader: Shelf, region: str, args: bytes, at: int) -> Answered:
    """Which packets of an epoch the ledger holds."""
    epoch, seqs = unpack_packets_args(args)
    rest = tuple((max(start, at), stop) for start, stop in seqs if stop > at)
    held, next_seq = reader.packets_held(region, epoch, rest, PACKETS_A_PAYLOAD)
    end = max(at, seqs[-1][1]) if seqs else at
    return pack_packets(held), end if next_seq is None else next_seq, next_seq is None


ANSWERS: dict[str, Answerer] = {RECORD: record, PACKETS: packets}


def answer(answers: Mapping[str, Answerer], reader: object, region: str, ask: Ask, at: int) -> Answered:
    """The part of the answer to `ask` that begins at `at`. What is not known here, or not understood, is
    answered with nothing, and so is a question whose answer does not come forward."""
    answerer = answers.get(ask.what)
    if answerer is None:
        return b"", at, True
    try:
        payload, to, done = answerer(reader, region, ask.args, at)
    except SchemaError:
        return b"", at, True
    return payload, max(at, to), done or to <= at
