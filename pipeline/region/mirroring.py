"""Step 2: the mirror at work: packets are put on it as they are enqueued, what is missing later, what went.

A mirror that fails stops no recording, and slows it by one try every few seconds: what it could not take is
put on it when it is back (`Upkeep`, run by the region's worker).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.high_water import HighWater
from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.mirror_scan import Scanned, Segment, sweep
from pipeline.adapters.outbox_aside import damage_of
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.adapters.outbox_draft import Draft, Stored, Taken
from pipeline.adapters.recover_file import RecoverFile, Recovery
from pipeline.errors import StoreDamaged, TitianError
from pipeline.ports import Clock
from pipeline.region.framing import Framer
from pipeline.region.mirror import RETRY_MS, CaughtUp, Kept, MirrorState, Read, appends, sentence
from schemas.errors import SchemaError
from schemas.keys import PrivateKey, PublicKey
from schemas.ranges import Ranges, without

#: What one step of the upkeep reads of packets that are missing, bytes.
STEP_BYTES = 4 * 1024 * 1024
#: A packet that is younger than this may still be on its way to the mirror, seconds.
SETTLED_S = 5.0

_Wrong = (OSError, TitianError, SchemaError)


class Mirror:
    """The mirror of one region. May be shared by threads, and kept over a fork."""

    def __init__(
        self,
        folder: MirrorFolder,
        notes: MirrorNotes,
        keys: Sequence[PrivateKey],
        center: PublicKey,
        clock: Clock,
    ) -> None:
        self.folder = folder
        self._notes, self._keys, self._center, self._clock = notes, keys, center, clock
        self._framers: dict[str, Framer] = {}
        self._lock = threading.Lock()
        self._state = notes.load()
        self._looked_ms = clock.now_ms()
        folder.id = self._state.id

    # --- for the outbox -------------------------------------------------------------------------

    def keep(self, drafts: Sequence[Draft], outcomes: Sequence[Stored], read: Read) -> bool:
        """Put on the mirror what was just committed, durably. False where that fails, which is noted. Never
        raises."""
        taken = [
            (one.id.epoch, Kept(one.id.seq, draft.lane, draft.size, draft.digest, draft.stored))
            for draft, one in zip(drafts, outcomes, strict=True)
            if isinstance(one, Taken)
        ]
        if not taken:
            return True
        epoch, first = taken[0][0], taken[0][1].seq
        state = self.state()
        if state.may_try(self._clock.now_ms()):
            return self.put(epoch, [one for _, one in taken], read)
        if not state.missing or first < state.missing:
            self._save(state.failed(state.why, first, state.tried_ms))
        return False

    def promised(self, epoch: str) -> HighWater | None:
        """The highest seq of `epoch` that this outbox has put on the mirror; `None` where it is not known."""
        if not self.state().id:
            return None  # what another machine left there says nothing of this outbox
        try:
            return self.folder.highest(epoch)
        except _Wrong as why:
            self.failed(why)
            return None

    def lost(self, epoch: str, seqs: Ranges) -> None:
        """These are gone from the outbox: what is on the mirror is sent from there (`mirrored.py`)."""
        for first, stop in seqs:
            RecoverFile(self._notes.folder).lost(self.folder.path, (epoch, first, stop))

    def there(self) -> Recovery:
        """What the center has said that it has of packets that are not of this outbox (any more)."""
        with suppress(StoreDamaged):
            return RecoverFile(self._notes.folder).read() or Recovery("")
        return Recovery("")

    # --- for the upkeep -------------------------------------------------------------------------

    def state(self) -> MirrorState:
        """How it stands, other processes' word included (at most a few seconds old)."""
        now_ms = self._clock.now_ms()
        if abs(now_ms - self._looked_ms) >= RETRY_MS:
            self._looked_ms = now_ms
            self._state = self._notes.load()
            self.folder.id = self._state.id or self.folder.id
        return self._state

    def put(self, epoch: str, packets: Sequence[Kept], read: Read) -> bool:
        """Put these packets (rising seqs) on the mirror; False, and noted, where that fails."""
        try:
            for one in appends(self._framer(epoch), packets, read):
                if one.alone:
                    self.folder.append_alone(epoch, one.first, one.frames)
                else:
                    self.folder.append(epoch, one.first, one.last, tuple(one.frames))
        except StoreDamaged:  # of the outbox: a large packet is not whole; sending it will say so
            return True
        except _Wrong as why:
            self.failed(why, packets[0].seq)
            return False
        self.worked()
        return True

    def worked(self) -> None:
        """A try worked."""
        if self._state.failing or self._state.id != self.folder.id:
            self._save(self._notes.load().worked(self.folder.id))

    def failed(self, why: Exception, seq: int = 0) -> None:
        """A try failed, at packet `seq`."""
        said = sentence(self.folder.path, why)
        self._save(self._notes.load().failed(said, seq, self._clock.now_ms()))

    def caught_up(self, upto: int) -> None:
        """Everything up to packet `upto` is there."""
        if self._state.missing:
            self._save(self._notes.load().caught_up(upto))

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """Our own keys, by which our frames are known."""
        return next((key.public for key in self._keys if key.id == key_id), None)

    def close(self) -> None:
        """Let go of the files."""
        self.folder.close()

    # --- inside ---------------------------------------------------------------------------------

    def _framer(self, epoch: str) -> Framer:
        found = self._framers.get(epoch)
        if found is None:
            found = Framer(self.folder.region, epoch, self._keys[0], self._center)
            self._framers[epoch] = found
        return found

    def _save(self, state: MirrorState) -> None:
        with self._lock:
            self._state = state
            self._notes.save(state)


