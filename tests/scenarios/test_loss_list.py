"""A disk dies: the region's new machine learns whom to ask again, and nobody else."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters import ledger_losses
from pipeline.adapters.ledger_losses import LedgerLosses
from pipeline.center.answers import ANSWERS
from pipeline.center.deliver import Deliver
from pipeline.inspection.losses import last_count
from pipeline.region.announcing import LARGE_S
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.asks import LOSSES
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.losses import unpack_losses
from schemas.nik import nik_hash
from tests.scenarios.test_announced import Gate, Office


def test_a_new_machine_learns_exactly_what_the_old_one_never_sent(tmp_path: Path) -> None:
    world = World(tmp_path)
    office = Office(world, Gate())
    lines = list(sample_lines(8, seed=5, biometrics=5))
    ids = {world.enqueue(line): line for line in lines}
    office.gate.closed = {Lane.BIOMETRIC}
    office.rounds(int(LARGE_S) + 20)
    for line in sample_lines(3, seed=6, biometrics=3):  # a want names them, and nothing announces them
        world.enqueue(line)
    world.push.speaker.repeat()
    world.step_push()
    world.step_intake()
    top = world.outbox.highest_seq()
    missing = {one: line for one, line in ids.items() if world.ledger.reader.packet(one) is None}
    told = {row.id for row in world.ledger.reader.announced()}
    assert told == set(missing) != set()
    world.rebuild_region()
    world.deliver = Deliver(
        world.ledger,
        world.link.center_end(),
        world.clock,
        world.center_key,
        answers={**ANSWERS, LOSSES: ledger_losses.answer},
    )
    assert world.arrive() < 300
    number = world.registry.ask(LOSSES, b"", world.clock.now_ms())
    assert world.arrive() < 300
    answer = world.registry.answered(number)
    assert answer is not None
    said = unpack_losses(answer.payloads)
    assert list(said.losses) == LedgerLosses.of(world.ledger.reader).losses(world.region)
    assert said.packets == len(missing) + 3
    assert last_count(world.region_folder) == (said.packets, answer.answered_ms)
    known = {PacketId(world.region, one.epoch, one.seq): one for one in said.losses if one.nik}
    assert {one: loss.nik for one, loss in known.items()} == {
        one: nik_hash(line["payload"]["nik"])[:8] for one, line in missing.items()
    }
    (gap,) = [one for one in said.losses if not one.nik]
    assert (gap.seq, gap.packets) == (top - 2, 3)
    world.close()
