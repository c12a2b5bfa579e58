"""Questions that jump the queue, at the region: asked at once, answered in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.registry_asks import KEPT_MS
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.ports import DownHint, EntryId
from pipeline.region.pulled import Step
from pipeline.region.speaker import NEWS_S, VOICE_S
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from pipeline.throttle import State, ThrottleView
from schemas.asks import PACKETS, RECORD, Answer, pack_answer, pack_record, pack_record_args
from schemas.back import BackFrame, Piece, Position, flat_pieces, pack_back
from schemas.codec import pack_flat
from schemas.feed import RecordChange, Span, pack_records
from schemas.frame import Header, Kind, open_body, seal_frame, split
from schemas.keys import PrivateKey
from schemas.messages import ASKS_MAX, Ack, Ask, Since, Want, pack_message, unpack_message
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status

NIK = "1806061505900001"
FACE = bytes(range(200))


def change(version: int = 1, name: str = "A", nik: str = NIK) -> RecordChange:
    head = pack_head(Packet("enrolment", {"nik": nik, "nama": name}, (), 1)).prefix
    return RecordChange(version, Status.PRINT_READY_RECORD, "aaaaaa", 7, head)


def answer(ask: int, at: int, to: int, payload: bytes, done: bool = False, session: int = 1) -> Answer:
    return Answer("one", session, ask, at, to, done, payload)


def face(start: int, stop: int) -> bytes:
    digest = hashlib.sha256(FACE).digest()
    return pack_flat(
        flat_pieces([Piece("aaaaaa", 7, "face", "image/png", len(FACE), digest, start, FACE[start:stop])])
    )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    create_registry(tmp_path, 1)
    one = SqliteRegistry(tmp_path)
    yield one
    one.close()


@pytest.fixture
def reader(tmp_path: Path, registry: SqliteRegistry) -> Iterator[RegistryReader]:
    assert registry.record_count() == 0
    one = RegistryReader(tmp_path)
    yield one
    one.close()


# --- the registry ---------------------------------------------------------------------------------


def test_a_question_is_open_until_its_last_part_and_is_not_asked_twice(registry: SqliteRegistry) -> None:
    first = registry.ask(PACKETS, b"args", 1)
    assert registry.ask(PACKETS, b"args", 2) == first
    other = registry.ask(PACKETS, b"others", 3)
    assert registry.asks() == (
        Ask(id=first, what=PACKETS, args=b"args"),
        Ask(id=other, what=PACKETS, args=b"others"),
    )
    assert registry.apply_answer(answer(first, 0, 10, b"one"), 5)
    assert registry.asks()[0].at == 10
    assert registry.answered(first) is None
    assert not registry.apply_answer(answer(first, 0, 10, b"one"), 6)  # once more
    assert not registry.apply_answer(answer(first, 20, 30, b"three"), 6)  # a gap
    assert registry.apply_answer(answer(first, 10, 20, b"", done=True), 7)
    assert not registry.apply_answer(answer(first, 20, 30, b"more", done=True), 8)
    found = registry.answered(first)
    assert found is not None
    assert (found.payloads, found.answered_ms) == ((b"one",), 7)
    assert [one.id for one in registry.asks()] == [other]
    assert registry.ask(PACKETS, b"args", 9) not in (first, other)  # that one has its answer


def test_a_want_asks_so_many_questions_and_the_others_after_them(registry: SqliteRegistry) -> None:
    ids = [registry.ask(PACKETS, bytes([n]), 1) for n in range(ASKS_MAX + 3)]
    assert [one.id for one in registry.asks()] == ids[:ASKS_MAX]
    registry.apply_answer(answer(ids[0], 0, 0, b"", done=True), 1)
    assert [one.id for one in registry.asks()] == ids[1 : ASKS_MAX + 1]


def test_questions_of_yesterday_are_forgotten(registry: SqliteRegistry) -> None:
    old = registry.ask(PACKETS, b"old", 1_000)
    new = registry.ask(PACKETS, b"new", 1_001 + KEPT_MS)
    assert registry.asked(old) is None
    assert [one.id for one in registry.asks()] == [new]


def test_a_record_that_is_answered_is_in_the_registry_with_its_attachments(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    ask = registry.ask(RECORD, pack_record_args(NIK, ("*",)), 1)
    assert registry.apply_answer(answer(ask, 0, 1, pack_record(change())), 2)
    assert reader.record(NIK) is not None
    assert registry.apply_answer(answer(ask, 1, 101, face(0, 100)), 2)
    assert reader.attachments("aaaaaa", 7)[0].whole == 0
    assert registry.apply_answer(answer(ask, 101, 201, face(100, 200), done=True), 3)
    (one,) = reader.attachments("aaaaaa", 7)
    assert (one.whole, b"".join(reader.attachment_bytes(one.id))) == (1, FACE)
    found = registry.answered(ask)
    assert found is not None
    assert found.payloads == (pack_record(change()),)  # and not the pieces, which lie where they belong


def test_a_fetched_record_mends_one_of_the_same_version_that_was_damaged(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.apply_records(Span("one", 1, 0, 1), [change(3, "FLIPPED")], 1)
    ask = registry.ask(RECORD, pack_record_args(NIK), 1)
    registry.apply_answer(answer(ask, 0, 1, pack_record(change(3, "RIGHT")), done=True), 2)
    held = reader.record(NIK)
    assert held is not None
    assert held.head == change(3, "RIGHT").head


def test_a_fetched_attachment_is_mended_where_the_disk_damaged_it(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    def fetch(at_ms: int) -> None:
        ask = registry.ask(RECORD, pack_record_args(NIK, ("*",)), at_ms)
        registry.apply_answer(answer(ask, 0, 1, pack_record(change())), at_ms)
        registry.apply_answer(answer(ask, 1, 201, face(0, 200), done=True), at_ms)

    fetch(1)
    with registry._database.write() as db:
        db.execute("UPDATE piece SET bytes = zeroblob(200)")
    (one,) = reader.attachments("aaaaaa", 7)
    assert b"".join(reader.attachment_bytes(one.id)) == bytes(200)
    fetch(2)
    (one,) = reader.attachments("aaaaaa", 7)
    assert (one.whole, b"".join(reader.attachment_bytes(one.id))) == (1, FACE)


def test_a_record_that_the_center_has_not_leaves_ours_alone(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    registry.apply_records(Span("one", 1, 0, 1), [change()], 1)
    ask = registry.ask(RECORD, pack_record_args(NIK), 1)
    registry.apply_answer(answer(ask, 0, 1, pack_record(None), done=True), 2)
    assert reader.record(NIK) is not None
    found = registry.answered(ask)
    assert found is not None
    assert found.payloads == (pack_record(None),)


def test_an_answer_that_cannot_be_read_closes_its_question(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    ask = registry.ask(RECORD, pack_record_args(NIK), 1)
    assert registry.apply_answer(answer(ask, 0, 1, b"of a newer form"), 2)
    found = registry.answered(ask)
    assert found is not None
    assert found.payloads == ()
    assert [one.what for one in reader.events()] == ["answer not read"]


def test_what_was_fetched_gives_way_to_any_version_in_another_life_of_the_ledger(
    registry: SqliteRegistry, reader: RegistryReader
) -> None:
    """Its number may be above the point up to which both lives agree, and nobody has told it."""
    registry.adopt(Since(incarnation="one"))
    ask = registry.ask(RECORD, pack_record_args(NIK), 1)
    registry.apply_answer(answer(ask, 0, 1, pack_record(change(7, "NEVER WAS")), done=True), 2)
    registry.adopt(Since(incarnation="two"))
    registry.apply_records(Span("two", 2, 0, 1), [change(6, "IS")], 3)
    held = reader.record(NIK)
    assert held is not None
    assert (held.version, held.head) == (6, change(6, "IS").head)


# --- what is said ---------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    one.arrive()
    for _ in range(3):
        one.round()
    yield one
    one.close()


def wants(world: World) -> list[Want]:
    """The wants that lie in `ctl`."""
    frames = [one.frame for one in world.link.center_end().read(world.region, "ctl", 100)]
    parts = [one for one in map(split, frames) if one.header.kind is Kind.WANT]
    return [unpack_message(Want, open_body(one, lambda _: world.center_key)) for one in parts]


def test_a_new_question_is_said_at_once_and_then_stands(world: World) -> None:
    world.step_push()
    assert wants(world) == []
    ask = world.registry.ask(RECORD, pack_record_args(NIK), 1)
    world.step_push()
    (said,) = wants(world)
    assert [one.id for one in said.asks] == [ask]
    world.clock.advance(VOICE_S)
    world.step_push()
    assert len(wants(world)) == 1  # it was said


def test_questions_that_come_fast_share_wants(world: World) -> None:
    for n in range(5):
        world.registry.ask(PACKETS, bytes([n]), 1)
        world.step_push()
        world.clock.advance(VOICE_S / 5)
    world.clock.advance(VOICE_S)
    world.step_push()
    said = wants(world)
    assert len(said) == 2
    assert len(said[-1].asks) == 5
    assert 2 * VOICE_S < NEWS_S


class Mouth:
    """A voice that says what it is told to."""

    def __init__(self) -> None:
        self.says = False
        self.why = ""
        self.heard: list[Ack] = []
        self.asked = 0

    def news(self) -> bool:
        return self.says

    def ask(self, want: Want) -> Want:
        self.says = False
        self.asked += 1
        return want.model_copy(update={"whole": True})

    def hear(self, ack: Ack, now_ms: int) -> None:
        assert now_ms > 0
        self.heard.append(ack)

    def holds(self) -> str:
        return self.why


def test_a_voice_speaks_hears_and_holds(tmp_path: Path) -> None:
    mouth = Mouth()
    world = World(tmp_path, voices=(mouth,))
    for line in sample_lines(3, seed=1):
        world.enqueue(line)
    mouth.why = "looking for older packets"
    for _ in range(5):
        world.round()
    assert mouth.heard
    assert world.push.step().waits == "looking for older packets"
    assert world.ledger.reader.counts(world.region).received == 0
    mouth.why = ""
    world.arrive()
    world.check()
    before = mouth.asked
    world.step_push()
    assert mouth.asked == before
    mouth.says = True
    world.clock.advance(VOICE_S)
    world.step_push()
    assert mouth.asked == before + 1
    assert wants(world)[-1].whole
    world.close()


def test_a_want_asks_for_as_much_as_the_way_back_was_measured_to_carry(world: World) -> None:
    measured: list[float] = [0.0]

    def way_back() -> ThrottleView:
        return ThrottleView(State.STEADY, "", 0, measured[-1], 0.1, 0.1, 0.0, 0.05, 0)

    world.pull.link.way_back = way_back  # type: ignore[attr-defined]
    for rate_bytes_s, level in ((125_000.0, 96), (5_000_000.0, 256), (10_000.0, 64)):
        measured.append(rate_bytes_s)
        world.step_pull()
        world.clock.advance(NEWS_S)
        world.step_push()
        assert wants(world)[-1].level == level * 1024
        world.round()


# --- frames ---------------------------------------------------------------------------------------


def put(world: World, kind: Kind, body: bytes, key: PrivateKey | None = None, later: int = 0) -> None:
    """A frame in `down`, as the center makes one; for a machine of another `key`, in a `later` session."""
    end = world.link.center_end()
    hint = end.hint(world.region)
    assert hint is not None
    theirs = (key or world.region_key).public
    header = Header(kind, world.region, world.outbox.epoch, world.center_key.id, theirs.id)
    frame = seal_frame(header, body, ours=world.center_key, theirs=theirs)
    hint = hint._replace(session=hint.session + later, n=hint.n + 1)
    assert end.put_down(world.region, EntryId(hint.session, hint.n), frame, hint)


def life(world: World) -> tuple[str, int]:
    """Incarnation and session now."""
    return world.registry.cursors().history[-1].incarnation, world.pull.speaker.session


def going_back(world: World, top: int = 90) -> None:
    """The registry is on its way back from `top`."""
    with world.registry._database.write() as db:
        db.execute("UPDATE meta SET value = 1 WHERE key = 'fresh'")
        db.execute("UPDATE meta SET value = 0 WHERE key IN ('facts', 'records')")
    since = world.registry.cursors().history[-1]
    world.registry.start_at(0, top, since, world.clock.now_ms())


def test_an_ack_tells_a_fresh_region_where_to_begin(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.rebuild_region()
    world.step_push()
    (said,) = wants(world)
    assert said.fresh
    ack = Ack(
        n=said.n, instance=said.instance, grant=said.grant, session=5, since=Since(incarnation="one"),
        facts_top=70, records_top=80, window_bytes=1000, epoch=said.epoch, start=[60, 80], clock_ms=1,
    )  # fmt: skip
    world.link.center_end().put_down(world.region, EntryId(4, 1), b"", DownHint(5, 0, 0, 0, -1))
    put(world, Kind.ACK, pack_message(ack))
    assert world.step_pull().steps[-1] is Step.ACK
    cursors = world.registry.cursors()
    assert (cursors.facts, cursors.records, cursors.fresh) == (60, 80, False)
    assert cursors.back is not None
    world.clock.advance(NEWS_S)
    world.step_push()
    assert wants(world)[-1].back == cursors.back
    assert not wants(world)[-1].fresh
    world.close()


def test_back_frames_apply_in_order_and_a_gap_is_asked_for_anew(world: World) -> None:
    going_back(world)
    said = (*life(world),)
    put(world, Kind.BACK, pack_back(BackFrame(*said, Position(1, 90), Position(1, 50), 3, 9, (change(),))))
    put(world, Kind.BACK, pack_back(BackFrame(*said, Position(1, 90), Position(1, 60), 3, 9, (change(),))))
    put(world, Kind.BACK, pack_back(BackFrame(*said, Position(1, 40), Position(1, 30), 3, 9, (change(),))))
    assert world.step_pull().steps == (Step.APPLIED, Step.OLD, Step.ASKED_ANEW)
    assert world.registry.record_count() == 1
    back = world.registry.cursors().back
    assert back is not None
    assert (back.floor, back.left, back.total) == (50, 3, 9)


def test_back_frames_of_another_life_or_session_are_not_applied(world: World) -> None:
    going_back(world)
    incarnation, session = life(world)
    strange = BackFrame("another", session, Position(1, 90), Position(1, 50), 0, 0, (change(),))
    put(world, Kind.BACK, pack_back(strange))
    assert world.step_pull().steps == (Step.ASKED_ANEW,)
    put(world, Kind.BACK, pack_back(strange._replace(incarnation=incarnation, session=session)))
    assert world.step_pull().steps == (Step.SKIPPED,)  # no session is ours until the next ack
    assert world.registry.record_count() == 0


def test_a_back_frame_of_a_newer_form_is_kept_and_the_way_goes_on(world: World) -> None:
    going_back(world)
    incarnation, session = life(world)
    newer: list[int | bytes] = [incarnation.encode(), session, 1, 90, 0, 1, 50, 0, 3, 9, b"what is this"]
    put(world, Kind.BACK, pack_flat(newer))
    put(
        world,
        Kind.BACK,
        pack_back(BackFrame(incarnation, session, Position(1, 50), Position(1, 40), 3, 9, (change(),))),
    )
    assert world.step_pull().steps == (Step.KEPT_RAW, Step.APPLIED)
    reader = RegistryReader(world.region_folder)
    assert [(one.sequence, one.start, one.upto) for one in reader.raw()] == [("back", 90, 50)]
    reader.close()


def test_a_back_frame_that_says_nothing_to_us_stops_nothing_else(world: World) -> None:
    going_back(world)
    incarnation, session = life(world)
    put(world, Kind.BACK, b"\xc3")
    put(
        world,
        Kind.BACK,
        pack_back(BackFrame(incarnation, session, Position(1, 50), Position(1, 40), 3, 9, (change(),))),
    )
    put(
        world,
        Kind.RECORDS,
        pack_records(Span(incarnation, session, 90, 91), [change(nik="1806061505900002")]),
    )
    assert world.step_pull().steps == (Step.SKIPPED, Step.SKIPPED, Step.APPLIED)


def test_answers_come_by_the_same_stream(world: World) -> None:
    ask = world.registry.ask(RECORD, pack_record_args(NIK), 1)
    incarnation, session = life(world)

    def part(at: int, to: int, payload: bytes, done: bool = False) -> bytes:
        return pack_answer(Answer(incarnation, session, ask, at, to, done, payload))

    put(world, Kind.ANSWER, part(0, 1, pack_record(change())))
    put(world, Kind.ANSWER, part(0, 1, pack_record(change())))
    put(world, Kind.ANSWER, part(1, 201, face(0, 200), done=True))
    put(world, Kind.ANSWER, part(1, 201, face(0, 200), done=True))
    put(world, Kind.ANSWER, b"\xc3 of a newer form")
    applied, old = Step.APPLIED, Step.OLD
    assert world.step_pull().steps == (applied, old, applied, old, Step.SKIPPED)
    assert world.registry.asks() == ()
    assert world.registry.record_count() == 1


def test_a_gap_in_an_answer_is_asked_for_anew(world: World) -> None:
    ask = world.registry.ask(RECORD, pack_record_args(NIK), 1)
    incarnation, session = life(world)
    put(world, Kind.ANSWER, pack_answer(Answer(incarnation, session, ask, 1, 201, True, face(0, 200))))
    assert world.step_pull().steps == (Step.ASKED_ANEW,)
    assert [one.at for one in world.registry.asks()] == [0]


def test_frames_for_the_machine_whose_place_we_took_do_not_stop_us(world: World) -> None:
    """A ledger restored to before we joined goes on speaking to that one, in a later session."""
    incarnation, session = life(world)
    body = pack_records(Span(incarnation, session + 1, 0, 1), [change()])
    put(world, Kind.RECORDS, body, PrivateKey.generate(world.region), later=1)
    assert world.step_pull().steps == (Step.OTHERS,)
    assert not world.pull.speaker.superseded
