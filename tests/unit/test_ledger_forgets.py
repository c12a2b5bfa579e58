"""A packet's history goes long after its final verdict, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery

from pipeline.adapters import ledger_forget
from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_forget import DAY_MS
from pipeline.settings import parse_settings
from schemas.identity import PacketId
from schemas.verdicts import Status
from tests.unit.ledger_rig import EPOCH, REGION, Rig, face, packet
from workers.center import FORGET_S, CenterSide
from workers.making import make_center
from workers.wiring import CenterParts

DAYS = 90


def history(rig: Rig, seq: int) -> list[str]:
    return [event.what for event in rig.ledger.reader.events(PacketId(REGION, EPOCH, seq))]


def forget(rig: Rig, days_later: int) -> int:
    """How many events go when it is asked so many days after the start."""
    return rig.ledger.forget_events(DAYS, rig.clock.ms + days_later * DAY_MS)


def test_the_history_of_a_packet_goes_when_its_final_verdict_is_old(rig: Rig) -> None:
    rig.take(packet(1), packet(2, [face(b"")], digests=[b"x" * 32]))
    assert history(rig, 2) == ["received", "ENROLL_FAILURE_AT_CENTRAL"]
    assert forget(rig, DAYS) == 0
    assert forget(rig, DAYS + 1) == 2
    assert (history(rig, 1), history(rig, 2)) == ([], [])
    assert rig.word(1)[0] is Status.PRINT_READY_RECORD


def test_the_days_count_from_the_verdict_and_not_from_the_arrival(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    assert forget(rig, DAYS + 1) == 0  # none yet
    rig.clock.ms += 50 * DAY_MS
    rig.validate()
    assert forget(rig, DAYS - 10) == 0
    assert forget(rig, DAYS + 1) == 1


def test_one_packet_that_waits_for_a_person_keeps_the_history_of_its_batch(rig: Rig) -> None:
    rig.take(packet(1, [face(b"one")]))
    said = rig.take(packet(2), packet(1, [face(b"two")]), packet(3), first=2)
    assert said[3][0] is Status.ADJUDICATE_RECORD
    assert forget(rig, 10 * DAYS) == 1
    assert (history(rig, 1), history(rig, 2)) == ([], ["received"])
    assert history(rig, 3) == ["received", "ADJUDICATE_RECORD"]


def test_a_refused_packet_and_one_that_is_not_complete_keep_their_history(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1, kind="tea")}))
    stored = packet(2, [face(b"x" * 9_000)])
    wrong = b"w" * 32
    rig.step(rig.chunk(2, stored, 0, 5_000, digest=wrong), rig.chunk(2, stored, 5_000, 9_500, digest=wrong))
    assert (history(rig, 1), history(rig, 2)) == (["refused"], ["restated"])
    assert forget(rig, 10 * DAYS) == 0


def test_an_event_of_yesterday_about_an_old_packet_stays(rig: Rig) -> None:
    rig.take(packet(1))
    rig.clock.ms += 10 * DAYS * DAY_MS
    rig.step(rig.batch({1: packet(1)}))
    assert forget(rig, 1) == 1
    assert history(rig, 1) == ["received_again"]


def test_a_call_looks_at_a_bounded_number_and_the_next_one_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.take(packet(1, kind="tea"))  # stays, and must not stand in the way
    for seq in range(2, 12):
        rig.take(packet(seq), first=seq)
    monkeypatch.setattr(ledger_forget, "BATCHES_MAX", 2)
    monkeypatch.setattr(ledger_forget, "EVENTS_A_BATCH", 2)
    gone = [forget(rig, DAYS + 1) for _ in range(4)]
    assert gone == [3, 4, 3, 0]
    assert history(rig, 1) == ["refused"]


def test_what_was_passed_over_is_looked_at_again_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_forget, "EVENTS_A_BATCH", 1)
    rig.step(rig.batch({1: packet(1)}))
    assert forget(rig, DAYS + 1) == 0
    rig.validate()
    assert forget(rig, DAYS + 1) == 1


def test_events_that_speak_of_very_many_packets_are_looked_at_one_by_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (1, 11, 21):
        rig.take(*(packet(number) for number in range(first, first + 10)), first=first)
    monkeypatch.setattr(ledger_forget, "PACKETS_A_BATCH", 5)
    monkeypatch.setattr(ledger_forget, "BATCHES_MAX", 1)
    assert [forget(rig, DAYS + 1) for _ in range(4)] == [1, 1, 1, 0]


def test_the_validator_forgets_at_most_once_an_hour_and_only_when_idle(rig: Rig, tmp_path: Path) -> None:
    folder = make_center(tmp_path / "center", "127.0.0.1:1", "")
    parts = CenterParts(folder)
    parts.clock = rig.clock
    parts.__dict__.update(ledger=rig.ledger, validation=rig.validation)
    side = CenterSide(parts, Celery("test", broker="memory://"), tmp_path, events_days=DAYS)
    rig.step(rig.batch({1: packet(1)}))
    assert side.validate_once() == 0.0
    rig.clock.ms += (DAYS + 1) * DAY_MS
    rig.step(rig.batch({2: packet(2)}))
    assert side.validate_once() == 0.0
    assert history(rig, 1) == ["received"]  # there was work
    assert side.validate_once() is None
    assert history(rig, 1) == []
    rig.ledger.forget_events(DAYS, 0)  # begins anew
    rig.clock.ms += (DAYS + 1) * DAY_MS
    assert side.validate_once() is None
    assert history(rig, 2) == []
    rig.take(packet(3), first=3)
    before = rig.clock.ms
    rig.clock.ms = before + int(FORGET_S * 1000) - 1
    side.events_days = 0
    assert side.validate_once() is None
    assert history(rig, 3) == ["received"]
    rig.clock.ms += 1
    assert side.validate_once() is None
    assert history(rig, 3) == []


def test_how_long_histories_are_kept_is_a_setting_of_the_center(tmp_path: Path) -> None:
    folder = make_center(tmp_path / "center", "127.0.0.1:1", "")
    assert open_folder(folder.path).settings.ledger.events_days == 90
    text = (folder.path / "titian.toml").read_text(encoding="utf-8")
    changed = text.replace("# events_days = 90", "events_days = 30")
    assert parse_settings(changed, "titian.toml").ledger.events_days == 30
