"""Questions and answers on the wire: they come back as they went, and nothing past a limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import asks
from schemas.asks import Answer, HeldPacket
from schemas.codec import pack_flat
from schemas.errors import CodecError
from schemas.feed import RecordChange
from schemas.identity import EPOCH_ALPHABET
from schemas.limits import ATTACHMENTS_MAX, HEAD_BYTES_MAX, INTEGER_MAX
from schemas.messages import ASK_BYTES_MAX, ASKS_MAX, RUNS_MAX, Ask, Run, Want, pack_message, unpack_message
from schemas.ranges import from_numbers
from schemas.verdicts import Status

DIGEST = bytes(range(32))
ANSWER = Answer("9f3c2a1b", 3, 7, 10, 20, False, b"payload")
RECORD = RecordChange(1, Status.PRINT_READY_RECORD, "k3v9qa", 7, b"head")
HELD = HeldPacket(9, Status.CARD_PRINTED, 4, DIGEST)
WANT = Want(
    n=1,
    instance="i",
    grant=1,
    session=1,
    epoch="k3v9qa",
    highest_seq=0,
    clock_ms=0,
    facts=0,
    records=0,
    level=1,
)

EPOCHS = st.text(EPOCH_ALPHABET, min_size=6, max_size=6)
COUNTS = st.integers(0, INTEGER_MAX)
PLACES = st.integers(1, INTEGER_MAX)


@settings(deadline=None)
@given(PLACES, PLACES, COUNTS, COUNTS, st.booleans(), st.binary(max_size=100))
def test_an_answer_comes_back_as_it_went(
    session: int, ask: int, one: int, other: int, done: bool, payload: bytes
) -> None:
    answer = Answer("life", session, ask, min(one, other), max(one, other), done, payload)
    assert asks.unpack_answer(asks.pack_answer(answer)) == answer


@pytest.mark.parametrize(
    "wrong",
    [{"incarnation": ""}, {"incarnation": "x" * 65}, {"session": 0}, {"ask": 0}, {"to": 9}, {"done": 2}],
    ids=lambda wrong: ",".join(wrong),
)
def test_an_answer_that_leads_nowhere_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        asks.unpack_answer(asks.pack_answer(ANSWER._replace(**wrong)))


@settings(deadline=None)
@given(st.text("0123456789", min_size=16, max_size=16), st.lists(st.text(min_size=1, max_size=9), max_size=5))
def test_a_question_for_a_record_comes_back_as_it_went(nik: str, names: list[str]) -> None:
    assert asks.unpack_record_args(asks.pack_record_args(nik, names)) == (nik, tuple(names))


@settings(deadline=None)
@given(st.builds(RecordChange, PLACES, st.sampled_from(Status), EPOCHS, PLACES, st.binary(min_size=1)))
def test_a_record_comes_back_as_it_went(record: RecordChange) -> None:
    assert asks.unpack_record(asks.pack_record(record)) == record
    assert asks.unpack_record(asks.pack_record(None)) is None


@settings(deadline=None)
@given(EPOCHS, st.sets(st.integers(1, 2**40), max_size=50))
def test_a_question_for_packets_comes_back_as_it_went(epoch: str, seqs: set[int]) -> None:
    ranges = from_numbers(seqs)
    assert asks.unpack_packets_args(asks.pack_packets_args(epoch, ranges)) == (epoch, ranges)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(HeldPacket, PLACES, st.sampled_from(Status), COUNTS, st.sampled_from([b"", DIGEST])),
        max_size=20,
    )
)
def test_packets_come_back_as_they_went(held: list[HeldPacket]) -> None:
    assert asks.unpack_packets(asks.pack_packets(held)) == tuple(held)


def test_what_is_at_a_limit_is_read_and_what_is_past_it_is_not() -> None:
    assert len(asks.unpack_packets(asks.pack_packets([HELD] * asks.PACKETS_A_PAYLOAD))) == 1_000
    with pytest.raises(CodecError):
        asks.unpack_packets(asks.pack_packets([HELD] * (asks.PACKETS_A_PAYLOAD + 1)))
    names = ["x"] * ATTACHMENTS_MAX
    assert len(asks.unpack_record_args(asks.pack_record_args("1", names))[1]) == ATTACHMENTS_MAX
    with pytest.raises(CodecError):
        asks.unpack_record_args(asks.pack_record_args("1", [*names, "y"]))
    with pytest.raises(CodecError):
        asks.unpack_record_args(asks.pack_record_args("1" * 17))
    full = RECORD._replace(head=bytes(HEAD_BYTES_MAX + 4))
    assert asks.unpack_record(asks.pack_record(full)) == full
    with pytest.raises(CodecError):
        asks.unpack_record(asks.pack_record(full._replace(head=bytes(HEAD_BYTES_MAX + 5))))
    with pytest.raises(CodecError):
        asks.unpack_packets_args(asks.pack_packets_args("k3v9qa", from_numbers(range(1, 2_000, 2))))


@pytest.mark.parametrize(
    ("read", "fields"),
    [
        (asks.unpack_answer, [b"life", 1, 1, 0, 0, 1]),
        (asks.unpack_answer, [b"\xff", 1, 1, 0, 0, 1, b""]),
        (asks.unpack_answer, [b"life", 1, 1, 0, 0, 1, 7]),
        (asks.unpack_record_args, []),
        (asks.unpack_record_args, [1806]),
        (asks.unpack_record_args, [b"\xff"]),
        (asks.unpack_record, []),
        (asks.unpack_record, [1]),
        (asks.unpack_record, [1, 1, 2, b"k3v9qa", 7, b""]),
        (asks.unpack_record, [1, 1, 99, b"k3v9qa", 7, b"head"]),
        (asks.unpack_record, [2, 1, 2, b"k3v9qa", 7, b"head"]),
        (asks.unpack_packets_args, []),
        (asks.unpack_packets_args, [b"k3v9qa", 0, 1]),
        (asks.unpack_packets_args, [b"k3v9qa", 1]),
        (asks.unpack_packets_args, [b"ILOVEU"]),
        (asks.unpack_packets, [1, 2, 3]),
        (asks.unpack_packets, [0, 2, 3, DIGEST]),
        (asks.unpack_packets, [1, 99, 3, DIGEST]),
        (asks.unpack_packets, [1, 2, 3, DIGEST[1:]]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:30]),
)
def test_bodies_of_another_form_are_refused(read: Any, fields: list[int | bytes]) -> None:
    with pytest.raises(CodecError):
        read(pack_flat(fields))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused_by_every_reader(body: bytes) -> None:
    for read in (
        asks.unpack_answer,
        asks.unpack_record,
        asks.unpack_packets,
        asks.unpack_record_args,
        asks.unpack_packets_args,
    ):
        try:
            read(body)
        except CodecError:
            continue
        assert body[:1] >= b"\x90"  # a flat array that says so little that it may be one of these


def test_a_want_with_as_many_questions_and_runs_as_it_may_have_still_fits_a_message() -> None:
    questions = [
        Ask(id=2**63 - 1, what="x" * 64, args=bytes(ASK_BYTES_MAX), at=2**63 - 1) for _ in range(ASKS_MAX)
    ]
    runs = [Run(epoch="0a1b2c", old=2**63 - 1, new=2**63 - 1, count=2**63 - 1) for _ in range(RUNS_MAX)]
    full = WANT.model_copy(update={"asks": questions, "renumbered": runs})
    assert unpack_message(Want, pack_message(full)) == full
    with pytest.raises(CodecError, match="asks"):
        unpack_message(Want, pack_message(full.model_copy(update={"asks": [*questions, questions[0]]})))
    with pytest.raises(CodecError, match="renumbered"):
        unpack_message(Want, pack_message(full.model_copy(update={"renumbered": [*runs, runs[0]]})))
