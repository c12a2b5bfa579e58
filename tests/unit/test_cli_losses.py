"""`titian losses`: whom to ask again, at both sides; as table, JSON, CSV; asked, remembered, unreachable."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_losses import LedgerLosses, answer
from pipeline.adapters.ledger_tables import ANNOUNCED, ASSEMBLING, EPOCH, REGION
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.inspection.losses import last_count
from schemas.asks import LOSSES, Answer
from schemas.nik import nik_hash
from tests.unit.cli_rig import Sides, Titian, line, make_sides, nik, write_lines
from workers.cli_losses_csv import HEADERS, cell
from workers.looking import ledger_place
from workers.supervisor_state import claim

OLD = "aaaaaa"
RECORDED_MS = 1_700_000_000_000
TRAP = '=HYPERLINK("http://elsewhere","SITI")'


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    """Two sides that hold the records of citizens 1 and 2; of what came before, nothing is lost yet."""
    made = make_sides(titian, tmp_path)
    path = write_lines(tmp_path / "p.ndjson", line(1), line(2, payload={"nik": nik(2), "nama": TRAP}))
    titian.ok("enqueue", "--data", made.region, path)
    made.take_over()
    return made


def lose(sides: Sides, top: int, announced: Sequence[int], partly: Sequence[int] = ()) -> None:
    """An epoch before the current one had got to `top`; of citizen n packet n was announced, or parts of it
    came, and that was all."""
    outbox = OutboxReader(sides.region)
    epoch = outbox.meta().epoch
    outbox.close()
    store = open_store(ledger_place(open_folder(sides.center)))
    base = {"region": "1806", "lane": 3, "digest": bytes(range(32)), "told_ms": 1}
    told = [
        base
        | {"epoch_id": 900, "seq": n, "size": 500_000, "at_ms": RECORDED_MS + n}
        | {"nik_key": int.from_bytes(nik_hash(nik(n))[:8], "big", signed=True)}
        for n in announced
    ]
    parts = [
        {"epoch_id": 900, "seq": n, "size": 500_000, "digest": bytes(32), "lane": 3, "last_ms": 1}
        | {"ranges": json.dumps([0, 65_536]), "failed": 0}
        for n in partly
    ]
    with store.write() as connection:
        row = {"id": 900, "region": "1806", "epoch": OLD, "ord": 0, "highest_seq": top, "last_ms": 5}
        connection.execute(insert(EPOCH), row)
        connection.execute(update(REGION).values(epoch=epoch))
        for table, rows in ((ANNOUNCED, told), (ASSEMBLING, parts)):
            if rows:
                connection.execute(insert(table), rows)
    store.close()


class Center(threading.Thread):
    """Answers the region's question from the ledger, straight into its registry. `old`: it knows none."""

    def __init__(self, sides: Sides, *, old: bool = False) -> None:
        super().__init__(daemon=True)
        self.sides, self.old, self.parts = sides, old, 0
        self.stop = threading.Event()

    def run(self) -> None:
        registry = SqliteRegistry(self.sides.region)
        reader = LedgerLosses.open(ledger_place(open_folder(self.sides.center)))
        while not self.stop.wait(0.01):
            for ask in registry.asks():
                assert ask.what == LOSSES
                payload, to, done = (b"", 0, True) if self.old else answer(reader, "1806", ask.args, ask.at)
                said = Answer("i", 1, ask.id, ask.at, to, done, payload)
                assert registry.apply_answer(said, SystemClock().now_ms())
                self.parts += 1
        reader.close()
        registry.close()


@contextmanager
def running(sides: Sides, *, answers: bool = True, old: bool = False, link: str = "up") -> Iterator[Center]:
    """The region runs, and its center answers or not."""
    center = Center(sides, old=old)
    run = open_folder(sides.region).run
    with claim(run):
        state = {"version": 1, "at_ms": SystemClock().now_ms() + 60_000, "state": link}
        (run / "push.json").write_text(json.dumps(state))
        if answers:
            center.start()
        try:
            yield center
        finally:
            center.stop.set()
            if answers:
                center.join(10.0)


