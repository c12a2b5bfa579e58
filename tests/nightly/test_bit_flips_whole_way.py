"""Flipped bits, the whole way: a region starts on the damaged files and sends everything to a center.

The cheaper form of every `make test` stops at the claim (`tests/faults/test_bit_flips.py`).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import TitianError
from pipeline.testing.memory_link import MemoryLink
from pipeline.testing.world import World
from schemas.identity import PacketId
from tests.faults.crash_states import Image, put
from tests.faults.flip_stores import NAMES, some_bit, used_bytes

#: A flip takes 0.2 s here; a thousand of each file are tried the cheaper way.
FLIPS = 300
ROUNDS = 25

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: what is tried here is no disk's doing."""
    shm = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="titian-faults-", dir=shm if os.access(shm, os.W_OK) else None)
    yield Path(made)
    shutil.rmtree(made)


def packet(n: int) -> dict[str, Any]:
    """What an office enqueues."""
    payload = {"nik": str(1806061505900000 + n), "nama": f"WARGA KE-{n}", "alamat": "JALAN MERDEKA 17"}
    return {"kind": "enrolment", "payload": payload}


def digests(world: World) -> dict[PacketId, bytes | None]:
    """What the center holds of each packet; `None`: nothing."""
    found = {one: world.ledger.reader.packet(one) for one in world.enqueued}
    return {one: None if row is None else row.digest for one, row in found.items()}


class Damaged:
    """A world whose region and center are put back to the same files for each flip."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.world = World(folder)
        for n in range(1, 21):
            self.world.enqueue(packet(n))
        self.world.arrive(60)
        for n in range(21, 41):
            self.world.enqueue(packet(n))
        if not name.endswith("-wal"):
            self._let_go()
        self.region = files(folder / "region")
        self._let_go()
        self.ledger = files(folder)
        self.trees: list[list[range]] = []
        if not name.endswith("-wal"):
            trees = used_bytes(put(self.region, folder / "region"), name)
            self.trees = list(trees.values())

    def _let_go(self) -> None:
        self.world.push.close()
        self.world.outbox.close()
        self.world.registry.close()
        self.world.ledger.close()

    def run(self, region: Image) -> str:
        """The region starts on these files, and everything goes on; what came of it, in a word."""
        world = self.world
        self._let_go()
        put(region, world.folder / "region")
        for path in world.folder.glob("ledger.db*"):
            path.unlink()
        for name, data in self.ledger.items():
            (world.folder / name).write_bytes(data)
        world.link = MemoryLink()
        world.kill_center()
        try:
            world.kill_region()
            world.arrive(ROUNDS)
        except TitianError:
            return "said"
        except Exception as why:
            return f"crashed: {type(why).__name__}"
        return "went"

    def truth(self) -> dict[PacketId, bytes | None]:
        """What the center holds where nothing is flipped."""
        assert self.run(self.region) == "went"
        found = digests(self.world)
        assert None not in found.values(), "not everything arrived"
        return found


def files(folder: Path) -> Image:
    """The files of a folder, as they are."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_never_becomes_another_packet_at_the_center(
    memory: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = 1806 if os.environ.get("CI") else random.SystemRandom().randrange(1 << 32)
    rng, counts = random.Random(seed), Counter[str]()
    damaged = Damaged(memory / "world", name)
    truth = damaged.truth()
    for _ in range(FLIPS):
        flip = some_bit(rng, damaged.region, name, damaged.trees)
        counts[damaged.run(flip.of(damaged.region))] += 1
        held = digests(damaged.world)
        wrong = {one: digest for one, digest in held.items() if digest not in (None, truth[one])}
        assert not wrong, f"{wrong} (seed {seed}, {flip})"
        crashed = [outcome for outcome in counts if outcome.startswith("crashed")]
        assert not crashed, f"{crashed} (seed {seed}, {flip})"
    with capsys.disabled():
        print(f"\n  {name}, the whole way: {FLIPS:,} flips: {dict(counts.most_common())}")
