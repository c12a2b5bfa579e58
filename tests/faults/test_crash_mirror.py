"""Power cuts, simulated, on the mirror's disk: what `append` returned for is read back, and appending goes
on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters import bundle_file, mirror_files
from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.mirror_files import MirrorFolder
from tests.faults.crash_disk import Disk, Rules
from tests.faults.crash_states import BUDGET_S, STYLES, Image, Tally, put
from tests.faults.crash_vfs import Op, Recorder, recording

EPOCH = "k3v9qa"
SEGMENT_BYTES = 3_000
CALLS = 25


@dataclass(frozen=True)
class Promised:
    """Frames that are on the mirror, and those of the call underway. `id`: the mirror is known by it."""

    there: frozenset[bytes] = frozenset()
    underway: frozenset[bytes] = frozenset()
    id: str = ""


def frame(n: int, size: int) -> bytes:
    """A frame that differs by `n`: the mirror looks into none."""
    return (b"frame %08d " % n) * (size // 15 + 1)


def write(folder: Path, recorder: Recorder, rng: random.Random) -> None:
    """Calls of all kinds; before and after each is noted what is promised."""
    mirror = MirrorFolder(folder, "1806", segment_bytes=SEGMENT_BYTES)
    there: frozenset[bytes] = frozenset()
    recorder.mark(Promised())
    n = 0
    for _ in range(CALLS):
        frames = [frame(n + k, rng.choice((100, 600, 1_500))) for k in range(rng.randint(1, 3))]
        first, n = n + 1, n + len(frames)
        recorder.mark(Promised(there, frozenset(frames), mirror.id))
        if rng.random() < 0.15:
            mirror.append_alone(EPOCH, first, iter(frames))
        else:
            mirror.append(EPOCH, first, n, frames)
        there |= frozenset(frames)
        recorder.mark(Promised(there, frozenset(), mirror.id))
        if rng.random() < 0.2:  # another process writes next
            mirror.close()
            mirror = MirrorFolder(folder, "1806", known=mirror.id, segment_bytes=SEGMENT_BYTES)
    mirror.close()


def frames_in(folder: Path) -> Iterator[bytes]:
    """Whatever can be read of the segments."""
    for path in sorted(folder.glob("*.titian")):
        yield from (entry.frame for entry in BundleSource(path, salvage=True) if entry.chained)


def holds(folder: Path, promised: Promised, n: int) -> None:
    """All that was promised is there, nothing else is, and the mirror can be written."""
    found = set(frames_in(folder))
    assert promised.there <= found, f"{len(promised.there - found)} frames are gone"
    assert found <= promised.there | promised.underway, "frames that never were"
    mirror = MirrorFolder(folder, "1806", known=promised.id, segment_bytes=SEGMENT_BYTES)
    more = frame(1_000_000 + n, 300)
    mirror.append(EPOCH, 1_000_000, 1_000_000, [more])
    mirror.close()
    assert set(frames_in(folder)) >= {*promised.there, more}, "appending after the cut lost something"


def record(folder: Path, rng: random.Random) -> list[Op]:
    put({}, folder)
    with recording(folder, mirror_files, bundle_file) as recorder:
        write(folder, recorder, rng)
    return recorder.ops


def cuts(
    ops: list[Op], rules: Rules, rng: random.Random, tally: Tally
) -> Iterator[tuple[Image, Promised, int]]:
    disk, promised = Disk(rules=rules), Promised()
    for n, op in enumerate(ops):
        promised = op.note if op.what == "mark" else promised
        disk.play(op)
        after = disk.cut(rng, rng.choice(STYLES))
        if tally.is_new(after, promised):
            yield after, promised, n


def test_no_power_cut_takes_what_the_mirror_was_given(
    memory: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, tally = random.Random(seed), Tally()
    while tally.spent_s < BUDGET_S / 8:
        ops = record(memory / "life", rng)
        for after, promised, n in cuts(ops, Rules(file_sync_names=rng.random() < 0.5), rng, tally):
            try:
                holds(put(after, memory / "cut"), promised, n)
            except AssertionError as why:
                raise AssertionError(f"{why} (seed {seed}, step {n})") from why
    with capsys.disabled():
        print(f"\n  {tally.states:,} states of the mirror in {tally.spent_s:.0f} s, seed {seed}")
    assert tally.states > 100


def test_without_its_sync_the_mirror_loses_frames(memory: Path, seed: int) -> None:
    rng, tally, gone = random.Random(seed), Tally(), 0
    rules = Rules(ignores=lambda path: path.endswith(".titian"))
    for after, promised, _ in cuts(record(memory / "life", rng), rules, rng, tally):
        gone += not promised.there <= set(frames_in(put(after, memory / "cut")))
    assert gone > 0, "the simulator finds nothing, so it shows nothing"
