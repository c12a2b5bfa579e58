"""The loss list: what was recorded and never came, of epochs that are over; as it travels, as it is shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from pipeline.adapters import ledger_losses, ledger_losses_page
from pipeline.adapters.ledger_engine import Store, open_store
from pipeline.adapters.ledger_losses import LedgerLosses, answer
from pipeline.adapters.ledger_niks import NO_NIK, nik_key
from pipeline.adapters.ledger_tables import ANNOUNCED, ASSEMBLING, EPOCH, PACKET, REGION, SETTING, TALLY, WAS
from pipeline.inspection.losses import center_losses, loss_json
from schemas.errors import CodecError
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.losses import LOSSES_A_PAYLOAD, Loss, Losses, Why, pack_losses, unpack_losses
from schemas.messages import Run
from schemas.nik import nik_hash
from schemas.verdicts import Status
from tests.unit.ledger_rig import JPEG, Rig, new_rig, nik, packet
from tests.unit.ledger_rig import REGION as CODE
from tests.unit.losses_rig import FIRST, SECOND, THIRD, insert_rows, lost, names, speak, tell
from tests.unit.test_ledger_announced import announce

LARGE = packet(7, [("face", "image/jpeg", JPEG + bytes(40_000))])


def test_what_was_announced_and_never_came_is_lost_once_its_epoch_is_over(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST), announce(rig, {2: packet(2)}, epoch=FIRST))
    assert lost(rig) == []
    speak(rig, SECOND)
    (one,) = lost(rig)
    digest = hashlib.sha256(packet(2)).digest()
    at_ms = 1_700_000_000_002
    assert one == Loss(
        FIRST,
        2,
        1,
        Why.ANNOUNCED,
        Lane.BIOMETRIC,
        at_ms,
        at_ms,
        len(packet(2)),
        0,
        digest,
        nik_hash(nik(2))[:8],
    )


def test_a_gap_up_to_the_highest_seq_was_never_announced(rig: Rig) -> None:
    speak(rig, FIRST, 9)
    rig.step(rig.batch({2: packet(2), 5: packet(5)}, epoch=FIRST))
    rig.clock.ms += 60_000
    speak(rig, SECOND)
    assert names(lost(rig)) == [
        (FIRST, 1, 1, "never announced"),
        (FIRST, 3, 2, "never announced"),
        (FIRST, 6, 4, "never announced"),
    ]
    first, middle, last = lost(rig)
    assert (first.from_ms, first.until_ms) == (None, 1_700_000_000_000)
    assert (middle.from_ms, middle.until_ms) == (1_700_000_000_000, 1_700_000_000_000)
    assert (last.from_ms, last.until_ms) == (1_700_000_000_000, rig.clock.ms - 60_000)


def test_beside_a_gap_an_announced_packet_says_when(rig: Rig) -> None:
    speak(rig, FIRST, 5)
    rig.step(announce(rig, {2: packet(20), 5: packet(50)}, epoch=FIRST))
    speak(rig, SECOND)
    assert [(one.seq, one.packets, one.from_ms, one.until_ms) for one in lost(rig)] == [
        (1, 1, None, 1_700_000_000_002),
        (2, 1, 1_700_000_000_002, 1_700_000_000_002),
        (3, 2, 1_700_000_000_002, 1_700_000_000_005),
        (5, 1, 1_700_000_000_005, 1_700_000_000_005),
    ]


def test_a_packet_of_which_parts_came_is_lost_with_how_much_came(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    rig.step(
        announce(rig, {1: LARGE}, epoch=FIRST),
        rig.chunk(1, LARGE, 1_000, 5_000, epoch=FIRST),
        rig.chunk(2, LARGE, 0, 3_000, epoch=FIRST),
    )
    speak(rig, SECOND)
    told, silent = lost(rig)
    assert (told.why, told.held, told.size, told.nik) == (
        Why.PARTLY,
        4_000,
        len(LARGE),
        nik_hash(nik(1))[:8],
    )
    assert (silent.why, silent.held, silent.size) == (Why.PARTLY, 3_000, len(LARGE))
    assert silent.digest == hashlib.sha256(LARGE).digest()
    assert silent.nik == nik_hash(nik(7))[:8]  # its head was among what came
    assert silent.from_ms == 1_700_000_000_000


def test_a_part_without_the_head_says_not_whose_it_is(rig: Rig) -> None:
    speak(rig, FIRST, 1)
    rig.step(rig.chunk(1, LARGE, 0, 20, epoch=FIRST), rig.chunk(1, LARGE, 1_000, 5_000, epoch=FIRST))
    speak(rig, SECOND)
    (one,) = lost(rig)
    assert (one.why, one.held, one.nik, one.from_ms) == (Why.PARTLY, 4_020, b"", None)


def test_a_refused_packet_is_lost_and_says_so(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    rig.step(rig.batch({1: b"\0\0\0\1\xc1", 2: packet(2)}, epoch=FIRST))
    speak(rig, SECOND)
    assert names(lost(rig)) == [(FIRST, 1, 1, "refused")]


def test_what_a_mirror_brings_late_is_no_longer_lost(rig: Rig) -> None:
    speak(rig, FIRST, 4)
    rig.step(announce(rig, {2: packet(2)}, epoch=FIRST))
    speak(rig, SECOND)
    assert names(lost(rig))[1:] == [(FIRST, 2, 1, "announced"), (FIRST, 3, 2, "never announced")]
    rig.step(rig.batch({2: packet(2), 4: packet(4)}, epoch=FIRST))
    assert names(lost(rig)) == [(FIRST, 1, 1, "never announced"), (FIRST, 3, 1, "never announced")]
    rig.step(rig.batch({1: packet(1), 3: packet(3)}, epoch=FIRST))
    assert lost(rig) == []


def test_a_packet_that_goes_by_another_name_is_lost_under_none(rig: Rig) -> None:
    speak(rig, FIRST, 3)
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST), announce(rig, {2: packet(2)}, epoch=FIRST))
    speak(rig, SECOND, 2)
    tell(rig, SECOND, Run(epoch=FIRST, old=2, new=1, count=2))
    assert lost(rig) == []


def test_one_that_came_under_its_older_name_is_not_lost_under_the_newer(rig: Rig) -> None:
    speak(rig, FIRST, 3)
    speak(rig, SECOND, 3)
    tell(rig, SECOND, Run(epoch=FIRST, old=1, new=1, count=3))
    rig.step(announce(rig, {2: packet(2)}, epoch=SECOND))
    speak(rig, THIRD, 0)
    assert names(lost(rig)) == [
        (SECOND, 1, 1, "never announced"),
        (SECOND, 2, 1, "announced"),
        (SECOND, 3, 1, "never announced"),
    ]
    rig.step(rig.batch({1: packet(1), 2: packet(2)}, epoch=FIRST))
    assert names(lost(rig)) == [(SECOND, 3, 1, "never announced")]


def test_one_that_came_under_both_names_counts_once(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    speak(rig, SECOND, 3)
    tell(rig, SECOND, Run(epoch=FIRST, old=1, new=1, count=2))
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST), rig.batch({1: packet(1)}, epoch=SECOND))
    speak(rig, THIRD, 0)
    assert names(lost(rig)) == [(SECOND, 2, 2, "never announced")]


def test_one_that_came_under_its_oldest_name_and_has_a_newest_counts_once(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    speak(rig, SECOND, 3)
    tell(rig, SECOND, Run(epoch=FIRST, old=1, new=1, count=2))
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST))
    speak(rig, THIRD, 2)
    tell(rig, THIRD, Run(epoch=SECOND, old=1, new=1, count=2))  # that the first led there is not told yet
    assert names(lost(rig)) == [(SECOND, 3, 1, "never announced")]


def test_a_region_with_three_epochs_lists_those_that_are_over_in_their_order(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST))
    speak(rig, SECOND, 2)
    rig.step(announce(rig, {1: packet(3)}, epoch=SECOND))
    speak(rig, THIRD, 5)
    assert names(lost(rig)) == [
        (FIRST, 2, 1, "never announced"),
        (SECOND, 1, 1, "announced"),
        (SECOND, 2, 1, "never announced"),
    ]


def test_a_seq_above_the_last_want_counts_where_it_was_heard_of(rig: Rig) -> None:
    speak(rig, FIRST, 1)
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST), announce(rig, {4: packet(4)}, epoch=FIRST))
    speak(rig, SECOND)
    assert names(lost(rig)) == [(FIRST, 2, 2, "never announced"), (FIRST, 4, 1, "announced")]


def test_an_epoch_that_only_a_courier_brought_is_not_over(rig: Rig) -> None:
    speak(rig, FIRST, 1)
    rig.step(rig.batch({1: packet(1)}, epoch=FIRST), rig.batch({3: packet(3)}, epoch=SECOND))
    assert lost(rig) == []


def test_a_region_that_said_a_number_out_of_reach_harms_only_its_own_list(rig: Rig) -> None:
    speak(rig, FIRST, INTEGER_MAX)
    rig.step(rig.batch({3: packet(3)}, epoch=FIRST))
    speak(rig, SECOND, INTEGER_MAX)
    speak(rig, THIRD, 1)
    assert names(lost(rig)) == [
        (FIRST, 1, 2, "never announced"),
        (FIRST, 4, INTEGER_MAX - 4, "never announced"),
        (SECOND, 1, INTEGER_MAX - 1, "never announced"),
    ]
    said, _ = asked(LedgerLosses.of(rig.ledger.reader))
    assert [one.seq for one in said.losses] == [1, 4]  # the rest has no position that could travel


def test_a_ledger_that_was_not_opened_since_lists_nothing(rig: Rig) -> None:
    speak(rig, FIRST, 3)
    speak(rig, SECOND)
    store = open_store(rig.place)
    with store.write() as connection:
        connection.execute(SETTING.update().where(SETTING.c.name == "schema").values(value=3))
    assert LedgerLosses(store).losses(CODE) == []
    assert LedgerLosses(store).losses_counts() == {}
    store.close()


# --- against a model ----------------------------------------------------------------------------------

SEQS = 12


@dataclass
class Model:
    """What is where, by (epoch number, seq)."""

    here: set[tuple[int, int]]
    refused: set[tuple[int, int]]
    told: set[tuple[int, int]]
    partly: set[tuple[int, int]]
    was: dict[tuple[int, int], tuple[int, int]]

    def lost(self, tops: dict[int, int]) -> set[tuple[int, int]]:
        """(epoch, seq) that are lost; epochs 1 and 2 are over."""
        came = {new for old, new in self.was.items() if old in self.here}
        every = {(epoch, seq) for epoch in (1, 2) for seq in range(1, tops[epoch] + 1)}
        return every - self.here - set(self.was) - came


#: Any of (epoch, seq), each as likely as not.
PLACES_OF = st.integers(0, 4**SEQS - 1).map(
    lambda bits: {(1 + n // SEQS, 1 + n % SEQS) for n in range(2 * SEQS) if bits >> n & 1}
)


@st.composite
def models(draw: st.DrawFn) -> tuple[Model, dict[int, int]]:
    here = draw(PLACES_OF)
    refused = draw(PLACES_OF) - here
    old = draw(PLACES_OF)
    news = {1: [(2, n) for n in range(1, SEQS + 1)] + [(3, n) for n in range(1, SEQS + 1)]}
    news[2] = [(3, n) for n in range(SEQS + 1, 3 * SEQS)]
    was = {name: news[name[0]].pop(draw(st.integers(0, len(news[name[0]]) - 1))) for name in sorted(old)}
    told = draw(PLACES_OF) - here - set(was)
    partly = draw(PLACES_OF) - here - refused
    tops = {epoch: draw(st.integers(0, SEQS)) for epoch in (1, 2)}
    for epoch, seq in here | refused | told:
        tops[epoch] = max(tops[epoch], seq)
    return Model(here, refused, told, partly, was), tops


def fill(connection: Connection, model: Model, tops: dict[int, int]) -> None:
    received, refused = int(Status.RECEIVED_AT_CENTRAL), int(Status.REFUSED)
    base = {"region": CODE, "lane": 2, "digest": bytes(32), "kind": "enrolment", "size": 1, "received_ms": 1}
    base |= {"fact_no": 1, "reasons": "", "tries": 0, "pieces": 0}
    rows: list[dict[str, Any]] = []
    for number, places in ((received, model.here), (refused, model.refused)):
        key = NO_NIK if number == refused else 5
        rows += (
            base | {"epoch_id": e, "seq": s, "status": number, "nik_key": key, "at_ms": 1000 * e + s}
            for e, s in sorted(places)
        )
    told = [
        {"epoch_id": e, "seq": s, "region": CODE, "lane": 3, "nik_key": nik_key(nik(s)), "size": s}
        | {"digest": bytes(32), "at_ms": s, "told_ms": 1}
        for e, s in sorted(model.told)
    ]
    partly = [
        {"epoch_id": e, "seq": s, "size": 9, "digest": bytes(32), "lane": 3, "ranges": json.dumps([2, 3])}
        | {"failed": 0, "last_ms": 1}
        for e, s in sorted(model.partly)
    ]
    was = [
        {"old_epoch_id": old[0], "old_seq": old[1], "epoch_id": new[0], "seq": new[1]}
        for old, new in model.was.items()
    ]
    tally = [
        {"region": CODE, "lane": 2, "status": number, "n": len(places)}
        for number, places in ((received, model.here), (refused, model.refused))
    ]
    epochs = [
        {"id": n, "region": CODE, "epoch": name, "ord": n, "highest_seq": tops.get(n, 1), "last_ms": 5}
        for n, name in enumerate((FIRST, SECOND, THIRD), 1)
    ]
    for table, listed in (
        (EPOCH, epochs),
        (PACKET, rows),
        (ANNOUNCED, told),
        (ASSEMBLING, partly),
        (WAS, was),
        (TALLY, tally),
    ):
        if listed:
            connection.execute(insert(table), listed)


class Undone(Exception):
    """Nothing of the transaction stays."""


@dataclass
class Held:
    """A store that reads in a transaction that writes."""

    connection: Connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self.connection


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A ledger whose region has said nothing."""
    rig = new_rig(tmp_path_factory.mktemp("ledger") / "ledger.db")
    rig.ledger.close()
    store = open_store(rig.place)
    yield store
    store.close()


