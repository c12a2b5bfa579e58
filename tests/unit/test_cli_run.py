"""Commands that run: `linksim` carries bytes until Ctrl-C; `up`, `status` and `stop` need a folder."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.cli_rig import Titian


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


def answer_once(listener: socket.socket) -> None:
    taken, _ = listener.accept()
    with taken:
        taken.sendall(taken.recv(100).upper())


def test_linksim_carries_what_is_sent_until_ctrl_c() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_once, args=(listener,), daemon=True).start()
        to = f"127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "workers.cli", "linksim"),
                *("--profile", "fiber", "--listen", "127.0.0.1:0", "--to", to),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.match(r"127\.0\.0\.1:(\d+) -> ", said)
            assert found is not None, said
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"HELLO"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130
        assert "Traceback" not in err


@pytest.mark.parametrize(
    "wrong",
    [
        ("--profile", "moon", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"),
        ("--listen", "here", "--to", "127.0.0.1:1"),
    ],
    ids=str,
)
def test_a_link_that_cannot_be_is_refused(titian: Titian, wrong: tuple[str, ...]) -> None:
    said = titian("linksim", *wrong)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1


def test_stopping_a_side_that_does_not_run_says_so(titian: Titian, tmp_path: Path) -> None:
    titian.ok("init", "center", "--data", tmp_path / "center")
    assert titian.ok("stop", "--data", tmp_path / "center").out == "was not running\n"


@pytest.mark.parametrize("command", ["up", "status", "stop"])
def test_running_needs_a_sides_folder(titian: Titian, tmp_path: Path, command: str) -> None:
    said = titian(command, "--data", tmp_path / "nothing")
    assert said.code == 2
    assert said.out == ""
