"""What the center lacks comes from an old mirror: sent as it is, until the center has it; and it is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.recover_file import NAME, RecoverFile
from pipeline.adapters.registry_asks import Asked
from pipeline.errors import StoreDamaged, UsageError
from pipeline.ports import EntryId
from pipeline.region.mirrored import JUDGE_S, RETRY_S, Mirrored, sentence
from pipeline.region.mirroring import Mirror
from pipeline.testing.clock import ManualClock
from schemas.asks import HeldPacket, pack_packets, unpack_packets_args
from schemas.bodies import unpack_batch, unpack_chunk
from schemas.errors import FrameError
from schemas.frame import Kind, open_body, split, verify
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.ranges import numbers
from schemas.verdicts import Status
from tests.unit.outbox_rig import draft, new_outbox

CENTER = PrivateKey.generate()
OLD_KEY = PrivateKey.generate("1806")


class Center:
    """Takes frames and answers questions, as the real one does, at once or never."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], bytes] = {}
        self.parts: dict[tuple[str, int], dict[int, bytes]] = {}
        self.knows: dict[bytes, PrivateKey] = {OLD_KEY.id: OLD_KEY}
        self.frames = self.not_taken = 0
        self.questions: dict[int, Asked] = {}

    def take(self, frame: bytes) -> None:
        self.frames += 1
        try:
            parts = split(frame)
            verify(parts, {key: one.public for key, one in self.knows.items()}.get)
            body = open_body(parts, {CENTER.id: CENTER}.get)
        except FrameError:
            self.not_taken += 1
            return
        header = parts.header
        if header.kind is Kind.BATCH:
            seqs = list(numbers(header.seqs))
            stored = unpack_batch(body, len(seqs))
            self.held.update({(header.epoch, seq): one for seq, one in zip(seqs, stored, strict=True)})
            return
        chunk, ((seq, _),) = unpack_chunk(body), header.seqs
        got = self.parts.setdefault((header.epoch, seq), {})
        got[chunk.offset] = chunk.data
        if sum(map(len, got.values())) == chunk.size:
            self.held[header.epoch, seq] = b"".join(got[at] for at in sorted(got))

    def ask(self, what: str, args: bytes, now_ms: int) -> int:
        epoch, seqs = unpack_packets_args(args)
        held = [
            HeldPacket(seq, Status.RECEIVED_AT_CENTRAL, 1, bytes(32))
            for seq in numbers(seqs)
            if (epoch, seq) in self.held
        ]
        number = len(self.questions) + 1
        self.questions[number] = Asked(number, what, args, 0, now_ms, now_ms, (pack_packets(held),))
        return number

    def asked(self, number: int) -> Asked | None:
        return self.questions.get(number)


