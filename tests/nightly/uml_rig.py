"""A Linux in a process (user-mode-linux), with a disk of its own, whose power can be cut: `kill -9`.

The guest's root is the host's, read-only; its disk is a file with ext4 in it. What the guest's kernel has
handed to that file is there after the kill (it is in the host's memory, which outlives the process), what it
still held itself is gone: a power cut for a disk that keeps no cache of its own.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

INIT = Path(__file__).with_name("uml_init.py")
DISK_BYTES = 512 * 1024 * 1024
MEMORY = "192M"
#: How long a guest may take until it works, seconds: 3 on an idle machine, and the checks.
BOOT_S = 90.0


def missing() -> str:
    """Why no guest can run here; empty if one can."""
    if os.uname().machine != "x86_64":
        return f"user-mode-linux is not there for {os.uname().machine}"
    for program, package in (("linux.uml", "user-mode-linux"), ("mke2fs", "e2fsprogs")):
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is not here (apt install {package})"
    return ""


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass
class Run:
    """What one life of a guest said: see `uml_init.py`."""

    up: bool = False
    held: int = -1
    lost: int = 0
    gone: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    ready: bool = False
    acknowledged: list[str] = field(default_factory=list)
    failed: str = ""
    console: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take in a line of the console."""
        match line.split():
            case ["UP"]:
                self.up = True
            case ["HELD", highest, lost]:
                self.held, self.lost = int(highest), int(lost)
            case ["GONE", seq]:
                self.gone.append(int(seq))
            case ["WRONG", seq]:
                self.wrong.append(int(seq))
            case ["READY"]:
                self.ready = True
            case ["ACK", epoch, seq, digest] if len(digest) == 64:
                self.acknowledged.append(f"{epoch} {seq} {digest}")
            case ["FAILED", *words]:
                self.failed = " ".join(words)
            case _:
                self.console.append(line)


class Machine:
    """A guest and its disk, in a folder. `full`: with the product's settings, or `synchronous=NORMAL`."""

    def __init__(self, folder: Path, *, full: bool = True) -> None:
        self.folder, self.full = folder, full
        self.image = folder / "disk.img"
        self.acknowledged = folder / "acknowledged"
        self.lives = 0
        folder.mkdir()
        for name in ("disk", "uml"):
            (folder / name).mkdir()
        self.acknowledged.touch()
        with self.image.open("wb") as made:
            made.truncate(DISK_BYTES)
        command = [
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
            str(self.image),
        ]
        subprocess.run(command, check=True, env={**os.environ, "PATH": _PATH})

    def live(self, work_s: float) -> Run:
        """One life: it starts, checks what was acknowledged, works for `work_s` seconds, and the power is
        cut."""
        self.lives += 1
        run = Run()
        with self._started() as guest:
            console = _Console(guest)
            for line in console.lines(BOOT_S):
                run.hear(line)
                if run.ready:
                    break
            if run.ready:
                for line in console.lines(work_s):
                    run.hear(line)
            os.killpg(guest.pid, signal.SIGKILL)
            for line in console.lines(10.0):  # what it had said before it died
                run.hear(line)
        with self.acknowledged.open("a") as listed:
            listed.writelines(f"{line}\n" for line in run.acknowledged)
        return run

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        told = self.folder / "told.json"
        words = {"disk": str(self.folder / "disk"), "acknowledged": str(self.acknowledged)}
        told.write_text(json.dumps({**words, "full": self.full, "session": self.lives}))
        linux = shutil.which("linux.uml", path=_PATH)
        assert linux is not None
        argv = [
            linux, f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
            f"ubd0={self.image}", f"uml_dir={self.folder / 'uml'}", "con=null", "con0=null,fd:1",
            "random.trust_cpu=on", f"init={sys.executable}", "--", "-I", str(INIT), str(told),
        ]  # fmt: skip
        null, pipe = subprocess.DEVNULL, subprocess.PIPE
        with subprocess.Popen(
            argv, stdin=null, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
        ) as guest:
            try:
                yield guest
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(guest.pid, signal.SIGKILL)


class _Console:
    """What a guest says, line by line; a line that was cut off does not count."""

    def __init__(self, guest: subprocess.Popen[bytes]) -> None:
        assert guest.stdout is not None
        self._fd = guest.stdout.fileno()
        self._held = b""

    def lines(self, wait_s: float) -> Iterator[str]:
        """Lines until it has ended, or `wait_s` seconds are over."""
        until_s = time.monotonic() + wait_s
        while True:
            line, found, rest = self._held.partition(b"\n")
            if found:
                self._held = rest
                yield line.decode(errors="replace").strip()
                continue
            if not select.select([self._fd], [], [], max(0.0, until_s - time.monotonic()))[0]:
                return
            data = os.read(self._fd, 65536)
            if not data:
                return
            self._held += data


def cut_at(rng: random.Random) -> float:
    """When to cut, seconds after the work began: mostly soon, sometimes after logs were written back."""
    return rng.uniform(0.02, 0.6) if rng.random() < 0.8 else rng.uniform(0.6, 3.0)
