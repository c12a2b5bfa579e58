"""What becomes of a bundle's frames: at the center in the ledger, at a region in its stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.adapters.ledger_bundles import LedgerBundles
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_bundles import Placed, RegistryBundles
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.bundles import SESSION, GoesBack, life_of
from pipeline.center import importing as center
from pipeline.region.importing import Import, Imported
from pipeline.testing.clock import ManualClock
from schemas.bundle import START
from schemas.feed import FactGroup, RecordChange, Span, pack_facts, pack_records
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey
from schemas.manifest import RECORDS, Manifest
from schemas.messages import Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status
from tests.unit.ledger_rig import CENTER_KEY, EPOCH, REGION, Rig, face, nik, packet
from tests.unit.outbox_rig import draft, group, new_outbox

OURS = PrivateKey.generate(REGION)


# --- at the center --------------------------------------------------------------------------------


def take(rig: Rig, *frames: bytes, dry_run: bool = False) -> center.Imported:
    known = LedgerBundles(rig.place)
    work = center.Import(REGION, rig.ledger, known, [CENTER_KEY], rig.clock, dry_run=dry_run)
    for one in frames:
        work.take(one)
    done = work.finish()
    known.close()
    return done


def test_new_packets_are_taken_and_old_ones_passed_over(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1), 2: packet(2)}))
    before = rig.ledger.standing(REGION)
    done = take(rig, rig.batch({1: packet(1), 2: packet(2)}), rig.batch({2: packet(2), 3: packet(3)}))
    assert (done.new, done.already, done.clean) == (1, 3, True)
    after = rig.ledger.standing(REGION)
    assert before is not None
    assert after is not None
    assert after.facts_no == before.facts_no + 1
    assert done.seqs.of(EPOCH) == ((1, 4),)


def test_the_same_number_with_other_contents_is_counted_and_not_taken(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1), 2: packet(2)}))
    frame = rig.batch({1: packet(9), 2: packet(2)})
    assert take(rig, frame, dry_run=True).forks == 1
    done = take(rig, frame)
    assert (done.new, done.already, done.forks, done.clean) == (0, 1, 1, False)


def test_what_the_center_cannot_read_is_refused_as_over_the_link(rig: Rig) -> None:
    frame = rig.batch({1: packet(1, nik="1806"), 2: packet(2)})
    assert take(rig, frame, dry_run=True).refused == 1
    done = take(rig, frame)
    assert (done.new, done.refused) == (1, 1)
    assert rig.word(1)[0] is Status.REFUSED
    garbage = rig.frame(Kind.BATCH, b"\xc1", ((5, 8),))
    assert take(rig, garbage, dry_run=True).refused == 3
    assert take(rig, garbage).refused == 3


def test_chunks_come_to_a_packet_also_where_the_link_brought_some(rig: Rig) -> None:
    stored = packet(1, [face(b"x" * 50_000)])
    half = len(stored) // 2
    rig.step(rig.chunk(1, stored, 0, half))
    assert take(rig, rig.chunk(1, stored, 0, half)).incomplete == 1
    done = take(rig, rig.chunk(1, stored, 0, half), rig.chunk(1, stored, half, len(stored)))
    assert (done.new, done.incomplete, done.clean) == (1, 0, True)
    done = take(rig, rig.chunk(1, stored, 0, half), rig.chunk(1, stored, half, len(stored)))
    assert (done.new, done.already, done.incomplete) == (0, 1, 0)


def test_a_dry_run_counts_a_large_packet_once(rig: Rig) -> None:
    stored = packet(1, [face(b"x" * 50_000)])
    half = len(stored) // 2
    chunks = rig.chunk(1, stored, 0, half), rig.chunk(1, stored, half, len(stored))
    done = take(rig, *chunks, dry_run=True)
    assert (done.new, done.incomplete) == (1, 0)
    assert take(rig, chunks[0], dry_run=True).incomplete == 1
    assert rig.ledger.reader.counts().received == 0


def test_a_large_packet_with_another_digest_is_a_fork_once(rig: Rig) -> None:
    stored, other = packet(1, [face(b"x" * 50_000)]), packet(1, [face(b"y" * 50_000)])
    rig.step(rig.batch({1: stored}) if len(stored) < 16_000 else rig.chunk(1, stored, 0, len(stored)))
    half = len(other) // 2
    chunks = rig.chunk(1, other, 0, half), rig.chunk(1, other, half, len(other))
    assert take(rig, *chunks, dry_run=True).forks == 1
    done = take(rig, *chunks)
    assert (done.new, done.forks) == (0, 1)


def test_transactions_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(center, "BITE_PACKETS", 3)
    sizes: list[int] = []
    take_in = rig.ledger.take_in

    def counted(region: str, items: list[center.Item], session: int, now_ms: int) -> center.TookIn:
        took = take_in(region, items, session, now_ms)
        sizes.append(took.received)
        return took

    monkeypatch.setattr(rig.ledger, "take_in", counted)
    take(rig, *(rig.batch({n: packet(n)}) for n in range(1, 9)))
    assert sizes == [3, 3, 2]


def test_announcements_and_wants_are_not_of_a_bundle(rig: Rig) -> None:
    done = take(rig, rig.want())
    assert done.problems["wrong_kind"].frames == 1
    assert take(rig, b"no frame at all").problems["malformed"].frames == 1


# --- at a region ----------------------------------------------------------------------------------


class Region:
    """A region's stores, and a center that makes frames for it by hand."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self.outbox: SqliteOutbox = new_outbox(folder)
        create_registry(folder, 1, fresh=fresh)
        self.facts = SqliteRegistry(folder)
        self.registry = RegistryBundles(folder)

    def close(self) -> None:
        for store in (self.outbox, self.facts, self.registry):
            store.close()

    def take(
        self, *frames: bytes, said: Manifest | None = None, whole: bool = True, to_its_end: bool = True
    ) -> Imported:
        """A bundle of these frames."""
        work = Import(
            self.registry,
            self.facts,
            self.outbox,
            REGION,
            [OURS],
            CENTER_KEY.public,
            ManualClock(),
            epochs=frozenset({self.outbox.epoch}),
            said=said or manifest(),
            whole=whole,
        )
        assert work.begin() == ""
        for one in frames:
            work.take(one)
        return work.finish(to_its_end=to_its_end)

    def record(self, number: int = 1) -> tuple[int, int]:
        """Version and upper bound of the number of a record."""
        with (
            closing(RegistryBundles(self.outbox.folder, look_only=True)) as look,
            look._database.read() as db,
        ):
            row = db.execute(
                "SELECT version, record_no FROM record WHERE nik = ?", (int(nik(number)),)
            ).fetchone()
        assert row is not None
        return row[0], row[1]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    one = Region(tmp_path)
    yield one
    one.close()


