"""`titian doctor` on broken settings, odd owners, old keys, who watches; each ill made on purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import open_folder
from pipeline.adapters.watch_store import WatchStore
from pipeline.inspection import doctor, doctor_settings, doctor_watch
from pipeline.inspection.alarms_since import STATE
from pipeline.settings_mended import known_variables, mended_settings, unknown_variables
from tests.unit.cli_rig import Sides, Titian, make_sides
from workers.embedded import ValkeyServer
from workers.making import LINK_VALKEY
from workers.probing_servers import LINK, broker_checks

YEAR_S = 366 * 86_400


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    made = make_sides(titian, tmp_path)
    join = made.region / "center.json"
    said = json.loads(join.read_text()) | {"port": 1}  # whoever else runs a center here is none of ours
    join.write_text(json.dumps(said))
    return made


def checks(titian: Titian, folder: Path, code: int = 0) -> dict[str, dict[str, Any]]:
    said = titian("doctor", "--data", folder, "--json")
    assert said.code == code, [one for one in said.json["checks"] if one["level"] != "ok"]
    return {one["name"]: one for one in said.json["checks"]}


def of(titian: Titian, folder: Path, name: str, code: int = 0) -> list[str]:
    """What is said in lines of that name."""
    found = titian("doctor", "--data", folder, "--json")
    assert found.code == code, found
    return [f"{one['said']}; {one['do']}" for one in found.json["checks"] if one["name"] == name]


def write(folder: Path, text: str) -> None:
    """Its titian.toml, made anew with `text` after what must be there."""
    toml = folder / "titian.toml"
    head = [one for one in toml.read_text().splitlines() if one.startswith(("version", "side", "region"))]
    toml.write_text("\n".join(head) + f"\n{text}", encoding="utf-8")


# --- settings -------------------------------------------------------------------------------------------


def test_an_unknown_key_is_a_failed_check_that_names_the_nearest_and_all_others_still_run(
    titian: Titian, sides: Sides
) -> None:
    names = set(checks(titian, sides.region))
    write(sides.region, "\n[log]\nlvel = 'debug'\n[alarms]\nold_s = -1\nsilence_s = 5\n")
    assert titian("depth", "--data", sides.region).code == 2  # any other command ends
    said = sorted(of(titian, sides.region, "settings", 1))
    assert [one.split("titian.toml: ")[1].split(";")[0] for one in said] == [
        "alarms.old_s: Input should be greater than 0",
        "unknown key 'alarms.silence_s'",
        "unknown key 'log.lvel'",
    ]
    assert "did you mean 'silent_s'?" in said[1]
    assert "did you mean 'level'?" in said[2]
    assert set(checks(titian, sides.region, 1)) == names
    assert titian("doctor", "--data", sides.region).out.count("\nfail  settings") == 3


@pytest.mark.parametrize(
    "text",
    ["[log\n", "\n[nothing]\nx = 1\n", "\nside = 1", "\nalarms = 7\n", "\n[alarms]\nwebhook='gopher://x'\n"],
)
def test_a_file_that_cannot_be_understood_does_not_end_the_doctor(
    titian: Titian, sides: Sides, text: str
) -> None:
    for folder in (sides.region, sides.center):
        write(folder, text)
        found = checks(titian, folder, 1)
        assert found["settings"]["level"] == "fail"
        assert found["keys"]["level"] == "ok"
        assert ("outbox" in found) is (folder == sides.region)


def test_a_file_that_is_no_text_or_empty_or_of_a_newer_version_does_not_either(
    titian: Titian, sides: Sides
) -> None:
    for content in (b"\xff\xfe", b"", b"version = 9\nside = 'region'\nregion = '1806'\n"):
        (sides.region / "titian.toml").write_bytes(content)
        found = checks(titian, sides.region, 1)
        assert found["settings"]["level"] == "fail"
        assert found["outbox"]["level"] == "ok"


def test_where_there_is_no_folder_the_doctor_says_so(titian: Titian, tmp_path: Path) -> None:
    said = titian("doctor", "--data", tmp_path)
    assert (said.code, "is no side's folder" in said.err) == (2, True)


def test_a_variable_that_sets_nothing_names_the_nearest(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_LGO__LEVEL", "debug")
    (said,) = of(titian, sides.region, "settings")
    assert said == "TITIAN_LGO__LEVEL in the environment sets nothing; did you mean TITIAN_LOG__LEVEL?"
    monkeypatch.setenv("TITIAN_PUSH__FRAM_BYTES", "9")  # this one stops every other command
    failed = of(titian, sides.region, "settings", 1)
    assert failed[0].startswith("the environment: unknown key 'push.fram_bytes'; did you mean 'frame_bytes'?")
    assert "did you mean TITIAN_PUSH__FRAME_BYTES?" in failed[2]
    monkeypatch.setenv("TITIAN_LOG", "plain")
    assert titian("depth", "--data", sides.region).code == 2
    assert "TITIAN_LOG__FORM" in of(titian, sides.region, "settings", 1)[0]


def test_every_setting_has_a_variable_and_none_is_unknown() -> None:
    known = known_variables()
    assert {"TITIAN_SIDE", "TITIAN_LOG__LEVEL", "TITIAN_ALARMS__WEBHOOK"} <= set(known)
    assert not unknown_variables([*known, "TITIAN_DATA", "titian_log__level", "PATH"])
    assert unknown_variables(["TITIAN_ZZZZZZZZZZ"]) == [("TITIAN_ZZZZZZZZZZ", "")]


def test_what_is_right_beside_what_is_wrong_is_kept(sides: Sides) -> None:
    write(sides.region, "\n[outbox]\nlow_water_bytes = 5\nlow_watr_bytes = 6\n")
    settings, wrong = mended_settings(sides.region / "titian.toml", "region", "")
    assert settings.outbox.low_water_bytes == 5
    assert settings.region == "1806"
    assert len(wrong) == 1


# --- keys, owners, time -----------------------------------------------------------------------------------


def test_a_key_that_is_older_than_a_year_is_a_warning_at_a_region_and_a_note_at_the_center(
    titian: Titian, sides: Sides
) -> None:
    for folder, level in ((sides.region, "warn"), (sides.center, "note")):
        then_s = SystemClock().now_ms() / 1000 - YEAR_S
        os.utime(folder / "keys" / "0001.json", (then_s, then_s))
        found = checks(titian, folder)["keys"]
        assert (found["level"], "366 days" in found["said"]) == (level, True)
    assert "admit CODE --again" in checks(titian, sides.region)["keys"]["do"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_a_file_that_belongs_to_somebody_else_fails(titian: Titian, sides: Sides) -> None:
    os.chown(sides.region / "outbox.db", 12_345, -1)
    found = checks(titian, sides.region, 1)["owner"]
    assert "outbox.db" in found["said"]
    assert "chown" in found["do"]


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (doctor_settings.owners(True, [], "titian", "/d"), "ok"),
        (doctor_settings.owners(False, [], "titian", "/d"), "warn"),
        (doctor_settings.zone("UTC", 0), "note"),
        (doctor_settings.zone("WIB", 7 * 3600), "ok"),
        (doctor_watch.watching(True, None), "warn"),
        (doctor_watch.watching(True, 2.0), "ok"),
        (doctor_watch.watching(False, None), "ok"),
        (doctor_watch.console(True, "", None), "warn"),
        (doctor_watch.console(True, "", {"listen": None, "why": "taken"}), "warn"),
        (doctor_watch.console(True, "", {"listen": "127.0.0.1:1", "why": ""}), "ok"),
        (doctor_watch.console(True, "off", None), "ok"),
        (doctor_watch.notice("", False, False), "ok"),
        (doctor_watch.notice("/x", False, False), "fail"),
        (doctor_watch.notice("/x", True, False), "fail"),
        (doctor_watch.notice("/x", True, True), "ok"),
        (doctor_watch.version("1.2.0", ""), "ok"),
        (doctor_watch.version("1.2.0", "1.2.7"), "ok"),
        (doctor_watch.version("1.2.0", "1.3.0"), "warn"),
        (doctor_watch.versions("1.2.0", [{"region": "1806", "titian": "1.1.0"}]), "note"),
        (doctor_watch.versions("1.2.0", [{"region": "1806", "titian": ""}, {"region": "1"}]), "ok"),
    ],
)
def test_each_is_judged_and_what_is_not_well_says_what_to_do(check: doctor.Check, level: str) -> None:
    assert check.level == level
    assert bool(check.do) is (level != "ok")


# --- who watches, and who is told ---------------------------------------------------------------------------


def test_webhook_and_command_are_looked_at(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_ALARMS__WEBHOOK", "http://hook.example/s3cret")
    monkeypatch.setenv("TITIAN_ALARMS__COMMAND", "/no/such/program --x")
    found = checks(titian, sides.region, 1)
    assert found["alarm webhook"]["level"] == "note"
    assert found["alarm command"]["level"] == "fail"
    assert "s3cret" not in json.dumps(found)
    monkeypatch.setenv("TITIAN_ALARMS__WEBHOOK", "https://hook.example/")
    monkeypatch.setenv("TITIAN_ALARMS__COMMAND", "true")
    found = checks(titian, sides.region)
    assert (found["alarm webhook"]["level"], found["alarm command"]["level"]) == ("ok", "ok")


def test_a_sink_that_was_tried_in_vain_is_a_warning(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_ALARMS__COMMAND", "true")
    store = WatchStore(sides.center)
    sink = {"raised": False, "over": False, "told_ms": 0, "failed": 3, "next_ms": 0}
    store.put(STATE, {"periods": [{"code": "not_running", "since_ms": 1, "sinks": {"command": sink}}]})
    store.close()
    found = checks(titian, sides.center)
    assert found["alarms"]["said"] == "1 stand: not_running"
    assert "titian alarms --test" in found["alarm command reached"]["do"]


def test_a_console_that_is_not_served_says_why(titian: Titian, sides: Sides) -> None:
    run = open_folder(sides.region).run
    (run / "up.lock").write_text(f"{os.getpid()}\n")
    (run / "console.json").write_text('{"version": 1, "listen": null, "why": "127.0.0.1:6381: in use"}')
    found = checks(titian, sides.region, 1)  # its broker is not there, either
    assert found["console"]["said"] == "not served: 127.0.0.1:6381: in use"
    assert found["watching"]["level"] == "warn"
    (run / "watch.tick").touch()
    assert checks(titian, sides.region, 1)["watching"]["level"] == "ok"


def test_an_audit_log_that_was_changed_fails(titian: Titian, sides: Sides) -> None:
    log = AuditFile(sides.region)
    for n in range(3):
        log.add("made", "command line", "pause", "record", f"reason {n}")
    assert checks(titian, sides.region)["audit log"]["said"] == "whole"
    log.path.write_text(log.path.read_text().replace("reason 1", "reason 7"))
    assert checks(titian, sides.region, 1)["audit log"]["level"] == "fail"


def test_a_notice_folder_that_is_not_there_fails(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    write(sides.region, f"\n[notice]\nfolder = '{tmp_path / 'web'}'\n")
    assert "mkdir -p" in checks(titian, sides.region, 1)["notice folder"]["do"]
    (tmp_path / "web").mkdir()
    assert checks(titian, sides.region)["notice folder"]["level"] == "ok"


def test_a_link_broker_that_keeps_nothing_over_a_restart_is_a_warning(sides: Sides) -> None:
    folder = open_folder(sides.center)
    server = ValkeyServer(folder.run / LINK_VALKEY, users=None, appendonly=False)
    server.start()
    try:
        found = list(broker_checks(LINK, folder, server.url, LINK_VALKEY, True))
        other = list(broker_checks("broker", folder, server.url, LINK_VALKEY, True))
    finally:
        server.stop()
    assert [one.level for one in found] == ["ok", "warn"]
    assert found[1].name == "link broker persistence"
    assert [one.level for one in other] == ["ok"]
