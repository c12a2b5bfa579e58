"""The forms of a reconciliation's questions and answers, and what its digests notice."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import compare
from schemas.codec import pack_flat
from schemas.compare import (
    DAY_MS,
    NIK_STOP,
    ComparePackets,
    CompareRecords,
    ListedRecord,
    PacketsDigest,
    RecordsDigest,
    Tops,
)
from schemas.errors import CodecError
from schemas.messages import ASK_BYTES_MAX
from schemas.ranges import merge
from schemas.verdicts import Status

bounds = st.lists(st.integers(0, NIK_STOP), min_size=2, max_size=65, unique=True).map(sorted).map(tuple)
leaf = st.integers(1, (1 << 62) - 1)


@given(bounds, st.booleans())
def test_a_question_for_digests_of_records_is_read_as_it_was_written(
    found: tuple[int, ...], statuses: bool
) -> None:
    asked = CompareRecords(found, statuses)
    args = compare.pack_compare_records(asked)
    assert len(args) <= ASK_BYTES_MAX
    assert compare.unpack_compare_records(args) == asked


@given(bounds, st.none() | st.integers(0, 1 << 40))
def test_a_question_about_packets_is_read_as_it_was_written(found: tuple[int, ...], stop: int | None) -> None:
    asked = ComparePackets("k3v9qa", found, stop)
    args = compare.pack_compare_packets(asked)
    assert len(args) <= ASK_BYTES_MAX
    assert compare.unpack_compare_packets(args) == asked


@given(st.lists(st.tuples(st.integers(0, NIK_STOP), st.integers(1, 10**9)), max_size=40))
def test_a_list_names_at_most_forty_ranges_and_fits_a_question(spans: list[tuple[int, int]]) -> None:
    ranges = merge((start, start + length) for start, length in spans)
    args = compare.pack_list_records(ranges)
    assert len(args) <= ASK_BYTES_MAX
    assert compare.unpack_list_records(args) == ranges


@pytest.mark.parametrize(
    ("read", "flat"),
    [
        (compare.unpack_compare_records, (0,)),
        (compare.unpack_compare_records, (2, 5, 1)),
        (compare.unpack_compare_records, (0, 5, 0)),
        (compare.unpack_compare_records, (0, 5, 1 << 63)),
        (compare.unpack_compare_packets, (1, b"k3v9qa", 5)),
        (compare.unpack_compare_packets, (1, b"K3V9QA", 5, 1)),
        (compare.unpack_compare_packets, (1, b"\xff\xfe", 5, 1)),
        (compare.unpack_compare_packets, (7, b"k3v9qa", 5, 1)),
        (compare.unpack_list_records, (5,)),
    ],
)
def test_a_question_that_is_none_is_refused(read: object, flat: tuple[int | bytes, ...]) -> None:
    assert callable(read)
    with pytest.raises(CodecError):
        read(pack_flat(flat))


def test_an_answer_of_another_length_than_the_question_asks_for_is_refused() -> None:
    whole = compare.pack_tops(Tops(1, 2, (0,) * 8)) + compare.pack_records_digests([RecordsDigest()])
    assert compare.unpack_compared_records(whole, 1) == (Tops(1, 2, (0,) * 8), [RecordsDigest()])
    for answer in (b"", whole[:-1], whole + b"\x00"):
        with pytest.raises(CodecError):
            compare.unpack_compared_records(answer, 1)
    with pytest.raises(CodecError):
        compare.unpack_packets_digests(b"", 1)
    with pytest.raises(CodecError):
        compare.unpack_buckets(compare.pack_buckets([(0,) * 8]), 2)
    with pytest.raises(CodecError):
        list(compare.unpack_listed(b"\x00" * 23))


def test_parts_of_counts_by_day_are_added() -> None:
    one, other = [(1, *(0,) * 7), (2, *(0,) * 7)], [(10, *(0,) * 7), (0, 5, *(0,) * 6)]
    answer = compare.pack_buckets(one) + compare.pack_buckets(other)
    assert compare.unpack_buckets(answer, 2) == [(11, *(0,) * 7), (2, 5, *(0,) * 6)]


def sums(leaves: list[int]) -> RecordsDigest:
    halves = [compare.halves(one) for one in leaves]
    return compare.records_digest(len(leaves), sum(a for a, _ in halves), sum(b for _, b in halves), 0, 0)


@given(st.lists(leaf, min_size=1, max_size=50), st.data())
def test_the_digest_of_records_takes_them_in_any_order_and_notices_another_one(
    leaves: list[int], data: st.DataObject
) -> None:
    assert sums(leaves).agrees(sums(data.draw(st.permutations(leaves))))
    half = len(leaves) // 2
    assert sums(leaves[:half]).plus(sums(leaves[half:])) == sums(leaves)
    other = data.draw(leaf.filter(lambda one: one != leaves[0]))
    assert not sums(leaves).agrees(sums([other, *leaves[1:]]))
    assert not sums(leaves).agrees(sums(leaves[1:]))


def test_records_of_which_the_center_does_not_know_the_contents_are_compared_by_version() -> None:
    ours, unknown = RecordsDigest(2, 5, 6, 0, 9), RecordsDigest(2, 0, 0, 2, 9)
    assert unknown.agrees(ours)
    assert not RecordsDigest(2, 0, 0, 2, 10).agrees(ours)
    assert not RecordsDigest(3, 0, 0, 2, 9).agrees(ours)
    assert ListedRecord(1, 4, 77).agrees(ListedRecord(1, 4, 0))
    assert not ListedRecord(1, 4, 77).agrees(ListedRecord(1, 5, 0))
    assert not ListedRecord(1, 4, 77).agrees(ListedRecord(1, 4, 78))


def test_the_digest_of_packets_is_over_seq_status_and_contents_but_not_those_of_a_refused_one() -> None:
    digest = hashlib.sha256(b"one").digest()
    rows = [(1, int(Status.PRINT_READY_RECORD), digest), (2, int(Status.REFUSED), digest)]
    base = compare.packets_digest(rows)
    assert base.n == 2
    assert base == compare.packets_digest([rows[0], (2, int(Status.REFUSED), b"")])
    for other in ([(3, *rows[0][1:]), rows[1]], [(1, 1, digest), rows[1]], [(1, 2, bytes(32)), rows[1]]):
        assert not base.agrees(compare.packets_digest(other))
    assert compare.packets_digest([]) == PacketsDigest(0, hashlib.sha256().digest()[:8])


def test_a_packet_belongs_to_the_last_day_that_has_begun_and_a_refused_one_to_none() -> None:
    days, received = (10, 20, 30), int(Status.RECEIVED_AT_CENTRAL)
    assert [compare.bucket_of(days, day, received) for day in (-5, 9, 10, 19, 20, 31)] == [0, 0, 1, 1, 2, 3]
    assert compare.bucket_of(days, 25, int(Status.REFUSED)) == 0
    assert DAY_MS == 24 * 3600 * 1000
