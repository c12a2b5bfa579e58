"""The way back of a rebuild: records in descending order of their numbers, pass by pass, then attachments.

    back  = flat [incarnation, session, from pass, floor, at, to pass, floor, at, left, total, then the items]
    items = version, status, epoch, seq, head                             five a record, in passes 1 and 2
            epoch, seq, name, media type, size, SHA-256, offset, bytes    eight a piece, in pass 3

Pass 1 are the records whose card is not printed yet, pass 2 the others, pass 3 the attachments that a card
shows (`CARD_ATTACHMENTS`) of the records of pass 1; pass 4: all is here. Positions go down: `(pass, floor,
at)` is behind `(pass, floor', at')` where the pass is later, or the same with a lower floor, or both the same
and `at` higher. A record only ever moves above the top at which the rebuild began, so nothing is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.feed import RECORDS_MAX, RecordChange
from schemas.identity import check_epoch
from schemas.limits import (
    ATTACHMENT_NAME_CHARS_MAX,
    BODY_BYTES_MAX,
    CHUNK_BYTES_MAX,
    HEAD_BYTES_MAX,
    INTEGER_MAX,
    PACKET_BYTES_MAX,
)
from schemas.packet import DIGEST_BYTES, check_attachment
from schemas.verdicts import Status

#: Attachments that a card shows, by their names in packets.
CARD_ATTACHMENTS = ("photo", "face", "signature")
PASS_OPEN, PASS_REST, PASS_PICTURES, PASSES_DONE = 1, 2, 3, 4
#: Records whose card is not printed: the office needs them first.
OPEN_STATUSES = tuple(one for one in Status if one is not Status.CARD_PRINTED)
_RECORD_FIELDS, _PIECE_FIELDS, _FIXED_FIELDS = 5, 8, 10


class Position(NamedTuple):
    """Where a rebuild stands: see `schemas.messages.Back`."""

    pass_no: int
    floor: int
    at: int = 0

    def behind(self, other: Position) -> bool:
        """Whether this comes later on the way back than `other`."""
        return (self.pass_no, -self.floor, self.at) > (other.pass_no, -other.floor, other.at)


class Piece(NamedTuple):
    """A part of an attachment: of which packet, what the attachment is in all, where `data` begins in it."""

    epoch: str
    seq: int
    name: str
    media_type: str
    size: int
    digest: bytes
    offset: int
    data: bytes


class BackFrame(NamedTuple):
    """One frame of the way back. `left`, `total`: records of the pass `to` that are to come, and in all."""

    incarnation: str
    session: int
    start: Position
    to: Position
    left: int
    total: int
    records: tuple[RecordChange, ...] = ()
    pieces: tuple[Piece, ...] = ()


def pack_back(frame: BackFrame) -> bytes:
    """The body of a `back` frame; every record has its head."""
    flat: list[int | bytes] = [frame.incarnation.encode(), frame.session, *frame.start, *frame.to]
    flat += (frame.left, frame.total)
    for one in frame.records:
        flat += (one.version, int(one.status), one.epoch.encode(), one.seq, one.head or b"")
    flat += flat_pieces(frame.pieces)
    return pack_flat(flat)


def unpack_back(body: bytes) -> BackFrame:
    """The frame of its body; raises `CodecError`."""
    flat = unpack_flat(body, items_max=_FIXED_FIELDS + _RECORD_FIELDS * RECORDS_MAX, bytes_max=BODY_BYTES_MAX)
    if len(flat) < _FIXED_FIELDS:
        raise CodecError("not a back body")
    try:
        incarnation = text_of(flat[0], 64)
        numbers = [number_of(one) for one in flat[1:_FIXED_FIELDS]]
        session, start, to = numbers[0], Position(*numbers[1:4]), Position(*numbers[4:7])
        left, total = numbers[7:]
        passes = PASS_OPEN <= start.pass_no < PASSES_DONE and to.pass_no <= PASSES_DONE
        if not incarnation or session < 1 or not passes or not to.behind(start) or left > total:
            raise CodecError("a back body that leads nowhere")
        items = flat[_FIXED_FIELDS:]
        if start.pass_no == PASS_PICTURES:
            return BackFrame(incarnation, session, start, to, left, total, (), pieces_of(items))
        if len(items) % _RECORD_FIELDS:
            raise CodecError("records with a wrong number of fields")
        fields = iter(items)
        records = tuple(record_of(*one) for one in zip(fields, fields, fields, fields, fields, strict=True))
        return BackFrame(incarnation, session, start, to, left, total, records)
    except (TypeError, ValueError) as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not a back body: {why}") from why


def flat_pieces(pieces: Sequence[Piece]) -> list[int | bytes]:
    """Pieces as they travel, eight fields each."""
    flat: list[int | bytes] = []
    for one in pieces:
        flat += (one.epoch.encode(), one.seq, one.name.encode(), one.media_type.encode())
        flat += (one.size, one.digest, one.offset, one.data)
    return flat


def pieces_of(items: Sequence[int | bytes]) -> tuple[Piece, ...]:
    """The pieces of their flat form; raises `CodecError` (or `ValueError` for a text that is none)."""
    if len(items) % _PIECE_FIELDS:
        raise CodecError("pieces with a wrong number of fields")
    return tuple(
        _piece(items[start : start + _PIECE_FIELDS]) for start in range(0, len(items), _PIECE_FIELDS)
    )


def text_of(value: object, chars_max: int) -> str:
    """A short text that travelled as bytes; raises `CodecError` or `ValueError`."""
    if not isinstance(value, bytes) or len(value) > 4 * chars_max:
        raise CodecError("a short text is missing")
    text = value.decode()
    if len(text) > chars_max:
        raise CodecError("a text is too long")
    return text


def number_of(value: object, least: int = 0, most: int = INTEGER_MAX) -> int:
    """A whole number within bounds; raises `CodecError`."""
    if type(value) is not int or not least <= value <= most:
        raise CodecError("a number is missing or out of range")
    return value


def bytes_of(value: object, most: int) -> bytes:
    """Bytes of a bounded length; raises `CodecError`."""
    if not isinstance(value, bytes) or len(value) > most:
        raise CodecError("bytes are missing or too many")
    return value


def record_of(version: object, status: object, epoch: object, seq: object, head: object) -> RecordChange:
    """A record of the five fields as which it travels; raises `CodecError`, or `ValueError` for a text or a
    status that is none."""
    said = bytes_of(head, HEAD_BYTES_MAX + 4)
    if not said:
        raise CodecError("a record without its head")
    return RecordChange(
        number_of(version, 1),
        Status(number_of(status)),
        check_epoch(text_of(epoch, 6)),
        number_of(seq, 1),
        said,
    )


def _piece(fields: Sequence[int | bytes]) -> Piece:
    epoch, seq, name, media_type, size, digest, offset, data = fields
    piece = Piece(
        check_epoch(text_of(epoch, 6)),
        number_of(seq, 1),
        text_of(name, ATTACHMENT_NAME_CHARS_MAX),
        text_of(media_type, ATTACHMENT_NAME_CHARS_MAX),
        number_of(size, 0, PACKET_BYTES_MAX),
        bytes_of(digest, DIGEST_BYTES),
        number_of(offset),
        bytes_of(data, CHUNK_BYTES_MAX),
    )
    check_attachment(piece.name, piece.media_type, piece.size)
    if len(piece.digest) != DIGEST_BYTES or piece.offset + len(piece.data) > piece.size:
        raise CodecError("a piece that lies outside its attachment")
    return piece
