"""Reconciliation: questions to the center, and waiting for their answers.

A question is a row in the registry, which the running side says in its next want; its answer comes into the
same row. Nothing here touches the link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.errors import Unreachable
from pipeline.ports import Clock
from pipeline.region.comparing import Day, Days
from pipeline.region.reconcile import Question
from schemas.asks import RECORD, pack_record_args
from schemas.compression import CODEC_ZSTD, DICTIONARY_NONE, compress
from schemas.messages import ASKS_MAX

#: What a want and an answer's frame take on the link beside what they carry, bytes (measured, about).
WANT_BYTES, FRAME_BYTES, ACK_BYTES = 420, 260, 400


class Job(Protocol):
    """Something that asks until it knows."""

    def questions(self) -> Sequence[Question]:
        """What is open."""

    def take(self, question: Question, payloads: Sequence[bytes]) -> None:
        """The answer to one of them; raises `CodecError`."""


@dataclass
class ByDay:
    """The counts by day, asked once."""

    days: Days
    differ: list[Day] = field(default_factory=list)
    _done: bool = False

    def questions(self) -> Sequence[Question]:
        """See `Job`."""
        return () if self._done else (self.days.question(),)

    def take(self, question: Question, payloads: Sequence[bytes]) -> None:
        """See `Job`."""
        del question
        self._done, self.differ = True, self.days.take(payloads)


class Fetch:
    """Records, each asked for; whoever takes the answer in applies it."""

    def __init__(self, niks: Iterable[int]) -> None:
        self._open = dict.fromkeys(Question(RECORD, pack_record_args(f"{nik:016d}")) for nik in niks)

    def questions(self) -> Sequence[Question]:
        """See `Job`."""
        return tuple(self._open)[:ASKS_MAX]

    def take(self, question: Question, payloads: Sequence[bytes]) -> None:
        """See `Job`."""
        del payloads, self._open[question]


@dataclass
class Asker:
    """Asks for jobs until they know. `pause` is called while it waits: for a fraction of a second (a test
    lets the two sides move in it). `progress` hears how many answers came, and what it is at. `up` and `down`
    are the bytes that this takes on the link, about."""

    registry: SqliteRegistry
    records: RegistryCompare
    clock: Clock
    pause: Callable[[], object]
    timeout_s: float
    progress: Callable[[int, str], None]
    up: int = 0
    down: int = 0
    answers: int = 0
    _asked: dict[int, tuple[Job, Question]] = field(default_factory=dict)

    def answer(self, jobs: Sequence[Job], beside: str) -> None:
        """Until none of `jobs` has a question. Raises `Unreachable` where no part of an answer comes for
        `timeout_s`, `CodecError` where one cannot be read."""
        moved_s, seen = self.clock.now_s(), -1
        while True:
            self._ask(jobs)
            if not self._asked:
                return
            self.progress(self.answers, beside)
            before, at = self.answers, self._collect()
            if at != seen:
                moved_s, seen = self.clock.now_s(), at
            elif self.clock.now_s() - moved_s > self.timeout_s:
                raise Unreachable(
                    f"the center has answered nothing for {self.timeout_s:.0f} s: `titian doctor` says how "
                    "the link is; what was compared so far is forgotten, what was repaired stays"
                )
            if self.answers == before:
                self.pause()

    def until(self, condition: Callable[[], bool], seconds: float, beside: str) -> bool:
        """Wait for `condition`, at most so long; whether it came."""
        stop_s = self.clock.now_s() + seconds
        while not condition():
            if self.clock.now_s() >= stop_s:
                return False
            self.progress(self.answers, beside)
            self.pause()
        return True

    def close(self) -> None:
        """Ask no longer what is still open."""
        self.records.withdraw(self._asked)
        self._asked.clear()

    def _ask(self, jobs: Sequence[Job]) -> None:
        open_ = {(id(job), question) for job, question in self._asked.values()}
        before = self.up
        for job in jobs:
            for question in job.questions():
                if len(self._asked) >= ASKS_MAX:
                    break
                if (id(job), question) not in open_:
                    number = self.registry.ask(*question, self.clock.now_ms())
                    self._asked[number] = (job, question)
                    self.up += len(question.args) + 20
        if self.up > before:
            self.up += WANT_BYTES
            self.down += ACK_BYTES

    def _collect(self) -> int:
        """Hand out whole answers; returns a number that changes with each part that comes."""
        parts = self.answers << 32
        for number, (job, question) in list(self._asked.items()):
            found = self.registry.asked(number)
            if found is None:  # forgotten: asked again
                del self._asked[number]
            elif found.answered_ms is None:
                parts += found.at + len(found.payloads)
            else:
                self.answers += 1
                self.down += sum(map(_on_the_link, found.payloads))
                del self._asked[number]
                self.records.withdraw([number])
                job.take(question, found.payloads)
        return parts + (self.answers << 32)


def _on_the_link(payload: bytes) -> int:
    return FRAME_BYTES + len(compress(payload, codec=CODEC_ZSTD, dictionary=DICTIONARY_NONE))
