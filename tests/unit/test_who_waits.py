"""Who waits, why, and how to reach them: a table that a spreadsheet opens, streamed, private."""

from __future__ import annotations

import csv
import io
import json
import shutil
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import open_folder
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.outbox_waiting import waiting_packets
from pipeline.inspection.who_waits import who_waits
from schemas.feed import FactGroup, digests_hash
from schemas.identity import PacketId
from schemas.verdicts import Status
from tests.unit.cli_rig import NOBODY, Titian, line, nik, write_lines
from tests.unit.outbox_rig import SMALL_DISK
from workers.cli import main
from workers.cli_who_waits import HEADERS, write_csv

TRAP = '=HYPERLINK("http://elsewhere","SITI")'


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region with four packets, made once; the last one's citizen left no number."""
    place = tmp_path_factory.mktemp("sides")
    center, region, join = (str(place / name) for name in ("center", "region", "1806.join"))
    lines = [
        line(1, payload={"nik": nik(1), "nama": "SITI", "telepon": "081234567890"}),
        line(2, payload={"nik": nik(2), "nama": TRAP, "telepon": "+62 812-000"}),
        line(3, payload={"nik": nik(3), "nama": "BUDI", "telepon": 7_654_321, "wa": "0811"}),
        line(4),
    ]
    assert main(["init", "center", "--data", center, "--listen", NOBODY]) == 0
    assert main(["admit", "1806", "--data", center, "--out", join]) == 0
    assert main(["init", "region", "--join", join, "--data", region]) == 0
    assert main(["enqueue", "--data", region, str(write_lines(place / "p.ndjson", *lines))]) == 0
    return place / "region"


