"""A script of ours in place of a side's Python: of `titian up`, its workers and its commands."""

from __future__ import annotations

import stat
import sys
from pathlib import Path


def make_python(folder: Path, script: str, argument: Path) -> Path:
    """An executable in `folder` that runs `script ARGUMENT ITSELF [-I] -m MODULE ...` with this Python; what
    the script does with that, and that it runs MODULE, is its business."""
    python = folder / f"python-of-{Path(script).stem}"
    run = f'"{sys.executable}" "{Path(script).resolve()}" "{argument}" "$0" "$@"'
    python.write_text(f"#!/bin/sh\nexec {run}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python