class NewMachine:
    """An empty region's folder, the disk of the old machine's mirror, and what pushes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.center = Center()
        self.disk = folder / "disk"
        self.old = new_outbox(folder / "old")
        place = MirrorFolder(self.disk, "1806", segment_bytes=20_000)
        self.old.mirror = Mirror(
            place, MirrorNotes(folder / "old", self.disk), [OLD_KEY], CENTER.public, self.clock
        )
        self.file = RecoverFile(folder / "new")
        new_outbox(folder / "new").close()
        self.n = 0

    def begin(self) -> Mirrored:
        self.file.begin(self.disk, "1806")
        return self.again()

    def again(self) -> Mirrored:
        return Mirrored("1806", self.file, self.center, self.clock)

    def push(self, mirrored: Mirrored, *, loses: bool = False, closed: tuple[Lane, ...] = ()) -> int:
        """A round of push: what there is goes, is taken, and the stream is seen empty; returns the frames."""
        sent = 0
        while (found := mirrored.next(lambda lane: lane not in closed)) is not None:
            self.n += 1
            mirrored.sent(EntryId(1, self.n))
            mirrored.answered(EntryId(1, self.n))
            sent += 1
            if not loses:
                self.center.take(found[1])
        if mirrored.unjudged():
            mirrored.emptied()
        return sent

    def run(self, mirrored: Mirrored, rounds: int = 400) -> None:
        for _ in range(rounds):
            if not mirrored.step():
                return
            self.push(mirrored)
            self.clock.advance(1.0)
        raise AssertionError("it does not come to an end")

    def counts(self) -> dict[str, int]:
        recovery = self.file.read()
        assert recovery is not None
        assert recovery.finished_ms
        return {name: n for name, n in recovery.counts.items() if n}

    def check(self, *seqs: int) -> None:
        """The center has exactly these packets, as they were."""
        assert self.center.held == {(self.old.epoch, seq): self.old.read(seq) for seq in seqs}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NewMachine]:
    one = NewMachine(tmp_path)
    yield one
    one.old.close()


def fill(machine: NewMachine, n: int = 40) -> None:
    for number in range(1, n + 1):
        machine.old.take([draft(number, 3000)], 1_000)


def test_all_that_the_center_lacks_is_sent_and_what_it_has_is_not(machine: NewMachine) -> None:
    fill(machine, 40)
    machine.old.take([draft(41), draft(42, lane=Lane.URGENT), draft(43, 15_000)], 1_000)
    machine.old.take_large(draft(44, 400_000, Lane.BIOMETRIC), 1_000)
    for seq in range(1, 31):
        machine.center.held[machine.old.epoch, seq] = machine.old.read(seq)
    machine.run(machine.begin())
    machine.check(*range(1, 45))
    assert machine.center.frames == 10 + 2 + 7
    assert machine.counts() == {"had": 44, "there": 30, "sent": 14}


def test_when_it_is_done_it_says_so_and_leaves_the_files(machine: NewMachine) -> None:
    fill(machine, 3)
    files = sorted(path.name for path in machine.disk.iterdir())
    machine.run(machine.begin())
    reader = OutboxReader(machine.folder / "new")
    (said,) = [one.detail for one in reader.events() if one.what == "mirror"]
    reader.close()
    assert "3 packets" in said
    assert "left where they are" in said
    assert sorted(path.name for path in machine.disk.iterdir()) == files
    assert not machine.again().step()


def test_without_a_recovery_there_is_nothing_to_do(machine: NewMachine) -> None:
    assert not machine.again().step()


def test_what_was_lost_on_the_way_is_sent_again(machine: NewMachine) -> None:
    fill(machine, 20)
    mirrored = machine.begin()
    mirrored.step()
    mirrored.step()
    assert machine.push(mirrored, loses=True)
    machine.run(mirrored)
    machine.check(*range(1, 21))
    assert machine.counts()["sent"] == 20


def test_a_line_that_breaks_again_and_again_gives_nothing_up(machine: NewMachine) -> None:
    fill(machine, 5)
    mirrored = machine.begin()
    for _ in range(60):
        mirrored.step()
        if machine.push(mirrored, loses=True):
            mirrored.cut()
        machine.clock.advance(5.0)
    machine.run(mirrored)
    machine.check(*range(1, 6))
    assert "failed" not in machine.counts()


def test_a_kill_at_any_step_costs_questions_only(machine: NewMachine) -> None:
    fill(machine, 60)
    machine.begin()
    for steps in range(1, 12):
        mirrored = machine.again()
        for _ in range(steps):
            mirrored.step()
            machine.push(mirrored)
            machine.clock.advance(1.0)
    machine.run(machine.again())
    machine.check(*range(1, 61))
    assert machine.center.frames < 120


def test_a_lane_that_is_closed_waits(machine: NewMachine) -> None:
    machine.old.take_large(draft(1, 300_000, Lane.BIOMETRIC), 1_000)
    mirrored = machine.begin()
    for _ in range(10):
        mirrored.step()
        assert machine.push(mirrored, closed=(Lane.BIOMETRIC,)) == 0
    machine.run(mirrored)
    machine.check(1)


def test_a_stream_that_is_never_empty_delays_it_and_does_not_stop_it(machine: NewMachine) -> None:
    fill(machine, 2)
    mirrored = machine.begin()
    for _ in range(20):
        if not mirrored.step():
            break
        while (found := mirrored.next(lambda _: True)) is not None:
            machine.center.take(found[1])
        machine.clock.advance(JUDGE_S / 2)
    machine.check(1, 2)
    assert machine.counts()["sent"] == 2


# --- mirrors that are not as they were --------------------------------------------------------------


def segments(machine: NewMachine) -> list[Path]:
    return sorted(machine.disk.glob("*.titian"))


def test_a_flipped_bit_costs_one_frame_and_is_said(machine: NewMachine) -> None:
    fill(machine, 20)
    first = segments(machine)[0]
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    machine.run(machine.begin())
    assert len(machine.center.held) == 19
    assert machine.counts()["damaged"] == 1
    recovery = machine.file.read()
    assert recovery is not None
    assert "damaged" in sentence(recovery)


def test_a_segment_that_is_cut_off_gives_what_is_whole(machine: NewMachine) -> None:
    fill(machine, 20)
    for path in segments(machine):
        path.write_bytes(path.read_bytes()[:-10])
    machine.run(machine.begin())
    assert len(machine.center.held) == 20 - len(segments(machine))


def test_another_regions_segments_are_none_of_ours(machine: NewMachine) -> None:
    fill(machine, 3)
    (path,) = segments(machine)
    path.rename(path.with_name(path.name.replace("1806-", "1871-")))
    with pytest.raises(UsageError, match="holds nothing of region 1806"):
        machine.file.begin(machine.disk, "1806")


def test_a_segment_of_another_region_under_our_name_is_not_sent(machine: NewMachine) -> None:
    fill(machine, 3)
    (path,) = segments(machine)
    mirrored = Mirrored("1871", machine.file, machine.center, machine.clock)
    path.rename(path.with_name(path.name.replace("1806-", "1871-")))
    machine.file.begin(machine.disk, "1871")
    machine.run(mirrored)
    assert machine.center.frames == 0
    assert machine.counts() == {"foreign": 3}


def test_of_a_key_that_was_revoked_little_is_sent_and_it_is_said(machine: NewMachine) -> None:
    fill(machine, 300)
    machine.center.knows.clear()
    machine.run(machine.begin())
    assert not machine.center.held
    assert machine.center.frames < 300, "one portion, three times, and nothing of the others"
    assert machine.counts()["failed"] == 300
    recovery = machine.file.read()
    assert recovery is not None
    assert "revoked" in sentence(recovery)


def test_a_mirror_that_cannot_be_read_is_tried_again(machine: NewMachine) -> None:
    fill(machine, 3)
    mirrored = machine.begin()
    away = machine.disk.with_name("away")
    machine.disk.rename(away)
    mirrored.step()
    recovery = machine.file.read()
    assert recovery is not None
    assert "cannot be read" in recovery.why
    away.rename(machine.disk)
    assert not mirrored.step(), "not so soon"
    machine.clock.advance(RETRY_S)
    machine.run(mirrored)
    machine.check(1, 2, 3)


def test_a_mirror_that_is_not_there_is_refused_at_once(machine: NewMachine) -> None:
    shutil.rmtree(machine.disk, ignore_errors=True)
    with pytest.raises(UsageError, match="mounted"):
        machine.file.begin(machine.disk, "1806")


def test_a_damaged_note_says_what_to_do(machine: NewMachine) -> None:
    (machine.folder / "new" / NAME).write_text(json.dumps({"version": 2}))
    with pytest.raises(StoreDamaged, match="remove it"):
        machine.file.read()


# --- what this outbox lost itself -------------------------------------------------------------------


def test_of_packets_that_this_outbox_lost_only_those_are_sent(machine: NewMachine) -> None:
    fill(machine, 20)
    machine.file.lost(machine.disk, (machine.old.epoch, 11, 16))
    machine.file.lost(machine.disk, (machine.old.epoch, 18, 19))
    machine.run(machine.again())
    machine.check(11, 12, 13, 14, 15, 18)
