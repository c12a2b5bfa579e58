"""A region that the center shut out: it is told so in words, and keeps what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.faults_rig import check, depth, titian, warned
from tests.sides_rig import enqueue, everything_is_back, two_sides

LOCKED_OUT = "the center does not let this region in any more (revoked, or admitted anew on another machine)"


@pytest.mark.timeout(110)
def test_a_revoked_region_is_told_so_in_words_and_keeps_its_packets(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        assert titian("revoke", "1806", "--data", sides.center.path).code == 0
        packets += enqueue(sides, 20, seed=2)
        said = warned(sides.region, "denied")
        assert LOCKED_OUT in said
        assert "ask the center for a new join file" in said
        link = check(sides.region, "link")
        assert link["level"] == "fail"
        assert LOCKED_OUT in link["said"]
        assert "ask the center for a new join file" in link["do"]
        traced = titian("trace", packets[-1], "--data", sides.region.path, "--json")
        assert LOCKED_OUT in traced.json["packets"][0]["why"]
        assert depth(sides.region)["waiting"] == 20
