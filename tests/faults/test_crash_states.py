"""Power cuts, simulated: thousands of disks that a cut may leave, each opened by the product and held against
what was promised. `docs/faults.md` says what is tried; `TITIAN_CRASH_S` is how long (seconds)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters import high_water
from pipeline.adapters.outbox_layout import HIGH_WATER_NAME
from pipeline.adapters.outbox_sqlite import create_outbox
from pipeline.adapters.registry_sqlite import create_registry
from tests.faults.crash_disk import Disk, Rules
from tests.faults.crash_life import Life
from tests.faults.crash_seen import Promised, Seen, see
from tests.faults.crash_states import BUDGET_S, STYLES, Image, Tally, put
from tests.faults.crash_vfs import Op, recording

#: So many are looked at, if twice the time is enough for it.
STATES_MIN = 3_000
STEPS = 40


@dataclass
class Recorded:
    """A life that is over: what was done, and what it promised."""

    image: Image
    ops: list[Op]
    life: Life

    def cuts(self, rng: random.Random, rules: Rules, every: int = 1) -> Iterator[tuple[int, Disk, Promised]]:
        """The disk after each thing that was done to it."""
        disk, promised = Disk(self.image, rules), Promised()
        for n, op in enumerate(self.ops):
            promised = op.note if op.what == "mark" else promised
            disk.play(op)
            if n % every == 0:
                yield n, disk, promised


def fresh(folder: Path, *, rebuild: bool = True) -> Image:
    """A region's stores with nothing in them. `rebuild`: the registry waits to be told where to begin."""
    create_outbox(folder, "1806", 1_000)
    create_registry(folder, 1_000, fresh=rebuild)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def record(
    image: Image, folder: Path, rng: random.Random, *, normal: bool = False, session: int = 1
) -> Recorded:
    """A life that begins with these files."""
    before = see(put(image, folder))
    assert not before.error, before.error
    put(image, folder)
    with recording(folder, high_water) as recorder:
        life = Life(folder, recorder, rng, before, normal=normal, session=session)
        life.live(STEPS)
        life.close()
    return Recorded(image, recorder.ops, life)


def holds(seen: Seen, promised: Promised, life: Life) -> None:
    """Every promise, one by one."""
    assert not seen.error, seen.error
    assert seen.epoch == life.epoch
    assert seen.lost == 0, "a loss was reported, and there was none"
    assert list(seen.packets) == list(range(1, seen.held + 1)), "the seqs have a gap"
    assert promised.acked <= seen.held, "a packet is gone whose enqueue had returned"
    assert seen.held <= promised.begun, "a packet that never was"
    wrong = [seq for seq, digest in seen.packets.items() if digest != life.contents[seq]]
    assert not wrong, f"packets {wrong} have other bytes"
    assert len(seen.niks) == life.records_at[seen.stands], "the cursor is not where the records are"
    assert promised.rewound or seen.settled_to <= seen.facts, "the outbox is ahead of the registry"
    allowed = life.views[promised.view : promised.view + (2 if promised.underway else 1)]
    assert seen.view in allowed, "the stores are neither as before nor as after"


@contextmanager
def said(seed: int, life: int, at: int, promised: Promised) -> Iterator[None]:
    try:
        yield
    except AssertionError as why:
        where = f"seed {seed}, life {life}, step {at}, {promised}"
        raise AssertionError(f"{why}\n  ({where})") from why


