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


@pytest.fixture
def region(sides: Sides) -> Sides:
    """The region of those sides: packet 1 waits, 2 is damaged, 3 and 4 (urgent) are refused."""
    outbox = SqliteOutbox(sides.region, SMALL_DISK)
    outbox.take([*(draft(n) for n in (1, 2, 3)), draft(4, lane=Lane.URGENT)], 1)
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 2")
    for n in (1, 2):
        assert outbox.claim(EntryId(1, n), tuple(Lane), 20_000, 20_000, 3_000) is not None
    refused = FactGroup(outbox.epoch, Status.REFUSED, (Reason("unreadable", ""),), ((3, 5),), b"")
    outbox.settle([(1, refused)], 1, 4_000)
    outbox.close()
    return sides


def ids(sides: Sides) -> list[str]:
    """The ids of its packets, by their seqs (there is no 0)."""
    outbox = SqliteOutbox(sides.region, SMALL_DISK)
    found = [f"{REGION}-{outbox.epoch}-{seq:06d}" for seq in range(5)]
    outbox.close()
    return found


def dead_ids(titian: Titian, sides: Sides) -> list[str]:
    listed = titian.ok("dead", "list", "--data", sides.region, "--json").json
    return [one["id"] for one in (*listed["dead"], *listed["aside"])]


def acts_of(titian: Titian, data: Path) -> list[tuple[str, str, str]]:
    found = titian.ok("audit", "--json", "--data", data).json["acts"]
    return [(one["what"], one["target"], one["reason"]) for one in reversed(found)]


def test_a_refused_packet_is_tried_again(titian: Titian, region: Sides) -> None:
    three = ids(region)[3]
    said = titian.ok("dead", "retry", three, "--reason", "center updated", "--data", region.region)
    assert said.out == "1 packet waiting to be sent again\n"
    assert dead_ids(titian, region) == [ids(region)[4], ids(region)[2]]
    assert acts_of(titian, region.region) == [("retry", three, "center updated")]
    shown = titian("dead", "show", three, "--data", region.region)
    assert (shown.code, "is not dead" in shown.err) == (1, True)


def test_all_or_all_of_a_lane_are_tried_again(titian: Titian, region: Sides) -> None:
    lane = titian.ok("dead", "retry", "--lane", "urgent", "--data", region.region, "--json").json
    assert lane == {"version": 1, "done": 1, "failed": []}
    assert titian.ok("dead", "retry", "--all", "--data", region.region, "--json").json["done"] == 1
    nothing = titian("dead", "retry", "--all", "--data", region.region)
    assert (nothing.code, nothing.out) == (1, "nothing is dead\n")
    assert [one[0] for one in acts_of(titian, region.region)] == ["retry", "retry"]


def test_what_cannot_be_tried_again_is_told_one_by_one(titian: Titian, region: Sides) -> None:
    _, waits, damaged, refused, _ = ids(region)
    other = f"{REGION}-zzzzzz-000001"
    said = titian("dead", "retry", waits, damaged, refused, refused, other, "--data", region.region, "--json")
    assert (said.code, said.json["done"]) == (1, 1)
    why = {one["id"]: one["why"] for one in said.json["failed"]}
    assert list(why) == [waits, damaged, other]
    assert "it is not dead, it is" in why[waits]
    assert "record this citizen again" in why[damaged]
    assert "not in this outbox" in why[other]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["retry"], "which?"),
        (["retry", "1806-k3v9qa-000001", "--all"], "not both"),
        (["retry", "tea"], "looks like 1806"),
        (["drop", "1806-k3v9qa-000001"], "say why"),
        (["drop", "1806-k3v9qa-000001", "--reason", "x"], "--yes"),
        (["drop", "1806-k3v9qa-000001", "--reason", "x " * 400, "--yes"], "not in this outbox"),
    ],
)
def test_a_wrong_call_says_how_it_is_right(titian: Titian, region: Sides, args: list[str], said: str) -> None:
    found = titian("dead", *args, "--data", region.region)
    assert found.code == (1 if said.startswith("not in") else 2)
    assert said in found.err
    assert acts_of(titian, region.region) == []