def manifest(*history: Since, records_to: int = 0, records_from: int = 0) -> Manifest:
    lives = list(history) or [Since(incarnation="life")]
    return Manifest(
        what=RECORDS,
        entries=1,
        size=1,
        chain=START.chain,
        history=lives,
        records_to=records_to,
        records_from=records_from,
    )


def down(kind: Kind, body: bytes, region_: str = REGION) -> bytes:
    header = Header(kind, region_, life_of("abcdef0123"), b"", b"")
    return seal_frame(header, body, ours=CENTER_KEY, theirs=OURS.public)


def facts(start: int, to: int, *groups: FactGroup, life: str = "life") -> bytes:
    return down(Kind.FACTS, pack_facts(Span(life, SESSION, start, to), groups))


def change(number: int, version: int) -> RecordChange:
    payload = {"nik": nik(number), "nama": f"SITI {version}"}
    head = pack_head(Packet("enrolment", payload, (), 1)).prefix
    return RecordChange(version, Status.PRINT_READY_RECORD, EPOCH, number, head)


def records(start: int, to: int, *changes: RecordChange, life: str = "life") -> bytes:
    return down(Kind.RECORDS, pack_records(Span(life, SESSION, start, to), changes))


def test_what_continues_moves_the_cursors_and_settles(region: Region) -> None:
    region.outbox.take([draft(n) for n in range(1, 4)], 1)
    received = group(region.outbox, ((1, 4),), Status.RECEIVED_AT_CENTRAL)
    done = region.take(facts(0, 3, received), records(0, 7, change(1, 1)))
    assert (done.settled, done.changed, done.gaps) == (3, 1, 0)
    assert region.registry.cursors()[:2] == (3, 7)
    assert region.outbox.settled_to() == 3


def test_an_older_position_changes_nothing(region: Region) -> None:
    region.outbox.take([draft(1)], 1)
    region.take(facts(0, 9, group(region.outbox, ((1, 2),), Status.PRINT_READY_RECORD)))
    done = region.take(facts(0, 4, group(region.outbox, ((1, 2),), Status.RECEIVED_AT_CENTRAL)))
    assert (done.settled, region.outbox.settled_to()) == (0, 9)
    assert region.outbox.connection.execute("SELECT status, fact_no FROM packet").fetchone() == (2, 9)


def test_behind_a_gap_facts_settle_by_position_and_move_nothing(region: Region) -> None:
    region.outbox.take([draft(1), draft(2)], 1)
    done = region.take(facts(10, 20, group(region.outbox, ((1, 2),), Status.RECEIVED_AT_CENTRAL)))
    assert (done.settled, done.gaps) == (1, 1)
    assert region.outbox.settled_to() == region.registry.cursors().facts == 0
    region.take(facts(0, 5, group(region.outbox, ((1, 3),), Status.RECEIVED_AT_CENTRAL)))
    rows = region.outbox.connection.execute("SELECT seq, fact_no FROM packet ORDER BY seq").fetchall()
    assert rows == [(1, 20), (2, 5)]


def test_facts_about_other_contents_are_not_applied(region: Region) -> None:
    region.outbox.take([draft(1)], 1)
    other = FactGroup(
        region.outbox.epoch, Status.RECEIVED_AT_CENTRAL, (), ((1, 2),), hashlib.sha256(b"other").digest()
    )
    done = region.take(facts(0, 1, other))
    assert (done.forks, done.settled, done.clean) == (1, 0, False)


