"""What the ledger keeps of announcements: until the packet comes, bounded, and from an older ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.adapters import ledger_announced
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_reader import AnnouncedAmount, LedgerReader
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import ANNOUNCED, SETTING
from pipeline.inspection.depth_center import center_depth
from pipeline.inspection.trace import center_trace
from schemas.announcement import RESTATED_MAX, Announcement, pack_announcements
from schemas.codec import pack_flat
from schemas.frame import Kind
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX, PACKET_BYTES_MAX
from schemas.messages import Announced
from schemas.nik import nik_hash
from schemas.ranges import from_numbers, from_wire
from schemas.verdicts import Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, Places, Rig, nik, packet
from tests.unit.test_intake_frames import goes_on
from workers.cli_depth_text import depth_text
from workers.cli_trace_text import trace_text


def said(number: int, stored: bytes) -> Announcement:
    """What a region says of packet `number`, whose stored bytes are those."""
    digest = hashlib.sha256(stored).digest()
    return Announcement(nik_hash(nik(number))[:8], len(stored), digest, 1_700_000_000_000 + number)


def announce(rig: Rig, packets: dict[int, bytes], **header: Any) -> bytes:
    body = pack_announcements([said(seq, packets[seq]) for seq in sorted(packets)])
    return rig.frame(Kind.ANNOUNCE, body, from_numbers(packets), **({"lane": Lane.BIOMETRIC} | header))


def known(rig: Rig) -> list[int]:
    return [row.id.seq for row in rig.ledger.reader.announced()]


def amount(rig: Rig) -> AnnouncedAmount | None:
    return rig.ledger.reader.announced_amounts().get(REGION)


def acked(rig: Rig, start: int | None = 0) -> Announced:
    return rig.ledger.announced(REGION, EPOCH, start)


PACKETS = {seq: packet(seq) for seq in (1, 2, 4)}


def test_what_is_announced_is_known_by_identity_nik_size_digest_and_time(rig: Rig) -> None:
    rig.clock.ms += 5
    took = rig.took(announce(rig, PACKETS))
    assert (took.received, took.quarantined, took.new_facts) == (0, 0, False)
    rows = {row.id: row for row in rig.ledger.reader.announced()}
    for seq, stored in PACKETS.items():
        row, one = rows[PacketId(REGION, EPOCH, seq)], said(seq, stored)
        assert (row.size, row.digest, row.at_ms) == (one.size, one.digest, one.at_ms)
        assert (row.lane, row.told_ms) == (Lane.BIOMETRIC, rig.clock.ms)
    assert [row.id.seq for row in rig.ledger.reader.announced(nik=nik(2))] == [2]
    assert amount(rig) == AnnouncedAmount(3, sum(map(len, PACKETS.values())), rig.clock.ms)


def test_announcements_change_nothing_else(rig: Rig) -> None:
    rig.step(rig.batch({9: packet(9)}))
    before, facts = rig.ledger.reader.counts(), rig.facts()
    rig.step(announce(rig, PACKETS))
    after = rig.ledger.reader.counts()
    assert (after.received, after.incomplete, after.unverdicted) == (1, before.incomplete, before.unverdicted)
    assert after.quarantined == 0
    assert rig.facts() == facts


def test_the_same_word_again_is_one_announcement(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS), announce(rig, PACKETS))
    first = rig.clock.ms
    rig.clock.ms += 1_000
    rig.step(announce(rig, PACKETS))
    assert known(rig) == [1, 2, 4]
    assert amount(rig) == AnnouncedAmount(3, sum(map(len, PACKETS.values())), first)


def test_a_packet_that_comes_is_no_longer_announced(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS))
    rig.step(rig.batch({2: PACKETS[2]}))
    assert known(rig) == [1, 4]
    assert amount(rig) == AnnouncedAmount(2, len(PACKETS[1]) + len(PACKETS[4]), rig.clock.ms)
    rig.step(rig.batch({1: PACKETS[1], 4: PACKETS[4]}))
    assert (known(rig), amount(rig)) == ([], None)


def test_what_is_there_already_is_not_announced(rig: Rig) -> None:
    rig.step(rig.batch({2: PACKETS[2]}), announce(rig, PACKETS))
    assert known(rig) == [1, 4]
    rig.step(announce(rig, {2: PACKETS[2]}), rig.batch({4: PACKETS[4]}))
    assert known(rig) == [1]


def test_a_large_packet_is_announced_until_its_last_byte_is_there(rig: Rig) -> None:
    stored = packet(1, [("face", "image/jpeg", JPEG + bytes(40_000))])
    rig.step(announce(rig, {1: stored}), rig.chunk(1, stored, 0, 20_000))
    assert known(rig) == [1]
    rig.step(rig.chunk(1, stored, 20_000, len(stored)))
    assert known(rig) == []


def test_a_packet_that_could_not_be_read_stays_announced(rig: Rig) -> None:
    rig.step(announce(rig, {1: PACKETS[1]}), rig.frame(Kind.BATCH, b"\xff no batch", ((1, 2),)))
    assert rig.word(1)[0] is Status.REFUSED
    assert known(rig) == [1]
    rig.step(rig.batch({1: PACKETS[1]}))
    assert known(rig) == []


def test_a_large_one_that_is_no_packet_when_it_is_complete_stays_announced(rig: Rig) -> None:
    stored = b"\xff" * 40_000
    rig.step(announce(rig, {1: stored}))
    rig.step(rig.chunk(1, stored, 0, 20_000), rig.chunk(1, stored, 20_000, 40_000))
    assert rig.word(1)[0] is Status.REFUSED
    assert known(rig) == [1]
    (one,) = center_trace(rig.ledger.reader, PacketId(REGION, EPOCH, 1), rig.clock.ms)["packets"]
    assert one["state"] == "REFUSED"


def test_the_first_word_holds_and_another_is_told_as_a_fork(rig: Rig) -> None:
    rig.step(announce(rig, {1: PACKETS[1]}))
    rig.step(announce(rig, {1: packet(7)}))
    (row,) = rig.ledger.reader.announced()
    assert row.digest == hashlib.sha256(PACKETS[1]).digest()
    assert [one.what for one in rig.ledger.reader.events(row.id)] == ["fork"]


def test_epochs_are_told_apart(rig: Rig) -> None:
    rig.step(announce(rig, {1: PACKETS[1]}), announce(rig, {1: PACKETS[1]}, epoch="k3v9qb"))
    rig.step(rig.batch({1: PACKETS[1]}))
    (row,) = rig.ledger.reader.announced()
    assert row.id.epoch == "k3v9qb"
    assert from_wire(acked(rig).ranges) == ()


# --- what an ack says ----------------------------------------------------------------------------


def test_an_ack_restates_what_is_announced_from_where_it_was_asked(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS))
    assert acked(rig) == Announced(start=0, stop=INTEGER_MAX, ranges=[1, 2, 1, 1])
    assert from_wire(acked(rig, 2).ranges) == ((2, 3), (4, 5))
    assert acked(rig, None) == Announced()


def test_an_ack_that_cannot_restate_all_says_how_far_it_goes(rig: Rig) -> None:
    seqs = list(range(1, 2 * RESTATED_MAX + 20, 2))
    for start in range(0, len(seqs), 100):
        rig.step(announce(rig, dict.fromkeys(seqs[start : start + 100], PACKETS[1])))
    first = acked(rig)
    assert first.stop == seqs[RESTATED_MAX - 1] + 1
    rest = acked(rig, first.stop)
    assert rest.stop == INTEGER_MAX
    assert (*from_wire(first.ranges), *from_wire(rest.ranges)) == from_numbers(seqs)


# --- bounds, and hostile words ----------------------------------------------------------------------


def test_a_region_cannot_announce_without_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_announced, "REGION_PACKETS_MAX", 2)
    rig.step(announce(rig, PACKETS), announce(rig, {7: packet(7)}))
    assert known(rig) == [1, 2]
    assert acked(rig).full
    assert rig.ledger.reader.counts().counters["announced_not_taken"] == 2
    rig.step(rig.batch({1: PACKETS[1]}))
    assert not acked(rig).full
    rig.step(announce(rig, PACKETS))
    assert known(rig) == [2, 4]
    rig.step(rig.batch({2: PACKETS[2]}), announce(rig, {7: packet(7)}))  # in one transaction
    assert known(rig) == [4, 7]


ONE = (b"8 bytes.", 600, bytes(32), 1_700_000_000_000)


@pytest.mark.parametrize(
    ("body", "seqs"),
    [
        (pack_flat(ONE), ((1, 3),)),
        (pack_flat(ONE), ()),
        (pack_flat(ONE[:3]), ((1, 2),)),
        (pack_flat((b"7 bytes", *ONE[1:])), ((1, 2),)),
        (pack_flat((ONE[0], 0, *ONE[2:])), ((1, 2),)),
        (pack_flat((ONE[0], PACKET_BYTES_MAX + 1, *ONE[2:])), ((1, 2),)),
        (pack_flat((ONE[0], 600, bytes(31), ONE[3])), ((1, 2),)),
        (pack_flat((*ONE[:3], 2**60)), ((1, 2),)),
        (pack_flat(ONE * 300), ((1, 301),)),
        (b"\xff", ((1, 2),)),
    ],
)
def test_a_wrong_announcement_is_kept_aside_and_nobody_is_refused(
    rig: Rig, body: bytes, seqs: tuple[tuple[int, int], ...]
) -> None:
    result = rig.step(rig.frame(Kind.ANNOUNCE, body, seqs))
    assert len(rig.aside()) == 1
    assert (result.facts, known(rig)) == (False, [])
    assert goes_on(rig)


def test_a_hash_of_a_nik_may_be_any_number(rig: Rig) -> None:
    for seq, mark in (
        (1, bytes(8)),
        (2, b"\xff" * 8),
        (3, b"\x7f" + b"\xff" * 7),
        (INTEGER_MAX - 1, b"8 bytes."),
    ):
        body = pack_announcements([Announcement(mark, 600, bytes(32), -1)])
        rig.step(rig.frame(Kind.ANNOUNCE, body, ((seq, seq + 1),)))
    assert rig.aside() == []
    assert len(known(rig)) == 4
    assert from_wire(acked(rig).ranges)[-1] == (INTEGER_MAX - 1, INTEGER_MAX)


# --- to look at --------------------------------------------------------------------------------------


def test_depth_says_how_much_is_announced_and_since_when(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS))
    rig.other_region("1801", {1: packet(1)})
    for only, packets in ((None, 3), (REGION, 3), ("1801", 0)):
        found = center_depth(rig.ledger.reader, running=True, now_ms=rig.clock.ms, only=only)
        assert found["announced"] == packets
        assert found["announced_since_ms"] == (rig.clock.ms if packets else None)
        assert found["waiting"] == 0
    both = center_depth(rig.ledger.reader, running=True, now_ms=rig.clock.ms)
    assert {one["region"]: one["announced"] for one in both["regions"]} == {"1801": 0, REGION: 3}


def test_trace_finds_an_announced_packet_by_its_id_and_by_its_nik(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS))
    for query in (PacketId(REGION, EPOCH, 2), nik(2)):
        (one,) = center_trace(rig.ledger.reader, query, rig.clock.ms + 9_000)["packets"]
        assert (one["id"], one["state"]) == (f"{REGION}-{EPOCH}-000002", "ANNOUNCED")
        assert one["size"] == len(PACKETS[2])
        assert one["why"].startswith("announced on 2023-11-14 22:13 UTC")
        assert "not arrived yet" in one["why"]
        assert "last heard 9 s ago" in one["why"]
    rig.step(rig.batch({2: PACKETS[2]}))
    (one,) = center_trace(rig.ledger.reader, nik(2), rig.clock.ms)["packets"]
    assert one["state"] == "RECEIVED_AT_CENTRAL"


# --- a ledger of before there were announcements --------------------------------------------------


@contextmanager
def first_version(places: Places) -> Iterator[Any]:
    """Where a ledger of version 1 is."""
    with places() as place:
        SqlLedger(place).close()
        store = open_store(place)
        with store.write() as connection:
            ANNOUNCED.drop(connection)
            connection.execute(SETTING.update().where(SETTING.c.name == "schema").values(value=1))
        store.close()
        yield place


def test_a_ledger_of_the_first_version_is_brought_over(places: Places) -> None:
    with first_version(places) as place:
        ledger = SqlLedger(place)
        ledger.admit(REGION, b"a token of 16 by", 1)
        assert ledger.announced(REGION, EPOCH, 0) == Announced(stop=INTEGER_MAX)
        assert ledger.reader.announced() == []
        ledger.close()


def test_a_ledger_of_the_first_version_can_be_looked_at_before_it_is_brought_over(places: Places) -> None:
    with first_version(places) as place:
        reader = LedgerReader.open(place)
        assert (reader.announced_amounts(), reader.announced(nik=nik(1))) == ({}, [])


# --- as people read it -------------------------------------------------------------------------------


def test_what_is_announced_is_told_in_words(rig: Rig) -> None:
    rig.step(announce(rig, PACKETS))
    now_ms = rig.clock.ms + 120_000
    depth = depth_text(center_depth(rig.ledger.reader, running=True, now_ms=now_ms))
    assert "announced and not arrived yet: 3 packets" in depth
    assert "the first 2 min" in depth
    shown = "\n".join(trace_text(center_trace(rig.ledger.reader, nik(2), now_ms)))
    assert "ANNOUNCED: its region has said that it exists" in shown
    assert "kind not known yet, lane biometric" in shown
    rig.step(rig.batch(PACKETS))
    assert "announced and" not in depth_text(center_depth(rig.ledger.reader, running=True, now_ms=now_ms))
