"""The throttle on virtual time: what every file in `throttle/` says happens, for three seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.throttle_rig import Run, load

SCENARIOS = sorted((Path(__file__).parent / "throttle").glob("*.toml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenario_goes_as_it_says(path: Path) -> None:
    scenario = load(path)
    for seed in (1, 2, 3):
        run = Run(scenario, seed)
        run.run()
        assert not run.complaints(), f"{scenario['says']}\nseed {seed}: {'; '.join(run.complaints())}"


def test_the_same_seed_gives_the_same_run() -> None:
    scenario = load(SCENARIOS[0]) | {"seconds": 20.0}
    runs = [Run(scenario, 7) for _ in range(2)]
    for run in runs:
        run.run()
    assert runs[0].moments == runs[1].moments
