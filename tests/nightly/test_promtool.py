"""Prometheus' own tool finds nothing wrong with our metrics, rules, dashboards and the example scrape."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.adapters.folder import Folder
from pipeline.sample import sample_lines
from workers.both_sides import BothSides, both_sides

MONITORING = Path(__file__).parents[2] / "compose/monitoring"
PROMTOOL = shutil.which("promtool")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here (Debian's package prometheus)"),
]


def promtool(*args: object, stdin: str = "") -> str:
    """What it says. It must be content, and say nothing on stderr, where it puts what is only unusual."""
    argv = [str(PROMTOOL), *map(str, args)]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return done.stdout


def until(done: Callable[[], bool], end_s: float) -> bool:
    """Ask until it is so, or the time is up."""
    pause = threading.Event()
    while not done():
        if time.monotonic() > end_s:
            return False
        pause.wait(0.2)
    return True


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothSides]:
    """Both sides, with some packets that went the whole way."""
    with both_sides(tmp_path_factory.mktemp("sides"), None) as made:
        lines = tmp_path_factory.mktemp("packets") / "packets.ndjson"
        lines.write_text("".join(json.dumps(line) + "\n" for line in sample_lines(50, seed=7)))
        argv = [sys.executable, "-I", "-m", "workers.cli", "enqueue", "--data", made.region.path, lines]
        subprocess.run(argv, check=True, capture_output=True)
        assert until(lambda: made.counts()["returned"] >= 50, time.monotonic() + 60)
        yield made


def scrape(folder: Folder, accept: str = "") -> str:
    """As Prometheus does."""
    at = folder.run / "console.json"
    assert until(at.exists, time.monotonic() + 30)
    where = json.loads(at.read_text())["listen"]
    request = urllib.request.Request(f"http://{where}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as said:
        return str(said.read().decode())


@pytest.mark.parametrize("side", ["region", "center"])
def test_a_scrape_of_a_side_that_runs_is_as_it_should_be(sides: BothSides, side: str) -> None:
    text = scrape(sides.region if side == "region" else sides.center)
    assert (
        f'titian_stores_readable{{region="{"1806" if side == "region" else ""}",side="{side}"}} 1.0' in text
    )
    assert "titian_left_out" not in text, text
    promtool("check", "metrics", stdin=text)


def test_what_went_the_whole_way_is_in_the_figures_of_both_sides(sides: BothSides) -> None:
    recorded = 'titian_status_packets{region="1806",status="PRINT_READY_RECORD"}'
    assert until(lambda: recorded in scrape(sides.region), time.monotonic() + 20), scrape(sides.region)
    received = 'titian_center_received_packets_total{region="1806"} 50.0\n'
    assert until(lambda: received in scrape(sides.center), time.monotonic() + 20)


def test_the_tool_would_complain() -> None:
    with pytest.raises(AssertionError):
        promtool("check", "metrics", stdin="# TYPE a_total gauge\na_total 1\n")


def test_the_example_of_a_scrape_is_right() -> None:
    assert "SUCCESS" in promtool("check", "config", MONITORING / "prometheus.yml")


def test_the_rules_are_right() -> None:
    assert "SUCCESS" in promtool("check", "rules", MONITORING / "titian-alerts.yml")


def test_the_rules_say_what_they_should_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "titian-alerts-test.yml")


@pytest.mark.parametrize("name", ["titian-region.json", "titian-center.json"])
def test_every_question_of_a_dashboard_is_one_that_prometheus_understands(name: str, tmp_path: Path) -> None:
    panels = json.loads((MONITORING / name).read_text())["panels"]
    asked = [one["expr"] for panel in panels for one in panel.get("targets", [])]
    assert len(asked) > 20
    rules = [
        {"record": f"asked:{n}", "expr": expr.replace("$region", "1806")} for n, expr in enumerate(asked)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": name, "rules": rules}]}))  # JSON is YAML
    assert f"{len(asked)} rules found" in promtool("check", "rules", path)
