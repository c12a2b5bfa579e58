"""Old backups, copied folders, two machines: it is noticed, and every packet is at the center once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters import outbox_suspect
from pipeline.adapters.outbox_reader import Event, OutboxReader
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox
from pipeline.adapters.outbox_suspect import OutboxDoubts
from pipeline.region.forked import HOLDS
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.identity import PacketId
from schemas.verdicts import Status


class Office:
    """A world whose region's folder is copied and restored. `digests`: of every packet that was enqueued in
    whatever life of the folder."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.copies = 0
        self.seed = 0
        self.digests: dict[bytes, PacketId] = {}
        self.epochs = {self.world.outbox.epoch}

    def enqueue(self, n: int, biometrics: int = 0) -> list[PacketId]:
        self.seed += 1
        self.world.clock.advance(0.01)
        lines = sample_lines(n, seed=self.seed, biometrics=biometrics)
        made = [self.world.enqueue(line) for line in lines]
        reader = OutboxReader(self.world.region_folder)
        for one in made:
            found = reader.find(one)
            assert found is not None
            self.digests[found.digest] = one
        reader.close()
        return made

    def stop(self) -> None:
        self.world.push.close()
        self.world.outbox.close()
        self.world.registry.close()

    def back_up(self) -> Path:
        """A copy of the folder, taken while nothing runs; then it goes on."""
        self.stop()
        self.copies += 1
        copy = self.world.folder / f"copy-{self.copies}"
        shutil.copytree(self.world.region_folder, copy)
        self.world._start_region()
        return copy

    def restore(self, copy: Path, *, keep: tuple[str, ...] = ()) -> None:
        """The folder is replaced by the copy; of the one that was there only files in `keep` stay."""
        self.stop()
        kept = {name: (self.world.region_folder / name).read_bytes() for name in keep}
        shutil.rmtree(self.world.region_folder)
        shutil.copytree(copy, self.world.region_folder)
        for name, data in kept.items():
            (self.world.region_folder / name).write_bytes(data)
        self.world._start_region()

    def arrive(self, rounds: int = 200) -> None:
        for _ in range(rounds):
            if self.world.is_done() and not self.world.outbox.doubts.there_are():
                break
            self.world.round()
        assert self.world.is_done(), "it did not come to an end"
        self.epochs.add(self.world.outbox.epoch)

    def at_center(self) -> Counter[bytes]:
        """How often each packet is in the ledger, whatever it is called there."""
        there: Counter[bytes] = Counter()
        for epoch in self.epochs:
            for seq in range(1, 100):
                row = self.world.ledger.reader.packet(PacketId(self.world.region, epoch, seq))
                if row is not None and row.status is not Status.REFUSED:
                    there[row.digest] += 1
        return there

    def check(self, lost: set[PacketId] = frozenset()) -> None:  # type: ignore[assignment]
        """Each packet is at the center once, but for the `lost` ones, which no disk had any more."""
        there = self.at_center()
        for digest, packet in self.digests.items():
            assert there[digest] == (packet not in lost), f"{packet} is there {there[digest]} times"
        assert set(there) <= set(self.digests)

    def events(self) -> list[Event]:
        reader = OutboxReader(self.world.region_folder)
        found = reader.events()
        reader.close()
        return found


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.world.close()


@pytest.mark.parametrize("keep", [(), ("highest-seq",)], ids=["with its highest seq", "without it"])
@pytest.mark.parametrize("sent_before", [True, False])
def test_an_old_backup_is_noticed_and_every_packet_is_at_the_center_once(
    office: Office, keep: tuple[str, ...], sent_before: bool
) -> None:
    """The backup has packets that were sent after it was made, and the office goes on enqueueing into it."""
    office.enqueue(5, biometrics=1)
    office.arrive()
    office.enqueue(4, biometrics=1)
    copy = office.back_up()
    office.enqueue(3)
    office.arrive()
    unsent = office.enqueue(2)  # of these nobody knows
    if sent_before:
        office.arrive()
    old = office.world.outbox.epoch
    office.restore(copy, keep=keep)
    office.enqueue(2)
    office.arrive()
    office.check(lost=set() if sent_before else set(unsent))
    assert office.world.outbox.epoch != old
    new_epoch = next(one for one in office.events() if one.what == "new epoch")
    assert "a backup was restored" in new_epoch.detail
    office.enqueue(2)
    office.arrive()
    office.check(lost=set() if sent_before else set(unsent))
    tallies = OutboxReader(office.world.region_folder).meta().tallies
    assert tallies.get("lost", 0) == (0 if sent_before or not keep else 2)


def test_nothing_is_sent_or_announced_while_it_is_not_known_what_the_center_has(office: Office) -> None:
    office.enqueue(3)
    copy = office.back_up()
    office.enqueue(3)
    office.arrive()
    office.restore(copy)
    office.enqueue(1)
    said = set()
    while not office.world.outbox.doubts.there_are():
        office.world.round()
    while office.world.outbox.doubts.there_are():
        said.add(office.world.step_push().waits)
        assert office.world.link.region("1806").up.entries == {}
        office.world.round()
    assert HOLDS in said
    office.arrive()
    office.check()


