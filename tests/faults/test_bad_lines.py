"""A file with every kind of bad line among good ones: each is named, and the good ones arrive once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.sample import sample_lines
from tests.faults.faults_rig import COMMAND_S, Said, depth, recorded, report
from tests.sides_rig import everything_is_back, two_sides
from workers.both_sides import BothSides

LARGE_BYTES = 200 * 1024 * 1024
MEMORY_BYTES_MAX = 200 * 1000 * 1000


def with_file(line: dict[str, Any], path: str) -> dict[str, Any]:
    """The line with one attachment at `path`."""
    return line | {"attachments": [{"name": "face", "media_type": "image/jpeg", "path": path}]}


def mixed_file(folder: Path) -> tuple[Path, dict[int, tuple[str, str]]]:
    """Good lines at odd numbers, bad ones at even; of each bad line (what it names, a word of the reason)."""
    (folder / "large.jpg").touch()
    os.truncate(folder / "large.jpg", LARGE_BYTES)  # a sparse file
    good = iter(sample_lines(40, seed=1))
    first = next(good)
    short_nik = first["payload"] | {"nik": first["payload"]["nik"][:15]}
    bad: list[tuple[object, str, str]] = [
        (next(good) | {"kind": "marriage"}, "kind", "marriage"),
        (next(good) | {"schema": 99}, "schema", "99"),
        (first | {"payload": short_nik}, "nik", "16 digits"),
        (with_file(next(good), "gone.jpg"), "gone.jpg", "no"),
        (with_file(next(good), "large.jpg"), "face", "attachment_bytes_max"),
        (next(good) | {"payload": "no object"}, "payload", ""),
        ('{"kind": "enrolment", "payl', "JSON", ""),
        ('{"kind": "enrolment", "payload": ' + "[" * 5_000 + "]" * 5_000 + "}", "", ""),
        ("\x00\x01\x02", "JSON", ""),
    ]
    lines: list[object] = [next(good)]
    expected = {}
    for one, names, word in bad:
        lines += [one, next(good)]
        expected[len(lines) - 1] = (names, word)
    path = folder / "mixed.ndjson"
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path, expected


def enqueue_file(sides: BothSides, path: Path) -> tuple[Said, int]:
    """`titian enqueue --json`, and the most memory that it took, in bytes."""
    argv = [sys.executable, "-I", "-m", "workers.cli", "enqueue", "--json", "--data", str(sides.region.path)]
    script = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], check=False)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *argv, str(path)],
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    *err, peak = done.stderr.splitlines()
    return Said(done.returncode, done.stdout, "\n".join(err)), int(peak) * 1024


@pytest.mark.timeout(110)
def test_good_lines_among_every_kind_of_bad_ones_arrive_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, expected = mixed_file(tmp_path)
    with two_sides(tmp_path) as sides:
        said, peak_bytes = enqueue_file(sides, path)
        assert said.code == 1
        assert (said.json["taken"], said.json["refused"]) == (len(expected) + 1, len(expected))
        named = {one["line"]: one for one in said.json["refusals"]}
        assert sorted(named) == sorted(expected)
        lines = said.err.splitlines()
        assert len(lines) == len(expected)  # one line each, whatever stood in it
        for text, (number, (names, word)) in zip(lines, expected.items(), strict=True):
            assert text.startswith(f"{path}:{number}: "), text
            assert names in text, text
            assert word in text, text
        report(capsys, f"enqueue of a file that names 200 MB: at most {peak_bytes / 1e6:.0f} MB of memory")
        assert peak_bytes < MEMORY_BYTES_MAX

        again, _ = enqueue_file(sides, path)  # while the first are on their way
        assert again.code == 1
        assert (again.json["taken"], again.json["already"]) == (0, len(expected) + 1)
        packets = recorded(sides)
        assert len(packets) == len(expected) + 1
        everything_is_back(sides, packets)
        assert depth(sides.center)["dead"] == 0
