"""The demo as a user runs it: real processes, a link that is cut, and everything counted from the stores."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(170)
def test_the_demo_brings_every_packet_there_and_back_once() -> None:
    argv = [sys.executable, "-I", "-m", "workers.cli", "demo", "--json", "-n", "60"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=160, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert [summary[name] for name in ("recorded", "received", "validated", "returned")] == [60] * 4
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["link_bytes_up"] > summary["link_bytes_down"] > 0
