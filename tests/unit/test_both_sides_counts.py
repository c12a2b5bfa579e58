"""Looking at both sides again and again, as the demo does, leaves nothing open."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.region import open_outbox
from schemas.identity import PacketId
from tests.unit.cli_rig import REGION, nik
from workers.both_sides import BothSides, both_sides


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[BothSides]:
    with both_sides(tmp_path, None, started=False) as made:
        yield made


def stores_open(place: Path) -> list[str]:
    """Which files of these folders this process holds."""
    held = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{handle}")
        except OSError:  # the list's own
            continue
        if path.startswith(str(place)):
            held.append(path)
    return held


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_counting_and_judging_both_sides_leaves_no_store_open(sides: BothSides, tmp_path: Path) -> None:
    with open_outbox(sides.region.path) as outbox:
        sent = outbox.enqueue({"kind": "enrolment", "payload": {"nik": nik(1), "nama": "SITI"}})
    before = stores_open(tmp_path)
    gc.disable()  # what is only forgotten is not closed
    try:
        counts, verdict = sides.counts(), sides.verdict([sent, PacketId(REGION, "k3v9qa", 7)])
        after = stores_open(tmp_path)
    finally:
        gc.enable()
    assert (counts["recorded"], counts["received"]) == (1, 0)
    assert verdict == {"lost": 2, "duplicated": 0}
    assert after == before
