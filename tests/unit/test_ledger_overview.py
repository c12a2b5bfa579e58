"""All regions at once say what each says alone; on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import event

from pipeline.adapters import ledger_overview
from pipeline.adapters.ledger_losses import LedgerLosses
from pipeline.adapters.ledger_overview import LedgerOverview, Overview
from pipeline.center.holding import Hold
from schemas.announcement import Announcement, pack_announcements
from schemas.frame import Kind
from schemas.lanes import Lane
from schemas.messages import Health, Run
from schemas.ranges import from_numbers
from schemas.verdicts import Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, TOKEN, Rig, packet
from tests.unit.losses_rig import FIRST, SECOND, speak, tell

LARGE = packet(90, [("face", "image/jpeg", JPEG + bytes(40_000))])


def overview(rig: Rig) -> Overview:
    return LedgerOverview.of(rig.ledger.reader).overview()


def same_as_alone(rig: Rig) -> Overview:
    """The overview, which says of each region, and of all, what the ledger's reader says."""
    reader, over = rig.ledger.reader, overview(rig)
    told, lost, held = reader.announced_amounts(), LedgerLosses.of(reader).losses_counts(), reader.holds()
    assert [one.row for one in over.regions.values()] == reader.regions()
    assert over.all == reader.counts()
    assert over.began_ms == reader.began_ms()
    for code, one in over.regions.items():
        alone = reader.counts(code)
        assert replace(one.counts, oldest_unverdicted_ms=None) == replace(alone, oldest_unverdicted_ms=None)
        assert (one.counts.oldest_unverdicted_ms is None) == (alone.oldest_unverdicted_ms is None)
        assert one.announced == told.get(code, (0, 0, None))
        assert (one.lost, one.hold) == (lost.get(code, 0), held.get(code))
        assert one.lost == LedgerLosses.of(reader).losses_count(code)
        rebuild = reader.rebuild_of(code)
        assert (None if one.want is None else one.want.clock_ms) == (rebuild and rebuild.clock_ms)
    return over


def announce(rig: Rig, seqs: list[int], epoch: str) -> bytes:
    listed = [Announcement(bytes(8), 700 + seq, bytes([seq % 250]) * 32, 1_000 + seq) for seq in seqs]
    return rig.frame(
        Kind.ANNOUNCE,
        pack_announcements(listed),
        from_numbers(seqs),
        epoch=epoch,
        lane=Lane.BIOMETRIC,
    )


def test_an_empty_ledger_and_regions_that_never_spoke(rig: Rig) -> None:
    rig.ledger.admit("3201", TOKEN, 7)
    over = same_as_alone(rig)
    assert (over.regions["3201"].want, over.regions["3201"].row.joined) == (None, False)
    rig.ledger.revoke("3201", 9)
    assert same_as_alone(rig).regions["3201"].row.revoked_ms == 9


def test_everything_that_a_region_can_have(rig: Rig) -> None:
    rig.take(packet(1), packet(2), packet(3))
    rig.step(rig.batch({4: packet(4)}), rig.chunk(9, LARGE, 0, 10_000))
    rig.step(b"no frame", announce(rig, [20, 21], EPOCH))
    rig.other_region("3201", {1: packet(31), 2: packet(32)})
    rig.ledger.hold("3201", Hold(65_536, 0.0, None, "a slow line", "ana", 5), 5)
    rig.region.send_control(rig.want(health=Health(waiting=7), titian="0.1.0", highest_seq=21))
    rig.intake.step(REGION)
    over = same_as_alone(rig)
    one, other = over.regions[REGION], over.regions["3201"]
    assert (one.counts.received, one.counts.incomplete, one.counts.quarantined) == (4, 1, 1)
    assert (one.announced.packets, other.announced.packets, other.counts.unverdicted) == (2, 0, 2)
    assert one.want is not None
    assert one.want.health == Health(waiting=7)
    assert (one.want.titian, other.hold and other.hold.who) == ("0.1.0", "ana")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_epochs_there_were_and_whatever_was_lost(rig: Rig, seed: int) -> None:
    """Some packets of two epochs come, some are announced, some go by newer names, in a wild order."""
    random_ = random.Random(seed)
    speak(rig, FIRST, random_.randint(1, 30))
    for _ in range(12):
        epoch = random_.choice((FIRST, SECOND))
        seqs = sorted(random_.sample(range(1, 30), random_.randint(1, 6)))
        what = random_.random()
        if what < 0.5:
            rig.step(rig.batch({seq: packet(seq) for seq in seqs}, epoch=epoch))
        elif what < 0.8:
            rig.step(announce(rig, seqs, epoch))
        else:
            rig.validate()
        if random_.random() < 0.2:
            speak(rig, SECOND, random_.randint(1, 30))
            tell(
                rig, SECOND, Run(epoch=FIRST, old=random_.randint(1, 30), new=random_.randint(1, 9), count=2)
            )
    speak(rig, SECOND, 3)
    over = same_as_alone(rig)
    assert over.regions[REGION].row.epoch == SECOND


