"""The whole way with real processes, as a user starts them, with nothing going wrong."""

from __future__ import annotations

from pathlib import Path

from tests.sides_rig import enqueue, everything_is_back, two_sides


def test_packets_go_there_and_their_records_come_back(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 40, biometrics=2)
        everything_is_back(sides, packets)
        assert sides.counts()["records"] == 40
