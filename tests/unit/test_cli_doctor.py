"""`titian doctor`: a healthy side passes, each ill is named with what to do, a serious one ends with 1."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import open_folder
from pipeline.adapters.tcp_kernel import ask
from pipeline.adapters.tcp_options import TcpHelp
from pipeline.inspection.alarm import sentence
from pipeline.ports import EntryId
from tests.unit.cli_rig import NOBODY, Sides, Titian, line, make_sides, write_lines
from workers.embedded import ValkeyServer
from workers.making import LINK_VALKEY, link_users
from workers.region import RegionSide
from workers.region_said import kernel_json
from workers.wiring import region_pipeline


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def checks(titian: Titian, folder: Path, code: int = 0) -> dict[str, dict[str, Any]]:
    said = titian("doctor", "--data", folder, "--json")
    assert said.code == code, said
    assert said.json["healthy"] is (code == 0)
    return {one["name"]: one for one in said.json["checks"]}


def test_two_new_sides_are_healthy(titian: Titian, sides: Sides) -> None:
    for folder in (sides.center, sides.region):
        found = checks(titian, folder)
        assert {one["level"] for one in found.values()} <= {"ok", "note", "warn"}
        assert found["running"]["level"] == "warn"
        assert found["fsync"]["level"] == "ok"
        assert not list(folder.glob(".doctor*"))
        assert "\nok    keys" in titian.ok("doctor", "--data", folder).out


def test_every_ill_comes_with_what_to_do(titian: Titian, sides: Sides) -> None:
    for folder in (sides.center, sides.region):
        for one in checks(titian, folder).values():
            assert bool(one["do"]) is (one["level"] != "ok"), one


def test_a_file_that_others_can_read_fails(titian: Titian, sides: Sides) -> None:
    (sides.region / "keys" / "0001.json").chmod(0o644)
    found = checks(titian, sides.region, code=1)
    assert found["modes"]["level"] == "fail"
    assert "0001.json" in found["modes"]["said"]
    assert str(sides.region) in found["modes"]["do"]


@pytest.mark.parametrize("text", [None, "{", '{"version": 1}'])
def test_keys_that_are_gone_or_damaged_fail(titian: Titian, sides: Sides, text: str | None) -> None:
    path = sides.center / "keys" / "0001.json"
    path.unlink() if text is None else path.write_text(text)
    assert checks(titian, sides.center, code=1)["keys"]["level"] == "fail"


def test_a_store_that_is_gone_or_damaged_fails(titian: Titian, sides: Sides) -> None:
    (sides.region / "outbox.db").unlink()
    (sides.region / "registry.db").write_bytes(b"no database" * 1_000)
    found = checks(titian, sides.region, code=1)
    assert (found["outbox"]["level"], found["registry"]["level"]) == ("fail", "fail")
    (sides.center / "ledger.db").unlink()
    assert checks(titian, sides.center, code=1)["ledger"]["level"] == "fail"


def test_a_clock_that_went_back_behind_the_store_is_noticed(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titian.ok("enqueue", "--data", sides.region, write_lines(tmp_path / "p.ndjson", line(1)))
    from pipeline.adapters.clock import SystemClock

    real = SystemClock().now_ms()
    monkeypatch.setattr(SystemClock, "now_ms", lambda _: real - 3_600_000)
    found = checks(titian, sides.region)
    assert found["clock"]["level"] == "warn"
    assert "min after now" in found["clock"]["said"]


def test_lost_packets_are_counted(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    empty = (sides.region / "outbox.db").read_bytes()
    titian.ok("enqueue", "--data", sides.region, write_lines(tmp_path / "p.ndjson", line(1), line(2)))
    (sides.region / "outbox.db").write_bytes(empty)  # a backup is restored
    titian.ok("enqueue", "--data", sides.region, write_lines(tmp_path / "q.ndjson", line(3)))
    found = checks(titian, sides.region, code=1)
    assert found["loss"]["said"].startswith("2 ")
    alarms = titian.ok("depth", "--data", sides.region, "--json").json["alarms"]
    assert "lost" in [alarm["code"] for alarm in alarms]


def test_a_variable_that_sets_nothing_is_named(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_LGO__LEVEL", "debug")
    assert "TITIAN_LGO__LEVEL" in checks(titian, sides.region)["settings"]["said"]


def test_a_center_that_is_away_is_a_warning_and_not_a_failure(titian: Titian, sides: Sides) -> None:
    found = checks(titian, sides.region)
    assert found["link"]["level"] == "warn"
    assert NOBODY in found["link"]["said"]


def test_a_broker_that_should_run_and_does_not_answer_fails(titian: Titian, sides: Sides) -> None:
    (sides.center / "run" / "up.lock").write_text(f"{os.getpid()}\n")
    found = checks(titian, sides.center, code=1)
    assert (found["running"]["level"], found["link broker"]["level"]) == ("ok", "fail")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_admission_takes_effect_at_once_on_the_running_link_broker(titian: Titian, tmp_path: Path) -> None:
    center, region, port = tmp_path / "center", tmp_path / "region", free_port()
    titian.ok("init", "center", "--data", center, "--listen", f"127.0.0.1:{port}")
    folder = open_folder(center)
    server = ValkeyServer(folder.run / LINK_VALKEY, port=port, users=link_users(folder))
    server.start()
    try:
        titian.ok("admit", "1806", "--data", center, "--out", tmp_path / "1806.join")
        titian.ok("init", "region", "--join", tmp_path / "1806.join", "--data", region)
        assert checks(titian, region)["link"]["said"].endswith("answers and knows us")
        titian.ok("admit", "1806", "--data", center, "--out", tmp_path / "new.join", "--again")
        assert checks(titian, region, code=1)["link"]["level"] == "fail"  # the old machine is locked out
        titian.ok("init", "region", "--join", tmp_path / "new.join", "--data", tmp_path / "new")
        assert checks(titian, tmp_path / "new")["link"]["level"] == "ok"
        titian.ok("revoke", "1806", "--data", center)
        assert checks(titian, tmp_path / "new", code=1)["link"]["level"] == "fail"
        titian.ok("admit", "1807", "--data", center, "--out", tmp_path / "1807.join")
    finally:
        server.stop()
    again = ValkeyServer(folder.run / LINK_VALKEY, port=port, users=link_users(folder))
    again.start()
    try:
        titian.ok("init", "region", "--join", tmp_path / "1807.join", "--data", tmp_path / "1807")
        assert checks(titian, tmp_path / "1807")["link"]["level"] == "ok"
    finally:
        again.stop()


def test_a_running_region_that_the_center_does_not_serve_is_not_healthy(
    titian: Titian, tmp_path: Path
) -> None:
    center, region, port = tmp_path / "center", tmp_path / "region", free_port()
    titian.ok("init", "center", "--data", center, "--listen", f"127.0.0.1:{port}")
    titian.ok("admit", "1806", "--data", center, "--out", tmp_path / "1806.join")
    titian.ok("init", "region", "--join", tmp_path / "1806.join", "--data", region)
    folder, run = open_folder(center), open_folder(region).run
    servers = (
        ValkeyServer(folder.run / LINK_VALKEY, port=port, users=link_users(folder)),
        ValkeyServer(run / "valkey", users=None),
    )

    def link(code: int, age_s: int = 0, **said: Any) -> str:
        at_ms = SystemClock().now_ms() - age_s * 1000
        (run / "push.json").write_text(json.dumps({"version": 1, "at_ms": at_ms, "state": "up", **said}))
        found = checks(titian, region, code)["link"]
        assert found["level"] == ("fail" if code else "ok")
        return f"{found['said']}: {found['do']}"

    try:
        for server in servers:
            server.start()
        link(0, refusal="revoked")  # the side does not run: that is of another day
        (run / "up.lock").write_text(f"{os.getpid()}\n")
        link(0)
        for said, code in (
            ({"refusal": "token_used"}, "refused"),
            ({"refusal": "revoked"}, "refused"),
            ({"superseded": True}, "superseded"),
        ):
            told = link(1, **said)
            alarms = titian.ok("depth", "--data", region, "--json").json["alarms"]
            assert (code, told) in [(one["code"], sentence(one)) for one in alarms]
        assert "update" in link(1, denied="NOPERM no permissions to run the 'xadd' command")
        link(0, age_s=60, refusal="revoked", superseded=True)
    finally:
        for server in servers:
            server.stop()


# --- the kernel's part (`test_doctor_kernel.py` has how it is judged) ---------------------------------

ALL = asdict(TcpHelp("bbr", True, tcp_info=True, user_timeout_ms=15_000, notsent_bytes=128 * 1024))
NONE = asdict(TcpHelp("cubic", False, tcp_info=False, user_timeout_ms=0, notsent_bytes=0))


def kernel_lines(titian: Titian, folder: Path) -> list[dict[str, Any]]:
    found = titian("doctor", "--data", folder, "--json").json["checks"]
    return [one for one in found if one["name"].startswith("kernel ")]


def test_a_side_that_does_not_run_tries_what_the_kernel_grants(titian: Titian, sides: Sides) -> None:
    found = kernel_lines(titian, sides.region)
    assert len(found) == 5
    assert all("tried within this machine" in one["said"] for one in found)
    with socket.socket() as sock:
        granted = ask(sock)  # what this host says to the same request
    assert (found[3]["level"] == "ok") is hasattr(socket, "TCP_USER_TIMEOUT")
    assert (found[0]["level"] == "ok") is granted["congestion"]
    assert (found[1]["level"] == "ok") is granted["lower_effort"]
    assert not kernel_lines(titian, sides.center)


def test_a_side_that_runs_says_what_its_connection_has(titian: Titian, sides: Sides) -> None:
    run = sides.region / "run"
    run.mkdir()
    (run / "up.lock").write_text(f"{os.getpid()}\n")

    def worker_says(at_ms: int, **said: Any) -> list[str]:
        (run / "push.json").write_text(json.dumps({"version": 1, "at_ms": at_ms, "state": "up", **said}))
        return [one["said"] for one in kernel_lines(titian, sides.region)]

    now_ms = SystemClock().now_ms()
    there = "on the connection to the center"
    found = worker_says(now_ms, kernel=NONE, throttle={"by_answers": False})
    assert "cubic is used" in found[0]
    assert all(there in one for one in found)
    assert "a proxy" in worker_says(now_ms, kernel=ALL, throttle={"by_answers": True})[2]
    for old in (
        worker_says(now_ms, kernel=None),
        worker_says(now_ms),
        worker_says(now_ms - 60_000, kernel=NONE),
    ):
        assert not any(there in one for one in old)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="a kernel without it")
def test_the_worker_says_what_its_open_connection_has(
    titian: Titian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_THROTTLE__CONGESTION", "reno")
    center, region, port = tmp_path / "center", tmp_path / "region", free_port()
    titian.ok("init", "center", "--data", center, "--listen", f"127.0.0.1:{port}")
    titian.ok("admit", "1806", "--data", center, "--out", tmp_path / "1806.join")
    titian.ok("init", "region", "--join", tmp_path / "1806.join", "--data", region)
    folder = open_folder(center)
    server = ValkeyServer(folder.run / LINK_VALKEY, port=port, users=link_users(folder))
    server.start()
    (region / "run").mkdir(exist_ok=True)
    (region / "run" / "up.lock").write_text(f"{os.getpid()}\n")
    parts = region_pipeline(open_folder(region))
    side = RegionSide(parts.push, parts.pull, parts.clock, region / "run")
    try:
        side.push.link.send(EntryId(1, 1), b"frame")
        assert side.push.link.outcomes(10.0)
        side.push_once()
        told = json.loads((side.run / "push.json").read_text())["kernel"]
        assert told == ALL | {"congestion": "reno"}
        found = kernel_lines(titian, region)
        assert found[0]["said"] == "reno: asked for and granted (on the connection to the center)"
    finally:
        side.push.close()
        side.ask_to_stop()
        server.stop()
    assert kernel_json(side.push.link) is None
