"""Region and center compare what they hold over an in-memory link, and put right what differs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.ledger_compare import ANSWERERS
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.center.answers import ANSWERS
from pipeline.center.deliver import Deliver, Delivered
from pipeline.errors import Unreachable
from pipeline.region.reconcile import Mend
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.verdicts import Status
from workers.reconciled import Reconciled
from workers.reconciling import Reconciler


class Comparing(World):
    """A world whose center answers comparisons; `down_bytes` went down since it was made."""

    down_bytes = 0

    def _start_center(self) -> None:
        super()._start_center()
        end = self.link.center_end()
        self.deliver = Deliver(
            self.ledger, end, self.clock, self.center_key, answers={**ANSWERS, **ANSWERERS}
        )

    def step_deliver(self) -> Delivered:
        done = super().step_deliver()
        self.down_bytes += done.bytes
        return done

    def reconcile(
        self, *, dry_run: bool = False, pause: Callable[[], object] | None = None, timeout_s: float = 60
    ) -> Reconciled:
        records = RegistryCompare(self.region_folder)
        try:
            waits = pause or (lambda: self.round(0.3))
            return Reconciler(
                self.outbox, self.registry, records, self.clock, waits, timeout_s=timeout_s
            ).run(dry_run=dry_run)
        finally:
            records.close()

    def registry_does(self, statement: str, *values: Any) -> Any:
        """Change the region's registry behind its back; returns the first value that comes of it."""
        with self.registry._database.write() as db:
            return db.execute(statement, values).get

    def outbox_does(self, statement: str, *values: Any) -> None:
        """The same for its outbox."""
        with self.outbox._database.write() as db:
            db.execute(statement, values)

    def restore_ledger_unnoticed(self, copy: Path) -> None:
        """An older copy of the ledger's file is put in place, and nothing says so: the same life goes on."""
        self.ledger.close()
        for part in self.folder.glob("ledger.db*"):
            part.unlink()
        for part in copy.iterdir():
            shutil.copy(part, self.folder)
        self.ledger = SqlLedger(self._ledger_path)
        self._start_center()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Comparing]:
    one = Comparing(tmp_path)
    yield one
    one.close()


def fill(world: World, n: int, seed: int = 1) -> None:
    for line in sample_lines(n, seed=seed):
        world.enqueue(line)
    assert world.arrive() < 300


def test_equal_sides_say_so_in_little_traffic(world: Comparing) -> None:
    fill(world, 200)
    before = world.down_bytes
    done = world.reconcile()
    assert done.equal
    assert done.well
    assert (done.records, done.packets) == (200, 200)
    assert world.down_bytes - before < 3_000
    assert abs(world.down_bytes - before - done.bytes_down) < 1_500, "what it says it took is about right"


def test_a_bit_that_flipped_in_a_record_is_noticed_and_the_record_fetched_again(world: Comparing) -> None:
    fill(world, 150)
    head = bytearray(world.registry_does("SELECT head FROM record WHERE id = 77"))
    head[-5] ^= 1
    world.registry_does("UPDATE record SET head = ? WHERE id = 77", bytes(head))
    done = world.reconcile()
    assert done.found == done.repaired == {Mend.FETCH: 1}
    world.check()
    assert world.reconcile().equal


def test_a_record_that_is_gone_or_pretends_to_be_newer_is_the_center_s_again(world: Comparing) -> None:
    fill(world, 150)
    world.registry_does("DELETE FROM record WHERE id IN (3, 4, 120)")
    world.registry_does("UPDATE record SET version = 1000 WHERE id = 50")
    assert world.reconcile().repaired == {Mend.FETCH: 4}
    world.check()


def test_a_record_that_only_the_region_has_is_named_and_stays(world: Comparing) -> None:
    fill(world, 30)
    world.registry_does(
        "INSERT INTO record(nik, version, record_no, status, epoch, seq, head) "
        "SELECT 1806019901900001, version, record_no, status, epoch, seq, head FROM record WHERE id = 1"
    )
    done = world.reconcile()
    assert done.found == {Mend.ONLY_HERE: 1}
    assert not done.well
    assert done.niks == ["1806019901900001"]
    assert world.registry_does("SELECT count(*) FROM record") == 31


def test_a_dry_run_names_what_differs_and_changes_nothing(world: Comparing) -> None:
    fill(world, 50)
    world.registry_does("DELETE FROM record WHERE id = 9")
    world.outbox_does("UPDATE packet SET status = 1 WHERE seq = 7")
    for _ in range(2):
        done = world.reconcile(dry_run=True)
        assert done.found == {Mend.SETTLE: 1, Mend.FETCH: 1}
        assert not done.well
        assert not done.repaired


def test_a_word_that_never_came_is_settled_at_its_place(world: Comparing) -> None:
    fill(world, 50)
    world.outbox_does("UPDATE packet SET status = 1, fact_no = 1000000 WHERE seq BETWEEN 7 AND 9")
    assert world.reconcile().repaired == {Mend.SETTLE: 3}
    world.check()
    fact_no = world.outbox.connection.execute("SELECT max(fact_no) FROM packet").get
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert fact_no <= standing.facts_no


