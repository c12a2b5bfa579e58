"""Two real sides in trouble: processes that stand still, what lies in the streams, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.inspection.alarm import sentence
from schemas.identity import PacketId
from tests.sides_rig import child_pid, until
from tests.unit.cli_rig import Said
from workers.both_sides import BothSides
from workers.looking import look
from workers.making import link_server

#: How long one command may take, seconds.
COMMAND_S = 60.0


def titian(*arguments: object, python: Path | str = sys.executable) -> Said:
    """The command line as a user has it: a process of its own."""
    argv = [str(python), "-I", "-m", "workers.cli", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def depth(folder: Folder) -> dict[str, Any]:
    """The document of `titian depth` of a side (made in this process: it is asked for often)."""
    seen = look(folder)
    try:
        return seen.depth()
    finally:
        for store in ("outbox", "registry", "ledger"):
            if hasattr(seen, store):
                getattr(seen, store).close()


def alarms(folder: Folder) -> dict[str, str]:
    """What `titian depth` warns of: code -> sentence."""
    return {one["code"]: sentence(one) for one in depth(folder)["alarms"]}


def warned(folder: Folder, code: str) -> str:
    """Wait for the alarm `code`; its sentence, which must stand in the text that people see, too."""
    until(lambda: code in alarms(folder), what=f"the alarm {code}")
    said = alarms(folder)[code]
    assert f"! {said}" in titian("depth", "--data", folder.path).out
    return said


def check(folder: Folder, name: str) -> dict[str, str]:
    """One line of `titian doctor`."""
    said = titian("doctor", "--data", folder.path, "--json")
    found: dict[str, str] = next(one for one in said.json["checks"] if one["name"] == name)
    assert said.code == (0 if said.json["healthy"] else 1), said
    return found


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


def recorded(sides: BothSides) -> list[PacketId]:
    """The identity of every packet in the region's outbox."""
    with closing(OutboxReader(sides.region.path)) as outbox:
        meta = outbox.meta()
        total = sum(lane.total.packets for lane in outbox.counts().values())
    return [PacketId(meta.region, meta.epoch, seq) for seq in range(1, total + 1)]
