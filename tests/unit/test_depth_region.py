"""A region's document of `depth`: it costs the same however much waits."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import create_registry
from pipeline.inspection.depth import region_depth
from pipeline.inspection.running import LinkState
from tests.unit.outbox_rig import draft, new_outbox


def steps_of(folder: Path, packets: int) -> int:
    """Steps of SQLite's machine that one look takes, in hundreds."""
    folder.mkdir()
    outbox = new_outbox(folder)
    create_registry(folder, 1)
    outbox.take([draft(n) for n in range(packets)], 1)
    outbox.close()
    reader, registry, steps = OutboxReader(folder), RegistryReader(folder), [0]

    def count() -> bool:
        steps[0] += 1
        return False

    reader._database.db.set_progress_handler(count, 100)
    found = region_depth(reader, registry, LinkState(False), now_ms=9_000, free_bytes=1, low_water_bytes=0)
    reader.close()
    registry.close()
    assert found["waiting"] == packets
    return steps[0]


def test_a_look_costs_the_same_however_much_waits(tmp_path: Path) -> None:
    assert steps_of(tmp_path / "many", 3_000) <= steps_of(tmp_path / "few", 3) + 2
