"""`trace` through the epochs of a region: old names, new names, what came in part, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import create_registry
from pipeline.center.holding import Hold
from pipeline.errors import NotFound
from pipeline.inspection.running import LinkState
from pipeline.inspection.trace import center_trace, region_trace
from pipeline.ports import EntryId
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.messages import Health, Run
from tests.unit.ledger_rig import EPOCH, REGION, Rig, face, packet
from tests.unit.losses_rig import FIRST, SECOND, THIRD, speak, tell
from tests.unit.outbox_rig import draft, new_outbox
from tests.unit.test_ledger_announced import announce
from workers.cli_trace_text import trace_text

# --- the center -----------------------------------------------------------------------------------


def traced(rig: Rig, epoch: str, seq: int) -> list[dict[str, Any]]:
    found = center_trace(rig.ledger.reader, PacketId(REGION, epoch, seq), rig.clock.ms)
    packets: list[dict[str, Any]] = found["packets"]
    return packets


def name(epoch: str, seq: int) -> str:
    return str(PacketId(REGION, epoch, seq))


def text(rig: Rig, epoch: str, seq: int) -> str:
    found = center_trace(rig.ledger.reader, PacketId(REGION, epoch, seq), rig.clock.ms)
    return "\n".join(trace_text(found))


def test_a_packet_is_found_by_any_of_its_names(rig: Rig) -> None:
    """Packet 3 of the first epoch is 1 of the second and 1 of the third, where it came."""
    speak(rig, FIRST, 3)
    speak(rig, SECOND, 1)
    tell(rig, SECOND, Run(epoch=FIRST, old=3, new=1))
    speak(rig, THIRD, 1)
    tell(rig, THIRD, Run(epoch=SECOND, old=1, new=1), Run(epoch=FIRST, old=3, new=1))
    rig.step(rig.batch({1: packet(3)}, epoch=THIRD))
    for epoch, seq in ((FIRST, 3), (SECOND, 1), (THIRD, 1)):
        (one,) = traced(rig, epoch, seq)
        assert (one["id"], one["now_id"], one["lost"]) == (name(THIRD, 1), None, False)
        assert one["was"] == [name(FIRST, 3), name(SECOND, 1)]
    assert f"before that {name(FIRST, 3)}, {name(SECOND, 1)}" in text(rig, FIRST, 3)


def test_a_packet_that_came_under_an_old_name_is_found_by_the_new_one(rig: Rig) -> None:
    speak(rig, FIRST, 3)
    rig.step(rig.batch({3: packet(3)}, epoch=FIRST))
    speak(rig, SECOND, 1)
    tell(rig, SECOND, Run(epoch=FIRST, old=3, new=1))
    (one,) = traced(rig, SECOND, 1)
    assert (one["id"], one["now_id"], one["was"]) == (name(FIRST, 3), name(SECOND, 1), [])


def test_what_was_announced_in_an_epoch_that_is_over_is_lost(rig: Rig) -> None:
    speak(rig, FIRST, 4)
    rig.step(announce(rig, {2: packet(2)}, epoch=FIRST))
    (one,) = traced(rig, FIRST, 2)
    assert (one["lost"], one["state"]) == (False, "ANNOUNCED")
    assert "not arrived yet" in one["why"]
    speak(rig, SECOND, 1)
    (one,) = traced(rig, FIRST, 2)
    assert (one["lost"], one["state"]) == (True, "ANNOUNCED")
    assert "not arrived yet" not in one["why"]
    assert "lost: its epoch is over and it never came" in one["why"]
    assert f"{name(FIRST, 2)}  LOST: " in text(rig, FIRST, 2)
    (one,) = traced(rig, FIRST, 4)
    assert (one["lost"], one["state"], one["size"]) == (True, "LOST", 0)
    assert f"{name(FIRST, 4)}  LOST: it was recorded, and is lost" in text(rig, FIRST, 4)
    with pytest.raises(NotFound, match="the region has not spoken of it"):
        traced(rig, FIRST, 5)
    tell(rig, SECOND, Run(epoch=FIRST, old=4, new=1))  # its region has it after all
    (one,) = traced(rig, FIRST, 4)
    assert (one["lost"], one["state"], one["now_id"]) == (False, "RECORDED", name(SECOND, 1))
    assert "not arrived yet; its region was last heard 0 s ago" in one["why"]


@pytest.mark.parametrize("told", [True, False], ids=["announced", "not announced"])
def test_of_a_packet_that_came_in_part_it_is_said_how_much(rig: Rig, told: bool) -> None:
    stored = packet(1, [face(b"x" * 50_000)])
    speak(rig, FIRST, 1)
    if told:
        rig.step(announce(rig, {1: stored}, epoch=FIRST))
    rig.step(rig.chunk(1, stored, 0, 20_000, epoch=FIRST))
    (one,) = traced(rig, FIRST, 1)
    assert one["state"] == ("ANNOUNCED" if told else "ARRIVING")
    assert (one["held_bytes"], one["size"], one["lost"]) == (20_000, len(stored), False)
    said = f"20,000 of its {len(stored):,} B are here"
    assert said in one["why"]
    assert said in text(rig, FIRST, 1)
    rig.step(rig.chunk(1, stored, 20_000, len(stored), epoch=FIRST))
    (one,) = traced(rig, FIRST, 1)
    assert (one["state"], one["held_bytes"]) == ("RECEIVED_AT_CENTRAL", len(stored))


HEALTH = Health(waiting=312, waiting_kib=41_000, goodput_bytes_s=30_000, eta_s=840)


def test_of_a_packet_that_is_not_here_its_regions_own_words_say_why(rig: Rig) -> None:
    speak(rig, FIRST, 4)
    rig.step(rig.want(epoch=FIRST, highest_seq=4, health=HEALTH))
    rig.clock.ms += 20_000
    (one,) = traced(rig, FIRST, 4)
    assert (one["state"], one["lost"], one["history"]) == ("RECORDED", False, [])
    assert one["why"] == (
        "not arrived yet; its region was last heard 20 s ago, its link carried 30 kB/s, "
        "312 packets (42.0 MB) waited there, about 14 min at its rate"
    )
    rig.ledger.hold(REGION, Hold(None, 60.0, None, "a backup", "ana", 7), 7)
    (one,) = traced(rig, FIRST, 4)
    assert one["why"].endswith("; it is held here by ana: a backup")
    with pytest.raises(NotFound, match="has not spoken of it; its region was last heard 20 s ago"):
        traced(rig, FIRST, 5)


def test_each_step_says_where_it_was(rig: Rig) -> None:
    rig.take(packet(1))
    (one,) = center_trace(rig.ledger.reader, PacketId(REGION, EPOCH, 1), rig.clock.ms)["packets"]
    steps = [(step["what"], step["place"]) for step in one["history"]]
    assert (steps[0], steps[-1]) == (("recorded", "region"), (one["state"], "center"))
    assert {place for _, place in steps[1:]} == {"center"}


# --- the region -----------------------------------------------------------------------------------


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = new_outbox(tmp_path)
    create_registry(tmp_path, 1)
    yield made
    made.close()


def at_the_region(folder: Path, query: PacketId) -> list[dict[str, Any]]:
    reader, registry = OutboxReader(folder), RegistryReader(folder)
    packets: list[dict[str, Any]] = region_trace(reader, registry, LinkState(False), query, 9_000)["packets"]
    reader.close()
    registry.close()
    return packets


def test_a_region_follows_its_packets_both_ways(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.take([draft(n) for n in (1, 2, 3)], 1)
    names = [PacketId(REGION, outbox.epoch, 3)]
    for _ in range(2):
        outbox.doubts.end(((9, 10),), 1)
        names.append(PacketId(REGION, outbox.epoch, 3))
    shown = at_the_region(tmp_path, names[0])
    assert [one["id"] for one in shown] == [str(one) for one in names]
    assert [one["now_id"] for one in shown] == [str(names[1]), str(names[2]), None]
    (one,) = at_the_region(tmp_path, names[2])
    assert one["was"] == [str(names[0]), str(names[1])]


def test_a_region_says_that_a_packet_is_damaged_not_that_it_waits(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    outbox.take([draft(n) for n in (1, 2)], 1)
    outbox.connection.execute("UPDATE body SET stored = x'ff' || substr(stored, 2) WHERE seq = 1")
    outbox.claim(EntryId(1, 1), tuple(Lane), 20_000, 20_000, 3_000)
    damaged = PacketId(REGION, outbox.epoch, 1)
    (one,) = at_the_region(tmp_path, damaged)
    assert "it is damaged on this disk" in one["why"]
    (other,) = at_the_region(tmp_path, PacketId(REGION, outbox.epoch, 2))
    assert "damaged" not in other["why"]
    outbox.doubts.end(((9, 10),), 1)
    (one,) = at_the_region(tmp_path, damaged)
    assert "it is damaged on this disk" in one["why"]
