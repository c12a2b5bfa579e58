"""The mirror as programs and people meet it: settings, alarms, the doctor; and when the machine is gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.folder import Folder, JoinFile, make_folder
from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.outbox_custody import OutboxCustody
from pipeline.adapters.outbox_reader import LaneCounts, OutboxReader
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox, create_outbox
from pipeline.adapters.recover_file import RecoverFile, Recovery
from pipeline.inspection import doctor
from pipeline.inspection.custody import custody_alarms
from pipeline.inspection.mirror import mirror_json, recovery_check, recovery_json
from pipeline.region import open_outbox
from pipeline.region.mirrored import Mirrored, sentence
from pipeline.region.mirroring import Mirror, Upkeep
from pipeline.sample import sample_lines
from pipeline.settings import AlarmsPart
from pipeline.testing.world import World
from schemas.frame import open_body, split, verify
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from workers.making_toml import region_toml

CENTER = PrivateKey.generate()
SMALL_DISK = OutboxSettings(low_water_bytes=0, ballast_bytes=0)


def region(path: Path, mirror: Path | str) -> Folder:
    """A region's folder whose settings name that mirror."""
    toml = region_toml("1806").replace('# mirror = ""', f'mirror = "{mirror}"')
    assert f'mirror = "{mirror}"' in toml
    join = JoinFile("1806", "127.0.0.1", 6380, "r1806", "secret", CENTER.public.raw, b"token" * 8)
    folder = make_folder(path, toml, PrivateKey.generate("1806"), join)
    create_outbox(folder.path, "1806")
    return folder


def stands(folder: Folder) -> dict[str, Any]:
    found = mirror_json(folder)
    assert found is not None
    return found


class Well(dict[str, Any]):
    """A document in which there is nothing to be said of whatever is not named."""

    def __missing__(self, name: str) -> None:
        return None


def alarms(folder: Folder) -> list[str]:
    """The alarms of a document in which all is well but for the mirror."""
    document = Well(at_ms=4_000_000_000_000, mirror=mirror_json(folder))
    return [one.text.en for one in custody_alarms(document, AlarmsPart()) if one.code == "mirror"]


def test_a_program_with_three_lines_has_its_packets_on_the_mirror(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", tmp_path / "disk")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        for line in sample_lines(3, biometrics=1):
            outbox.enqueue(line)
    key = folder.private_keys()[0]
    (segment,) = (tmp_path / "disk").glob("1806-*.titian")
    seqs = set()
    for entry in BundleSource(segment):
        parts = split(entry.frame)
        verify(parts, {key.id: key.public}.get)
        assert open_body(parts, {CENTER.id: CENTER}.get)
        seqs |= {seq for start, stop in parts.header.seqs for seq in range(start, stop)}
    assert seqs == {1, 2, 3}
    assert not alarms(folder)


def test_without_a_mirror_in_the_settings_there_is_none(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", "")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        outbox.enqueue(next(sample_lines(1)))
    assert mirror_json(folder) is None
    assert not alarms(folder)


def test_a_mirror_that_fails_is_an_alarm_and_the_doctor_says_what_to_do(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", tmp_path / "disk")
    lines = list(sample_lines(4))
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        outbox.enqueue(lines[0])
    shutil.rmtree(tmp_path / "disk")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        for line in lines[1:]:
            outbox.enqueue(line)
        assert outbox.store.highest_seq() == 4
    (said,) = alarms(folder)
    assert "3 packets are not on it" in said
    assert "mounted" in said
    check = doctor.mirror(stands(folder))
    assert check.level == "fail"
    assert str(tmp_path / "disk") in check.said


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "ok", "works"),
        ({"used": False}, "ok", "takes the next packet"),
        ({"missing": 7}, "note", "7 packets"),
        ({"same_disk": True}, "warn", "another disk"),
        ({"failing_since_ms": 1, "why": "the disk is full: free space there"}, "fail", "free space"),
    ],
)
def test_the_doctor_judges_a_mirror(change: dict[str, Any], level: str, words: str) -> None:
    found = {
        "path": "/disk",
        "used": True,
        "failing_since_ms": None,
        "why": "",
        "missing": 0,
        "same_disk": False,
    }
    check = doctor.mirror(found | change)
    assert check.level == level
    assert words in f"{check.said} {check.do}"
    assert bool(check.do) == (level != "ok")


