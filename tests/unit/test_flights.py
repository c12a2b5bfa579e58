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
