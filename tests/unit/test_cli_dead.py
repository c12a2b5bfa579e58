"""`dead list` and `dead show`: what was refused, what was kept aside, and what is damaged at a region."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.center.intake import Intake
from pipeline.ports import EntryId
from pipeline.testing.memory_link import MemoryLink
from schemas.bodies import pack_batch
from schemas.feed import FactGroup
from schemas.frame import Header, Kind, seal_frame
from schemas.lanes import Lane
from schemas.messages import Join
from schemas.verdicts import Reason, Status
from tests.unit.cli_rig import REGION, Sides, Titian, make_sides
from tests.unit.ledger_rig import EPOCH, HandClock, packet
from tests.unit.outbox_rig import SMALL_DISK, draft


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


def test_a_region_lists_damaged_packets_beside_refused_ones(titian: Titian, sides: Sides) -> None:
    outbox = SqliteOutbox(sides.region, SMALL_DISK)
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 2")
    assert outbox.claim(EntryId(1, 1), tuple(Lane), 20_000, 20_000, 3_000) is not None
    refused = FactGroup(outbox.epoch, Status.REFUSED, (Reason("unreadable", ""),), ((3, 4),), b"")
    outbox.settle([(1, refused)], 1, 4_000)
    ids = [f"{REGION}-{outbox.epoch}-{seq:06d}" for seq in (1, 2, 3)]
    outbox.close()
    listed = titian.ok("dead", "list", "--data", sides.region, "--json").json
    assert (listed["count"], [one["id"] for one in listed["dead"]]) == (1, [ids[2]])
    assert (listed["aside_count"], [one["id"] for one in listed["aside"]]) == (1, [ids[1]])
    (aside,) = listed["aside"]
    assert (aside["found_ms"], aside["reasons"]) == (3_000, [])
    assert "do not match its digest" in aside["why"]
    assert "record this citizen again" in aside["what_to_do"]
    text = titian.ok("dead", "list", "--data", sides.region).out
    assert "cannot be sent" in text
    assert ids[1] in text
    assert ids[2] in text
    assert ids[0] not in text
    shown = titian.ok("dead", "show", ids[1], "--data", sides.region, "--json").json
    assert {key: shown[key] for key in aside} == aside
    assert [one["what"] for one in shown["history"]] == ["enqueued", "aside"]
    assert titian("dead", "show", ids[0], "--data", sides.region).code == 1
    urgent = titian.ok("dead", "list", "--data", sides.region, "--lane", "urgent", "--json").json
    assert (urgent["count"], urgent["aside_count"], urgent["aside"]) == (0, 0, [])
