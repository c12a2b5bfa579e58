"""`kill -9` at each arrow of the way: whoever carries a packet dies there, and it still arrives once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.sample import sample_lines
from tests.faults.faults_rig import recorded
from tests.journey import dying
from tests.sides_rig import child_pid, enqueue, everything_is_back, two_sides, until

PACKETS = 60


#: Whose calls are counted: name here -> module and class.
OWNERS = {
    "outbox": "pipeline.adapters.outbox_sqlite SqliteOutbox",
    "link": "pipeline.adapters.redis_region_link RedisRegionLink",
    "ledger": "pipeline.adapters.ledger_sql SqlLedger",
    "center's link": "pipeline.adapters.redis_center_link RedisCenterLink",
    "registry": "pipeline.adapters.registry_sqlite SqliteRegistry",
}


class Arrow(NamedTuple):
    """Where somebody dies: the step, who plays it, and before or after which call of what."""

    name: str
    role: str
    when: str
    number: int
    owner: str
    method: str


ARROWS = (
    Arrow("2 a claim is written, nothing is sent", "region", "after", 3, "outbox", "claim"),
    Arrow("3 a frame is sent, no answer is met", "region", "after", 3, "link", "send"),
    Arrow("4 a frame is read, not stored", "intake", "before", 3, "ledger", "take_in"),
    Arrow("4 a frame is stored, not deleted", "intake", "after", 3, "ledger", "take_in"),
    Arrow("5 verdicts are decided, not written", "validate", "before", 1, "ledger", "give_verdicts"),
    Arrow("5 verdicts are written, nobody is told", "validate", "after", 1, "ledger", "give_verdicts"),
    Arrow("6 an answer is sent, nobody knows", "deliver", "after", 3, "center's link", "put_down"),
    Arrow("7 facts are applied, not deleted", "region", "after", 1, "registry", "apply_facts"),
    Arrow("7 records are read, not applied", "region", "before", 1, "registry", "apply_records"),
    Arrow("7 records are applied, not deleted", "region", "after", 1, "registry", "apply_records"),
    Arrow("7 facts are settled, no want says so", "region", "after", 1, "outbox", "settle"),
    Arrow("7 a want is sent, no answer is met", "region", "after", 3, "link", "send_control"),
)


@pytest.mark.timeout(110)
@pytest.mark.parametrize("arrow", ARROWS, ids=lambda arrow: arrow.name.replace(" ", "-"))
def test_a_worker_that_is_killed_there_loses_and_doubles_nothing(
    tmp_path: Path, arrow: Arrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "plan"
    who = f"{arrow.role} {OWNERS[arrow.owner]} {arrow.method}"
    plan.write_text(f"{who} {arrow.when} {arrow.number}")
    monkeypatch.setattr(sys, "executable", str(dying.make_python(tmp_path, plan)))
    with two_sides(tmp_path / "sides") as sides:
        side = sides.region if arrow.role == "region" else sides.center
        until(lambda: child_pid(side, arrow.role), what=f"a process for {arrow.role}")
        packets = enqueue(sides, PACKETS, biometrics=2)
        until(plan.with_suffix(dying.DONE).exists, what="the death that was planned")
        everything_is_back(sides, packets)


PRODUCER = """
import os, signal, sys
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from pipeline.adapters.high_water import HighWaterFile
if sys.argv[2] == "before-the-second-file":
    HighWaterFile.raise_to = lambda self, *_: os.kill(os.getpid(), signal.SIGKILL)
with open_outbox(sys.argv[1]) as outbox:
    for line in sample_lines(5, seed=9):
        outbox.enqueue(line)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.timeout(110)
@pytest.mark.parametrize("when", ["before-the-second-file", "before-anybody-has-its-identity"])
def test_a_producer_that_is_killed_after_the_commit_has_recorded_its_packet_once(
    tmp_path: Path, when: str
) -> None:
    """1: the packet is on disk, and its producer dies before it can say so; it comes again with `once`."""
    with two_sides(tmp_path) as sides:
        argv = [sys.executable, "-c", PRODUCER, str(sides.region.path), when]
        assert subprocess.run(argv, check=False, timeout=60).returncode == -9
        again = tmp_path / "again.ndjson"
        again.write_text("".join(json.dumps(one) + "\n" for one in sample_lines(5, seed=9)))
        titian = [
            sys.executable,
            "-m",
            "workers.cli",
            "enqueue",
            "--data",
            str(sides.region.path),
            str(again),
        ]
        assert subprocess.run(titian, check=False, timeout=60, capture_output=True).returncode == 0
        packets = recorded(sides)
        assert len(packets) == 5
        everything_is_back(sides, packets)
