"""`titian reconcile`: where it runs, what it says, its exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import AlreadyRunning, Unreachable
from pipeline.inspection.compared import last_result
from pipeline.inspection.running import LinkState
from pipeline.region.comparing import Day
from pipeline.region.reconcile import Mend
from schemas.verdicts import Status
from tests.unit.cli_rig import Sides, Titian, make_sides
from workers import looking, reconciling
from workers.reconciled import Reconciled


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The region's side counts as running; nothing does."""
    monkeypatch.setattr(looking, "is_running", lambda _: True)


def finds(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """A center that is compared with leads to this."""

    def run(self: object, *, dry_run: bool = False) -> Reconciled:
        return Reconciled(1_790_000_000_000, **{"dry_run": dry_run, **found})

    monkeypatch.setattr(reconciling.Reconciler, "run", run)


def test_at_the_center_it_says_that_it_is_run_at_the_region(titian: Titian, sides: Sides) -> None:
    for more in ((), ("--region", "1806")):
        said = titian("reconcile", "--data", sides.center, *more)
        assert said.code == 2
        assert "run at the region" in said.err
    assert "region 1806" in said.err


def test_another_region_s_code_is_a_mistake(titian: Titian, sides: Sides) -> None:
    said = titian("reconcile", "--data", sides.region, "--region", "3201")
    assert said.code == 2
    assert "1806" in said.err


def test_a_side_that_does_not_run_carries_no_questions(titian: Titian, sides: Sides) -> None:
    said = titian("reconcile", "--data", sides.region)
    assert said.code == 3
    assert "titian up" in said.err


def test_a_center_that_does_not_answer_is_not_reached_and_nothing_is_left_asked(
    titian: Titian, sides: Sides, up: None
) -> None:
    said = titian("reconcile", "--data", sides.region, "--timeout", "0.2")
    assert said.code == 3
    assert "answered nothing" in said.err
    assert last_result(sides.region) is None


@pytest.mark.parametrize(
    ("said", "do"),
    [({"denied": "WRONGPASS"}, "ask the center"), ({"refusal": "revoked"}, "titian init region --join FILE")],
)
def test_a_side_that_is_locked_out_is_told_so_at_once(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], do: str
) -> None:
    monkeypatch.setattr("workers.looking.link_of", lambda _: LinkState(True, {"state": "up"} | said, 0.0))
    found = titian("reconcile", "--data", sides.region, "--timeout", "60")
    assert found.code == 3
    assert do in found.err
    assert "answered nothing" not in found.err


def test_two_equal_sides(titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, records=600_000, packets=12, epochs=1, bytes_up=300, bytes_down=500)
    said = titian.ok("reconcile", "--data", sides.region)
    assert "compared 600,000 records and 12 packets" in said.out
    assert "both are equal" in said.out
    kept = last_result(sides.region)
    assert kept is not None
    assert kept["equal"]


def test_what_differed_and_is_repaired_is_said_and_is_well(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {Mend.FETCH: 3, Mend.SEND: 1, Mend.SETTLE: 2}
    finds(monkeypatch, found=done, repaired=done, went_back=4)
    said = titian.ok("reconcile", "--data", sides.region)
    assert "3 records differ from the center's or are missing here: 3 fetched again" in said.out
    assert "1 packets have a receipt here and are not at the center: 1 sent again" in said.out
    assert "gone back by 4 numbers" in said.out
    assert "equal" not in said.out


def test_what_is_left_is_named_and_the_answer_is_no(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {Mend.FETCH: 3, Mend.ONLY_HERE: 1, Mend.SUSPECT: 1}
    finds(monkeypatch, found=found, repaired={Mend.FETCH: 3}, niks=["1806015201900001"])
    said = titian("reconcile", "--data", sides.region)
    assert said.code == 1
    assert "1 records that only this region has: they need a person" in said.out
    assert "1806015201900001" in said.out
    kept = last_result(sides.region)
    assert kept is not None
    assert (kept["left"], kept["repaired_n"]) == (2, 3)


def test_a_dry_run_says_what_differs_and_keeps_nothing(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, found={Mend.SEND: 1}, packet_ids=["1806-k3v9qa-000001"])
    said = titian("reconcile", "--data", sides.region, "--dry-run")
    assert said.code == 1
    assert "not repaired, this is a dry run" in said.out
    assert "1806-k3v9qa-000001" in said.out
    assert last_result(sides.region) is None


def test_json_is_one_document(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Day(20_000, {Status.PRINT_READY_RECORD: 2}, {})
    finds(monkeypatch, found={Mend.SETTLE: 2}, repaired={Mend.SETTLE: 2}, days=[day])
    found = titian.ok("reconcile", "--data", sides.region, "--json").json
    assert found["version"] == 1
    assert (found["equal"], found["left"], found["repaired"]) == (False, 0, {"settle": 2})
    assert found["days"] == [
        {"day_ms": 20_000 * 86_400_000, "center": {"PRINT_READY_RECORD": 2}, "region": {}}
    ]


def test_it_never_runs_twice_at_once(
    titian: Titian, sides: Sides, up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[int] = []

    def run(self: object, *, dry_run: bool = False) -> Reconciled:
        inside.append(1)
        if len(inside) == 1:
            assert titian("reconcile", "--data", sides.region).code == AlreadyRunning.exit_code
        raise Unreachable("away")

    monkeypatch.setattr(reconciling.Reconciler, "run", run)
    assert titian("reconcile", "--data", sides.region).code == 3
    assert len(inside) == 1
