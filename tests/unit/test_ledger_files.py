"""What the files of an SQLite ledger are to others on the machine: nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.ledger_engine import open_store
from pipeline.errors import StoreError


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_a_ledger_is_private_from_birth_with_all_its_files(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.db")
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(
        ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.turn"], stat.S_IRUSR | stat.S_IWUSR
    )


def test_the_mode_of_a_ledger_that_is_there_is_left_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_store(path).close()
    path.chmod(0o640)
    open_store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_ledger_in_a_folder_that_is_not_there_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(tmp_path / "none" / "ledger.db")
