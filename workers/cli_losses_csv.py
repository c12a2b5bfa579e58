"""The loss list as a table that an office opens in a spreadsheet: what such a program would misread is made
harmless.

UTF-8 with a byte order mark, else it is taken for Latin-1. A cell that begins as a formula gets an apostrophe
before it (names come from outside). One of digits only that is longer than the 15 which such a program keeps
of a number (a NIK has 16) gets a tab before it: then it is text, and the tab is not seen.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from pipeline.errors import UsageError

HEADERS = (
    "packet",
    "last_packet",
    "packets",
    "why",
    "recorded",
    "recorded_until",
    "nik",
    "nama",
    "lane",
    "size_bytes",
    "came_bytes",
    "digest",
    "nik_hash",
    "recorded_ms",
)
_BOM = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[0-9]+(e[0-9]+)?")
_DIGITS_KEPT = 11


def write_csv(losses: Iterable[dict[str, Any]], where: str) -> int:
    """Write them to a file (`-`: stdout), which is replaced where it is there; returns how many lines."""
    if where == "-":
        sys.stdout.flush()
        out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
        try:
            return _write(losses, out)
        finally:
            out.detach()
    try:
        handle = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise UsageError(f"{where} cannot be written: {why.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        return _write(losses, file)


def cell(value: object) -> str:
    """A value as a spreadsheet shows it unchanged and runs nothing of it."""
    text = "" if value is None else "".join(one if one.isprintable() else " " for one in str(value))
    if text.lstrip().startswith(_FORMULA) and not isinstance(value, int):
        return "'" + text
    if _NUMBER.fullmatch(text) and len(text) > _DIGITS_KEPT and not isinstance(value, int):
        return "\t" + text
    return text


def _write(losses: Iterable[dict[str, Any]], out: TextIO) -> int:
    out.write(_BOM)
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEADERS)
    rows = [[cell(value) for value in _values(one)] for one in losses]
    writer.writerows(rows)
    return len(rows)


def _values(one: dict[str, Any]) -> tuple[object, ...]:
    return (
        one["id"],
        one["last_id"],
        one["packets"],
        one["why"],
        one["recorded"],
        one["recorded_until"],
        " / ".join(who["nik"] for who in one["citizens"]),
        " / ".join(who["nama"] for who in one["citizens"] if who["nama"]),
        one["lane"],
        one["size"],
        one["held_bytes"] or None,
        one["digest"],
        one["nik_hash"],
        one["recorded_ms"],
    )
