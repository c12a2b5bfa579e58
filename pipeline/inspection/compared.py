"""Inspection: the last comparison with the center, from the small file that `workers.reconciled` leaves.

reconcile.json     in the region's folder: the last one that came to its end, without names and NIKs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "reconcile.json"


def last_result(folder: Path) -> Mapping[str, Any] | None:
    """The last result (see `Reconciled.summary`); `None` where there is none, or it cannot be read."""
    try:
        said: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and isinstance(said.get("at_ms"), int) else None
