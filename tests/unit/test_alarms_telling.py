"""Alarms go to a webhook and a command of this machine: what they get, and what a bad one cannot do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.watch_store import WatchStore
from pipeline.errors import UsageError
from pipeline.inspection.alarms_since import STATE
from pipeline.inspection.alarms_told import Tell
from pipeline.settings import AlarmsPart, parse_settings
from tests.unit.cli_rig import Titian, make_sides
from workers.telling import payload, post, run_command
from workers.watch_alarms import QUEUE_MAX, AlarmsTold

TELL = Tell("webhook", "raised", "link_down", "the link is down", "wait", "warn", 1_700_000_000_000, None)
VALUE = payload(TELL, "region", "1806", 1_700_000_060_000)


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes POSTs and answers `status`; what it got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook?token=s3cret", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_webhook_gets_what_is_and_what_to_do() -> None:
    with webhook() as (url, got):
        assert post(url, VALUE) == ""
    assert got == [
        {
            "version": 1,
            "event": "raised",
            "side": "region",
            "region": "1806",
            "code": "link_down",
            "level": "warn",
            "text": "the link is down",
            "do": "wait",
            "since": "2023-11-14T22:13:20+00:00",
            "since_ms": 1_700_000_000_000,
            "over_ms": None,
            "at_ms": 1_700_000_060_000,
        }
    ]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_not_told_and_no_redirection_is_followed(
    status: int,
) -> None:
    with webhook(status) as (url, got):
        said = post(url, VALUE)
    assert said == f"127.0.0.1 answered {status}"
    assert len(got) == 1


def test_a_webhook_that_is_not_there_or_drips_or_is_silent_ends_in_its_time_and_its_url_is_not_said() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        def drip() -> None:
            with closing(taken.accept()[0]) as peer:
                try:
                    for _ in range(200):
                        peer.sendall(b"H")
                        threading.Event().wait(0.02)
                except OSError:
                    pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        began_s = time.monotonic()
        said = post(f"http://127.0.0.1:{port}/token-s3cret", VALUE, timeout_s=0.3)
        assert time.monotonic() - began_s < 2.0
        assert said == "127.0.0.1 did not answer within 0.3 s"
        dripping.join()
        said = post(f"http://127.0.0.1:{port}/token-s3cret", VALUE, timeout_s=0.2)
        assert said == "127.0.0.1 did not answer within 0.2 s"
    said = post(f"http://127.0.0.1:{port}/token-s3cret", VALUE, timeout_s=0.5)
    assert "refused" in said
    assert "s3cret" not in said


def test_the_command_gets_json_on_its_standard_input_and_no_settings_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_LINK__URL", "redis://:s3cret@broker")
    out, program = tmp_path / "got", tmp_path / "tell me.sh"
    program.write_text(f"#!/bin/sh\n(cat; env; echo \"$@\") > '{out}'\n")
    program.chmod(0o700)
    assert run_command(f"'{program}' '$HOME' ';' ls", VALUE) == ""
    said = out.read_text()
    assert json.loads(said.splitlines()[0].split("}")[0] + "}") == VALUE
    assert "s3cret" not in said
    assert said.endswith("$HOME ; ls\n")  # no shell


def test_a_command_that_fails_is_not_there_or_hangs_is_not_told() -> None:
    assert run_command("sh -c 'echo no room >&2; exit 3'", VALUE) == "sh ended with 3: no room"
    assert run_command("/nowhere/at-all", VALUE).startswith("/nowhere/at-all cannot be started")
    assert run_command("true", VALUE | {"text": "x" * 200_000}) == ""  # it does not read what it gets


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "pid"
    said = run_command(f"sh -c 'sleep 600 & echo $! > {child}; wait'", VALUE, timeout_s=0.5)
    assert "was killed" in said
    deadline_s = time.monotonic() + 5
    while is_alive(int(child.read_text())):
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.02)


def is_alive(pid: int) -> bool:
    """Whether it runs (one that is dead and not yet collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('webhook = "ftp://example.org/x"', "alarms.webhook: a webhook is a URL that begins with http"),
        ('webhook = "file:///etc/passwd"', "alarms.webhook: a webhook is a URL that begins with http"),
        ('webhook = "http://"', "alarms.webhook: a webhook is a URL that begins with http"),
        ('webhook = "http://a:99999/"', "alarms.webhook: Port"),
        ('command = "notify \'it"', "alarms.command: No closing quotation"),
        ('command = "  "', "alarms.command: a command needs the name of a program"),
    ],
)
def test_settings_that_cannot_be_told_by_are_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"titian\.toml") as why:
        parse_settings(f'version = 1\nside = "center"\n[alarms]\n{line}\n', "titian.toml")
    assert said in str(why.value)


