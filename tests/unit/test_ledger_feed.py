"""The feed: numbers in the order of commits, each fact and record once, and the lives of the ledger."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pysqlite3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_mock_engine, select
from sqlalchemy.dialects import postgresql

from pipeline.adapters import (
    ledger_books,
    ledger_engine,
    ledger_leaves,
    ledger_packets,
    ledger_pieces,
    ledger_verdicts,
)
from pipeline.adapters.ledger_engine import Statement
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import EPOCH as EPOCHS
from pipeline.adapters.ledger_tables import META
from pipeline.center.holding import Hold
from pipeline.center.outcomes import Item
from pipeline.center.reading import read_frame
from pipeline.errors import NotFound, StoreDamaged, UsageError
from schemas.feed import FactGroup, digests_hash
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.messages import Join
from schemas.ranges import numbers
from schemas.verdicts import Status
from tests.unit.ledger_rig import (
    CENTER_KEY,
    EPOCH,
    REGION,
    REGION_KEY,
    TOKEN,
    Places,
    Rig,
    face,
    new_rig,
    packet,
)

RECEIVED, READY = Status.RECEIVED_AT_CENTRAL, Status.PRINT_READY_RECORD


def merged(groups: list[FactGroup], held: dict[tuple[str, int], Status]) -> dict[tuple[str, int], Status]:
    """What a region holds after these facts."""
    return held | {(one.epoch, seq): one.status for one in groups for seq in numbers(one.seqs)}


def test_a_receipt_and_the_verdict_after_it_are_one_fact(rig: Rig) -> None:
    rig.step(rig.batch({seq: packet(seq) for seq in range(1, 11)}))
    assert [one.status for one in rig.facts()] == [RECEIVED]
    rig.validate()
    assert [(one.status, one.seqs) for one in rig.facts()] == [(READY, ((1, 11),))]
    assert [one.status for one in rig.facts(after=10)] == [READY]


def test_a_group_carries_the_hash_of_its_digests_in_rising_seq(rig: Rig) -> None:
    stored = {seq: packet(seq) for seq in (3, 1, 2)}
    rig.step(rig.batch({3: stored[3]}))
    rig.step(rig.batch({1: stored[1], 2: stored[2]}))
    (group,) = rig.facts()
    digests = [hashlib.sha256(stored[seq]).digest() for seq in (1, 2, 3)]
    assert (group.seqs, group.hash) == (((1, 4),), digests_hash(digests))


Step = tuple[str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["batch", "other", "bad", "validate", "read"]), st.integers(1, 6)), max_size=14
)


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(1, 5))
def test_a_reader_that_follows_the_feed_from_anywhere_ends_with_what_the_ledger_holds(
    places: Places, todo: list[Step], packets_max: int
) -> None:
    with places() as place:
        rig = new_rig(place)
        held: dict[tuple[str, int], Status] = {}
        records: dict[tuple[str, int], int] = {}
        cursor = record_cursor = tops = 0
        for what, number in todo:
            if what == "validate":
                rig.validate(limit=number)
            elif what == "read":
                groups, cursor = rig.ledger.facts_after(REGION, cursor, packets_max)
                held = merged(list(groups), held)
                changes, record_cursor = rig.ledger.records_after(
                    REGION, record_cursor, packets_max, 600, None
                )
                records |= {(one.epoch, one.seq): one.version for one in changes}
            else:
                stored = {
                    "batch": packet(number),
                    "other": packet(number, [face(b"%d" % number)]),
                    "bad": b"\0\0\0\1x",
                }
                rig.step(rig.batch({number: stored[what], number + 1: packet(number + 1)}))
            standing = rig.ledger.standing(REGION)
            assert standing is not None
            assert standing.facts_no >= tops  # numbers only rise
            tops = standing.facts_no
        while True:
            groups, to = rig.ledger.facts_after(REGION, cursor, packets_max)
            if to == cursor:
                break
            assert cursor < to <= tops
            held, cursor = merged(list(groups), held), to
        assert cursor == tops
        assert held == merged(rig.facts(), {})
        assert {(EPOCH, seq): rig.word(seq)[0] for _, seq in held} == held
        rig.ledger.close()


def test_every_number_is_given_out_once_by_many_writers(rig: Rig) -> None:
    rig.ledger.admit("1801", TOKEN, 1)
    frames = [rig.batch({1_000 * worker + i: packet(i) for i in range(1, 21)}) for worker in range(1, 5)]
    rig.put(*frames)
    read = [one.frame for one in rig.center.read(REGION, "up", 10)]
    ledgers = [SqlLedger(rig.place) for _ in read]

    def write(ledger: SqlLedger, frame: bytes) -> None:
        ledger.refresh_keys()
        outcome = read_frame(frame, REGION, ledger.signer_of, {CENTER_KEY.id: CENTER_KEY}.get)
        ledger.take_in(REGION, [Item("up", frame, outcome)], 0, 5)

    threads = [threading.Thread(target=write, args=pair) for pair in zip(ledgers, read, strict=True)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    rows = [
        rig.ledger.reader.packet(PacketId(REGION, EPOCH, 1_000 * w + i))
        for w in range(1, 5)
        for i in range(1, 21)
    ]
    assert sorted(row.fact_no for row in rows if row is not None) == list(range(1, 81))
    for ledger in ledgers:
        ledger.close()


def test_records_of_the_regions_own_epoch_come_by_reference(rig: Rig) -> None:
    rig.take(packet(1), packet(2))
    rig.step(rig.batch({1: packet(3)}, epoch="zzzzzz"))
    rig.validate()
    own = rig.records(reference=EPOCH)
    assert [(one.epoch, one.head is None) for one in own] == [(EPOCH, True), (EPOCH, True), ("zzzzzz", False)]
    assert own[2].head == packet(3)
    assert [one.head for one in rig.records()] == [packet(1), packet(2), packet(3)]


def test_a_part_of_the_records_is_bounded_in_bytes_and_goes_on_where_it_ended(rig: Rig) -> None:
    rig.take(*(packet(number) for number in range(1, 8)))
    heads, cursor, parts = [], 0, 0
    while True:
        changes, to = rig.ledger.records_after(REGION, cursor, 1_000, 2 * len(packet(1)) + 60, None)
        if to == cursor:
            break
        heads += [one.head for one in changes]
        cursor, parts = to, parts + 1
    assert heads == [packet(number) for number in range(1, 8)]
    assert parts >= 3


def test_facts_with_many_different_reasons_stay_within_a_frame(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.adapters.ledger_feed.GROUPS_A_FRAME", 3)
    bad = {n: packet(n, [("x" * n, "image/png", b"no")]) for n in range(1, 9)}
    rig.take(*bad.values())
    groups, to = rig.ledger.facts_after(REGION, 0, 4_000)
    assert len(groups) == 3
    rest, _ = rig.ledger.facts_after(REGION, to, 4_000)
    assert len(rest) == 3
    assert len(rig.facts()) == 8


# --- standing, regions and lives ----------------------------------------------------------------


def test_standing_says_all_that_deliver_needs(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    rig.region.send_control(rig.want(facts=0, level=77))
    rig.intake.step(REGION)
    rig.ledger.set_window(REGION, 100_000, hold_s=30.0)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.want is not None
    assert (standing.want.level, standing.instance, standing.grant, standing.epoch) == (77, "first", 1, EPOCH)
    assert (standing.facts_no, standing.records_no) == (1, 0)
    assert standing.hold == Hold(100_000, 30.0)
    assert rig.ledger.standing("9999") is None


def test_an_old_want_changes_nothing(rig: Rig) -> None:
    rig.wants = 4
    rig.region.send_control(rig.want(level=5))
    rig.intake.step(REGION)
    rig.wants = 2
    rig.region.send_control(rig.want(level=3))
    rig.intake.step(REGION)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.want is not None
    assert (standing.want.n, standing.want.level) == (5, 5)


def epochs(rig: Rig) -> dict[str, tuple[int, int | None]]:
    """Of each epoch the highest seq that its wants named, and when the last of them came."""
    store = ledger_engine.open_store(rig.place, look_only=True)
    with store.read() as connection:
        rows = connection.execute(select(EPOCHS.c.epoch, EPOCHS.c.highest_seq, EPOCHS.c.last_ms)).all()
    store.close()
    return {row.epoch: (row.highest_seq, row.last_ms) for row in rows}


def hear(rig: Rig, **want: object) -> None:
    rig.region.send_control(rig.want(**want))
    rig.intake.step(REGION)
    rig.clock.ms += 1


def test_how_far_an_epoch_had_got_is_what_its_wants_said_at_most(rig: Rig) -> None:
    began_ms = rig.clock.ms
    hear(rig, highest_seq=7)
    hear(rig, highest_seq=9)
    hear(rig, highest_seq=3)  # an older copy of that outbox
    assert epochs(rig) == {EPOCH: (9, began_ms + 2)}
    hear(rig, highest_seq=2, epoch="zzzzzz", instance="other")
    hear(rig, highest_seq=12, session=1)  # the first again, which another followed
    assert epochs(rig) == {EPOCH: (12, began_ms + 4), "zzzzzz": (2, began_ms + 3)}
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert standing.epoch == "zzzzzz"


def test_what_was_said_under_a_key_that_another_followed_changes_nothing(rig: Rig) -> None:
    hear(rig, highest_seq=7)
    before = epochs(rig)
    key = PrivateKey.generate(REGION)
    rig.ledger.admit(REGION, b"another token of", 2)
    join = Join(token=b"another token of", sign=key.public.raw.sign, seal=key.public.raw.seal)
    rig.ledger.bind(REGION, key.public, join, 2)
    hear(rig, highest_seq=99)
    assert epochs(rig) == before


def test_a_session_is_renewed_once(rig: Rig) -> None:
    rig.region.send_control(rig.want())
    rig.intake.step(REGION)
    standing = rig.ledger.standing(REGION)
    assert standing is not None
    assert rig.ledger.renew_session(REGION, standing.session, 0) == standing.session + 1
    assert rig.ledger.renew_session(REGION, standing.session, 0) == standing.session + 1


def test_each_start_begins_a_life_and_remembers_where_the_numbers_stood(rig: Rig) -> None:
    rig.take(packet(1), packet(2))
    rig.ledger.admit("1801", TOKEN, 1)
    name = rig.ledger.open_incarnation(9)
    first, second = rig.ledger.since_of(REGION)
    assert (first.facts, first.records, second.facts, second.records) == (0, 0, 4, 2)
    assert second.incarnation == name
    assert [(one.facts, one.records) for one in rig.ledger.since_of("1801")] == [(0, 0), (0, 0)]
    assert rig.ledger.reader.incarnation() == (name, 9)


def test_a_start_of_the_center_does_not_make_the_ledger_young(rig: Rig) -> None:
    began_ms = rig.ledger.reader.began_ms()
    rig.ledger.open_incarnation(10**9)
    assert rig.ledger.reader.began_ms() == began_ms
    assert began_ms is not None
    assert began_ms < 10**9


def test_a_region_is_admitted_revoked_and_admitted_again(rig: Rig) -> None:
    assert rig.ledger.admit("1801", TOKEN, 1)
    assert not rig.ledger.admit("1801", b"new token of 16.", 2)
    assert rig.ledger.regions() == ("1801", REGION)
    assert rig.ledger.revoke("1801", 3)
    assert rig.ledger.regions() == (REGION,)
    assert not rig.ledger.revoke("9999", 3)
    rig.ledger.admit("1801", TOKEN, 4)
    assert rig.ledger.regions() == ("1801", REGION)
    rows = {row.code: row for row in rig.ledger.reader.regions()}
    assert (rows[REGION].joined, rows[REGION].keys, rows["1801"].joined) == (True, 1, False)


def test_another_process_notices_a_revoked_key(rig: Rig) -> None:
    other = SqlLedger(rig.place)
    other.refresh_keys()
    assert other.signer_of(REGION_KEY.id) is not None
    rig.ledger.revoke(REGION, 2)
    other.refresh_keys()
    assert other.signer_of(REGION_KEY.id) is None
    other.close()


# --- looking ------------------------------------------------------------------------------------


def test_counts_answer_how_much_is_where(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1), 2: packet(2), 3: b"\0\0\0\1x"}))
    counts = rig.ledger.reader.counts(REGION)
    assert (counts.received, counts.unverdicted, counts.refused) == (2, 2, 1)
    assert counts.oldest_unverdicted_ms == rig.clock.ms
    rig.validate()
    counts = rig.ledger.reader.counts()
    assert (counts.received, counts.unverdicted, counts.records) == (2, 0, 2)
    assert counts.by_status == {"PRINT_READY_RECORD": 2, "REFUSED": 1}
    assert counts.by_lane == {"record": 2}
    assert rig.ledger.reader.record_count() == counts.records
    assert rig.ledger.reader.counts("1801").received == 0
    minute = rig.clock.ms // 60_000
    assert rig.ledger.reader.rates(minute)[minute]["received"] == 2


def test_a_packet_is_found_by_its_identity_and_by_its_nik(rig: Rig) -> None:
    rig.take(packet(1), packet(2), packet(1, alamat="JL. BARU"))
    found = rig.ledger.reader.packets_of("1806015201900001")
    assert [row.id.seq for row in found] == [1, 3]
    assert found[0].status is READY
    assert found[0].verdict_ms == rig.clock.ms
    assert rig.ledger.reader.packet(PacketId(REGION, EPOCH, 9)) is None
    events = rig.ledger.reader.events(PacketId(REGION, EPOCH, 2))
    assert [one.what for one in events] == ["received"]


def test_refused_packets_are_listed_by_region_the_last_first(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1), 2: packet(2, kind="tea"), 3: packet(3, kind="tea")}))
    rig.clock.ms += 1
    rig.step(rig.batch({4: packet(4, nik="1806")}))
    rig.other_region("3273", {1: packet(5, kind="tea")})
    reader = rig.ledger.reader
    assert [row.id.seq for row in reader.refused(REGION)] == [4, 3, 2]
    assert [row.id.seq for row in reader.refused(REGION, limit=1)] == [4]
    assert {row.id.region for row in reader.refused()} == {REGION, "3273"}
    assert [reason.code for row in reader.refused("3273") for reason in row.reasons] == ["invalid_packet"]


def test_a_reader_makes_no_ledger_and_writes_nothing(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        LedgerReader.open(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    rig.take(packet(1))
    reader = LedgerReader.open(rig.place)
    assert reader.record_count() == 1
    reader.close()


# --- the store ----------------------------------------------------------------------------------


def test_a_ledger_of_a_newer_titian_is_not_touched(rig: Rig) -> None:
    store = ledger_engine.open_store(rig.place)
    with store.write() as connection:
        connection.exec_driver_sql("update setting set value = 99 where name = 'schema'")
    store.close()
    with pytest.raises(UsageError, match="99"):
        SqlLedger(rig.place)


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreDamaged):
        SqlLedger(tmp_path / "ledger.db")


def test_writing_is_durable_and_an_old_sqlite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ledger_engine.open_store(tmp_path / "other.db")
    with store.write() as connection:
        asked = [
            connection.exec_driver_sql(f"PRAGMA {one}").scalar() for one in ("synchronous", "journal_mode")
        ]
        raw = pysqlite3.connect(str(tmp_path / "other.db"), timeout=0, isolation_level=None)
        with pytest.raises(
            pysqlite3.OperationalError, match="locked"
        ):  # ours has the lock from its beginning
            raw.execute("BEGIN IMMEDIATE")
        raw.close()
    assert asked == [2, "wal"]
    store.close()
    monkeypatch.setattr(ledger_engine, "SQLITE_LEAST", (99, 0, 0))
    with pytest.raises(UsageError):
        ledger_engine.open_store(tmp_path / "third.db")


def test_a_transaction_that_fails_leaves_nothing(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1)}))
    before = rig.ledger.reader.counts()
    with pytest.raises(NotFound):
        rig.ledger.take_in("9999", [], 0, 1)
    assert rig.ledger.reader.counts() == before


def test_the_layout_and_every_statement_can_be_said_to_postgresql() -> None:
    said: list[str] = []
    engine = create_mock_engine(
        "postgresql://", lambda sql, *_: said.append(str(sql.compile(dialect=engine.dialect)))
    )
    META.create_all(engine, checkfirst=False)
    assert sum(text.lstrip().startswith("CREATE TABLE") for text in said) == len(META.tables)
    assert any("WHERE due_ms IS NOT NULL" in text for text in said)
    modules = (ledger_books, ledger_leaves, ledger_packets, ledger_pieces, ledger_verdicts)
    statements = [one for module in modules for one in vars(module).values() if isinstance(one, Statement)]
    assert len(statements) >= 8
    assert all("%(" in one.sql(postgresql.dialect()) for one in statements)
