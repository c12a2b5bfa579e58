"""Parts of large packets: what comes twice is counted, and what nobody completes goes after a while."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from celery import Celery

from pipeline.adapters import ledger_forget
from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_forget import DAY_MS
from pipeline.inspection.depth_center import center_depth
from pipeline.settings import parse_settings
from schemas.codec import pack_flat
from schemas.frame import Kind
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.verdicts import Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, Places, Rig, new_rig, packet
from workers.center import FORGET_S, CenterSide
from workers.cli_depth_text import depth_text
from workers.making import make_center
from workers.wiring import CenterParts

DAYS = 30
BIG = packet(1, [("face", "image/jpeg", JPEG + bytes(range(256)) * 60)])


def twice(rig: Rig) -> int:
    return rig.ledger.reader.counts().counters.get("bytes_twice", 0)


def forget(rig: Rig, days_later: float) -> int:
    """Of how many packets the parts go when it is asked so many days after now."""
    return rig.ledger.forget_parts(DAYS, rig.clock.ms + int(days_later * DAY_MS))


# --- what came twice --------------------------------------------------------------------------------


def test_of_a_chunk_that_comes_again_only_what_was_held_counts_as_twice(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    rig.step(rig.chunk(5, BIG, 6_000, 8_000))
    assert twice(rig) == 0
    rig.step(rig.chunk(5, BIG, 3_000, 7_000))  # 1,000 of the first and 1,000 of the second
    assert twice(rig) == 2_000
    rig.step(rig.chunk(5, BIG, 1_000, 5_000), rig.chunk(5, BIG, 1_000, 5_000))
    assert twice(rig) == 10_000


def test_chunks_of_a_packet_that_is_there_and_batches_that_come_again_count_whole(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, len(BIG)))
    rig.step(rig.chunk(5, BIG, 0, 100), rig.chunk(5, BIG, 100, 250))
    assert twice(rig) == 250
    small = {1: packet(2), 2: packet(3)}
    rig.step(rig.batch(small))
    rig.step(rig.batch(small | {3: packet(4)}))
    assert twice(rig) == 250 + len(small[1]) + len(small[2])


def test_a_packet_with_other_contents_came_once(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, len(BIG)), rig.batch({1: packet(2)}))
    rig.step(rig.chunk(5, BIG + b"x", 0, 100), rig.batch({1: packet(3)}))
    assert twice(rig) == 0


def test_depth_at_the_center_says_how_much_came_twice(rig: Rig) -> None:
    def seen() -> tuple[int, str]:
        found = center_depth(rig.ledger.reader, running=True, now_ms=rig.clock.ms)
        return found["counters"]["bytes_twice"], depth_text(found)

    rig.step(rig.chunk(5, BIG, 0, 4_000))
    before, text = seen()
    assert (before, "already" in text) == (0, False)
    rig.step(rig.chunk(5, BIG, 1_000, 4_000))
    after, text = seen()
    assert (after, "already" in text) == (3_000, True)


# --- what goes --------------------------------------------------------------------------------------


def test_parts_go_when_no_more_has_come_for_long(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    rig.clock.ms += 20 * DAY_MS
    rig.step(rig.chunk(5, BIG, 4_000, 5_000))
    assert forget(rig, DAYS - 1) == 0  # the days count from the last chunk
    assert rig.ledger.partly(REGION, EPOCH) == {5: ((0, 5_000),)}
    assert forget(rig, DAYS + 1) == 1
    counts = rig.ledger.reader.counts()
    assert (counts.incomplete, counts.counters["parts_discarded"]) == (0, 1)
    assert rig.ledger.partly(REGION, EPOCH) == {}
    (event,) = rig.ledger.reader.events(PacketId(REGION, EPOCH, 5))
    assert (event.what, "5000 of " in event.detail) == ("discarded", True)
    assert forget(rig, 10 * DAYS) == 0


def test_what_is_discarded_comes_whole_later_and_nothing_of_it_counts_as_twice(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    assert forget(rig, DAYS + 1) == 1
    rig.step(rig.chunk(5, BIG, 4_000, len(BIG)))  # the region did not know yet
    assert rig.ledger.partly(REGION, EPOCH) == {5: ((4_000, len(BIG)),)}
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    assert b"".join(rig.ledger.reader.stored(PacketId(REGION, EPOCH, 5))) == BIG
    assert twice(rig) == 0


def test_a_packet_that_is_complete_keeps_its_parts_for_ever(rig: Rig) -> None:
    rig.step(*(rig.chunk(5, BIG, at, min(at + 4_000, len(BIG))) for at in range(0, len(BIG), 4_000)))
    assert forget(rig, 100 * DAYS) == 0
    assert b"".join(rig.ledger.reader.stored(PacketId(REGION, EPOCH, 5))) == BIG


def test_parts_of_a_revoked_region_and_of_an_earlier_epoch_go_too(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000, epoch="aaaaaa"), rig.chunk(5, BIG, 0, 4_000))
    assert rig.ledger.revoke(REGION, rig.clock.ms)
    assert rig.ledger.reader.counts().incomplete == 2
    assert forget(rig, DAYS + 1) == 2
    assert rig.ledger.reader.counts().incomplete == 0


def test_parts_of_a_refused_packet_go_and_the_refusal_stays(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    nothing = pack_flat((len(BIG), hashlib.sha256(BIG).digest(), 4_000, b""))  # a chunk that cannot be read
    rig.step(rig.frame(Kind.CHUNK, nothing, ((5, 6),), lane=Lane.BIOMETRIC))
    assert rig.word(5)[0] is Status.REFUSED
    assert rig.ledger.reader.counts().incomplete == 1  # a retry needs only the rest
    assert forget(rig, DAYS + 1) == 1
    assert rig.word(5)[0] is Status.REFUSED
    assert rig.ledger.reader.counts().incomplete == 0


def test_a_call_discards_a_bounded_number_the_oldest_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_forget, "PARTS_A_CALL", 2)
    for seq in (5, 7, 6, 5):
        rig.step(rig.chunk(seq, BIG, 0, 4_000))
        rig.clock.ms += 1
    assert forget(rig, DAYS + 1) == 2
    assert list(rig.ledger.partly(REGION, EPOCH)) == [5]
    assert forget(rig, DAYS + 1) == 1


def test_a_chunk_that_comes_between_looking_and_discarding_keeps_the_parts(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    later_ms = rig.clock.ms + (DAYS + 1) * DAY_MS
    looked = ledger_forget._discard

    def chunk_first(*given: object) -> bool:
        rig.clock.ms = later_ms
        rig.step(rig.chunk(5, BIG, 4_000, 5_000))
        return looked(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger_forget, "_discard", chunk_first)
    assert rig.ledger.forget_parts(DAYS, later_ms) == 0
    assert rig.ledger.partly(REGION, EPOCH) == {5: ((0, 5_000),)}


# --- who asks for it --------------------------------------------------------------------------------


def test_the_validator_discards_parts_while_it_is_idle_at_most_once_an_hour(rig: Rig, tmp_path: Path) -> None:
    folder = make_center(tmp_path / "center", "127.0.0.1:1", "")
    parts = CenterParts(folder)
    parts.clock = rig.clock
    parts.__dict__.update(ledger=rig.ledger, validation=rig.validation)
    side = CenterSide(parts, Celery("test", broker="memory://"), tmp_path, parts_days=DAYS)
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    assert side.validate_once() is None
    assert rig.ledger.reader.counts().incomplete == 1
    rig.clock.ms += (DAYS + 1) * DAY_MS
    assert side.validate_once() is None
    assert rig.ledger.reader.counts().incomplete == 0
    assert side.counts["parts_discarded"] == 1
    rig.step(rig.chunk(6, BIG, 0, 4_000))
    side.parts_days = -1
    rig.clock.ms += int(FORGET_S * 1000) - 1
    assert side.validate_once() is None
    assert rig.ledger.reader.counts().incomplete == 1
    rig.clock.ms += 1
    assert side.validate_once() is None
    assert rig.ledger.reader.counts().incomplete == 0


def test_how_long_parts_are_kept_is_a_setting_of_the_center(tmp_path: Path) -> None:
    folder = make_center(tmp_path / "center", "127.0.0.1:1", "")
    assert open_folder(folder.path).settings.ledger.parts_days == DAYS
    text = (folder.path / "titian.toml").read_text(encoding="utf-8")
    changed = text.replace("# parts_days = 30", "parts_days = 7")
    assert parse_settings(changed, "titian.toml").ledger.parts_days == 7


def test_a_ledger_from_before_the_last_chunk_was_noted_keeps_its_parts(places: Places) -> None:
    with places() as place:
        rig = new_rig(place)
        rig.step(rig.chunk(5, BIG, 0, 4_000))
        rig.ledger.close()
        store = open_store(place)
        with store.write() as connection:  # as version 2 made it
            connection.exec_driver_sql("ALTER TABLE assembling RENAME COLUMN last_ms TO first_ms")
            connection.exec_driver_sql("UPDATE setting SET value = 2 WHERE name = 'schema'")
        store.close()
        for _ in range(2):  # it is brought to this version once, and opened again
            open_store(place).close()
        rig.ledger = type(rig.ledger)(place)
        assert rig.ledger.partly(REGION, EPOCH) == {5: ((0, 4_000),)}
        assert forget(rig, DAYS + 1) == 1
        rig.ledger.close()
