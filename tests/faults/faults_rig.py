"""Two real sides in trouble: processes that stand still, what lies in the streams, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from tests.sides_rig import child_pid, until
from workers.both_sides import BothSides
from workers.making import link_server

#: How long one command may take, seconds.
COMMAND_S = 60.0


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout (fails if there is anything else)."""
        return json.loads(self.out)


def titian(*arguments: object, python: Path | str = sys.executable) -> Said:
    """The command line as a user has it: a process of its own."""
    argv = [str(python), "-I", "-m", "workers.cli", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def depth(folder: Folder, python: Path | str = sys.executable) -> Any:
    """The document of `titian depth` of a side."""
    said = titian("depth", "--data", folder.path, "--json", python=python)
    assert said.code == 0, said
    return said.json


def alarms(folder: Folder) -> dict[str, str]:
    """What `titian depth` warns of: code -> sentence."""
    return {one["code"]: one["text"] for one in depth(folder)["alarms"]}


@contextmanager
def held(folder: Folder, role: str) -> Iterator[int]:
    """The process that plays `role` stands still (SIGSTOP) in the body, and goes on after it."""
    until(lambda: child_pid(folder, role), what=f"a process for {role}")
    pid = child_pid(folder, role)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def entries(sides: BothSides, stream: str) -> int:
    """How many frames lie in a stream of the region (`ctl`, `up`, `down`) now."""
    with closing(link_server(sides.center).client()) as client:
        return int(client.xlen(f"titian:{{{sides.region.settings.region}}}:{stream}"))


def report(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """A measured figure, shown also where the test passes."""
    with capsys.disabled():
        print(f"\n  {line}")


def pushed(folder: Folder) -> dict[str, int]:
    """What the region's worker has counted since it started: `frames`, `packets`, `requeued`, ..."""
    counts: dict[str, int] = json.loads((folder.run / "push.json").read_text(encoding="utf-8"))["pushed"]
    return counts
