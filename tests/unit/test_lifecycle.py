"""The table of moves is what the outbox does: every one of them happens, and no other."""

from __future__ import annotations

import random
from pathlib import Path

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.lifecycle import MOVES, Move, Place
from pipeline.ports import EntryId
from schemas.lanes import Lane
from schemas.ranges import numbers
from tests.unit.outbox_rig import draft, new_outbox

SIZES = (600, 30_000, 600, 30_000)
CHUNK_BYTES = 11_000


def test_the_outbox_makes_the_moves_of_the_table_and_no_others(tmp_path: Path) -> None:
    rng = random.Random(4)
    outbox = new_outbox(tmp_path)
    reader = OutboxReader(tmp_path)
    outbox.take([draft(n, size) for n, size in enumerate(SIZES, 1)], 2_000)
    seen: dict[tuple[Place, Move], Place] = {}
    for n in range(1, 200):
        before = {seq: reader.place_of(seq) for seq in range(1, len(SIZES) + 1)}
        flying = outbox.in_flight()
        sends = not flying or rng.random() < 0.5
        if sends:
            claimed = outbox.claim(EntryId(1, n), [Lane.RECORD], 600, CHUNK_BYTES, 3_000)
            moved = [] if claimed is None else [*numbers(outbox.in_flight()[-1].seqs)]
        else:
            lost = rng.choice(flying)
            outbox.requeue([lost], 4_000)
            moved = [*numbers(lost.seqs)]
        for seq in moved:
            at, to = before[seq], reader.place_of(seq)
            assert at is not None
            assert to is not None
            sent = Move.SEND_ALL if to is Place.IN_STREAM else Move.SEND_PART
            taken_back = Move.REQUEUE if to is Place.WAITING else Move.REQUEUE_PART
            seen[at, sent if sends else taken_back] = to
    reader.close()
    outbox.close()
    assert seen == MOVES
