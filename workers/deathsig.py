"""No process outlives its parent: a child asks the kernel to be killed when its parent dies (Linux).

A Python child calls `die_with_parent` first of all. A foreign binary is started as
`python -I -m workers.deathsig PARENT_PID -- ARGV...`, which asks and then becomes that binary: the wish
survives `execve`, not `fork`, so every process asks for itself. (`preexec_fn` is no place for it: it runs
Python between fork and exec, which is unsafe beside threads.)

The kernel means the parent *thread*: a child that a thread has started dies when that thread ends. So
children are started from a thread that lives as long as the process: the main thread. Elsewhere than on Linux
nothing happens here; a leftover server is then found and stopped by the next start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int | None = None, signum: int = signal.SIGKILL) -> None:
    """Be sent `signum` when the parent dies; at once, if `parent_pid` is given and no longer our parent.

    Without `parent_pid` a parent that died before this call goes unnoticed. SIGKILL by default: whoever has
    lost its parent has nobody to finish anything for, and everything here survives it.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    # The parent may have died before the wish was heard: then we have another parent now.
    if parent_pid is not None and os.getppid() != parent_pid:
        os.kill(os.getpid(), signum)
        os._exit(1)  # where the signal is ignored


def wrapped(argv: Sequence[str], parent_pid: int | None = None) -> list[str]:
    """The command line that starts a foreign binary so that it dies with `parent_pid` (default: us)."""
    parent = os.getpid() if parent_pid is None else parent_pid
    return [sys.executable, "-I", "-m", "workers.deathsig", str(parent), "--", *argv]


def main(argv: Sequence[str]) -> int:
    """`PARENT_PID -- ARGV...`: become ARGV. Exit code 2 for another form, 127 where it cannot be run."""
    if len(argv) < 3 or not argv[0].isdigit() or argv[1] != "--":
        print("usage: python -m workers.deathsig PARENT_PID -- PROGRAM [ARGUMENT...]", file=sys.stderr)
        return 2
    die_with_parent(int(argv[0]))
    try:
        os.execv(argv[2], list(argv[2:]))
    except OSError as why:
        print(f"{argv[2]} cannot be run: {why.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