# --- where nothing is lost ----------------------------------------------------------------------------


def test_where_nothing_is_lost_both_sides_say_so(titian: Titian, sides: Sides) -> None:
    assert titian.ok("losses", "--data", sides.center).out.startswith("nothing is lost")
    with running(sides):
        assert titian.ok("losses", "--data", sides.region).out.startswith("nothing is lost")
        found = titian.ok("losses", "--data", sides.region, "--json").json
    assert (found["count"], found["losses"], found["live"]) == (0, [], True)
    shown = titian.ok("losses", "--data", sides.center, "--csv", "-").out
    assert shown == "\ufeff" + ",".join(HEADERS) + "\r\n"


# --- the list -----------------------------------------------------------------------------------------


def check(found: dict[str, Any]) -> None:
    assert (found["version"], found["count"]) == (1, 52 + 1)
    assert found["by_why"] == {"announced": 2, "never announced": 50, "partly": 1}
    first, second, parts, gap = found["losses"]
    assert (first["id"], first["why"], first["size"]) == (f"1806-{OLD}-000001", "announced", 500_000)
    assert (first["citizens"], first["recorded_ms"]) == ([{"nik": nik(1), "nama": "SITI 1"}], RECORDED_MS + 1)
    assert first["digest"] == bytes(range(32)).hex()
    assert first["recorded"].startswith("2023-11-1")
    assert second["citizens"] == [{"nik": nik(2), "nama": TRAP}]
    assert (parts["why"], parts["held_bytes"], parts["citizens"]) == ("partly", 65_536, [])
    assert (gap["seq"], gap["last_seq"], gap["packets"], gap["why"]) == (4, 53, 50, "never announced")


def test_both_sides_list_the_same(titian: Titian, sides: Sides) -> None:
    lose(sides, 53, [1, 2], [3])
    center = titian.ok("losses", "--data", sides.center, "--json").json
    check(center)
    assert center["side"] == "center"
    assert titian.ok("losses", "--data", sides.center, "--json", "--region", "1806").json == center
    with running(sides):
        region = titian.ok("losses", "--data", sides.region, "--json").json
    check(region)
    assert region["losses"] == center["losses"]
    assert (region["side"], region["live"]) == ("region", True)


def test_people_read_a_table_and_sentences(titian: Titian, sides: Sides) -> None:
    lose(sides, 53, [1, 2], [3])
    said = titian.ok("losses", "--data", sides.center).out.splitlines()
    assert said[0].split() == ["packet", "why", "recorded", "size", "NIK", "nama"]
    assert said[1].split()[:2] == [f"1806-{OLD}-000001", "announced"]
    assert nik(1) in said[1]
    assert "SITI 1" in said[1]
    assert "65.5 kB of 500 kB" in said[3]
    assert said[4].startswith(f"1806-{OLD} seq 4 to 53: 50 packets were recorded and never announced")
    assert said[5].startswith("53 packets are lost (2 announced, 50 never announced, 1 partly)")


def test_a_long_list_is_cut_and_says_where_the_rest_is(titian: Titian, sides: Sides) -> None:
    lose(sides, 30, range(1, 31))
    said = titian.ok("losses", "--data", sides.center, "--limit", "3")
    assert len(said.out.splitlines()) == 5
    assert "27 lines more" in said.err
    assert "--csv" in said.err


def test_a_long_answer_comes_in_parts(titian: Titian, sides: Sides) -> None:
    lose(sides, 4_000, range(1, 4_000, 2))
    with running(sides) as center:
        found = titian.ok("losses", "--data", sides.region, "--json").json
        assert center.parts > 3
    assert (found["count"], len(found["losses"])) == (4_000, 4_000)


# --- the office's table -------------------------------------------------------------------------------


