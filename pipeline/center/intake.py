"""Step 4: frames of a region's `ctl` and `up` -> the ledger, one transaction per bite; then they are deleted.

Nothing stops the frames behind: what cannot be read is refused or kept aside, and a frame that was read
before without coming to an end is taken alone, so that it alone is hit if it kills its reader; at the fourth
time it is kept aside unread. The broker counts the readings. So that a ledger that cannot write (a full disk)
does not make good frames look like killers, writing is tried with something small before frames are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.center.outcomes import AlreadyBound, BadItem, Bound, Item, Joining, TookIn
from pipeline.center.reading import ChunkOf, JoinIs, Outcome, Packets, Quarantined, WantIs, read_frame
from pipeline.center.sessions import Taken
from pipeline.errors import StoreError
from pipeline.ports import READ_BYTES_MAX, Arrival, CenterLink, Clock
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Join

#: What one transaction aims at: packets, and bytes of their contents.
BITE_PACKETS = 600
BITE_BYTES = 2 * 1024 * 1024
#: Frames read at a time.
CTL_FRAMES = 64
CTL_BYTES = 256 * 1024
UP_FRAMES = 64
#: A frame that was read so often and never taken in is kept aside unread.
ATTEMPTS_MAX = 3


class IntakeLedger(Protocol):
    """The ledger as intake sees it."""

    def refresh_keys(self) -> None:
        """Look whether a key changed."""

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """The region's key of that id, if it verifies."""

    def probe(self) -> None:
        """Write something small; raises what the next batch would fail with."""

    def bind(self, region: str, key: PublicKey, join: Join, now_ms: int) -> Joining:
        """What a join means."""

    def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
        """A batch in one transaction. Raises `StoreError`, having done nothing."""


class Rejected(NamedTuple):
    """A machine that may not speak as the region, and the code of why (for `Deliver.refuse`)."""

    key: PublicKey
    code: str


