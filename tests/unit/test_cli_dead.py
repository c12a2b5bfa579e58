"""`dead list` and `dead show` at the center: what it refused, and what it kept aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.intake import Intake
from pipeline.ports import EntryId
from pipeline.testing.memory_link import MemoryLink
from schemas.bodies import pack_batch
from schemas.frame import Header, Kind, seal_frame
from schemas.lanes import Lane
from schemas.messages import Join
from tests.unit.cli_rig import REGION, Sides, Titian, make_sides
from tests.unit.ledger_rig import EPOCH, HandClock, packet


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    """A center that took packet 1, refused 2 and 3, and kept two frames aside."""
    made = make_sides(titian, tmp_path)
    center, region = open_folder(made.center), open_folder(made.region)
    key, clock, link = region.private_keys()[0], HandClock(), MemoryLink()
    ledger = SqlLedger(center.path / "ledger.db")
    join = Join(token=region.join_file().token, sign=key.public.raw.sign, seal=key.public.raw.seal)
    ledger.bind(REGION, key.public, join, clock.now_ms())
    end = link.region_end(REGION)
    header = Header(
        Kind.BATCH, REGION, EPOCH, key.id, region.center_key().id, Lane.RECORD, ((1, 4),), dictionary=0
    )
    body = pack_batch([packet(1), packet(2, nik="1806"), packet(3, kind="tea")])
    end.send(EntryId(1, 1), seal_frame(header, body, ours=key, theirs=region.center_key(), level=1))
    for n in (2, 3):
        end.send(EntryId(1, n), b"noise")
    intake = Intake(link.center_end(), ledger, clock, center.private_keys())
    while intake.step(REGION).frames:
        clock.ms += 1
    ledger.close()
    return made


def packet_id(seq: int) -> str:
    return f"{REGION}-{EPOCH}-{seq:06d}"


def test_the_center_lists_what_it_refused_beside_what_it_kept_aside(titian: Titian, sides: Sides) -> None:
    listed = titian.ok("dead", "list", "--data", sides.center, "--json").json
    assert (listed["refused"], listed["count"], len(listed["quarantine"])) == (2, 2, 2)
    assert [one["id"] for one in listed["dead"]] == [packet_id(3), packet_id(2)]
    assert [one["reasons"][0]["code"] for one in listed["dead"]] == ["invalid_packet", "invalid_packet"]
    assert {one["lane"] for one in listed["dead"]} == {"record"}
    text = titian.ok("dead", "list", "--data", sides.center).out
    assert packet_id(2) in text
    assert packet_id(1) not in text
    assert "malformed" in text


def test_what_the_center_refused_is_listed_by_region_and_bounded(titian: Titian, sides: Sides) -> None:
    one = titian.ok("dead", "list", "--data", sides.center, "--limit", "1", "--json").json
    assert (one["refused"], [found["id"] for found in one["dead"]]) == (2, [packet_id(3)])
    admitted = titian.ok("admit", "9999", "--data", sides.center, "--out", sides.center / "9999.join")
    assert admitted.code == 0
    none = titian.ok("dead", "list", "--data", sides.center, "--region", "9999", "--json").json
    assert (none["refused"], none["dead"], none["quarantine"]) == (0, [], [])
    said = titian.ok("dead", "list", "--data", sides.center, "--region", "9999")
    assert "no packet is refused" in said.err


def test_every_packet_in_the_centers_list_is_shown_with_its_reason(titian: Titian, sides: Sides) -> None:
    listed = titian.ok("dead", "list", "--data", sides.center, "--json").json
    for one in listed["dead"]:
        shown = titian.ok("dead", "show", one["id"], "--data", sides.center, "--json").json
        assert {key: shown[key] for key in one} == one
        assert [event["what"] for event in shown["history"]][-1] == "refused"
        text = titian.ok("dead", "show", one["id"], "--data", sides.center).out
        assert "Isi paket melanggar" in text
        assert one["what_to_do"] in text
    assert titian("dead", "show", packet_id(1), "--data", sides.center).code == 1
