"""Power cuts for real: a Linux of its own runs the outbox on a disk of its own and is killed, fifty times."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.nightly.uml_rig import Machine, Run, cut_at, missing

#: Cuts with the product's settings, and at most so many with the control's.
CUTS = 50
CONTROL_CUTS = 10

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1200),  # 2 to 5 s a cut
    pytest.mark.skipif(bool(missing()), reason=missing() or "it can run here"),
]


@pytest.fixture
def seed() -> int:
    """A failure names it; the guest's own timing is not in our hands."""
    return 1806 if os.environ.get("CI") else random.SystemRandom().randrange(1 << 32)


def lived(machine: Machine, rng: random.Random) -> Run:
    """One more life, in which it started and did something. Where no guest can start at all (a container
    without ptrace) the test is skipped."""
    run = machine.live(cut_at(rng))
    if machine.lives == 1 and not run.up:
        pytest.skip(f"user-mode-linux does not start here: {' | '.join(run.console[-3:])}")
    assert run.ready, "\n".join([run.failed, *run.console[-20:]])
    assert not run.failed, run.failed
    return run


def test_what_was_acknowledged_outlives_fifty_power_cuts(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    machine = Machine(tmp_path / "guest")
    acknowledged, began_s = 0, time.monotonic()
    for cut in range(CUTS + 1):  # the last life looks at what the last cut left
        run = lived(machine, rng)
        where = f"seed {seed}, cut {cut}"
        assert not run.gone, f"packets {run.gone[:10]} are gone ({where})"
        assert not run.wrong, f"packets {run.wrong[:10]} have other bytes ({where})"
        assert run.lost == 0, f"a loss is reported, and there was none ({where})"
        assert run.held >= acknowledged, where
        acknowledged += len(run.acknowledged)
    assert acknowledged > CUTS, "it acknowledged next to nothing, so this shows nothing"
    with capsys.disabled():
        spent_s = time.monotonic() - began_s
        print(f"\n  {CUTS} power cuts in {spent_s:.0f} s: {acknowledged:,} packets acknowledged, none lost")


def test_without_full_sync_cuts_lose_packets_and_the_loss_is_told(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    machine = Machine(tmp_path / "guest", full=False)
    highest, run = 0, lived(machine, rng)
    while run.held >= highest and machine.lives < CONTROL_CUTS:
        highest = max([highest, *(int(line.split()[1]) for line in run.acknowledged)])
        run = lived(machine, rng)
    gone = highest - run.held
    with capsys.disabled():
        print(f"\n  synchronous=NORMAL, {machine.lives - 1} cuts: {gone} of {highest} lost, {run.lost} told")
    assert gone > 0, f"{CONTROL_CUTS} cuts lost nothing, so the other test shows nothing (seed {seed})"
    assert run.lost >= gone, "a loss that nobody is told of"
