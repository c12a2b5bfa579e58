"""A packet's head: it comes back as it went, and nothing hostile in it goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import pack
from schemas.errors import InvalidPacket, SchemaError
from schemas.limits import (
    ATTACHMENT_NAME_CHARS_MAX,
    ATTACHMENTS_MAX,
    HEAD_BYTES_MAX,
    PACKET_BYTES_MAX,
)
from schemas.packet import (
    Attachment,
    Packet,
    attachment_span,
    check_packet,
    head_bytes,
    pack_head,
    read_head,
    stored_size,
)

NIK = "1806014107900001"
PAYLOAD: dict[str, Any] = {"nik": NIK, "nama": "SITI AMINAH"}
DIGEST = bytes(range(32))


# --- the head -------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)
ATTACHMENTS = st.builds(
    Attachment,
    NAMES,
    st.sampled_from(["image/jpeg", "application/vnd.iso.19794-4"]),
    st.integers(0, PACKET_BYTES_MAX),
    st.binary(min_size=32, max_size=32),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8).map(lambda name: "x" + name), JSON, max_size=5),
    st.lists(ATTACHMENTS, max_size=4, unique_by=lambda one: one.name),
    st.integers(0, 2**53),
)
def test_a_packet_is_read_as_it_was_packed(
    extra: dict[str, Any], files: list[Attachment], at_ms: int
) -> None:
    packet = Packet("enrolment", {**PAYLOAD, **extra}, tuple(files), at_ms)
    try:
        check_packet(packet)
    except InvalidPacket as why:  # hypothesis nests deeper than we allow
        if why.code != "too_deep":
            raise
        return
    packed = pack_head(packet)
    assert read_head(packed.prefix) == packet
    assert head_bytes(packed.prefix) == len(packed.prefix)
    later = pack_head(packet._replace(at_ms=at_ms + 1))
    assert later.content_key == packed.content_key
    assert later.prefix != packed.prefix


def test_what_json_says_is_what_comes_back() -> None:
    payload = json.loads('{"nik": "1806014107900001", "nama": "Ünï", "n": 1.0, "m": [1, {"a": null}]}')
    back = read_head(pack_head(Packet("enrolment", payload, (), 0)).prefix).payload
    assert json.dumps(back) == json.dumps(payload)


def test_another_payload_has_another_content_key() -> None:
    one = pack_head(Packet("enrolment", PAYLOAD, (), 0))
    assert pack_head(Packet("enrolment", {**PAYLOAD, "nama": "SITI"}, (), 0)).content_key != one.content_key
    with_file = Packet("enrolment", PAYLOAD, (Attachment("face", "image/jpeg", 1, DIGEST),), 0)
    assert pack_head(with_file).content_key != one.content_key


def attached(**change: Any) -> Packet:
    """A packet with one attachment that differs from a right one by `change`."""
    one = Attachment("face", "image/jpeg", 10, DIGEST)._replace(**change)
    return Packet("enrolment", PAYLOAD, (one,), 0)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "."},
        {"name": ".."},
        {"name": "../../etc/passwd"},
        {"name": "a\\b"},
        {"name": "a\x00b"},
        {"name": "a\nb"},
        {"name": "\x1b[2J"},
        {"name": "a\u202egpj.exe"},
        {"name": "x" * (ATTACHMENT_NAME_CHARS_MAX + 1)},
        {"name": "\U0001f600" * ATTACHMENT_NAME_CHARS_MAX},
        {"media_type": ""},
        {"media_type": "image"},
        {"media_type": "image/"},
        {"media_type": "/jpeg"},
        {"media_type": "a/b/c"},
        {"media_type": "image/jpeg\r\nX: y"},
        {"media_type": "image/\x1b[2J"},
        {"media_type": "image/" + "x" * ATTACHMENT_NAME_CHARS_MAX},
        {"size": -1},
        {"size": PACKET_BYTES_MAX + 1},
    ],
    ids=repr,
)
def test_an_attachment_with_a_hostile_entry_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidPacket) as why:
        read_head(pack_head(attached(**change)).prefix)
    assert str(why.value.field).startswith("attachments.")


def test_attachments_are_taken_at_their_limits() -> None:
    check_packet(attached(name="x" * ATTACHMENT_NAME_CHARS_MAX, size=PACKET_BYTES_MAX))
    check_packet(attached(name="é" * ATTACHMENT_NAME_CHARS_MAX, size=0))
    files = tuple(Attachment(f"f{n}", "image/jpeg", 1, DIGEST) for n in range(ATTACHMENTS_MAX))
    packet = Packet("enrolment", PAYLOAD, files, 0)
    assert read_head(pack_head(packet).prefix) == packet
    more = packet._replace(attachments=(*files, Attachment("one_more", "image/jpeg", 1, DIGEST)))
    with pytest.raises(InvalidPacket, match="more than"):
        read_head(pack_head(more).prefix)
    with pytest.raises(InvalidPacket, match="two attachments"):
        check_packet(packet._replace(attachments=(files[0], files[0])))


def test_a_head_is_taken_at_its_limit_and_refused_past_it() -> None:
    room = HEAD_BYTES_MAX - (
        len(pack_head(Packet("enrolment", {**PAYLOAD, "x": "y" * 60_000}, (), 0)).prefix) - 4
    )
    full = Packet("enrolment", {**PAYLOAD, "x": "y" * (60_000 + room)}, (), 0)
    assert read_head(pack_head(full).prefix) == full
    with pytest.raises(InvalidPacket, match="put large values into attachments"):
        pack_head(Packet("enrolment", {**PAYLOAD, "x": "y" * (60_001 + room)}, (), 0))


def head_of(value: Any) -> bytes:
    """Stored bytes whose head is any value."""
    data = pack(value)
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "malformed"),
        ("abcde", "malformed"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "malformed"),
        ([1, 0, "enrolment", PAYLOAD], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, {}], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, "abcd"], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, [["face", "image/jpeg", 1]]], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, [["face", "image/jpeg", 1, b"short"]]], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, [["face", "image/jpeg", True, DIGEST]]], "malformed"),
        ([1, 0, "enrolment", PAYLOAD, [[1, "image/jpeg", 1, DIGEST]]], "malformed"),
        ([1, "now", "enrolment", PAYLOAD, []], "malformed"),
        ([True, 0, "enrolment", PAYLOAD, []], "malformed"),
        ([1, 0, b"enrolment", PAYLOAD, []], "malformed"),
        ([1, 0, "enrolment", [], []], "invalid_packet"),
        ([1, 0, "enrolment", {**PAYLOAD, "x": [[[[[[[[1]]]]]]]]}, []], "too_deep"),
        ([2, 0, "enrolment", PAYLOAD, []], "unknown_schema_version"),
        ([2, 0, "enrolment", PAYLOAD, [], "new"], "unknown_schema_version"),
        ([1, 0, "passport", PAYLOAD, []], "unknown_kind"),
    ],
    ids=str,
)
def test_a_head_of_another_form_is_refused(value: Any, code: str) -> None:
    with pytest.raises(InvalidPacket) as why:
        read_head(head_of(value))
    assert why.value.code == code


def test_a_cut_head_is_refused_at_each_length() -> None:
    prefix = pack_head(attached()).prefix
    for end in range(len(prefix)):
        with pytest.raises(InvalidPacket):
            read_head(prefix[:end])
    assert read_head(prefix + b"and the attachments") == attached()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_in_a_head_raises_nothing_unplanned(data: st.DataObject) -> None:
    prefix = bytearray(pack_head(attached()).prefix)
    prefix[data.draw(st.integers(0, len(prefix) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        packet = read_head(bytes(prefix))
    except SchemaError:
        return
    assert pack_head(packet).prefix == bytes(prefix)


def test_attachments_lie_one_after_the_other_behind_the_head() -> None:
    files = (Attachment("a", "image/jpeg", 5, DIGEST), Attachment("b", "image/jpeg", 7, DIGEST))
    assert attachment_span(100, files, "a") == (100, 105)
    assert attachment_span(100, files, "b") == (105, 112)
    assert attachment_span(100, files, "c") is None
    assert stored_size(100, files) == 112
