"""A store that an older Titian wrote, looked at before this one was started on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.sqlite import Database, Layout
from pipeline.errors import OlderLayout, StoreError, UsageError

OLD = Layout("outbox", 77, ["CREATE TABLE a(x)"])
NEW = Layout("outbox", 77, ["CREATE TABLE a(x)", "CREATE TABLE b(x)"])


def test_looking_at_an_older_layout_names_titian_up_and_is_no_crash(tmp_path: Path) -> None:
    Database.create(tmp_path / "s", OLD).close()
    with pytest.raises(OlderLayout, match="titian up") as said:
        Database(tmp_path / "s", NEW, readonly=True).number("SELECT 1")
    assert said.value.exit_code == 2
    assert isinstance(said.value, UsageError)
    assert isinstance(said.value, StoreError)
