"""Identities, lanes and ranges: what they print is what they read, and nothing else is read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import ranges
from schemas.errors import CodecError, SchemaError
from schemas.identity import (
    EPOCH_ALPHABET,
    PacketId,
    check_epoch,
    check_region,
    new_epoch,
    parse_packet_id,
)
from schemas.lanes import Lane, parse_lane
from schemas.limits import INTEGER_MAX, RANGES_MAX

REGIONS = st.text("0123456789", min_size=4, max_size=4)
EPOCHS = st.text(EPOCH_ALPHABET, min_size=6, max_size=6)
SEQS = st.integers(1, INTEGER_MAX)
SMALL_SETS = st.sets(st.integers(0, 60))


@settings(deadline=None)
@given(REGIONS, EPOCHS, SEQS)
def test_an_identity_is_read_as_it_was_written(region: str, epoch: str, seq: int) -> None:
    one = PacketId(region, epoch, seq)
    assert parse_packet_id(str(one)) == one


def test_an_identity_has_the_form_that_people_see() -> None:
    assert str(PacketId("1806", "k3v9qa", 123)) == "1806-k3v9qa-000123"
    assert parse_packet_id(" 1806-K3V9QA-000123\n") == PacketId("1806", "k3v9qa", 123)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1806",
        "1806-k3v9qa",
        "186-k3v9qa-000001",
        "1806-k3v9q-000001",
        "1806-k3v9qi-000001",  # i is not in the alphabet
        "1806-k3v9qa-1",
        "1806-k3v9qa-000000",
        f"1806-k3v9qa-{INTEGER_MAX + 1}",
        "1806-k3v9qa-00000000000000000001",
        "١٨٠٦-k3v9qa-000001",
        "1806-k3v9qa-000001\x00",
        "1806_k3v9qa_000001",
    ],
)
def test_what_is_no_identity_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(SchemaError) as why:
        parse_packet_id(text)
    assert why.value.code == "bad_packet_id"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_reader_of_identities(text: str) -> None:
    try:
        one = parse_packet_id(text)
    except SchemaError:
        return
    assert check_region(one.region) == one.region
    assert check_epoch(one.epoch) == one.epoch


def test_new_epochs_differ_and_have_the_form_of_one() -> None:
    made = {new_epoch() for _ in range(50)}
    assert len(made) > 45
    assert all(check_epoch(one) == one for one in made)


@pytest.mark.parametrize("code", ["", "18", "18066", "18o6", "1806\n", "١٨٠٦", None, 1806])
def test_what_is_no_region_code_is_refused(code: object) -> None:
    with pytest.raises(SchemaError, match="region code"):
        check_region(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", ["", "k3v9q", "K3V9QA", "k3v9qu", "k3v9qa\n", None])
def test_what_is_no_epoch_is_refused(epoch: object) -> None:
    with pytest.raises(SchemaError, match="epoch"):
        check_epoch(epoch)  # type: ignore[arg-type]


def test_lanes_are_read_by_the_names_that_are_shown() -> None:
    assert [parse_lane(lane.label) for lane in Lane] == list(Lane)
    assert sorted(Lane) == [Lane.URGENT, Lane.CONTROL, Lane.RECORD, Lane.BIOMETRIC]


@pytest.mark.parametrize("name", ["", "Urgent", "RECORD", "bulk", "record "])
def test_an_unknown_lane_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(SchemaError, match="urgent, control, record, biometric"):
        parse_lane(name)


# --- ranges, against Python's sets ----------------------------------------------------------------


@settings(deadline=None)
@given(SMALL_SETS)
def test_ranges_hold_exactly_their_numbers(held: set[int]) -> None:
    made = ranges.from_numbers(held)
    assert list(ranges.numbers(made)) == sorted(held)
    assert ranges.total(made) == len(held)
    assert all(ranges.contains(made, n) == (n in held) for n in range(-1, 63))
    assert all(before[1] < after[0] for before, after in pairwise(made))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_merged_spans_are_their_union(spans: list[tuple[int, int]]) -> None:
    union = {n for start, stop in spans for n in range(start, stop)}
    assert ranges.merge(spans) == ranges.from_numbers(union)


@settings(deadline=None)
@given(SMALL_SETS, st.integers(0, 70))
def test_what_is_missing_is_the_rest_of_the_size(held: set[int], size: int) -> None:
    gaps = ranges.missing(ranges.from_numbers(held), size)
    assert gaps == ranges.from_numbers(set(range(size)) - held)


@settings(deadline=None)
@given(SMALL_SETS, st.integers(0, 60), st.integers(0, 12))
def test_a_span_is_covered_when_every_number_of_it_is_held(held: set[int], start: int, length: int) -> None:
    span = (start, start + length)
    assert ranges.covers(ranges.from_numbers(held), span) == held.issuperset(range(*span))


@settings(deadline=None)
@given(st.sets(st.integers(0, INTEGER_MAX - 1), max_size=40))
def test_ranges_come_back_from_the_wire(held: set[int]) -> None:
    made = ranges.from_numbers(held)
    assert ranges.from_wire(ranges.to_wire(made)) == made


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 5), st.booleans(), st.none(), st.text(max_size=1)), max_size=8))
def test_whatever_the_wire_says_is_either_ranges_or_refused(flat: list[object]) -> None:
    try:
        made = ranges.from_wire(flat)
    except CodecError:
        return
    assert ranges.to_wire(made) == flat


@pytest.mark.parametrize(
    "flat",
    [[1], [0, 0], [0, -1], [-1, 2], [0, 1, 0, 1], [0, INTEGER_MAX + 1], [True, 1], [1.0, 1]],
    ids=str,
)
def test_hostile_ranges_are_refused(flat: list[object]) -> None:
    with pytest.raises(CodecError):
        ranges.from_wire(flat)


def test_as_many_ranges_as_the_limit_are_read_and_not_one_more() -> None:
    assert len(ranges.from_wire([1] * (2 * RANGES_MAX))) == RANGES_MAX
    with pytest.raises(CodecError):
        ranges.from_wire([1] * (2 * RANGES_MAX + 2))
