"""What the outbox promises when several processes use it, and when one of them is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.adapters.high_water import HighWater, HighWaterFile
from pipeline.adapters.outbox_layout import HIGH_WATER_NAME
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from schemas.lanes import Lane
from tests.unit.outbox_rig import SMALL_DISK, draft, new_outbox

ROOT = Path(__file__).parents[2]

PRODUCER = """
import sys
from pathlib import Path
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from tests.unit.outbox_rig import SMALL_DISK, draft
folder, name, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
outbox = SqliteOutbox(folder, SMALL_DISK)
outbox.check(1)
n = name * 1_000_000
for i in range(rounds):
    many = [draft(n + i * 50 + k) for k in range(i % 40 + 1)]
    if i % 10 == 9:
        taken = [outbox.take_large(draft(n + i * 50, 300_000), 1)]
    else:
        taken = outbox.take(many, 1)
    print(*(one.id.seq for one in taken), flush=True)
"""


def start(folder: Path, name: int, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(folder), str(name), str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def check(folder: Path) -> int:
    """Every packet is whole, the seqs have no gap, the counters are those of the rows; returns how many."""
    outbox = SqliteOutbox(folder, SMALL_DISK)
    epoch = outbox.epoch
    outbox.check(1)
    assert outbox.epoch == epoch  # no loss was found
    rows = outbox.connection.execute("SELECT seq, digest, size FROM packet ORDER BY seq").fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    for seq, digest, size in rows:
        stored = outbox.read(seq)  # type: ignore[arg-type]
        assert (len(stored), hashlib.sha256(stored).digest()) == (size, digest)
    counts = OutboxReader(folder).counts()[Lane.RECORD]
    assert counts.waiting == counts.total == (len(rows), sum(row[2] for row in rows))  # type: ignore[misc]
    assert outbox.connection.execute("SELECT count(*) FROM upload").get == 0
    outbox.close()
    return len(rows)


def test_producers_in_several_processes_share_one_numbering_without_gaps(tmp_path: Path) -> None:
    new_outbox(tmp_path).close()
    producers = [start(tmp_path, name, 30) for name in range(4)]
    told = [int(seq) for one in producers for seq in one.communicate(timeout=100)[0].split()]
    assert [one.returncode for one in producers] == [0, 0, 0, 0]
    assert sorted(told) == list(range(1, len(told) + 1))
    promised = HighWaterFile(tmp_path / HIGH_WATER_NAME).read()
    assert promised == HighWater(OutboxReader(tmp_path).meta().epoch, len(told))
    assert check(tmp_path) == len(told)


def test_a_producer_that_is_killed_loses_nothing_that_it_was_told_and_leaves_nothing_half(
    tmp_path: Path,
) -> None:
    new_outbox(tmp_path).close()
    told: list[int] = []
    for name, lines in enumerate((1, 3, 9, 10, 12)):
        producer = start(tmp_path, name, 10_000)
        assert producer.stdout is not None
        for _ in range(lines):
            told += map(int, producer.stdout.readline().split())
        os.kill(producer.pid, signal.SIGKILL)
        told += map(int, producer.stdout.read().split())
        producer.stdout.close()
        producer.wait(timeout=20)
        promised = HighWaterFile(tmp_path / HIGH_WATER_NAME).read()
        assert promised is not None
        assert promised.seq >= max(told)
        assert check(tmp_path) >= max(told)
    assert len(set(told)) == len(told) > 100


def test_a_single_enqueue_gets_its_turn_while_another_process_enqueues_many(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    producer = start(tmp_path, 1, 400)
    assert producer.stdout is not None
    producer.stdout.readline()
    waits_s = []
    for n in range(40):
        began_s = time.monotonic()
        outbox.take([draft(n)], 1)
        waits_s.append(time.monotonic() - began_s)
    producer.communicate(timeout=100)
    outbox.close()
    assert sorted(waits_s)[len(waits_s) // 2] < 1.0
    assert check(tmp_path) > 40