# --- the machine is gone ----------------------------------------------------------------------------


class Mirrors:
    """A world whose region is mirrored, and, when its machine is gone, the new one takes from there."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        self.world = World(folder / "world")
        self.mirror = self.mirrored()

    def mirrored(self) -> Mirror:
        world = self.world
        notes = MirrorNotes(world.region_folder, self.disk)
        place = MirrorFolder(self.disk, world.region, segment_bytes=60_000)
        made = Mirror(place, notes, [world.region_key], world.center_key.public, world.clock)
        world.outbox.mirror = made
        return made

    def rebuild(self) -> None:
        """The machine is gone; a new one comes, with the old mirror's disk."""
        self.world.rebuild_region()
        RecoverFile(self.world.region_folder).begin(self.disk, self.world.region)
        self.restart()

    def restart(self) -> None:
        world = self.world
        file = RecoverFile(world.region_folder)
        self.source = Mirrored(world.region, file, world.registry, world.clock)
        world.push.beside = self.source

    def round(self) -> None:
        self.source.step()
        self.world.round()

    def recovery(self) -> Recovery:
        found = RecoverFile(self.world.region_folder).read()
        assert found is not None
        return found

    def until_finished(self, rounds: int = 300) -> None:
        for _ in range(rounds):
            if self.recovery().finished_ms:
                return
            self.round()
        raise AssertionError(f"not finished: {self.recovery()}")

    def at_the_center(self) -> set[PacketId]:
        reader = self.world.ledger.reader
        return {one for one in self.world.lost if reader.packet(one) is not None}


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    (tmp_path / "world").mkdir()
    one = Mirrors(tmp_path)
    yield one
    one.world.close()


def test_what_a_dead_machine_never_sent_arrives_from_its_mirror(mirrors: Mirrors) -> None:
    world = mirrors.world
    for line in sample_lines(20, seed=1, biometrics=2):
        world.enqueue(line)
    assert world.arrive() < 300
    for line in sample_lines(30, seed=2, biometrics=3):
        world.enqueue(line)
    mirrors.rebuild()
    assert len(mirrors.at_the_center()) == 20
    for line in sample_lines(5, seed=3):
        world.enqueue(line)
    mirrors.until_finished()
    assert mirrors.at_the_center() == set(world.lost)
    assert len(world.lost) == 50
    counts = mirrors.recovery().counts
    assert (counts["had"], counts["there"], counts["sent"]) == (50, 20, 30)
    assert world.arrive() < 300


def test_it_survives_cuts_wiped_queues_and_kills_on_the_way(mirrors: Mirrors) -> None:
    world = mirrors.world
    for _ in range(5):  # the center knows the old machine
        world.round()
    for line in sample_lines(40, seed=2, biometrics=6):
        world.enqueue(line)
    mirrors.rebuild()
    for n in range(60):
        if mirrors.recovery().finished_ms:
            break
        mirrors.round()
        if n % 10 == 3:
            world.link.cut(keep_sent=bool(n % 20 == 3))
            mirrors.round()
            world.link.restore()
        if n % 10 == 6:
            world.link.wipe()
        if n % 10 == 9:
            world.kill_region()
            mirrors.restart()
    mirrors.until_finished()
    assert mirrors.at_the_center() == set(world.lost)


def test_a_machine_whose_key_was_revoked_has_nothing_taken_and_it_is_said(mirrors: Mirrors) -> None:
    world = mirrors.world
    for _ in range(5):
        world.round()
    for line in sample_lines(5, seed=2):
        world.enqueue(line)
    world.ledger.revoke(world.region, world.clock.now_ms())
    mirrors.rebuild()
    mirrors.until_finished()
    assert not mirrors.at_the_center()
    assert "revoked" in sentence(mirrors.recovery())


def old_files(mirrors: Mirrors, epoch: str) -> list[str]:
    return sorted(one.name for one in mirrors.disk.glob(f"*-{epoch}-*.titian"))


def keep_up(mirrors: Mirrors, mirror: Mirror) -> None:
    world = mirrors.world
    with closing(OutboxCustody(world.region_folder)) as custody:
        upkeep = Upkeep(mirror, custody, world.clock)
        for _ in range(40):
            upkeep.step()
            world.clock.advance(6.0)


