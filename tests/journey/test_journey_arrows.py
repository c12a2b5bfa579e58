"""`kill -9` at each arrow of the way: whoever carries a packet dies there, and it still arrives once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.sample import sample_lines
from tests.faults.faults_rig import recorded, titian
from tests.journey import dying
from tests.sides_rig import enqueue, everything_is_back, stream, two_sides, until
from tests.stand_in import make_python
from workers.application import DELIVER, VALIDATE

#: Whose calls are counted: name here -> module and class.
OWNERS = {
    "outbox": "pipeline.adapters.outbox_sqlite SqliteOutbox",
    "link": "pipeline.adapters.redis_region_link RedisRegionLink",
    "ledger": "pipeline.adapters.ledger_sql SqlLedger",
    "center's link": "pipeline.adapters.redis_center_link RedisCenterLink",
    "nudges": "workers.nudges Nudges",
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
    argument: str = ""

    def write(self, plans: Path) -> None:
        """Let it come to pass, once."""
        line = f"{self.role} {OWNERS[self.owner]} {self.method} {self.when} {self.number} {self.argument}"
        plans.mkdir(exist_ok=True)
        (plans / f"{self.name}.plan").write_text(line)


#: Calls that are about a packet, not about what the region says of itself.
IN_UP = "stream='up'"
#: Run by run; those of one run fall one after the other, in one stream of packets.
ARROWS = {
    "up": (
        Arrow("2 a claim is written, nothing is sent", "region", "after", 3, "outbox", "claim"),
        Arrow("4 a frame is read, not stored", "intake", "before", 3, "ledger", "take_in", IN_UP),
        Arrow("5 verdicts are decided, not written", "validate", "before", 1, "ledger", "give_verdicts"),
        Arrow("7 facts are applied, not deleted", "region", "after", 1, "registry", "apply_facts"),
    ),
    "up and down": (
        Arrow("3 a frame is sent, no answer is met", "region", "after", 3, "link", "send"),
        Arrow("4 a frame is stored, not deleted", "intake", "after", 3, "ledger", "take_in", IN_UP),
        Arrow("7 a want is sent, no answer is met", "region", "after", 3, "link", "send_control"),
    ),
    "down": (
        Arrow("6 an answer is sent, nobody knows", "deliver", "after", 3, "center's link", "put_down"),
        Arrow("7 records are read, not applied", "region", "before", 1, "registry", "apply_records"),
    ),
    "down and settled": (
        Arrow("7 records are applied, not deleted", "region", "after", 1, "registry", "apply_records"),
        Arrow("7 facts are settled, no want says so", "region", "after", 1, "outbox", "settle"),
    ),
}


@pytest.mark.timeout(110)
@pytest.mark.parametrize("arrows", ARROWS.values(), ids=[name.replace(" ", "-") for name in ARROWS])
def test_workers_that_are_killed_there_lose_and_double_nothing(
    tmp_path: Path, arrows: tuple[Arrow, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = tmp_path / "plans"
    for arrow in arrows:
        arrow.write(plans)
    monkeypatch.setattr(sys, "executable", str(make_python(tmp_path, dying.__file__, plans)))
    with two_sides(tmp_path / "sides") as sides:
        with stream(sides) as packets:
            until(lambda: not list(plans.iterdir()), what="each of the deaths that were planned")
        everything_is_back(sides, packets)


#: In a stream the next packet's nudge would make up for one that is lost; so these meet a packet on its own.
UNTOLD = (
    Arrow("4 a packet is stored, nobody is told", "intake", "before", 1, "nudges", "add", VALIDATE),
    Arrow("5 a verdict is written, nobody is told", "validate", "before", 1, "nudges", "add", DELIVER),
)


@pytest.mark.timeout(110)
def test_a_packet_on_its_own_of_which_nobody_was_told_is_found_by_those_who_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = tmp_path / "plans"
    for arrow in UNTOLD:
        arrow.write(plans)
    monkeypatch.setattr(sys, "executable", str(make_python(tmp_path, dying.__file__, plans)))
    with two_sides(tmp_path / "sides") as sides:
        packets = enqueue(sides, 1)
        everything_is_back(sides, packets)
        assert not list(plans.iterdir())


#: It records one line of the sample and dies, before or after the file that holds the highest seq is written.
PRODUCER = """
import os, signal, sys
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from pipeline.adapters.high_water import HighWaterFile
folder, line, when = sys.argv[1:]
with open_outbox(folder) as outbox:
    if when == "before":
        HighWaterFile.raise_to = lambda self, *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    outbox.enqueue(list(sample_lines(5, seed=9))[int(line)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.timeout(110)
def test_a_producer_that_is_killed_after_the_commit_has_recorded_its_packet_once(tmp_path: Path) -> None:
    """1: the packet is on disk, and its producer dies before it can say so; it comes again with `once`."""
    with two_sides(tmp_path) as sides:
        for line, when in enumerate(("after", "before")):
            argv = [sys.executable, "-c", PRODUCER, str(sides.region.path), str(line), when]
            assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
        assert len(recorded(sides)) == 2
        again = tmp_path / "again.ndjson"
        again.write_text("".join(json.dumps(one) + "\n" for one in sample_lines(5, seed=9)))
        assert titian("enqueue", "--data", sides.region.path, again).code == 0
        packets = recorded(sides)
        assert len(packets) == 5
        everything_is_back(sides, packets)
