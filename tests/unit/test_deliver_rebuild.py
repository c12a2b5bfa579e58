"""A rebuild and its questions as the center serves them, to a region that is told nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

import pytest

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center import deliver as deliver_module
from pipeline.center.answers import ANSWERS, answer
from pipeline.center.back import begins_at
from pipeline.center.deliver import Deliver, Delivered
from pipeline.ports import EntryId
from pipeline.sample import sample_lines
from schemas.asks import (
    Answer,
    pack_packets_args,
    pack_record_args,
    unpack_answer,
    unpack_packets,
    unpack_record,
)
from schemas.back import BackFrame, Position, pieces_of, unpack_back
from schemas.codec import unpack_flat
from schemas.feed import RecordChange, unpack_facts, unpack_records
from schemas.frame import Kind, open_body, split
from schemas.messages import Ack, Ask, Back, Run, Want, unpack_message
from schemas.packet import Packet, pack_head
from schemas.ranges import numbers
from tests.unit.ledger_rig import CENTER_KEY, EPOCH, JPEG, REGION, REGION_KEY, Rig, nik, packet

NEW = "newnew"
OLD = EPOCH
START = EntryId(0, 0)
PHOTO = ("photo", "image/jpeg", JPEG + bytes(range(256)) * 100)
SIGNATURE = ("signature", "image/png", b"\x89PNG\r\n\x1a\n a name")


class Spied(SqlLedger):
    """A ledger that remembers what the way back was told, by pass."""

    def way_back(self, region: str, at: Position, *bounds: Any) -> Any:
        found = super().way_back(region, at, *bounds)
        told = self.__dict__.setdefault("told", {})
        told[at.pass_no] = told.get(at.pass_no, 0) + len(found.steps)
        return found


@dataclass
class Region:
    """What a region does with `down`, as the ports say; it holds records by their source, and pieces."""

    rig: Rig
    level: int = 65_536
    grant: int = 1
    session: int = 0
    facts: int = 0
    records: int = 0
    fresh: bool = True
    back: Back | None = None
    history: list[Any] = field(default_factory=list)
    held: dict[tuple[str, int], RecordChange] = field(default_factory=dict)
    pieces: dict[tuple[str, int, str], bytes] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    told: list[tuple[str, int]] = field(default_factory=list)
    gaps: int = 0
    position: EntryId = START
    acks: list[Ack] = field(default_factory=list)
    frames: list[tuple[Kind, int]] = field(default_factory=list)
    back_frames: list[BackFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        ledger = Spied(self.rig.place)
        self.rig.ledger.close()
        self.rig.ledger = self.ledger = ledger
        self.rig.restart()
        self.rig.validation = type(self.rig.validation)(ledger)
        self.restart()

    def restart(self) -> None:
        """A new process of deliver."""
        self.deliver = Deliver(self.ledger, self.rig.center, self.rig.clock, CENTER_KEY)

    def say(self, **fields: Any) -> None:
        """A want as things stand."""
        said: dict[str, Any] = {
            "grant": self.grant,
            "session": self.session,
            "epoch": NEW,
            "facts": self.facts,
            "records": self.records,
            "history": self.history,
            "level": self.level,
            "fresh": self.fresh,
            "back": self.back,
            "asks": self.asks,
            "clock_ms": 1_000,
        }
        self.rig.region.send_control(self.rig.want(**(said | fields)))
        self.rig.intake.step(REGION)

    def step(self) -> Delivered:
        return self.deliver.step(REGION)

    def take(self, frames_max: int = 1_000) -> None:
        """Read and apply what lies in `down`."""
        for entry, frame in self.rig.region.read_down(self.position, 0.0)[:frames_max]:
            self.position = entry
            parts = split(frame)
            body = open_body(parts, {REGION_KEY.id: REGION_KEY}.get)
            self.frames.append((parts.header.kind, len(frame)))
            apply = {
                Kind.ACK: self._ack,
                Kind.FACTS: self._facts,
                Kind.RECORDS: self._records,
                Kind.BACK: self._back,
                Kind.ANSWER: self._answer,
            }[parts.header.kind]
            apply(body)
            self.rig.region.delete_down([entry])

    def go(self, rounds: int = 400) -> int:
        """Say, deliver, take, until there is no way back; returns the rounds."""
        for n in range(rounds):
            self.say()
            self.step()
            self.take()
            if self.back is None and not self.fresh:
                self.say()
                return n
        raise AssertionError(f"after {rounds} rounds: {self.back}")

    def _ack(self, body: bytes) -> None:
        ack = unpack_message(Ack, body)
        self.acks.append(ack)
        self.session = ack.session
        if not any(one.incarnation == ack.since.incarnation for one in self.history):
            self.history.append(ack.since)
        if self.fresh and ack.start is not None:
            self.facts, self.records = ack.start
            self.fresh = False
            self.back = Back(pass_no=1, floor=self.records, top=self.records) if self.records else None

    def _facts(self, body: bytes) -> None:
        span, groups = unpack_facts(body)
        self.gaps += not span.start <= self.facts < span.to
        self.facts = span.to
        self.told += [(one.epoch, seq) for one in groups for seq in numbers(one.seqs)]

    def _records(self, body: bytes) -> None:
        span, changes = unpack_records(body)
        self.gaps += not span.start <= self.records < span.to
        self.records = span.to
        self._hold(changes)

    def _back(self, body: bytes) -> None:
        frame = unpack_back(body)
        self.back_frames.append(frame)
        if self.back is None:
            return
        here = Position(self.back.pass_no, self.back.floor, self.back.at)
        if frame.start.behind(here) or not frame.to.behind(here):
            self.gaps += frame.start.behind(here)
            return
        self._hold(frame.records)
        for one in frame.pieces:
            assert len(self.pieces.get(one[:3], b"")) == one.offset
            self.pieces[one[:3]] = self.pieces.get(one[:3], b"") + one.data
        to, opened = frame.to, self.back.opened_ms or (5_000 if frame.to.pass_no > 1 else 0)
        self.back = self.back.model_copy(
            update={"pass_no": to.pass_no, "floor": to.floor, "at": to.at, "opened_ms": opened}
            | {"left": frame.left, "total": frame.total}
        )
        if to.pass_no == 4:
            self.back = None

    def _answer(self, body: bytes) -> None:
        said = unpack_answer(body)
        self.answers.setdefault(said.ask, []).append(said)
        self.asks = [
            one.model_copy(update={"at": said.to}) if one.id == said.ask else one
            for one in self.asks
            if one.id != said.ask or not said.done
        ]

    def _hold(self, changes: tuple[RecordChange, ...]) -> None:
        for one in changes:
            if one.head is not None:
                self.held[one.epoch, one.seq] = one

    def sees_all(self) -> bool:
        """Whether it holds exactly the ledger's records."""
        rows = self.ledger.reader.records()
        ours = {(key, one.version, one.status) for key, one in self.held.items()}
        return ours == {((row.source.epoch, row.source.seq), row.version, row.status) for row in rows}


