"""`make check`: the wheel, in a new environment and an empty folder, carries its packets there and back.

An editable install hides what a wheel forgets; this does not. Not a test of pytest's: it needs a registry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
DEMO_S_MAX = 300


def main() -> int:
    """Build, install, run; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="titian-check-") as folder:
        home = Path(folder)
        summary = demo(installed(wheel(home / "dist"), home / "venv"), home / "empty")
    wrong = complaints(summary)
    print(json.dumps(summary, indent=2), *wrong, sep="\n")
    return 1 if wrong else 0


def wheel(into: Path) -> Path:
    """Build the wheel with pinned build tools and return its path."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools packs what an earlier build left there
    run = [sys.executable, "-m", "build", "--wheel", "--outdir", str(into), str(ROOT)]
    subprocess.run(run, check=True, env={**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)}, stdout=sys.stderr)
    (path,) = into.glob("*.whl")
    return path


def installed(path: Path, into: Path) -> Path:
    """A fresh environment with the wheel in it, without the tools of development; returns its `bin`."""
    venv.create(into, with_pip=True)
    pip = [str(into / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), str(path)], check=True)
    return into / "bin"


def demo(scripts: Path, folder: Path) -> dict[str, Any]:
    """Run the demo in an empty folder, with nothing of the checkout in reach, and return its summary."""
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ran = subprocess.run(
        [str(scripts / "titian"), "demo", "--json"],
        cwd=folder,
        env=kept,
        stdout=subprocess.PIPE,
        timeout=DEMO_S_MAX,
        check=True,
    )
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


def complaints(summary: dict[str, Any]) -> list[str]:
    """What is wrong with the demo's summary; empty if nothing."""
    wrong = [f"wrong: {name} is {summary[name]}" for name in ("lost", "duplicated") if summary[name] != 0]
    if not summary["recorded"] == summary["received"] == summary["returned"] > 0:
        wrong.append("wrong: not everything that was recorded has come back")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
