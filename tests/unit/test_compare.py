"""What ledger, registry and outbox say of themselves in a reconciliation, from their own rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters import ledger_compare
from pipeline.adapters.ledger_compare import ANSWERERS
from pipeline.adapters.outbox_compare import OutboxCompare
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.region.comparing import days_before
from pipeline.region.reconcile import evenly
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas import compare
from schemas.compare import DAY_MS, NIK_STOP, ComparePackets, CompareRecords, ListedRecord, RecordsDigest
from schemas.ranges import Ranges
from schemas.verdicts import Status

WHOLE = (0, NIK_STOP)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    for n, line in enumerate(sample_lines(60, seed=3)):
        one.enqueue(line)
        if n == 29:
            one.clock.advance(3 * 24 * 3600)
    assert one.arrive() < 300
    yield one
    one.close()


@pytest.fixture
def registry(world: World) -> Iterator[RegistryCompare]:
    one = RegistryCompare(world.region_folder)
    yield one
    one.close()


def ask(world: World, what: str, args: bytes, region: str = "1806") -> tuple[list[bytes], int]:
    """Every part of the center's answer, and where it ends."""
    parts, at, done = [], 0, False
    while not done:
        payload, to, done = ANSWERERS[what](world.ledger.reader, region, args, at)
        assert done or to > at
        parts.append(payload)
        at = to
    return parts, at


def there(world: World, bounds: tuple[int, ...], region: str = "1806") -> list[RecordsDigest]:
    args = compare.pack_compare_records(CompareRecords(bounds))
    parts, _ = ask(world, compare.RECORDS, args, region)
    return compare.unpack_compared_records(b"".join(parts), len(bounds) - 1)[1]


def listed(world: World, ranges: Ranges) -> list[ListedRecord]:
    parts, _ = ask(world, compare.LIST_RECORDS, compare.pack_list_records(ranges))
    return list(compare.unpack_listed(b"".join(parts)))


def change(world: World, statement: str, *values: Any) -> None:
    with world.registry._database.write() as db:
        db.execute(statement, values)


# --- records --------------------------------------------------------------------------------------


def test_both_sides_have_the_same_digests_of_all_and_of_parts(
    world: World, registry: RegistryCompare
) -> None:
    assert registry.look()[Status.PRINT_READY_RECORD - 1] == 60
    bounds = tuple(evenly(1100_000000_000000, 9900_000000_000000))
    assert registry.digests(WHOLE) == there(world, WHOLE)
    assert registry.digests(bounds) == there(world, bounds)
    assert registry.digests(WHOLE)[0].n == 60


def test_a_look_gives_the_digests_that_the_rows_give(registry: RegistryCompare) -> None:
    plain = registry.digests(WHOLE)
    registry.look()
    assert registry.digests(WHOLE) == plain
    bounds = registry.split(*WHOLE, 64)
    assert len(bounds) > 50
    assert [one.n for one in registry.digests(bounds)].count(0) <= 5
    assert sum(one.n for one in registry.digests(bounds)) == 60


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE record SET head = CAST(substr(head, 1, 50) || x'00' || substr(head, 52) AS BLOB) "
        "WHERE id = 9",
        "UPDATE record SET version = version + 1 WHERE id = 9",
        "UPDATE record SET seq = seq + 1 WHERE id = 9",
        "UPDATE record SET status = 3 WHERE id = 9",
        "UPDATE record SET epoch = 'zzzzzz' WHERE id = 9",
        "UPDATE record SET nik = nik + 1 WHERE id = 9",
        "DELETE FROM record WHERE id = 9",
        "UPDATE record SET status = 77 WHERE id = 9",
        "UPDATE record SET version = x'01' WHERE id = 9",
        "UPDATE record SET epoch = x'ff' WHERE id = 9",
        "UPDATE record SET head = 'text' WHERE id = 9",
        "UPDATE record SET nik = -5 WHERE id = 9",
    ],
)
def test_whatever_is_wrong_in_a_row_is_seen_in_the_digest(
    world: World, registry: RegistryCompare, harm: str
) -> None:
    change(world, harm)
    for looked in (False, True):
        if looked:
            registry.look()
        assert not registry.digests(WHOLE)[0].agrees(there(world, WHOLE)[0])


def test_a_list_names_every_record_exactly_and_goes_on_where_it_ended(
    world: World, registry: RegistryCompare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_compare, "LISTED_A_CALL", 7)
    ours = registry.listed((WHOLE,))
    assert {one.nik: one for one in listed(world, (WHOLE,))} == ours
    niks = sorted(ours)
    some = ((niks[3], niks[20]), (niks[40], niks[41]))
    assert [one.nik for one in listed(world, some)] == [*niks[3:20], niks[40]]
    assert listed(world, ()) == []


