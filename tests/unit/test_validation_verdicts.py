"""What validation says of a packet, and what that changes in the records."""

from __future__ import annotations

import hashlib

import pytest

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_verdicts import look_at
from pipeline.center.matching import Case, EngineFailed, ExactMatcher, Matches
from pipeline.center.rules import BUILT_IN, MAGIC, Verdict, load_rules
from pipeline.center.validation import RETRY_MS_LAST, Validation, decide, retry_ms
from pipeline.errors import StoreError
from schemas.identity import PacketId
from schemas.packet import Attachment, Packet
from schemas.verdicts import SENTENCES, Reason, Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, Rig, face, nik, packet

READY, DUPLICATE = Status.PRINT_READY_RECORD, Status.DUPLICATE_RECORD
ADJUDICATE, FAILURE = Status.ADJUDICATE_RECORD, Status.ENROLL_FAILURE_AT_CENTRAL
SEARCH_FAILED = Status.SEARCH_FAILURE_AT_CENTRAL


def test_a_new_citizen_is_print_ready_and_has_a_record(rig: Rig) -> None:
    assert rig.take(packet(1, [face(b"one")])) == {1: (READY, ())}
    (change,) = rig.records()
    assert (change.version, change.status, change.epoch, change.seq) == (1, READY, EPOCH, 1)
    assert change.head == packet(1, [face(b"one")])[: -len(face(b"one")[2])]


def test_the_same_biometrics_under_another_nik_are_a_duplicate_that_names_both(rig: Rig) -> None:
    said = rig.take(packet(1, [face(b"one")]), packet(2, [face(b"one")]))
    status, (reason,) = said[2]
    assert (said[1][0], status, reason.code) == (READY, DUPLICATE, "same_biometrics_other_nik")
    assert nik(1) in reason.detail
    assert nik(2) in reason.detail
    assert [row.nik for row in rig.ledger.reader.records()] == [nik(1)]