class Upkeep:
    """Keeps the mirror whole and small, step by step. Belongs to one thread of the region's worker."""

    def __init__(self, mirror: Mirror, outbox: OutboxCustody, clock: Clock) -> None:
        self._mirror, self._outbox, self._clock = mirror, outbox, clock
        self._scanned: dict[str, Scanned] = {}
        self._epoch = ""
        self._done = 0  # up to here every packet without a receipt is on the mirror
        self._taken_over = 0  # of this epoch: packets that may lie on the mirror under older names only
        self._fence = 0  # and up to here it is looked at: who enqueued those has done with them
        self._seen: tuple[int, float] = (0, clock.now_s())

    def step(self, limit: int = 500) -> CaughtUp:
        """Read one segment that is new, or put up to `limit` missing packets there, oldest first."""
        state = self._mirror.state()
        if not state.may_try(self._clock.now_ms()):
            return CaughtUp()
        self._begin(state)
        try:
            segments = self._mirror.folder.segments()
            self._forget(segments)
            unread = [one for one in segments if self._of(one).read != one.size]
            damaged = self._read(unread[0]) if unread else 0
            if len(unread) > 1:
                return CaughtUp(damaged=damaged, more=True)
            put, more = self._fill(limit)
            removed = 0 if more else self._prune(segments)
        except _Wrong as why:
            self._mirror.failed(why)
            return CaughtUp()
        return CaughtUp(put, removed, damaged, more)

    # --- inside ---------------------------------------------------------------------------------

    def _begin(self, state: MirrorState) -> None:
        """Where to look: up to packets that were there a while ago; from what may be missing on."""
        epoch, highest = self._outbox.standing()
        now_s = self._clock.now_s()
        if epoch != self._epoch:
            self._epoch, self._done, self._fence, self._seen = epoch, 0, 0, (highest, now_s)
            self._taken_over = highest
        if now_s - self._seen[1] >= SETTLED_S:
            self._fence, self._seen = self._seen[0], (highest, now_s)
        if state.missing and not state.failing:
            self._done = min(self._done, state.missing - 1)

    def _forget(self, segments: Sequence[Segment]) -> None:
        """Somebody deleted a segment: what lay in it is missing."""
        for name in self._scanned.keys() - {one.path.name for one in segments}:
            gone = self._scanned.pop(name).inside.seqs
            if gone:
                self._done = min(self._done, gone[0][0] - 1)

    def _of(self, segment: Segment) -> Scanned:
        return self._scanned.setdefault(segment.path.name, Scanned())

    def _read(self, segment: Segment) -> int:
        one = self._of(segment)
        before = one.lost
        one.go_on(segment, self._mirror.signer_of)
        if one.lost > before:
            self._done = min(self._done, segment.first - 1)
        return max(0, one.lost - before)

    def _fill(self, limit: int) -> tuple[int, bool]:
        """Put there what is missing; returns how many packets, and whether there are more."""
        fence = self._fence
        found = self._outbox.open_packets(self._done, fence, limit)
        upto = found[-1].seq if len(found) == limit else fence
        missing: list[Kept] = []
        size = 0
        for packet in found:
            if self._is_there(packet):
                continue
            if missing and size + packet.size > STEP_BYTES:
                upto = packet.seq - 1
                break
            held = self._held(packet)
            missing += [] if held is None else [held]
            size += packet.size
        there = not missing or self._mirror.put(self._epoch, missing, self._outbox.read)
        if not there and self._mirror.state().failing:
            return 0, False
        self._done = upto
        if upto >= fence:
            self._mirror.worked()
            self._mirror.caught_up(upto)
        return len(missing), upto < fence

    def _held(self, packet: Kept) -> Kept | None:
        """With its bytes, unless it is large. `None` where they are damaged: sending it will say so."""
        if packet.size > STEP_BYTES:
            return packet
        try:
            stored = self._outbox.read(packet.seq, 0, packet.size)
        except StoreDamaged:
            return None
        return None if damage_of(packet.size, packet.digest, stored) else packet._replace(stored=stored)

    def _is_there(self, packet: Kept) -> bool:
        return any(
            one.inside.holds(packet)
            for name, one in self._scanned.items()
            if name.startswith(f"{self._mirror.folder.region}-{self._epoch}-")
        )

    def _prune(self, segments: Sequence[Segment]) -> int:
        """Remove what the center has: by the facts of this outbox, and by its answers about what it lost, and
        about a machine that is gone. Of those a damaged segment stays: nobody knows what is in it."""
        removed, there = 0, self._mirror.there()
        for one in segments:
            seqs = self._of(one).inside.seqs
            if one.current or not seqs or (one.epoch != self._epoch and self._done < self._taken_over):
                continue
            rest = without(seqs, there.held(one.epoch))
            if rest and not self._outbox.all_received(one.epoch, rest):
                continue
            if rest != seqs and self._of(one).lost:
                continue
            self._mirror.folder.remove(one)
            self._scanned.pop(one.path.name, None)
            removed += 1
        sweep(self._mirror.folder.path, self._mirror.folder.region, self._clock.now_ms() / 1000)
        return removed


def mirror_of(folder: Folder, clock: Clock | None = None) -> Mirror | None:
    """The mirror that a region's settings name; `None` where there is none."""
    if not folder.settings.mirror:
        return None
    path = Path(folder.settings.mirror).expanduser()
    notes = MirrorNotes(folder.path, path)
    place = MirrorFolder(path, folder.settings.region)
    return Mirror(place, notes, folder.private_keys(), folder.center_key(), clock or SystemClock())