def test_a_backup_restored_while_frames_of_its_later_life_lie_in_the_stream_doubles_nothing(
    office: Office,
) -> None:
    """What the copy has too was sent, and the center does not get to it for long."""
    world = office.world

    def rounds(n: int) -> None:
        for _ in range(n):
            world.step_push()
            world.intake.step(world.region, up_bytes=0)
            world.step_deliver()
            world.step_pull()
            world.clock.advance(1.0)

    office.enqueue(2)
    office.arrive()
    office.enqueue(3)
    copy = office.back_up()
    rounds(4)
    office.enqueue(1)
    rounds(4)
    assert world.outbox.in_flight()
    assert world.link.region(world.region).up.entries
    office.restore(copy)
    rounds(12)
    assert world.outbox.doubts.there_are()
    office.enqueue(1)
    office.arrive()
    office.check()
    assert len(office.epochs) == 2


def test_of_a_copied_folder_the_one_that_was_silent_takes_over_under_a_new_epoch(tmp_path: Path) -> None:
    """Both machines enqueue and send; the second is the older copy."""
    office = Office(tmp_path)
    office.enqueue(4)
    office.arrive()
    copy = office.back_up()
    office.enqueue(3)
    office.arrive()
    first = office.world
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(copy, elsewhere)
    first_parts = (first.region_folder, first.outbox, first.registry, first.push, first.pull)
    first.region_folder = elsewhere
    first._start_region()  # the second machine, beside the first
    office.enqueue(3)
    first.push.speaker.take_over = True
    office.arrive()
    office.check()
    assert len(office.epochs) == 2
    second_parts = (first.region_folder, first.outbox, first.registry, first.push, first.pull)
    first.region_folder, first.outbox, first.registry, first.push, first.pull = first_parts
    office.enqueue(1)
    for _ in range(8):  # the second goes on speaking; the first meets an answer that is not for it
        second_parts[3].step()
        first.round(5.0)
    assert first.step_push().waits == "superseded"
    # its owner takes it back: the center knows nothing wrong of its epoch, so it goes on in it
    first.kill_region()
    first.push.speaker.take_over = True
    office.arrive()
    office.check()
    first.close()
    for part in (second_parts[3], second_parts[1], second_parts[2]):
        part.close()


def test_fork_groups_that_mix_ours_and_others_settle_ours_and_send_the_rest_anew(office: Office) -> None:
    """More is enqueued into the old copy than the later life had: no highest seq shows it, only the facts."""
    office.enqueue(3)
    office.arrive()
    office.enqueue(3)  # both lives have these
    copy = office.back_up()
    office.enqueue(2)
    office.arrive()
    office.restore(copy)
    office.enqueue(6)
    office.arrive()
    office.check()
    assert len(office.epochs) == 2
    tallies = OutboxReader(office.world.region_folder).meta().tallies
    assert tallies.get("forks", 0) >= 1
    assert tallies.get("lost", 0) == 0


STEPS = {"note": outbox_suspect, "compare": OutboxDoubts, "end": OutboxDoubts, "begin_epoch": outbox_suspect}


@pytest.mark.parametrize("after", [True, False], ids=["after it", "before it"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_finding_out_loses_and_doubles_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    office.enqueue(4)
    copy = office.back_up()
    office.enqueue(3)
    office.arrive()
    office.restore(copy)
    office.enqueue(2)
    works = getattr(STEPS[step], step)
    crashed: list[str] = []

    def crash(*args: object) -> object:
        done = works(*args) if after or crashed else None
        if not crashed:
            crashed.append(step)
            raise RuntimeError("kill -9")
        return done

    monkeypatch.setattr(STEPS[step], step, crash)
    for _ in range(100):
        if crashed:
            break
        try:
            office.world.round()
        except RuntimeError:
            office.world.kill_region()
    assert crashed
    office.arrive()
    office.check()
    assert len(office.epochs) == 2


def test_a_region_killed_between_all_steps_of_finding_out_comes_to_the_end(office: Office) -> None:
    office.enqueue(6, biometrics=1)
    copy = office.back_up()
    office.enqueue(3)
    office.arrive()
    office.restore(copy)
    office.enqueue(2)
    for n in range(40):
        office.world.round()
        if n % 3 == 2:
            office.world.kill_region()
    office.arrive()
    office.check()


def test_an_outbox_whose_packets_the_center_has_goes_on_in_its_epoch(office: Office) -> None:
    """A doubt that proves empty (the hash of a group was damaged, say) changes nothing."""
    office.enqueue(3)
    office.arrive()
    office.enqueue(3)
    office.world.outbox.doubts.note(((2, 6),), "a test", 0)
    office.arrive()
    office.check()
    assert len(office.epochs) == 1
    assert [one.what for one in office.events() if "doubt" in one.what] == ["in doubt", "doubt is over"]


def test_a_push_that_another_process_has_taken_into_a_new_epoch_sends_nothing_under_old_names(
    office: Office,
) -> None:
    office.enqueue(2)
    office.arrive()
    old = office.world.outbox.epoch
    office.enqueue(3)
    beside = SqliteOutbox(office.world.region_folder, OutboxSettings(low_water_bytes=0, ballast_bytes=0))
    assert beside.doubts.end(((9, 10),), 1) != old
    beside.close()
    office.world.step_push()
    office.arrive()
    office.check()
    for seq in (3, 4, 5):
        assert office.world.ledger.reader.packet(PacketId(office.world.region, old, seq)) is None


def test_a_backup_of_a_backup_begins_another_epoch_each_time(office: Office) -> None:
    office.enqueue(2)
    copy = office.back_up()
    for _ in range(3):
        office.enqueue(2)
        office.arrive()
        office.restore(copy)
        office.enqueue(1)
        office.arrive()
        office.check()
    assert len(office.epochs) == 4
