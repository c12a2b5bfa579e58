"""`export` and `import`: what they say, what they return, and what happens to the file."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from pipeline.adapters import bundle_file
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.validation import Validation
from tests.unit.cli_rig import REGION, Sides, Titian, line, make_sides, write_lines
from workers.cli_bundles import since_ms


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    """A region with ten packets, and a center that has begun to live."""
    made = make_sides(titian, tmp_path)
    titian.ok("enqueue", "--data", made.region, write_lines(tmp_path / "p.ndjson", *map(line, range(1, 11))))
    live(made)
    return made


def live(sides: Sides) -> None:
    """The center starts, and says its verdicts."""
    ledger, now_ms = SqlLedger(sides.center / "ledger.db"), SystemClock().now_ms()
    if not ledger.since_of(REGION):
        ledger.open_incarnation(now_ms)
    while Validation(ledger).step(now_ms + 1_000_000).packets:
        pass
    ledger.close()


def bundle(titian: Titian, sides: Sides, path: Path, *options: object) -> Path:
    titian.ok("export", "--data", sides.region, "--out", path, *options)
    return path


def test_packets_go_to_the_center_and_a_receipt_comes_back(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    made = titian.ok("export", "--data", sides.region, "--out", tmp_path / "b", "--json").json
    assert (made["version"], made["side"], made["packets"], made["region"]) == (1, "region", 10, REGION)
    assert made["bytes"] == (tmp_path / "b").stat().st_size
    came = titian.ok("import", tmp_path / "b", "--data", sides.center, "--json").json
    assert came["packets"] == {
        "new": 10,
        "already": 0,
        "forks": 0,
        "refused": 0,
        "incomplete": 0,
        "missing": None,
    }
    assert (came["hash"], came["whole"], came["joined"]) == (made["hash"], True, "joined")
    assert came["receipt"]["file"] == str(tmp_path / "b.receipt")
    back = titian.ok("import", tmp_path / "b.receipt", "--data", sides.region, "--json").json
    assert (back["facts"]["settled"], back["hash"]) == (10, came["receipt"]["hash"])
    assert titian.ok("depth", "--data", sides.region, "--json").json["waiting"] == 0


def test_what_a_courier_can_have_signed_is_on_both_printouts(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    out = titian.ok("export", "--data", sides.region, "--out", tmp_path / "b").out
    said = dict(re.findall(r"^(\w[\w ]*?) {2,}(.*)$", out, re.M))
    assert said["region"] == REGION
    assert said["packets"] == "10"
    assert re.fullmatch(r"([0-9a-f]{8} ?){8}", said["hash"])
    there = titian.ok("import", tmp_path / "b", "--data", sides.center).out
    assert said["hash"] in there
    assert said["made"] in there


def test_records_go_to_the_region(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    titian.ok("import", bundle(titian, sides, tmp_path / "b"), "--data", sides.center)
    live(sides)
    made = titian.ok(
        "export", "--data", sides.center, "--region", REGION, "--out", tmp_path / "r", "--json"
    ).json
    assert (made["records"], made["facts"], made["cursors"]["records"]) == (10, 10, [0, 10])
    back = titian.ok("import", tmp_path / "r", "--data", sides.region, "--json").json
    assert (back["records"]["changed"], back["cursors"]["records"]) == (10, 10)
    assert titian.ok("records", "--data", sides.region, "--count").out.strip() == "10"
    news = titian.ok(
        "export",
        "--data",
        sides.center,
        "--region",
        REGION,
        "--since",
        "20:10",
        "--out",
        tmp_path / "n",
        "--json",
    ).json
    assert (news["records"], news["facts"]) == (0, 0)


def test_a_second_import_is_harmless_and_says_so(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    titian.ok("import", path, "--data", sides.center)
    again = titian.ok("import", path, "--data", sides.center)
    assert "0 taken, 10 were there already" in again.out


def test_a_dry_run_writes_neither_packets_nor_a_receipt(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    said = titian.ok("import", path, "--data", sides.center, "--dry-run")
    assert "10 would be taken" in said.out
    assert not (tmp_path / "b.receipt").exists()
    assert titian.ok("depth", "--data", sides.center, "--json").json["received"] == 0


def test_lanes_and_times_choose_packets(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    urgent = write_lines(tmp_path / "u.ndjson", line(50, lane="urgent"))
    titian.ok("enqueue", "--data", sides.region, urgent)
    made = titian.ok(
        "export",
        "--data",
        sides.region,
        "--lane",
        "urgent",
        "--lane",
        "control",
        "--out",
        tmp_path / "u",
        "--json",
    ).json
    assert made["packets"] == 1
    made = titian.ok(
        "export", "--data", sides.region, "--since", "1h", "--out", tmp_path / "s", "--json"
    ).json
    assert made["packets"] == 11
    made = titian.ok(
        "export", "--data", sides.region, "--since", "2099-01-01", "--out", tmp_path / "t", "--json"
    ).json
    assert made["packets"] == 0


def test_all_also_takes_what_has_its_receipt(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    titian.ok("import", bundle(titian, sides, tmp_path / "b"), "--data", sides.center)
    titian.ok("import", tmp_path / "b.receipt", "--data", sides.region)
    none = titian.ok("export", "--data", sides.region, "--out", tmp_path / "n", "--json").json
    every = titian.ok("export", "--data", sides.region, "--all", "--out", tmp_path / "a", "--json").json
    assert (none["packets"], every["packets"]) == (0, 10)


# --- the file -------------------------------------------------------------------------------------


def test_a_part_of_a_file_is_taken_and_said_and_the_export_goes_on_behind_it(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    said = titian("import", path, "--data", sides.center)
    assert said.code == 1
    assert "the file is cut off" in said.err
    assert "10 taken" in said.out
    path.write_bytes(whole[: len(whole) // 2])
    said = titian("import", path, "--data", sides.center, "--json")
    assert (said.code, said.json["whole"], said.json["packets"]["missing"]) == (1, False, 10)
    made = titian.ok("export", "--data", sides.region, "--out", path, "--json").json
    assert 0 < made["resumed_bytes"] <= len(whole) // 2
    assert titian.ok("import", path, "--data", sides.center, "--json").json["packets"]["already"] == 10


def test_a_damaged_file_is_said_with_its_place(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    said = titian("import", path, "--data", sides.center)
    assert said.code == 1
    assert "damaged: entry" in said.err
    assert "Copy the file again" in said.err
    said = titian("export", "--data", sides.region, "--out", path)
    assert said.code == 2
    assert "--force" in said.err
    titian.ok("export", "--data", sides.region, "--out", path, "--force")


def test_no_file_that_is_something_else_is_written_over(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    whole, text = bundle(titian, sides, tmp_path / "b"), tmp_path / "letter.txt"
    text.write_text("Dear Sir or Madam")
    for path, word in ((whole, "whole bundle"), (text, "no bundle"), (tmp_path, "folder")):
        before = path.read_bytes() if path.is_file() else b""
        said = titian("export", "--data", sides.region, "--out", path)
        assert (said.code, word in said.err) == (2, True), said
        assert not path.is_file() or path.read_bytes() == before
    assert titian("export", "--data", sides.region, "--out", tmp_path / "no" / "b").code == 2


def test_a_full_disk_is_said_and_the_next_run_goes_on(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stand_in = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)} | {"write": full})
    with monkeypatch.context() as patch:
        patch.setattr(bundle_file, "os", stand_in)
        said = titian("export", "--data", sides.region, "--out", tmp_path / "b")
    assert said.code == 1
    assert "is full" in said.err
    titian.ok("import", bundle(titian, sides, tmp_path / "b"), "--data", sides.center)


def test_ctrl_c_leaves_a_part_and_says_how_to_go_on(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.region.export.Export.manifest", interrupted)
        said = titian("export", "--data", sides.region, "--out", tmp_path / "b")
    assert said.code == 130
    assert "run the same again" in said.err
    made = titian.ok("export", "--data", sides.region, "--out", tmp_path / "b", "--json").json
    assert made["resumed_bytes"] > 0
    assert made["packets"] == 10


def test_a_receipt_that_cannot_be_written_says_where_to_put_it(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    said = titian("import", path, "--data", sides.center, "--receipt", tmp_path / "no" / "receipt")
    assert said.code == 1
    assert "10 taken" in said.out
    assert "--receipt FILE puts it elsewhere" in said.err
    again = titian.ok("import", path, "--data", sides.center, "--receipt", tmp_path / "receipt")
    assert "10 were there already" in again.out
    titian.ok("import", tmp_path / "receipt", "--data", sides.region)


# --- the wrong one --------------------------------------------------------------------------------


def test_each_side_names_the_other_for_what_is_not_its_own(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    up = bundle(titian, sides, tmp_path / "b")
    said = titian("import", up, "--data", sides.region)
    assert (said.code, "made by region 1806 for the center" in said.err) == (2, True)
    titian.ok("import", up, "--data", sides.center)
    said = titian("import", tmp_path / "b.receipt", "--data", sides.center)
    assert (said.code, "made by the center for region 1806" in said.err) == (2, True)


def test_a_bundle_of_another_region_names_it(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    titian.ok("import", bundle(titian, sides, tmp_path / "b"), "--data", sides.center)
    titian.ok("admit", "1807", "--data", sides.center, "--out", tmp_path / "1807.join")
    titian.ok("init", "region", "--join", tmp_path / "1807.join", "--data", tmp_path / "other")
    said = titian("import", tmp_path / "b.receipt", "--data", tmp_path / "other")
    assert said.code == 2
    assert "is for region 1806, and this folder is that of region 1807" in said.err
    said = titian("export", "--data", tmp_path / "other", "--region", "1806", "--out", tmp_path / "x")
    assert said.code == 2


def test_a_region_that_was_never_admitted_here_is_said(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = make_sides(titian, tmp_path / "elsewhere")
    live(other)
    path = bundle(titian, sides, tmp_path / "b")
    said = titian("import", path, "--data", other.center)
    assert (said.code, "sealed to another center" in said.err) == (2, True)


def test_a_revoked_region_is_said_with_counts(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    titian.ok("import", bundle(titian, sides, tmp_path / "b"), "--data", sides.center)
    path = bundle(titian, sides, tmp_path / "c")
    titian.ok("revoke", REGION, "--data", sides.center)
    said = titian("import", path, "--data", sides.center)
    assert said.code == 1
    assert "10 packets not taken: signed by a key that was revoked" in said.err
    said = titian("import", path, "--data", sides.center, "--json")
    assert {one["code"] for one in said.json["problems"]} >= {"revoked_key"}


def test_what_is_no_bundle_and_what_is_not_there(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello, this is a letter")
    said = titian("import", tmp_path / "x", "--data", sides.center)
    assert (said.code, "is no bundle" in said.err) == (2, True)
    assert titian("import", tmp_path / "nothing", "--data", sides.center).code == 1
    (tmp_path / "empty").write_bytes(b"")
    said = titian("import", tmp_path / "empty", "--data", sides.center)
    assert (said.code, "cut off" in said.err) == (1, True)


def test_options_of_the_other_side_are_refused_in_words(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    out = tmp_path / "x"
    for options, word in (
        ((), "--region CODE"),
        (("--region", REGION, "--lane", "urgent"), "--lane"),
        (("--region", REGION, "--since", "yesterday"), "FACTS:RECORDS"),
        (("--region", "9999"), "not admitted"),
        (("--region", REGION), "has not joined yet"),
    ):
        said = titian("export", "--data", sides.center, "--out", out, *options)
        assert (said.code, word in said.err) == (2, True), said
    said = titian("export", "--data", sides.region, "--out", out, "--since", "yesterday")
    assert (said.code, "2026-11-20" in said.err) == (2, True)
    path = bundle(titian, sides, tmp_path / "b")
    said = titian("import", path, "--data", sides.region, "--receipt", tmp_path / "r")
    assert said.code == 2
    assert not out.exists()


def test_times_are_read_as_people_write_them() -> None:
    now_ms = 1_700_000_000_000
    assert since_ms("90m", now_ms) == now_ms - 90 * 60_000
    assert since_ms("3d", now_ms) == now_ms - 3 * 86_400_000
    assert since_ms("2026-11-20T08:00+07:00", now_ms) == 1_795_136_400_000
    assert since_ms("2026-11-20", now_ms) < since_ms("2026-11-20T08:00", now_ms)


def test_the_file_can_be_read_by_its_owner_only(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = bundle(titian, sides, tmp_path / "b")
    titian.ok("import", path, "--data", sides.center)
    for one in (path, tmp_path / "b.receipt"):
        assert one.stat().st_mode & 0o777 == 0o600
    text = json.dumps(str(path.read_bytes()))
    assert "SITI" not in text
    assert open_folder(sides.region).settings.region == REGION


def test_an_export_ends_with_1_also_where_a_packet_was_found_damaged_before(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    outbox = apsw.Connection(str(sides.region / "outbox.db"))
    outbox.execute("INSERT INTO aside VALUES (3, 5, 'damaged')")
    outbox.close()
    said = titian("export", "--data", sides.region, "--out", tmp_path / "b", "--json")
    assert (said.code, said.json["packets"], said.json["damaged"]) == (1, 9, [])
    assert said.json["left_out"]["damaged"] == 1
