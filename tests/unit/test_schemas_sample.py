"""Sample packets: right by every rule, as varied as real ones, and the same for the same seed."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.sample import BIOMETRIC_BYTES_MAX, BIOMETRIC_BYTES_MIN, sample_lines, write_sample
from schemas.bodies import pack_batch
from schemas.compression import CODEC_ZSTD, compress
from schemas.enrolment import Enrolment, parse_tanggal
from schemas.nik import parse_nik
from schemas.packet import Packet, check_packet, pack_head

LINES = list(sample_lines(2_000, seed=31))
PAYLOADS: list[dict[str, Any]] = [line["payload"] for line in LINES]
HEADS = [pack_head(Packet(line["kind"], line["payload"], (), 1_767_229_200_000)).prefix for line in LINES]


def test_every_sample_packet_keeps_every_rule_and_has_every_field_of_the_card() -> None:
    for line in LINES:
        check_packet(Packet(line["kind"], line["payload"], (), 0))
    assert all(set(Enrolment.model_fields) <= set(payload) for payload in PAYLOADS)
    assert {"petugas", "perangkat", "waktu_rekam", "no_antrian"} <= set(PAYLOADS[0])


def test_the_same_seed_gives_the_same_packets_and_another_seed_others() -> None:
    assert list(sample_lines(2_000, seed=31)) == LINES
    assert list(sample_lines(5, seed=31)) == LINES[:5]
    others = {line["payload"]["nik"] for line in sample_lines(2_000, seed=32)}
    assert len(others & {payload["nik"] for payload in PAYLOADS}) < 100


def test_no_citizen_comes_twice_and_niks_fit_birth_date_and_sex() -> None:
    assert len({payload["nik"] for payload in PAYLOADS}) == len(PAYLOADS)
    for payload in PAYLOADS:
        nik, born = parse_nik(payload["nik"]), parse_tanggal(payload["tanggal_lahir"])
        assert (nik.day, nik.month, nik.year) == (born.day, born.month, born.year % 100)
        assert nik.woman == (payload["jenis_kelamin"] == "PEREMPUAN")


def test_some_come_from_elsewhere_and_families_share_a_card() -> None:
    elsewhere = sum(not payload["nik"].startswith("1806") for payload in PAYLOADS)
    assert 0.03 < elsewhere / len(PAYLOADS) < 0.15
    members = Counter(payload["no_kk"] for payload in PAYLOADS)
    assert 1.2 < len(PAYLOADS) / len(members) < 2
    assert max(members.values()) < 12


def test_a_packet_has_the_size_of_a_real_one() -> None:
    assert 600 < sum(map(len, HEADS)) / len(HEADS) < 650


def test_the_packets_are_as_varied_as_an_office_is() -> None:
    distinct = {field: len({payload[field] for payload in PAYLOADS}) for field in Enrolment.model_fields}
    assert distinct["nama"] > 1_700
    assert distinct["tanggal_lahir"] > 1_000
    assert distinct["kel_desa"] > 200
    assert distinct["kecamatan"] == 20
    assert len(compress(pack_batch(HEADS[:600]), codec=CODEC_ZSTD, dictionary=1, level=19)) > 600 * 60


def test_the_dictionary_brings_a_packet_alone_to_a_third() -> None:
    bodies = [pack_batch([head]) for head in HEADS[:200]]
    plain, helped = (
        sum(len(compress(body, codec=CODEC_ZSTD, dictionary=number)) for body in bodies) for number in (0, 1)
    )
    assert helped < plain / 3


def test_biometrics_are_spread_evenly_and_begin_as_their_type_says() -> None:
    lines = list(sample_lines(100, seed=3, biometrics=4))
    at = [number for number, line in enumerate(lines) if "attachments" in line]
    assert at == [24, 49, 74, 99]
    begins = {"image/jpeg": b"\xff\xd8\xff", "-4": b"FIR\0", "-5": b"FAC\0", "-6": b"IIR\0"}
    for number in at:
        files = lines[number]["attachments"]
        data = [base64.b64decode(one["base64"]) for one in files]
        assert BIOMETRIC_BYTES_MIN <= sum(map(len, data)) <= BIOMETRIC_BYTES_MAX
        for one, content in zip(files, data, strict=True):
            kind = next(end for end in begins if one["media_type"].endswith(end))
            assert content.startswith(begins[kind])
            assert len(compress(content, codec=CODEC_ZSTD, dictionary=1)) > 0.95 * len(content)


def test_biometrics_may_lie_beside_the_file(tmp_path: Path) -> None:
    with open(tmp_path / "sample.ndjson", "w", encoding="utf-8") as out:
        written = write_sample(20, out, seed=3, biometrics=2, folder=tmp_path)
    text = (tmp_path / "sample.ndjson").read_text(encoding="utf-8")
    assert written == len(text)
    listed = [one for line in text.splitlines() for one in json.loads(line).get("attachments", [])]
    assert len(listed) >= 2
    inline = [one for line in sample_lines(20, seed=3, biometrics=2) for one in line.get("attachments", [])]
    for filed, held in zip(listed, inline, strict=True):
        assert (tmp_path / filed["path"]).read_bytes() == base64.b64decode(held["base64"])


def test_the_written_lines_are_the_packets() -> None:
    out = io.StringIO()
    write_sample(50, out, seed=31)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == list(sample_lines(50, seed=31))


@pytest.mark.parametrize("region", ["3305", "7371"])
def test_another_region_has_its_own_places(region: str) -> None:
    payloads = [line["payload"] for line in sample_lines(300, region=region)]
    assert sum(payload["nik"].startswith(region) for payload in payloads) > 240
    assert not {payload["kecamatan"] for payload in payloads} & {payload["kecamatan"] for payload in PAYLOADS}


def test_no_packets_are_none() -> None:
    assert list(sample_lines(0)) == []
