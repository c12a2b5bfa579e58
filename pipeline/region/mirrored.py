"""Step 3: from the mirror of a machine that is gone, what the center lacks: its frames, sent as they are.

They are signed by the old machine's key and of its epochs; a retired key still verifies. Segment by segment,
portion by portion: the center is asked what it has of the portion, what it lacks is sent, and when the stream
was seen empty it is asked again. So nothing counts as sent that did not arrive, and a kill at any point costs
the portion's questions again.

Two threads use it: `step` reads and decides in the worker's keeper, so that a slow disk never holds `push`
up; `push` takes the frames (`pipeline.region.beside`).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.mirror_scan import Segment
from pipeline.adapters.recover_file import RecoverFile, Recovery
from pipeline.errors import TitianError
from pipeline.ports import Clock, EntryId
from pipeline.region.forked import Asks
from schemas.asks import PACKETS, pack_packets_args, unpack_packets
from schemas.errors import SchemaError
from schemas.frame import Header, Kind, split
from schemas.lanes import Lane
from schemas.ranges import Ranges, contains, covers, from_numbers, merge, numbers, total, without

#: What lies in memory and on its way at a time, bytes.
WAVE_BYTES = 256 * 1024
#: Packets, ranges and bytes that one question is about.
PORTION_PACKETS, PORTION_RANGES, PORTION_BYTES = 900, 80, 8 * 1024 * 1024
#: How often a portion is sent before what is still lacking is given up.
TRIES = 3
#: After so long without an empty stream the center is asked all the same, seconds; and between two looks at a
#: mirror that cannot be read.
JUDGE_S, RETRY_S = 120.0, 30.0
#: Before a portion is sent again, seconds, for each time that it went.
AGAIN_S = 5.0


class _Entry(NamedTuple):
    """Where a frame lies in its segment, and what its header says; `sound`: the chain vouches for it."""

    at: int
    length: int
    header: Header
    sound: bool

    @property
    def seqs(self) -> Ranges:
        """The packets that it is about."""
        return self.header.seqs

    @property
    def lane(self) -> Lane:
        """Their lane."""
        return self.header.lane

    @property
    def signer(self) -> bytes:
        """The id of the key that signed it."""
        return self.header.signer


class Mirrored:
    """See the module. Begins by itself where a recovery is noted in the region's folder."""

    def __init__(self, region: str, file: RecoverFile, asks: Asks, clock: Clock) -> None:
        self._region, self._file, self._asks, self._clock = region, file, asks, clock
        self._lock = threading.Lock()
        self._queue: deque[tuple[Lane, bytes]] = deque()
        self._out: set[EntryId] = set()
        self._pending = False  # frames went whose arrival is not judged yet
        self._sent_s = 0.0
        self._cuts = 0
        self._not_taken: set[bytes] = set()
        self._epochs: tuple[str, ...] = ()
        self._work: Iterator[None] | None = None
        self._again_s = 0.0

    # --- for the keeper -------------------------------------------------------------------------

    def step(self) -> bool:
        """Go on until there is something to wait for; returns whether there is a recovery at all."""
        if self._work is None:
            recovery = self._file.read()
            if recovery is None or recovery.finished_ms or self._clock.now_s() < self._again_s:
                return False
            self._work = self._recover(recovery)
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            return False
        return True

    def epochs(self) -> Sequence[str]:
        """The epochs of which the mirror holds packets, oldest first, once it was looked at: before the first
        question about it. The center is told that they come before ours (`pipeline.region.earlier`)."""
        return self._epochs

    def _recover(self, recovery: Recovery) -> Iterator[None]:
        try:
            found = self._file.segments(recovery, self._region)
            self._epochs = self._file.epochs(found)
            for segment in found:
                if segment.path.name in recovery.done:
                    continue
                counts = Counter(recovery.counts)
                yield from self._segment(segment, recovery, counts)
                recovery.counts, recovery.why = dict(counts), ""
                recovery.done.append(segment.path.name)
                self._file.write(recovery)
        except (OSError, TitianError, SchemaError) as why:
            recovery.why = f"the mirror {recovery.path} cannot be read: {why}"
            self._file.write(recovery)
            self._again_s = self._clock.now_s() + RETRY_S
            return
        recovery.finished_ms = max(1, self._clock.now_ms())
        self._file.write(recovery)
        self._file.event("mirror", sentence(recovery), recovery.finished_ms)

    def _segment(
        self, segment: Segment, recovery: Recovery, counts: Counter[str]
    ) -> Generator[None, None, None]:
        for epoch, portion in _portions(self._entries(segment, recovery.ranges(), counts)):
            seqs = merge(span for one in portion for span in one.seqs)
            lacking = yield from self._lacking(epoch, seqs)
            counts["had"] += total(seqs)
            counts["there"] += total(seqs) - total(lacking)
            before, tries = total(lacking), 0
            while tries < TRIES and (chosen := self._chosen(portion, lacking)):
                cuts = self._cuts
                yield from self._wait(tries * AGAIN_S)
                yield from self._send(segment.path, chosen)
                lacking = yield from self._lacking(epoch, seqs)
                tries += cuts == self._cuts  # what a broken line lost says nothing of the frames
            counts["sent"] += before - total(lacking)
            counts["failed"] += total(lacking)
            recovery.note(epoch, without(seqs, lacking))
            if before and total(lacking) == before and all(one.sound for one in portion):
                self._not_taken.update(one.signer for one in portion)

    def _entries(
        self, segment: Segment, only: dict[str, Ranges] | None, counts: Counter[str]
    ) -> list[_Entry]:
        source = BundleSource(segment.path, salvage=True)
        found = []
        for entry in source:
            try:
                header = split(entry.frame).header
            except SchemaError:
                counts["damaged"] += 1
                continue
            if header.region != self._region:
                counts["foreign"] += 1
            elif header.kind in (Kind.BATCH, Kind.CHUNK) and _counts(header, only):
                begins = entry.after.size - 8 - len(entry.frame)
                found.append(_Entry(begins, len(entry.frame), header, entry.chained))
        counts["damaged"] += len(source.damages)
        return found

    def _chosen(self, portion: Sequence[_Entry], lacking: Ranges) -> list[_Entry]:
        """What to send: frames of which the center lacks something, unless it takes none of that key."""
        return [
            one
            for one in portion
            if one.signer not in self._not_taken and any(contains(lacking, seq) for seq in numbers(one.seqs))
        ]

    def _lacking(self, epoch: str, seqs: Ranges) -> Generator[None, None, Ranges]:
        """Ask the center; those of `seqs` that it does not have."""
        about = seqs if len(seqs) <= PORTION_RANGES else ((seqs[0][0], seqs[-1][1]),)
        args, number, answer = pack_packets_args(epoch, about), 0, None
        while answer is None or answer.answered_ms is None:
            if answer is None:
                number = self._asks.ask(PACKETS, args, self._clock.now_ms())
            yield
            answer = self._asks.asked(number)
        held = {one.seq for part in answer.payloads for one in unpack_packets(part)}
        return from_numbers(seq for seq in numbers(seqs) if seq not in held)

    def _wait(self, wait_s: float) -> Generator[None, None, None]:
        until_s = self._clock.now_s() + wait_s
        while self._clock.now_s() < until_s:
            yield

    def _send(self, path: Path, entries: Sequence[_Entry]) -> Generator[None, None, None]:
        """Hand the frames over in waves; done when the center has taken the last one in."""
        wave: list[tuple[Lane, bytes]] = []
        size = 0
        with path.open("rb") as file:
            for n, one in enumerate(entries):
                file.seek(one.at)
                wave.append((one.lane, file.read(one.length)))
                size += one.length
                if size >= WAVE_BYTES or n == len(entries) - 1:
                    with self._lock:
                        self._queue.extend(wave)
                        self._pending, self._sent_s = True, self._clock.now_s()
                    wave, size = [], 0
                    while not self._is_judged():
                        yield

    def _is_judged(self) -> bool:
        with self._lock:
            quiet_s = self._clock.now_s() - self._sent_s
            return not self._pending or (not self._queue and not self._out and quiet_s > JUDGE_S)

    # --- pipeline.region.beside.FrameSource, for push -----------------------------------------------

    def next(self, may_go: Callable[[Lane], bool]) -> tuple[Lane, bytes] | None:
        """See the port."""
        with self._lock:
            if not self._queue or not may_go(self._queue[0][0]):
                return None
            self._sent_s = self._clock.now_s()
            return self._queue.popleft()

    def sent(self, entry: EntryId) -> None:
        """See the port."""
        with self._lock:
            self._out.add(entry)

    def answered(self, entry: EntryId) -> None:
        """See the port."""
        with self._lock:
            self._out.discard(entry)

    def cut(self) -> None:
        """See the port."""
        with self._lock:
            self._out.clear()
            self._cuts += 1

    def unjudged(self) -> bool:
        """See the port."""
        with self._lock:
            return self._pending and not self._queue and not self._out

    def emptied(self) -> None:
        """See the port."""
        with self._lock:
            if not self._queue and not self._out:
                self._pending = False


