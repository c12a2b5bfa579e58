"""From a JSON object to a draft: what is right travels unchanged, what is wrong is named with its field."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.region.attachments import PackingLimits
from pipeline.region.packing import draft_of, read_line
from schemas.errors import InvalidPacket
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX
from schemas.packet import attachment_span, read_head

NIK = "1806061505900001"
PAYLOAD = {"nik": NIK, "nama": "SITI AMINAH", "tanggal_lahir": "15-05-1990", "catatan": {"a": [1, 2]}}


def said(**changes: Any) -> dict[str, Any]:
    return {"kind": "enrolment", "payload": PAYLOAD, **changes}


def attached(data: bytes, name: str = "face") -> dict[str, str]:
    return {"name": name, "media_type": "image/jpeg", "base64": base64.b64encode(data).decode()}


def test_the_stored_bytes_hold_the_payload_as_it_was_given_and_every_attachment(tmp_path: Path) -> None:
    (tmp_path / "left.iso").write_bytes(b"FIR" * 1_000)
    files = [
        attached(b"JPEG"),
        {"name": "left", "media_type": "application/octet-stream", "path": "left.iso"},
    ]
    draft = draft_of(said(attachments=files), 1_234, folder=tmp_path, once=True)
    assert draft.stored is not None
    head = read_head(draft.stored)
    assert (head.payload, head.kind, head.at_ms) == (PAYLOAD, "enrolment", 1_234)
    assert [one.digest for one in head.attachments] == [
        hashlib.sha256(data).digest() for data in (b"JPEG", b"FIR" * 1_000)
    ]
    prefix = len(draft.stored) - sum(one.size for one in head.attachments)
    span = attachment_span(prefix, head.attachments, "left")
    assert span is not None
    assert draft.stored[slice(*span)] == b"FIR" * 1_000
    assert (draft.size, draft.digest) == (len(draft.stored), hashlib.sha256(draft.stored).digest())


def test_a_large_file_is_streamed_and_not_held(tmp_path: Path) -> None:
    data = os.urandom(1_000_003)
    (tmp_path / "iris.iso").write_bytes(data)
    files = [{"name": "iris", "media_type": "application/octet-stream", "path": "iris.iso"}]
    draft = draft_of(said(attachments=files), 1, folder=tmp_path, once=True)
    assert draft.stored is None
    assert draft.stream is not None
    stored = b"".join(draft.stream())
    assert stored == b"".join(draft.stream())
    assert stored.endswith(data)
    assert (draft.size, draft.digest) == (len(stored), hashlib.sha256(stored).digest())


@pytest.mark.parametrize(
    ("sizes", "named", "lane"),
    [
        ([], None, Lane.RECORD),
        ([BATCHED_PACKET_BYTES_MAX], None, Lane.RECORD),
        ([BATCHED_PACKET_BYTES_MAX + 1], None, Lane.BIOMETRIC),
        ([9_000, 9_000], None, Lane.BIOMETRIC),
        ([9_000, 9_000], "urgent", Lane.URGENT),
    ],
)
def test_large_attachments_make_a_packet_biometric_unless_it_names_a_lane(
    sizes: list[int], named: str | None, lane: Lane, tmp_path: Path
) -> None:
    files = [attached(b"x" * size, f"a{n}") for n, size in enumerate(sizes)]
    packet = said(attachments=files, **({"lane": named} if named else {}))
    assert draft_of(packet, 1, folder=tmp_path, once=True).lane is lane


def test_the_same_contents_have_the_same_key_whenever_they_were_recorded(tmp_path: Path) -> None:
    one = draft_of(said(), 1, folder=tmp_path, once=True)
    later = draft_of(said(), 2, folder=tmp_path, once=True)
    other = draft_of(said(attachments=[attached(b"x")]), 1, folder=tmp_path, once=True)
    assert one.key == later.key != other.key
    assert one.digest != later.digest


def test_an_id_is_the_producers_own_key_and_makes_a_packet_be_taken_once(tmp_path: Path) -> None:
    named = draft_of(said(id="loket-3/77"), 1, folder=tmp_path, once=False)
    same = draft_of(
        {**said(), "payload": {**PAYLOAD, "nama": "X"}}, 1, folder=tmp_path, once=False, key="loket-3/77"
    )
    plain = draft_of(said(), 1, folder=tmp_path, once=False)
    assert named.once
    assert named.key == same.key != plain.key
    assert not plain.once


FILE = {"name": "f", "media_type": "image/jpeg"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "enrollment"}, "kind", "unknown kind"),
    ({"kind": None}, "kind", "unknown kind"),
    ({"schema": 9}, "schema", "schema version 9"),
    ({"lane": "fast"}, "lane", "urgent, control, record, biometric"),
    ({"lane": 3}, "lane", "not a lane"),
    ({"id": ""}, "id", "1 to 200"),
    ({"id": 5}, "id", "1 to 200"),
    ({"atachments": []}, "atachments", "not known here"),
    ({"payload": {**PAYLOAD, "nik": NIK[:15]}}, "nik", "15 characters"),
    ({"payload": {**PAYLOAD, "nik": 1806061505900001}}, "nik", "string"),
    ({"payload": {"nik": NIK}}, "nama", "required"),
    ({"payload": []}, "payload", "not an object"),
    ({"payload": {**PAYLOAD, "x": "y" * 70_000}}, "payload", "at most 65536"),
    ({"payload": {**PAYLOAD, "x": [[[[[[[[1]]]]]]]]}}, "x|payload", "deep"),
    ({"payload": {**PAYLOAD, "x": float("inf")}}, "x|payload", "finite"),
    ({"payload": {**PAYLOAD, "x": 2**70}}, "payload", "cannot travel"),
    ({"payload": {**PAYLOAD, "x": "\ud800"}}, "payload", "cannot travel"),
    ({"attachments": {}}, "attachments", "not a list"),
    ({"attachments": ["face.jpg"]}, "attachments", "not an object"),
    ({"attachments": [{"name": "face", "path": "f"}]}, "attachments.media_type", "no media_type"),
    ({"attachments": [{"name": "face", "media_type": "image/jpeg"}]}, "attachments", "path or base64"),
    ({"attachments": [{**attached(b""), "path": "f"}]}, "attachments", "path or base64"),
    ({"attachments": [{**attached(b""), "base64": "%%%"}]}, "attachments.base64", "damaged"),
    ({"attachments": [{**attached(b""), "url": "x"}]}, "attachments.url", "not known here"),
    ({"attachments": [attached(b"a"), attached(b"b")]}, "attachments.name", "two attachments"),
    ({"attachments": [attached(b"a", "../x")]}, "attachments.name", "no slash"),
    ({"attachments": [{**FILE, "path": "no.jpg"}]}, "attachments.path", "No such file"),
    ({"attachments": [{**FILE, "path": "."}]}, "attachments.path", "not a plain file"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_field(
    changes: dict[str, Any], field: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidPacket, match=message) as caught:
        draft_of(said(**changes), 1, folder=tmp_path, once=True)
    assert caught.value.field in field.split("|")
    assert "\n" not in str(caught.value)


def test_a_pipe_in_place_of_a_file_does_not_hold_the_producer_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = [{"name": "f", "media_type": "image/jpeg", "path": "pipe"}]
    with pytest.raises(InvalidPacket, match="not a plain file"):
        draft_of(said(attachments=files), 1, folder=tmp_path, once=True)


def test_an_attachment_of_200_mb_is_refused_with_size_limit_and_setting(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(200_000_000)
    files = [{"name": "scan", "media_type": "image/tiff", "path": "big"}]
    with pytest.raises(InvalidPacket) as caught:
        draft_of(said(attachments=files), 1, folder=tmp_path, once=True)
    for part in ("'scan'", "200000000 bytes", "33554432", "attachment_bytes_max"):
        assert part in str(caught.value)
    larger = PackingLimits(attachment_bytes_max=250_000_000)
    assert draft_of(said(attachments=files), 1, folder=tmp_path, once=True, limits=larger).size > 200_000_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": -Infinity}', "not a number"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"\xff"', "not UTF-8"),
        (b'{"a":' + b"[" * 100_000, "nests too deeply"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not JSON"),
        (b'"' + b"x" * 2_000_000 + b'"', "more than 1000000 bytes"),
    ],
)
def test_a_line_that_is_no_object_is_refused_in_words(line: bytes, message: str) -> None:
    with pytest.raises(InvalidPacket, match=message) as caught:
        read_line(line, PackingLimits(line_bytes_max=1_000_000))
    assert len(str(caught.value)) < 200


def test_a_line_is_read_as_it_was_written() -> None:
    assert read_line(json.dumps(said()).encode()) == said()
