"""A frame counts as lost on evidence and never otherwise."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ports import EntryId, Sent
from pipeline.region.flights import Flights
from schemas.lanes import Lane
from schemas.ranges import from_numbers


def batch(n: int, *seqs: int) -> Sent:
    return Sent(EntryId(1, n), Lane.RECORD, from_numbers(seqs), None, 100)


def chunk(n: int, seq: int, start: int, stop: int) -> Sent:
    return Sent(EntryId(1, n), Lane.BIOMETRIC, ((seq, seq + 1),), (start, stop), stop - start)


def accepted(*frames: Sent) -> Flights:
    flights = Flights()
    for one in frames:
        flights.add(one, one.bytes, 1)
        flights.accept(one.entry)
    return flights


def test_a_frame_still_in_the_stream_is_not_lost_whatever_is_answered() -> None:
    flights = accepted(batch(1, 1), batch(2, 2))
    flights.observe(2, 5, flights.mark())
    assert flights.lost(99) == []


def test_a_frame_that_is_gone_and_not_answered_for_is_not_lost_yet() -> None:
    flights = accepted(batch(1, 1))
    flights.observe(0, 5, flights.mark())
    assert flights.lost(4) == []


def test_a_frame_that_is_gone_and_not_in_a_later_answer_is_lost() -> None:
    flights = accepted(batch(1, 1))
    flights.observe(0, 5, flights.mark())
    assert [one.entry.n for one in flights.lost(5)] == [1]


def test_a_frame_whose_packets_have_facts_is_done_and_never_lost() -> None:
    flights = accepted(batch(1, 1, 2))
    flights.observe(0, 5, flights.mark())
    assert flights.settle(((1, 2),)) == []
    assert flights.settle(((2, 3),)) == [EntryId(1, 1)]
    assert flights.lost(5) == []


def test_a_chunk_that_the_ledger_holds_is_done_and_leaves_the_window() -> None:
    flights = accepted(chunk(1, 7, 0, 50), chunk(2, 7, 50, 90))
    assert flights.cover({7: ((0, 60),)}) == [EntryId(1, 1)]
    assert flights.bytes == 40


def test_only_the_frames_older_than_what_accounts_for_the_stream_are_gone() -> None:
    flights = accepted(batch(1, 1), batch(2, 2), batch(3, 3))
    assert flights.observe(2, 5, flights.mark()) == 1
    assert [one.entry.n for one in flights.lost(5)] == [1]


def test_a_frame_on_the_wire_is_never_seen_gone() -> None:
    flights = Flights()
    flights.add(batch(1, 1), 100, 1)
    assert flights.observe(0, 5, flights.mark()) == 0


def test_after_a_cut_a_frame_of_unknown_outcome_is_judged_by_the_stream_alone() -> None:
    flights = Flights()
    flights.add(batch(1, 1), 100, 1)
    flights.cut()
    assert flights.on_the_wire_bytes == 0
    assert flights.observe(1, 5, flights.mark()) == 0  # it may be the one that lies there
    assert flights.observe(0, 6, flights.mark()) == 1


def test_after_a_restart_what_was_in_the_stream_waits_until_newer_frames_account_for_it() -> None:
    flights = Flights([batch(1, 1), batch(2, 2)])
    assert flights.observe(1, 5, flights.mark()) == 0
    flights.add(batch(3, 3), 100, 1)
    flights.accept(EntryId(1, 3))
    assert flights.observe(1, 6, flights.mark()) == 2


def urgent(n: int, *seqs: int) -> Sent:
    return Sent(EntryId(1, n), Lane.URGENT, from_numbers(seqs), None, 100)


def test_an_urgent_frame_is_lost_once_a_want_that_was_sent_behind_it_is_answered_without_it() -> None:
    flights = Flights()
    flights.add(urgent(1, 1), 100, next_n=5)
    assert flights.lost(4) == []
    assert [one.entry.n for one in flights.lost(5)] == [1]


def test_an_urgent_frame_that_was_in_ctl_before_a_restart_is_lost_once_any_want_is_answered() -> None:
    flights = Flights([urgent(1, 1), batch(2, 2)])
    assert flights.lost(0) == []
    assert [one.entry.n for one in flights.lost(1)] == [1]


def test_a_claim_that_is_recalled_is_judged_by_the_stream_and_leaves_what_is_known_of_the_others() -> None:
    flights = accepted(batch(1, 1), batch(3, 3))
    flights.add(batch(4, 4), 100, 1)
    flights.recall([batch(1, 1), batch(2, 2), batch(3, 3), batch(4, 4), urgent(5, 5)], next_n=7)
    assert flights.on_the_wire_bytes == 100
    assert flights.mark() == EntryId(1, 3)
    assert flights.observe(1, 7, flights.mark()) == 2  # the third lies there; the first and second do not
    assert [one.entry.n for one in flights.lost(7)] == [1, 2, 5]


def test_an_urgent_claim_that_is_recalled_is_not_lost_by_an_answer_to_an_earlier_want() -> None:
    flights = Flights()
    flights.recall([urgent(1, 1)], next_n=7)
    assert flights.lost(6) == []
    assert [one.entry.n for one in flights.lost(7)] == [1]


def test_a_chunk_of_a_large_urgent_packet_travels_in_up_and_is_judged_there() -> None:
    flights = Flights()
    flights.add(chunk(1, 7, 0, 50)._replace(lane=Lane.URGENT), 50, next_n=1)
    flights.accept(EntryId(1, 1))
    assert (flights.lost(9), flights.ctl_bytes) == ([], 0)
    assert flights.observe(0, 9, flights.mark()) == 1


def test_urgent_frames_take_no_room_in_the_link_window_and_some_in_the_receipt_window() -> None:
    flights = Flights()
    flights.add(urgent(1, 1), 70, 1)
    flights.add(batch(2, 2), 100, 1)
    assert (flights.on_the_wire_bytes, flights.ctl_on_the_wire_bytes, flights.bytes) == (100, 70, 170)
    flights.accept(EntryId(1, 1))
    assert (flights.ctl_on_the_wire_bytes, flights.ctl_bytes) == (0, 70)


def test_an_urgent_frame_that_the_broker_has_does_not_vouch_for_one_in_up_that_it_has_not() -> None:
    flights = accepted(batch(1, 1))
    flights.add(batch(2, 2), 100, 1)
    flights.add(urgent(3, 3), 100, 1)
    flights.accept(EntryId(1, 3))
    mark = flights.mark()  # asked for now: one lies there
    flights.accept(EntryId(1, 2))
    assert flights.observe(1, 5, mark) == 0


@settings(max_examples=300)
@given(
    arrived=st.integers(0, 8), taken=st.integers(0, 8), known=st.lists(st.booleans(), min_size=8, max_size=8)
)
def test_no_frame_that_lies_in_the_stream_is_ever_seen_gone(
    arrived: int, taken: int, known: list[bool]
) -> None:
    """A prefix arrived, the center took some of its front, and we know of some of the arrivals."""
    taken = min(taken, arrived)
    flights = Flights()
    for n in range(1, 9):
        flights.add(batch(n, n), 100, 1)
        if n <= arrived and known[n - 1]:
            flights.accept(EntryId(1, n))
    flights.cut()
    flights.observe(arrived - taken, 1, flights.mark())
    in_stream = range(taken + 1, arrived + 1)
    assert not [one.entry.n for one in flights.lost(1) if one.entry.n in in_stream]


@settings(max_examples=300)
@given(arrived=st.integers(0, 6), taken=st.integers(0, 6), known=st.integers(0, 6), later=st.integers(0, 4))
def test_frames_accepted_after_the_question_do_not_make_older_ones_look_gone(
    arrived: int, taken: int, known: int, later: int
) -> None:
    """The answer to a question about the stream may come after the answers to frames sent since."""
    taken, known = min(taken, arrived), min(known, arrived)
    flights = Flights()
    for n in range(1, arrived + 1):
        flights.add(batch(n, n), 100, 1)
        if n <= known:
            flights.accept(EntryId(1, n))
    mark = flights.mark()
    for n in range(arrived + 1, arrived + later + 1):
        flights.add(batch(n, n), 100, 1)
    for n in range(1, arrived + later + 1):
        flights.accept(EntryId(1, n))
    flights.observe(arrived - taken, 1, mark)
    assert not [one.entry.n for one in flights.lost(1) if one.entry.n > taken]


@settings(max_examples=300)
@given(
    lanes=st.lists(st.booleans(), min_size=1, max_size=9),
    arrived=st.integers(0, 9),
    length=st.integers(0, 9),
    cut=st.booleans(),
)
def test_what_is_seen_of_up_is_the_same_whether_or_not_urgent_frames_went_by_ctl(
    lanes: list[bool], arrived: int, length: int, cut: bool
) -> None:
    both, alone = Flights(), Flights()
    in_up = [n for n, by_ctl in enumerate(lanes, 1) if not by_ctl]
    for n, by_ctl in enumerate(lanes, 1):
        both.add(urgent(n, n) if by_ctl else batch(n, n), 100, next_n=9)
        if not by_ctl:
            alone.add(batch(n, n), 100, next_n=9)
    for n, by_ctl in enumerate(lanes, 1):
        if by_ctl or n in in_up[:arrived]:
            both.accept(EntryId(1, n))
        if n in in_up[:arrived]:
            alone.accept(EntryId(1, n))
    if cut:
        both.cut()
        alone.cut()
    assert both.mark() == alone.mark()
    assert both.observe(length, 1, both.mark()) == alone.observe(length, 1, alone.mark())
    assert both.lost(1) == alone.lost(1)


class Ctl:
    """The control connection and its stream: urgent frames by their seq, wants by their number below 0."""

    def __init__(self) -> None:
        self.flights = Flights()
        self.wire: list[int] = []
        self.stream: list[int] = []
        self.ledger: set[int] = set()
        self.sent = self.n = 0

    def send(self) -> None:
        self.sent += 1
        self.flights.add(urgent(self.sent, self.sent), 100, self.n + 1)
        self.wire.append(self.sent)

    def want(self) -> None:
        self.n += 1
        self.wire.append(-self.n)

    def arrive(self) -> None:
        self.stream += self.wire
        self.wire = []

    def cut(self) -> None:
        self.wire = self.wire[: len(self.wire) // 2]
        self.arrive()
        self.flights.cut()

    def wipe(self) -> None:
        self.stream = []

    def take(self) -> list[int]:
        """The center takes one; returns the seqs that count as lost by its answer, if it has one."""
        if not self.stream:
            return []
        first = self.stream.pop(0)
        if first > 0:
            self.ledger.add(first)
            return []
        self.flights.settle(from_numbers(self.ledger))
        lost = self.flights.lost(-first)
        self.flights.drop(one.entry for one in lost)
        return [one.seqs[0][0] for one in lost]


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(["send", "send", "want", "arrive", "cut", "wipe", "take", "take"]), max_size=40)
)
def test_an_urgent_frame_counts_as_lost_if_it_is_lost_and_never_otherwise(did: list[str]) -> None:
    ctl, lost = Ctl(), set[int]()
    for one in [*did, "want", "arrive", *["take"] * 50]:
        found = getattr(ctl, one)()
        if found:
            assert not ctl.ledger.union(ctl.stream, ctl.wire) & set(found)
            lost.update(found)
    assert lost | ctl.ledger == set(range(1, ctl.sent + 1))
    assert not lost & ctl.ledger