@dataclass(frozen=True)
class IntakeResult:
    """What one step did with a region's frames. `facts`: its feed grew; `wants`: it spoke (or joined);
    `to_validate`: packets came that have no verdict; `more`: frames are left already."""

    frames: int = 0
    took: tuple[TookIn, ...] = ()
    joined: tuple[Joining, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    more: bool = False

    @property
    def packets(self) -> int:
        """New packets."""
        return sum(one.received for one in self.took)

    @property
    def bytes(self) -> int:
        """The frames' bytes."""
        return sum(one.bytes for one in self.took)

    @property
    def to_validate(self) -> bool:
        """Whether validation has work."""
        return self.packets > 0

    @property
    def facts(self) -> bool:
        """Whether `deliver` has facts."""
        return any(one.new_facts for one in self.took)

    @property
    def wants(self) -> bool:
        """Whether `deliver` has an answer to give."""
        news = (Taken.GRANTED, Taken.LATEST, Taken.SUPERSEDED)
        return any(what in news for one in self.took for what, _ in one.wants)


class _Read(NamedTuple):
    """A frame that was read: its item, its place in the broker, and whether it must be taken alone."""

    item: Item
    id: str
    alone: bool


class Intake:
    """Takes in the frames of regions. `ours` are the center's private keys, older ones too."""

    def __init__(
        self, link: CenterLink, ledger: IntakeLedger, clock: Clock, ours: Sequence[PrivateKey]
    ) -> None:
        self._link, self._ledger, self._clock = link, ledger, clock
        self._ours = {key.id: key for key in ours}
        self._sound = False
        self._forgiven: dict[tuple[str, str, str], int] = {}

    def step(self, region: str, up_bytes: int = READ_BYTES_MAX) -> IntakeResult:
        """Take in what lies first in the region's streams: `ctl`, then `up` as far as `up_bytes` (0: nothing
        of it).

        Raises `StoreError` if the ledger cannot write (the frames stay where they are), `Unreachable` if the
        broker does not answer.
        """
        if not self._sound:
            self._ledger.probe()
            self._sound = True
        self._ledger.refresh_keys()
        joined: list[Joining] = []
        rejected: list[Rejected] = []
        arrivals = [("ctl", one) for one in self._link.read(region, "ctl", CTL_FRAMES, CTL_BYTES)]
        if up_bytes:
            arrivals += [("up", one) for one in self._link.read(region, "up", UP_FRAMES, up_bytes)]
        if not arrivals:
            return IntakeResult()
        try:
            # One frame opened after the other: a few compressed ones hold more than memory should.
            read = (self._read(region, *one, joined, rejected) for one in arrivals)
            took = tuple(self._take(region, bite) for bite in bites(read))
        except StoreError:
            self._forgive(region, arrivals)
            raise
        rejected += [
            Rejected(one.signer, "key_retired")
            for done in took
            for what, one in done.wants
            if what is Taken.RETIRED
        ]
        more = any(self._link.lengths([region]).get(region, ()))
        return IntakeResult(len(arrivals), took, tuple(joined), tuple(rejected), more)

    def probe(self) -> None:
        """Raises `StoreError` if the ledger cannot write now, `Unreachable` if the broker does not answer:
        then a step that failed says nothing of its region."""
        self._link.memory()
        self._ledger.probe()

    # --- reading --------------------------------------------------------------------------------

    def _read(
        self,
        region: str,
        stream: str,
        arrival: Arrival,
        joined: list[Joining],
        rejected: list[Rejected],
    ) -> _Read:
        attempts = arrival.attempts - self._forgiven.get((region, stream, arrival.id), 0)
        outcome: Outcome
        if attempts >= ATTEMPTS_MAX:
            outcome = Quarantined("killer", f"it was read {attempts} times, and no reader came to its end")
        else:
            outcome = self._outcome(region, arrival.frame)
        if isinstance(outcome, JoinIs):
            answer = self._ledger.bind(region, outcome.key, outcome.join, self._clock.now_ms())
            joined.append(answer)
            if not isinstance(answer, Bound | AlreadyBound):
                rejected.append(Rejected(outcome.key, answer.code))
        return _Read(Item(stream, arrival.frame, outcome), arrival.id, attempts > 0)

    def _outcome(self, region: str, frame: bytes) -> Outcome:
        try:
            return read_frame(frame, region, self._ledger.signer_of, self._ours.get)
        except Exception as why:  # our own defect; it must not stop the frames behind
            return Quarantined("defect", f"reading it failed: {type(why).__name__}: {why}")

    # --- taking in ------------------------------------------------------------------------------

    def _take(self, region: str, bite: Sequence[_Read]) -> TookIn:
        """One transaction, then the frames are deleted. What the store refuses is found one by one."""
        items = [one.item for one in bite]
        try:
            took = self._take_in(region, items)
        except BadItem:
            took = self._one_by_one(region, items)
        for stream in ("ctl", "up"):
            ids = [one.id for one in bite if one.item.stream == stream]
            if ids:
                self._link.delete(region, stream, ids)
                for one in ids:
                    self._forgiven.pop((region, stream, one), None)
        return took

    def _one_by_one(self, region: str, items: Sequence[Item]) -> TookIn:
        done = []
        for item in items:
            try:
                done.append(self._take_in(region, [item]))
            except BadItem as why:
                aside = item._replace(outcome=Quarantined("defect", f"the ledger refused it: {why}"))
                done.append(self._take_in(region, [aside]))
        return sum_of(done)

    def _take_in(self, region: str, items: Sequence[Item]) -> TookIn:
        speaks = any(isinstance(item.outcome, WantIs) for item in items)
        last_session = self._link.last_session(region) if speaks else 0
        return self._ledger.take_in(region, items, last_session, self._clock.now_ms())

    def _forgive(self, region: str, arrivals: Sequence[tuple[str, Arrival]]) -> None:
        """The ledger failed and we are alive: these readings say nothing against the frames."""
        self._sound = False
        for stream, one in arrivals:
            self._forgiven[region, stream, one.id] = one.attempts + 1


def bites(read: Iterable[_Read]) -> Iterator[Sequence[_Read]]:
    """What goes into a transaction together: in order, bounded, and what must be alone alone."""
    bite: list[_Read] = []
    packets = held_bytes = 0
    for one in read:
        more_packets, more_bytes = _weight(one.item)
        full = packets + more_packets > BITE_PACKETS or held_bytes + more_bytes > BITE_BYTES
        if bite and (full or one.alone or bite[-1].alone):
            yield bite
            bite, packets, held_bytes = [], 0, 0
        bite.append(one)
        packets, held_bytes = packets + more_packets, held_bytes + more_bytes
    if bite:
        yield bite


def sum_of(done: Sequence[TookIn]) -> TookIn:
    """What several transactions did together."""
    names = [name for name in TookIn.__dataclass_fields__ if name != "wants"]
    wants = tuple(want for one in done for want in one.wants)
    return TookIn(**{name: sum(getattr(one, name) for one in done) for name in names}, wants=wants)


def _weight(item: Item) -> tuple[int, int]:
    match item.outcome:
        case Packets(read=read):
            return len(read), sum(len(one.stored) for one in read)
        case ChunkOf(data=data):
            return 1, len(data)
    return 1, len(item.frame)
