"""Steps 2 and 3: outbox -> frames -> the `up` stream, within two windows; and what the answers mean.

Decide first, then act: `flights.py` decides what is lost, `speech.py` what to say; here it is done. One
`Push` belongs to a process: a slice ends with frames in flight and the next one settles them. `step` never
waits longer than it is told, nor raises for a link that is down: that is a state, with a time to probe it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import LinkDenied, LinkDown
from pipeline.ports import Batch, Chunk, Clock, Cursors, EntryId, Outbox, Registry, Sent
from pipeline.region.announcer import Announcer
from pipeline.region.announcing import ToldStore
from pipeline.region.backoff import Backoff
from pipeline.region.beside import OWN_A_TURN, FrameSource, NoFrames
from pipeline.region.flights import Flights, by_ctl
from pipeline.region.framing import Framer, sent_of
from pipeline.region.holds import Holds
from pipeline.region.lanes import LaneOrder
from pipeline.region.pushed import Pushed, PushSettings
from pipeline.region.questions import Questions
from pipeline.region.settler import Settler, follow_rewind
from pipeline.region.speaker import Speaker
from pipeline.region.speech import Speech
from pipeline.region.voices import Voice
from pipeline.region_link import NO_ENTRY, Accepted, RegionLink
from pipeline.throttle.pace import frame_bytes
from schemas.keys import PrivateKey, PublicKey
from schemas.lanes import Lane
from schemas.ranges import Ranges, from_wire


@dataclass
class Push:
    """The resident of the outbox's end of the link."""

    outbox: Outbox
    registry: Registry
    link: RegionLink
    speaker: Speaker
    clock: Clock
    ours: PrivateKey
    center: PublicKey
    settings: PushSettings = field(default_factory=PushSettings)
    token: bytes = b""
    lanes: LaneOrder = field(default_factory=LaneOrder)
    rng: random.Random = field(default_factory=random.Random)
    told: ToldStore | None = None
    voices: Sequence[Voice] = ()
    beside: FrameSource = field(default_factory=NoFrames)
    denied: str = ""
    backoff: Backoff = field(init=False)
    _flights: Flights = field(init=False)
    _settler: Settler = field(init=False)
    _holds: Holds = field(init=False)
    _framer: Framer = field(init=False)
    _announcer: Announcer = field(init=False)
    _speech: Speech = field(init=False)
    _last: EntryId = field(default_factory=lambda: EntryId(0, 0))
    _handled_n: int = 0
    _rounds_lost: int = 0
    _urgent_is_large: bool = False
    _broke_off: bool = False
    _own: int = 0  # frames of ours since the last one beside them
    _asked: deque[tuple[EntryId | None, int, bool]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        follow_rewind(self.outbox, self.registry.cursors(), self.clock)
        self._flights = Flights(self.outbox.in_flight())
        self._settler = Settler(self.outbox, self.registry, self.clock, self._flights)
        self._holds = Holds(self.speaker, self._flights, self.settings)
        self._framer = Framer(self.outbox.region, self.outbox.epoch, self.ours, self.center)
        self._announcer = Announcer(self.told)
        voices, most = (Questions(self.registry), *self.voices), self.settings.level_bytes
        self._speech = Speech(
            self.speaker, self.outbox, self._announcer, voices, self._framer, self.clock, most, self.token
        )
        self.backoff = Backoff(self.rng)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes that wait for the ledger's word."""
        return self._flights.bytes

    @property
    def acknowledged_bytes(self) -> int:
        """Bytes on the link that the center has acknowledged since this process began."""
        return self._flights.acknowledged_bytes

    def step(self, wait_s: float = 0.0) -> Pushed:
        """One round: answers, facts, evidence, the want, then frames while the windows allow. One that an
        error broke off between a claim and its frame is no loss: the next one finds the claim in the outbox.
        """
        if self._broke_off:
            self._flights.recall(self.outbox.in_flight(), self.speaker.next_n())
        self._broke_off = True
        done = self._round(wait_s)
        self._broke_off = False
        return done

    def _round(self, wait_s: float) -> Pushed:
        now_s = self.clock.now_s()
        if self.speaker.superseded:
            return Pushed(waits="superseded")
        self._follow_epoch()
        settled, forks = self._settler.settle(self.registry.cursors())
        if settled:
            self._rounds_lost = 0
        if now_s < self.backoff.until_s:
            return Pushed(settled=settled, forks=forks, waits="denied" if self.denied else "link down")
        try:
            self._collect(wait_s if self._flights.on_the_wire_bytes else 0.0)
            requeued = self._hear(self.registry.cursors())
            self._speak(now_s)
            frames, packets, sent_bytes, waits = self._send(now_s)
            told = None if now_s < self._holds.full_until_s else self._speech.announcement(now_s)
            if told is not None:
                self.link.send_control(told)
        except LinkDown:
            self._went_down(now_s)
            return Pushed(settled=settled, forks=forks, waits="link down")
        except LinkDenied as why:
            self._went_down(now_s)
            self.denied, self.backoff.until_s = str(why), now_s + self.settings.denied_s
            return Pushed(settled=settled, forks=forks, waits="denied")
        return Pushed(frames, packets, sent_bytes, settled, requeued, forks, waits)

    def close(self) -> None:
        """Let go of the link; what is in flight is judged by evidence when it opens again."""
        self._cut()

    # --- what came back -------------------------------------------------------------------------

    def _collect(self, wait_s: float) -> None:
        for length in self.link.lengths():
            mark, next_n, unjudged = self._asked.popleft()
            self._flights.observe(length, next_n, mark)
            if not length:
                self._speech.stream_was_empty(next_n)
                if unjudged:
                    self.beside.emptied()
        for outcome in self.link.outcomes(wait_s):
            self.beside.answered(outcome.entry)
            if isinstance(outcome, Accepted):
                self._flights.accept(outcome.entry)
                continue
            if sent := self._flights.sent(outcome.entry):  # the broker did not take it: evidence enough
                self._requeue([sent])
            elif outcome.entry == NO_ENTRY:  # what we had to say
                self.speaker.repeat()
            self._holds.full_until_s = self.clock.now_s() + self.settings.full_s

    def _hear(self, cursors: Cursors) -> int:
        """Act on the newest ack once all the facts that it knows of are settled here."""
        ack = self.speaker.answer
        if ack is None or ack.n <= self._handled_n or ack.epoch != self.outbox.epoch:
            return 0
        partly: dict[int, Ranges] = {one.seq: from_wire(one.ranges) for one in ack.partly}
        done = self._flights.cover(partly)
        if done:  # no fact comes of a large packet until it is whole: its chunks show that frames arrive
            self._rounds_lost = 0
        if done or partly:
            self.outbox.cover(partly, done)
        if cursors.facts < ack.facts_top or self.outbox.settled_to() < ack.facts_top:
            return 0
        self._handled_n = ack.n
        self._speech.hear(ack)
        if not (lost := self._flights.lost(ack.n)):
            return 0
        # Something takes our frames and does not know them: go on, but ever more slowly, until facts come.
        self._rounds_lost += 1
        if self._rounds_lost > 1:
            until_s = self.clock.now_s() + min(30.0, 0.25 * 2**self._rounds_lost)
            self._holds.lost_until_s = until_s
            if any(map(by_ctl, lost)):
                self._holds.urgent_lost_until_s = until_s
            self.speaker.ask_anew()  # ids of this session may be taken by somebody else
        return self._requeue(lost)

    def _requeue(self, lost: list[Sent]) -> int:
        waiting_again = self.outbox.requeue(lost, self.clock.now_ms())
        self._flights.drop(one.entry for one in lost)
        return waiting_again

    # --- what is said ---------------------------------------------------------------------------

    def _speak(self, now_s: float) -> None:
        cursors = self.registry.cursors()
        unjudged = self.beside.unjudged()
        due = self._speech.due(now_s, cursors, unjudged or len(self._flights) > 0)
        self._follow_epoch()  # a voice may have come to the end of a doubt
        if not due or now_s < self._holds.full_until_s:
            return
        if len(self._flights) or unjudged or self._speech.holds():
            self.link.ask_length()
            self._asked.append((self._flights.mark(), self.speaker.next_n(), unjudged))
        for frame in self._speech.frames(now_s, cursors):
            self.link.send_control(frame)
        self.backoff.worked()
        self.denied = ""

    # --- what is sent ---------------------------------------------------------------------------

    def _send(self, now_s: float) -> tuple[int, int, int, str]:
        frames = packets = sent_bytes = 0
        if held := self._speech.holds():
            return 0, 0, 0, held
        while True:
            view = self.link.throttle()
            aim = self.settings.frame_bytes if view is None else frame_bytes(view, self.settings.frame_bytes)
            waits = self._holds.why(now_s, aim, view)
            if frames >= 8:  # come back for answers before more goes out
                return frames, packets, sent_bytes, waits
            claimed = self._claim_urgent(now_s, aim, waits)
            free = claimed is None and not waits
            size = self._send_beside() if free and self._own >= OWN_A_TURN else 0
            if free and not size:
                claimed = self._claim(self.lanes.next(), self._framer.batch_bytes_max(aim), aim)
                nothing = self._holds.why_urgent(now_s, aim) or "nothing waits"
                waits = "paused or capped" if self.lanes.held else nothing
            if size or (free and claimed is None and (size := self._send_beside())):
                frames, sent_bytes = frames + 1, sent_bytes + size
                continue
            if claimed is None or self._follow_epoch():  # what was claimed is of the new one: it is judged
                return frames, packets, sent_bytes, waits
            frame = self._framer.frame_of(claimed, 0.0 if view is None else view.rate_bytes_s)
            sent = sent_of(claimed)
            self._flights.add(sent, len(frame), self.speaker.next_n())
            (self.link.send_urgent if by_ctl(sent) else self.link.send)(claimed.entry, frame)
            self.lanes.spent(claimed.lane, len(frame))
            self._announcer.left(claimed.lane, sent.bytes, len(frame), now_s)
            frames, self._own = frames + 1, self._own + 1
            packets += len(claimed.stored) if isinstance(claimed, Batch) else 0
            sent_bytes += len(frame)

    def _send_beside(self) -> int:
        """A frame that is not of the outbox, where none of it may go, or in its turn; returns its bytes."""
        entry = self._next_entry()
        found = self.beside.next(self.lanes.may) if entry.session else None
        if found is None:
            return 0
        lane, frame = found
        self._last, self._own = entry, 0
        self.beside.sent(entry)
        self.link.send(entry, frame)
        self.lanes.spent(lane, len(frame))
        return len(frame)

    def _claim_urgent(self, now_s: float, aim: int, waits: str) -> Batch | Chunk | None:
        """Small ones whenever `ctl` has room. A large one goes by `up`, and only the claim shows that it is
        one: its first chunk may pass the windows, then the lane waits for them (`waits`) until it is through.
        """
        if not self._urgent_is_large:
            waits = self._holds.why_urgent(now_s, aim)
        if waits:
            return None
        # Not as many as might shrink to a frame: urgent packets may have pictures.
        claimed = self._claim(self.lanes.urgent(), aim - self._flights.ctl_on_the_wire_bytes, aim)
        self._urgent_is_large = isinstance(claimed, Chunk)
        return claimed

    def _claim(self, lanes: Sequence[Lane], batch_bytes: int, chunk_bytes: int) -> Batch | Chunk | None:
        entry = self._next_entry()
        if not lanes or not entry.session:
            return None
        before, self._last = self._last, entry  # an error does not say whether it is used now
        claimed = self.outbox.claim(entry, lanes, batch_bytes, chunk_bytes, self.clock.now_ms())
        if claimed is None:
            self._last = before
        return claimed

    def _next_entry(self) -> EntryId:
        session = self.speaker.session
        return EntryId(session, self._last.n + 1 if session == self._last.session else 1)

    def _follow_epoch(self) -> bool:
        """Whether the outbox has begun a new epoch; then what was sent and told of the old one is over."""
        if self._framer.epoch == self.outbox.epoch:
            return False
        self._framer.epoch = self.outbox.epoch
        self._announcer = self._speech.announcer = Announcer(self.told)
        self._flights.forget()
        self._flights.recall(self.outbox.in_flight(), self.speaker.next_n())
        return True

    def _cut(self) -> None:
        self._flights.cut()
        self.beside.cut()
        self._asked.clear()
        self.link.close()

    def _went_down(self, now_s: float) -> None:
        self._cut()
        self.speaker.repeat()
        self.backoff.failed(now_s)
