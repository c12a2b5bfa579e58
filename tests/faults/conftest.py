"""For the tests of faults: a folder in memory, and a seed that a failure names."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a disk that is simulated needs none, and a disk's syncs are
    slow."""
    shm = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="titian-faults-", dir=shm if os.access(shm, os.W_OK) else None)
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def seed() -> int:
    """The same in CI, another one each time elsewhere."""
    return 1806 if os.environ.get("CI") else random.SystemRandom().randrange(1 << 32)
