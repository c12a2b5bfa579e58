"""A Python that dies once at an arrow of the packet's way: stands in for `sys.executable` of a side.

    dying.py PLAN_FILE [-I] -m MODULE [ARGUMENT...]

The plan is one line, `ROLE MODULE CLASS METHOD before|after N`: the process that plays ROLE kills itself with
SIGKILL before, or after, the N-th call of that method, and renames the plan, so that the next one lives.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What a plan is called after somebody died of it.
DONE = ".done"


def make_python(folder: Path, plan: Path) -> Path:
    """An executable in `folder` that is this Python under the plan of `plan`."""
    python = folder / "python-that-dies"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{plan}" "$0" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def deadly(method: Callable[..., Any], plan: Path, when: str, number: int) -> Callable[..., Any]:
    """`method`, whose `number`-th call is the last thing that this process does."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == number:
            _die(plan)
        answer = method(*args, **kwargs)
        if when == "after" and calls == number:
            _die(plan)
        return answer

    return call


def _die(plan: Path) -> None:
    if plan.exists():
        plan.rename(plan.with_suffix(DONE))
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """See the module."""
    plan, me, *rest = sys.argv[1:]
    rest = [one for one in rest if one != "-I"]
    assert rest[0] == "-m", rest
    del sys.path[0]  # as -I: not the folder of this file
    if rest[1] == "workers.run" and Path(plan).exists():
        role, module, owner, name, when, number = Path(plan).read_text().split()
        if rest[2] == role:
            holder = getattr(importlib.import_module(module), owner)
            setattr(holder, name, deadly(getattr(holder, name), Path(plan), when, int(number)))
    sys.executable = me
    sys.argv = rest[1:]
    runpy.run_module(rest[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
