"""The outbox against a small model: whatever comes in whatever order, nothing is lost, nothing goes twice."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.lifecycle import Place
from pipeline.ports import Chunk, EntryId
from schemas.feed import FactGroup, digests_hash
from schemas.lanes import Lane
from schemas.limits import BATCHED_PACKET_BYTES_MAX
from schemas.ranges import Ranges, from_numbers, merge, total, without
from schemas.verdicts import Status
from tests.unit.outbox_rig import SMALL_DISK, contents, draft, new_outbox

SIZES = st.sampled_from(
    [100, 150, 600, 5_000, BATCHED_PACKET_BYTES_MAX, BATCHED_PACKET_BYTES_MAX + 1, 30_000]
)
LANES = st.sampled_from([Lane.RECORD, Lane.BIOMETRIC, Lane.URGENT])


class Held:
    """A packet as the model knows it: what is neither covered nor on its way waits."""

    def __init__(self, number: int, size: int, lane: Lane) -> None:
        self.number, self.size, self.lane = number, size, lane
        self.status: Status | None = None
        self.fact_no = 0
        self.covered: Ranges = ()
        self.damaged = self.aside = False

    @property
    def large(self) -> bool:
        return self.size > BATCHED_PACKET_BYTES_MAX


class OutboxMachine(RuleBasedStateMachine):
    """Every rule does the same to the outbox and to the model and compares the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.held: dict[int, Held] = {}
        self.frames: dict[EntryId, tuple[set[int], tuple[int, int] | None]] = {}
        self.session, self.n, self.position, self.made = 1, 0, 0, 0

    @initialize()
    def make(self) -> None:
        self.outbox = new_outbox(self.folder)
        self.reader = OutboxReader(self.folder)
        self.enqueue([150, 600, 30_000, 600], Lane.RECORD)

    def teardown(self) -> None:
        self.reader.close()
        self.outbox.close()
        shutil.rmtree(self.folder)

    def waiting(self, seq: int) -> Ranges:
        held = self.held[seq]
        if held.status is not None or held.aside:
            return ()
        away = [span or (0, held.size) for seqs, span in self.frames.values() if seq in seqs]
        return without(((0, held.size),), merge((*away, *held.covered)))

    # --- what producers and push do ---------------------------------------------------------------

    @rule(sizes=st.lists(SIZES, min_size=1, max_size=6), lane=LANES)
    def enqueue_some(self, sizes: list[int], lane: Lane) -> None:
        self.enqueue(sizes, lane)

    def enqueue(self, sizes: list[int], lane: Lane) -> None:
        first = len(self.held) + 1
        drafts = [draft(self.made + i, size, lane) for i, size in enumerate(sizes, 1)]
        taken = self.outbox.take(drafts, 2_000)
        assert [one.id.seq for one in taken] == list(range(first, first + len(sizes)))
        for i, size in enumerate(sizes):
            self.held[first + i] = Held(self.made + i + 1, size, lane)
        self.made += len(sizes)

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """A bit flips in what is stored of a small packet."""
        small = [seq for seq, held in self.held.items() if not held.large and not held.damaged]
        if not small:
            return
        seq = data.draw(st.sampled_from(small))
        stored = contents(self.held[seq].number, self.held[seq].size)[:-1] + b"\xff"
        self.outbox.connection.execute("UPDATE body SET stored = ? WHERE seq = ?", (stored, seq))
        self.held[seq].damaged = True

    @rule(
        lanes=st.permutations([Lane.RECORD, Lane.BIOMETRIC, Lane.URGENT]),
        batch=st.integers(1, 4_000),
        chunk=st.integers(1, 20_000),
        times=st.integers(1, 5),
    )
    def claim_some(self, lanes: list[Lane], batch: int, chunk: int, times: int) -> None:
        for _ in range(times):
            self.claim(lanes, batch, chunk)

    def claim(self, lanes: list[Lane], batch: int, chunk: int) -> None:
        entry = EntryId(self.session, self.n + 1)
        claimed = self.outbox.claim(entry, lanes, batch, chunk, 3_000)
        for lane in lanes:
            waiting = self.waiting_in(lane)
            seqs = self.right_batch(waiting, batch)
            left = [seq for seq in waiting if not self.held[seq].aside]
            if left:
                break
        else:
            assert claimed is None
            return
        assert claimed is not None
        self.n += 1
        assert claimed.entry == entry
        assert claimed.lane is lane
        if isinstance(claimed, Chunk):
            assert not seqs
            self.is_right_chunk(claimed, left[0], chunk)
            self.frames[entry] = {claimed.seq}, (claimed.offset, claimed.offset + len(claimed.data))
        else:
            assert claimed.seqs == from_numbers(seqs)
            mine = [self.held[seq] for seq in seqs]
            assert claimed.stored == tuple(contents(held.number, held.size) for held in mine)
            self.frames[entry] = set(seqs), None

    def waiting_in(self, lane: Lane) -> list[int]:
        return [seq for seq, held in self.held.items() if held.lane is lane and self.waiting(seq)]

    def right_batch(self, waiting: list[int], bytes_max: int) -> list[int]:
        """What a batch holds of what waits; damaged packets that are met before it is full go aside."""
        seqs: list[int] = []
        size = 0
        for seq in waiting:
            held = self.held[seq]
            if held.large:
                break
            if held.damaged:
                held.aside = True
                continue
            size += held.size
            if seqs and size > bytes_max:
                break
            seqs.append(seq)
        return seqs

    def is_right_chunk(self, chunk: Chunk, seq: int, bytes_max: int) -> None:
        first = self.held[seq]
        assert first.large
        start, stop = self.waiting(seq)[0]
        assert (chunk.seq, chunk.size, chunk.offset) == (seq, first.size, start)
        assert len(chunk.data) == min(stop - start, max(bytes_max, 4_096))
        assert chunk.data == contents(first.number, first.size)[start : start + len(chunk.data)]

    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        on_their_way = self.outbox.in_flight()
        if not on_their_way:
            return
        lost = data.draw(st.lists(st.sampled_from(on_their_way), unique=True))
        before = {seq for seq in self.held if self.waiting(seq)}
        for one in lost:
            del self.frames[one.entry]
        after = {seq for seq in self.held if self.waiting(seq)}
        assert self.outbox.requeue(lost, 4_000) == len(after - before)
        assert self.outbox.requeue(lost, 4_000) == 0

    @rule(data=st.data())
    def cover(self, data: st.DataObject) -> None:
        large = [seq for seq, held in self.held.items() if held.large]
        partly: dict[int, Ranges] = {}
        for seq in data.draw(st.lists(st.sampled_from(large), unique=True)) if large else []:
            size = self.held[seq].size
            spans = st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda s: (min(s), max(s)))
            partly[seq] = merge(data.draw(st.lists(spans, min_size=1, max_size=3)))
        done = [
            entry
            for entry, (seqs, span) in self.frames.items()
            if span and not without((span,), partly.get(min(seqs), ()))
        ]
        self.outbox.cover(partly, done)
        for entry in done:
            del self.frames[entry]
        for seq in large:
            self.held[seq].covered = partly.get(seq, ()) if self.held[seq].status is None else ()

    # --- what the center says -----------------------------------------------------------------------

    @rule(data=st.data(), status=st.sampled_from(Status), older=st.integers(0, 3), wrong=st.integers(0, 7))
    def settle(self, data: st.DataObject, status: Status, older: int, wrong: int) -> None:
        if not self.held:
            return
        seqs = from_numbers(data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, unique=True)))
        self.position += 1
        position = max(1, self.position - older)
        said = self.group(seqs, status)
        if wrong == 0:
            said = said._replace(hash=b"x" * 32)
        elif wrong == 1:
            said = said._replace(epoch="zzzzzz")
        before = self.outbox.settled_to()
        done = self.outbox.settle([(position, said)], self.position, 5_000)
        assert done.to == self.outbox.settled_to() == max(before, self.position)
        assert done.forks == ((said,) if wrong == 0 else ())
        assert done.settled == (seqs if wrong > 1 else ())
        if wrong == 0:  # nothing goes until it is known that the center has none of them
            assert self.outbox.claim(EntryId(self.session, self.n + 1), list(Lane), 1, 1, 3_000) is None
            assert self.outbox.doubts.end((), 3_000) == ""
        if wrong > 1:
            self.learn(said, position)

    def group(self, seqs: Ranges, status: Status) -> FactGroup:
        """What a center says that has these packets as they were before any damage."""
        held = [self.held[seq] for start, stop in seqs for seq in range(start, stop)]
        digests = (hashlib.sha256(contents(one.number, one.size)).digest() for one in held)
        return FactGroup(self.outbox.epoch, status, (), seqs, digests_hash(digests))

    @rule()
    def begin_epoch(self) -> None:
        """The center has others under our numbers: what it has not of ours goes on under new ones."""
        before = self.outbox.epoch
        assert self.outbox.doubts.end(((1, 2),), 5_000) == self.outbox.epoch != before
        going_on = [
            held
            for held in self.held.values()
            if (held.status is None and not held.aside) or held.status is Status.REFUSED
        ]
        for held in going_on:
            held.covered = ()
        self.held = dict(enumerate(going_on, 1))
        self.frames.clear()

    def learn(self, said: FactGroup, position: int) -> None:
        told = {seq for start, stop in said.seqs for seq in range(start, stop)}
        for seq in told:
            held = self.held[seq]
            if held.fact_no < position:
                held.status, held.fact_no, held.covered, held.aside = said.status, position, (), False
        for entry, (seqs, _) in list(self.frames.items()):
            seqs -= told
            if not seqs:
                del self.frames[entry]

    @rule(back=st.integers(0, 5))
    def take_back(self, back: int) -> None:
        above = max(0, self.position - back)
        gone = [held for held in self.held.values() if held.fact_no > above]
        assert self.outbox.take_back(above, 6_000) == len(gone)
        for held in gone:
            held.status, held.fact_no = None, 0

    @rule()
    def retry(self) -> None:
        dead = [held for held in self.held.values() if held.status is Status.REFUSED]
        assert self.outbox.retry(from_numbers(self.held), 6_000) == len(dead)
        for held in dead:
            held.status, held.fact_no = None, 0

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = SqliteOutbox(self.folder, SMALL_DISK)
        self.outbox.check(7_000)
        self.session, self.n = self.session + 1, 0

    # --- what must always hold ----------------------------------------------------------------------

    @invariant()
    def frames_are_those_of_the_model(self) -> None:
        found = {one.entry: (one.seqs, one.span) for one in self.outbox.in_flight()}
        assert found == {entry: (from_numbers(seqs), span) for entry, (seqs, span) in self.frames.items()}

    @invariant()
    def counters_are_those_of_the_model(self) -> None:
        counts = self.reader.counts()
        for lane in Lane:
            mine = {seq: held for seq, held in self.held.items() if held.lane is lane}
            waiting = [total(self.waiting(seq)) for seq in mine if self.waiting(seq)]
            assert counts[lane].waiting == (len(waiting), sum(waiting))
            for status in (None, *Status):
                sizes = [held.size for held in mine.values() if held.status is status and not held.aside]
                assert counts[lane].by_status[status] == (len(sizes), sum(sizes))
            assert counts[lane].dead.packets == sum(held.status is Status.REFUSED for held in mine.values())
            assert counts[lane].aside.packets == sum(held.aside for held in mine.values())
            sent = {seq for seqs, _ in self.frames.values() for seq in seqs}
            without = {seq for seq in mine if self.waiting(seq) or seq in sent}
            times = [1_000 + mine[seq].number for seq in without]
            assert self.reader.oldest(lane) == min(times, default=None)

    @invariant()
    def places_are_those_of_the_model(self) -> None:
        assert self.outbox.highest_seq() == len(self.held)
        for seq, held in self.held.items():
            if held.status is None:
                left = total(self.waiting(seq))
                whole = {0: Place.WAITING if held.aside else Place.IN_STREAM, held.size: Place.WAITING}
                assert self.reader.place_of(seq) == whole.get(left, Place.PARTLY_IN_STREAM)

    @invariant()
    def nothing_is_settled_and_waits(self) -> None:
        db = self.outbox.connection
        both = "SELECT count(*) FROM packet JOIN {} USING(seq) WHERE status IS NOT NULL"
        assert db.execute(both.format("again")).get == 0
        assert db.execute(both.format("large")).get == 0


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestOutboxModel = OutboxMachine.TestCase