@given(models(), st.integers(0, 30), st.sampled_from([1, 2, 3, 2_000]), st.sampled_from([1, 4, 20_000]))
@settings(max_examples=40)
def test_whatever_is_where_the_list_holds_exactly_what_is_lost(
    empty: Store, given_: tuple[Model, dict[int, int]], current: int, rows: int, seqs: int
) -> None:
    model, tops = given_
    with pytest.raises(Undone), pytest.MonkeyPatch.context() as patch, empty.write() as connection:
        patch.setattr(ledger_losses_page, "ROWS_A_PAGE", rows)
        patch.setattr(ledger_losses_page, "SEQS_A_PAGE", seqs)
        fill(connection, model, tops)
        connection.execute(REGION.update().values(epoch=THIRD, highest_seq=current))
        reader = LedgerLosses(Held(connection))  # type: ignore[arg-type]
        found, counted = reader.losses(CODE), reader.losses_count(CODE)
        said, _ = asked(reader, each=5)
        raise Undone
    assert counted == said.packets == sum(one.packets for one in found)
    numbers = {FIRST: 1, SECOND: 2}
    listed = [(numbers[one.epoch], one.seq + n) for one in found for n in range(one.packets)]
    assert set(listed) == model.lost(tops)
    assert listed == sorted(set(listed))
    known = [one for one in names(found) if one[3] != "never announced"]
    assert [one for one in names(said.losses) if one[3] != "never announced"] == known
    for one in found:
        place = (numbers[one.epoch], one.seq)
        assert (one.why is Why.NEVER_ANNOUNCED) == (place not in model.told | model.partly | model.refused)
        assert (one.why is Why.REFUSED) == (place in model.refused)


