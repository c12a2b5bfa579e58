"""`depth`, `trace`, `records`, `dead`, `doctor` over two sides that packets have crossed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from pipeline.adapters.clock import SystemClock
from schemas.verdicts import Reason
from tests.unit.cli_rig import JPEG, Sides, Titian, line, make_sides, nik, write_lines

FACE = JPEG + bytes(range(256)) * 1_500  # 384 kB: several pieces, several chunks
IRIS = b"IIR\x00020\x00" + b"i" * 5_000


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    made = make_sides(titian, tmp_path)
    (tmp_path / "face.jpg").write_bytes(FACE)
    (tmp_path / "iris.bin").write_bytes(IRIS)
    attachments = [
        {"name": "face", "media_type": "image/jpeg", "path": "face.jpg"},
        {"name": "left_iris", "media_type": "application/vnd.iso.19794-6", "path": "iris.bin"},
        {"name": "record.json", "media_type": "application/json", "base64": "e30="},
        {"name": ".profile", "media_type": "text/plain", "base64": "eA=="},
    ]
    path = write_lines(tmp_path / "p.ndjson", line(1), line(2), line(3, attachments=attachments))
    titian.ok("enqueue", "--data", made.region, path)
    return made


@pytest.fixture
def crossed(sides: Sides) -> Sides:
    sides.take_over()
    return sides


def id_of(titian: Titian, sides: Sides, number: int) -> str:
    found = titian.ok("trace", nik(number), "--data", sides.region, "--json").json
    return str(found["packets"][0]["id"])


# --- depth ----------------------------------------------------------------------------------------


def test_depth_says_what_waits_by_lane(titian: Titian, sides: Sides) -> None:
    found = titian.ok("depth", "--data", sides.region, "--json").json
    assert (found["waiting"], found["unverdicted"], found["dead"], found["recorded"]) == (3, 3, 0, 3)
    assert {name: lane["waiting"] for name, lane in found["lanes"].items()} == {
        "urgent": 0,
        "control": 0,
        "record": 2,
        "biometric": 1,
    }
    assert found["lanes"]["biometric"]["waiting_bytes"] > len(FACE) + len(IRIS)
    assert 0 <= found["lanes"]["record"]["oldest_age_s"] < 60
    assert found["link"]["state"] == "not running"
    assert [alarm["code"] for alarm in found["alarms"]] == ["not_running"]
    assert found["rates"]["minute"]["in"]["packets_s"] > 0
    text = titian.ok("depth", "--data", sides.region).out
    assert "3 wait for a receipt" in text
    assert "`titian up`" in text
    assert "\x1b" not in text


def test_depth_is_empty_when_all_came_back(titian: Titian, crossed: Sides) -> None:
    region = titian.ok("depth", "--data", crossed.region, "--json").json
    assert (region["waiting"], region["unverdicted"], region["dead"]) == (0, 0, 0)
    assert region["by_status"] == {"PRINT_READY_RECORD": 3}
    assert region["registry"]["records"] == 3
    assert (region["eta_s"], region["oldest_ms"]) == (0.0, None)
    center = titian.ok("depth", "--data", crossed.center, "--json").json
    assert (center["waiting"], center["unverdicted"], center["received"], center["records"]) == (0, 0, 3, 3)
    assert center["by_status"] == {"PRINT_READY_RECORD": 3}
    (one,) = center["regions"]
    assert (one["region"], one["state"], one["received"], one["records"]) == ("1806", "joined", 3, 3)
    assert center["rates"]["minute"]["verdict"]["packets_s"] > 0
    only = titian.ok("depth", "--data", crossed.center, "--region", "1806", "--json").json
    assert only["received"] == 3
    assert "1806" in titian.ok("depth", "--data", crossed.center).out


@pytest.mark.parametrize(
    "command", [("depth", "--until-empty"), ("records", "--count"), ("dead", "list")], ids=" ".join
)
def test_a_region_that_was_never_admitted_is_not_an_empty_one(
    titian: Titian, crossed: Sides, command: tuple[str, ...]
) -> None:
    said = titian(*command, "--data", crossed.center, "--region", "1860")
    assert said.code == 1
    assert "1860 was never admitted" in said.err
    assert "titian regions" in said.err


def test_until_empty_says_no_when_time_is_up(titian: Titian, sides: Sides) -> None:
    said = titian("depth", "--data", sides.region, "--until-empty", "--timeout", "0.1", "--json")
    assert said.code == 1
    assert said.json["waiting"] == 3
    assert "time is up: 3" in said.err


def test_until_empty_returns_when_all_came_back(titian: Titian, sides: Sides) -> None:
    carrying = threading.Timer(0.3, sides.take_over)
    carrying.start()
    said = titian("depth", "--data", sides.region, "--until-empty", "--timeout", "60", "--json")
    carrying.join()
    assert said.code == 0
    assert (said.json["waiting"], said.json["unverdicted"]) == (0, 0)
    assert titian("depth", "--data", sides.center, "--until-empty", "--timeout", "0").code == 0


def test_the_dead_are_not_waited_for(titian: Titian, sides: Sides) -> None:
    sides.refuse(((1, 4),), Reason("unreadable", "a newer version"))
    said = titian("depth", "--data", sides.region, "--until-empty", "--timeout", "0", "--json")
    assert said.code == 0
    assert (said.json["waiting"], said.json["dead"]) == (0, 3)
    assert [alarm["code"] for alarm in said.json["alarms"]] == ["dead"]


@pytest.mark.parametrize("extra", [("--json",), ("--until-empty",)])
def test_watching_is_for_people(titian: Titian, sides: Sides, extra: tuple[str, ...]) -> None:
    assert titian("depth", "--data", sides.region, "--watch", *extra).code == 2


def test_a_region_is_asked_for_at_the_center_only(titian: Titian, sides: Sides) -> None:
    assert titian("depth", "--data", sides.region, "--region", "1806").code == 2


# --- trace ----------------------------------------------------------------------------------------


def test_a_packet_that_waits_says_why_with_numbers(titian: Titian, sides: Sides) -> None:
    one = titian.ok("trace", id_of(titian, sides, 2), "--data", sides.region, "--json").json["packets"][0]
    assert one["state"] == "BIO_CAPTURED"
    assert "lane record; 1 packet and " in one["why"]
    assert "titian up" in one["why"]
    assert [(event["what"], event["place"]) for event in one["history"]] == [("enqueued", "office outbox")]


def test_a_packet_that_came_back_has_its_whole_history_on_both_sides(titian: Titian, crossed: Sides) -> None:
    identity = id_of(titian, crossed, 3)
    (here,) = titian.ok("trace", identity, "--data", crossed.region, "--json").json["packets"]
    whats = [event["what"] for event in here["history"]]
    assert whats[0] == "enqueued"
    assert whats.count("sent") > 1
    assert whats[-1] == "PRINT_READY_RECORD"
    assert (here["final"], here["why"]) == (True, "")
    (there,) = titian.ok("trace", identity, "--data", crossed.center, "--json").json["packets"]
    assert there["digest"] == here["digest"]
    assert "PRINT_READY_RECORD" in [event["what"] for event in there["history"]]
    assert "PRINT_READY_RECORD" in titian.ok("trace", identity, "--data", crossed.region).out


@pytest.mark.parametrize("side", ["region", "center"])
def test_a_citizen_is_found_by_nik_also_from_stdin(titian: Titian, crossed: Sides, side: str) -> None:
    folder = getattr(crossed, side)
    found = titian.ok("trace", "-", "--data", folder, "--json", stdin=f"{nik(2)}\n".encode())
    assert len(found.json["packets"]) == 1
    (record,) = found.json["records"]
    assert (record["status"], record["source"]) == ("PRINT_READY_RECORD", found.json["packets"][0]["id"])
    assert nik(2) not in found.out


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ("1806-aaaaaa-000001", 1),
        ("1871-aaaaaa-000001", 1),
        (nik(99), 1),
        ("hello", 2),
        ("123", 2),
        ("-", 2),
    ],
)
@pytest.mark.parametrize("side", ["region", "center"])
def test_what_is_not_there_is_a_no_and_what_is_no_name_a_wrong_call(
    titian: Titian, sides: Sides, side: str, which: str, code: int
) -> None:
    said = titian("trace", which, "--data", getattr(sides, side), "--json")
    assert (said.code, said.out) == (code, "")
    assert len(said.err.splitlines()) == 1


# --- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["region", "center"])
def test_records_are_counted_listed_and_limited(titian: Titian, crossed: Sides, side: str) -> None:
    folder = getattr(crossed, side)
    assert titian.ok("records", "--data", folder, "--count").out == "3\n"
    found = titian.ok("records", "--data", folder, "--json", "--limit", 2).json
    assert found["count"] == 3
    assert [one["nik"] for one in found["records"]] == [nik(1), nik(2)]
    assert found["records"][0]["payload"]["nama"] == "SITI 1"
    assert "SITI 1" in titian.ok("records", "--data", folder).out
    assert "left_iris" in titian.ok("records", "--data", folder, "--nik", nik(3)).out
    assert titian("records", "--data", folder, "--nik", nik(50)).code == 1


def test_a_damaged_record_is_passed_over_and_said_and_the_others_are_listed(
    titian: Titian, crossed: Sides
) -> None:
    db = apsw.Connection(str(crossed.region / "registry.db"))
    db.execute("UPDATE record SET head = CAST(x'00000005' || 'x' AS BLOB) WHERE id = 2")
    db.close()
    for as_json in ((), ("--json",)):
        found = titian("records", "--data", crossed.region, *as_json)
        assert found.code == 1
        assert f"The record of {nik(2)} does not read".lower() in found.err.lower()
        assert [nik(n) in found.out for n in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize("side", ["region", "center"])
def test_a_record_and_its_attachments_come_out_byte_for_byte(
    titian: Titian, crossed: Sides, tmp_path: Path, side: str
) -> None:
    out = tmp_path / "out"
    said = titian.ok(
        "records", "--data", getattr(crossed, side), "--nik", "-", "--out", out, stdin=nik(3).encode()
    )
    assert (out / "face").read_bytes() == FACE
    assert (out / "left_iris").read_bytes() == IRIS
    assert (out / "attachment-record.json").read_bytes() == b"{}"
    assert (out / "attachment-.profile").read_bytes() == b"x"
    record = json.loads((out / "record.json").read_text())
    assert record["nik"] == nik(3)
    face = record["attachments"][0]
    assert (face["file"], face["sha256"]) == ("face", hashlib.sha256(FACE).hexdigest())
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in out.iterdir())
    assert "5 files" in said.out


def test_files_that_are_there_are_not_overwritten(titian: Titian, crossed: Sides, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "face").write_text("mine")
    said = titian("records", "--data", crossed.region, "--nik", nik(3), "--out", tmp_path / "out")
    assert said.code == 2
    assert (tmp_path / "out" / "face").read_text() == "mine"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_link_that_leads_elsewhere_is_not_followed(titian: Titian, crossed: Sides, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "out" / "left_iris")
    assert titian("records", "--data", crossed.region, "--nik", nik(3), "--out", tmp_path / "out").code == 2
    assert not (tmp_path / "elsewhere").exists()
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["left_iris"]


def test_bytes_that_are_not_what_the_record_says_come_out_with_a_warning(
    titian: Titian, crossed: Sides, tmp_path: Path
) -> None:
    db = apsw.Connection(str(crossed.region / "outbox.db"))
    db.execute("UPDATE piece SET bytes = zeroblob(length(bytes)) WHERE id = (SELECT max(id) FROM piece)")
    db.close()
    out = tmp_path / "out"
    said = titian("records", "--data", crossed.region, "--nik", nik(3), "--out", out)
    assert said.code == 1
    assert "face" in said.err
    assert (out / "face").stat().st_size == len(FACE)
    assert (out / "record.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--out", "x"), ("--nik", "123"), ("--nik", nik(1), "--count"), ("--region", "1806")],
    ids=str,
)
def test_calls_of_records_that_make_no_sense_are_refused(
    titian: Titian, sides: Sides, arguments: tuple[str, ...]
) -> None:
    assert titian("records", "--data", sides.region, *arguments).code == 2


# --- dead -----------------------------------------------------------------------------------------


def test_a_refused_packet_says_why_in_two_languages_and_what_to_do(titian: Titian, sides: Sides) -> None:
    identity = id_of(titian, sides, 1)
    sides.refuse(((1, 2),), Reason("invalid_packet", "nik: a NIK has 16 digits"))
    listed = titian.ok("dead", "list", "--data", sides.region, "--json").json
    assert (listed["count"], [one["id"] for one in listed["dead"]]) == (1, [identity])
    one = titian.ok("dead", "show", identity, "--data", sides.region, "--json").json
    assert one["reasons"][0]["en"].startswith("The packet breaks a rule")
    assert one["reasons"][0]["id"].startswith("Isi paket melanggar")
    assert "enqueue it again" in one["what_to_do"]
    text = titian.ok("dead", "show", identity, "--data", sides.region).out
    assert "Isi paket melanggar" in text
    assert "what to do" in text
    assert identity in titian.ok("dead", "list", "--data", sides.region).out
    only = titian.ok("dead", "list", "--data", sides.region, "--lane", "biometric", "--json").json
    assert (only["count"], only["dead"]) == (0, [])


def test_what_is_not_dead_is_a_no(titian: Titian, sides: Sides) -> None:
    identity = id_of(titian, sides, 1)
    said = titian("dead", "show", identity, "--data", sides.region, "--json")
    assert (said.code, said.out) == (1, "")
    assert "BIO_CAPTURED" in said.err
    assert titian("dead", "show", identity, "--data", sides.center).code == 1
    assert titian("dead", "show", "12", "--data", sides.center).code == 1
    assert titian("dead", "show", "what", "--data", sides.center).code == 2
    assert titian("dead", "show", "12", "--data", sides.region).code == 2
    assert titian("dead", "list", "--lane", "fast", "--data", sides.region).code == 2


# --- what the worker says of the link ----------------------------------------------------------------


def test_what_the_worker_says_of_the_link_is_shown_as_long_as_it_is_fresh(
    titian: Titian, sides: Sides
) -> None:
    run = sides.region / "run"
    run.mkdir()
    (run / "up.lock").write_text(f"{os.getpid()}\n")
    said: dict[str, Any] = {
        "version": 1,
        "at_ms": SystemClock().now_ms(),
        "state": "down",
        "down_for_s": 600.0,
        "in_flight_bytes": 5,
    }
    (run / "push.json").write_text(json.dumps(said))
    found = titian.ok("depth", "--data", sides.region, "--json").json
    assert (found["link"]["state"], found["link"]["down_for_s"]) == ("down", 600.0)
    assert [alarm["code"] for alarm in found["alarms"]] == ["link_down"]
    (one,) = titian.ok("trace", nik(1), "--data", sides.region, "--json").json["packets"]
    assert "down for 600 s" in one["why"]
    up = {"state": "up", "waits": "receipt window", "in_flight_bytes": 5, "window_bytes": 10}
    (run / "push.json").write_text(json.dumps(said | up))
    (one,) = titian.ok("trace", nik(1), "--data", sides.region, "--json").json["packets"]
    assert "has not acknowledged what it was sent before (5 of 10 B in flight)" in one["why"]
    assert titian.ok("depth", "--data", sides.region, "--json").json["alarms"] == []
    assert "waits for: receipt window" in titian.ok("depth", "--data", sides.region).out
    (run / "push.json").write_text(json.dumps(said | {"at_ms": said["at_ms"] - 60_000}))
    stale = titian.ok("depth", "--data", sides.region, "--json").json
    assert (stale["link"]["state"], stale["link"]["down_for_s"]) == ("unknown", None)
    (run / "push.json").write_text('{"half')
    assert titian.ok("depth", "--data", sides.region, "--json").json["link"]["state"] == "unknown"