def test_what_is_on_its_way_is_no_difference(world: Comparing) -> None:
    fill(world, 40)
    lines = iter(sample_lines(400, seed=9))

    def busy() -> None:
        for _ in range(5):
            if (line := next(lines, None)) is not None:
                world.enqueue(line)
        world.round(0.3)

    for _ in range(5):
        busy()
        done = world.reconcile(pause=busy)
        assert done.well
        assert not done.found
    assert world.arrive() < 300
    world.check()


def test_a_ledger_that_went_back_behind_the_cursors_is_noticed_and_gets_everything_again(
    world: Comparing,
) -> None:
    """The same life of the ledger goes on from an older copy, so no rewind is ever said; and its numbers have
    passed the region's cursors again when the region looks."""
    fill(world, 20)
    copy = world.back_up_ledger()
    fill(world, 10, seed=2)
    world.restore_ledger_unnoticed(copy)
    for line in sample_lines(60, seed=3):
        world.enqueue(line)
    for _ in range(40):
        world.round()
    with pytest.raises(AssertionError):
        world.check()
    done = world.reconcile()
    assert done.well
    assert done.repaired[Mend.SEND] == 10
    for _ in range(20):
        world.round()
    world.reconcile()
    assert world.arrive() < 300
    world.check()
    assert world.reconcile().equal


def test_a_ledger_whose_numbers_are_below_what_it_said_is_taken_at_its_word(world: Comparing) -> None:
    fill(world, 20)
    copy = world.back_up_ledger()
    fill(world, 10, seed=2)
    world.restore_ledger_unnoticed(copy)
    done = world.reconcile()
    assert done.went_back > 0
    assert done.repaired.get(Mend.SEND) is None, "what is taken back waits by itself"
    assert world.arrive() < 300
    world.check()
    assert world.reconcile().equal


def test_other_contents_under_the_same_identity_are_a_doubt_and_never_merged(world: Comparing) -> None:
    fill(world, 20)
    world.outbox_does("UPDATE packet SET digest = ? WHERE seq = 5", bytes(32))
    done = world.reconcile()
    assert done.found == {Mend.SUSPECT: 1}
    assert not done.well
    assert world.outbox.connection.execute("SELECT first, stop FROM suspect").fetchall() == [(5, 6)]


def test_a_packet_whose_attachments_are_deleted_is_not_sent_again_but_named(world: Comparing) -> None:
    fill(world, 20)
    copy = world.back_up_ledger()
    fill(world, 1, seed=2)
    world.outbox_does("UPDATE packet SET pruned_ms = 5 WHERE seq = 21")
    world.restore_ledger_unnoticed(copy)
    fill(world, 5, seed=3)
    done = world.reconcile()
    assert done.found[Mend.PRUNED] == 1
    assert done.packet_ids == [str(next(iter(list(world.enqueued)[20:21])))]


def test_a_reconciliation_that_is_cut_off_anywhere_leaves_no_question_and_the_next_one_finishes(
    world: Comparing,
) -> None:
    fill(world, 60)

    def cut_after(pauses: int) -> Callable[[], None]:
        left = iter(range(pauses))

        def pause() -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            world.round(0.3)

        return pause

    for pauses in range(30):
        world.registry_does("DELETE FROM record WHERE id % 5 = 0")
        world.outbox_does("UPDATE packet SET status = 1 WHERE seq % 7 = 0")
        try:
            done = world.reconcile(pause=cut_after(pauses))
        except KeyboardInterrupt:
            assert world.registry.asks() == ()
        else:
            assert done.well
            break
    assert pauses > 5, "it was cut off at several places"
    world.reconcile()
    world.check()


def test_a_center_that_does_not_answer_is_said_to_be_not_reached(world: Comparing) -> None:
    fill(world, 20)
    with pytest.raises(Unreachable, match="answered nothing for 30 s"):
        world.reconcile(pause=lambda: world.clock.advance(1.0), timeout_s=30)
    assert world.registry.asks() == ()


def test_packets_of_an_earlier_epoch_are_compared_too(world: Comparing) -> None:
    fill(world, 20)
    epoch = world.outbox.epoch
    world.outbox_does(
        "INSERT INTO past(epoch, seq, lane, kind, size, digest, key, nik, at_ms, status, fact_no) "
        "SELECT 'zzzzzz', seq, lane, kind, size, digest, key, nik, at_ms, 2, fact_no FROM packet "
        "WHERE seq < 4"
    )
    done = world.reconcile()
    assert done.found == {Mend.OLD: 3}
    assert done.epochs == 2
    assert world.outbox.epoch == epoch
    assert done.statuses == {}
    assert not done.well
    assert Status.PRINT_READY_RECORD in done.days[0].ours
