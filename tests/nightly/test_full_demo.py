"""`titian demo` at its full size, as a new user runs it: 500 packets, a bad link, an outage in the middle."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PACKETS = 500


@pytest.mark.nightly
@pytest.mark.timeout(420)
def test_the_demo_of_full_size_loses_nothing_and_doubles_nothing() -> None:
    argv = [sys.executable, "-I", "-m", "workers.cli", "demo", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    whole = ("recorded", "received", "validated", "returned")
    assert {name: summary[name] for name in whole} == dict.fromkeys(whole, PACKETS)
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
