"""Celery's own events stay on: Flower, which knows nothing of us, sees the workers and all five tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from tests.nightly.test_promtool import until
from workers.application import DELIVER, INTAKE, PULL, PUSH, VALIDATE
from workers.both_sides import BothSides, both_sides, free_port
from workers.wiring import broker_url

FLOWER = "flower==2.2.0"

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Celery's command in an environment of its own, with Flower (and packaging, which kombu needs)."""
    place = tmp_path_factory.mktemp("flower") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = [FLOWER, "redis", "packaging", f"--constraint={Path(__file__).parents[2] / 'constraints.txt'}"]
    pip = [place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"{FLOWER} could not be installed: {done.stderr.strip().splitlines()[-1]}")
    return place / "bin/celery"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothSides]:
    with both_sides(tmp_path_factory.mktemp("sides"), None) as made:
        end_s = time.monotonic() + 60
        for folder in (made.center, made.region):
            assert until((folder.run / "watch.tick").exists, end_s), "the last of the processes to start"
        yield made


@contextmanager
def watching(celery: Path, folder: Folder, log: Path) -> Iterator[int]:
    """Flower beside that side; its port. The broker's address holds a password: not on the command line."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "CELERY_BROKER_URL": broker_url(folder)}
    argv = [celery, "flower", "--address=127.0.0.1", f"--port={port}"]
    with log.open("wb") as into:
        process = subprocess.Popen(
            argv, env=env | {"FLOWER_UNAUTHENTICATED_API": "true"}, cwd=log.parent, stdout=into, stderr=into
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, path: str) -> Any:
    """What Flower's API says; `None` while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=5) as said:
            return json.load(said)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


@pytest.mark.parametrize(
    ("side", "workers", "tasks"),
    [
        ("region", {"region@1806"}, {PUSH, PULL}),
        ("center", {"intake@center", "validate@center", "deliver@center"}, {INTAKE, VALIDATE, DELIVER}),
    ],
)
def test_flower_sees_the_workers_alive_and_their_tasks(
    flower: Path, sides: BothSides, tmp_path: Path, side: str, workers: set[str], tasks: set[str]
) -> None:
    folder = sides.region if side == "region" else sides.center
    with watching(flower, folder, tmp_path / "flower.log") as port:

        def seen() -> bool:
            types = (ask(port, "task/types") or {}).get("task-types", [])
            alive = ask(port, "workers?status=true") or {}
            return tasks <= set(types) and {name for name, up in alive.items() if up} == workers

        end_s = time.monotonic() + 90
        assert until(seen, end_s), (tmp_path / "flower.log").read_text()[-2_000:]
        done = ask(port, "tasks?limit=50&state=SUCCESS")
        assert tasks <= {one["name"] for one in done.values()}
