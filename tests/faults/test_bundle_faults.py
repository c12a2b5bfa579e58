"""Bundles that are damaged, cut off, made by the wrong one, or meant for somebody else: each is said, and
nothing wrong of any is ever applied."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.adapters.ledger_bundles import LedgerBundles
from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.bundles import Scanned
from pipeline.center import importing
from pipeline.center.export import Begin
from pipeline.errors import DiskFull
from pipeline.testing.world import World
from schemas.bundle import BundleDamaged, pack_entries
from schemas.errors import SchemaError
from schemas.frame import Header, Kind, seal_frame, split
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.packet import Attachment, Packet, pack_head
from tests.scenarios.courier_rig import Courier, Refused, cut, fill, frames_of, other_key, scanned
from tests.unit.outbox_rig import draft

FLIPS = 1_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


@pytest.fixture
def courier(world: World) -> Iterator[Courier]:
    one = Courier(world)
    yield one
    one.close()


def read_through(path: Path) -> Scanned | None:
    """The file, or nothing where it does not begin as one."""
    try:
        return scanned(path)
    except BundleDamaged:
        return None


def flipped(whole: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(8 * len(whole))
    return whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :]


def is_noticed(found: Scanned | None, whole: Scanned) -> bool:
    """Whether reading the file through shows that it is not what was made."""
    return found is None or found.damage != "" or found.mark != whole.mark


def repack(path: Path, frames: Sequence[bytes]) -> Path:
    """A file of these frames whose chain holds."""
    path.write_bytes(pack_entries(frames)[0])
    return path


def held(world: World) -> dict[str, tuple[int, bytes]]:
    """The region's records, with their contents."""
    reader = RegistryReader(world.region_folder)
    found = {one.nik: (one.version, one.head) for one in reader.records(10_000)}
    reader.close()
    return found


# --- flipped bits ---------------------------------------------------------------------------------


def test_any_flipped_bit_of_a_packet_bundle_is_noticed_and_no_wrong_packet_taken(
    world: World, courier: Courier
) -> None:
    fill(world, 12, biometrics=1)
    path = courier.from_region()
    whole, sound, rng = path.read_bytes(), scanned(path), random.Random(4)
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        found = read_through(path)
        assert is_noticed(found, sound)
        if found is not None:
            came = courier.at_center(path)
            assert (came.forks, came.refused) == (0, 0)
    path.write_bytes(whole)
    assert courier.at_center(path).forks == 0
    assert world.arrive() < 300
    world.check()


def test_a_flipped_bit_under_a_chain_made_anew_is_found_by_the_signature(
    world: World, courier: Courier
) -> None:
    fill(world, 12)
    path, rng = courier.from_region(), random.Random(5)
    frames = frames_of(path)
    for _ in range(300):
        n = rng.randrange(len(frames))
        repack(path, [*frames[:n], flipped(frames[n], rng), *frames[n + 1 :]])
        came = courier.at_center(path)
        assert (came.forks, came.refused) == (0, 0)
        manifest_or_plan = n in (0, len(frames) - 1)
        assert came.problems or manifest_or_plan
    repack(path, frames)
    assert courier.at_center(path).clean
    assert world.arrive() < 300
    world.check()


def test_any_flipped_bit_of_a_record_bundle_is_noticed_and_no_wrong_record_applied(
    world: World, courier: Courier
) -> None:
    fill(world, 30)
    courier.at_center(courier.from_region())
    while world.step_validate().packets:
        pass
    path = courier.from_center(Begin())
    whole, sound, rng = path.read_bytes(), scanned(path), random.Random(6)
    truth = {
        one.nik: (one.version, one.packet.payload)
        for one in world.ledger.reader.records(region=world.region, limit=100)
    }
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        found = read_through(path)
        assert is_noticed(found, sound)
        if found is None:
            continue
        try:
            done = courier.at_region(path)
        except (Refused, SchemaError):  # its manifest does not hold
            continue
        assert done.forks == 0
        assert not done.opened
    path.write_bytes(whole)
    courier.at_region(path)
    assert {nik: version for nik, (version, _) in held(world).items()} == {
        nik: version for nik, (version, _) in truth.items()
    }
    world.check()