def test_a_drop_puts_the_bytes_away_and_says_so_wherever_it_is_asked(titian: Titian, region: Sides) -> None:
    _, _, damaged, refused, urgent = ids(region)
    args = ("--reason", "recorded again", "--who", "Bu Ketut", "--yes", "--data", region.region)
    said = titian.ok("dead", "drop", refused, damaged, *args)
    assert said.out == f"2 packets dropped; what they held is in {region.region / 'dropped'}\n"
    assert sorted(one.name for one in (region.region / "dropped").iterdir()) == [
        f"{damaged}.packet",
        f"{refused}.packet",
    ]
    assert dead_ids(titian, region) == [urgent]
    depth = titian.ok("depth", "--data", region.region, "--json").json
    assert sum(one["dead"] for one in depth["lanes"].values()) == 1
    shown = titian.ok("dead", "show", refused, "--data", region.region, "--json").json
    assert shown["dropped"]["who"] == "Bu Ketut"
    assert (shown["dropped"]["whole"], shown["state"], shown["refused"]) == (True, "REFUSED", 1)
    text = titian.ok("dead", "show", damaged, "--data", region.region).out
    assert "by Bu Ketut: recorded again" in text
    assert "(damaged: what was there)" in text
    trace = titian.ok("trace", refused, "--data", region.region)
    assert "its citizen must be recorded again" in trace.out
    assert "given up: dropped by Bu Ketut: recorded again" in trace.out
    assert titian.ok("trace", damaged, "--data", region.region, "--json").json["packets"][0]["dropped"]
    again = titian("dead", "retry", refused, "--data", region.region)
    assert (again.code, "it was dropped by Bu Ketut" in again.err) == (1, True)
    audit = titian.ok("audit", "--what", "drop", "--json", "--data", region.region).json["acts"]
    assert audit[1]["detail"]["packets"] == {refused.split("-")[1]: [[2, 3]]}
    assert (audit[0]["of"], audit[0]["detail"]["damaged"]) == (audit[1]["n"], [damaged])


def test_a_drop_asks_at_a_terminal(titian: Titian, region: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ids(region)[3]
    monkeypatch.setattr("workers.render.on_terminal", lambda _: True)
    args = ("dead", "drop", refused, "--reason", "recorded again", "--data", region.region)
    no = titian(*args, stdin=b"n\n")
    assert (no.code, refused in dead_ids(titian, region)) == (1, True)
    assert "must be recorded again" in no.err
    assert acts_of(titian, region.region) == []
    every = titian("dead", "drop", "--all", "--reason", "x", "--data", region.region, stdin=b"n\n")
    assert "These 3 dead packets will be given up for good" in every.err
    titian.ok(*args, stdin=b"y\n")
    assert refused not in dead_ids(titian, region)


def test_a_frame_that_cannot_be_read_stays_aside_and_can_be_dropped(titian: Titian, sides: Sides) -> None:
    said = titian("dead", "retry", "--all", "--data", sides.center, "--json")
    assert (said.code, said.json["done"]) == (1, 0)
    assert ["it still cannot be taken" in one["why"] for one in said.json["failed"]] == [True, True]
    assert titian.ok("dead", "list", "--data", sides.center, "--json").json["count"] == 2
    packet = titian("dead", "retry", packet_id(2), "--data", sides.center)
    assert (packet.code, "its region does it" in packet.err) == (1, True)
    titian.ok("dead", "drop", "1", "--reason", "noise", "--yes", "--data", sides.center)
    assert (sides.center / "dropped" / "frame-1.frame").read_bytes() == b"noise"
    assert titian.ok("dead", "list", "--data", sides.center, "--json").json["count"] == 1
    assert titian("dead", "drop", "1", "--reason", "x", "--yes", "--data", sides.center).code == 1
    assert [one[:2] for one in acts_of(titian, sides.center)] == [
        ("retry", "2 frames"),
        ("retry", "2 frames"),
        ("drop", "frame 1"),
    ]


def test_a_hostile_reason_is_shown_harmless(titian: Titian, region: Sides) -> None:
    args = ("--reason", "\x1b[2Jgone", "--yes", "--data", region.region)
    titian.ok("dead", "drop", ids(region)[3], *args)
    for command in (("dead", "show", ids(region)[3]), ("trace", ids(region)[3]), ("audit",)):
        assert "\x1b" not in titian.ok(*command, "--data", region.region).out


def test_what_only_a_newer_center_knows_is_told_to_be_tried_again(titian: Titian, sides: Sides) -> None:
    """Packet 3 is of a kind that this center does not know; packet 2 breaks a rule."""
    todo = {n: titian.ok("dead", "show", packet_id(n), "--data", sides.center, "--json").json for n in (2, 3)}
    assert "`titian dead retry`" in todo[3]["what_to_do"]
    assert "as a new packet" in todo[2]["what_to_do"]
    assert "retry" not in todo[2]["what_to_do"]


def test_the_log_is_checked(titian: Titian, region: Sides) -> None:
    assert titian.ok("audit", "--data", region.region).err == "nobody has done anything here yet\n"
    titian.ok("dead", "retry", "--all", "--data", region.region)
    titian.ok("pause", "--data", region.region)
    whole = titian.ok("audit", "--check", "--data", region.region)
    assert "2 acts, each follows from the one before" in whole.out
    log = region.region / "audit.ndjson"
    log.write_text(log.read_text().replace("retry", "pause"))
    broken = titian("audit", "--check", "--data", region.region)
    assert (broken.code, "line 2" in broken.err) == (1, True)
    assert titian("audit", "--check", "--json", "--data", region.region).json["wrong"]
    with log.open("ab") as file:
        file.write(b'{"torn')
    assert titian("audit", "--check", "--data", region.region).code == 1
