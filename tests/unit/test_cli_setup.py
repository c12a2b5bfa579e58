"""Making sides and letting regions in: what is there is never harmed, and what is wrong is said."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import open_folder, read_join_file
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.errors import UsageError
from tests.unit.cli_rig import NOBODY, Sides, Titian, make_sides
from workers.making import link_users, make_region


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def open_to_others(folder: Path) -> list[str]:
    return [one.name for one in [folder, *folder.rglob("*")] if stat.S_IMODE(one.lstat().st_mode) & 0o077]


def test_both_sides_are_made_and_only_we_can_read_them(sides: Sides) -> None:
    assert (sides.center / "ledger.db").exists()
    assert (sides.region / "outbox.db").exists()
    assert (sides.region / "registry.db").exists()
    assert open_to_others(sides.center) == []
    assert open_to_others(sides.region) == []


def test_a_folder_that_was_there_and_open_is_closed_to_others(titian: Titian, tmp_path: Path) -> None:
    (tmp_path / "center").mkdir(mode=0o755)
    titian.ok("init", "center", "--data", tmp_path / "center")
    assert open_to_others(tmp_path / "center") == []


def test_a_second_init_is_refused_and_changes_nothing(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    before = everything(sides.center) | everything(sides.region)
    center = titian("init", "center", "--data", sides.center)
    region = titian("init", "region", "--data", sides.region, "--join", tmp_path / "1806.join")
    assert (center.code, region.code) == (2, 2)
    assert "nothing was changed" in center.err
    assert "nothing was changed" in region.err
    assert everything(sides.center) | everything(sides.region) == before


def test_a_folder_with_other_things_in_it_is_left_alone(titian: Titian, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    said = titian("init", "center", "--data", tmp_path / "mine")
    assert said.code == 2
    assert "not empty" in said.err
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_init_that_fails_half_way_leaves_nothing(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.adapters.registry_sqlite.create_registry", no_disk)
    said = titian("init", "region", "--data", tmp_path / "new", "--join", tmp_path / "1806.join")
    assert said.code == 1
    assert "free space" in said.err
    assert not (tmp_path / "new").exists()
    assert sides.region.exists()


def test_a_machine_that_takes_the_place_of_another_waits_for_its_records(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    join, new = tmp_path / "again.join", tmp_path / "new"
    titian.ok("admit", "1806", "--data", sides.center, "--out", join, "--again")
    said = titian.ok("init", "region", "--data", new, "--join", join, "--rebuild")
    assert "open for service" in said.err
    assert f"titian up --data {new}" in said.err
    reader = RegistryReader(new)
    assert reader.rebuild().fresh
    reader.close()
    with pytest.raises(UsageError, match="--rebuild"):
        make_region(tmp_path / "other", join, mirror=tmp_path)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[]", "not a join file"),
        ('{"titian_join": 1, "region": "1806"}', "damaged"),
    ],
)
def test_a_broken_join_file_is_named_and_nothing_is_made(
    titian: Titian, tmp_path: Path, text: str, word: str
) -> None:
    (tmp_path / "broken").write_text(text)
    said = titian("init", "region", "--join", tmp_path / "broken", "--data", tmp_path / "region")
    assert said.code == 2
    assert word in said.err
    assert not (tmp_path / "region").exists()


def test_a_join_file_whose_key_was_changed_is_refused(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    join = json.loads((tmp_path / "1806.join").read_text())
    join["center_seal"] = join["center_seal"][:-8]
    (tmp_path / "changed").write_text(json.dumps(join))
    said = titian("init", "region", "--join", tmp_path / "changed", "--data", tmp_path / "other")
    assert said.code == 2
    assert "ask the center" in said.err
    assert sides.region != tmp_path / "other"


def test_a_join_file_can_only_be_read_by_us_and_only_hashes_stay_at_the_center(
    sides: Sides, tmp_path: Path
) -> None:
    path = tmp_path / "1806.join"
    join = read_join_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (f"{join.host}:{join.port}", join.username) == (NOBODY, "region-1806")
    kept = b"".join(everything(sides.center).values())
    assert join.password.encode() not in kept
    assert join.token not in kept
    (user,) = link_users(open_folder(sides.center))
    assert (user.name, user.password_sha256) == (
        "region-1806",
        hashlib.sha256(join.password.encode()).hexdigest(),
    )


def test_who_may_sign_in_survives_a_deleted_run_folder(sides: Sides) -> None:
    acl = (sides.center / "run" / "link-valkey" / "users.acl").read_text()
    (user,) = link_users(open_folder(sides.center))
    assert user.line in acl


def test_a_join_file_is_never_overwritten(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = tmp_path / "1806.join"
    before = path.read_bytes()
    said = titian("admit", "1807", "--data", sides.center, "--out", path)
    assert said.code == 2
    assert "left as it is" in said.err or "left as it was" in said.err
    assert path.read_bytes() == before
    assert len(titian.ok("regions", "--data", sides.center, "--json").json["regions"]) == 1


def test_a_region_is_admitted_twice_only_with_again(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    second = tmp_path / "second.join"
    said = titian("admit", "1806", "--data", sides.center, "--out", second)
    assert said.code == 2
    assert "--again" in said.err
    assert not second.exists()
    said = titian.ok("admit", "1806", "--data", sides.center, "--out", second, "--again")
    assert "its key retires when the new one joins" in said.err
    assert "new folder" not in said.err
    assert read_join_file(second).password != read_join_file(tmp_path / "1806.join").password
    (user,) = link_users(open_folder(sides.center))
    assert user.password_sha256 == hashlib.sha256(read_join_file(second).password.encode()).hexdigest()


def test_again_for_a_region_that_was_never_in_is_a_slip(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    said = titian("admit", "1860", "--data", sides.center, "--out", tmp_path / "new", "--again")
    assert said.code == 2
    assert "never admitted" in said.err
    assert not (tmp_path / "new").exists()


def test_a_bad_region_code_is_explained(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    said = titian("admit", "18", "--data", sides.center, "--out", tmp_path / "new")
    assert said.code == 2
    assert "four digits" in said.err
    assert not (tmp_path / "new").exists()


def test_regions_that_cannot_dial_the_listening_address_need_one(titian: Titian, tmp_path: Path) -> None:
    center = tmp_path / "wide"
    titian.ok("init", "center", "--data", center, "--listen", "0.0.0.0:7000")
    said = titian("admit", "1806", "--data", center, "--out", tmp_path / "j")
    assert said.code == 2
    assert "--address" in said.err
    titian.ok("admit", "1806", "--data", center, "--out", tmp_path / "j", "--address", "center.example:7001")
    join = read_join_file(tmp_path / "j")
    assert (join.host, join.port) == ("center.example", 7001)


def test_the_address_of_init_stands_in_the_settings(titian: Titian, tmp_path: Path) -> None:
    center = tmp_path / "c"
    titian.ok(
        "init", "center", "--data", center, "--listen", "127.0.0.1:7000", "--address", "center.example:7001"
    )
    settings = open_folder(center).settings
    assert (settings.link.listen, settings.link.address) == ("127.0.0.1:7000", "center.example:7001")


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:0", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(titian: Titian, tmp_path: Path, listen: str) -> None:
    said = titian("init", "center", "--data", tmp_path / "c", "--listen", listen)
    assert said.code == 2
    assert listen in said.err
    assert not (tmp_path / "c").exists()


def test_a_revoked_region_cannot_sign_in_and_can_be_let_in_again(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    titian.ok("revoke", "1806", "--data", sides.center)
    assert link_users(open_folder(sides.center)) == []
    assert "region-1806" not in (sides.center / "run" / "link-valkey" / "users.acl").read_text()
    (one,) = titian.ok("regions", "--data", sides.center, "--json").json["regions"]
    assert one["state"] == "revoked"
    assert titian("revoke", "1807", "--data", sides.center).code == 1
    said = titian.ok("admit", "1806", "--data", sides.center, "--out", tmp_path / "new", "--again").err
    assert "begin in a new folder" in said
    assert "--data NEWFOLDER" in said
    assert "its key retires" not in said
    (one,) = titian.ok("regions", "--data", sides.center, "--json").json["regions"]
    assert one["state"] == "not joined yet"


def test_admitting_at_the_region_names_the_right_side(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    said = titian("admit", "1807", "--data", sides.region, "--out", tmp_path / "j")
    assert said.code == 2
    assert "belongs to the center" in said.err
    assert not (tmp_path / "j").exists()


def test_damaged_users_are_said_and_the_join_file_is_taken_back(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    (sides.center / "link-users.json").write_text("{")
    said = titian("admit", "1807", "--data", sides.center, "--out", tmp_path / "j")
    assert said.code == 70
    assert "link-users.json is damaged" in said.err
    assert not (tmp_path / "j").exists()


def test_two_admissions_at_once_do_not_lose_each_other(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    with FileLock(sides.center / "link-users.lock").held() as got:
        assert got
        said = titian("admit", "1807", "--data", sides.center, "--out", tmp_path / "j")
    assert said.code == 3
    assert not (tmp_path / "j").exists()
    titian.ok("admit", "1807", "--data", sides.center, "--out", tmp_path / "j")
    assert [user.name for user in link_users(open_folder(sides.center))] == ["region-1806", "region-1807"]