def sentence(recovery: Recovery) -> str:
    """What came of it, in words."""
    counts = Counter(recovery.counts)
    said = (
        f"from the mirror {recovery.path}: {counts['had']:,} packets, of which the center had "
        f"{counts['there']:,} and got {counts['sent']:,} now"
    )
    if counts["failed"]:
        said += f"; {counts['failed']:,} it did not take (damaged, or the old machine's key was revoked)"
    if counts["damaged"]:
        said += f"; {counts['damaged']:,} places there are damaged"
    if counts["foreign"]:
        said += f"; {counts['foreign']:,} frames are of another region"
    return f"{said}. Its files are left where they are; where it is our own mirror now, those go that it has"


def _counts(header: Header, only: dict[str, Ranges] | None) -> bool:
    """Whether the frame is about nothing but packets that count: those beside them go by other names."""
    return only is None or all(covers(only.get(header.epoch, ()), span) for span in header.seqs)


def _portions(entries: Sequence[_Entry]) -> Iterator[tuple[str, list[_Entry]]]:
    """Entries of one epoch that one question can be about; all of a large packet's are in the same one."""
    held: list[_Entry] = []
    seqs: Ranges = ()
    size = 0
    for one in entries:
        more = merge((*seqs, *one.seqs))
        full = total(more) > PORTION_PACKETS or len(more) > PORTION_RANGES or size > PORTION_BYTES
        if held and (one.header.epoch != held[0].header.epoch or (full and more != seqs)):
            yield held[0].header.epoch, held
            held, more, size = [], one.seqs, 0
        held.append(one)
        seqs, size = more, size + one.length
    if held:
        yield held[0].header.epoch, held
