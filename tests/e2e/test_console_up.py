"""The console of a side that runs: it answers, ends though pages are open, and waits for its port."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.adapters.folder import Folder, open_folder
from tests.unit.console_rig import ORIGIN, add_token, copied_sides
from workers.both_sides import Up

TOKEN = "titian_secret"
DEADLINE_S = 45.0


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """A region whose center is away: what is looked at here is its own."""
    folder = open_folder(copied_sides(tmp_path).region)
    add_token(folder.path, "ab12", "operator", TOKEN)
    made = Up(folder)
    yield made
    made.stop()


def state_of(folder: Folder) -> dict[str, str]:
    """What `run/console.json` says, while it is there."""
    try:
        found: dict[str, str] = json.loads((folder.run / "console.json").read_text())
        return found
    except (OSError, ValueError):
        return {}


def until(holds: Callable[[], object]) -> None:
    end_s, idle = time.monotonic() + DEADLINE_S, threading.Event()
    while not holds():
        assert time.monotonic() < end_s, "time is up"
        idle.wait(0.05)


def test_it_answers_and_ends_with_its_side_though_a_page_is_open(up: Up) -> None:
    up.start()
    until(lambda: state_of(up.folder).get("listen"))
    where = f"http://{state_of(up.folder)['listen']}"
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=where, timeout=20.0) as client:
        assert client.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
        assert client.get("/login", headers={"host": "evil.example"}).status_code == 421
        assert client.post("/act/pause", headers=headers | {"origin": ORIGIN}).status_code == 403
        until(lambda: client.get("/api/depth", headers=headers).status_code == 200)
        with client.stream("GET", "/events", headers=headers) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: depth"
            began_s = time.monotonic()
            up.ask_to_stop()
            for _ in lines:
                pass
            assert time.monotonic() - began_s < 5.0
    assert up.stop() == 0
    assert not state_of(up.folder)


def test_a_port_that_is_taken_is_said_and_holds_nothing_up(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        up.environment["TITIAN_CONSOLE__LISTEN"] = where
        up.start()
        until(lambda: state_of(up.folder))
        said = state_of(up.folder)
        assert said["listen"] is None
        assert said["why"].startswith(f"{where} is taken")
        until(lambda: (up.folder.path / "watch.db").exists())
        assert up.process is not None
        assert up.process.poll() is None
    assert up.stop() == 0
