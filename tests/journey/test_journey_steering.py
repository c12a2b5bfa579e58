"""A lane that is paused while both sides run: its packets wait and say why, the others go; later they too."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.feed import FactGroup
from schemas.identity import PacketId
from schemas.verdicts import Reason, Status
from tests.faults.faults_rig import depth, titian
from tests.sides_rig import everything_is_back, two_sides, until
from tests.unit.outbox_rig import SMALL_DISK


@pytest.mark.timeout(110)
def test_a_paused_lane_waits_and_says_why_while_the_others_go(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        data = ("--data", sides.region.path)
        assert titian("pause", "biometric", "--reason", "office hours", "--who", "sari", *data).code == 0
        with open_outbox(sides.region.path) as outbox:
            plain = [outbox.enqueue(one) for one in sample_lines(20, seed=1)]
            large = [outbox.enqueue(one) for one in sample_lines(3, biometrics=3, seed=2)]
        until(lambda: sides.counts()["returned"] == len(plain), what="the return of the other lane")
        assert depth(sides.region)["lanes"]["biometric"]["not_sent"] == len(large)
        why = "lane biometric is paused by sari (office hours)"
        assert f"held: {why}" in titian("depth", *data).out
        assert why in titian("trace", str(large[0]), *data).out
        refuse(sides.region.path, large[0])
        assert str(large[0]) in titian("dead", "list", *data).out
        tried = titian("dead", "retry", str(large[0]), "--reason", "center updated", *data)
        assert (tried.code, tried.out) == (0, "1 packet waiting to be sent again\n")
        assert titian("resume", "biometric", "--reason", "evening", *data).code == 0
        everything_is_back(sides, plain + large)
        assert titian("resume", "biometric", *data).code == 1
        acts = titian("audit", "--json", *data).json["acts"]
        assert [(one["what"], one["target"], one["reason"]) for one in acts] == [
            ("resume", "biometric", "evening"),
            ("retry", str(large[0]), "center updated"),
            ("pause", "biometric", "office hours"),
        ]
        assert acts[-1]["who"] == "sari"
        assert titian("audit", "--check", *data).code == 0


def refuse(folder: Path, packet: PacketId) -> None:
    """As if an older center had refused it, before anything that it said of other packets."""
    outbox = SqliteOutbox(folder, SMALL_DISK)
    span = ((packet.seq, packet.seq + 1),)
    outbox.settle([(1, FactGroup(packet.epoch, Status.REFUSED, (Reason("unreadable"),), span, b""))], 0, 1)
    outbox.close()
