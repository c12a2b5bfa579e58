"""The lease by a file: what it promises between objects, threads, processes and after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.file_lock import FileLock, is_alive
from pipeline.errors import StoreError

HOLD = """
import sys
from pathlib import Path
from pipeline.adapters.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held" if lock.try_acquire() else "refused", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has tried to take the lease and said so; it lives until its stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_of_two_gets_the_lease_and_the_other_gets_it_after_the_release(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "lease"), FileLock(tmp_path / "lease")
    assert one.try_acquire()
    assert not two.try_acquire()
    one.release()
    assert two.try_acquire()
    two.release()


def test_one_object_does_not_get_it_twice(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lease")
    assert lock.try_acquire()
    assert not lock.try_acquire()
    lock.release()
    lock.release()
    assert lock.try_acquire()
    lock.release()


def test_of_many_threads_exactly_one_gets_it(tmp_path: Path) -> None:
    ready, got = threading.Barrier(8), []
    locks = [FileLock(tmp_path / "lease") for _ in range(8)]

    def take(lock: FileLock) -> None:
        ready.wait(10)
        got.append(lock.try_acquire())

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]
    for lock in locks:
        lock.release()


def test_a_killed_process_frees_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    lock = FileLock(path)
    with other_process(path) as process:
        assert said(process) == "held"
        assert not lock.try_acquire()
        assert lock.holder() == process.pid
        process.kill()
        process.wait(10)
        assert lock.holder() is None  # the file still names the dead one
        assert lock.try_acquire()
        assert lock.holder() == os.getpid()
        lock.release()


def test_another_process_is_refused_while_we_hold_it(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lease").held() as got:
        assert got
        with other_process(tmp_path / "lease") as process:
            assert said(process) == "refused"


def test_a_forked_child_does_not_keep_the_lease_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from pipeline.adapters.file_lock import FileLock\n"
        "lock = FileLock(Path(sys.argv[1]))\n"
        "assert lock.try_acquire()\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(60); os._exit(0)\n"
        "print(child, flush=True)\n"
        "os._exit(0)\n"  # the parent ends without a word; the child lives on
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    child = int(said(run))
    try:
        run.wait(10)
        assert is_alive(child)
        # The child closes its copy right after the fork; give it until the deadline to have been scheduled.
        assert _within(10, FileLock(path).try_acquire)
    finally:
        os.kill(child, 9)
        assert run.stdout is not None
        run.stdout.close()


def test_the_file_stays_and_names_nobody_after_a_release(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lease")
    with lock.held():
        assert (tmp_path / "lease").read_text() == f"{os.getpid()}\n"
        assert (tmp_path / "lease").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "lease").read_text() == ""
    assert lock.holder() is None


@pytest.mark.parametrize("text", ["", "12", "x\n", "-1\n", "99999999999999999999\n"])
def test_a_file_that_names_no_living_process_names_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "lease").write_text(text)
    assert FileLock(tmp_path / "lease").holder() is None


def test_a_folder_that_is_not_there_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        FileLock(tmp_path / "nowhere" / "lease").try_acquire()


def _within(deadline_s: float, done: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > end_s:
            return False
        threading.Event().wait(0.01)
    return True
