"""Bodies, facts, records, `want` and `ack`: round trips, hostile bytes, and what a newer version may send."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import feed
from schemas.bodies import ChunkBody, pack_batch, pack_chunk, unpack_batch, unpack_chunk
from schemas.codec import pack, pack_flat
from schemas.errors import CodecError
from schemas.feed import FactGroup, RecordChange, Span
from schemas.identity import EPOCH_ALPHABET
from schemas.limits import (
    BATCH_PACKETS_MAX,
    CHUNK_BYTES_MAX,
    HEAD_BYTES_MAX,
    INTEGER_MAX,
    PACKET_BYTES_MAX,
)
from schemas.ranges import from_numbers
from schemas.verdicts import Reason, Status

DIGEST = bytes(range(32))
SPAN = Span("a1b2c3", 3, 10, 20)
GROUP = FactGroup("k3v9qa", Status.PRINT_READY_RECORD, (Reason("note_nik_other_region"),), ((1, 5),), DIGEST)
CHANGE = RecordChange(1, Status.PRINT_READY_RECORD, "k3v9qa", 7, b"head")

EPOCHS = st.text(EPOCH_ALPHABET, min_size=6, max_size=6)
STATUSES = st.sampled_from(list(Status))
SPANS = st.builds(
    lambda name, session, start, more: Span(name, session, start, start + more),
    st.text(EPOCH_ALPHABET, min_size=1, max_size=64),
    st.integers(1, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 2**20),
)
GROUPS = st.builds(
    FactGroup,
    EPOCHS,
    STATUSES,
    st.lists(st.builds(Reason, st.text(max_size=10), st.text(max_size=20)), max_size=3).map(tuple),
    st.sets(st.integers(1, 2**40), min_size=1, max_size=10).map(from_numbers),
    st.sampled_from([b"", DIGEST]),
)
CHANGES = st.builds(
    RecordChange,
    st.integers(1, INTEGER_MAX),
    STATUSES,
    EPOCHS,
    st.integers(1, INTEGER_MAX),
    st.one_of(st.none(), st.binary(min_size=1, max_size=30)),
)


def code_of(call: Any, *args: Any) -> str:
    """The code of the `CodecError` that the call must raise."""
    with pytest.raises(CodecError) as why:
        call(*args)
    return why.value.code


# --- batches and chunks ---------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20))
def test_a_batch_comes_back_as_it_went(stored: list[bytes]) -> None:
    assert unpack_batch(pack_batch(stored), len(stored)) == stored


def test_a_batch_is_bounded_in_packets_and_holds_what_the_header_names() -> None:
    full = [b"x"] * BATCH_PACKETS_MAX
    assert unpack_batch(pack_batch(full), len(full)) == full
    assert code_of(pack_batch, [b"x"] * (BATCH_PACKETS_MAX + 1)) == "too_many"
    assert code_of(pack_batch, []) == "too_many"
    assert code_of(unpack_batch, pack_flat([b"x"] * (BATCH_PACKETS_MAX + 1)), 2_001) == "too_many"
    assert code_of(unpack_batch, pack_batch([b"x", b"y"]), 3) == "bad_count"
    assert code_of(unpack_batch, pack_flat([b"x", 5]), 2) == "bad_msgpack"
    assert code_of(unpack_batch, pack_flat([b"x" * (CHUNK_BYTES_MAX + 1)]), 1) == "too_large"


@settings(deadline=None)
@given(st.integers(0, 1_000), st.binary(min_size=1, max_size=100), st.integers(0, 1_000))
def test_a_chunk_comes_back_as_it_went(offset: int, data: bytes, more: int) -> None:
    size = offset + len(data) + more
    assert unpack_chunk(pack_chunk(size, DIGEST, offset, data)) == ChunkBody(size, DIGEST, offset, data)


@pytest.mark.parametrize(
    "fields",
    [
        (0, DIGEST, 0, b"x"),
        (PACKET_BYTES_MAX + 1, DIGEST, 0, b"x"),
        (10, DIGEST[:31], 0, b"x"),
        (10, DIGEST, 0, b""),
        (CHUNK_BYTES_MAX * 2, DIGEST, 0, bytes(CHUNK_BYTES_MAX + 1)),
        (10, DIGEST, -1, b"x"),
        (10, DIGEST, 10, b"x"),
        (10, DIGEST, 2**63, b"x"),
    ],
    ids=lambda fields: f"{fields[0]} {len(fields[1])} {fields[2]} {len(fields[3])}",
)
def test_a_chunk_outside_its_packet_or_past_a_limit_is_refused(fields: Any) -> None:
    with pytest.raises(CodecError):
        unpack_chunk(pack_flat(fields))
    with pytest.raises(CodecError):
        pack_chunk(*fields)


@pytest.mark.parametrize(
    "fields", [[], [1, DIGEST, 0], [1, DIGEST, b"0", b"x"], [1, DIGEST, 0, b"x", 1]], ids=str
)
def test_a_chunk_of_another_form_is_refused(fields: list[Any]) -> None:
    with pytest.raises(CodecError):
        unpack_chunk(pack_flat(fields))


# --- facts and records ----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SPANS, st.lists(GROUPS, max_size=5))
def test_facts_come_back_as_they_went(span: Span, groups: list[FactGroup]) -> None:
    body = feed.pack_facts(span, groups)
    assert feed.unpack_facts(body) == (span, tuple(groups))
    assert feed.span_of(body) == span


@settings(max_examples=60, deadline=None)
@given(SPANS, st.lists(CHANGES, max_size=5))
def test_records_come_back_as_they_went(span: Span, changes: list[RecordChange]) -> None:
    body = feed.pack_records(span, changes)
    assert feed.unpack_records(body) == (span, tuple(changes))
    assert feed.span_of(body) == span


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_break_the_readers_of_the_feed(data: bytes) -> None:
    for read in (feed.unpack_facts, feed.unpack_records):
        with pytest.raises(CodecError):
            read(data)
    found = feed.span_of(data)
    assert found is None or found.to >= found.start


def group_with(**change: Any) -> list[Any]:
    """The wire form of a group that differs from a right one by `change`."""
    said: dict[str, Any] = {
        "epoch": "k3v9qa",
        "status": 2,
        "reasons": [["a", "b"]],
        "seqs": [1, 4],
        "hash": DIGEST,
    }
    return list({**said, **change}.values())


HOSTILE_FACTS = {
    "no list": 5,
    "a map": {"a": 1},
    "three parts": [list(SPAN), [], []],
    "a span that ends early": [["a", 1, 10, 9], []],
    "a span without a session": [["a", 0, 1, 2], []],
    "a negative start": [["a", 1, -1, 2], []],
    "a start that is true": [["a", 1, True, 2], []],
    "an endless span": [["a", 1, 0, INTEGER_MAX + 1], []],
    "no incarnation": [["", 1, 0, 1], []],
    "a long incarnation": [["x" * 65, 1, 0, 1], []],
    "groups that are text": [list(SPAN), "abc"],
    "too many groups": [list(SPAN), [group_with()] * (feed.GROUPS_MAX + 1)],
    "an epoch that is none": [list(SPAN), [group_with(epoch="K3V9QA")]],
    "a status of the future": [list(SPAN), [group_with(status=99)]],
    "a status that is true": [list(SPAN), [group_with(status=True)]],
    "a group without packets": [list(SPAN), [group_with(seqs=[])]],
    "a seq of 0": [list(SPAN), [group_with(seqs=[0, 2])]],
    "ranges that touch": [list(SPAN), [group_with(seqs=[1, 2, 0, 2])]],
    "2**62 packets": [list(SPAN), [group_with(seqs=[1, 2**62])]],
    "a short hash": [list(SPAN), [group_with(hash=b"x")]],
    "a reason of three": [list(SPAN), [group_with(reasons=[["a", "b", "c"]])]],
    "a long detail": [list(SPAN), [group_with(reasons=[["a", "b" * 301]])]],
    "a long code": [list(SPAN), [group_with(reasons=[["a" * 65, "b"]])]],
    "too many reasons": [list(SPAN), [group_with(reasons=[["a", "b"]] * 17)]],
}


@pytest.mark.parametrize("value", HOSTILE_FACTS.values(), ids=HOSTILE_FACTS.keys())
def test_hostile_facts_are_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        feed.unpack_facts(pack(value))


HOSTILE_RECORDS = {
    "empty": [],
    "a span cut off": [b"a", 1, 0],
    "a record cut off": [b"a", 1, 0, 1, 1, 2, b"k3v9qa", 1],
    "a version of 0": [b"a", 1, 0, 1, 0, 2, b"k3v9qa", 1, b""],
    "a seq of 0": [b"a", 1, 0, 1, 1, 2, b"k3v9qa", 0, b""],
    "a status of the future": [b"a", 1, 0, 1, 1, 99, b"k3v9qa", 1, b""],
    "a head that is a number": [b"a", 1, 0, 1, 1, 2, b"k3v9qa", 1, 0],
    "a head past its limit": [b"a", 1, 0, 1, 1, 2, b"k3v9qa", 1, bytes(HEAD_BYTES_MAX + 5)],
    "an epoch that is none": [b"a", 1, 0, 1, 1, 2, b"\xff\xff", 1, b""],
    "an incarnation that is no text": [b"\xff", 1, 0, 1],
    "too many records": [b"a", 1, 0, 1] + [1, 2, b"k3v9qa", 1, b""] * (feed.RECORDS_MAX + 1),
}


@pytest.mark.parametrize("flat", HOSTILE_RECORDS.values(), ids=HOSTILE_RECORDS.keys())
def test_hostile_records_are_refused(flat: list[Any]) -> None:
    with pytest.raises(CodecError):
        feed.unpack_records(pack_flat(flat))


def test_the_span_of_a_body_that_is_not_understood_is_still_known() -> None:
    assert feed.span_of(pack([list(SPAN), {"new": [1, {"form": 2}]}, "more"])) == SPAN
    assert feed.span_of(pack_flat([b"a1b2c3", 3, 10, 20, 1, 99, b"new", b"fields", 5, 6])) == SPAN
    assert feed.span_of(pack([["a1b2c3", 3, 10], []])) is None
    assert feed.span_of(pack(["a1b2c3", 3, 10, 20])) is None
    assert feed.span_of(b"") is None


def test_a_rule_that_says_too_much_does_not_stop_the_facts() -> None:
    wordy = GROUP._replace(reasons=(Reason("c" * 100, "d" * 1_000),) * 40)
    _, (group,) = feed.unpack_facts(feed.pack_facts(SPAN, [wordy]))
    assert group.reasons == (Reason("c" * 64, "d" * 300),) * 16


def test_the_hash_of_a_group_is_over_its_digests_in_order() -> None:
    one, other = b"\x01" * 32, b"\x02" * 32
    assert feed.digests_hash([one, other]) == hashlib.sha256(one + other).digest()
    assert feed.digests_hash([other, one]) != feed.digests_hash([one, other])