# --- the part of the watching process ------------------------------------------------------------------


def document(at_s: int, *codes: str) -> dict[str, Any]:
    alarms = [{"code": one, "text": one, "do": "look", "level": "warn", "since_ms": None} for one in codes]
    return {"side": "region", "region": "1806", "at_ms": at_s * 1_000, "alarms": alarms}


def test_a_hanging_webhook_holds_up_no_look_and_the_command_is_told_later(
    tmp_path: Path,
) -> None:
    let_go, got = threading.Event(), []

    def hang(_: Mapping[str, Any]) -> str:
        let_go.wait(30)
        return "timed out"

    def take(value: Mapping[str, Any]) -> str:
        got.append(value["code"])
        return ""

    store = WatchStore(tmp_path)
    part = AlarmsTold(store, AlarmsPart(settle_s=0), {"webhook": hang, "command": take})
    codes = [f"code{n}" for n in range(2 * QUEUE_MAX)]
    began_s = time.monotonic()
    for at_s in range(100, 110):
        part.saw(document(at_s, *codes))
    assert time.monotonic() - began_s < 2.0
    let_go.set()
    for at_s in range(110, 100_000, 30):
        part.saw(document(at_s, *codes))
        threading.Event().wait(0.002)
        if len(got) == len(codes):
            break
    assert sorted(got) == sorted(codes)  # each once
    store.close()


def test_a_restarted_process_tells_nothing_twice(tmp_path: Path) -> None:
    got: list[str] = []
    outside = {"command": lambda value: got.append(value["event"]) or ""}
    for start in range(3):
        store = WatchStore(tmp_path)
        part = AlarmsTold(store, AlarmsPart(settle_s=10), outside)
        for at_s in range(100 * start, 100 * start + 20):
            part.saw(document(1_000 + at_s, "mirror"))
        deadline_s = time.monotonic() + 5
        while not sinks(store).get("command", {}).get("raised"):
            assert time.monotonic() < deadline_s
            part.saw(document(1_000 + 100 * start + 20, "mirror"))
        store.close()
    assert got == ["raised"]


def sinks(store: WatchStore) -> dict[str, Any]:
    (period,) = store.get(STATE)["periods"]
    found: dict[str, Any] = period["sinks"]
    return found


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


def test_alarms_lists_what_stands_and_what_to_do(titian: Titian, tmp_path: Path) -> None:
    sides = make_sides(titian, tmp_path)
    assert titian.ok("alarms", "--data", sides.region).out == "no alarm stands\n"
    found = titian.ok("alarms", "--data", sides.center, "--json").json
    assert [(one["code"], one["do"], one["told"]) for one in found["alarms"]] == [
        ("not_running", "`titian up`", {"log": None})
    ]
    assert "do: `titian up`" in titian.ok("alarms", "--data", sides.center).out


def test_a_ledger_without_room_is_an_alarm(
    titian: Titian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides(titian, tmp_path)
    monkeypatch.setenv("TITIAN_INTAKE__LOW_WATER_BYTES", str(10**18))
    found = titian.ok("depth", "--data", sides.center, "--json").json
    assert found["runway"]["free_bytes"] > 0
    assert [one["code"] for one in found["alarms"]] == ["not_running", "disk_full"]


def test_a_test_alarm_says_what_came_back(
    titian: Titian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides(titian, tmp_path)
    assert "alarms.webhook" in titian("alarms", "--test", "--data", sides.region).err
    with webhook() as (url, got):
        monkeypatch.setenv("TITIAN_ALARMS__WEBHOOK", url)
        said = titian.ok("alarms", "--test", "--data", sides.region)
        assert said.out == "webhook: took it\n"
        assert [(one["event"], one["code"], one["region"]) for one in got] == [("test", "test", "1806")]
        monkeypatch.setenv("TITIAN_ALARMS__COMMAND", "false")
        failed = titian("alarms", "--test", "--data", sides.region, "--json")
    assert failed.code == 1
    assert failed.json["results"] == {"webhook": "", "command": "false ended with 1"}