# --- as it travels ------------------------------------------------------------------------------------


def asked(reader: LedgerLosses, each: int = LOSSES_A_PAYLOAD) -> tuple[Losses, int]:
    """The whole answer to the ask, and in how many payloads it came."""
    payloads: list[bytes] = []
    at, done = 0, False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_losses, "LOSSES_A_PAYLOAD", each)
        while not done:
            payload, to, done = answer(reader, CODE, b"", at)
            assert to > at or done
            payloads.append(payload)
            at = to
    return unpack_losses(payloads), len(payloads)


def test_ten_thousand_losses_come_in_parts_and_none_twice(rig: Rig) -> None:
    speak(rig, FIRST, 30_000)
    base = {"epoch_id": 1, "region": CODE, "lane": 3, "size": 500_000, "told_ms": 1}
    rows = [
        base | {"seq": seq, "nik_key": seq, "digest": seq.to_bytes(32, "big"), "at_ms": seq}
        for seq in range(2, 20_002, 2)
    ]
    insert_rows(rig, (ANNOUNCED, rows))
    speak(rig, SECOND)
    said, payloads = asked(LedgerLosses.of(rig.ledger.reader))
    assert said.packets == 30_000
    assert list(said.losses) == lost(rig)
    assert sum(one.packets for one in said.losses) == 30_000
    assert len(said.losses) == 20_001
    assert payloads >= 20_001 // LOSSES_A_PAYLOAD


