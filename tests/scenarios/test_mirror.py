"""The mirror of a region's folder, as programs and people meet it: settings, alarms, the doctor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.bundle_file import BundleSource
from pipeline.adapters.folder import Folder, JoinFile, make_folder
from pipeline.adapters.outbox_sqlite import OutboxSettings, create_outbox
from pipeline.inspection import doctor
from pipeline.inspection.alarms import region_alarms
from pipeline.inspection.mirror import mirror_json
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.frame import open_body, split, verify
from schemas.keys import PrivateKey
from workers.making_toml import region_toml

CENTER = PrivateKey.generate()
SMALL_DISK = OutboxSettings(low_water_bytes=0, ballast_bytes=0)


def region(path: Path, mirror: Path | str) -> Folder:
    """A region's folder whose settings name that mirror."""
    toml = region_toml("1806").replace('# mirror = ""', f'mirror = "{mirror}"')
    assert f'mirror = "{mirror}"' in toml
    join = JoinFile("1806", "127.0.0.1", 6380, "r1806", "secret", CENTER.public.raw, b"token" * 8)
    folder = make_folder(path, toml, PrivateKey.generate("1806"), join)
    create_outbox(folder.path, "1806")
    return folder


def stands(folder: Folder) -> dict[str, Any]:
    found = mirror_json(folder)
    assert found is not None
    return found


def alarms(folder: Folder) -> list[str]:
    """The alarms of a document in which all is well but for the mirror."""
    link = {
        "state": "up",
        "superseded": False,
        "refusal": "",
        "denied": "",
        "down_for_s": None,
        "clock_off_ms": None,
    }
    document = {
        "link": link,
        "waiting": 0,
        "tallies": {},
        "dead": 0,
        "registry": {"kept_raw": 0},
        "lanes": {},
        "runway": {"free_bytes": 2, "low_water_bytes": 1, "full_in_days": None},
        "at_ms": 4_000_000_000_000,
        "mirror": mirror_json(folder),
    }
    return [one["text"] for one in region_alarms(document) if one["code"] == "mirror"]


def test_a_program_with_three_lines_has_its_packets_on_the_mirror(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", tmp_path / "disk")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        for line in sample_lines(3, biometrics=1):
            outbox.enqueue(line)
    key = folder.private_keys()[0]
    (segment,) = (tmp_path / "disk").glob("1806-*.titian")
    seqs = set()
    for entry in BundleSource(segment):
        parts = split(entry.frame)
        verify(parts, {key.id: key.public}.get)
        assert open_body(parts, {CENTER.id: CENTER}.get)
        seqs |= {seq for start, stop in parts.header.seqs for seq in range(start, stop)}
    assert seqs == {1, 2, 3}
    assert not alarms(folder)


def test_without_a_mirror_in_the_settings_there_is_none(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", "")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        outbox.enqueue(next(sample_lines(1)))
    assert mirror_json(folder) is None
    assert not alarms(folder)


def test_a_mirror_that_fails_is_an_alarm_and_the_doctor_says_what_to_do(tmp_path: Path) -> None:
    folder = region(tmp_path / "data", tmp_path / "disk")
    lines = list(sample_lines(4))
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        outbox.enqueue(lines[0])
    shutil.rmtree(tmp_path / "disk")
    with open_outbox(folder.path, settings=SMALL_DISK) as outbox:
        for line in lines[1:]:
            outbox.enqueue(line)
        assert outbox.store.highest_seq() == 4
    (said,) = alarms(folder)
    assert "3 packets are not on it" in said
    assert "mounted" in said
    check = doctor.mirror(stands(folder))
    assert check.level == "fail"
    assert str(tmp_path / "disk") in check.said


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "ok", "works"),
        ({"used": False}, "ok", "takes the next packet"),
        ({"missing": 7}, "note", "7 packets"),
        ({"same_disk": True}, "warn", "another disk"),
        ({"failing_since_ms": 1, "why": "the disk is full: free space there"}, "fail", "free space"),
    ],
)
def test_the_doctor_judges_a_mirror(change: dict[str, Any], level: str, words: str) -> None:
    found = {
        "path": "/disk",
        "used": True,
        "failing_since_ms": None,
        "why": "",
        "missing": 0,
        "same_disk": False,
    }
    check = doctor.mirror(found | change)
    assert check.level == level
    assert words in f"{check.said} {check.do}"
    assert bool(check.do) == (level != "ok")
