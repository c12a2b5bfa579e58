"""The voice of a doubt: when it begins, what must be judged before it asks, what it does with answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.ports import EntryId
from pipeline.region.forked import HOLDS, Forked
from schemas.asks import PACKETS, HeldPacket, pack_packets, unpack_packets_args
from schemas.lanes import Lane
from schemas.messages import Ack, Since, Want
from schemas.ranges import Ranges
from schemas.verdicts import Status
from tests.unit.outbox_rig import digests_of, draft, group, new_outbox


class Row(NamedTuple):
    """A question as the registry keeps it."""

    args: bytes
    answered_ms: int | None = None
    payloads: tuple[bytes, ...] = ()


class Questions:
    """The registry's questions in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}

    def ask(self, what: str, args: bytes, now_ms: int) -> int:
        assert what == PACKETS
        assert now_ms
        self.rows[len(self.rows) + 1] = Row(args)
        return len(self.rows)

    def asked(self, number: int) -> Row | None:
        return self.rows.get(number)

    def open(self) -> list[Ranges]:
        return [unpack_packets_args(row.args)[1] for row in self.rows.values() if row.answered_ms is None]

    def answer(self, *held: HeldPacket, payload: bytes | None = None) -> None:
        number, row = list(self.rows.items())[-1]
        self.rows[number] = row._replace(answered_ms=1, payloads=(payload or pack_packets(held),))


class Scene:
    """An outbox, its voice, and the wants and acks that pass between it and a center."""

    def __init__(self, folder: Path) -> None:
        self.outbox = new_outbox(folder)
        self.questions = Questions()
        self.n = 0
        self.start()

    def start(self) -> None:
        """The process starts (again)."""
        self.voice = Forked(self.outbox, self.outbox.doubts, self.questions)

    def want(self) -> int:
        self.n += 1
        said = Want(
            n=self.n, instance="i", grant=1, session=1, epoch=self.outbox.epoch, highest_seq=0,
            clock_ms=1_000, facts=0, records=0, level=1,
        )  # fmt: skip
        assert self.voice.ask(said) == said
        return self.n

    def ack(self, n: int, known_seq: int = 0, epoch: str = "") -> None:
        said = Ack(
            n=n, instance="i", grant=1, session=1, since=Since(incarnation="a"), facts_top=0, records_top=0,
            window_bytes=1, epoch=epoch or self.outbox.epoch, known_seq=known_seq, clock_ms=1,
        )  # fmt: skip
        self.voice.hear(said, 1_000)

    def judged(self) -> None:
        """Everything that was sent is: a want, behind which the stream was empty, has its answer."""
        self.voice.news()
        n = self.want()
        self.voice.stream_was_empty(n)
        self.ack(n)
        self.voice.news()

    def held(self, seq: int) -> HeldPacket:
        return HeldPacket(seq, Status.RECEIVED_AT_CENTRAL, 90, digests_of(self.outbox, [seq])[0])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.outbox.close()


def test_there_is_no_doubt_while_the_center_knows_no_more_than_we_do(scene: Scene) -> None:
    scene.outbox.take([draft(1), draft(2)], 1)
    scene.ack(scene.want(), known_seq=2)
    scene.ack(scene.want(), known_seq=9, epoch="zzzzzz")  # of an epoch that is over
    assert scene.voice.holds() == ""
    assert not scene.voice.news()


def test_a_center_that_knows_more_than_was_given_out_here_begins_a_doubt_in_words(scene: Scene) -> None:
    scene.outbox.take([draft(1), draft(2)], 1)
    scene.ack(scene.want(), known_seq=5)
    assert scene.voice.holds() == HOLDS
    assert scene.voice.news()  # a want goes at once
    scene.want()
    assert not scene.voice.news()
    query = "SELECT ranges || detail FROM event WHERE what = 'in doubt'"
    said = str(scene.outbox.connection.execute(query).get)
    assert said.startswith("[3,3]this folder is older than what it had promised")
    scene.ack(scene.want(), known_seq=5)  # the same again is no more
    assert scene.outbox.doubts.top_seq() == 5


def test_facts_that_are_not_of_our_packets_begin_a_doubt(scene: Scene) -> None:
    scene.outbox.take([draft(1), draft(2)], 1)
    said = group(scene.outbox, ((1, 3),), Status.RECEIVED_AT_CENTRAL)._replace(hash=b"x" * 32)
    scene.outbox.settle([(1, said)], 1, 1)
    assert scene.voice.holds() == HOLDS


def test_nothing_is_asked_before_what_was_sent_is_judged(scene: Scene) -> None:
    scene.outbox.take([draft(1), draft(2)], 1)
    scene.outbox.claim(EntryId(1, 1), list(Lane), 600, 600, 1)
    before = scene.want()
    scene.outbox.doubts.note(((2, 4),), "a test", 1)
    scene.voice.news()
    scene.voice.stream_was_empty(before)  # asked for before there was doubt: says nothing
    n = scene.want()
    scene.ack(n)
    scene.voice.news()
    assert scene.questions.rows == {}
    scene.voice.stream_was_empty(n)
    scene.ack(n)
    scene.voice.news()
    assert scene.questions.rows == {}  # a frame of ours is still without its word
    scene.outbox.requeue(scene.outbox.in_flight(), 1)
    scene.voice.news()
    assert scene.questions.open() == [((1, 4),)]


def test_answers_settle_what_is_ours_and_the_end_is_a_new_epoch_with_the_rest(scene: Scene) -> None:
    scene.outbox.take([draft(n) for n in (1, 2, 3)], 1)
    old = scene.outbox.epoch
    scene.ack(scene.want(), known_seq=5)
    scene.judged()
    scene.questions.answer(scene.held(1), HeldPacket(4, Status.RECEIVED_AT_CENTRAL, 91, b"y" * 32))
    assert not scene.voice.news()
    assert scene.outbox.epoch != old
    assert scene.voice.holds() == ""
    assert scene.outbox.highest_seq() == 2


def test_more_than_one_portion_is_asked_one_after_the_other(scene: Scene) -> None:
    scene.outbox.take([draft(1)], 1)
    scene.ack(scene.want(), known_seq=9_000)
    scene.judged()
    asked = []
    for _ in range(3):
        asked += scene.questions.open()
        scene.voice.news()  # not answered yet: nothing changes
        scene.questions.answer()
        scene.voice.news()
    assert asked == [((1, 4_001),), ((4_001, 8_001),), ((8_001, 9_001),)]
    assert not scene.outbox.doubts.there_are()


def test_a_process_that_dies_in_between_asks_again_and_a_forgotten_question_too(scene: Scene) -> None:
    scene.outbox.take([draft(1)], 1)
    old = scene.outbox.epoch
    scene.ack(scene.want(), known_seq=3)
    scene.judged()
    scene.start()
    assert scene.voice.holds() == HOLDS
    scene.judged()
    assert len(scene.questions.rows) == 2
    scene.questions.rows.clear()
    scene.voice.news()
    assert scene.questions.open() == [((1, 4),)]
    scene.questions.answer()
    scene.voice.news()
    assert scene.outbox.epoch != old


def test_an_answer_that_this_version_cannot_read_leaves_the_doubt(scene: Scene) -> None:
    scene.outbox.take([draft(1)], 1)
    scene.ack(scene.want(), known_seq=3)
    scene.judged()
    scene.questions.answer(payload=b"\x93\x01\x02\x03")
    scene.voice.news()
    assert scene.voice.holds() == HOLDS
    assert scene.outbox.doubts.there_are()
