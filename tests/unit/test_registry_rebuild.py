"""An empty registry on its way back: what comes twice, late or damaged, it ends with what the center has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.errors import StoreDamaged
from pipeline.hop import Fit
from pipeline.region.level import LEVEL_BYTES_MIN, level_in_force, level_of
from pipeline.region.rebuild import back_span, begun, fit_back, pace_of, rebuild_json
from schemas.back import BackFrame, Piece, Position, pack_back
from schemas.codec import pack_flat
from schemas.errors import SchemaError
from schemas.feed import RecordChange, Span
from schemas.messages import Back, Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status

SINCE = Since(incarnation="one")
NIKS = [f"18060615059000{n:02d}" for n in range(1, 60)]
PICTURE = bytes(range(256)) * 40


def change(number: int, version: int = 1, name: str = "A") -> RecordChange:
    head = pack_head(Packet("enrolment", {"nik": NIKS[number], "nama": name}, (), 1)).prefix
    return RecordChange(version, Status.PRINT_READY_RECORD, "aaaaaa", number + 1, head)


def back(
    start: tuple[int, int, int],
    to: tuple[int, int, int],
    *records: RecordChange,
    left: int = 0,
    total: int = 0,
) -> BackFrame:
    return BackFrame("one", 1, Position(*start), Position(*to), left, total, records)


def pictures(start: tuple[int, int, int], to: tuple[int, int, int], *pieces: Piece) -> BackFrame:
    return BackFrame("one", 1, Position(*start), Position(*to), 0, 1, (), pieces)


def piece(start: int, stop: int, data: bytes = PICTURE, digest: bytes | None = None) -> Piece:
    said = hashlib.sha256(PICTURE).digest() if digest is None else digest
    return Piece("aaaaaa", 7, "photo", "image/jpeg", len(PICTURE), said, start, data[start:stop])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_registry(tmp_path, 1, fresh=True)
    return tmp_path


@pytest.fixture
def registry(folder: Path) -> Iterator[SqliteRegistry]:
    one = SqliteRegistry(folder)
    yield one
    one.close()


@pytest.fixture
def reader(folder: Path) -> Iterator[RegistryReader]:
    one = RegistryReader(folder)
    yield one
    one.close()


def versions(reader: RegistryReader) -> dict[str, int]:
    return {one.nik: one.version for one in reader.records(100)}


# --- where it begins ------------------------------------------------------------------------------


def test_a_fresh_registry_begins_at_the_tops_once(registry: SqliteRegistry) -> None:
    assert registry.cursors().fresh
    registry.start_at(500, 90, SINCE, 1_000)
    registry.start_at(900, 10, SINCE, 2_000)
    cursors = registry.cursors()
    assert (cursors.facts, cursors.records, cursors.fresh) == (500, 90, False)
    assert cursors.history == (SINCE,)
    assert cursors.back == Back(pass_no=1, floor=90, top=90, began_ms=1_000)


def test_a_registry_that_is_not_fresh_never_jumps(tmp_path: Path) -> None:
    create_registry(tmp_path, 1)
    one = SqliteRegistry(tmp_path)
    one.start_at(500, 90, SINCE, 1_000)
    assert one.cursors().facts == 0
    one.close()


def test_a_center_that_knows_nothing_of_a_start_leaves_a_region_that_is_not_fresh_any_more(
    registry: SqliteRegistry,
) -> None:
    registry.adopt(SINCE)
    registry.apply_records(Span("one", 1, 0, 5), [change(1)], 1)
    assert not registry.cursors().fresh
    registry.start_at(500, 90, SINCE, 1_000)
    assert registry.cursors().records == 5


def test_where_the_center_has_no_records_the_office_is_open_at_once(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(3, 0, SINCE, 1_000)
    assert reader.rebuild() == (False, None, 1_000, 1_000)
    assert [one.what for one in reader.events()] == ["rebuild begun", "open for service", "rebuilt"]


# --- the way back ---------------------------------------------------------------------------------


def test_frames_go_down_pass_by_pass_and_the_office_opens_after_the_first(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    assert registry.apply_back(back((1, 90, 0), (1, 40, 0), change(1), left=3, total=4), 2_000)
    assert reader.rebuild().opened_ms is None
    assert registry.apply_back(back((1, 40, 0), (2, 90, 0), change(2), left=9, total=9), 3_000)
    assert reader.rebuild().opened_ms == 3_000
    assert registry.cursors().back == Back(
        pass_no=2, floor=90, top=90, left=9, total=9, began_ms=3_000, opened_ms=3_000
    )
    assert registry.apply_back(back((2, 90, 0), (3, 90, 0), change(3)), 4_000)
    assert registry.apply_back(pictures((3, 90, 0), (4, 90, 0)), 5_000)
    assert reader.rebuild() == (False, None, 3_000, 5_000)
    assert versions(reader) == {NIKS[1]: 1, NIKS[2]: 1, NIKS[3]: 1}
    whats = [one.what for one in reader.events()]
    assert whats == ["rebuild begun", "open for service", "rebuilt"]


def test_what_does_not_continue_the_way_back_changes_nothing(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    assert not registry.apply_back(back((1, 80, 0), (1, 40, 0), change(1)), 2_000)  # a gap
    assert registry.apply_back(back((1, 90, 0), (1, 40, 0)), 2_000)
    assert not registry.apply_back(back((1, 90, 0), (1, 40, 0), change(1)), 2_000)  # once more
    assert not registry.apply_back(back((1, 90, 0), (1, 60, 0), change(1)), 2_000)  # shorter
    assert versions(reader) == {}
    assert registry.apply_back(back((1, 90, 0), (1, 20, 0), change(1)), 2_000)  # an overlap
    assert versions(reader) == {NIKS[1]: 1}


def test_what_came_live_meanwhile_is_newer_and_stays(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    registry.apply_records(Span("one", 1, 90, 91), [change(1, 5, "NEW")], 1_500)
    registry.apply_back(back((1, 90, 0), (2, 90, 0), change(1, 4, "OLD"), change(2)), 2_000)
    assert versions(reader) == {NIKS[1]: 5, NIKS[2]: 1}


def test_a_record_without_a_readable_head_undoes_its_whole_frame(registry: SqliteRegistry) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    with pytest.raises(SchemaError):
        registry.apply_back(
            back((1, 90, 0), (1, 40, 0), change(1), change(2)._replace(head=b"\x00\x00\x00\x01x")), 2_000
        )
    assert registry.record_count() == 0
    assert registry.cursors().back == begun(90, 1_000)


def test_a_damaged_note_of_the_way_back_is_said(folder: Path, registry: SqliteRegistry) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    db = apsw.Connection(str(folder / "registry.db"))
    db.execute("UPDATE meta SET value = '{\"pass_no' WHERE key = 'back'")
    db.close()
    with pytest.raises(StoreDamaged, match="init region --rebuild"):
        registry.cursors()


# --- the center's ledger restored -----------------------------------------------------------------


def test_a_rewind_below_the_top_begins_the_way_back_again(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    registry.apply_back(back((1, 90, 0), (2, 90, 0), change(1, 9)), 2_000)
    registry.rewind(0, 50, Since(incarnation="two", records=50))
    cursors = registry.cursors()
    assert cursors.records == 50
    assert cursors.back == Back(pass_no=1, floor=50, top=50, began_ms=2_000, opened_ms=2_000)
    registry.apply_back(back((1, 50, 0), (2, 50, 0), change(1, 3)), 3_000)
    assert versions(reader) == {NIKS[1]: 3}  # version 9 never was, in this life of the ledger
    opened = [one for one in reader.events() if one.what == "open for service"]
    assert [one.at_ms for one in opened] == [2_000]


def test_a_rewind_above_the_top_leaves_the_way_back_as_it_is(registry: SqliteRegistry) -> None:
    registry.start_at(0, 90, SINCE, 1_000)
    registry.apply_back(back((1, 90, 0), (1, 30, 0)), 2_000)
    registry.apply_records(Span("one", 1, 90, 120), [], 2_000)
    registry.rewind(0, 100, Since(incarnation="two", records=100))
    cursors = registry.cursors()
    assert cursors.records == 100
    assert cursors.back is not None
    assert (cursors.back.floor, cursors.back.top) == (30, 90)


# --- attachments ----------------------------------------------------------------------------------


def attachment(reader: RegistryReader) -> tuple[int, bytes]:
    (one,) = reader.attachments("aaaaaa", 7)
    return one.whole, b"".join(reader.attachment_bytes(one.id))


@given(cuts=st.lists(st.tuples(st.integers(0, 10_239), st.integers(1, 4_000)), max_size=12))
def test_pieces_cut_in_any_way_make_the_attachment_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("registry")
    create_registry(folder, 1, fresh=True)
    registry, reader = SqliteRegistry(folder), RegistryReader(folder)
    registry.start_at(0, 9, SINCE, 1)
    registry.apply_back(back((1, 9, 0), (3, 9, 0)), 1)
    covered: set[int] = set()
    for n, (start, length) in enumerate(cuts):
        stop = min(len(PICTURE), start + length)
        registry.apply_back(pictures((3, 9, n), (3, 9, n + 1), piece(start, stop)), 1)
        covered |= set(range(start, stop))
        whole = len(covered) == len(PICTURE)
        assert attachment(reader)[0] == int(whole)
    registry.apply_back(pictures((3, 9, len(cuts)), (4, 9, 0), piece(0, len(PICTURE))), 1)
    assert attachment(reader) == (1, PICTURE)
    reader.close()
    registry.close()


def test_bytes_that_are_not_what_the_packet_says_are_dropped_and_may_come_again(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.start_at(0, 9, SINCE, 1)
    registry.apply_back(back((1, 9, 0), (3, 9, 0)), 1)
    wrong = bytes(len(PICTURE))
    registry.apply_back(pictures((3, 9, 0), (3, 8, 0), piece(0, len(PICTURE), wrong)), 1)
    assert attachment(reader) == (2, b"")
    registry.apply_back(pictures((3, 8, 0), (3, 7, 0), piece(0, len(PICTURE))), 1)
    assert attachment(reader) == (1, PICTURE)


# --- pure -----------------------------------------------------------------------------------------


def test_a_frame_fits_where_it_begins_at_or_before_us_and_leads_further() -> None:
    here = Back(pass_no=2, floor=50, at=3, top=90)

    def fits(start: tuple[int, int, int], to: tuple[int, int, int], session: int = 1) -> Fit:
        return fit_back(back(start, to), session, "one", here)

    assert fits((2, 50, 3), (2, 40, 0)) is Fit.APPLY
    assert fits((1, 5, 0), (2, 49, 0)) is Fit.APPLY
    assert fits((2, 50, 4), (2, 40, 0)) is Fit.GAP
    assert fits((3, 90, 0), (4, 90, 0)) is Fit.GAP
    assert fits((2, 60, 0), (2, 50, 3)) is Fit.OLD
    assert fits((2, 50, 3), (2, 40, 0), session=2) is Fit.FOREIGN
    assert fit_back(back((2, 50, 3), (2, 40, 0)), 1, "one", None) is Fit.OLD


def test_where_a_frame_of_a_newer_form_leads_is_read_all_the_same() -> None:
    body = pack_back(back((1, 90, 0), (1, 40, 0), change(1), left=5, total=8))
    flat = [b"one", 1, 1, 90, 0, 1, 40, 0, 5, 8, b"a field that is new", *range(300)]
    assert back_span(pack_flat(flat)) == back((1, 90, 0), (1, 40, 0), left=5, total=8)
    assert back_span(body) == back((1, 90, 0), (1, 40, 0), left=5, total=8)
    assert back_span(b"\x93\x01\x02\x03") is None
    assert back_span(b"") is None


def test_percent_rate_and_what_is_left() -> None:
    here = Back(pass_no=2, floor=5, top=90, left=300, total=400, began_ms=10_000)
    assert pace_of(here, 20_000) == (25.0, 10.0, 30.0)
    assert pace_of(here, 10_500) == (25.0, None, None)  # a rate of half a second is a guess
    assert pace_of(here.model_copy(update={"left": 400}), 20_000) == (0.0, None, None)
    assert pace_of(Back(pass_no=1, floor=5, top=5), 20_000) == (None, None, None)


def test_what_is_shown_of_a_rebuild() -> None:
    assert rebuild_json(None, 1, None, None) is None
    waiting = rebuild_json(None, 1, None, None, fresh=True)
    assert waiting is not None
    assert (waiting["state"], waiting["percent"]) == ("waiting for the center", None)
    here = Back(pass_no=2, floor=5, top=90, left=300, total=400, began_ms=10_000, opened_ms=9_000)
    running = rebuild_json(here, 20_000, None, None)
    assert running == {
        "state": "running", "pass": 2, "of": 3, "percent": 25.0, "left": 300, "total": 400, "rate_s": 10.0,
        "eta_s": 30.0, "began_ms": 10_000, "opened_ms": 9_000, "rebuilt_ms": None,
    }  # fmt: skip
    done = rebuild_json(None, 30_000, 9_000, 25_000)
    assert done is not None
    assert (done["state"], done["opened_ms"], done["rebuilt_ms"]) == ("done", 9_000, 25_000)


def test_the_level_follows_what_the_way_back_carries() -> None:
    assert level_of(0.0, 0.0, 0) == LEVEL_BYTES_MIN
    assert level_of(125_000, 0.1, 0) == 96 * 1024
    assert level_of(1_250_000, 0.1, 128 * 1024) == 1_024 * 1024
    assert level_of(130_000, 0.1, 64 * 1024) == 96 * 1024
    assert level_of(85_000, 0.1, 64 * 1024) == 64 * 1024  # not worth a word
    assert level_of(85_000, 0.1, 96 * 1024) == 96 * 1024
    assert level_in_force(1024 * 1024, 256 * 1024) == 256 * 1024
    assert level_in_force(0, 256 * 1024) == LEVEL_BYTES_MIN
    assert level_in_force(0, 32 * 1024) == 32 * 1024