def test_a_digest_of_many_records_comes_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = (0, 1500_000000_000000, 1806_060000_000000, NIK_STOP)
    whole = there(world, bounds)
    monkeypatch.setattr(ledger_compare, "RECORDS_A_CALL", 1)
    parts, end = ask(world, compare.RECORDS, compare.pack_compare_records(CompareRecords(bounds)))
    assert end == 3
    assert len(parts) > 1
    assert there(world, bounds) == whole


def test_a_ledger_that_does_not_know_a_leaf_says_so(world: World, registry: RegistryCompare) -> None:
    with world.ledger.reader._store.write() as connection:
        connection.exec_driver_sql("UPDATE record SET leaf = 0 WHERE record_no <= 10")
    (digest,) = there(world, WHOLE)
    assert digest.unknown == 10
    assert digest.agrees(registry.digests(WHOLE)[0])
    assert sum(one.leaf == 0 for one in listed(world, (WHOLE,))) == 10


def test_another_region_s_records_are_not_there(world: World) -> None:
    assert there(world, WHOLE, region="3201") == [RecordsDigest()]


def test_a_question_that_cannot_be_read_is_answered_with_nothing(world: World) -> None:
    for what in ANSWERERS:
        assert ask(world, what, b"\xc1") == ([b""], 0)
    too_wide = ComparePackets(world.outbox.epoch, (1, compare.SEQS_A_RANGE_MAX + 2))
    assert ask(world, compare.PACKETS, compare.pack_compare_packets(too_wide)) == ([b""], 0)


def test_an_opened_record_takes_any_version(world: World, registry: RegistryCompare) -> None:
    (nik,) = list(registry.listed((WHOLE,)))[:1]
    registry.open_records([nik])
    with world.registry._database.read() as db:
        assert db.execute("SELECT count(*), max(nik = ?) FROM record WHERE open", (nik,)).fetchone() == (1, 1)


# --- packets --------------------------------------------------------------------------------------


def packets_there(world: World, asked: ComparePackets) -> bytes:
    return b"".join(ask(world, compare.PACKETS, compare.pack_compare_packets(asked))[0])


def test_both_sides_have_the_same_digests_of_packets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, epoch, bounds = OutboxCompare(world.outbox), world.outbox.epoch, (1, 20, 40, 61)
    theirs = packets_there(world, ComparePackets(epoch, bounds))
    assert compare.unpack_packets_digests(theirs, 3) == ours.digests(epoch, bounds)
    assert [one.n for one in ours.digests(epoch, bounds)] == [19, 20, 21]
    monkeypatch.setattr(ledger_compare, "SEQS_A_RANGE_MAX", 25)
    assert packets_there(world, ComparePackets(epoch, bounds)) == theirs
    assert compare.unpack_packets_digests(packets_there(world, ComparePackets("zzzzzz", bounds)), 3)[0].n == 0


def test_both_sides_count_the_same_by_day_and_status(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, epoch, days = OutboxCompare(world.outbox), world.outbox.epoch, days_before(world.clock.now_ms())
    asked = ComparePackets(epoch, days, 61)
    theirs = compare.unpack_buckets(packets_there(world, asked), len(days) + 1)
    assert [list(one) for one in theirs] == ours.by_day(epoch, days, 61)
    assert sorted(sum(one) for one in theirs if sum(one)) == [30, 30]
    monkeypatch.setattr(ledger_compare, "BY_DAY_A_CALL", 17)
    assert compare.unpack_buckets(packets_there(world, asked), len(days) + 1) == theirs


def test_a_packet_that_is_sent_again_waits_whole_and_only_if_its_word_is_still_the_same(world: World) -> None:
    ours, epoch = OutboxCompare(world.outbox), world.outbox.epoch
    held = ours.packets(epoch, ((5, 8),))
    with world.outbox._database.write() as db:
        db.execute("UPDATE packet SET fact_no = 1000 WHERE seq = 6")
    assert ours.send_again(held.values(), world.clock.now_ms()) == [5, 7]
    assert {seq: one.status is None for seq, one in ours.packets(epoch, ((5, 8),)).items()} == {
        5: True,
        6: False,
        7: True,
    }
    with world.outbox._database.write() as db:
        db.execute("UPDATE packet SET fact_no = 6 WHERE seq = 6")
    assert world.arrive() < 300
    world.check()


def test_days_of_packets_from_before_1970_are_no_error(world: World) -> None:
    with world.ledger.reader._store.write() as connection:
        connection.exec_driver_sql(f"UPDATE packet SET at_ms = {-DAY_MS - 1} WHERE seq = 1")
    with world.outbox._database.write() as db:
        db.execute("UPDATE packet SET at_ms = ? WHERE seq = 1", (-DAY_MS - 1,))
    epoch, days = world.outbox.epoch, (1, 2)
    theirs = compare.unpack_buckets(packets_there(world, ComparePackets(epoch, days, 61)), 3)
    assert [list(one) for one in theirs] == OutboxCompare(world.outbox).by_day(epoch, days, 61)
    assert sum(theirs[0]) == 1
