"""A thousand flipped bits in each of the region's files: noticed, or harmless, and never taken as right.

What is noticed late (by the nightly reconciliation) is counted and shown. `docs/faults.md` says what was
found.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.bit_flips import Found, read_everything, send_everything
from tests.faults.crash_states import put
from tests.faults.flip_stores import (
    NAMES,
    REGISTRY_NAME,
    Flip,
    Image,
    Truth,
    is_registry,
    make,
    some_bit,
    used_bytes,
)

FLIPS = 1_000
#: What leads claims to the packets that wait: each is tried apart as well.
INDEX, INDEX_FLIPS = "packet_lane", 400
LEADING = (INDEX, "again", "lane", "counter", "sent")


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory, where there is one."""
    shm = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="titian-flips-", dir=shm if os.access(shm, os.W_OK) else None)
    yield Path(made)
    shutil.rmtree(made)


@dataclass
class Outcome:
    """What many flips led to: how often which verdict, and the first cases of each."""

    counts: Counter[str] = field(default_factory=Counter)
    cases: dict[str, list[str]] = field(default_factory=dict)

    def add(self, found: Found, where: str) -> None:
        self.counts[found.verdict] += 1
        said = [*found.wrong, *found.foreign, *found.crashed, *found.late, *found.noticed][:2]
        self.cases.setdefault(found.verdict, []).append(f"{where}: {said}")

    def of(self, verdict: str) -> str:
        """Cases of a verdict, a line each; empty if there is none."""
        return "\n".join(self.cases.get(verdict, ())[:5])


class Flipper:
    """Stores of known contents, and what became of each flip in the file `name`."""

    def __init__(self, memory: Path, name: str) -> None:
        self.name = name
        self.image, self.truth = make(Path(tempfile.mkdtemp(dir=memory)), in_the_log=name.endswith("-wal"))
        self.folder = memory / "flipped"
        self.trees: dict[str, list[range]] = {}
        if not name.endswith("-wal"):
            self.trees = used_bytes(put(self.image, self.folder), name)

    def look(self, image: Image) -> Found:
        """What the product makes of these files."""
        look: Callable[[Path, Truth], Found] = read_everything if is_registry(self.name) else send_everything
        return look(put(image, self.folder), self.truth)

    def flips(self, seed: int) -> Outcome:
        """A thousand random bits, each in a copy of its own."""
        rng, outcome = random.Random(f"{seed} {self.name}"), Outcome()
        for _ in range(FLIPS):
            flip = some_bit(rng, self.image, self.name, list(self.trees.values()))
            outcome.add(self.look(flip.of(self.image)), f"seed {seed}, {flip}")
        return outcome

    def flips_in(self, tree: str, seed: int, count: int) -> Outcome:
        """So many random bits of one table or index."""
        rng, outcome = random.Random(f"{seed} {tree}"), Outcome()
        for _ in range(count):
            flip = Flip(self.name, rng.choice(rng.choice(self.trees[tree])), rng.randrange(8))
            outcome.add(self.look(flip.of(self.image)), f"seed {seed}, {flip}")
        return outcome


@pytest.fixture(scope="module", params=NAMES)
def flipped(request: pytest.FixtureRequest, memory: Path, seed: int) -> tuple[str, Outcome]:
    """A thousand flips in one of the files."""
    flipper = Flipper(memory, request.param)
    assert flipper.look(flipper.image).verdict == "harmless", "nothing is flipped yet"
    return request.param, flipper.flips(seed)


def test_a_flipped_bit_is_never_taken_as_right(
    flipped: tuple[str, Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    name, outcome = flipped
    with capsys.disabled():
        print(f"\n  {name}: {FLIPS:,} flips: {dict(outcome.counts.most_common())}")
    assert not outcome.of("wrong"), outcome.of("wrong")


@pytest.mark.parametrize("tree", LEADING)
def test_a_flipped_bit_in_what_leads_to_the_packets_that_wait_is_mended_or_said(
    memory: Path, seed: int, tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Flipper(memory, NAMES[0]).flips_in(tree, seed, INDEX_FLIPS if tree == INDEX else 100)
    with capsys.disabled():
        print(f"\n  {tree}: {dict(outcome.counts.most_common())}")
    for verdict in ("wrong", "foreign", "crashed"):
        assert not outcome.of(verdict), outcome.of(verdict)
    if tree == INDEX:
        assert outcome.counts["harmless"] > 0.9 * INDEX_FLIPS, outcome.of("noticed")


def test_damage_is_said_in_our_words(flipped: tuple[str, Outcome]) -> None:
    _, outcome = flipped
    for verdict in ("foreign", "crashed"):
        assert not outcome.of(verdict), outcome.of(verdict)


def test_flips_in_a_record_are_noticed_when_it_is_read(memory: Path, seed: int) -> None:
    outcome = Flipper(memory, REGISTRY_NAME).flips_in("record", seed, 200)
    shown = [case for case in outcome.cases.get("late", ()) if "has other contents" in case]
    assert not shown, "\n".join(shown[:5])
    assert outcome.counts["noticed"] > 50, outcome.counts


def test_flips_in_stored_bytes_are_put_aside(memory: Path, seed: int) -> None:
    flipper = Flipper(memory, NAMES[0])
    outcome = flipper.flips_in("body", seed, 40)
    assert outcome.counts["noticed"] > 5, outcome.counts
