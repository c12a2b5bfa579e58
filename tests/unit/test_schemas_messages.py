"""`want`, `ack` and `join`: whole messages, strict in what they know, patient with what is new."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from schemas import messages
from schemas.codec import pack
from schemas.errors import CodecError
from schemas.messages import Ack, Health, Join, Partly, Since, Want, pack_message, unpack_message
from schemas.ranges import from_numbers, to_wire


def code_of(call: Any, *args: Any) -> str:
    """The code of the `CodecError` that the call must raise."""
    with pytest.raises(CodecError) as why:
        call(*args)
    return why.value.code


WANT = Want(
    n=5,
    instance="i1",
    grant=2,
    session=3,
    epoch="k3v9qa",
    highest_seq=600,
    clock_ms=1_767_000_000_000,
    facts=10,
    records=20,
    history=[Since(incarnation="a1"), Since(incarnation="b2", facts=4, records=5)],
    level=65_536,
    whole=True,
)
ACK = Ack(
    n=5,
    instance="i1",
    grant=2,
    session=3,
    since=Since(incarnation="b2", facts=4, records=5),
    facts_top=30,
    records_top=40,
    window_bytes=8 << 20,
    hold_s=1.5,
    epoch="k3v9qa",
    partly=[Partly(seq=9, ranges=[0, 100])],
    rewind=[1, 2],
    clock_ms=1_767_000_000_001,
)
JOIN = Join(token=b"t" * 16, sign=b"s" * 32, seal=b"k" * 32)


@pytest.mark.parametrize("message", [WANT, ACK, JOIN], ids=["want", "ack", "join"])
def test_a_message_comes_back_as_it_went(message: Any) -> None:
    assert unpack_message(type(message), pack_message(message)) == message


@pytest.mark.parametrize("message", [WANT, ACK, JOIN], ids=["want", "ack", "join"])
def test_fields_of_a_newer_version_are_passed_over(message: Any) -> None:
    said = {**message.model_dump(), "mood": "good", "more": {"deep": [1, [2]]}}
    assert unpack_message(type(message), pack(said)) == message


def test_a_message_of_a_newer_wire_is_refused_as_newer() -> None:
    said = {**WANT.model_dump(), "wire": messages.WIRE_VERSION + 1}
    assert code_of(unpack_message, Want, pack(said)) == "newer_version"


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(Want.model_fields)), st.one_of(st.integers(), st.text(max_size=4)))
)
def test_a_message_with_changed_fields_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        body = pack({**WANT.model_dump(), **change})
        assert isinstance(unpack_message(Want, body), BaseModel)
    except CodecError as why:
        assert "\n" not in str(why)  # noqa: PT017


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"n": -1}, "n"),
        ({"n": True}, "n"),
        ({"n": "5"}, "n"),
        ({"n": 2**63}, "n"),
        ({"instance": ""}, "instance"),
        ({"instance": "x" * 65}, "instance"),
        ({"epoch": "K3V9QA"}, "epoch"),
        ({"epoch": "k3v9qa\n"}, "epoch"),
        ({"history": [{"incarnation": "a"}] * (messages.HISTORY_MAX + 1)}, "history"),
        ({"whole": 1}, "whole"),
        ({"titian": "x" * 65}, "titian"),
    ],
    ids=str,
)
def test_a_want_with_a_wrong_field_is_refused_by_its_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(CodecError) as why:
        unpack_message(Want, pack({**WANT.model_dump(), **change}))
    assert why.value.field == field


@pytest.mark.parametrize(
    "change",
    [
        {"rewind": [1]},
        {"rewind": [1, 2, 3]},
        {"hold_s": -1.0},
        {"hold_s": 1e9},
        {"partly": [{"seq": 0, "ranges": []}]},
        {"since": {}},
    ],
    ids=str,
)
def test_an_ack_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        unpack_message(Ack, pack({**ACK.model_dump(), **change}))


HEALTH = Health(waiting=312, waiting_kib=41_000, eta_s=0, alarms=["runway"], disturbed=["sending"])


def test_health_goes_under_short_keys_and_comes_back() -> None:
    want = WANT.model_copy(update={"health": HEALTH})
    said = want.model_dump(exclude_defaults=True, by_alias=True)["health"]
    assert said == {"w": 312, "b": 41_000, "e": 0, "a": ["runway"], "n": ["sending"]}
    assert unpack_message(Want, pack_message(want)) == want


@pytest.mark.parametrize(
    "health",
    [
        {"w": -1},
        {"w": messages.TOLD_MAX + 1},
        {"w": "312"},
        {"g": 1.5},
        {"a": ["x"] * (messages.HEALTH_ALARMS_MAX + 1)},
        {"a": ["x" * 25]},
        {"a": "runway"},
        {"n": [""]},
        [],
        "well",
        7,
    ],
    ids=str,
)
def test_a_health_that_cannot_be_read_is_passed_over_and_never_the_want(health: Any) -> None:
    assert unpack_message(Want, pack({**WANT.model_dump(), "health": health})) == WANT


def test_a_health_of_a_newer_version_says_what_is_known_here() -> None:
    read = unpack_message(Want, pack({**WANT.model_dump(), "health": {"w": 3, "z": {"more": 1}}}))
    assert read.health == Health(waiting=3)


@pytest.mark.parametrize("value", [None, 5, "want", [], {}], ids=str)
def test_what_is_no_message_is_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        unpack_message(Want, pack(value))


def test_a_message_that_no_reader_would_take_is_not_written() -> None:
    scattered = to_wire(from_numbers(range(0, 8_000, 2)))
    partly = [Partly(seq=seq, ranges=scattered) for seq in range(1, 11)]
    assert code_of(pack_message, ACK.model_copy(update={"partly": partly})) == "too_large"
