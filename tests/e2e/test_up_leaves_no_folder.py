"""A side that was stopped leaves nothing of it outside its own folder."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.adapters.folder import Folder
from workers.both_sides import both_sides
from workers.running import status

DEADLINE_S = 60.0
ROLES = {"region": 2, "center": 5}


def socket_folders(sides: Iterable[Folder]) -> list[Path]:
    """The folders outside of these sides' own in which their servers' sockets lie."""
    said = [path for side in sides for path in side.run.glob("*/socket")]
    return [Path(path.read_text(encoding="utf-8")).parent for path in said]


def wait_until_up(folder: Folder) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while len(status(folder).get("children", ())) < ROLES[folder.settings.side] or not all(
        (one / "s").is_socket() for one in socket_folders([folder])
    ):
        assert time.monotonic() < end_s, status(folder)
        time.sleep(0.05)


@pytest.mark.timeout(170)
def test_two_sides_that_are_stopped_leave_no_socket_folder(tmp_path: Path) -> None:
    with both_sides(tmp_path, None) as sides:
        folders = (sides.center, sides.region)
        for folder in folders:
            wait_until_up(folder)
        places = socket_folders(folders)
        assert len(places) == 3
        assert all(place.is_dir() for place in places)
        assert sides.region_up.stop() == 0
        assert [place.exists() for place in places].count(False) == 1
        sides.region_up.start()  # as well after a stop as before the first start
        wait_until_up(sides.region)
        assert all(place.is_dir() for place in places)
        assert (sides.region_up.stop(), sides.center_up.stop()) == (0, 0)
    assert [place for place in places if place.exists()] == []
