"""The line of a slice always has packets and bytes, so that it can be added up without knowing the task."""

from __future__ import annotations

import ast
from pathlib import Path

from workers.slices import did

ROOT = Path(__file__).resolve().parents[2]


def test_a_slice_that_did_something_says_packets_and_bytes_and_one_that_did_nothing_says_nothing() -> None:
    assert did({"frames": 1}, {"frames": 3}) == {"packets": 0, "bytes": 0, "frames": 2}
    assert did({"packets": 1}, {"packets": 3, "bytes": 9}) == {"packets": 2, "bytes": 9}
    assert did({"packets": 1}, {"packets": 1}) == {}


def test_all_five_tasks_say_it_so() -> None:
    for module in ("region", "center"):
        tree = ast.parse((ROOT / "workers" / f"{module}.py").read_text())
        lines = [
            call
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and call.args and ast.unparse(call.args[0]) == "'slice'"
        ]
        assert len(lines) == 1
        assert [one.arg for one in lines[0].keywords] == ["ended", "s", None]
        assert ast.unparse(lines[0].keywords[2].value) == "done"