# --- cut off, doubled, shuffled -------------------------------------------------------------------


def test_a_file_that_ends_anywhere_gives_what_is_whole(world: World, courier: Courier) -> None:
    fill(world, 6)
    path = courier.from_region()
    whole, sound = path.read_bytes(), scanned(path)
    for size in range(0, len(whole), 7):
        cut(path, size)
        found = read_through(path)
        assert found is not None
        assert found.damage == ""
        assert found.mark.entries < sound.mark.entries
        assert courier.at_center(path).forks == 0
        path.write_bytes(whole)
    assert courier.at_center(path).clean


def test_behind_a_break_nothing_is_trusted_and_before_it_all_is(world: World, courier: Courier) -> None:
    fill(world, 20, biometrics=3)
    path = courier.from_region()
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    came = courier.at_center(path)
    assert 0 < came.new < 20
    path.write_bytes(whole)
    again = courier.at_center(path)
    assert (came.new + again.new, again.already) == (20, came.new)


def test_a_manifest_on_other_frames_does_not_hold(world: World, courier: Courier) -> None:
    fill(world, 20, biometrics=3)
    courier.at_center(courier.from_region())
    while world.step_validate().packets:
        pass
    path = courier.from_center(Begin())
    frames = frames_of(path)
    repack(path, [*frames[:-2], frames[-1]])  # the records were taken out
    with pytest.raises(SchemaError, match="manifest is that of another file"):
        courier.at_region(path)
    assert world.registry.record_count() == 0


# --- by whom, for whom ----------------------------------------------------------------------------


def test_a_revoked_region_brings_nothing(world: World, courier: Courier) -> None:
    fill(world, 5)
    courier.at_center(courier.from_region())
    fill(world, 5, seed=2)
    path = courier.from_region()
    world.ledger.revoke(world.region, world.clock.now_ms())
    came = courier.at_center(path)
    assert came.new == 0
    assert came.problems["revoked_key"].packets == 10
    assert world.ledger.reader.counts().quarantined == 0


def test_a_retired_key_still_brings_what_its_machine_had(world: World, courier: Courier) -> None:
    fill(world, 8)
    courier.at_center(courier.from_region())
    fill(world, 5, seed=2)
    path = courier.from_region()
    world.lose_disk()
    world.rebuild_region()
    courier.at_center(courier.from_region())
    came = courier.at_center(path)
    assert (came.new, came.already, came.clean) == (5, 8, True)


def test_an_unknown_machine_without_a_token_brings_nothing(world: World, courier: Courier) -> None:
    fill(world, 5)
    world.region_key, world.token = other_key(), b"a token that nobody gave out"
    came = courier.at_center(courier.from_region())
    assert (came.new, came.joined) == (0, "token_wrong")
    assert came.problems["unknown_key"].packets == 5
    assert world.ledger.reader.counts().quarantined == 0


def test_what_is_sealed_to_another_center_is_no_refusal(world: World, courier: Courier) -> None:
    fill(world, 5)
    courier.at_center(courier.from_region())
    fill(world, 5, seed=2)
    path, ours = courier.from_region(), world.center_key
    world.center_key = PrivateKey.generate()
    came = courier.at_center(path)
    assert (came.new, came.refused) == (0, 0)
    assert came.problems["other_center"].packets == 10
    world.center_key = ours
    assert courier.at_center(path).new == 5


def test_wants_in_a_bundle_change_no_conversation(world: World, courier: Courier) -> None:
    fill(world, 3)
    world.step_push()
    (want,) = (
        entry for entry in world.link.region(world.region).ctl.entries.values() if kind(entry) is Kind.WANT
    )
    path = repack(world.folder / "wants", [*frames_of(courier.from_region()), want])
    came = courier.at_center(path)
    assert came.new == 3
    assert came.problems["wrong_kind"].frames == 1
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert standing.want is None


def kind(frame: bytes) -> Kind:
    return split(frame).header.kind


