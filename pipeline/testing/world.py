"""The whole way in one process, for tests: real stores, real frames, the link in memory, the clock by hand.

A `World` is a center and one region. Nothing runs by itself: a test calls the steps in whatever order it
likes, cuts, kills, wipes and restores in between, and then asks whether everything arrived once (`arrive`,
`check`). A kill drops the objects of a process and makes them anew from what the stores hold.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox, create_outbox
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.center.deliver import Deliver, Delivered
from pipeline.center.intake import Intake, IntakeResult
from pipeline.center.validation import Validation, ValidationResult
from pipeline.region.earlier import Earlier
from pipeline.region.forked import Forked
from pipeline.region.packing import draft_of
from pipeline.region.pull import Pull
from pipeline.region.pulled import Pulled
from pipeline.region.push import Push
from pipeline.region.pushed import Pushed, PushSettings
from pipeline.region.renumbering import Renumbering
from pipeline.region.speaker import Speaker
from pipeline.region.voices import Voice
from pipeline.testing.clock import ManualClock
from pipeline.testing.equal import same_records
from pipeline.testing.folder_names import FolderNames
from pipeline.testing.memory_link import MemoryLink
from schemas.identity import PacketId
from schemas.keys import PrivateKey

TOKEN = b"a token of at least sixteen bytes"


class World:
    """A center and the region `1806` in `folder`. `push_settings` bounds what goes at once."""

    region = "1806"

    def __init__(
        self,
        folder: Path,
        *,
        push_settings: PushSettings | None = None,
        seed: int = 0,
        voices: Sequence[Voice] = (),
    ) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.link = MemoryLink()
        self.rng = random.Random(seed)
        self.center_key = PrivateKey.generate()
        self.region_key = PrivateKey.generate(self.region)
        self.push_settings = push_settings or PushSettings()
        self.voices = voices
        self.instances = self.machines = 0
        self.token = TOKEN
        self.region_folder = folder / "region"
        #: Epochs of which an old machine's mirror holds packets, oldest first.
        self.old_epochs: tuple[str, ...] = ()
        self.enqueued: dict[PacketId, dict[str, Any]] = {}
        #: What machines had that are gone: some of it the center has, some is lost.
        self.lost: dict[PacketId, dict[str, Any]] = {}
        create_outbox(self.region_folder, self.region, self.clock.now_ms())
        create_registry(self.region_folder, self.clock.now_ms())
        self._ledger_path = folder / "ledger.db"
        self.ledger = SqlLedger(self._ledger_path)
        self.ledger.open_incarnation(self.clock.now_ms())
        self.ledger.admit(self.region, TOKEN, self.clock.now_ms())
        self._start_center()
        self._start_region()

    # --- starting, killing, restoring -----------------------------------------------------------

    def _start_center(self) -> None:
        end = self.link.center_end()
        self.intake = Intake(end, self.ledger, self.clock, [self.center_key])
        self.validation = Validation(self.ledger)
        self.deliver = Deliver(self.ledger, end, self.clock, self.center_key)

    def _start_region(self) -> None:
        self.instances += 1
        settings = OutboxSettings(low_water_bytes=0, ballast_bytes=0)
        self.outbox = SqliteOutbox(self.region_folder, settings)
        self.outbox.check(self.clock.now_ms())
        self.registry = SqliteRegistry(self.region_folder)
        # One end each, as the workers have them: what `pull` closes must not be closed under `push`.
        up, down = (self.link.region_end(self.region) for _ in range(2))
        speaker = Speaker(instance=f"instance-{self.instances}")
        center = self.center_key.public
        self.push = Push(
            self.outbox,
            self.registry,
            up,
            speaker,
            self.clock,
            self.region_key,
            center,
            self.push_settings,
            token=self.token,
            rng=self.rng,
            told=self.outbox.announced,
            voices=(*self._own_voices(), *self.voices),
        )
        self.pull = Pull(
            self.outbox, self.registry, down, speaker, self.clock, self.region_key, center, rng=self.rng
        )

    def _own_voices(self) -> tuple[Voice, ...]:
        """What speaks in every region's wants."""
        names = FolderNames(self.region_folder)
        doubts = Forked(self.outbox, self.outbox.doubts, self.registry)
        return doubts, Renumbering(names), Earlier(names, lambda: self.old_epochs)

    def kill_region(self) -> None:
        """`kill -9` of the region's worker: what its stores hold is all that is left."""
        self.push.close()
        self.outbox.close()
        self.registry.close()
        self._start_region()

    def lose_disk(self) -> None:
        """The region's machine is gone, with all that it had. Until `rebuild_region` there is no region."""
        self.push.close()
        self.outbox.close()
        self.registry.close()
        shutil.rmtree(self.region_folder)
        self.lost.update(self.enqueued)
        self.enqueued.clear()

    def rebuild_region(self) -> None:
        """An empty machine: `admit --again`, `init region --rebuild`; a new key, under a new token."""
        if self.region_folder.exists():
            self.lose_disk()
        self.machines += 1
        self.token = TOKEN + str(self.machines).encode()
        self.region_key = PrivateKey.generate(self.region)
        self.ledger.admit(self.region, self.token, self.clock.now_ms())
        create_outbox(self.region_folder, self.region, self.clock.now_ms())
        create_registry(self.region_folder, self.clock.now_ms(), fresh=True)
        self._start_region()

    def kill_center(self) -> None:
        """The center's processes start anew: another life of the ledger."""
        self.ledger.close()
        self.ledger = SqlLedger(self._ledger_path)
        self.ledger.open_incarnation(self.clock.now_ms())
        self._start_center()

    def back_up_ledger(self) -> Path:
        """A copy of the ledger as it is now."""
        self.ledger.close()
        copy = self.folder / f"backup-{self.rng.getrandbits(32):08x}"
        copy.mkdir()
        for part in self.folder.glob("ledger.db*"):
            shutil.copy(part, copy)
        self.ledger = SqlLedger(self._ledger_path)
        self._start_center()
        return copy

    def restore_ledger(self, copy: Path) -> None:
        """The center's disk died: it goes on from an older copy."""
        self.ledger.close()
        for part in self.folder.glob("ledger.db*"):
            part.unlink()
        for part in copy.iterdir():
            shutil.copy(part, self.folder)
        self.ledger = SqlLedger(self._ledger_path)
        self.ledger.open_incarnation(self.clock.now_ms())
        self._start_center()

    def close(self) -> None:
        """Let go of every file."""
        self.push.close()
        self.outbox.close()
        self.registry.close()
        self.ledger.close()

    # --- the steps ------------------------------------------------------------------------------

    def enqueue(self, packet: dict[str, Any]) -> PacketId:
        """Take one packet in."""
        now_ms = self.clock.now_ms()
        draft = draft_of(packet, now_ms, folder=self.folder, once=False)
        done = self.outbox.take([draft], now_ms)[0] if draft.stored else self.outbox.take_large(draft, now_ms)
        self.enqueued[done.id] = packet
        return done.id

    def step_push(self) -> Pushed:
        """One round of push."""
        return self.push.step()

    def step_pull(self) -> Pulled:
        """One round of pull."""
        return self.pull.step(0.0)

    def step_intake(self) -> IntakeResult:
        """One round of intake, and the refusals that it leads to."""
        done = self.intake.step(self.region)
        for one in done.rejected:
            self.deliver.refuse(self.region, one.key, one.code)
        return done

    def step_validate(self) -> ValidationResult:
        """One round of validation."""
        return self.validation.step(self.clock.now_ms())

    def step_deliver(self) -> Delivered:
        """One round of deliver."""
        return self.deliver.step(self.region)

    def round(self, seconds: float = 1.0) -> None:
        """Every step once, and a little time."""
        self.step_push()
        self.step_intake()
        self.step_validate()
        self.step_deliver()
        self.step_pull()
        self.clock.advance(seconds)

    def arrive(self, rounds: int = 300) -> int:
        """Rounds until nothing is left to do (at most `rounds`); returns how many it took."""
        for n in range(rounds):
            if self.is_done():
                return n
            self.round()
        return rounds

    def is_done(self) -> bool:
        """Whether the center has said a final word on every packet, and the region knows all of it."""
        standing = self.ledger.standing(self.region)
        cursors = self.registry.cursors()
        return (
            standing is not None
            and self.unverdicted() == 0
            and not self.outbox.in_flight()
            and (cursors.facts, cursors.records) == (standing.facts_no, standing.records_no)
            and self.outbox.settled_to() == cursors.facts
            and not cursors.fresh
            and cursors.back is None
            and not self.registry.asks()
        )

    # --- what came of it ------------------------------------------------------------------------

    def unverdicted(self) -> int:
        """Packets at the region without a word beyond the receipt."""
        reader = OutboxReader(self.region_folder)
        try:
            return sum(lane.unverdicted.packets for lane in reader.counts().values())
        finally:
            reader.close()

    def check(self) -> None:
        """Every packet that was enqueued is in the ledger once, with the digest that the region has, has its
        verdict at the region, and no other packet is there, nor announced. Raises `AssertionError` that names
        the first."""
        reader = OutboxReader(self.region_folder)
        try:
            for packet in self.enqueued:
                here, there = reader.find(packet), self.ledger.reader.packet(packet)
                assert here is not None, f"{packet} is not in the outbox"
                assert there is not None, f"{packet} never arrived"
                assert there.digest == here.digest, f"{packet} arrived with another digest"
                assert here.status is not None, f"{packet} has no word of the center"
                assert here.status == there.status, f"{packet}: {here.status!r} here, {there.status!r} there"
        finally:
            reader.close()
        ledger = self.ledger.reader
        saved = sum(ledger.packet(packet) is not None for packet in self.lost)
        received, known = ledger.counts(self.region).received, len(self.enqueued) + saved
        assert received == known, f"{received} in the ledger, {known} were enqueued"
        for row in ledger.announced():
            assert row.id in self.lost, f"{row.id} is here and still announced"
        told = sum(lane.told for lane in self.outbox.announced.backlog().values())
        assert told == 0, f"the outbox counts {told} as announced that have a receipt"
        self.check_records()

    def check_records(self, more_here: int = 0) -> None:
        """The registry's records are the center's, to the last byte of what is kept of their packets, beside
        `more_here` that the center has lost. Raises `AssertionError` that names the first that is not."""
        same_records(self.region_folder, self.ledger.reader, self.region, more_here)
