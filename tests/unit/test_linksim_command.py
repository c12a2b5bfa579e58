"""`titian linksim` as a program: where to connect, figures, events, a document, a log, and how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from tests.unit.cli_rig import Titian

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@contextmanager
def linksim(*args: object, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, on a free port; killed at the end if it is there still."""
    command = [sys.executable, "-m", "workers.cli", "linksim", "--listen", "127.0.0.1:0", *map(str, args)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def title(said: IO[str] | None) -> str:
    """The first line that says where it listens."""
    assert said is not None
    return next(line for line in said if " -> " in line)


def place(line: str) -> tuple[str, int]:
    found = re.match(r"127\.0\.0\.1:(\d+) -> ", line)
    assert found is not None, line
    return "127.0.0.1", int(found[1])


def carry(address: tuple[str, int], server: socket.socket, data: bytes) -> None:
    """Bytes through the link to the server, and their end."""
    with socket.create_connection(address, timeout=10) as client, server.accept()[0] as there:
        there.settimeout(10)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while more := there.recv(65536):
            got += more
        assert got == data


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_says_what_happens_and_sums_up_when_it_is_interrupted(tmp_path: Path) -> None:
    log = tmp_path / "link.ndjson"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        linksim(
            *("--to", f"127.0.0.1:{server.getsockname()[1]}", "--profile", "fiber", "--log", log),
            *("--script", "at 0.5 cut 0.2; at 0.9 rate up 128k"),
        ) as process,
    ):
        carry(place(title(process.stdout)), server, b"x" * 10_000)
        assert process.stdout is not None
        said = ""
        while "rate 128 kbit/s up" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert re.search(r"0\.\d s  cut \(blackhole\) for 0.2 s\n", said)
    assert "  up: 10,000 B, on the wire " in rest
    assert "connections: 1; resets: 0" in rest
    told = lines_of(log)
    assert (told[0]["what"], told[0]["script"]) == ("start", "at 0.5 cut 0.2; at 0.9 rate up 128k")
    assert (told[-1]["what"], told[-1]["up"]["payload_bytes"]) == ("stop", 10_000)
    happened = [line["what"] for line in told if line["what"] != "figures"]
    assert happened == ["start", "open", "end", "cut", "restored", "rate", "stop"]
    assert all(abs(line["at_ms"] - told[0]["at_ms"] - line["s"] * 1000) <= 1 for line in told)


def test_it_ends_by_itself_with_one_document() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = f"127.0.0.1:{server.getsockname()[1]}"
        with linksim("--to", to, "--profile", "100M/1ms", "--for", 2, "--seed", 7, "--json") as process:
            address = place(title(process.stderr))
            carry(address, server, b"x" * 1_000)
            out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    found = json.loads(out)
    assert {name: found[name] for name in ("version", "listen", "to", "profile", "seed")} == {
        "version": 1,
        "listen": f"127.0.0.1:{address[1]}",
        "to": to,
        "profile": "100M/1ms",
        "seed": 7,
    }
    assert found["up"]["payload_bytes"] == 1_000
    assert 2 <= found["seconds"] < 10


def test_a_server_that_is_not_there_is_said_once() -> None:
    with linksim("--to", "127.0.0.1:1", "--profile", "fiber", "--json") as process:
        address = place(title(process.stderr))
        connect_in_vain(address)
        assert process.stderr is not None
        said = next(line for line in process.stderr if "nobody answers" in line)
        connect_in_vain(address)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said == "nobody answers at 127.0.0.1:1 (Connection refused): start the server, or name another\n"
    assert "nobody answers" not in err
    assert json.loads(out)["unreachable"] == 2


