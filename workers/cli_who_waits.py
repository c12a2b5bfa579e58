"""The list of citizens whose packets wait, for `titian notice who-waits`: as CSV, JSON or a table.

Nothing is held but a page of it: a line is written as it is read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.errors import UsageError
from workers.cli_common import note
from workers.cli_losses_csv import cell

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder

BOM = "\ufeff"
HEADERS = ("id", "recorded", "lane", "state", "nik", "nama", "contact", "why")


def rows_of(folder: Folder, sent: bool) -> Iterator[dict[str, Any]]:
    """Each of them, oldest first. Raises `NotFound`, `StoreError`."""
    from pipeline.inspection.who_waits import who_waits
    from workers.looking import RegionLook, look

    store = look(folder)
    assert isinstance(store, RegionLook)
    meta, depth = store.outbox.meta(), store.depth()
    contact = folder.settings.notice.contact
    return who_waits(folder.path, meta.region, meta.epoch, depth, contact, sent=sent)


def write_csv(rows: Iterator[dict[str, Any]], where: str) -> int:
    """Write them to a file (`-`: stdout), which is replaced, whole or not at all; returns how many."""
    if where == "-":
        sys.stdout.flush()
        out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            count = _write(rows, out)
            out.flush()
            return count
        finally:
            out.detach()
    path = Path(where)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            count = _write(rows, file)
        os.replace(temporary, path)
    except OSError as why:
        raise UsageError(f"{where} cannot be written: {why.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


def write_json(rows: Iterator[dict[str, Any]]) -> None:
    """One JSON document on stdout, an entry a line: `version`, `packets`, `count`."""
    count = 0
    sys.stdout.write('{"version": 1, "packets": [')
    for count, one in enumerate(rows, start=1):
        sys.stdout.write(f"{',' if count > 1 else ''}\n {json.dumps(one, ensure_ascii=False)}")
    sys.stdout.write(f'\n], "count": {count}}}\n')


def show(rows: Iterator[dict[str, Any]], limit: int) -> None:
    """A table of the first of them, for people."""
    from workers import render

    listed = list(islice(rows, limit))
    if not listed:
        print("nobody waits")
        return
    render.table(HEADERS, [[render.clean(str(one[name] or "-")) for name in HEADERS] for one in listed])
    if next(rows, None) is not None:
        note(f"these are the first {limit:,}: --csv FILE has them all, --limit shows more")


def _write(rows: Iterator[dict[str, Any]], out: TextIO) -> int:
    out.write(BOM)
    writer, count = csv.writer(out, lineterminator="\r\n"), 0
    writer.writerow(HEADERS)
    for one in rows:
        writer.writerow([cell(one[name]) for name in HEADERS])
        count += 1
    return count
