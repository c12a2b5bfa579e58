"""Several processes at one ledger at once: nothing fails, and no number is given twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.outcomes import Item
from pipeline.center.reading import read_frame
from pipeline.center.rules import Verdict
from pipeline.center.validation import Validation
from pipeline.errors import NotFound, StoreError
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.messages import Join
from schemas.verdicts import Reason, Status
from tests.unit.ledger_rig import CENTER_KEY, EPOCH, REGION, TOKEN, Places, Rig, face, packet

REGIONS = ("1801", "1802", "1803")
BATCHES, A_BATCH = 6, 5


def all_at_once(*todo: Callable[[], object]) -> None:
    """Each in a thread of its own, begun together; raises what the first of them raised."""
    begin = Barrier(len(todo))

    def run(one: Callable[[], object]) -> None:
        begin.wait(30)
        one()

    with ThreadPoolExecutor(len(todo)) as pool:
        for done in [pool.submit(run, one) for one in todo]:
            done.result(100)


def test_processes_that_start_at_once_make_one_ledger(places: Places) -> None:
    with places() as place:
        all_at_once(*[lambda: SqlLedger(place).close()] * 6)
        with closing(SqlLedger(place)) as ledger:
            assert ledger.admit(REGION, TOKEN, 1)
            assert ledger.regions() == (REGION,)


def test_who_only_looks_makes_no_ledger(places: Places) -> None:
    with places() as place:
        for _ in range(2):
            with pytest.raises(NotFound):
                LedgerReader.open(place)


def _intake_of(rig: Rig, region: str) -> Callable[[], None]:
    """Takes in batches of a region; its citizens' faces are those of the other regions' citizens."""
    key = PrivateKey.generate(region)
    rig.ledger.admit(region, TOKEN, 1)
    rig.ledger.bind(
        region, key.public, Join(token=TOKEN, sign=key.public.raw.sign, seal=key.public.raw.seal), 1
    )
    frames = [
        rig.batch(
            {seq: packet(seq, [face(b"%d" % seq)]) for seq in range(1 + n * A_BATCH, 1 + (n + 1) * A_BATCH)},
            region=region,
            ours=key,
        )
        for n in range(BATCHES)
    ]

    def run() -> None:
        with closing(SqlLedger(rig.place)) as ledger:
            ledger.refresh_keys()
            for frame in [*frames, frames[0]]:
                read = read_frame(frame, region, ledger.signer_of, {CENTER_KEY.id: CENTER_KEY}.get)
                ledger.take_in(region, [Item("up", frame, read)], 0, rig.clock.ms)

    return run


def _validator_of(place: Path | str, now_ms: int, packets: int) -> Callable[[], None]:
    def run() -> None:
        with closing(SqlLedger(place)) as ledger:
            validation = Validation(ledger)
            for _ in range(10_000):
                try:
                    validation.step(now_ms, 7)
                except StoreError as why:
                    if "faster" not in str(why):  # the other validator was: that is no failure
                        raise
                counts = ledger.reader.counts()
                if counts.received == packets and not counts.unverdicted:
                    return
            raise AssertionError(counts)

    return run


def _lives_of(place: Path | str) -> Callable[[], None]:
    """The center starts again and again, and lets regions in."""

    def run() -> None:
        with closing(SqlLedger(place)) as ledger:
            for n in range(12):
                ledger.open_incarnation(n)
                ledger.admit(f"19{n:02d}", TOKEN, n)
                ledger.probe()

    return run


@pytest.mark.timeout(110)
def test_intake_validation_starts_and_admissions_go_on_together(rig: Rig) -> None:
    each = BATCHES * A_BATCH
    validators = [_validator_of(rig.place, rig.clock.ms, each * len(REGIONS)) for _ in range(2)]
    lives = [_lives_of(rig.place) for _ in range(2)]
    all_at_once(*(_intake_of(rig, region) for region in REGIONS), *validators, *lives)
    reader = rig.ledger.reader
    for region in REGIONS:
        rows = [reader.packet(PacketId(region, EPOCH, seq)) for seq in range(1, each + 1)]
        numbers = [row.fact_no for row in rows if row is not None]
        standing = rig.ledger.standing(region)
        assert standing is not None
        assert len(set(numbers)) == each
        assert max(numbers) <= standing.facts_no
        assert {row.status for row in rows if row is not None} <= {
            Status.PRINT_READY_RECORD,
            Status.DUPLICATE_RECORD,
            Status.ADJUDICATE_RECORD,
        }
    counts = reader.counts()
    assert min(counts.by_status.values()) > 0  # a tally never goes below zero
    assert sum(counts.by_status.values()) == each * len(REGIONS) == counts.counters["received"]
    assert counts.counters["duplicates"] == A_BATCH * len(REGIONS)


def test_every_life_after_its_admission_is_known_of_a_region(rig: Rig) -> None:
    codes = (f"17{n:02d}" for n in count())
    for _ in range(10):
        before = {code: len(rig.ledger.since_of(code)) for code in rig.ledger.regions()}
        code = next(codes)

        def admit(code: str = code) -> None:
            with closing(SqlLedger(rig.place)) as ledger:
                ledger.admit(code, TOKEN, 1)

        all_at_once(admit, lambda: rig.ledger.open_incarnation(2))
        assert {code: len(rig.ledger.since_of(code)) - n for code, n in before.items()} == dict.fromkeys(
            before, 1
        )
        now = rig.ledger.reader.incarnation()
        assert now is not None
        assert rig.ledger.since_of(code)[-1].incarnation == now[0]


def test_a_reason_that_quotes_a_nul_is_said_and_stored(rig: Rig) -> None:
    reason = Reason("odd_name", "SITI\0")
    refuses = {"ours": lambda _: Verdict(Status.ENROLL_FAILURE_AT_CENTRAL, (reason,))}
    rig.validation = Validation(rig.ledger, refuses)
    assert rig.take(packet(1)) == {1: (Status.ENROLL_FAILURE_AT_CENTRAL, (reason,))}
    events = rig.ledger.reader.events(PacketId(REGION, EPOCH, 1))
    assert events[-1].detail == "odd_name: SITI\N{REPLACEMENT CHARACTER}"
