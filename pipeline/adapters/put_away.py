"""Steps 2 and 4: bytes that leave a store go into a file first: 0600, whole and synced under its name."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.bundle_file import sync_folder
from pipeline.errors import DiskFull, StoreError

#: Where such files lie, in a side's folder.
FOLDER_NAME = "dropped"


def put_away(folder: Path, name: str, parts: Iterable[bytes]) -> bytes:
    """Write `parts` to `name` in the side's folder `folder` (again: the file is replaced); returns their
    SHA-256. Raises `DiskFull` or `StoreError`, with no file left."""
    path, digest = folder / FOLDER_NAME / name, hashlib.sha256()
    made = path.with_name(f".{name}.tmp")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                for part in parts:
                    digest.update(part)
                    file.write(part)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(made, path)
        sync_folder(path.parent)
        sync_folder(folder)
    except OSError as why:
        with suppress(OSError):
            made.unlink(missing_ok=True)
        full = why.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else StoreError)(
            f"nothing was dropped: the bytes cannot be put away into {path} ({why.strerror})"
        ) from why
    return digest.digest()
