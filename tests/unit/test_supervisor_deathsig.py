"""A process that asks to die with its parent, and a foreign binary wrapped so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.adapters.file_lock import is_alive
from workers.deathsig import main, wrapped

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's: elsewhere nothing happens"
)

ASK = """
import sys
from workers.deathsig import die_with_parent
die_with_parent(int(sys.argv[1]))
print("lives")
"""


def test_a_child_of_the_right_parent_lives() -> None:
    run = subprocess.run(
        [sys.executable, "-c", ASK, str(os.getpid())], capture_output=True, text=True, check=True
    )
    assert run.stdout == "lives\n"


def test_a_child_whose_parent_has_died_before_it_could_ask_dies_at_once() -> None:
    # Process 2 ** 22 is above every process id: so its parent "has died" and we have adopted it.
    run = subprocess.run(
        [sys.executable, "-c", ASK, str(2**22 + 1)], capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL
    assert run.stdout == ""


def test_a_wrapped_program_keeps_its_arguments_its_output_and_its_exit_code() -> None:
    run = subprocess.run(
        wrapped(["/bin/sh", "-c", 'echo "$0|$1"; exit 3', "a b", "--c"]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("a b|--c\n", 3)


def test_a_wrapped_program_gets_the_process_id_that_was_started() -> None:
    with subprocess.Popen(
        wrapped(["/bin/sh", "-c", "echo $$"]), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid


def test_a_wrapped_program_dies_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "from workers.deathsig import wrapped\n"
        "subprocess.Popen(wrapped(['/bin/sh', '-c', 'echo $$ > ' + sys.argv[1] + '; exec sleep 300']))\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(note)], stdin=subprocess.PIPE) as parent:
        end_s = time.monotonic() + 15
        while not (note.exists() and note.read_text().endswith("\n")):
            assert time.monotonic() < end_s, "it did not start"
            time.sleep(0.02)
        child = int(note.read_text())
        assert is_alive(child)
        parent.kill()
        while is_alive(child):
            assert time.monotonic() < end_s, "it has outlived its parent"
            time.sleep(0.02)


def test_a_call_of_another_form_says_how_it_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["x", "--", "/bin/true"]) == 2
    assert main(["1", "/bin/true"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = subprocess.run(wrapped([str(tmp_path / "none")]), capture_output=True, text=True, check=False)
    assert run.returncode == 127
    assert "none cannot be run" in run.stderr
