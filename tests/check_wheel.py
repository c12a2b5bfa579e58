"""`make check`: the wheel, in a new environment and an empty folder, carries its packets there and back.

An editable install hides what a wheel forgets; this does not. Not a test of pytest's: it needs a registry.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
DEMO_S_MAX = 300
#: What the wheel offers to pytest: where Titian is installed, `slow_link` and the others are there.
PLUGIN = "pipeline.testing.pytest_plugin"


def main() -> int:
    """Build, install, run; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="titian-check-") as folder:
        home = Path(folder)
        say("building the wheel")
        path = wheel(home / "dist")
        wrong = without_plugin(path)
        say(f"installing {path.name} into a new environment")
        scripts = installed(path, home / "venv")
        say("running the demo from it in an empty folder")
        wrong += complaints(demo(scripts, home / "empty"))
    say(*wrong or ["the wheel is whole: everything came back once"])
    return 1 if wrong else 0


def say(*lines: str) -> None:
    print(*(f"check: {line}" for line in lines), sep="\n", flush=True)


def wheel(into: Path) -> Path:
    """Build the wheel with pinned build tools and return its path; leaves nothing in the checkout."""
    left = ROOT / "build"  # setuptools packs what an earlier build left there
    shutil.rmtree(left, ignore_errors=True)
    run = [sys.executable, "-m", "build", "--wheel", "--outdir", str(into), str(ROOT)]
    env = {**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)}
    built = subprocess.run(run, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shutil.rmtree(left, ignore_errors=True)
    if built.returncode:
        raise SystemExit(f"{built.stdout}\ncheck: the wheel was not built")
    (path,) = into.glob("*.whl")
    return path


def without_plugin(path: Path) -> list[str]:
    """What is wrong with the pytest plugin in the wheel, its entry point and its module; empty if nothing."""
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        table = next((name for name in names if name.endswith(".dist-info/entry_points.txt")), None)
        said = configparser.ConfigParser(delimiters="=")
        said.read_string("" if table is None else packed.read(table).decode())
    found = said.get("pytest11", "titian", fallback=None)
    wrong = [] if found == PLUGIN else [f"wrong: the wheel's pytest11 entry point is {found}, not {PLUGIN}"]
    if (module := PLUGIN.replace(".", "/") + ".py") not in names:
        wrong.append(f"wrong: the wheel lacks {module}, which pytest would load")
    return wrong


def installed(path: Path, into: Path) -> Path:
    """A fresh environment with the wheel in it, without the tools of development; returns its `bin`."""
    venv.create(into, with_pip=True)
    pip = [str(into / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), str(path)], check=True)
    return into / "bin"


def demo(scripts: Path, folder: Path) -> dict[str, Any]:
    """Run the demo in an empty folder, with nothing of the checkout in reach, and return its summary."""
    folder.mkdir()
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    env = {name: value for name, value in os.environ.items() if name not in ours and name[:7] != "TITIAN_"}
    run = [str(scripts / "titian"), "demo", "--json"]
    ran = subprocess.run(run, cwd=folder, env=env, stdout=subprocess.PIPE, timeout=DEMO_S_MAX)
    print(ran.stdout.decode(), flush=True)
    if ran.returncode and not ran.stdout.startswith(b"{"):
        raise SystemExit(f"check: the demo ended with {ran.returncode} and no summary")
    said: dict[str, Any] = json.loads(ran.stdout)
    return {**said, "exit code": ran.returncode}


def complaints(summary: dict[str, Any]) -> list[str]:
    """What is wrong with the demo's summary; empty if nothing."""
    none = ("lost", "duplicated", "exit code")
    wrong = [f"wrong: {name} is {summary.get(name)}" for name in none if summary.get(name) != 0]
    counted = [summary.get(name) for name in ("recorded", "received", "validated", "returned")]
    if not counted[0] or len(set(counted)) > 1:
        wrong.append(f"wrong: recorded, received, validated, returned are {counted}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