@pytest.fixture
def region(rig: Rig) -> Iterator[Region]:
    """The old machine had nine records, two of them printed; the new one has just been started."""
    rig.take(packet(1, [SIGNATURE]), *(packet(number) for number in range(2, 10)))
    rig.take(packet(2, kind="card_printed"), packet(5, kind="card_printed"), first=20)
    large = packet(10, [PHOTO, ("thumb", "image/x-wsq", b"thumb")])
    rig.step(*(rig.chunk(30, large, start, start + 9_000) for start in range(0, len(large), 9_000)))
    rig.validate()
    made = Region(rig)
    yield made
    made.ledger.close()


def more(rig: Rig, count: int, first: int = 100) -> None:
    """As many more records of the old epoch."""
    for start in range(first, first + count, 100):
        last = min(start + 100, first + count)
        rig.take(*(packet(number) for number in range(start, last)), first=start)


def events(region: Region) -> list[str]:
    names = {"open_for_service", "rebuilt"}
    return [row.what for row in reversed(region.ledger.reader.region_events(REGION)) if row.what in names]


# --- the beginning --------------------------------------------------------------------------------


def test_a_fresh_region_begins_at_the_top_and_is_told_nothing_of_before(region: Region) -> None:
    standing = region.ledger.standing(REGION)
    assert standing is not None
    region.say()
    region.step()
    region.take()
    (ack,) = region.acks
    assert ack.start == [standing.facts_no, standing.records_no]
    assert (region.frames[0][0], len(region.frames)) == (Kind.ACK, 1)
    assert (region.facts, region.records) == tuple(ack.start)


def test_a_want_that_is_fresh_still_gets_where_this_session_stands(region: Region) -> None:
    region.say()
    region.step()
    region.rig.take(packet(40), first=40)
    region.say()
    region.step()
    region.take()
    first, second = region.acks
    assert first.start == second.start
    assert first.session == second.session
    assert region.gaps == 0


