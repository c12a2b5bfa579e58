"""A packet with a large attachment: it goes in chunks and is the same at the center, byte for byte."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipeline.adapters.folder import Folder
from pipeline.sample import sample_lines
from tests.faults.faults_rig import depth, recorded, report, titian
from tests.sides_rig import child_pid, enqueue, everything_is_back, two_sides

MB = 1_000_000


def peak_bytes(folder: Folder, role: str) -> int:
    """The most memory that a process has held since its start."""
    status = Path(f"/proc/{child_pid(folder, role)}/status")
    if not status.exists():
        pytest.skip("peaks of memory are read from /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def large_line(place: Path, size_bytes: int) -> tuple[Path, str, bytes]:
    """A file of one packet with an attachment that does not compress: (the file, the NIK, the bytes)."""
    data = b"\xff\xd8\xff\xe0" + random.Random("large").randbytes(size_bytes - 4)
    (place / "face.jpg").write_bytes(data)
    (line,) = sample_lines(1, seed=11)
    line["attachments"] = [{"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}]
    (place / "large.ndjson").write_text(json.dumps(line) + "\n", encoding="utf-8")
    return place / "large.ndjson", line["payload"]["nik"], data


@pytest.mark.timeout(170)
def test_an_attachment_of_20_mb_is_the_same_at_the_center_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, nik, data = large_line(tmp_path, 20 * MB)
    with two_sides(tmp_path) as sides:
        everything_is_back(sides, enqueue(sides, 5))
        roles = [
            (sides.region, "region"),
            *((sides.center, one) for one in ("intake", "validate", "deliver")),
        ]
        before = {role: peak_bytes(folder, role) for folder, role in roles}
        said = titian("enqueue", "--data", sides.region.path, path)
        assert said.code == 0, said
        assert depth(sides.region)["lanes"]["biometric"]["recorded_bytes"] > 20 * MB
        everything_is_back(sides, recorded(sides))
        after = {role: peak_bytes(folder, role) for folder, role in roles}

        out = tmp_path / "out"
        said = titian("records", "--data", sides.center.path, "--nik", nik, "--out", out)
        assert said.code == 0, said
        assert (out / "face").read_bytes() == data
        shown = ", ".join(f"{role} {before[role] / MB:.0f} -> {after[role] / MB:.0f}" for _, role in roles)
        report(capsys, f"peak memory before and after a packet of 20 MB, in MB: {shown}")