def test_a_frame_of_another_region_in_the_middle_is_left_out(world: World, courier: Courier) -> None:
    fill(world, 3)
    path = courier.from_region()
    theirs = PrivateKey.generate("1807")
    header = Header(
        Kind.BATCH, "1807", world.outbox.epoch, theirs.id, world.center_key.id, Lane.RECORD, ((1, 2),)
    )
    foreign = seal_frame(header, b"\xc4\x01x", ours=theirs, theirs=world.center_key.public)
    frames = frames_of(path)
    came = courier.at_center(repack(path, [*frames[:2], foreign, *frames[2:]]))
    assert came.new == 3
    assert came.problems["foreign_region"].packets == 1


def test_another_center_cannot_speak_to_a_region(world: World, courier: Courier) -> None:
    fill(world, 5)
    courier.at_center(courier.from_region())
    while world.step_validate().packets:
        pass
    true, world.center_key = world.center_key, PrivateKey.generate()
    path = courier.from_center(Begin())
    world.center_key = true
    with pytest.raises(SchemaError, match="not known here"):
        courier.at_region(path)
    assert world.registry.record_count() == 0


# --- disks ----------------------------------------------------------------------------------------


class FullAfter:
    """A ledger on a disk that has room for so many transactions."""

    def __init__(self, world: World, room: int) -> None:
        self._ledger, self.room = world.ledger, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def take_in(self, *args: Any) -> Any:
        """As the ledger's, while there is room."""
        if self.room == 0:
            raise DiskFull("the disk is full")
        self.room -= 1
        return self._ledger.take_in(*args)


def test_a_center_whose_disk_fills_up_keeps_what_it_took_and_takes_the_rest_later(
    world: World, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BITE_PACKETS", 5)
    monkeypatch.setattr("pipeline.region.export.BATCH_BYTES", 3_000)
    fill(world, 40)
    path = courier.from_region()
    known = LedgerBundles(world.folder / "ledger.db")
    work = importing.Import(world.region, FullAfter(world, 2), known, [world.center_key], world.clock)
    with pytest.raises(DiskFull):
        for frame in frames_of(path):
            work.take(frame)
    known.close()
    assert 0 < work.done.new < 40
    again = courier.at_center(path)
    assert (again.already, again.new) == (work.done.new, 40 - work.done.new)


def test_a_file_of_any_size_takes_bounded_memory(world: World, courier: Courier) -> None:
    """30 MB in large packets, out of the outbox and into the ledger."""
    size, n = 3_000_000, 10
    for number in range(1, n + 1):
        world.outbox.take_large(large(number, size), world.clock.now_ms())
    tracemalloc.start()
    path = courier.from_region()
    came = streamed(world, path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert came.new == n
    assert path.stat().st_size > 30_000_000
    assert peak_bytes < 16_000_000


def streamed(world: World, path: Path) -> importing.Imported:
    """Taken in entry by entry, as the command does."""
    known = LedgerBundles(world.folder / "ledger.db")
    work = importing.Import(world.region, world.ledger, known, [world.center_key], world.clock)
    for entry in BundleSource(path):
        work.take(entry.frame)
    done = work.finish()
    known.close()
    return done


def large(number: int, size: int) -> Draft:
    """A packet of that size which does not compress."""
    body = random.Random(number).randbytes(size)
    image = Attachment("face", "image/jpeg", size, hashlib.sha256(body).digest())
    nik = f"18060152019{number:05d}"
    head = pack_head(Packet("enrolment", {"nik": nik, "nama": "SITI"}, (image,), 0)).prefix
    stored = head + body
    return replace(
        draft(number, size, Lane.BIOMETRIC),
        size=len(stored),
        digest=hashlib.sha256(stored).digest(),
        stored=None,
        stream=lambda: iter([stored]),
    )


def test_a_writer_that_is_killed_leaves_a_part_that_goes_on(world: World, courier: Courier) -> None:
    fill(world, 20, biometrics=2)
    path = courier.from_region()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with BundleFile(path) as file:
        assert 0 < file.mark.size <= len(whole) // 2
    courier.from_region(path=path)
    assert courier.at_center(path).new == 20