def test_a_region_that_is_not_fresh_is_told_of_no_start_and_gets_no_way_back(region: Region) -> None:
    region.fresh = False
    region.say()
    region.step()
    region.take()
    assert region.acks[0].start is None
    assert {kind for kind, _ in region.frames} == {Kind.ACK, Kind.FACTS, Kind.RECORDS}
    assert region.sees_all()


# --- the way back ---------------------------------------------------------------------------------


def test_a_rebuilt_region_holds_what_the_ledger_holds(region: Region) -> None:
    region.go()
    assert region.sees_all()
    assert region.gaps == 0
    assert {key[1:]: data for key, data in region.pieces.items()} == {
        (1, "signature"): SIGNATURE[2],
        (30, "photo"): PHOTO[2],
    }
    assert events(region) == ["open_for_service", "rebuilt"]


def test_open_cases_are_there_before_any_printed_one(region: Region) -> None:
    region.go()
    seen = [(frame.start.pass_no, one.status) for frame in region.back_frames for one in frame.records]
    assert [pass_no for pass_no, _ in seen] == sorted(pass_no for pass_no, _ in seen)
    assert all((status == 7) is (pass_no == 2) for pass_no, status in seen)


def test_how_much_is_left_goes_down_to_nothing_in_each_pass(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver_module, "FRAME_BYTES_LEAST", 1_000)
    more(region.rig, 300)
    region.level = 3_000
    region.go()
    left = [(frame.to.pass_no, -frame.left) for frame in region.back_frames]
    assert left == sorted(left)
    assert {(frame.to.pass_no, frame.total) for frame in region.back_frames} == {
        (1, 308),
        (2, 2),
        (3, 308),
        (4, 0),
    }
    first = [frame for frame in region.back_frames if frame.to.pass_no == 1]
    assert len(first) > 2
    came = 0
    for frame in first:
        came += len(frame.records)
        assert frame.left == frame.total - came