def test_files_of_a_dead_machine_go_from_the_mirror_once_the_center_has_what_is_in_them(
    mirrors: Mirrors,
) -> None:
    world = mirrors.world
    for line in sample_lines(60, seed=2, biometrics=4):
        world.enqueue(line)
    old = world.outbox.epoch
    files = old_files(mirrors, old)
    assert len(files) > 2
    with (mirrors.disk / files[0]).open("r+b") as file:  # nobody knows what lay there
        file.seek(200)
        file.write(b"\xff" * 8)
    for _ in range(5):
        world.round()
    mirrors.rebuild()
    mirror = mirrors.mirrored()
    world.enqueue(next(iter(sample_lines(1, seed=9))))
    keep_up(mirrors, mirror)
    assert old_files(mirrors, old) == files  # the center was not asked yet
    mirrors.until_finished()
    assert world.arrive() < 300
    keep_up(mirrors, mirror)
    assert old_files(mirrors, old) == files[:1]
    mirror.close()


def test_frames_of_a_mirror_get_their_share_beside_an_outbox_that_is_always_full(mirrors: Mirrors) -> None:
    world = mirrors.world
    for _ in range(5):
        world.round()
    for line in sample_lines(10, seed=2):
        world.enqueue(line)
    mirrors.rebuild()
    world.outbox.mirror = None
    world.push.settings = replace(world.push.settings, frame_bytes=512)
    for n in range(40):
        if mirrors.recovery().finished_ms:
            break
        for line in sample_lines(80, seed=100 + n):
            world.enqueue(line)
        mirrors.round()
        assert any(lane.waiting.packets for lane in counts_of(world).values()), "the outbox is not full"
    assert mirrors.recovery().finished_ms
    assert mirrors.at_the_center() == set(world.lost)


def counts_of(world: World) -> dict[Lane, LaneCounts]:
    with closing(OutboxReader(world.region_folder)) as reader:
        return reader.counts()


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "ok", "goes on"),
        ({"finished_ms": 5}, "ok", "3 packets sent"),
        ({"counts": {"failed": 2}}, "warn", "ask again"),
        ({"counts": {"damaged": 1}}, "warn", "1 places damaged"),
        ({"why": "the mirror /old cannot be read"}, "fail", "mount that disk"),
    ],
)
def test_the_doctor_says_how_far_it_is_with_an_old_mirror(
    change: dict[str, Any], level: str, words: str
) -> None:
    found = {"path": "/old", "done": 1, "counts": {"sent": 3}, "why": "", "finished_ms": None} | change
    judged = recovery_check(found)
    assert judged.level == level
    assert words in f"{judged.said} {judged.do}"


def test_how_far_it_is_with_an_old_mirror_is_read_from_the_folder(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", "")
    assert recovery_json(folder) is None
    file = RecoverFile(folder.path)
    file.write(Recovery("/old", done=["a"], counts={"sent": 2}))
    assert recovery_json(folder) == {
        "path": "/old",
        "done": 1,
        "counts": {"sent": 2},
        "why": "",
        "finished_ms": None,
    }
    (folder.path / "recover.json").write_text("{")
    found = recovery_json(folder)
    assert found is not None
    assert "remove it" in found["why"]


def test_a_tail_that_this_outbox_lost_arrives_from_its_own_mirror(mirrors: Mirrors) -> None:
    world = mirrors.world
    for line in sample_lines(6, seed=1):
        world.enqueue(line)
    assert world.arrive() < 300
    world.outbox.close()
    database = world.region_folder / "outbox.db"
    before = database.read_bytes()
    for line in sample_lines(5, seed=2):
        world.enqueue(line)
    world.push.close()
    world.outbox.close()
    for name in ("outbox.db-wal", "outbox.db-shm"):
        (world.region_folder / name).unlink(missing_ok=True)
    database.write_bytes(before)
    lost = [packet for packet in world.enqueued if packet.seq > 6]
    world.outbox = SqliteOutbox(world.region_folder, SMALL_DISK)
    mirrors.mirrored()
    world.outbox.check(world.clock.now_ms())  # as a producer does that comes first
    world.kill_region()
    mirrors.restart()
    assert mirrors.recovery().only == [(lost[0].epoch, 7, 12)]
    for line in sample_lines(2, seed=3):
        world.enqueue(line)
    mirrors.until_finished()
    assert all(world.ledger.reader.packet(packet) is not None for packet in lost)
    assert mirrors.recovery().counts["sent"] == 5
    assert world.arrive() < 300
