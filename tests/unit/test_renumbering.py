"""What packets were called before: listed by the outbox, told in wants as far as the center does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.outbox_loss import begin_epoch
from pipeline.adapters.outbox_renumbered import LEVELS_MAX, OutboxNames
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.sqlite import Database
from pipeline.region.renumbering import Renumbering
from schemas.messages import RUNS_MAX, Ack, Run, Since, Want, pack_message
from schemas.verdicts import Status
from tests.unit.ledger_rig import Rig
from tests.unit.losses_rig import known, speak
from tests.unit.outbox_rig import SMALL_DISK, draft, group, new_outbox

EPOCH = "k3v9qa"


def want(n: int, epoch: str = EPOCH) -> Want:
    return Want(
        n=n,
        instance="i",
        grant=1,
        session=1,
        epoch=epoch,
        highest_seq=9,
        clock_ms=0,
        facts=0,
        records=0,
        level=1,
    )


def ack(n: int, renumbered: int = 0, epoch: str = EPOCH, incarnation: str = "first") -> Ack:
    return Ack(
        n=n,
        instance="i",
        grant=1,
        session=1,
        since=Since(incarnation=incarnation),
        facts_top=0,
        records_top=0,
        window_bytes=1,
        epoch=epoch,
        renumbered=renumbered,
        clock_ms=0,
    )


@dataclass
class Names:
    """So many names, each a run of its own."""

    n: int
    asked: list[tuple[int, int]] = field(default_factory=list)

    def count(self, epoch: str) -> int:
        return self.n

    def runs(self, epoch: str, after: int, limit: int) -> Sequence[Run]:
        self.asked.append((after, limit))
        return [
            Run(epoch="aaaaaa", old=2 * i + 1, new=i + 1) for i in range(after, min(self.n, after + limit))
        ]


# --- the voice ----------------------------------------------------------------------------------------


def test_nothing_is_told_before_the_center_has_said_how_much_it_knows() -> None:
    voice = Renumbering(Names(5))
    assert not voice.news()
    assert voice.ask(want(1)).renumbered == []
    voice.hear(ack(1), 0)
    assert voice.news()
    assert len(voice.ask(want(2)).renumbered) == 5
    assert voice.holds() == ""


def test_it_goes_on_from_what_the_center_knows_until_it_knows_all() -> None:
    names = Names(RUNS_MAX + 30)
    voice = Renumbering(names)
    voice.ask(want(1))
    voice.hear(ack(1), 0)
    told = voice.ask(want(2)).renumbered
    assert len(told) == RUNS_MAX
    assert len(pack_message(want(2).model_copy(update={"renumbered": told}))) < 16_384
    assert not voice.news()  # it waits for the answer
    voice.hear(ack(2, RUNS_MAX), 0)
    assert voice.news()
    assert [run.new for run in voice.ask(want(3)).renumbered] == list(range(RUNS_MAX + 1, RUNS_MAX + 31))
    voice.hear(ack(3, RUNS_MAX + 30), 0)
    assert not voice.news()
    assert voice.ask(want(4)).renumbered == []
    assert names.asked == [(0, RUNS_MAX), (RUNS_MAX, RUNS_MAX)]


def test_a_want_that_was_lost_is_told_again() -> None:
    voice = Renumbering(Names(3))
    voice.ask(want(1))
    voice.hear(ack(1), 0)
    assert len(voice.ask(want(2)).renumbered) == 3
    assert len(voice.ask(want(3)).renumbered) == 3
    voice.hear(ack(3, 3), 0)
    assert voice.ask(want(4)).renumbered == []


def test_an_ack_of_before_it_was_told_says_nothing_against_the_center() -> None:
    voice = Renumbering(Names(3))
    voice.ask(want(1))
    voice.hear(ack(1), 0)
    voice.ask(want(3))
    voice.hear(ack(2), 0)
    assert len(voice.ask(want(4)).renumbered) == 3


def test_a_center_that_takes_none_is_told_once_in_each_of_its_lives() -> None:
    voice = Renumbering(Names(3))
    voice.ask(want(1))
    voice.hear(ack(1), 0)
    voice.ask(want(2))
    voice.hear(ack(2), 0)
    assert not voice.news()
    assert voice.ask(want(3)).renumbered == []
    voice.hear(ack(3, incarnation="second"), 0)
    assert voice.news()
    assert len(voice.ask(want(4)).renumbered) == 3


def test_a_center_that_was_restored_is_told_again_what_it_forgot() -> None:
    voice = Renumbering(Names(3))
    voice.ask(want(1))
    voice.hear(ack(1, 3), 0)
    assert not voice.news()
    voice.hear(ack(2, 1, incarnation="second"), 0)
    assert [run.new for run in voice.ask(want(3)).renumbered] == [2, 3]


def test_a_new_epoch_begins_from_its_own_names() -> None:
    voice = Renumbering(Names(3))
    voice.ask(want(1))
    voice.hear(ack(1, 3), 0)
    assert voice.ask(want(2, "bbbbbb")).renumbered == []
    voice.hear(ack(2, 1), 0)  # of the epoch before
    assert not voice.news()
    voice.hear(ack(3, 0, "bbbbbb"), 0)
    assert len(voice.ask(want(4, "bbbbbb")).renumbered) == 3


# --- the outbox ---------------------------------------------------------------------------------------


def go_on(outbox: SqliteOutbox) -> SqliteOutbox:
    """A new epoch begins; returns the outbox, opened anew."""
    folder = outbox.folder
    outbox.close()
    database = Database(folder / FILE_NAME, LAYOUT)
    with database.write() as db:
        books = Books(db, 2_000, 1_000)
        begin_epoch(db, books, "loss")
        books.close()
    database.close()
    (folder / "highest-seq").unlink(missing_ok=True)
    return SqliteOutbox(folder, SMALL_DISK)


def settle(outbox: SqliteOutbox, *seqs: int) -> None:
    at = outbox.settled_to()
    for seq in seqs:
        at += 1
        said = group(outbox, ((seq, seq + 1),), Status.PRINT_READY_RECORD)
        outbox.settle([(at, said)], at, 1_000)


def listed(folder: Path, epoch: str, after: int = 0, limit: int = 100) -> list[tuple[str, int, int, int]]:
    names = OutboxNames(folder)
    found = names.runs(epoch, after, limit)
    names.close()
    return [(run.epoch, run.old, run.new, run.count) for run in found]


def counted(folder: Path, epoch: str) -> int:
    names = OutboxNames(folder)
    found = names.count(epoch)
    names.close()
    return found


def test_an_outbox_in_its_first_epoch_has_no_older_names(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1)], 1_000)
    assert (counted(tmp_path, outbox.epoch), listed(tmp_path, outbox.epoch)) == (0, [])
    assert (counted(tmp_path, "zzzzzz"), listed(tmp_path, "zzzzzz")) == (0, [])
    outbox.close()


def test_what_the_center_has_not_spoken_of_is_listed_in_runs(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    first = outbox.epoch
    outbox.take([draft(n) for n in range(1, 8)], 1_000)
    settle(outbox, 1, 4)
    outbox = go_on(outbox)
    assert listed(tmp_path, outbox.epoch) == [(first, 2, 1, 2), (first, 5, 3, 3)]
    assert counted(tmp_path, outbox.epoch) == 5
    assert listed(tmp_path, outbox.epoch, 1) == [(first, 3, 2, 1), (first, 5, 3, 3)]
    assert listed(tmp_path, outbox.epoch, 2, 1) == [(first, 5, 3, 3)]
    assert listed(tmp_path, outbox.epoch, 5) == []
    outbox.close()


def test_names_of_three_epochs_are_chains_to_where_the_packet_is_now(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    first = outbox.epoch
    outbox.take([draft(n) for n in range(1, 7)], 1_000)
    settle(outbox, 2)
    outbox = go_on(outbox)  # 1 3 4 5 6 are 1 2 3 4 5
    second = outbox.epoch
    outbox.take([draft(7)], 1_000)  # 6
    settle(outbox, 1, 3)
    outbox = go_on(outbox)  # 2 4 5 6 are 1 2 3 4
    assert listed(tmp_path, outbox.epoch) == [
        (second, 2, 1, 1),
        (second, 4, 2, 3),
        (first, 3, 1, 1),
        (first, 5, 2, 2),
    ]
    assert counted(tmp_path, outbox.epoch) == 7
    whole = listed(tmp_path, outbox.epoch)
    for after in range(8):
        rest = sum(run[3] for run in listed(tmp_path, outbox.epoch, after))
        assert rest == 7 - after
    assert listed(tmp_path, outbox.epoch, 4) == whole[2:]
    outbox.close()


def test_names_are_followed_a_bounded_number_of_epochs_back(tmp_path: Path) -> None:
    outbox = new_outbox(tmp_path)
    outbox.take([draft(1)], 1_000)
    for _ in range(LEVELS_MAX + 3):
        outbox = go_on(outbox)
    assert counted(tmp_path, outbox.epoch) == LEVELS_MAX
    outbox.close()


# --- both ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a_want", [1, 3, RUNS_MAX])
def test_the_center_comes_to_know_them_all(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_want: int
) -> None:
    monkeypatch.setattr("pipeline.region.renumbering.RUNS_MAX", a_want)
    monkeypatch.setattr("pipeline.adapters.ledger_was.ROWS_A_WANT", 2)
    outbox = new_outbox(tmp_path)
    outbox.take([draft(n) for n in range(1, 9)], 1_000)
    settle(outbox, 3)
    speak(rig, outbox.epoch, 8)
    outbox = go_on(outbox)
    settle(outbox, 4)
    outbox = go_on(outbox)
    epoch, names = outbox.epoch, OutboxNames(tmp_path)
    voice = Renumbering(names)
    for n in range(1, 40):
        said = voice.ask(want(n, epoch))
        rig.step(rig.want(epoch=epoch, renumbered=said.renumbered))
        voice.hear(ack(n, known(rig, epoch), epoch), 0)
        if n > 1 and not voice.news():
            break
    assert known(rig, epoch) == names.count(epoch) == 12
    names.close()
    outbox.close()