@pytest.mark.timeout(240)
def test_no_power_cut_takes_what_was_promised(
    memory: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    tally, lives = Tally(), 0
    image = first = fresh(memory / "fresh")
    while not tally.is_enough(BUDGET_S, STATES_MIN):
        lives += 1
        rules = Rules(file_sync_names=rng.random() < 0.5)
        recorded = record(image, memory / "life", rng, session=lives)
        left = [image]
        for at, disk, promised in recorded.cuts(rng, rules, every=rng.randint(1, 3)):
            after = disk.cut(rng, rng.choice(STYLES))
            if not tally.is_new(after, promised):
                continue
            with said(seed, lives, at, promised):
                holds(see(put(after, memory / "cut")), promised, recorded.life)
            left.append(after)
            if tally.is_enough(BUDGET_S, STATES_MIN):
                break
        image = rng.choice(left) if lives % 4 else first
    with capsys.disabled():
        print(f"\n  {tally.states:,} states in {tally.spent_s:.0f} s, {lives} lives, seed {seed}")
    assert tally.states > 100


@dataclass
class Losses:
    """Of the states that were looked at: in how many promised packets were gone, and nobody said so."""

    lost: int = 0
    silent: int = 0


def losses(memory: Path, seed: int, rules: Rules, states: int = 300) -> Losses:
    """Lives with `synchronous=NORMAL`, cut at random."""
    rng = random.Random(seed)
    found, tally = Losses(), Tally()
    image = fresh(memory / "fresh")
    while tally.states < states:
        recorded = record(image, memory / "life", rng, normal=True)
        for _, disk, promised in recorded.cuts(rng, rules, every=7):
            after = disk.cut(rng, rng.choice(STYLES))
            if tally.is_new(after, promised):
                seen = see(put(after, memory / "cut"))
                gone = promised.acked - seen.held
                found.lost += gone > 0
                found.silent += gone > 0 and not seen.error and seen.lost < gone
    return found


def test_without_full_sync_commits_are_lost_and_the_second_file_tells(memory: Path, seed: int) -> None:
    found = losses(memory, seed, Rules(file_sync_names=True))
    assert found.lost > 0, "the simulator finds nothing, so it shows nothing"
    assert found.silent == 0


def test_without_the_sync_of_the_second_file_losses_are_silent(memory: Path, seed: int) -> None:
    rules = Rules(file_sync_names=True, ignores=lambda path: path == HIGH_WATER_NAME)
    assert losses(memory, seed, rules).silent > 0, "the simulator finds nothing, so it shows nothing"


def test_a_cut_while_the_stores_are_made_is_mended_by_making_them_again(memory: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = memory / "made"
    folder.mkdir()
    with recording(folder, high_water) as recorder:
        fresh(folder)
    tally = Tally()
    for _ in range(2):
        disk = Disk(rules=Rules(file_sync_names=rng.random() < 0.5))
        for op in recorder.ops:
            disk.play(op)
            after = disk.cut(rng, rng.choice(STYLES))
            if tally.is_new(after, Promised()):
                put(after, memory / "cut")
                fresh(memory / "cut")
                seen = see(memory / "cut")
                assert (seen.error, seen.held) == ("", 0)
    assert tally.states > 30


def test_the_disk_of_a_cut_holds_what_was_synced_and_any_part_of_the_rest(seed: int) -> None:
    rng = random.Random(seed)
    disk = Disk()
    before, after = b"a" * 2048, b"b" * 2048
    for op in (Op("create", "f"), Op("write", "f", 0, before), Op("sync", "f"), Op("names")):
        disk.play(op)
    disk.play(Op("write", "f", 0, after))
    assert disk.cut(rng, "none") == {"f": before}
    assert disk.cut(rng, "all") == {"f": after}
    torn = {disk.cut(rng)["f"] for _ in range(200)}
    assert {len(one) for one in torn} == {2048}
    assert all(one[n : n + 512] in (before[:512], after[:512]) for one in torn for n in range(0, 2048, 512))
    assert len(torn) > 8
    disk.play(Op("delete", "f"))
    assert disk.cut(rng, "none") == {"f": before}
    assert disk.cut(rng, "all") == {}


def test_a_name_is_sure_when_its_folder_was_synced() -> None:
    rng = random.Random(0)
    for rules, there in ((Rules(), {}), (Rules(file_sync_names=True), {"f": b"x"})):
        disk = Disk(rules=rules)
        for op in (Op("create", "f"), Op("write", "f", 0, b"x"), Op("sync", "f")):
            disk.play(op)
        assert disk.cut(rng, "none") == there
        disk.play(Op("names"))
        assert disk.cut(rng, "none") == {"f": b"x"}
