"""The way back out of the ledger: every record once, by the indexes; what cannot be read stops nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from pipeline.adapters import ledger_rebuild
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_tables import BODY, PIECE, RECORD
from pipeline.center.back import Step, Stretch
from schemas.asks import HeldPacket
from schemas.back import Piece, Position
from schemas.feed import RecordChange
from schemas.identity import PacketId
from schemas.messages import Run
from schemas.verdicts import Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, Places, Rig, face, new_rig, nik, packet
from tests.unit.losses_rig import FIRST, SECOND, THIRD, tell

MEBIBYTE = 1024 * 1024
PHOTO = ("photo", "image/jpeg", JPEG + bytes(range(256)) * 150)
SIGNATURE = ("signature", "image/png", b"\x89PNG\r\n\x1a\n a name")
THUMB = ("thumb", "image/x-wsq", b"not on a card")
OTHER = "zzzzzz"


def stretch(
    rig: Rig, pass_no: int, floor: int, at: int = 0, *, records_max: int = 1_000, bytes_max: int = MEBIBYTE
) -> Stretch:
    position = Position(pass_no, floor, at)
    return rig.ledger.way_back(REGION, position, records_max, bytes_max, 10_000, OTHER)


def steps(rig: Rig, pass_no: int, floor: int, **bounds: int) -> Iterator[Step]:
    """Every step of a pass, stretch by stretch; none goes another way than down."""
    at = Position(pass_no, floor)
    while True:
        found = stretch(rig, *at, **bounds)
        for one in found.steps:
            assert one.to.behind(at)
            at = one.to
            yield one
        if found.end:
            return
        assert found.to.behind(at) or found.to == at
        at = found.to


def records(rig: Rig, pass_no: int, floor: int = 100, **bounds: int) -> list[RecordChange]:
    return [one.record for one in steps(rig, pass_no, floor, **bounds) if one.record is not None]


def pieces(rig: Rig, floor: int = 100, **bounds: int) -> list[Piece]:
    return [one.piece for one in steps(rig, 3, floor, **bounds) if one.piece is not None]


def whole(found: list[Piece]) -> dict[tuple[int, str], bytes]:
    """Attachments put together; their digests are right."""
    held: dict[tuple[int, str], bytes] = {}
    for one in found:
        assert len(held.get((one.seq, one.name), b"")) == one.offset
        held[one.seq, one.name] = held.get((one.seq, one.name), b"") + one.data
    for one in found:
        assert hashlib.sha256(held[one.seq, one.name]).digest() == one.digest
    return held


def write(rig: Rig, statement: Any) -> None:
    store = open_store(rig.place, look_only=True)
    with store.write() as connection:
        connection.execute(statement)
    store.close()


def test_open_cases_come_first_then_printed_ones_each_newest_first(rig: Rig) -> None:
    rig.take(*(packet(number) for number in range(1, 7)))
    rig.take(packet(2, kind="card_printed"), packet(5, kind="card_printed"), first=10)
    assert [one.seq for one in records(rig, 1)] == [6, 4, 3, 1]
    assert [(one.seq, one.status) for one in records(rig, 2)] == [
        (5, Status.CARD_PRINTED),
        (2, Status.CARD_PRINTED),
    ]
    assert [one.head for one in records(rig, 2)] == [packet(5), packet(2)]


@settings(max_examples=25, deadline=None)
@given(
    printed=st.sets(st.integers(1, 9)),
    records_max=st.integers(1, 6),
    bytes_max=st.integers(1, 800),
    floor=st.integers(0, 20),
)
def test_both_passes_bring_each_record_below_the_floor_once_however_they_are_cut(
    places: Places, printed: set[int], records_max: int, bytes_max: int, floor: int
) -> None:
    with places() as place:
        rig = new_rig(place)
        rig.take(*(packet(number) for number in range(1, 10)))
        if printed:
            rig.take(*(packet(number, kind="card_printed") for number in sorted(printed)), first=20)
        bounds = {"records_max": records_max, "bytes_max": bytes_max}
        found = [one for pass_no in (1, 2) for one in records(rig, pass_no, floor, **bounds)]
        numbers = {row.source.seq: row.record_no for row in rig.ledger.reader.records()}
        below = {seq for seq, number in numbers.items() if number <= floor}
        assert sorted(one.seq for one in found) == sorted(below)
        for pass_no in (1, 2):
            counted = sum(one.passed for one in steps(rig, pass_no, floor, **bounds))
            assert counted == rig.ledger.back_left(REGION, pass_no, floor)
        rig.ledger.close()


def test_a_record_that_moves_above_the_floor_meanwhile_is_not_met_again(rig: Rig) -> None:
    rig.take(packet(1), packet(2), packet(3))
    found = stretch(rig, 1, 3, records_max=1)
    rig.take(packet(1, alamat="JL. BARU"), first=4)
    assert [one.seq for one in records(rig, 1, found.to.floor)] == [2]


# --- attachments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_max", [1, 9_000, 15_000, MEBIBYTE])
def test_what_a_card_shows_comes_in_pieces_that_fit_together(rig: Rig, bytes_max: int) -> None:
    rig.take(packet(1, [THUMB, face(b"one"), SIGNATURE]), packet(2))
    large = packet(3, [PHOTO, ("left_iris", "image/x-iris", bytes(50_000)), SIGNATURE])
    rig.step(*(rig.chunk(3, large, start, start + 30_000) for start in range(0, len(large), 30_000)))
    rig.validate()
    found = pieces(rig, bytes_max=bytes_max)
    assert whole(found) == {
        (3, "photo"): PHOTO[2],
        (3, "signature"): SIGNATURE[2],
        (1, "face"): face(b"one")[2],
        (1, "signature"): SIGNATURE[2],
    }
    assert max(len(one.data) for one in found) <= 10_000
    assert sum(one.passed for one in steps(rig, 3, 100, bytes_max=bytes_max)) == 3


def test_pieces_go_on_in_the_middle_of_a_record_and_not_of_one_that_moved(rig: Rig) -> None:
    rig.take(packet(1, [PHOTO]), packet(2, [SIGNATURE]))
    floor = rig.ledger.reader.records(nik=nik(1))[0].record_no
    rest = [one.piece for one in steps(rig, 3, floor, bytes_max=MEBIBYTE) if one.piece is not None]
    found = stretch(rig, 3, floor, 20_000)
    assert [one.piece for one in found.steps] == rest[2:]
    rig.take(packet(1, kind="card_printed"), first=9)
    assert stretch(rig, 3, floor, 20_000).steps == ()


def test_pictures_of_the_regions_own_epoch_are_at_the_region(rig: Rig) -> None:
    rig.take(packet(1, [SIGNATURE]))
    rig.step(rig.batch({1: packet(2, [SIGNATURE])}, epoch=OTHER))
    rig.validate()
    assert list(whole(pieces(rig))) == [(1, "signature")]
    assert {one.epoch for one in pieces(rig)} == {EPOCH}
    assert [one.epoch for one in records(rig, 1)] == [OTHER, EPOCH]


def test_an_empty_attachment_has_a_piece_too(rig: Rig) -> None:
    rig.take(packet(1, [SIGNATURE]))
    stored = packet(1, [("face", "image/jpeg", b""), SIGNATURE, ("photo", "image/jpeg", b"")])
    write(rig, BODY.update().values(stored=stored))
    assert list(whole(pieces(rig))) == [(1, "face"), (1, "signature"), (1, "photo")]


# --- what cannot be read --------------------------------------------------------------------------


def damaged(rig: Rig) -> None:
    """Three records: one without its body, one with a head that is none, one that is whole."""
    rig.take(packet(1), packet(2), packet(3))
    write(rig, BODY.delete().where(BODY.c.seq == 3))
    write(rig, BODY.update().where(BODY.c.seq == 2).values(stored=b"\xff" * 30))


def test_a_record_whose_packet_cannot_be_read_is_named_and_left_out(rig: Rig) -> None:
    damaged(rig)
    found = stretch(rig, 1, 100)
    assert [one.record.seq for one in found.steps if one.record is not None] == [1]
    assert (len(found.steps), found.end, len(found.unreadable)) == (3, True, 2)
    rig.ledger.note_unreadable(REGION, found.unreadable, 7)
    assert rig.ledger.reader.counts(REGION).counters["records_unreadable"] == 2
    (last,) = (
        one for one in rig.ledger.reader.events(PacketId(REGION, EPOCH, 3)) if one.what == "unreadable"
    )
    assert (last.at_ms, last.seqs) == (7, (3, 3))


def test_it_stops_what_is_new_no_more_than_the_way_back(rig: Rig) -> None:
    damaged(rig)
    changes, to = rig.ledger.records_after(REGION, 0, 10, MEBIBYTE, None)
    assert ([one.seq for one in changes], to) == ([1], 3)
    assert rig.ledger.reader.counts(REGION).counters["records_unreadable"] == 2


def test_an_attachment_of_which_a_piece_is_lost_is_named_and_left_out(rig: Rig) -> None:
    large = packet(1, [PHOTO])
    rig.step(*(rig.chunk(1, large, start, start + 9_000) for start in range(0, len(large), 9_000)))
    rig.take(packet(2, [SIGNATURE]), first=2)
    write(rig, PIECE.delete().where(PIECE.c.start == 18_000))
    assert list(whole(pieces(rig))) == [(2, "signature")]
    assert len(stretch(rig, 3, 100).unreadable) == 1
    assert rig.ledger.reader.pieces_of(REGION, nik(1), None, 0, MEBIBYTE) == ([], 0, True)


# --- how it is found ------------------------------------------------------------------------------


def plans(rig: Rig, pass_no: int) -> list[str]:
    """How SQLite goes about a stretch of that pass and its count."""
    store = open_store(rig.place, look_only=True)
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        asked.append((statement, parameters))

    engine = store._reading  # the plan is no matter of its public face
    event.listen(engine, "before_cursor_execute", note)
    with store.read() as connection:
        ledger_rebuild.way_back(connection, REGION, Position(pass_no, 100), 10, 1_000, 1_000, OTHER)
        ledger_rebuild.left(connection, REGION, pass_no, 100)
        queries = [one for one in asked if "FROM record" in one[0]]
        rows = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            for statement, parameters in queries
        ]
    store.close()
    return ["; ".join(row.detail for row in plan) for plan in rows]


@pytest.mark.parametrize(("pass_no", "index"), [(1, "record_open"), (2, "record_number"), (3, "record_open")])
def test_a_stretch_and_a_count_are_found_by_their_index(rig: Rig, pass_no: int, index: str) -> None:
    if not isinstance(rig.place, Path):
        pytest.skip("the plan is SQLite's")
    rig.take(packet(1))
    down, *counts = plans(rig, pass_no)
    assert f"SEARCH record USING INDEX {index} (region=? AND record_no<?)" in down
    assert "TEMP B-TREE" not in down
    waiting, *total = counts
    assert waiting.startswith("SEARCH record USING INDEX record_open (region=? AND record_no<?)")
    assert total == (
        ["SEARCH record USING COVERING INDEX record_number (region=? AND record_no<?)"] * (pass_no == 2)
    )


def test_rows_of_another_pass_are_looked_at_a_bounded_number_at_a_time(rig: Rig) -> None:
    rig.take(*(packet(number) for number in range(1, 10)))
    found = stretch(rig, 2, 9, records_max=4)
    assert (found.steps, found.to, found.end) == ((), Position(2, 5), False)


# --- what is asked for ----------------------------------------------------------------------------


def test_a_record_is_found_by_its_nik_with_any_of_its_attachments(rig: Rig) -> None:
    stored = packet(1, [THUMB, SIGNATURE])
    rig.take(stored)
    reader = rig.ledger.reader
    found = reader.record_now(REGION, nik(1))
    assert found is not None
    assert (found.version, found.seq, found.head) == (1, 1, stored[: -len(THUMB[2] + SIGNATURE[2])])
    assert reader.record_now(REGION, nik(2)) is None
    assert reader.record_now("3273", nik(1)) is None
    everything, to, done = reader.pieces_of(REGION, nik(1), None, 0, MEBIBYTE)
    assert whole(everything) == {(1, "thumb"): THUMB[2], (1, "signature"): SIGNATURE[2]}
    assert (to, done) == (len(THUMB[2] + SIGNATURE[2]), True)
    assert whole(reader.pieces_of(REGION, nik(1), ["thumb"], 0, MEBIBYTE)[0]) == {(1, "thumb"): THUMB[2]}
    assert reader.pieces_of(REGION, nik(2), None, 0, MEBIBYTE) == ([], 0, True)


def test_packets_are_listed_from_a_seq_on(rig: Rig) -> None:
    rig.step(rig.batch({1: packet(1), 2: packet(2), 5: packet(5), 6: b"\0\0\0\1x"}))
    reader = rig.ledger.reader
    held, more = reader.packets_held(REGION, EPOCH, ((1, 3), (4, 9)), 10)
    assert ([one.seq for one in held], more) == ([1, 2, 5, 6], None)
    digest = hashlib.sha256(packet(1)).digest()
    assert held[0] == HeldPacket(1, Status.RECEIVED_AT_CENTRAL, 1, digest)
    assert (held[3].status, held[3].digest) == (Status.REFUSED, b"")
    held, more = reader.packets_held(REGION, EPOCH, ((1, 3), (4, 9)), 2)
    assert ([one.seq for one in held], more) == ([1, 2], 5)
    assert reader.packets_held(REGION, OTHER, ((1, 9),), 10) == ([], None)
    assert reader.packets_held("3273", EPOCH, ((1, 9),), 10) == ([], None)


def test_a_packet_that_is_here_under_another_of_its_names_is_held_under_the_one_asked_for(rig: Rig) -> None:
    """Packets 3 to 5 of the first epoch are 1 to 3 of the second, and 2 and 3 of that 1 and 2 of the third;
    one came under each of its names."""
    rig.step(rig.want(epoch=FIRST, highest_seq=5), rig.batch({1: packet(1), 5: packet(5)}, epoch=FIRST))
    rig.step(rig.want(epoch=SECOND, highest_seq=3))
    tell(rig, SECOND, Run(epoch=FIRST, old=3, new=1, count=3))
    rig.step(rig.batch({1: packet(3)}, epoch=SECOND))
    rig.step(rig.want(epoch=THIRD, highest_seq=2))
    tell(rig, THIRD, Run(epoch=SECOND, old=2, new=1, count=2), Run(epoch=FIRST, old=4, new=1, count=2))
    rig.step(rig.batch({1: packet(4)}, epoch=THIRD))
    held = rig.ledger.reader.packets_held
    digests = {n: hashlib.sha256(packet(n)).digest() for n in (1, 3, 4, 5)}

    def found(epoch: str, limit: int = 10) -> tuple[list[tuple[int, bytes]], int | None]:
        listed, more = held(REGION, epoch, ((1, 99),), limit)
        return [(one.seq, one.digest) for one in listed], more

    first = [(1, digests[1]), (3, digests[3]), (4, digests[4]), (5, digests[5])]
    assert found(FIRST) == (first, None)
    assert found(FIRST, 2) == (first[:2], 4)
    assert found(FIRST, 4) == (first, None)
    assert found(SECOND) == ([(1, digests[3]), (2, digests[4]), (3, digests[5])], None)
    assert found(THIRD) == ([(1, digests[4]), (2, digests[5])], None)


def test_the_rebuild_of_a_region_is_what_its_latest_want_says(rig: Rig) -> None:
    assert rig.ledger.reader.rebuild_of(REGION) is None
    assert rig.ledger.reader.rebuild_of("9999") is None
    rig.region.send_control(rig.want(fresh=True, clock_ms=5))
    rig.intake.step(REGION)
    assert rig.ledger.reader.rebuild_of(REGION) == (None, 5, True)


def test_records_and_counts_stay_within_their_region(rig: Rig) -> None:
    rig.take(packet(1))
    rig.other_region("3273", {1: packet(2), 2: packet(3)})
    rig.validate()
    assert [one.seq for one in records(rig, 1)] == [1]
    assert rig.ledger.back_left(REGION, 1, 100) == 1
    assert rig.ledger.back_left("3273", 1, 100) == 2
    write(rig, RECORD.delete().where(RECORD.c.region == REGION))
    assert stretch(rig, 1, 100) == Stretch((), Position(1, 0), True)
