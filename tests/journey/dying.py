"""A Python that dies once at each of some arrows of the packet's way: a side's `sys.executable`.

    dying.py PLANS [-I] -m MODULE [ARGUMENT...]

PLANS is a folder; each `*.plan` in it is one line, `ROLE MODULE CLASS METHOD before|after N [ARGUMENT]`:
whoever plays ROLE kills itself with SIGKILL before, or after, its N-th call of that method (with ARGUMENT
somewhere in its arguments), and takes the plan away, so that the next one lives.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def deadly(
    method: Callable[..., Any], plan: Path, when: str, number: int, argument: str = ""
) -> Callable[..., Any]:
    """`method`, whose `number`-th call is the last thing that this process does."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if argument not in repr(args):
            return method(*args, **kwargs)
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
        plan.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def follow(plan: Path, role: str) -> None:
    """If it is about `role`: from here on that method kills this process at its time."""
    who, module, owner, name, when, number, *argument = plan.read_text().split()
    if who == role:
        holder = getattr(importlib.import_module(module), owner)
        setattr(holder, name, deadly(getattr(holder, name), plan, when, int(number), *argument))


def main() -> None:
    """See the module."""
    plans, me, *rest = sys.argv[1:]
    rest = [one for one in rest if one != "-I"]
    assert rest[0] == "-m", rest
    del sys.path[0]  # as -I: not the folder of this file
    if rest[1] == "workers.run":
        for plan in sorted(Path(plans).glob("*.plan")):
            with suppress(FileNotFoundError):  # another process has just died of it
                follow(plan, rest[2])
    sys.executable = me
    sys.argv = rest[1:]
    runpy.run_module(rest[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