def test_what_happened_lately_is_what_the_books_say_by_minute(rig: Rig) -> None:
    rig.take(packet(1), packet(2))
    rig.clock.ms += 120_000
    rig.take(packet(3), first=3)
    rig.other_region("3201", {1: packet(31)})
    minute = rig.clock.ms // 60_000
    for code in (None, REGION, "3201"):
        found = LedgerOverview.of(rig.ledger.reader).recent(minute, code)
        said = rig.ledger.reader.rates(minute - 60, code)
        assert found["received"] == {at: one.get("received", 0) for at, one in said.items()}
        assert found["bytes"] == {at: one.get("bytes", 0) for at, one in said.items()}
        words = {
            at: sum(n for what, n in one.items() if what in Status.__members__) for at, one in said.items()
        }
        assert found["verdict"] == words
    assert LedgerOverview.of(rig.ledger.reader).recent(minute)["received"] == {minute - 2: 2, minute: 2}


def test_minutes_that_are_over_are_not_read_again_and_none_is_missed(rig: Rig) -> None:
    kept = LedgerOverview.of(rig.ledger.reader)
    for step in range(9):
        rig.take(packet(step + 1), first=step + 1)
        minute = rig.clock.ms // 60_000
        assert kept.recent(minute) == LedgerOverview.of(rig.ledger.reader).recent(minute)
        rig.clock.ms += 35_000 if step % 2 else 95_000
    rig.clock.ms += 58 * 60_000
    minute = rig.clock.ms // 60_000
    assert kept.recent(minute) == LedgerOverview.of(rig.ledger.reader).recent(minute)
    assert len(kept.recent(minute)["received"]) < 9, "what is older than an hour is gone"
    back = minute - 62
    assert kept.recent(back)["received"] == LedgerOverview.of(rig.ledger.reader).recent(back)["received"]


def test_a_want_that_changed_is_read_anew(rig: Rig) -> None:
    kept = LedgerOverview.of(rig.ledger.reader)
    for waiting in (5, 5, 6):
        rig.region.send_control(rig.want(health=Health(waiting=waiting)))
        rig.intake.step(REGION)
        for _ in range(2):
            want = kept.overview().regions[REGION].want
            assert want is not None
            assert want.health == Health(waiting=waiting)


def test_each_regions_oldest_is_found_among_those_that_are_due_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.step(rig.batch({1: packet(1)}))
    rig.clock.ms += 1_000
    rig.step(rig.batch({2: packet(2), 3: packet(3)}))
    rig.clock.ms += 1_000
    rig.other_region("3201", {1: packet(31)})
    begun = rig.clock.ms - 2_000
    oldest = {code: one.counts.oldest_unverdicted_ms for code, one in same_as_alone(rig).regions.items()}
    assert oldest == {REGION: begun, "3201": begun + 2_000}
    monkeypatch.setattr(ledger_overview, "OLDEST_LOOKED_AT", 3)
    oldest = {code: one.counts.oldest_unverdicted_ms for code, one in overview(rig).regions.items()}
    assert oldest == {REGION: begun, "3201": begun + 1_000}, "its own came after the last that was looked at"


def test_it_takes_as_many_queries_for_many_regions_as_for_one(rig: Rig) -> None:
    asked: list[str] = []
    engine = rig.ledger.reader._store._reading
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    overview(rig)
    few = len(asked)
    for n in range(30):
        rig.other_region(f"32{n:02}", {1: packet(n + 40)})
    asked.clear()
    over = overview(rig)
    assert (len(over.regions), len(asked)) == (31, few)
    assert few < 20
