"""Questions that jump the queue (`schemas.messages.Ask`) and their answers, frames of kind `answer`.

    answer = flat [incarnation, session, ask, at, to, done, payload]      [at, to) of the answer

What an answer's payload is depends on what was asked; `at` and `to` count in that question's own way.

`record`     args: flat [NIK, names of attachments...] (`*`: all of them; none: only the record).
             At 0: flat [1, version, status, epoch, seq, head], or flat [0] where there is none, and `to` is
             1; from 1 on pieces of the attachments of that packet (`schemas.back.Piece`), in the order in
             which it has them, `at` being 1 + the bytes of them that are here. Where the record was made
             from another packet meanwhile, they are pieces of that one.
`packets`    args: flat [epoch, ranges of seqs...]. Payload: flat [seq, status, fact number, digest, ...] of
             those that the ledger has a word on, rising (of a refused one it has no bytes: its digest is
             empty); `at` and `to` are seqs (it goes up to, not including, `to`).
`losses`     args: flat [] ; see `schemas.losses`.
`compare...` see `schemas.compare`.
An unknown question gets an answer that is done and has no payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.back import bytes_of, number_of, record_of, text_of
from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.feed import RecordChange
from schemas.identity import check_epoch
from schemas.limits import (
    ATTACHMENT_NAME_CHARS_MAX,
    ATTACHMENTS_MAX,
    BODY_BYTES_MAX,
    RANGES_MAX,
)
from schemas.messages import ASK_BYTES_MAX
from schemas.packet import DIGEST_BYTES
from schemas.ranges import Ranges, from_wire, to_wire
from schemas.verdicts import Status

RECORD, PACKETS, LOSSES = "record", "packets", "losses"
#: Bytes of a payload that a center makes at a time, so that an answer never fills the line for long.
PAYLOAD_BYTES_MAX = 48 * 1024
#: Packets that one answer lists.
PACKETS_A_PAYLOAD = 1_000
_ANSWER_FIELDS, _RECORD_FIELDS, _PACKET_FIELDS = 7, 6, 4


class Answer(NamedTuple):
    """A part of an answer: of question `ask`, from `at` to `to`; `done` with the last one."""

    incarnation: str
    session: int
    ask: int
    at: int
    to: int
    done: bool
    payload: bytes


class HeldPacket(NamedTuple):
    """What the ledger holds of one packet of an epoch."""

    seq: int
    status: Status
    fact_no: int
    digest: bytes


def pack_answer(answer: Answer) -> bytes:
    """The body of an `answer` frame."""
    return pack_flat(
        (
            answer.incarnation.encode(),
            answer.session,
            answer.ask,
            answer.at,
            answer.to,
            int(answer.done),
            answer.payload,
        )
    )


def unpack_answer(body: bytes) -> Answer:
    """The answer of its body; raises `CodecError`."""
    flat = unpack_flat(body, items_max=_ANSWER_FIELDS, bytes_max=BODY_BYTES_MAX)
    if len(flat) != _ANSWER_FIELDS:
        raise CodecError("not an answer")
    try:
        incarnation = text_of(flat[0], 64)
    except ValueError as why:
        raise CodecError(f"not an answer: {why}") from why
    session, ask, at, to, done = (number_of(one) for one in flat[1:6])
    if not incarnation or session < 1 or ask < 1 or to < at or done > 1:
        raise CodecError("an answer that leads nowhere")
    return Answer(incarnation, session, ask, at, to, bool(done), bytes_of(flat[6], BODY_BYTES_MAX))


# --- record ---------------------------------------------------------------------------------------


def pack_record_args(nik: str, names: Sequence[str] = ()) -> bytes:
    """The question for one citizen's record, and for those of its attachments (`*`: all)."""
    return pack_flat((nik.encode(), *(name.encode() for name in names)))


def unpack_record_args(args: bytes) -> tuple[str, tuple[str, ...]]:
    """NIK and names; raises `CodecError`."""
    flat = unpack_flat(args, items_max=1 + ATTACHMENTS_MAX, bytes_max=ASK_BYTES_MAX)
    if not flat:
        raise CodecError("no NIK")
    try:
        return text_of(flat[0], 16), tuple(text_of(one, ATTACHMENT_NAME_CHARS_MAX) for one in flat[1:])
    except ValueError as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not a text: {why}") from why


def pack_record(found: RecordChange | None) -> bytes:
    """The first payload of an answer to `record`; `found` has its head."""
    if found is None:
        return pack_flat((0,))
    return pack_flat(
        (1, found.version, int(found.status), found.epoch.encode(), found.seq, found.head or b"")
    )


def unpack_record(payload: bytes) -> RecordChange | None:
    """The record, `None` where there is none; raises `CodecError`."""
    flat = unpack_flat(payload, items_max=_RECORD_FIELDS, bytes_max=BODY_BYTES_MAX)
    if list(flat) == [0]:
        return None
    if len(flat) != _RECORD_FIELDS or flat[0] != 1:
        raise CodecError("not a record")
    try:
        return record_of(*flat[1:])
    except ValueError as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not a record: {why}") from why


# --- packets --------------------------------------------------------------------------------------


def pack_packets_args(epoch: str, seqs: Ranges) -> bytes:
    """The question which of these packets the ledger holds (see `ASK_BYTES_MAX`: some hundred ranges)."""
    return pack_flat((epoch.encode(), *to_wire(seqs)))


def unpack_packets_args(args: bytes) -> tuple[str, Ranges]:
    """Epoch and seqs; raises `CodecError`."""
    flat = unpack_flat(args, items_max=1 + 2 * RANGES_MAX, bytes_max=ASK_BYTES_MAX)
    if not flat:
        raise CodecError("no epoch")
    try:
        epoch, seqs = check_epoch(text_of(flat[0], 6)), from_wire(flat[1:])
    except ValueError as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not an epoch: {why}") from why
    if seqs and seqs[0][0] < 1:
        raise CodecError("a seq of 0")
    return epoch, seqs


def pack_packets(held: Sequence[HeldPacket]) -> bytes:
    """The payload of an answer to `packets`."""
    flat: list[int | bytes] = []
    for one in held:
        flat += (one.seq, int(one.status), one.fact_no, one.digest)
    return pack_flat(flat)


def unpack_packets(payload: bytes) -> tuple[HeldPacket, ...]:
    """The packets of a payload; raises `CodecError`."""
    flat = unpack_flat(payload, items_max=_PACKET_FIELDS * PACKETS_A_PAYLOAD)
    if len(flat) % _PACKET_FIELDS:
        raise CodecError("packets with a wrong number of fields")
    found = []
    for start in range(0, len(flat), _PACKET_FIELDS):
        seq, status, fact_no, digest = flat[start : start + _PACKET_FIELDS]
        try:
            word = Status(number_of(status))
        except ValueError as why:
            raise CodecError(f"a status that is none: {why}") from why
        held = HeldPacket(number_of(seq, 1), word, number_of(fact_no), bytes_of(digest, DIGEST_BYTES))
        if len(held.digest) not in (0, DIGEST_BYTES):
            raise CodecError("a digest that is none")
        found.append(held)
    return tuple(found)
