"""Inspection, steps 1 to 7: who did what on this side, when, and why; and whether the log was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.adapters.audit_file import AuditFile

VERSION = 1


def audit_document(folder: Path, side: str, limit: int, what: str | None = None) -> dict[str, Any]:
    """The document of `titian audit`: the newest `limit` `acts` (of the kind `what`), newest first."""
    acts = AuditFile(folder).read(limit, what)
    return {"version": VERSION, "side": side, "acts": [_act(one) for one in acts]}


def check_document(folder: Path, side: str) -> dict[str, Any]:
    """The document of `titian audit --check`: `wrong` is empty where each line follows from the one before,
    else it says which does not; `torn`: numbers of lines that a power cut tore. `head`, the SHA-256 of the
    last line, kept elsewhere together with `acts` proves later that nothing before it was changed."""
    found = AuditFile(folder).look()
    return {
        "version": VERSION,
        "side": side,
        "acts": found.entries,
        "torn": found.torn,
        "wrong": found.wrong,
        "head": found.head,
    }


def _act(one: dict[str, Any]) -> dict[str, Any]:
    """An act as it is shown; `of`: the number of the act that this line adds something to."""
    names = ("n", "at_ms", "who", "via", "what", "target", "reason", "detail")
    return {name: one[name] for name in names} | {"of": one["detail"].get("of")}