def test_nothing_is_asked_of_the_ledger_twice(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.center.back.AHEAD_RECORDS", 50)
    monkeypatch.setattr(deliver_module, "FRAME_BYTES_LEAST", 1_000)
    more(region.rig, 300)
    region.level = 3_000
    region.go()
    pieces = 1 + 26  # of the signature, and of the photograph at this level
    assert region.ledger.__dict__["told"] == {1: 308, 2: 2, 3: 306 + pieces}


def test_what_comes_meanwhile_comes_as_ever(region: Region) -> None:
    more(region.rig, 200)
    region.level = 3_000
    for n in range(6):
        region.say()
        region.step()
        region.take()
        region.rig.step(region.rig.batch({n + 1: packet(500 + n)}, epoch=NEW))
        region.rig.take(packet(100 + n, alamat="JL. BARU"), first=600 + n)
    region.go()
    standing = region.ledger.standing(REGION)
    assert standing is not None
    assert (region.facts, region.records, region.gaps) == (standing.facts_no, standing.records_no, 0)
    rows = {(row.source.epoch, row.source.seq) for row in region.ledger.reader.records()}
    own = {(NEW, n) for n in range(1, 7)}  # by reference: the region has them in its outbox
    assert rows - own <= region.held.keys()
    assert {(NEW, n) for n in range(1, 7)} <= set(region.told)


@pytest.mark.parametrize("lost", ["deliver", "hint", "session"])
def test_a_rebuild_goes_on_where_it_was_whatever_is_lost(region: Region, lost: str) -> None:
    more(region.rig, 400)
    region.level = 3_000
    for n in range(400):
        if region.back is not None and n % 3 == 2:
            if lost == "deliver":
                region.restart()
            elif lost == "hint":
                region.rig.link.region(REGION).hint = None
                region.rig.link.region(REGION).down.entries.clear()
            else:
                region.grant += 1
        region.say()
        region.step()
        region.take(frames_max=2)
        if region.back is None and not region.fresh:
            break
    assert region.sees_all()
    assert region.gaps == 0
    sent = sum(len(frame.records) for frame in region.back_frames)
    assert sent <= 410 * 2  # only what lay unread in `down` was made again


def test_a_rewind_below_the_top_begins_the_way_back_anew() -> None:
    back = Back(pass_no=2, floor=40, top=90)
    want = Want(
        n=1, instance="i", grant=1, session=1, epoch=NEW, highest_seq=0, clock_ms=0, facts=0, records=0,
        level=1, back=back,
    )  # fmt: skip
    assert begins_at(want, None) == (2, 40, 0)
    assert begins_at(want, (5, 90)) == (2, 40, 0)
    assert begins_at(want, (5, 60)) == (1, 60, 0)
    assert begins_at(want.model_copy(update={"back": None}), (5, 60)) is None


# --- the level ------------------------------------------------------------------------------------


def test_frames_take_about_a_third_of_the_level_and_no_more_lies_unread_than_that(region: Region) -> None:
    lines = sample_lines(1_500, seed=7)
    people = [pack_head(Packet(one["kind"], one["payload"], (), 1_700_000_000_000)).prefix for one in lines]
    region.rig.take(*people, first=100)
    region.level = 30_000
    started(region)
    region.say()
    done = region.step()
    assert done.blocked
    unread = [len(frame) for _, frame in region.rig.region.read_down(region.position, 0.0)]
    assert sum(unread[:-1]) < region.level <= sum(unread)
    assert max(unread) <= region.level / 3
    assert len(unread) >= 4
    assert done.back > 250
    assert done.bytes / done.back < 110


def test_one_step_makes_a_bounded_number_of_frames(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver_module, "BACK_FRAMES_A_STEP", 2)
    monkeypatch.setattr(deliver_module, "RECORDS_BYTES_MAX", 1_000)
    region.say()
    region.step()
    region.take()
    region.level = 10_000_000
    region.say()
    done = region.step()
    assert done.blocked
    region.take()
    assert len(region.back_frames) == 2


def test_a_step_ends_with_a_frame_for_which_much_was_looked_at_and_nothing_found(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(region)
    monkeypatch.setattr("pipeline.center.back.AHEAD_RECORDS", 2)
    monkeypatch.setattr("pipeline.center.back.STRETCHES_A_FRAME", 1)
    assert region.back is not None
    region.back = region.back.model_copy(update={"pass_no": 2, "floor": 6})  # nobody's card is printed there
    region.grant += 1
    region.say()
    done = region.step()
    region.take()
    assert (done.back, done.blocked) == (0, True)
    assert [(one.start, one.to) for one in region.back_frames] == [
        (Position(2, 6), Position(2, 3))
    ]  # 5 moved


# --- questions ------------------------------------------------------------------------------------


def ask(number: int, what: str, args: bytes, at: int = 0) -> Ask:
    return Ask(id=number, what=what, args=args, at=at)


def started(region: Region) -> None:
    region.say()
    region.step()
    region.take()


def test_a_record_is_answered_with_its_attachments_before_the_way_back_goes_on(region: Region) -> None:
    started(region)
    region.asks = [ask(7, "record", pack_record_args(nik(10), ("*",)))]
    region.rig.take(packet(70), first=70)
    region.level = 100_000
    region.say()
    region.step()
    region.take()
    said = region.answers[7]
    kinds = [kind for kind, _ in region.frames]
    last = max(n for n, kind in enumerate(kinds) if kind is Kind.ANSWER)
    assert last < kinds.index(Kind.RECORDS) < kinds.index(Kind.BACK)
    found = unpack_record(said[0].payload)
    assert found is not None
    assert (found.epoch, found.seq) == (OLD, 30)
    pieces = [one for part in said[1:] for one in pieces_of(unpack_flat(part.payload, items_max=99))]
    assert b"".join(one.data for one in pieces if one.name == "photo") == PHOTO[2]
    assert b"".join(one.data for one in pieces if one.name == "thumb") == b"thumb"
    assert [one.done for one in said] == [False] * (len(said) - 1) + [True]
    assert all(one.to == after.at for one, after in pairwise(said))
    assert region.asks == []


@pytest.mark.parametrize(
    "args", [pack_record_args(nik(77)), pack_record_args(nik(77), ("*",))], ids=["alone", "with pictures"]
)
def test_a_citizen_without_a_record_is_answered_at_once(region: Region, args: bytes) -> None:
    started(region)
    region.asks = [ask(7, "record", args)]
    region.say()
    region.step()
    region.take()
    (said,) = region.answers[7]
    assert (unpack_record(said.payload), said.to, said.done) == (None, 1, True)


def test_packets_are_listed_in_parts(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.center.answers.PACKETS_A_PAYLOAD", 4)
    started(region)
    region.asks = [ask(3, "packets", pack_packets_args(OLD, ((2, 8), (20, 40))))]
    region.say()
    region.step()
    region.take()
    held = [one.seq for part in region.answers[3] for one in unpack_packets(part.payload)]
    assert held == [2, 3, 4, 5, 6, 7, 20, 21, 30]
    assert (region.answers[3][-1].to, region.answers[3][-1].done) == (40, True)
    assert len(region.answers[3]) == 3


@pytest.mark.parametrize(
    ("what", "args"), [("tea", b""), ("record", b"\xff"), ("packets", b""), ("record", b"\x90")]
)
def test_a_question_that_is_not_understood_is_answered_with_nothing(
    region: Region, what: str, args: bytes
) -> None:
    started(region)
    region.asks = [ask(9, what, args, at=4)]
    region.say()
    region.step()
    region.take()
    (said,) = region.answers[9]
    assert (said.at, said.to, said.done, said.payload) == (4, 4, True, b"")


def test_an_answer_goes_on_from_where_the_region_has_it_and_is_given_once_a_session(region: Region) -> None:
    started(region)
    question = ask(7, "record", pack_record_args(nik(10), ("photo",)), at=10_001)
    region.asks = [question]
    region.say()
    region.step()
    region.take()
    pieces = [p for part in region.answers[7] for p in pieces_of(unpack_flat(part.payload, items_max=99))]
    assert b"".join(one.data for one in pieces) == PHOTO[2][10_000:]
    given = len(region.answers[7])
    region.asks = [question]  # the region has not taken it in yet, and repeats itself
    region.say()
    region.step()
    region.take()
    assert len(region.answers[7]) == given
    region.grant += 1  # a new session: what is still asked is answered again
    region.asks = [question]
    region.say()
    region.step()
    region.take()
    assert len(region.answers[7]) == 2 * given


def test_a_long_answer_waits_for_room_and_a_short_one_goes_between(region: Region) -> None:
    started(region)
    region.level = 1
    long, short = pack_record_args(nik(10), ("*",)), pack_record_args(nik(3))
    region.asks = [ask(1, "record", long), ask(2, "record", short)]
    region.say()
    for _ in range(9):
        region.step()
        region.take()
    order = [kind for kind, _ in region.frames if kind in (Kind.ANSWER, Kind.BACK)]
    said = sorted(chain(*region.answers.values()), key=lambda one: one.at)
    assert order[:4] == [Kind.ANSWER] * 3 + [Kind.BACK]
    assert region.asks == []
    assert [one.ask for one in said] == [1, 2, 1]


def test_an_answer_that_does_not_come_forward_is_over() -> None:
    stuck = {"tea": lambda _reader, _region, _args, at: (b"more", at, False)}
    assert answer(stuck, None, REGION, ask(1, "tea", b""), 5) == (b"more", 5, True)
    assert set(ANSWERS) >= {"record", "packets"}


# --- what acks and wants say besides --------------------------------------------------------------


def test_an_ack_says_how_far_the_center_knows_the_epoch(region: Region) -> None:
    started(region)
    assert (region.acks[-1].known_seq, region.acks[-1].renumbered) == (0, 0)
    rig = region.rig
    rig.step(rig.batch({4: packet(50)}, epoch=NEW))
    region.say(highest_seq=4)
    region.step()
    rig.step(rig.chunk(9, packet(51, [PHOTO]), 0, 100, epoch=NEW))
    region.say(highest_seq=4)  # older than what came: the highest of all counts
    region.step()
    region.say(highest_seq=12, renumbered=[Run(epoch=OLD, old=30, new=1, count=3)])
    region.step()
    region.say(highest_seq=3)  # an older copy of that outbox
    region.step()
    region.take()
    known = [(one.known_seq, one.renumbered) for one in region.acks[1:]]
    assert known == [(4, 0), (9, 0), (12, 3), (12, 3)]


def test_a_region_of_before_is_served_as_before(region: Region) -> None:
    said: dict[str, Any] = {"fresh": False, "back": None, "asks": []}
    region.fresh = False
    region.say(**said)
    region.step()
    region.rig.take(packet(60), first=60)
    region.step()
    region.take()
    assert {kind for kind, _ in region.frames} == {Kind.ACK, Kind.FACTS, Kind.RECORDS}
    assert region.sees_all()
    assert region.acks[0].start is None
    assert events(region) == []


def test_a_region_that_opens_and_is_done_between_two_wants_has_both_events(region: Region) -> None:
    started(region)
    region.say()
    region.back = None
    region.say()
    assert events(region) == ["open_for_service", "rebuilt"]
    region.say()
    assert len(events(region)) == 2


def test_another_machine_that_has_nothing_yet_is_not_a_rebuilt_one(region: Region) -> None:
    started(region)
    region.say()
    region.back, region.fresh = None, True
    region.say(epoch="zzzzzz")
    assert events(region) == []