def connect_in_vain(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_recorded_link_is_said_and_its_rate_is_kept(tmp_path: Path) -> None:
    trace = tmp_path / "tiny.up"
    trace.write_text("".join(f"{at}\n" for at in range(10, 1001, 10)))  # 1.2 Mbit/s
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = f"127.0.0.1:{server.getsockname()[1]}"
        with linksim(
            "--to", to, "--trace-up", trace, "--profile", "evening-shared", "--for", 2.5, "--json"
        ) as process:
            said, start = title(process.stderr), time.monotonic()
            carry(place(said), server, bytes(145_000))  # 150,252 B on the wire: 1 s
            took_s = time.monotonic() - start
            out, _ = process.communicate(timeout=20)
    found = json.loads(out)
    assert "up as recorded in tiny.up, 1.2 Mbit/s on average" in said
    assert 0.8 < took_s < 2.2
    assert found["trace_up"] == "tiny.up"
    assert "trace_down" not in found
    assert found["steps_played"] == 0, "the profile's own script would end the recording"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_that_cannot_be_written_is_said_and_the_link_goes_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = f"127.0.0.1:{server.getsockname()[1]}"
        with linksim("--to", to, "--profile", "fiber", "--log", "/dev/full", "--for", 2) as process:
            carry(place(title(process.stdout)), server, b"x" * 1_000)
            out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.count("/dev/full has ended") == 1
    assert "  up: 1,000 B" in out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--profile", "regency-2"), "did you mean regency-2m?"),
        (("--profile", "moon"), "district-128k, regency-2m"),
        (("--script", "at 3 explode"), "script entry 1"),
        (("--script", "nowhere.toml"), "nowhere.toml"),
        (("--trace-up", "nowhere.up"), "cannot read the trace nowhere.up"),
        (("--log", "nowhere/link.ndjson"), "nowhere/link.ndjson"),
        (("--to", "there"), "'there' is not an address"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_in_one_line_that_helps(
    titian: Titian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = titian("linksim", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", *wrong)
    assert (found.code, found.out) == (2, "")
    assert len(found.err.splitlines()) == 1
    assert said in found.err


def test_an_address_that_is_taken_is_named(titian: Titian) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        found = titian("linksim", "--listen", here, "--to", "127.0.0.1:1")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"titian: cannot listen on {here}")


def test_a_script_may_be_a_file_of_toml(titian: Titian, tmp_path: Path) -> None:
    script = tmp_path / "evening.toml"
    script.write_text('step = [{ at = 1, do = "explode" }]\n')
    found = titian("linksim", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--script", script)
    assert found.code == 2
    assert "'explode' is no action" in found.err


def test_on_a_terminal_a_table_is_alive_and_the_summary_under_it() -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    script = "at 0 stall up 30; at 0 foreground down 1"
    with (
        open(ours, "rb", buffering=0) as screen,
        linksim("--to", "127.0.0.1:1", "--for", 2.5, "--script", script, stdout=theirs) as process,
    ):
        os.close(theirs)
        shown = everything(screen)
        assert process.wait(20) == 0
    assert "2 Mbit/s, 100 ms round trip" in shown
    assert "STALLED (up)" in shown
    assert "0.0 s  stall, up for 30 s" in shown
    table, _, last = shown.rpartition("last minute")
    assert "others down" in table
    assert "in all:" in last
    assert "others down" in last


def everything(screen: IO[bytes]) -> str:
    """What is written to a terminal until nobody has it open."""
    shown = b""
    with suppress(OSError):  # the last one has closed it
        while select.select([screen], [], [], 20)[0] and (more := screen.read(65536)):
            shown += more
    return shown.decode()


@pytest.mark.parametrize(
    ("listen", "to"),
    [
        ("127.0.0.1:7399", "127.0.0.1:7399"),
        (":7399", "localhost:7399"),
        ("0.0.0.0:7399", "127.0.0.1:7399"),
        ("127.0.0.1:7399", "0.0.0.0:7399"),
    ],
)
def test_a_link_that_would_lead_to_itself_is_refused(titian: Titian, listen: str, to: str) -> None:
    found = titian("linksim", "--listen", listen, "--to", to, "--for", 1)
    assert (found.code, found.out) == (2, "")
    assert "the link would lead to itself" in found.err
    assert to in found.err
    assert len(found.err.splitlines()) == 1


def test_the_same_port_on_another_machine_is_no_circle(titian: Titian) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for to in (f"127.0.0.2:{port}", f"192.0.2.1:{port}", f"{'x' * 64}:{port}"):
            found = titian("linksim", "--listen", f"127.0.0.1:{port}", "--to", to)
            assert found.code == 2
            assert "cannot listen on" in found.err, "it went on to listen, where somebody is"