def test_where_nothing_is_lost_the_answer_says_so(rig: Rig) -> None:
    speak(rig, FIRST, 0)
    assert asked(LedgerLosses.of(rig.ledger.reader)) == (Losses(0, ()), 1)


def test_the_answer_is_the_same_through_any_reader_of_the_ledger(rig: Rig) -> None:
    speak(rig, FIRST, 2)
    speak(rig, SECOND)
    payload, to, done = answer(rig.ledger.reader, CODE, b"", 0)
    assert (unpack_losses([payload]).packets, to, done) == (2, 2, True)
    assert answer(rig.ledger.reader, "1801", b"", 0) == (pack_losses([]), 0, True)


SOME = Loss(FIRST, 7, 1, Why.PARTLY, Lane.RECORD, -5, 10, 600, 12, bytes(range(32)), b"8 bytes.")


@pytest.mark.parametrize(
    "loss",
    [
        SOME,
        Loss(FIRST, 1),
        SOME._replace(digest=b"", lane=None, from_ms=None),
        SOME._replace(nik=b"", until_ms=None),
        Loss(SECOND, INTEGER_MAX, INTEGER_MAX),
    ],
)
def test_a_loss_travels_unchanged(loss: Loss) -> None:
    assert unpack_losses([pack_losses([loss], 3), pack_losses([loss])]) == Losses(3, (loss, loss))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x90",
        pack_losses([SOME])[:-1],
        pack_losses([SOME._replace(epoch="aaaaai")]),
        pack_losses([SOME._replace(epoch="aaaa")]),
        pack_losses([SOME._replace(seq=0)]),
        pack_losses([SOME._replace(packets=0)]),
        pack_losses([SOME._replace(why=9)]),  # type: ignore[arg-type]
        pack_losses([SOME._replace(lane=4)]),  # type: ignore[arg-type]
        pack_losses([SOME._replace(digest=bytes(31))]),
        pack_losses([SOME._replace(nik=bytes(9))]),
        pack_losses([SOME._replace(size=2**40)]),
    ],
)
def test_an_answer_that_is_none_is_not_read(payload: bytes) -> None:
    with pytest.raises(CodecError):
        unpack_losses([payload])