def test_the_csv_opens_in_a_spreadsheet_and_runs_nothing(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    lose(sides, 53, [1, 2], [3])
    out = tmp_path / "losses.csv"
    said = titian.ok("losses", "--data", sides.center, "--csv", out)
    assert "4 lines" in said.err
    assert out.stat().st_mode & 0o777 == 0o600
    raw = out.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfpacket,")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [row["packets"] for row in rows] == ["1", "1", "1", "50"]
    assert rows[0]["nik"] == "\t" + nik(1)  # text: as a number it would lose its last digit
    assert rows[1]["nama"] == "'" + TRAP
    assert rows[3]["last_packet"] == f"1806-{OLD}-000053"
    assert titian.ok("losses", "--data", sides.center, "--csv", "-").out == raw.decode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+62", "'+62"),
        ("-SITI", "'-SITI"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "' =1"),
        ("SITI\r\n=1", "SITI  =1"),
        ("SITI", "SITI"),
        ("1806015201900001", "\t1806015201900001"),
        ("12345678901e5", "\t12345678901e5"),
        (1_700_000_000_000, "1700000000000"),
        (-5, "-5"),
        (None, ""),
    ],
)
def test_a_cell_is_what_it_was_and_nothing_that_runs(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_file_that_cannot_be_written_is_a_wrong_call(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    said = titian("losses", "--data", sides.center, "--csv", tmp_path / "none" / "losses.csv")
    assert said.code == 2
    assert "cannot be written" in said.err


# --- a region that cannot ask -------------------------------------------------------------------------


def test_a_region_that_does_not_run_says_what_to_do(titian: Titian, sides: Sides) -> None:
    said = titian("losses", "--data", sides.region)
    assert (said.code, said.out) == (3, "")
    assert "titian up" in said.err
    assert "--offline" in said.err
    assert titian("losses", "--data", sides.region, "--offline").code == 3


def test_what_the_center_said_last_is_shown_with_its_age(titian: Titian, sides: Sides) -> None:
    lose(sides, 2, [1, 2])
    assert last_count(sides.region) is None
    with running(sides):
        found = titian.ok("losses", "--data", sides.region, "--json").json
    assert last_count(sides.region) == (found["count"], found["as_of_ms"]) == (2, found["as_of_ms"])
    said = titian.ok("losses", "--data", sides.region, "--offline", "--json")
    assert (said.json["count"], said.json["live"]) == (2, False)
    assert said.json["age_s"] >= 0
    assert "this is what the center said" in said.err
    with running(sides, answers=False, link="down"):
        said = titian.ok("losses", "--data", sides.region, "--json")
    assert (said.json["count"], said.json["live"]) == (2, False)
    assert "the link is down" in said.err


def test_an_answer_that_does_not_come_in_time_is_not_waited_for(titian: Titian, sides: Sides) -> None:
    with running(sides, answers=False):
        said = titian("losses", "--data", sides.region, "--timeout", "0.2")
        assert (said.code, said.out) == (3, "")
        assert "has not answered in time" in said.err
    with running(sides):  # the question stands
        assert titian.ok("losses", "--data", sides.region).out.startswith("nothing is lost")


def test_a_center_that_knows_no_loss_lists_is_told_from_one_that_lost_nothing(
    titian: Titian, sides: Sides
) -> None:
    with running(sides, old=True):
        said = titian("losses", "--data", sides.region)
    assert said.code == 1
    assert "updated" in said.err


# --- wrong calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "args", "code"),
    [
        ("center", ["--json", "--csv", "-"], 2),
        ("center", ["--offline"], 2),
        ("center", ["--timeout", "1"], 2),
        ("center", ["--region", "1801"], 1),
        ("region", ["--region", "1806"], 2),
    ],
)
def test_a_wrong_call_is_told_apart(
    titian: Titian, sides: Sides, side: str, args: list[str], code: int
) -> None:
    said = titian("losses", "--data", sides.center if side == "center" else sides.region, *args)
    assert (said.code, said.out) == (code, "")
    assert said.err
