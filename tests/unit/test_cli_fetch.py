"""`titian records --nik N --fetch`: one record ahead of all else, and what is said when it does not come."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.inspection.records import attachments
from pipeline.ports import Cursors
from schemas.asks import Answer, pack_record, unpack_record_args
from schemas.back import Piece, flat_pieces
from schemas.codec import pack_flat
from schemas.feed import RecordChange
from schemas.messages import Ask
from schemas.packet import pack_head
from tests.unit.cli_rig import JPEG, Sides, Titian, line, make_sides, nik, write_lines
from workers.looking import ledger_place
from workers.supervisor_state import claim

FACE = JPEG + bytes(range(256)) * 1_500


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def lost(titian: Titian, tmp_path: Path) -> Sides:
    """Two sides that packets have crossed; then the region's stores are lost, and made anew."""
    made = make_sides(titian, tmp_path)
    (tmp_path / "face.jpg").write_bytes(FACE)
    face = {"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}
    path = write_lines(tmp_path / "p.ndjson", line(1), line(2, attachments=[face]))
    titian.ok("enqueue", "--data", made.region, path)
    made.take_over()
    join = tmp_path / "again.join"
    titian.ok("admit", "1806", "--data", made.center, "--out", join, "--again")
    titian.ok("init", "region", "--data", tmp_path / "new", "--join", join, "--rebuild")
    return Sides(made.center, tmp_path / "new")


class Center(threading.Thread):
    """Answers the questions of a region from the ledger, straight into its registry."""

    def __init__(self, sides: Sides, *, damage: bool = False) -> None:
        super().__init__(daemon=True)
        self.sides, self.damage = sides, damage
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.stop = threading.Event()

    def run(self) -> None:
        registry = SqliteRegistry(self.sides.region)
        while not self.stop.wait(0.01):
            for ask in registry.asks():
                self._answer(registry, ask)
        registry.close()

    def _answer(self, registry: SqliteRegistry, ask: Ask) -> None:
        of, names = unpack_record_args(ask.args)
        self.asked.append((of, names))
        ledger = LedgerReader.open(ledger_place(open_folder(self.sides.center)))
        rows = ledger.records(nik=of, region="1806", limit=1)
        if not rows:
            registry.apply_answer(Answer("i", 1, ask.id, 0, 1, True, pack_record(None)), 1)
            ledger.close()
            return
        (row,) = rows
        head = pack_head(row.packet).prefix
        change = RecordChange(row.version, row.status, row.source.epoch, row.source.seq, head)
        registry.apply_answer(Answer("i", 1, ask.id, 0, 1, not names, pack_record(change)), 1)
        at = 1
        for listed, parts in attachments(ledger.stored(row.source)):
            data = b"".join(parts)
            if listed.name not in names and names != ("*",):
                continue
            if self.damage:
                data = bytes(len(data))
            for start in range(0, len(data), 100_000):
                piece = Piece(
                    row.source.epoch, row.source.seq, listed.name, listed.media_type, listed.size,
                    listed.digest, start, data[start : start + 100_000],
                )  # fmt: skip
                to = at + len(piece.data)
                done = start + 100_000 >= len(data)
                payload = pack_flat(flat_pieces([piece]))
                registry.apply_answer(Answer("i", 1, ask.id, at, to, done, payload), 1)
                at = to
        ledger.close()


@contextmanager
def running(sides: Sides, *, damage: bool = False) -> Iterator[Center]:
    """The region runs, and its center answers."""
    center = Center(sides, damage=damage)
    with claim(open_folder(sides.region).run):
        center.start()
        try:
            yield center
        finally:
            center.stop.set()
            center.join(10.0)


def cursors(sides: Sides) -> Cursors:
    registry = SqliteRegistry(sides.region)
    found = registry.cursors()
    registry.close()
    return found


def test_a_record_is_fetched_and_shown(titian: Titian, lost: Sides) -> None:
    assert titian("records", "--data", lost.region, "--nik", nik(1)).code == 1
    with running(lost) as center:
        said = titian.ok("records", "--data", lost.region, "--nik", nik(1), "--fetch", "--json")
    (record,) = said.json["records"]
    assert record["payload"]["nama"] == "SITI 1"
    assert center.asked == [(nik(1), ())]
    assert cursors(lost).fresh  # it jumped the queue: nothing else has moved


def test_its_attachments_come_with_it_and_only_once(titian: Titian, lost: Sides, tmp_path: Path) -> None:
    again = ("records", "--data", lost.region, "--nik", nik(2), "--fetch", "--out")
    with running(lost) as center:
        titian.ok(*again, tmp_path / "out")
        titian.ok(*again, tmp_path / "again")
    assert (tmp_path / "out" / "face").read_bytes() == (tmp_path / "again" / "face").read_bytes() == FACE
    assert center.asked == [(nik(2), ("*",)), (nik(2), ())]
    listed = json.loads((tmp_path / "out" / "record.json").read_text())["attachments"]
    assert [one["file"] for one in listed] == ["face"]


def test_without_its_attachments_it_says_how_to_get_them(titian: Titian, lost: Sides, tmp_path: Path) -> None:
    with running(lost):
        titian.ok("records", "--data", lost.region, "--nik", nik(2), "--fetch")
    said = titian.ok("records", "--data", lost.region, "--nik", nik(2), "--out", tmp_path / "out")
    assert "without face" in said.err
    assert "--fetch" in said.err
    listed = json.loads((tmp_path / "out" / "record.json").read_text())["attachments"]
    assert [one["file"] for one in listed] == [None]


def test_what_was_damaged_on_the_way_or_on_the_disk_is_asked_for_again(
    titian: Titian, lost: Sides, tmp_path: Path
) -> None:
    fetch = ("records", "--data", lost.region, "--nik", nik(2), "--fetch", "--out")
    with running(lost, damage=True):
        said = titian.ok(*fetch, tmp_path / "wrong")
    assert "without face" in said.err
    with running(lost):
        titian.ok(*fetch, tmp_path / "right")
        db = apsw.Connection(str(lost.region / "registry.db"))
        db.execute("UPDATE piece SET bytes = zeroblob(length(bytes)) WHERE start = 0")
        db.close()
        titian.ok(*fetch, tmp_path / "mended")
    assert (tmp_path / "right" / "face").read_bytes() == (tmp_path / "mended" / "face").read_bytes() == FACE


def test_a_flipped_bit_in_a_record_is_told_and_mended(titian: Titian, lost: Sides) -> None:
    show = ("records", "--data", lost.region, "--nik", nik(1))
    with running(lost):
        titian.ok(*show, "--fetch")
        db = apsw.Connection(str(lost.region / "registry.db"))
        db.execute("UPDATE record SET head = CAST(x'00000005' || 'x' AS BLOB)")
        db.close()
        said = titian(*show)
        assert said.code == 70
        assert f"titian records --nik {nik(1)} --fetch" in said.err
        titian.ok(*show, "--fetch")
        assert titian.ok(*show).code == 0


def test_what_the_center_has_not_is_a_no(titian: Titian, lost: Sides) -> None:
    with running(lost):
        said = titian("records", "--data", lost.region, "--nik", nik(50), "--fetch")
    assert said.code == 1
    assert "the center has no record" in said.err


def test_a_region_that_is_not_running_is_told_to_start(titian: Titian, lost: Sides) -> None:
    said = titian("records", "--data", lost.region, "--nik", nik(1), "--fetch")
    assert said.code == 3
    assert "titian up" in said.err


def test_an_answer_that_does_not_come_in_time_leaves_the_question_standing(
    titian: Titian, lost: Sides
) -> None:
    with claim(open_folder(lost.region).run):
        said = titian("records", "--data", lost.region, "--nik", nik(1), "--fetch", "--timeout", "0.2")
    assert said.code == 3
    assert "stands" in said.err
    registry = SqliteRegistry(lost.region)
    assert len(registry.asks()) == 1
    registry.close()


@pytest.mark.parametrize("arguments", [("--fetch",), ("--nik", nik(1), "--timeout", "3")], ids=str)
def test_calls_that_make_no_sense_are_refused(
    titian: Titian, lost: Sides, arguments: tuple[str, ...]
) -> None:
    assert titian("records", "--data", lost.region, *arguments).code == 2


def test_a_center_has_nobody_to_fetch_from(titian: Titian, lost: Sides) -> None:
    assert titian("records", "--data", lost.center, "--nik", nik(1), "--fetch").code == 2


def test_a_registry_that_is_there_is_not_made_fresh(tmp_path: Path) -> None:
    create_registry(tmp_path)
    create_registry(tmp_path, fresh=True)
    registry = SqliteRegistry(tmp_path)
    assert not registry.cursors().fresh
    registry.close()
