"""Inspection, pure: which Titian is older. Two numbers count: the third of a version changes no behaviour."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, int] | None:
    """Major and minor; `None` where it is no version that we know to read."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})(?!\d)", version)
    return None if found is None else (int(found[1]), int(found[2]))


def differs(one: str, other: str) -> bool:
    """Whether both are known and differ."""
    first, second = numbers(one), numbers(other)
    return first is not None and second is not None and first != second


def older(one: str, than: str) -> bool:
    """Whether both are known and `one` is older."""
    first, second = numbers(one), numbers(than)
    return first is not None and second is not None and first < second
