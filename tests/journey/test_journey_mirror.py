"""An office's server is gone, the disk of its mirror is not: what was never sent arrives all the same."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.outbox_reader import OutboxReader
from schemas.identity import PacketId
from tests.faults.faults_rig import check, titian
from tests.sides_rig import enqueue, everything_is_back, two_sides, until
from workers.both_sides import BothSides
from workers.looking import ledger_place


def at_the_center(sides: BothSides, packets: list[PacketId]) -> int:
    """How many of these the ledger holds."""
    with closing(LedgerReader.open(ledger_place(sides.center))) as ledger:
        return sum(ledger.packet(one) is not None for one in packets)


def mirrored_said(sides: BothSides) -> list[str]:
    """What the new machine's outbox says of the mirror that it was given."""
    with closing(OutboxReader(sides.region.path)) as outbox:
        return [one.detail for one in outbox.events() if one.what == "mirror"]


@pytest.mark.timeout(200)
def test_what_a_dead_server_never_sent_arrives_from_its_mirror(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with two_sides(tmp_path) as sides:
        toml = sides.region.path / "titian.toml"
        toml.write_text(toml.read_text().replace('# mirror = ""', f'mirror = "{disk}"'))
        before = enqueue(sides, 20)
        everything_is_back(sides, before)
        assert check(sides.region, "mirror")["level"] == "warn"  # it is on the same disk here
        sides.region_up.stop()
        never_sent = enqueue(sides, 30, biometrics=4, seed=2)
        shutil.rmtree(sides.region.path)
        join = tmp_path / "again.join"
        address = str(sides.relay.address) if sides.relay else sides.center.settings.link.listen
        again = ("admit", "1806", "--again", "--data", sides.center.path, "--out", join, "--address", address)
        assert titian(*again).code == 0
        wrong = titian("init", "region", "--join", join, "--data", sides.region.path, "--mirror", disk)
        assert wrong.code == 2
        made = titian(
            "init", "region", "--join", join, "--data", sides.region.path, "--rebuild", "--mirror", disk
        )
        assert made.code == 0, made.err
        assert at_the_center(sides, never_sent) == 0
        sides.region_up.start()
        until(lambda: mirrored_said(sides), 90.0, "the mirror to be done with")
        assert at_the_center(sides, never_sent) == len(never_sent)
        (said,) = mirrored_said(sides)
        assert f"got {len(never_sent)} now" in said