def test_a_duplicate_is_found_across_batches_and_by_any_of_its_biometrics(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one"), ("left_thumb", "image/x-wsq", b"thumb of one")]))
    said = rig.take(packet(2, [face(b"two"), ("right_thumb", "image/x-wsq", b"thumb of one")]), first=2)
    assert said[2][0] is DUPLICATE


def test_a_duplicate_claims_nothing(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one")]), packet(2, [face(b"one"), ("iris", "image/png2", b"iris of two")]))
    said = rig.take(packet(2, [("iris", "image/png2", b"iris of two")]), first=3)
    assert said[3] == (READY, ())


def test_a_nik_with_other_biometrics_goes_to_a_person_and_its_record_stays(rig: Rig) -> None:
    said = rig.take(packet(1, [face(b"one")]), packet(1, [face(b"other")]))
    status, (reason,) = said[2]
    assert (status, reason.code) == (ADJUDICATE, "nik_has_other_biometrics")
    assert "face" in reason.detail
    (record,) = rig.ledger.reader.records(nik=nik(1))
    assert (record.version, record.source.seq) == (1, 1)


def test_what_a_person_decides_on_does_not_pass_the_second_time(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one")]), packet(1, [face(b"other")]))
    assert rig.take(packet(1, [face(b"other")]), first=3)[3][0] is ADJUDICATE
    assert rig.take(packet(2, [face(b"other")]), first=4)[4][0] is DUPLICATE


def test_the_same_citizen_recorded_again_is_print_ready_and_a_new_version(rig: Rig) -> None:
    files = [face(b"one"), ("iris", "image/x-iris", b"iris")]
    said = rig.take(packet(1, files), packet(1, files, alamat="JL. BARU"))
    assert said[2] == (READY, ())
    (change,) = rig.records(after=0)
    assert (change.version, change.seq) == (1, 2)  # both in one transaction: one change
    rig.take(packet(1, [face(b"one"), ("thumb", "image/x-wsq", b"new")]), first=3)
    assert rig.records()[0].version == 2
    assert rig.ledger.reader.counts().records == 1


def test_a_demographic_packet_updates_a_citizen_who_has_biometrics(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one")]))
    assert rig.take(packet(1, alamat="JL. BARU"), first=2)[2] == (READY, ())
    (record,) = rig.ledger.reader.records(nik=nik(1))
    assert (record.version, record.packet.payload["alamat"]) == (2, "JL. BARU")


def test_papers_are_no_biometrics(rig: Rig) -> None:
    paper = ("kk_scan", "application/pdf", b"%PDF-1.7 the same form")
    signature = ("signature", "image/png", b"\x89PNG\r\n\x1a\n blank")
    said = rig.take(packet(1, [paper, signature]), packet(2, [paper, signature]))
    assert [word for word, _ in said.values()] == [READY, READY]


@pytest.mark.parametrize(
    ("media_type", "data", "code"),
    [
        ("image/jpeg", b"", "attachment_empty"),
        ("application/x-unknown", b"", "attachment_empty"),
        ("image/jpeg", b"\x89PNG\r\n\x1a\n", "attachment_not_its_type"),
        ("image/png", JPEG, "attachment_not_its_type"),
        ("image/jp2", JPEG, "attachment_not_its_type"),
        ("application/pdf", b"PDF", "attachment_not_its_type"),
        ("application/vnd.iso19794-4", b"IIR\x00020", "attachment_not_its_type"),
        ("image/x-iso-19794", b"FOO\x00020", "attachment_not_its_type"),
    ],
)
def test_an_attachment_that_is_empty_or_not_its_type_fails(
    rig: Rig, media_type: str, data: bytes, code: str
) -> None:
    status, (reason,) = rig.take(packet(1, [("photo", media_type, data)]))[1]
    assert (status, reason.code) == (FAILURE, code)
    assert "photo" in reason.detail
    assert rig.ledger.reader.record_count() == 0


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        *((kind, begins[-1] + b"rest") for kind, begins in MAGIC.items()),
        ("application/vnd.iso19794-4", b"FIR\x00020\x00"),
        ("application/vnd.iso19794-5", b"FAC\x00030\x00"),
        ("application/x-iso-19794", b"IIR\x00020\x00"),
        ("application/octet-stream", b"anything"),
    ],
)
def test_an_attachment_of_its_type_and_one_of_a_type_unknown_here_pass(
    rig: Rig, media_type: str, data: bytes
) -> None:
    assert rig.take(packet(1, [("photo", media_type, data)]))[1][0] is READY


def test_an_attachment_whose_bytes_are_not_those_of_the_head_fails(rig: Rig) -> None:
    status, (reason,) = rig.take(packet(1, [face(b"one")], digests=[b"\1" * 32]))[1]
    assert (status, reason.code) == (FAILURE, "attachment_digest_differs")


def test_a_nik_of_elsewhere_and_another_birth_date_are_notes(rig: Rig) -> None:
    said = rig.take(
        packet(1, nik=nik(1, "3201")),
        packet(2, tanggal_lahir="1991-01-12"),
        packet(3, tanggal_lahir="12-01-1990"),
    )
    assert said[1] == (READY, (Reason("note_nik_other_region"),))
    assert said[2] == (READY, (Reason("note_birth_date_differs"),))
    assert said[3] == (READY, ())


def test_a_printed_card_changes_the_record_of_its_citizen(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one")]))
    assert rig.take(packet(1, kind="card_printed"), first=2)[2] == (Status.CARD_PRINTED, ())
    (change,) = rig.records()
    assert (change.version, change.status, change.seq) == (2, Status.CARD_PRINTED, 1)


def test_a_card_of_a_citizen_without_a_record_fails(rig: Rig) -> None:
    status, (reason,) = rig.take(packet(1, kind="card_printed"))[1]
    assert (status, reason.code) == (FAILURE, "unknown_citizen")


def test_enrolment_and_card_in_one_batch_are_decided_in_order(rig: Rig) -> None:
    said = rig.take(packet(1), packet(1, kind="card_printed"))
    assert [word for word, _ in said.values()] == [READY, Status.CARD_PRINTED]
    assert rig.records()[0].status is Status.CARD_PRINTED


def test_an_older_packet_gets_its_verdict_and_does_not_replace_newer_contents(rig: Rig) -> None:
    rig.take(packet(1, alamat="NEW"), first=7)
    assert rig.take(packet(1, alamat="OLD"), first=3)[3] == (READY, (Reason("note_older_than_record"),))
    (record,) = rig.ledger.reader.records()
    assert (record.packet.payload["alamat"], record.version) == ("NEW", 1)


def test_a_packet_of_a_later_epoch_is_newer_whatever_its_seq(rig: Rig) -> None:
    rig.take(packet(1, alamat="OLD"), first=90)
    rig.step(rig.batch({1: packet(1, alamat="NEW")}, epoch="zzzzzz"))
    rig.validate()
    (record,) = rig.ledger.reader.records()
    assert (record.source, record.version) == (PacketId(REGION, "zzzzzz", 1), 2)


# --- failures that are tried again --------------------------------------------------------------


class SlowEngine(ExactMatcher):
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error = failures, error

    def search(self, case: Case) -> Matches:
        if self.failures:
            self.failures -= 1
            raise self.error
        return super().search(case)


@pytest.mark.parametrize("error", [EngineFailed("no connection"), RuntimeError("boom")])
def test_an_engine_that_fails_is_asked_again_at_a_stored_time(rig: Rig, error: Exception) -> None:
    rig.validation = Validation(rig.ledger, BUILT_IN, SlowEngine(2, error))
    said = rig.take(packet(1, [face(b"one")]), packet(2))
    assert said[1][0] is SEARCH_FAILED
    assert said[1][1][0].code == "engine_failed"
    assert said[2][0] is READY  # nothing to search for, and nothing that it waits behind
    assert rig.ledger.next_due_ms() == rig.clock.ms + retry_ms(1)
    assert rig.ledger.reader.counts().unverdicted == 1
    rig.clock.ms += retry_ms(1)
    top = rig.ledger.standing(REGION)
    assert rig.validate().counts == {SEARCH_FAILED: 1}
    assert rig.ledger.standing(REGION) == top  # nothing new to say
    rig.clock.ms += retry_ms(2)
    assert rig.validate().counts == {READY: 1}
    assert rig.word(1) == (READY, ())
    assert rig.ledger.next_due_ms() is None


def test_a_rule_that_raises_makes_the_packet_wait(rig: Rig) -> None:
    def broken(_case: Case) -> None:
        raise KeyError("alamat")

    rig.validation = Validation(rig.ledger, BUILT_IN | {"ours": broken})
    status, (reason,) = rig.take(packet(1))[1]
    assert (status, reason.code) == (SEARCH_FAILED, "rule_failed")
    assert "ours" in reason.detail
    rig.validation = Validation(rig.ledger)
    rig.clock.ms += retry_ms(1)
    assert rig.validate().counts == {READY: 1}


def test_a_rule_of_an_office_decides_and_a_note_goes_with_it(rig: Rig) -> None:
    rules = BUILT_IN | {"ours": lambda _: Verdict(FAILURE, (Reason("too_young", "17"),))}
    rig.validation = Validation(rig.ledger, rules)
    said = rig.take(packet(1, nik=nik(1, "3201")))
    assert said[1] == (FAILURE, (Reason("too_young", "17"), Reason("note_nik_other_region")))


def test_a_clock_that_was_wrong_keeps_no_packet_waiting(rig: Rig) -> None:
    rig.clock.ms += 10 * 365 * 86_400_000
    rig.step(rig.batch({1: packet(1)}))
    rig.clock.ms -= 10 * 365 * 86_400_000
    assert rig.validate().counts == {READY: 1}


def test_waits_double_up_to_the_longest() -> None:
    waits = [retry_ms(tries) for tries in range(1, 40)]
    assert waits[:3] == [1_000, 2_000, 4_000]
    assert waits == sorted(waits)
    assert waits[-1] == RETRY_MS_LAST


# --- two validators -----------------------------------------------------------------------------


class Meddled(SqlLedger):
    """Between looking and writing, somebody else does `meddle`, once."""

    meddle: Validation | None = None

    def give_verdicts(self, work, decisions, now_ms):  # type: ignore[no-untyped-def]
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle.step(now_ms)
        return super().give_verdicts(work, decisions, now_ms)


def test_two_validators_cannot_miss_each_others_claims(rig: Rig) -> None:
    ours = Meddled(rig.place)
    slow = Validation(ours)
    rig.step(rig.batch({1: packet(1, [face(b"same")])}))
    rig.clock.ms += 1
    rig.step(rig.batch({2: packet(2, [face(b"same")])}))
    ours.meddle = rig.validation
    slow.step(rig.clock.ms, limit=1)  # decides on packet 1; meanwhile the other decides on both
    ours.close()
    assert sorted(status for status, _ in (rig.word(1), rig.word(2))) == [READY, DUPLICATE]
    assert rig.ledger.reader.counts().by_status == {"PRINT_READY_RECORD": 1, "DUPLICATE_RECORD": 1}


def test_a_claim_that_was_made_meanwhile_makes_the_batch_be_decided_again(rig: Rig) -> None:
    ours = SqlLedger(rig.place)
    rig.other_region("1801", {1: packet(1, [face(b"one")])})  # so no record of ours is in the way
    rig.clock.ms += 1
    rig.step(rig.batch({2: packet(1, [face(b"two")])}))
    work = ours.unverdicted(10, rig.clock.ms)
    late = work._replace(pending=work.pending[1:])
    decisions = decide(late, BUILT_IN, ExactMatcher(), rig.clock.ms)
    assert decisions.decided[0].status is READY  # as it looked then
    rig.validate(limit=1)
    assert not ours.give_verdicts(late, decisions, rig.clock.ms)
    assert rig.word(2)[0] is Status.RECEIVED_AT_CENTRAL
    assert rig.validate().counts == {ADJUDICATE: 1}
    ours.close()


@pytest.mark.parametrize("held_before", [False, True])
def test_a_record_that_changed_meanwhile_is_not_overwritten(rig: Rig, held_before: bool) -> None:
    ours = SqlLedger(rig.place)
    if held_before:
        rig.take(packet(1, alamat="ZERO"), first=1)
    rig.step(rig.batch({12: packet(1, alamat="TWO")}))
    rig.clock.ms += 1
    rig.step(rig.batch({11: packet(1, alamat="ONE")}))
    work = ours.unverdicted(10, rig.clock.ms)
    late = work._replace(pending=work.pending[1:])
    decisions = decide(late, BUILT_IN, ExactMatcher(), rig.clock.ms)
    rig.validate(limit=1)
    assert not ours.give_verdicts(late, decisions, rig.clock.ms)
    rig.validate()
    assert rig.ledger.reader.records()[0].packet.payload["alamat"] == "TWO"
    ours.close()


def test_a_packet_that_was_decided_meanwhile_is_not_decided_twice(rig: Rig) -> None:
    ours = SqlLedger(rig.place)
    rig.step(rig.batch({1: packet(1, kind="card_printed")}))  # neither a claim nor a record is in the way
    work = ours.unverdicted(10, rig.clock.ms)
    decisions = decide(work, BUILT_IN, ExactMatcher(), rig.clock.ms)
    rig.validate()
    standing = rig.ledger.standing(REGION)
    assert not ours.give_verdicts(work, decisions, rig.clock.ms)
    assert rig.ledger.standing(REGION) == standing
    ours.close()


def test_others_that_are_always_faster_are_an_error_and_not_an_endless_loop(rig: Rig) -> None:
    class Never(SqlLedger):
        def give_verdicts(self, work, decisions, now_ms):  # type: ignore[no-untyped-def]
            return False

    ledger = Never(rig.place)
    rig.step(rig.batch({1: packet(1)}))
    with pytest.raises(StoreError):
        Validation(ledger).step(rig.clock.ms)
    ledger.close()


# --- pieces -------------------------------------------------------------------------------------


def test_every_built_in_rule_is_registered_and_every_code_has_sentences() -> None:
    assert list(load_rules())[: len(BUILT_IN)] == list(BUILT_IN)
    for code in ("same_biometrics_other_nik", "nik_has_other_biometrics", "unknown_citizen", "rule_failed"):
        assert code in SENTENCES


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 100])
def test_evidence_is_the_same_in_whatever_pieces_the_bytes_come(piece_bytes: int) -> None:
    files = [b"first file", b"", b"x" * 40, b"", b"last"]
    listed = tuple(
        Attachment(str(i), "a/b", len(data), hashlib.sha256(data).digest()) for i, data in enumerate(files)
    )
    stored = b"HEAD" + b"".join(files)
    parts = [stored[at : at + piece_bytes] for at in range(0, len(stored), piece_bytes)]
    seen = look_at(Packet("enrolment", {}, listed, 0), 4, parts)
    assert [one.begin for one in seen] == [data[:16] for data in files]
    assert all(one.digest_right for one in seen)
    wrong = look_at(Packet("enrolment", {}, listed, 0), 4, [stored[:-1] + b"?"])
    assert [one.digest_right for one in wrong] == [True, True, True, True, False]
