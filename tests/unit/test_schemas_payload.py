"""NIK, payloads, reasons: what is right goes through unchanged, what is wrong is named."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.enrolment import KINDS, SCHEMA_VERSION, check_payload, parse_tanggal
from schemas.errors import InvalidPacket
from schemas.limits import (
    PAYLOAD_DEPTH_MAX,
    PAYLOAD_FIELDS_MAX,
)
from schemas.nik import NikParts, nik_hash, parse_nik
from schemas.packet import (
    Packet,
    check_packet,
    pack_head,
    read_head,
)
from schemas.verdicts import SENTENCES, Reason, Status, sentence

NIK = "1806014107900001"
PAYLOAD: dict[str, Any] = {"nik": NIK, "nama": "SITI AMINAH"}


def refusal(payload: Any, kind: str = "enrolment", version: int = SCHEMA_VERSION) -> InvalidPacket:
    """The refusal that the payload must meet."""
    with pytest.raises(InvalidPacket) as why:
        check_payload(kind, version, payload)
    return why.value


# --- NIK ------------------------------------------------------------------------------------------


def test_a_womans_nik_has_forty_added_to_her_day() -> None:
    assert parse_nik(NIK) == NikParts("1806", "180601", 1, 7, 90, True, 1)
    assert parse_nik("1806013112050123") == NikParts("1806", "180601", 31, 12, 5, False, 123)
    assert parse_nik("1806017112050123").woman


@pytest.mark.parametrize(
    ("nik", "what"),
    [
        ("180601410790001", "15 characters"),
        ("18060141079000011", "17 characters"),
        ("", "0 characters"),
        ("18060141079000O1", "16 digits"),
        ("١٨٠٦٠١٤١٠٧٩٠٠٠٠١", "16 digits"),
        ("1806014107900001\n", "17 characters"),
        ("1806013113900001", "no month: 13"),
        ("1806013100900001", "no month: 00"),
        ("1806013102900001", "no day of birth: 31"),
        ("1806017102900001", "no day of birth: 71"),
        ("1806010007900001", "no day of birth: 00"),
        ("1806014007900001", "no day of birth: 40"),
        ("1806013207900001", "no day of birth: 32"),
        ("1806017207900001", "no day of birth: 72"),
        ("1806014107900000", "starts at 0001"),
        ("0806014107900001", "no province: 08"),
        ("0000000000000000", "no month: 00"),
        (1806014107900001, "int"),
        (None, "NoneType"),
    ],
)
def test_a_nik_that_is_none_is_refused_and_told_why(nik: Any, what: str) -> None:
    with pytest.raises(InvalidPacket, match=what) as why:
        parse_nik(nik)
    assert (why.value.code, why.value.field) == ("bad_nik", "nik")
    assert refusal({**PAYLOAD, "nik": nik}).field == "nik"


def test_the_29th_of_february_is_a_day_in_any_year() -> None:
    assert parse_nik("1806012902010001").day == 29


def test_a_nik_is_hidden_in_sixteen_bytes_that_tell_two_apart() -> None:
    assert len(nik_hash(NIK)) == 16
    assert nik_hash(NIK) != nik_hash("1806014107900002")
    assert NIK.encode() not in nik_hash(NIK)


@settings(deadline=None)
@given(st.text("0123456789", min_size=16, max_size=16))
def test_a_nik_of_digits_is_refused_or_taken_apart_without_loss(nik: str) -> None:
    try:
        parts = parse_nik(nik)
    except InvalidPacket:
        return
    day = parts.day + 40 * parts.woman
    assert f"{parts.district}{day:02d}{parts.month:02d}{parts.year:02d}{parts.number:04d}" == nik


# --- payloads -------------------------------------------------------------------------------------


def test_unknown_fields_are_kept_as_they_were_given() -> None:
    payload = {**PAYLOAD, "petugas": "OPR01", "tambahan": {"a": [1, 2.5, None, True, {"b": "c"}]}}
    packet = Packet("enrolment", payload, (), 5)
    check_packet(packet)
    assert read_head(pack_head(packet).prefix).payload == payload


def test_an_unknown_kind_is_refused_and_the_known_ones_are_named() -> None:
    why = refusal(PAYLOAD, kind="enrollment")
    assert (why.code, why.field) == ("unknown_kind", "kind")
    assert all(kind in str(why) for kind in KINDS)


@pytest.mark.parametrize("version", [0, 2, -1, 2**60, "1", None])
def test_an_unknown_schema_version_is_refused(version: Any) -> None:
    assert refusal(PAYLOAD, version=version).code == "unknown_schema_version"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nama": ""}, "nama"),
        ({"nama": 5}, "nama"),
        ({"nama": "x" * 201}, "nama"),
        ({"no_kk": "123"}, "no_kk"),
        ({"no_kk": "1806012903080001\n"}, "no_kk"),
        ({"tanggal_lahir": "1990-02-30"}, "tanggal_lahir"),
        ({"tanggal_lahir": "١٩٩٠-٠٢-٠١"}, "tanggal_lahir"),
        ({"tanggal_lahir": "30/01/1990"}, "tanggal_lahir"),
        ({"jenis_kelamin": "L"}, "jenis_kelamin"),
        ({"rt": "1234"}, "rt"),
        ({"alamat": "x" * 4_001}, "alamat"),
        ({"alamat": ["x"]}, "alamat"),
        ({"x": b"bytes"}, "x"),
        ({"x": {"y": [b"bytes"]}}, "x"),
        ({"x": float("nan")}, "x"),
        ({"x": [float("inf")]}, "x"),
        ({"x": {1: 2}}, "x"),
        ({"x": {1, 2}}, "x"),
        ({"x": [0] * (PAYLOAD_FIELDS_MAX + 1)}, "x"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    why = refusal({**PAYLOAD, **change})
    assert why.field == field
    assert "\n" not in str(why)


@pytest.mark.parametrize("payload", [None, [], "x", 5, {}, {"nik": NIK}, {"nama": "SITI"}, {1: 2}])
def test_a_payload_without_a_citizen_is_refused(payload: Any) -> None:
    assert refusal(payload).code in ("invalid_packet", "bad_nik")


def test_a_refusal_never_shows_what_the_field_held() -> None:
    assert "RAHASIA" not in str(refusal({**PAYLOAD, "jenis_kelamin": "RAHASIA"}))


def test_fields_and_depth_are_taken_at_their_limit_and_refused_past_it() -> None:
    def nested(depth: int) -> Any:
        return 1 if depth == 0 else [nested(depth - 1)]

    full = {**PAYLOAD, **{f"f{n}": n for n in range(PAYLOAD_FIELDS_MAX - 2)}, "f0": nested(PAYLOAD_DEPTH_MAX)}
    check_payload("enrolment", 1, full)
    assert read_head(pack_head(Packet("enrolment", full, (), 0)).prefix).payload == full
    assert refusal({**full, "one_more": 1}).field == "payload"
    assert refusal({**PAYLOAD, "x": nested(PAYLOAD_DEPTH_MAX + 1)}).code == "too_deep"


def test_a_printed_card_names_the_packet_it_was_printed_from() -> None:
    said = {"nik": NIK, "printed_at": "2026-02-01T08:00:00+07:00", "packet": "1806-k3v9qa-000123"}
    check_payload("card_printed", 1, said)
    assert refusal({**said, "packet": "1806"}, kind="card_printed").field == "packet"


def test_dates_are_read_as_iso_and_as_the_card_prints_them() -> None:
    assert parse_tanggal("1990-11-23") == parse_tanggal("23-11-1990") == date(1990, 11, 23)


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_every_reason_has_a_sentence_in_both_languages(code: str) -> None:
    indonesian, english = (sentence(Reason(code, "the detail"), language) for language in ("id", "en"))
    assert indonesian != english
    for text in (indonesian, english):
        assert text.endswith(".")
        assert "{" not in text
    shown = "{detail}" in SENTENCES[code][0]
    assert shown == ("{detail}" in SENTENCES[code][1])
    assert ("the detail" in english) == shown


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    assert sentence(Reason("from_the_future", "x")) == "from_the_future: x"
    assert sentence(Reason("from_the_future")) == "from_the_future"


def test_a_refusal_is_final_and_no_receipt_and_the_open_cases_are_not_final() -> None:
    assert Status.REFUSED.final
    assert [status for status in Status if not status.receipt] == [Status.REFUSED]
    assert {status for status in Status if not status.final} == {
        Status.RECEIVED_AT_CENTRAL,
        Status.ADJUDICATE_RECORD,
        Status.SEARCH_FAILURE_AT_CENTRAL,
    }