# --- as it is shown at the center ---------------------------------------------------------------------


def test_the_center_says_whom_to_ask(rig: Rig) -> None:
    speak(rig, FIRST, 4)
    rig.take(packet(1))  # of another epoch: the citizen is known
    rig.step(announce(rig, {2: packet(1)}, epoch=FIRST))
    body = packet(1)
    store_hash = nik_hash(nik(1))[:8]
    insert_rows(rig, (ANNOUNCED, [announced_row(3, store_hash, body)]))
    speak(rig, SECOND)
    reader = LedgerLosses.of(rig.ledger.reader)
    document = center_losses(reader, None)
    assert document["count"] == 4
    assert document["by_why"] == {"announced": 2, "never announced": 2}
    known = {one["seq"]: one for one in document["losses"]}[3]
    assert known["citizens"] == [{"nik": nik(1), "nama": "SITI 1"}]
    assert known["id"] == str(PacketId(CODE, FIRST, 3))
    assert center_losses(reader, CODE)["losses"] == document["losses"]
    assert center_losses(reader, "1801")["count"] == 0


def announced_row(seq: int, nik8: bytes, stored: bytes) -> dict[str, Any]:
    key = int.from_bytes(nik8, "big", signed=True)
    row = {"epoch_id": 1, "seq": seq, "region": CODE, "lane": 3, "nik_key": key, "size": len(stored)}
    return row | {"digest": hashlib.sha256(stored).digest(), "at_ms": 5, "told_ms": 1}


def test_a_time_that_no_calendar_has_is_no_text() -> None:
    shown = loss_json(CODE, SOME._replace(from_ms=2**53, until_ms=0), lambda _: ())
    assert shown["recorded"] is None
    assert shown["recorded_until"] is not None
