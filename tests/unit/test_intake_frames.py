"""What comes out of a region's stream: taken in, refused or kept aside, and nothing stops what is behind."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgpack
import pytest

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.intake import BITE_PACKETS, Intake
from pipeline.center.outcomes import (
    AlreadyBound,
    BadItem,
    Bound,
    Item,
    Joining,
    TokenUsed,
    TokenWrong,
    TookIn,
)
from pipeline.errors import DiskFull, StoreError
from pipeline.ports import Arrival
from schemas.bodies import pack_batch
from schemas.codec import pack_flat, unpack_flat
from schemas.compression import compress
from schemas.frame import Kind
from schemas.identity import PacketId
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Join, pack_message
from schemas.verdicts import Status
from tests.unit.ledger_rig import CENTER_KEY, EPOCH, REGION, REGION_KEY, TOKEN, Rig, packet


def goes_on(rig: Rig) -> bool:
    """A good packet behind whatever was bad still arrives."""
    rig.step(rig.batch({9_000: packet(9)}))
    return rig.word(9_000)[0] is Status.RECEIVED_AT_CENTRAL and rig.link.region(REGION).up.bytes == 0


def test_a_batch_is_received_packet_by_packet_and_leaves_the_stream(rig: Rig) -> None:
    result = rig.step(rig.batch({1: packet(1), 2: packet(2), 5: packet(5)}))
    assert (result.packets, result.facts, result.to_validate) == (3, True, True)
    (group,) = rig.facts()
    assert (group.status, group.seqs) == (Status.RECEIVED_AT_CENTRAL, ((1, 3), (5, 6)))
    assert rig.link.region(REGION).up.bytes == 0


def test_the_same_batch_again_changes_only_the_numbers_of_its_facts(rig: Rig) -> None:
    frame = rig.batch({1: packet(1), 2: packet(2)})
    rig.step(frame)
    before, facts = rig.ledger.reader.counts(), rig.facts()
    again = rig.took(frame)
    after = rig.ledger.reader.counts()
    assert (again.received, again.duplicates) == (0, 2)
    assert (after.by_status, after.records) == (before.by_status, before.records)
    assert rig.facts(after=2) == facts  # the receipts come again, above the old position
    assert after.counters["duplicates"] == 2


def test_a_packet_twice_in_one_transaction_is_one_packet(rig: Rig) -> None:
    frame = rig.batch({1: packet(1)})
    took = rig.took(frame, frame)
    assert (took.received, took.duplicates) == (1, 1)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.facts_no == 1


def test_an_identity_with_other_contents_is_a_fork_and_never_merged(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    (before,) = rig.facts()
    took = rig.took(rig.batch({1: packet(2), 2: packet(3)}))
    assert (took.forks, took.received) == (1, 1)
    head = rig.ledger.reader.head(PacketId(REGION, EPOCH, 1))
    assert head is not None
    assert head.payload["nama"] == "SITI 1"
    assert "fork" in [event.what for event in rig.ledger.reader.events(PacketId(REGION, EPOCH, 1))]
    group = rig.facts(after=1)[0]  # it is said again, and its hash is that of the first
    assert group.seqs == ((1, 3),)
    assert group.hash != before.hash


def test_in_a_batch_only_the_packet_that_cannot_be_read_is_refused(rig: Rig) -> None:
    broken = struct.pack(">I", 3) + b"\x93\x01\x02"
    took = rig.took(rig.batch({1: packet(1), 2: broken, 3: packet(3)}))
    assert (took.received, took.refused) == (2, 1)
    status, reasons = rig.word(2)
    assert (status, reasons[0].code) == (Status.REFUSED, "invalid_packet")
    refused = next(group for group in rig.facts() if group.status is Status.REFUSED)
    assert (refused.seqs, refused.hash) == (((2, 3),), b"")


def test_a_refused_packet_that_comes_right_is_received(rig: Rig) -> None:
    rig.step(rig.batch({1: b"\0\0\0\1\x01"}))
    assert rig.word(1)[0] is Status.REFUSED
    rig.step(rig.batch({1: packet(1)}))
    assert rig.word(1) == (Status.RECEIVED_AT_CENTRAL, ())
    counts = rig.ledger.reader.counts()
    assert (counts.received, counts.refused) == (1, 0)
    assert rig.ledger.reader.refused() == []


def test_a_refusal_takes_nothing_away_from_what_is_held(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    rig.step(rig.batch({1: b"\0\0\0\1\x01"}))
    assert rig.word(1)[0] is Status.RECEIVED_AT_CENTRAL
    assert rig.facts(after=1)[0].status is Status.RECEIVED_AT_CENTRAL


@pytest.mark.parametrize(
    "change",
    [
        {"kind_": "marriage"},
        {"version": 99},
        {"nik": "180601520190001"},
        {"attachments": 7},
        {"at_ms": 2**60},
    ],
    ids=["unknown kind", "unknown schema version", "NIK of 15 digits", "no attachments", "no time"],
)
def test_a_packet_that_breaks_its_schema_is_refused_with_the_reason(
    rig: Rig, change: dict[str, object]
) -> None:
    payload = {"nik": change.get("nik", "1806015201900001"), "nama": "SITI"}
    values = [change.get("version", 1), change.get("at_ms", 1), change.get("kind_", "enrolment"), payload]
    head = msgpack.packb([*values, change.get("attachments", [])])
    rig.step(rig.batch({1: struct.pack(">I", len(head)) + head}))
    status, (reason,) = rig.word(1)
    assert (status, reason.code) == (Status.REFUSED, "invalid_packet")
    assert reason.detail
    assert goes_on(rig)


@pytest.mark.parametrize("change", [packet(1) + b"more", packet(1, [("a", "a/b", b"12345")])[:-1]])
def test_a_packet_longer_or_shorter_than_its_head_says_is_refused(rig: Rig, change: bytes) -> None:
    rig.step(rig.batch({1: change}))
    assert rig.word(1)[0] is Status.REFUSED


def test_deeply_nested_msgpack_is_refused(rig: Rig) -> None:
    head = b"\x95" + b"\x91" * 60_000
    rig.step(rig.batch({1: struct.pack(">I", len(head)) + head}))
    assert rig.word(1)[0] is Status.REFUSED
    assert goes_on(rig)


def test_a_batch_that_names_more_packets_than_it_holds_is_refused_by_identity(rig: Rig) -> None:
    rig.step(rig.frame(Kind.BATCH, pack_batch([packet(1)]), ((1, 4),)))
    assert [rig.word(seq)[0] for seq in (1, 2, 3)] == [Status.REFUSED] * 3
    assert goes_on(rig)


def test_a_zstd_bomb_under_a_good_signature_is_refused_and_never_unpacked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = compress(b"\0" * 50_000_000, codec=1, dictionary=0)
    monkeypatch.setattr("schemas.frame.compress", lambda *_args, **_options: bomb)
    frame = rig.frame(Kind.BATCH, b"", ((1, 2),))
    monkeypatch.undo()
    rig.step(frame)
    status, (reason,) = rig.word(1)
    assert (status, reason.code) == (Status.REFUSED, "unreadable")
    assert "bomb" in reason.detail
    assert goes_on(rig)


def test_a_frame_sealed_to_a_key_that_is_not_ours_is_refused(rig: Rig) -> None:
    frame = rig.batch({1: packet(1)})
    rig.intake = Intake(rig.center, rig.ledger, rig.clock, [PrivateKey.generate()])
    rig.step(frame)
    assert rig.word(1)[0] is Status.REFUSED


def _flip(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]


def test_every_flipped_bit_and_every_cut_of_a_frame_is_kept_aside_or_does_no_harm(rig: Rig) -> None:
    frame = rig.batch({1: packet(1)})
    damaged = [_flip(frame, at) for at in range(0, len(frame), 7)]
    damaged += [frame[:cut] for cut in range(0, len(frame), 11)]
    for start in range(0, len(damaged), 60):
        rig.step(*damaged[start : start + 60])
    assert len(rig.aside()) == len(damaged)
    assert rig.ledger.reader.packet(PacketId(REGION, EPOCH, 1)) is None
    assert goes_on(rig)


def test_a_frame_of_another_region_is_kept_aside(rig: Rig) -> None:
    other = PrivateKey.generate("1801")
    join = Join(token=TOKEN, sign=other.public.raw.sign, seal=other.public.raw.seal)
    rig.ledger.admit("1801", TOKEN, 1)
    rig.ledger.bind("1801", other.public, join, 1)
    rig.step(rig.batch({1: packet(1)}, region="1801", ours=other))
    rig.step(rig.batch({1: packet(1)}, ours=other))  # it says that it is ours, under its own key
    assert rig.aside() == ["foreign_region", "unknown_key"]
    assert goes_on(rig)


def test_an_unsigned_frame_and_one_under_an_unknown_key_are_kept_aside(rig: Rig) -> None:
    header, sealed, _ = unpack_flat(rig.batch({1: packet(1)}), items_max=3)
    rig.step(pack_flat((header, sealed, b"\0" * 64)))
    rig.step(pack_flat((header, sealed)))
    rig.step(rig.batch({1: packet(1)}, ours=PrivateKey.generate(REGION)))
    assert rig.aside() == ["bad_signature", "malformed", "unknown_key"]
    assert goes_on(rig)


def test_a_frame_replayed_after_its_verdict_only_repeats_the_word(rig: Rig) -> None:
    frame = rig.batch({1: packet(1)})
    rig.step(frame)
    rig.validate()
    rig.step(frame)
    assert rig.word(1)[0] is Status.PRINT_READY_RECORD
    assert rig.facts(after=2)[0].status is Status.PRINT_READY_RECORD
    assert rig.validate().packets == 0


def test_a_frame_of_a_newer_wire_or_of_the_centers_own_kind_is_kept_aside(rig: Rig) -> None:
    header, sealed, signature = unpack_flat(rig.batch({1: packet(1)}), items_max=3)
    assert isinstance(header, bytes)
    rig.step(pack_flat((header[:1] + b"\x02" + header[2:], sealed, signature)))
    rig.step(rig.frame(Kind.FACTS, b"\x90"))
    assert rig.aside() == ["newer_version", "wrong_kind"]


def test_a_frame_that_was_read_before_is_taken_alone(rig: Rig) -> None:
    rig.put(rig.batch({1: packet(1)}), rig.batch({2: packet(2)}))
    rig.center.read(REGION, "up", 1)  # a reader that did not come to its end
    result = rig.intake.step(REGION)
    assert [one.received for one in result.took] == [1, 1]


def test_a_frame_that_killed_its_reader_three_times_is_kept_aside_unread(rig: Rig) -> None:
    rig.put(rig.batch({1: packet(1)}), rig.batch({2: packet(2)}))
    for _ in range(3):
        rig.center.read(REGION, "up", 1)
    rig.intake.step(REGION)
    assert rig.aside() == ["killer"]
    assert rig.ledger.reader.packet(PacketId(REGION, EPOCH, 1)) is None
    assert rig.word(2)[0] is Status.RECEIVED_AT_CENTRAL


class FailingLedger(SqlLedger):
    """Cannot write while `full`; refuses values of a packet numbered `poison`."""

    full = False
    poison = 0

    def probe(self) -> None:
        if self.full:
            raise DiskFull("no room")
        super().probe()

    def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
        if self.full:
            raise DiskFull("no room")
        for item in items:
            seqs = [one.seq for one in getattr(item.outcome, "read", ())]
            if self.poison in seqs:
                raise BadItem("these values")
        return super().take_in(region, items, last_session, now_ms)


def _failing(rig: Rig) -> FailingLedger:
    ledger = FailingLedger(rig.place)
    rig.intake = Intake(rig.center, ledger, rig.clock, [CENTER_KEY])
    return ledger


def test_a_ledger_that_cannot_write_for_long_makes_no_frame_a_killer(rig: Rig) -> None:
    ledger = _failing(rig)
    rig.put(rig.batch({1: packet(1)}))
    rig.intake._sound = True
    ledger.full = True
    for _ in range(10):
        with pytest.raises(StoreError):
            rig.intake.step(REGION)
    (arrival,) = rig.center.read(REGION, "up", 1)
    assert arrival.attempts == 1  # read once, and then only when writing works
    ledger.full = False
    rig.intake.step(REGION)
    assert rig.word(1)[0] is Status.RECEIVED_AT_CENTRAL
    ledger.close()


def test_what_the_store_refuses_is_kept_aside_alone(rig: Rig) -> None:
    ledger = _failing(rig)
    ledger.poison = 2
    rig.step(*(rig.batch({seq: packet(seq)}) for seq in (1, 2, 3)))
    assert rig.aside() == ["defect"]
    assert [rig.word(seq)[0] for seq in (1, 3)] == [Status.RECEIVED_AT_CENTRAL] * 2
    ledger.close()


def test_many_packets_go_in_bounded_transactions(rig: Rig) -> None:
    frames = [rig.batch({seq + i: packet(seq + i) for i in range(250)}) for seq in range(1, 1_001, 250)]
    result = rig.step(*frames)
    assert result.packets == 1_000
    assert all(one.received <= BITE_PACKETS for one in result.took)
    assert len(result.took) == 2


# --- joining ------------------------------------------------------------------------------------


class WatchedLedger(SqlLedger):
    """Notes in which order frames are opened (their signer is asked for) and taken in."""

    done: list[str]

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        self.done.append("opened")
        return super().signer_of(key_id)

    def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
        self.done.append("stored")
        return super().take_in(region, items, last_session, now_ms)


def test_a_frame_is_opened_only_when_those_of_the_bites_before_it_are_stored(rig: Rig) -> None:
    """A compressed frame is small and its packets are not: 64 of them opened at once held 50 MB."""
    ledger = WatchedLedger(rig.place)
    ledger.done = []
    rig.intake = Intake(rig.center, ledger, rig.clock, [CENTER_KEY])
    each = BITE_PACKETS // 2 + 1
    rig.step(*(rig.batch({first + n: packet(n + 1) for n in range(each)}) for first in (1, 1_001, 2_001)))
    assert ledger.done == ["opened", "opened", "stored", "opened", "stored", "stored"]
    ledger.close()


def _joined(rig: Rig, key: PrivateKey, token: bytes) -> Joining:
    body = pack_message(Join(token=token, sign=key.public.raw.sign, seal=key.public.raw.seal))
    rig.region.send_control(rig.frame(Kind.JOIN, body, ours=key))
    result = rig.intake.step(REGION)
    assert [one.code for one in result.rejected] == [
        one.code for one in result.joined if not isinstance(one, Bound | AlreadyBound)
    ]
    (answer,) = result.joined
    return answer


def test_a_token_binds_to_the_first_key_which_may_repeat_it(rig: Rig) -> None:
    assert isinstance(_joined(rig, REGION_KEY, TOKEN), AlreadyBound)
    assert isinstance(_joined(rig, PrivateKey.generate(REGION), TOKEN), TokenUsed)
    assert isinstance(_joined(rig, PrivateKey.generate(REGION), b"some other token"), TokenWrong)
    assert goes_on(rig)


def test_a_new_machine_that_is_admitted_again_retires_the_old_key_which_still_verifies(rig: Rig) -> None:
    new = PrivateKey.generate(REGION)
    rig.ledger.admit(REGION, b"another token 16", 2)
    answer = _joined(rig, new, b"another token 16")
    assert isinstance(answer, Bound)
    assert answer.retired == (REGION_KEY.id,)
    rig.step(rig.batch({1: packet(1)}))  # a frame of before
    assert rig.word(1)[0] is Status.RECEIVED_AT_CENTRAL
    rig.region.send_control(rig.want())
    result = rig.intake.step(REGION)
    assert [one.code for one in result.rejected] == ["key_retired"]
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.key is not None
    assert (standing.key.id, standing.want) == (new.id, None)


def test_a_join_under_a_key_that_did_not_sign_it_is_kept_aside(rig: Rig) -> None:
    victim = PrivateKey.generate(REGION)
    body = pack_message(Join(token=TOKEN, sign=victim.public.raw.sign, seal=victim.public.raw.seal))
    rig.region.send_control(rig.frame(Kind.JOIN, body))
    rig.intake.step(REGION)
    assert rig.aside() == ["unknown_key"]


def test_a_revoked_region_is_not_heard(rig: Rig) -> None:
    rig.ledger.revoke(REGION, 5)
    rig.step(rig.batch({1: packet(1)}))
    assert rig.aside() == ["unknown_key"]
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.refusal == "revoked"


def test_a_want_and_packets_of_one_step_are_taken_together(rig: Rig) -> None:
    rig.region.send_control(rig.want(highest_seq=7))
    result = rig.step(rig.batch({1: packet(1)}))
    assert (result.wants, result.facts, len(result.took)) == (True, True, 1)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.want is not None
    assert (standing.session, standing.want.highest_seq, standing.facts_no) == (2, 7, 1)


def test_quarantine_is_bounded_and_the_oldest_go_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.ledger_books.QUARANTINE_FRAMES_MAX", 5)
    for number in range(9):
        rig.step(b"rubbish %d" % number)
    kept = rig.ledger.reader.quarantine(REGION)
    assert len(kept) == 5
    assert kept[-1].id == 5
    assert rig.ledger.reader.counts().counters["quarantine_dropped"] == 4


def test_an_arrival_says_how_often_it_was_read_before(rig: Rig) -> None:
    rig.put(b"x")
    assert rig.center.read(REGION, "up", 1) == [Arrival("1-1", b"x", 0)]
