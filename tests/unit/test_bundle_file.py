"""Bundle files on disk: what is appended is there, a torn end is cut, damage is left as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.adapters import bundle_file
from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.errors import AlreadyRunning, DiskFull, NotFound, StoreError
from schemas.bundle import BundleDamaged
from schemas.codec import pack_flat

FRAMES = [pack_flat((b"header", bytes([n]) * 300, bytes(64))) for n in range(6)]


def written(path: Path, *frames: bytes) -> Path:
    with BundleFile(path) as file:
        file.append(frames)
    return path


def read(path: Path) -> list[bytes]:
    return [one.frame for one in BundleSource(path)]


def test_what_was_appended_in_several_openings_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "b.titian"
    for n in range(0, 6, 2):
        written(path, *FRAMES[n : n + 2])
    assert read(path) == FRAMES
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_end_is_cut_and_the_next_entry_stands_in_its_place(tmp_path: Path) -> None:
    path = written(tmp_path / "b.titian", *FRAMES[:3])
    whole = path.stat().st_size
    written(path, FRAMES[3])
    os.truncate(path, whole + 100)
    with BundleFile(path) as file:
        assert file.mark.entries == 3
        assert path.stat().st_size == whole
        file.append([FRAMES[4]])
    assert read(path) == [*FRAMES[:3], FRAMES[4]]


def test_a_damaged_file_is_not_appended_to_nor_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "b.titian", *FRAMES[:3])
    data = bytearray(path.read_bytes())
    data[400] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleDamaged, match="entry 2"):
        BundleFile(path)
    assert path.read_bytes() == data
    source = BundleSource(path, salvage=True)
    assert [one.frame for one in source] == [FRAMES[0], FRAMES[2]]
    assert [one.n for one in source.damages] == [2]


def test_only_one_program_writes_a_file(tmp_path: Path) -> None:
    with BundleFile(tmp_path / "b.titian"), pytest.raises(AlreadyRunning):
        BundleFile(tmp_path / "b.titian")
    written(tmp_path / "b.titian", FRAMES[0])


def test_the_progress_ends_at_the_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "b.titian", *FRAMES)
    seen: list[tuple[int, int]] = []
    assert len(list(BundleSource(path, progress=lambda at, size: seen.append((at, size))))) == 6
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


def test_a_reading_that_was_broken_off_goes_on_at_its_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "b.titian", *FRAMES)
    source = BundleSource(path)
    entries = iter(source)
    first = [next(entries).frame for _ in range(2)]
    later = [one.frame for one in BundleSource(path, source.mark)]
    assert first + later == FRAMES


def test_what_is_wrong_with_the_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(BundleSource(tmp_path / "none"))
    with pytest.raises(StoreError, match="owner and mode"):
        list(BundleSource(tmp_path))
    with pytest.raises(StoreError, match="cannot be written"):
        BundleFile(tmp_path / "none" / "b.titian")


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "b.titian", *FRAMES[:2])
    whole = path.stat().st_size

    def full(fd: int, data: bytes) -> int:
        if len(data) < 500:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data[:500])

    stand_in = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)} | {"write": full})
    with BundleFile(path) as file:
        monkeypatch.setattr(bundle_file, "os", stand_in)
        with pytest.raises(DiskFull):
            file.append(FRAMES[2:4])
    monkeypatch.undo()
    assert path.stat().st_size == whole
    assert read(path) == FRAMES[:2]