def test_records_go_by_their_versions_whatever_the_order(region: Region) -> None:
    done = region.take(records(50, 60, change(1, 3)), records(0, 9, change(1, 2), change(2, 1)))
    assert (done.changed, done.gaps) == (2, 1)
    assert region.record(1) == (3, 60)
    assert region.record(2) == (1, 9)
    assert region.registry.cursors().records == 9


def test_only_what_continues_replaces_a_record_that_a_rewind_opened(region: Region) -> None:
    region.take(records(0, 30, change(1, 5)))
    region.facts.rewind(0, 20, Since(incarnation="next", facts=0, records=20))
    lives = (Since(incarnation="life"), Since(incarnation="next", facts=0, records=20))
    region.take(records(0, 10, change(1, 2)), said=manifest(*lives))
    assert region.record(1)[0] == 5
    region.take(records(20, 25, change(1, 3), life="next"), said=manifest(*lives))
    assert region.record(1) == (3, 25)


def test_a_part_without_a_manifest_must_be_of_the_life_that_is_known(region: Region) -> None:
    region.take(records(0, 5, change(1, 1)))
    work = Import(
        region.registry,
        region.facts,
        region.outbox,
        REGION,
        [OURS],
        CENTER_KEY.public,
        ManualClock(),
        epochs=frozenset(),
        said=None,
        whole=False,
    )
    assert work.begin() == ""
    work.take(records(5, 6, change(2, 1)))
    work.take(records(6, 7, change(3, 1), life="other"))
    done = work.finish()
    assert (done.changed, done.problems["other_life"].frames) == (1, 1)


def test_what_is_not_for_us_is_counted(region: Region) -> None:
    stranger = PrivateKey.generate()
    header = Header(Kind.FACTS, REGION, "k3v9qa", b"", b"")
    done = region.take(
        down(Kind.ACK, b"\xc0"),
        down(Kind.FACTS, b"\xc0", region_="1807"),
        seal_frame(header, b"\xc0", ours=stranger, theirs=OURS.public),
        seal_frame(header, b"\xc0", ours=CENTER_KEY, theirs=PrivateKey.generate(REGION).public),
        down(Kind.RECORDS, b"\xc0"),
        b"no frame",
    )
    assert set(done.problems) == {
        "wrong_kind",
        "foreign_region",
        "unknown_key",
        "other_key",
        "bad_msgpack",
        "malformed",
    }


def test_a_whole_export_opens_only_an_empty_registry_and_only_once(tmp_path: Path) -> None:
    made = Region(tmp_path, fresh=True)
    assert made.registry.cursors().fresh
    done = made.take(records(0, 9, change(1, 1)), said=manifest(records_to=9))
    assert done.opened
    assert not made.registry.cursors().fresh
    back = made.registry.cursors().back
    assert back is not None
    assert (back.pass_no, back.floor) == (3, 9)
    assert not made.take(records(0, 9, change(1, 1)), said=manifest(records_to=9)).opened
    made.close()


@pytest.mark.parametrize("why", ["news", "part", "problem"])
def test_anything_less_than_a_whole_export_opens_nothing(tmp_path: Path, why: str) -> None:
    made = Region(tmp_path, fresh=True)
    frames = [records(0, 9, change(1, 1))]
    if why == "problem":
        frames.append(b"no frame")
    start = 3 if why == "news" else 0
    done = made.take(*frames, said=manifest(records_to=9, records_from=start), whole=why != "part")
    assert (done.opened, done.changed) == (False, 1)
    made.close()


def test_a_bundle_takes_the_region_back_and_opens_what_was_above(region: Region) -> None:
    region.take(records(0, 30, change(1, 5)))
    found, above = region.registry.follow(
        [Since(incarnation="life"), Since(incarnation="next", facts=0, records=20)], 5
    )
    assert isinstance(found, GoesBack)
    assert above == 0
    assert region.registry.cursors()[:2] == (0, 20)
    assert region.registry.cursors().history[-1].incarnation == "next"
    placed = region.registry.put_records(Span("next", SESSION, 20, 22), [change(1, 4)], {"next"}, 5)
    assert (placed.placed, placed.changed) == (Placed.MOVED, 1)


def test_an_export_from_before_a_rebuild_began_does_not_end_its_way_back(tmp_path: Path) -> None:
    made = Region(tmp_path, fresh=True)
    made.facts.start_at(5, 20, Since(incarnation="life"), 1)
    old = made.take(records(0, 9, change(1, 1)), said=manifest(records_to=9))
    assert (old.changed, old.opened) == (1, False)
    back = made.registry.cursors().back
    assert back is not None
    assert (back.pass_no, back.floor) == (1, 20)
    stopped = made.take(records(0, 12, change(2, 1)), said=manifest(records_to=20), to_its_end=False)
    assert (stopped.changed, stopped.opened) == (1, False)
    new = made.take(records(0, 25, change(1, 2)), said=manifest(records_to=25))
    assert (new.changed, new.opened) == (1, True)
    assert made.registry.cursors().records == 25
    made.close()
