"""The ledger's tests run on both of its stores: SQLite always, PostgreSQL with `make nightly`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nightly.postgresql_rig import postgresql
from tests.unit.ledger_rig import Places, Rig, new_rig


@contextmanager
def _file() -> Iterator[Path | str]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "ledger.db"


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    """One store after the other. For the whole session, so that a test of Hypothesis may ask for it."""
    if request.param == "sqlite":
        yield _file
        return
    with postgresql() as server:
        yield server.database


@pytest.fixture
def rig(places: Places) -> Iterator[Rig]:
    """A center whose region has joined."""
    with places() as place:
        made = new_rig(place)
        yield made
        made.ledger.close()
