"""What a reconciliation costs: `python -m tests.benchmarks.reconcile [RECORDS] [PACKETS]`.

Both sides' real stores, filled by SQL; frames are made, sealed, read and applied as ever, over a link in
memory, so that seconds are those of the two machines' work (one core here) and bytes those of the frames. A
line adds its round trips: one where nothing differs.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.adapters.ledger_compare import ANSWERERS
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.center.answers import ANSWERS
from pipeline.center.deliver import Deliver, Delivered
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from tests.benchmarks import big_ledger
from tests.benchmarks.figures import table
from workers.reconciled import Reconciled
from workers.reconciling import Reconciler

_ROW = "INSERT INTO record(nik, version, record_no, status, epoch, seq, head) VALUES (?, 1, ?, ?, ?, ?, ?)"


class Compared(World):
    """A world that counts the bytes of its frames."""

    up_bytes = down_bytes = 0

    def _start_center(self) -> None:
        super()._start_center()
        end = self.link.center_end()
        self.deliver = Deliver(
            self.ledger, end, self.clock, self.center_key, answers={**ANSWERS, **ANSWERERS}
        )

    def _start_region(self) -> None:
        super()._start_region()
        send = self.push.link.send_control

        def counted(frame: bytes) -> None:
            self.up_bytes += len(frame)
            send(frame)

        self.push.link.send_control = counted  # type: ignore[method-assign]

    def step_deliver(self) -> Delivered:
        done = super().step_deliver()
        self.down_bytes += done.bytes
        return done

    def reconcile(self) -> Reconciled:
        """One of them; while it waits both sides move."""
        records = RegistryCompare(self.region_folder)
        try:
            work = Reconciler(
                self.outbox, self.registry, records, self.clock, lambda: self.round(0.5), timeout_s=600
            )
            return work.run()
        finally:
            records.close()


def fill(world: Compared, count: int) -> None:
    """The same records on both sides, each in its own store."""
    big_ledger.fill(world.folder / "ledger.db", world.region, count, count // 300)
    with world.registry._database.write() as db, world.ledger.reader._store.read() as ledger:
        found = ledger.exec_driver_sql(
            "SELECT nik, record_no, status, seq, stored FROM record JOIN body USING(epoch_id, seq)"
        )
        for nik, number, status, seq, stored in found:
            db.execute(_ROW, (int(nik), number, status, big_ledger.EPOCH, seq, stored))
        db.execute("UPDATE meta SET value = ? WHERE key IN ('facts', 'records')", (count,))
    standing = world.ledger.standing(world.region)
    assert standing is not None
    world.registry.adopt(standing.since[-1])
    with world.outbox._database.write() as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'settled_to'", (count,))


def damage(world: Compared) -> None:
    """Ten records of the region say something else, and ten are gone."""
    with world.registry._database.write() as db:
        rows: list[Any] = db.execute("SELECT id, head FROM record WHERE id % 7919 = 3 LIMIT 10").fetchall()
        for number, head in rows:
            db.execute("UPDATE record SET head = ? WHERE id = ?", (head[:-1] + b"\x00", number))
        db.execute(
            "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE id % 7919 = 11 AND id > 5 LIMIT 10)"
        )


def measured(world: Compared, what: str) -> tuple[str, ...]:
    """One reconciliation, as a row of the table."""
    up, down, began_s, cpu_s = world.up_bytes, world.down_bytes, time.perf_counter(), time.process_time()
    done = world.reconcile()
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    said = "equal" if done.equal else f"{done.differences} differ, {done.differences - done.left} repaired"
    up, down = world.up_bytes - up, world.down_bytes - down
    return (what, said, f"{took_s:.2f}", f"{used_s:.2f}", f"{up:,}", f"{down:,}", f"{up + down:,}")


def main(count: int, packets: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        world = Compared(Path(name))
        fill(world, count)
        world.round()
        rows = [measured(world, f"{count:,} equal records")]
        rows.append(measured(world, "the same again"))
        damage(world)
        rows.append(measured(world, "10 changed, 10 gone"))
        for line in sample_lines(packets, seed=4):
            world.enqueue(line)
        world.arrive(2_000)
        rows.append(measured(world, f"and {packets:,} packets"))
        world.close()
    print(table(("what", "found", "s", "CPU s", "bytes up", "bytes down", "bytes"), rows))
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB (both sides)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 600_000, int(sys.argv[2]) if sys.argv[2:] else 2_000)
