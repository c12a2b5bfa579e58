"""The order of epochs: what the ledger makes of `Want.earlier`, and when the region says it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from sqlalchemy import select

from pipeline.adapters.ledger_bundles import LedgerBundles
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_tables import EPOCH
from pipeline.center.importing import Import
from pipeline.region.earlier import Earlier
from schemas.keys import PrivateKey
from schemas.messages import EARLIER_MAX, Ack, Join, Since, Want
from tests.unit.ledger_rig import CENTER_KEY, REGION, REGION_KEY, Rig, packet
from tests.unit.losses_rig import FIRST, SECOND, THIRD, lost, names

# --- the ledger -----------------------------------------------------------------------------------


def order(rig: Rig) -> list[str]:
    store = open_store(rig.place)
    with store.read() as connection:
        rows = connection.execute(
            select(EPOCH.c.epoch, EPOCH.c.ord).where(EPOCH.c.region == REGION).order_by(EPOCH.c.ord)
        ).all()
    store.close()
    assert len({row.ord for row in rows}) == len(rows)
    return [row.epoch for row in rows]


def test_epochs_that_nobody_had_heard_of_come_before_the_one_that_speaks(rig: Rig) -> None:
    rig.step(rig.want(epoch=THIRD, earlier=[FIRST, SECOND]))
    assert order(rig) == [FIRST, SECOND, THIRD]


def test_an_epoch_that_is_told_late_goes_between_those_that_are_known(rig: Rig) -> None:
    rig.step(rig.want(epoch=FIRST))
    rig.step(rig.want(epoch=THIRD))
    rig.step(rig.want(epoch=THIRD, earlier=["dddddd", FIRST, SECOND, "eeeeee"]))
    wanted = ["dddddd", FIRST, SECOND, "eeeeee", THIRD]
    assert order(rig) == wanted
    rig.step(rig.want(epoch=THIRD, earlier=["eeeeee", FIRST, "eeeeee", THIRD]))  # nonsense moves nothing
    assert order(rig) == wanted


def test_what_comes_of_an_epoch_that_was_told_so_late_is_of_one_that_is_over(rig: Rig) -> None:
    rig.step(rig.want(epoch=SECOND, earlier=[FIRST]), rig.batch({1: packet(1), 3: packet(3)}, epoch=FIRST))
    assert names(lost(rig)) == [(FIRST, 2, 1, "never announced")]


def test_what_a_key_signed_that_is_retired_is_of_an_epoch_before_the_one_that_speaks(rig: Rig) -> None:
    """It comes by a bundle or from a mirror, and nobody had heard of its epoch."""
    old = PrivateKey.generate(REGION)
    for key in (old, REGION_KEY):
        token = b"a token for " + key.id
        rig.ledger.admit(REGION, token, 1)
        rig.ledger.bind(
            REGION, key.public, Join(token=token, sign=key.public.raw.sign, seal=key.public.raw.seal), 1
        )
    rig.step(rig.want(epoch=THIRD))
    with closing(LedgerBundles(rig.place)) as ledger:
        work = Import(REGION, rig.ledger, ledger, [CENTER_KEY], rig.clock)
        work.take(rig.batch({1: packet(1)}, epoch=FIRST, ours=old))
        assert work.finish().new == 1
    rig.step(rig.batch({1: packet(2)}, epoch=SECOND, ours=old))
    assert order(rig) == [FIRST, SECOND, THIRD]
    rig.step(rig.batch({1: packet(3)}, epoch="dddddd"))  # under the key that holds: what follows
    assert order(rig) == [FIRST, SECOND, THIRD, "dddddd"]


def test_an_epoch_that_was_followed_is_told_that_more_is_known_than_it_has(rig: Rig) -> None:
    rig.step(rig.want(epoch=FIRST, highest_seq=4))
    assert rig.ledger.standing(REGION).known_seq == 4  # type: ignore[union-attr]
    rig.step(rig.want(epoch=SECOND, highest_seq=1))
    rig.step(rig.want(epoch=FIRST, instance="old", highest_seq=7))
    assert rig.ledger.standing(REGION).known_seq == 8  # type: ignore[union-attr]
    rig.step(rig.want(epoch=FIRST, instance="old", highest_seq=9, session=3))
    rig.step(rig.want(epoch=THIRD, instance="old", highest_seq=2, session=3))
    assert rig.ledger.standing(REGION).known_seq == 2  # type: ignore[union-attr]
    (over,) = (one for one in lost(rig) if one.epoch == FIRST)
    assert over.packets == 7  # what it gave out beyond, while it was told to leave, has newer names


# --- the region's voice ---------------------------------------------------------------------------


class Own:
    def __init__(self, *epochs: str) -> None:
        self.epochs = epochs

    def earlier(self, epoch: str) -> Sequence[str]:
        return self.epochs[: self.epochs.index(epoch)]


def say(voice: Earlier, n: int, epoch: str = THIRD) -> list[str]:
    plain = {"instance": "x", "grant": 1, "session": 1, "highest_seq": 0, "clock_ms": 0}
    want = Want(n=n, epoch=epoch, facts=0, records=0, level=0, **plain)  # type: ignore[arg-type]
    return voice.ask(want).earlier


def answer(voice: Earlier, n: int, epoch: str = THIRD, life: str = "life") -> None:
    tops = {"facts_top": 0, "records_top": 0, "window_bytes": 0, "clock_ms": 0}
    since = Since(incarnation=life)
    voice.hear(Ack(n=n, instance="x", grant=1, session=1, since=since, epoch=epoch, **tops), 0)  # type: ignore[arg-type]


def test_earlier_epochs_are_said_until_a_want_that_said_them_is_answered() -> None:
    voice = Earlier(Own(FIRST, SECOND, THIRD))
    assert say(voice, 1) == [FIRST, SECOND]
    answer(voice, 1)  # the first word of that life: it may be of one that knows nothing of it
    assert say(voice, 2) == say(voice, 3) == [FIRST, SECOND]
    answer(voice, 1)
    assert say(voice, 4) == [FIRST, SECOND]
    answer(voice, 3)
    assert say(voice, 5) == []
    answer(voice, 5, life="restored")
    assert say(voice, 6) == [FIRST, SECOND]


def test_epochs_of_an_old_machine_come_before_our_own_as_soon_as_they_are_known() -> None:
    others: list[str] = []
    voice = Earlier(Own(FIRST, THIRD), lambda: others)
    for n in (1, 2):
        say(voice, n)
        answer(voice, n)
    assert say(voice, 3) == []
    others += ["oooooo", FIRST, "pppppp", THIRD]
    assert say(voice, 4) == ["oooooo", "pppppp", FIRST]
    answer(voice, 4)
    assert say(voice, 5) == []
    others[:] = [f"o{n:05d}" for n in range(40)]
    assert say(voice, 6) == [*others[-EARLIER_MAX + 1 :], FIRST]


def test_the_only_epoch_of_a_region_has_nothing_before_it() -> None:
    assert say(Earlier(Own(THIRD)), 1) == []