@pytest.fixture
def region(once: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    shutil.copytree(once, tmp_path / "region")
    return tmp_path / "region"


def tell(region: Path, seq: int, status: Status) -> None:
    """The center's word on one packet."""
    outbox = SqliteOutbox(region, SMALL_DISK)
    reader = OutboxReader(region)
    found = reader.find(PacketId("1806", outbox.epoch, seq))
    reader.close()
    assert found is not None
    group = FactGroup(outbox.epoch, status, (), ((seq, seq + 1),), digests_hash([found.digest]))
    outbox.settle([(1_000 + seq, group)], 1_000 + seq, SystemClock().now_ms())
    outbox.close()


def listed(titian: Titian, region: Path, *more: str) -> list[dict[str, Any]]:
    found = titian.ok("notice", "who-waits", "--data", region, "--json", *more).json
    assert found["count"] == len(found["packets"])
    return list(found["packets"])


def seqs(found: list[dict[str, Any]]) -> list[int]:
    return [int(one["id"].rpartition("-")[2]) for one in found]


def test_everybody_whose_packet_waits_is_listed_oldest_first(titian: Titian, region: Path) -> None:
    found = listed(titian, region)
    assert seqs(found) == [1, 2, 3, 4]
    assert [one["contact"] for one in found] == ["081234567890", "+62 812-000", "7654321", ""]
    assert {one["why"] for one in found} == {"this side does not run"}
    assert {one["state"] for one in found} == {"BIO_CAPTURED"}


def test_who_has_a_word_of_the_center_waits_no_more(titian: Titian, region: Path) -> None:
    tell(region, 1, Status.RECEIVED_AT_CENTRAL)
    tell(region, 2, Status.PRINT_READY_RECORD)
    tell(region, 3, Status.ADJUDICATE_RECORD)
    assert seqs(listed(titian, region)) == [4]
    found = listed(titian, region, "--sent")
    assert seqs(found) == [1, 3, 4]
    assert [one["why"] for one in found[:2]] == [
        "the center has it and has not decided yet",
        "a person at the center decides",
    ]


def test_why_it_waits_says_what_holds_its_lane(region: Path) -> None:
    held = {"lanes": {"record": {"held": "paused by made"}}, "link": {"state": "up"}}
    found = who_waits(region, "1806", "aaaaaa", held, "telepon")
    assert next(found)["why"] == "lane record is held: paused by made"
    free = {"lanes": {"record": {"held": ""}}, "link": {"state": "up"}}
    assert next(who_waits(region, "1806", "aaaaaa", free, "telepon"))["why"] == "it waits for its turn"


def test_the_field_by_which_they_are_reached_is_a_setting(titian: Titian, region: Path) -> None:
    path = region / "titian.toml"
    path.write_text(path.read_text().replace("[notice]", '[notice]\ncontact = "wa"'))
    assert [one["contact"] for one in listed(titian, region)] == ["", "", "0811", ""]


def test_a_spreadsheet_opens_it_and_runs_nothing(titian: Titian, region: Path, tmp_path: Path) -> None:
    path = tmp_path / "waits.csv"
    titian.ok("notice", "who-waits", "--data", region, "--csv", path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert tuple(rows[0]) == HEADERS
    assert rows[0]["nik"] == f"\t{nik(1)}", "a spreadsheet keeps 15 digits of a number"
    assert rows[1]["nama"] == f"'{TRAP}"
    assert rows[1]["contact"] == "'+62 812-000"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_replaces_an_older_list_that_others_could_read(
    titian: Titian, region: Path, tmp_path: Path
) -> None:
    path = tmp_path / "waits.csv"
    path.write_text("old")
    path.chmod(0o644)
    titian.ok("notice", "who-waits", "--data", region, "--csv", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if "waits" in one.name] == ["waits.csv"]


def test_a_place_that_cannot_be_written_is_said(titian: Titian, region: Path, tmp_path: Path) -> None:
    said = titian("notice", "who-waits", "--data", region, "--csv", tmp_path / "none/waits.csv")
    assert said.code == 2
    assert titian("notice", "who-waits", "--data", region, "--csv", "-", "--json").code == 2


def test_a_damaged_packet_says_ask_again(titian: Titian, region: Path) -> None:
    outbox = SqliteOutbox(region, SMALL_DISK)
    outbox.close()
    db = apsw.Connection(str(region / "outbox.db"))
    db.execute("UPDATE body SET stored = zeroblob(length(stored)) WHERE seq = 2")
    db.close()
    found = listed(titian, region)
    assert seqs(found) == [1, 2, 3, 4]
    assert found[1]["nik"] == ""
    assert "ask the citizen again" in found[1]["why"]


def test_what_a_person_gave_up_waits_no_more(titian: Titian, region: Path) -> None:
    tell(region, 1, Status.RECEIVED_AT_CENTRAL)
    outbox = SqliteOutbox(region, SMALL_DISK)
    outbox.close()
    db = apsw.Connection(str(region / "outbox.db"))
    db.execute("UPDATE packet SET pruned_ms = 1 WHERE seq = 2")
    db.close()
    assert seqs(listed(titian, region, "--sent")) == [1, 3, 4]


def test_nobody_waits_is_an_answer(titian: Titian, region: Path) -> None:
    for seq in range(1, 5):
        tell(region, seq, Status.PRINT_READY_RECORD)
    assert titian.ok("notice", "who-waits", "--data", region).out == "nobody waits\n"
    assert listed(titian, region) == []


def test_names_do_what_a_terminal_would_obey_to_nobody(titian: Titian, tmp_path: Path, region: Path) -> None:
    odd = line(9, payload={"nik": nik(9), "nama": "A\x1b[2JB"})
    titian.ok("enqueue", "--data", region, write_lines(tmp_path / "q.ndjson", odd))
    assert "\x1b" not in titian.ok("notice", "who-waits", "--data", region).out


def test_a_table_says_that_there_are_more(titian: Titian, region: Path) -> None:
    said = titian.ok("notice", "who-waits", "--data", region, "--limit", "2")
    assert len(said.out.splitlines()) == 3
    assert "first 2" in said.err


def test_a_long_list_is_written_without_being_held(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for n in range(3_000):
            yield {name: f"{name}-{n:060d}" for name in HEADERS}

    tracemalloc.start()
    try:
        assert write_csv(rows(), str(tmp_path / "waits.csv")) == 3_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_pages_are_read_one_at_a_time(region: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.outbox_waiting._PAGE", 3)
    found = waiting_packets(region, sent=False)
    assert [one.seq for one in found] == [1, 2, 3, 4]
    assert json.dumps(open_folder(region).settings.notice.contact) == '"telepon"'
