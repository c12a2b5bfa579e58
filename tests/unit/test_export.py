"""What goes into a bundle, and how two histories of the ledger lie to each other: the pure parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.outbox_bundles import Choice, OutboxBundles
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.bundles import (
    Continues,
    GoesBack,
    LeftBehind,
    Seqs,
    is_of_line,
    joined,
    life_of,
    lineage,
    scan,
    told,
)
from pipeline.center.export import Begin
from pipeline.center.export import Held as DownHeld
from pipeline.errors import StoreDamaged, StoreError
from pipeline.region.export import CHUNK_BYTES, Export, Held, join_of
from pipeline.region.framing import Framer
from schemas.bundle import START, BundleReader, Entry, Mark, pack_entries
from schemas.frame import Header, Kind, open_body, seal_frame, split
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.manifest import unpack_manifest
from schemas.messages import HISTORY_MAX, Since
from schemas.ranges import from_numbers, numbers, total
from schemas.verdicts import Status
from tests.unit.outbox_rig import draft, group, mislead, new_outbox, swap_in_index

CENTER = PrivateKey.generate()
OURS = PrivateKey.generate("1806")


def lives(*starts: tuple[str, int]) -> list[Since]:
    """Lives of a ledger by name, and the last number of facts and records before each."""
    return [Since(incarnation=name, facts=at, records=at) for name, at in starts]


# --- histories ------------------------------------------------------------------------------------


def test_the_same_life_continues_and_so_does_a_later_one() -> None:
    ours = lives(("a", 0), ("b", 10))
    assert lineage(15, 15, ours, ours) == Continues(tuple(ours))
    theirs = lives(("a", 0), ("b", 10), ("c", 20), ("d", 30))
    assert lineage(15, 15, ours, theirs) == Continues(tuple(theirs))
    assert lineage(0, 0, (), theirs) == Continues(tuple(theirs))


def test_a_restored_ledger_takes_the_region_back_to_where_both_agree() -> None:
    theirs = lives(("a", 0), ("b", 10), ("c", 12))
    found = lineage(15, 11, lives(("a", 0), ("b", 10)), theirs)
    assert found == GoesBack(12, 11, tuple(theirs))


def test_a_restore_hidden_behind_another_start_is_seen() -> None:
    found = lineage(15, 15, lives(("a", 0)), lives(("a", 0), ("b", 12), ("c", 40)))
    assert isinstance(found, GoesBack)
    assert (found.facts, found.records) == (12, 12)


def test_what_was_made_before_a_life_that_we_know_is_left_behind() -> None:
    older = lineage(5, 5, lives(("a", 0), ("c", 40)), lives(("a", 0), ("b", 10)))
    assert isinstance(older, LeftBehind)
    assert "before the center was last started" in older.why
    stranger = lineage(5, 5, lives(("x", 0)), lives(("a", 0)))
    assert isinstance(stranger, LeftBehind)
    assert "no common past" in stranger.why


def test_a_frame_is_of_our_line_up_to_where_its_life_ended() -> None:
    history, names = lives(("a", 0), ("b", 10)), {"a", "b"}
    assert is_of_line("b", 99, "facts", history, set())
    assert is_of_line("a", 10, "facts", history, names)
    assert not is_of_line("a", 11, "facts", history, names)
    assert not is_of_line("a", 5, "facts", history, {"b"})
    assert not is_of_line("x", 5, "facts", history, {"x"})
    assert is_of_line("x", 5, "facts", (), set())


def test_of_many_lives_a_manifest_names_the_one_that_the_region_knows() -> None:
    since = lives(*((f"life{n}", 10 * n) for n in range(50)))
    said = told(since, since[3:5])
    assert len(said) == HISTORY_MAX
    assert said[0] == since[4]
    assert said[1].facts == 50  # as far as all that were left out agree with it
    assert [one.incarnation for one in said[1:]] == [one.incarnation for one in since[-HISTORY_MAX + 1 :]]
    assert told(since, ()) == since[-HISTORY_MAX:]
    assert told(since[:5], ()) == since[:5]


@given(st.integers(0, 49), st.integers(0, 600), st.integers(0, 600))
def test_leaving_lives_out_never_hides_that_a_region_must_go_back(known: int, facts: int, at: int) -> None:
    starts = [10 * n for n in range(50)]
    starts[known + 1 : known + 2] = [at]
    since = lives(*((f"life{n}", start) for n, start in enumerate(starts)))
    ours = since[: known + 1][-HISTORY_MAX:]
    full, short = lineage(facts, facts, ours, since), lineage(facts, facts, ours, told(since, ours))
    assert type(full) is type(short)
    if isinstance(full, GoesBack) and isinstance(short, GoesBack):
        assert short.facts <= full.facts


# --- ranges ---------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 400)), st.integers(1, 20))
def test_joined_ranges_hold_all_and_are_few(seqs: set[int], most: int) -> None:
    found = joined(from_numbers(seqs), most)
    assert len(found) <= most
    assert seqs <= set(numbers(found))


def test_seqs_are_merged_however_many_come() -> None:
    seqs = Seqs()
    for n in range(20_000, 0, -1):
        seqs.add("k3v9qa", ((n, n + 1),))
    assert seqs.of("k3v9qa") == ((1, 20_001),)
    assert dict(seqs.items()) == {"k3v9qa": ((1, 20_001),)}
    assert seqs.of("other1") == ()


# --- packets out of the outbox --------------------------------------------------------------------


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    yield made
    made.close()


def exported(outbox: SqliteOutbox, choice: Choice | None = None, held: Held | None = None) -> Export:
    """All frames of an export made; their headers are kept beside it."""
    with closing(OutboxBundles(outbox.folder)) as source:
        framer = Framer("1806", outbox.epoch, OURS, CENTER.public)
        export = Export(source, framer, choice or Choice(), held)
        export.headers = [split(one.frame).header for one in export.frames()]  # type: ignore[attr-defined]
    return export


def headers(export: Export) -> list[Header]:
    return list(export.headers)  # type: ignore[attr-defined]


def test_a_damaged_packet_is_left_out_and_named(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 6)], 1)
    outbox.connection.execute("UPDATE body SET stored = zeroblob(length(stored)) WHERE seq = 3")
    export = exported(outbox)
    assert export.damaged == [3]
    assert export.seqs.of(outbox.epoch) == ((1, 3), (4, 6))
    assert export.packets == 4


def test_a_large_packet_that_is_damaged_is_not_ended(outbox: SqliteOutbox) -> None:
    outbox.take_large(draft(1, 3 * CHUNK_BYTES, Lane.BIOMETRIC), 1)
    outbox.connection.execute("UPDATE piece SET bytes = zeroblob(length(bytes)) WHERE id % 4096 = 1")
    export = exported(outbox)
    assert (export.damaged, export.packets, export.seqs.of(outbox.epoch)) == ([1], 0, ())
    outbox.connection.execute("DELETE FROM piece WHERE id % 4096 = 1")
    assert exported(outbox).damaged == [1]


def test_what_cannot_go_stays_out(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 8)], 1)
    outbox.connection.execute("UPDATE packet SET pruned_ms = 5 WHERE seq = 2")
    outbox.connection.execute("INSERT INTO aside VALUES (3, 5, 'damaged')")
    outbox.connection.execute("INSERT INTO suspect VALUES (5, 7)")
    assert exported(outbox, Choice(everything=True)).seqs.of(outbox.epoch) == ((1, 2), (4, 5), (7, 8))
    with closing(OutboxBundles(outbox.folder)) as source:
        assert source.left_out() == {"pruned": 1, "damaged": 1, "suspect": 2}
        assert source.amount(Choice()).packets == 3


def test_what_has_its_receipt_stays_out_unless_all_is_asked_for(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 6)], 1)
    outbox.settle([(1, group(outbox, ((1, 3),), Status.RECEIVED_AT_CENTRAL))], 1, 1)
    assert exported(outbox).seqs.of(outbox.epoch) == ((3, 6),)
    assert exported(outbox, Choice(everything=True)).seqs.of(outbox.epoch) == ((1, 6),)


def test_lanes_go_in_their_order(outbox: SqliteOutbox) -> None:
    outbox.take([draft(1, 600, Lane.BIOMETRIC), draft(2), draft(3, 600, Lane.URGENT)], 1)
    assert [one.lane for one in headers(exported(outbox))] == [Lane.URGENT, Lane.RECORD, Lane.BIOMETRIC]


def test_of_a_large_packet_only_the_missing_chunks_are_written(outbox: SqliteOutbox) -> None:
    outbox.take_large(draft(1, 4 * CHUNK_BYTES + 5, Lane.BIOMETRIC), 1)
    held = Held(chunks={(outbox.epoch, 1): 3})
    export = exported(outbox, held=held)
    assert len(headers(export)) == 2
    assert export.packets == 1
    held = Held(chunks={(outbox.epoch, 1): 5})
    export = exported(outbox, held=held)
    assert headers(export) == []
    assert export.seqs.of(outbox.epoch) == ((1, 2),)


def test_chunks_of_another_epoch_are_not_counted(outbox: SqliteOutbox) -> None:
    outbox.take_large(draft(1, 2 * CHUNK_BYTES, Lane.BIOMETRIC), 1)
    assert len(headers(exported(outbox, held=Held(chunks={("zzzzzz", 1): 1})))) == 2


def test_an_epoch_that_begins_meanwhile_ends_the_export(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 4)], 1)
    with closing(OutboxBundles(outbox.folder)) as source:
        outbox.connection.execute("INSERT INTO epoch(epoch, began_ms, why) VALUES ('zzzzzz', 1, 'loss')")
        with pytest.raises(StoreError, match="run it again"):
            list(source.chosen(Choice(), Lane.RECORD))


def test_a_frame_never_passes_the_limit_of_frames_whatever_packets_hold(outbox: SqliteOutbox) -> None:
    for n in range(1, 60):
        one = draft(n, 16_000)
        stored = one.stored[:500] + os.urandom(len(one.stored) - 500)  # type: ignore[index,arg-type]
        outbox.take([replace(one, stored=stored, digest=sha256(stored).digest())], 1)
    assert total(exported(outbox).seqs.of(outbox.epoch)) == 59


def test_a_manifest_with_any_number_of_ranges_can_be_read(outbox: SqliteOutbox) -> None:
    with closing(OutboxBundles(outbox.folder)) as source:
        export = Export(source, Framer("1806", outbox.epoch, OURS, CENTER.public), Choice())
        for n in range(1, 40_000, 2):
            export.seqs.add(outbox.epoch, ((n, n + 1),))
        export.seqs.add("zzzzzz", ((1, 5),))
        frame = export.manifest(Mark(100, 3, START.chain), 5)
    said = unpack_manifest(open_body(split(frame), lambda _: CENTER))
    assert (said.entries, said.size, said.what) == (3, 100, "packets")
    assert {one.epoch for one in said.epochs} == {outbox.epoch, "zzzzzz"}
    assert all(1 in set(numbers(one.seqs)) for one in said.epochs)


# --- what a part of a file tells ------------------------------------------------------------------


def entries(*frames: bytes) -> list[Entry]:
    return list(BundleReader().feed(pack_entries(frames)[0]))


def frame(kind: Kind, start: int, to: int, life: str = "abcdef012345") -> bytes:
    header = Header(kind, "1806", life_of(life), b"", b"", seqs=((start + 1, to + 1),))
    return seal_frame(header, b"\xc0", ours=CENTER, theirs=OURS.public)


def test_a_part_of_a_record_bundle_tells_how_far_it_got_without_being_opened() -> None:
    held = DownHeld().read(
        entries(frame(Kind.FACTS, 5, 9), frame(Kind.FACTS, 9, 30), frame(Kind.RECORDS, 2, 40))
    )
    assert (held.facts, held.records) == ((5, 30), (2, 40))
    assert held.begins(Begin(0, 0)) == Begin(5, 2)
    assert DownHeld().begins(Begin(7, 8)) == Begin(7, 8)


def test_it_goes_on_only_while_the_ledger_has_not_gone_back() -> None:
    held = DownHeld().read(entries(frame(Kind.FACTS, 0, 30)))
    assert held.is_of(lives(("abcdef012345", 0)))
    assert held.is_of(lives(("abcdef012345", 0), ("fffffff", 30)))
    assert not held.is_of(lives(("abcdef012345", 0), ("fffffff", 29)))
    assert not held.is_of(lives(("fffffff", 0)))


def test_a_file_is_told_by_the_first_frame_that_is_no_manifest() -> None:
    manifest = seal_frame(
        Header(Kind.MANIFEST, "1806", "k3v9qa", b"", b""), b"\xc0", ours=OURS, theirs=CENTER.public
    )
    join = seal_frame(Header(Kind.JOIN, "1806", "k3v9qa", b"", b""), b"\xc0", ours=OURS, theirs=CENTER.public)
    assert scan(entries(manifest, join)).to_center is True
    assert scan(entries(manifest, frame(Kind.FACTS, 0, 1))).to_center is False
    assert scan(entries(manifest)).to_center is None
    assert scan(entries(manifest, join)).manifest_frame is None
    assert scan(entries(join, manifest)).manifest_frame == manifest
    assert scan([]).first is None


def test_a_disk_that_cannot_be_read_any_further_ends_a_file_there() -> None:
    def failing() -> Iterator[Entry]:
        yield from entries(frame(Kind.FACTS, 0, 1), frame(Kind.FACTS, 1, 2))
        raise StoreError("the stick cannot be read")

    found = scan(failing())
    assert (found.mark.entries, found.damage) == (2, "the stick cannot be read")


def test_the_first_word_is_said_once_in_a_file(outbox: SqliteOutbox) -> None:
    with closing(OutboxBundles(outbox.folder)) as source:
        framer = Framer("1806", outbox.epoch, OURS, CENTER.public)
        join = join_of(b"t" * 16, OURS)
        (first,) = Export(source, framer, Choice()).frames(join)
        held = Held().read(entries(first.frame))
        assert list(Export(source, framer, Choice(), held).frames(join)) == []


# --- an outbox whose index is damaged -------------------------------------------------------------


def test_a_packet_of_another_lane_to_which_the_index_leads_ends_the_export(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 6)], 1)
    mislead(outbox, f"UPDATE packet SET lane = {int(Lane.URGENT)} WHERE seq = 3")
    with closing(OutboxBundles(outbox.folder)) as source, pytest.raises(StoreDamaged, match="at 3"):
        list(source.chosen(Choice(), Lane.RECORD))


def test_seqs_that_do_not_rise_in_the_index_end_the_export(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 6)], 1)
    swap_in_index(outbox, 2, 4)
    with closing(OutboxBundles(outbox.folder)) as source, pytest.raises(StoreDamaged, match="is damaged"):
        list(source.chosen(Choice(), Lane.RECORD))


def test_a_small_packet_whose_bytes_are_missing_or_cut_is_left_out(outbox: SqliteOutbox) -> None:
    outbox.take([draft(n) for n in range(1, 6)], 1)
    outbox.connection.execute("DELETE FROM body WHERE seq = 2")
    outbox.connection.execute("UPDATE body SET stored = substr(stored, 2) WHERE seq = 4")
    export = exported(outbox)
    assert (export.damaged, export.packets) == ([2, 4], 3)
