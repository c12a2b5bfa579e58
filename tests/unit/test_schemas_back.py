"""The way back on the wire: it comes back as it went, in one direction only, and nothing past a limit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.back import PASSES_DONE, BackFrame, Piece, Position, pack_back, pieces_of, unpack_back
from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError, SchemaError
from schemas.feed import RECORDS_MAX, RecordChange
from schemas.identity import EPOCH_ALPHABET
from schemas.limits import (
    ATTACHMENT_NAME_CHARS_MAX,
    CHUNK_BYTES_MAX,
    HEAD_BYTES_MAX,
    INTEGER_MAX,
    PACKET_BYTES_MAX,
)
from schemas.verdicts import Status

DIGEST = bytes(range(32))
RECORD = RecordChange(1, Status.PRINT_READY_RECORD, "k3v9qa", 7, b"head")
PIECE = Piece("k3v9qa", 7, "face", "image/jpeg", 10, DIGEST, 2, b"data")
FRAME = BackFrame("9f3c2a1b", 3, Position(1, 50), Position(1, 40), 4, 9, (RECORD,))
PICTURES = BackFrame("9f3c2a1b", 3, Position(3, 50, 2), Position(3, 40), 4, 9, (), (PIECE,))

EPOCHS = st.text(EPOCH_ALPHABET, min_size=6, max_size=6)
COUNTS = st.integers(0, INTEGER_MAX)
RECORDS = st.builds(
    RecordChange,
    st.integers(1, INTEGER_MAX),
    st.sampled_from(Status),
    EPOCHS,
    st.integers(1, INTEGER_MAX),
    st.binary(min_size=1, max_size=30),
)
PIECES = st.builds(
    lambda epoch, seq, name, before, data, after: Piece(
        epoch, seq, name, "image/jpeg", before + len(data) + after, DIGEST, before, data
    ),
    EPOCHS,
    st.integers(1, INTEGER_MAX),
    st.sampled_from(["face", "photo", "tanda tangan", "Ĥ" * ATTACHMENT_NAME_CHARS_MAX]),
    st.integers(0, 1_000),
    st.binary(max_size=30),
    st.integers(0, 1_000),
)
POSITIONS = st.builds(Position, st.integers(1, PASSES_DONE), COUNTS, COUNTS)


@settings(max_examples=80, deadline=None)
@given(POSITIONS, POSITIONS, COUNTS, st.lists(RECORDS, max_size=4), st.lists(PIECES, max_size=4))
def test_a_frame_comes_back_as_it_went_if_it_leads_on(
    one: Position, other: Position, left: int, records: list[RecordChange], pieces: list[Piece]
) -> None:
    pictures = one.pass_no == 3
    frame = BackFrame("life", 1, one, other, left, INTEGER_MAX)
    frame = frame._replace(pieces=tuple(pieces)) if pictures else frame._replace(records=tuple(records))
    if other.behind(one) and one.pass_no < PASSES_DONE:
        assert unpack_back(pack_back(frame)) == frame
    else:
        with pytest.raises(CodecError):
            unpack_back(pack_back(frame))


@settings(max_examples=80, deadline=None)
@given(POSITIONS, POSITIONS, POSITIONS)
def test_positions_are_in_one_order(one: Position, other: Position, third: Position) -> None:
    assert one.behind(other) + other.behind(one) + (one == other) == 1
    assert not (one.behind(other) and other.behind(third)) or one.behind(third)


def test_the_way_back_goes_down_then_into_attachments_then_to_the_next_pass() -> None:
    way = [Position(1, 9), Position(1, 3), Position(2, 9), Position(3, 9), Position(3, 9, 5), Position(3, 8)]
    assert all(later.behind(before) for before, later in pairwise(way))


@pytest.mark.parametrize(
    "wrong",
    [
        {"incarnation": ""},
        {"incarnation": "x" * 65},
        {"session": 0},
        {"start": Position(0, 50)},
        {"start": Position(4, 50), "to": Position(4, 40)},
        {"to": Position(1, 50)},
        {"to": Position(1, 51)},
        {"to": Position(5, 50)},
        {"left": 10},
        {"records": (RECORD._replace(head=None),)},
        {"records": (RECORD._replace(head=bytes(HEAD_BYTES_MAX + 5)),)},
        {"records": (RECORD._replace(version=0),)},
        {"records": (RECORD._replace(seq=0),)},
        {"records": (RECORD._replace(epoch="ILOVEU"),)},
        {"records": (RECORD,) * (RECORDS_MAX + 1)},
    ],
    ids=lambda wrong: ",".join(wrong),
)
def test_a_frame_past_a_limit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        unpack_back(pack_back(FRAME._replace(**wrong)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": "short"},
        {"seq": 0},
        {"name": ""},
        {"name": "../face"},
        {"name": "x" * (ATTACHMENT_NAME_CHARS_MAX + 1)},
        {"media_type": "image"},
        {"size": PACKET_BYTES_MAX + 1},
        {"size": 5},
        {"digest": DIGEST[:31]},
        {"digest": DIGEST + b"x"},
        {"size": PACKET_BYTES_MAX, "data": bytes(CHUNK_BYTES_MAX + 1)},
    ],
    ids=lambda wrong: ",".join(wrong),
)
def test_a_piece_past_a_limit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        unpack_back(pack_back(PICTURES._replace(pieces=(PIECE._replace(**wrong),))))


def test_frames_at_their_limits_are_read() -> None:
    most = FRAME._replace(records=(RECORD,) * RECORDS_MAX)
    assert unpack_back(pack_back(most)) == most
    large = PICTURES._replace(
        pieces=(PIECE._replace(size=PACKET_BYTES_MAX, data=bytes(CHUNK_BYTES_MAX)),),
    )
    assert unpack_back(pack_back(large)) == large
    full = FRAME._replace(records=(RECORD._replace(head=bytes(HEAD_BYTES_MAX + 4)),))
    assert unpack_back(pack_back(full)) == full


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([FRAME, PICTURES]), st.data())
def test_a_body_with_another_value_anywhere_is_refused_or_means_that(frame: BackFrame, data: Any) -> None:
    flat = unpack_flat(pack_back(frame), items_max=100)
    place = data.draw(st.integers(0, len(flat) - 1))
    flat[place] = data.draw(st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=40)))
    body = pack_flat(flat)
    try:
        read = unpack_back(body)
    except CodecError:
        return
    assert pack_back(read) == body


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(CodecError):
        unpack_back(body)


@pytest.mark.parametrize("gone", [1, 3, 4])
def test_a_body_that_is_cut_off_is_refused(gone: int) -> None:
    for frame in (FRAME, PICTURES):
        flat = unpack_flat(pack_back(frame), items_max=100)
        with pytest.raises(CodecError):
            unpack_back(pack_flat(flat[:-gone]))
    with pytest.raises(SchemaError):
        pieces_of([b"k3v9qa", 1, b"face"])
