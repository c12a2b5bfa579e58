"""A record and its attachments as files, byte for byte: `titian records --nik N --out FOLDER`.

FOLDER/record.json     the record, with the file of each attachment
FOLDER/NAME            each attachment under its own name
FOLDER/REGION/...      the same by region, where several regions hold a record of the citizen
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.inspection.records import OneRecord
from schemas.packet import Attachment, check_attachment

RECORD_NAME = "record.json"


@dataclass
class Written:
    """The files of one region's record. `differ`: attachments whose bytes are not those that the record names
    (a packet that failed for it, or a damaged disk); they are written as they are."""

    files: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)


def write_records(found: Sequence[OneRecord], out: Path) -> dict[str, Written]:
    """Write them; returns what was written by region. Nothing that is there is overwritten: raises
    `UsageError` before anything is written. Raises `StoreDamaged` where bytes are missing."""
    plans = [(one, out if len(found) == 1 else out / one.region) for one in found]
    for one, folder in plans:
        for name in (RECORD_NAME, *_names(one).values()):
            if os.path.lexists(folder / name):
                raise UsageError(
                    f"{folder / name} is there already and nothing was written: give another --out"
                )
    return {one.region: _write(one, folder) for one, folder in plans}


def _names(one: OneRecord) -> dict[str, str]:
    """Attachment's name -> file's name: its own, unless that would hide it or hide the record."""
    names: dict[str, str] = {}
    for at in one.packet.attachments:
        check_attachment(at.name, at.media_type, at.size)  # no slash, no `..`: it stays in the folder
        hidden = at.name.startswith(".") or at.name.lower() == RECORD_NAME
        names[at.name] = f"attachment-{at.name}" if hidden else at.name
    return names


def _write(one: OneRecord, folder: Path) -> Written:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names, done = _names(one), Written([str(folder / RECORD_NAME)])
    for at, parts in one.attached():
        path = folder / names[at.name]
        done.files.append(str(path))
        if not _write_one(path, at, parts):
            done.differ.append(at.name)
    document: dict[str, Any] = one.to_json()
    for listed in document["attachments"]:
        listed["file"] = None if listed["name"] in one.missing else names[listed["name"]]
    with os.fdopen(_create(folder / RECORD_NAME), "w", encoding="utf-8") as file:
        file.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    return done


def _write_one(path: Path, at: Attachment, parts: Iterator[bytes]) -> bool:
    """Write an attachment; False if its bytes do not have its digest."""
    hashed = hashlib.sha256()
    with os.fdopen(_create(path), "wb") as file:
        for part in parts:
            hashed.update(part)
            file.write(part)
    return hashed.digest() == at.digest


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise UsageError(f"{path} cannot be written: {why.strerror}") from None
