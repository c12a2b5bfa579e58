"""What the page to sign in says to whoever comes for the first time, at each stage, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from tests.unit.cli_rig import Titian
from tests.unit.console_rig import Console, add_token, add_user, copied_sides


@pytest.fixture
def region(tmp_path: Path) -> Path:
    return copied_sides(tmp_path).region


@pytest.fixture
def console(region: Path) -> Console:
    return Console(open_folder(region))


def page(console: Console, language: str = "en", address: str = "127.0.0.1") -> str:
    return console.browser(address=address).get(f"/login?lang={language}").text


def test_where_nobody_can_sign_in_it_names_the_command_of_this_very_side(console: Console) -> None:
    command = f"titian console --data {console.folder.path}"
    assert f"Nobody can sign in yet. At this machine: <code>{command}</code>" in page(console)
    assert f"Belum ada yang dapat masuk. Di mesin ini: <code>{command}</code>" in page(console, "id")
    elsewhere = page(console, address="10.0.0.7")
    assert "Nobody can sign in yet." in elsewhere
    assert str(console.folder.path) not in elsewhere, "paths are for this machine alone"


def test_as_soon_as_there_is_a_token_it_asks_for_that_and_not_for_a_password(console: Console) -> None:
    token = add_token(console.folder.path, "ab12", "operator", "titian_secret")
    said = page(console)
    assert "Nobody can sign in" not in said
    assert 'name="token"' in said
    assert 'name="password"' not in said, "nobody has one"
    browser = console.browser()
    wrong = browser.post("/login", {"token": "titian_other"}, word=browser.word("/login?lang=en"))
    assert "No such token" in wrong.text
    assert 'name="password"' not in wrong.text
    assert browser.post("/login", {"token": token}, word=browser.word("/login")).status_code == 303


def test_where_there_are_users_it_asks_for_a_password_first(console: Console) -> None:
    add_user(console.folder.path, "siti", "operator")
    add_token(console.folder.path, "ab12", "operator", "titian_secret")
    said = page(console)
    assert said.index('name="password"') < said.index('name="token"')


def test_a_wrong_token_leaves_the_form_of_tokens_open(console: Console) -> None:
    add_user(console.folder.path, "siti", "operator")
    assert "<details>" in page(console)
    browser = console.browser()
    wrong = browser.post("/login", {"token": "titian_other"}, word=browser.word("/login"))
    assert "<details open>" in wrong.text


def test_a_users_file_that_cannot_be_read_is_not_taken_for_none(console: Console) -> None:
    console.access.users.path.write_text("[]")
    said = page(console)
    assert "Nobody can sign in yet" not in said
    assert "console-users.json cannot be read" in said
    assert "titian doctor" in said
    browser = console.browser()
    assert browser.post("/login", {"token": "x"}, word=browser.word("/login")).status_code == 403


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


def test_an_address_that_another_side_has_is_not_given_as_this_ones(
    titian: Titian, region: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.looking.is_running", lambda _: True)
    state = {"version": 1, "listen": None, "why": "127.0.0.1:6381 is taken"}
    (region / "run").mkdir(exist_ok=True)
    (region / "run" / "console.json").write_text(json.dumps(state))
    said = titian.ok("console", "--data", region, "--json").json
    assert (said["url"], said["served"], said["why"]) == (None, False, "127.0.0.1:6381 is taken")
    assert "http://" not in titian.ok("console", "--data", region).out


def test_a_token_is_made_with_where_to_use_it(titian: Titian, region: Path) -> None:
    made = titian.ok("console", "token", "--data", region)
    assert made.out.startswith("titian_")
    assert f"titian console --data {region}" in made.err
