"""Reads ahead never skip, never double and never reorder, whatever comes between the reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.read_ahead import ENTRIES_PER_READ, READS_MAX, Ask, Entry, ReadAhead
from pipeline.ports import EntryId

START = EntryId(0, 0)


def entries(first: int, count: int, session: int = 1) -> list[Entry]:
    """`count` entries of `down` from `n` = `first` on."""
    return [(EntryId(session, n), b"") for n in range(first, first + count)]


def test_an_idle_stream_has_one_read_in_flight_that_waits() -> None:
    reads = ReadAhead(EntryId(1, 5))
    assert reads.due() == [Ask(EntryId(1, 5), waits=True)]
    assert reads.due() == []
    assert reads.answered(EntryId(1, 5), []) == []
    assert reads.due() == [Ask(EntryId(1, 5), waits=True)]


def test_after_a_full_answer_as_many_reads_as_allowed_are_in_flight_and_stay_so() -> None:
    reads, asked, n = ReadAhead(EntryId(1, 0)), [], 1
    in_flight = [ask.after for ask in reads.due()]
    for _ in range(6):
        assert reads.answered(in_flight.pop(0), entries(n, ENTRIES_PER_READ))
        n += ENTRIES_PER_READ
        in_flight += [ask.after for ask in reads.due()]
        asked.append(len(in_flight))
    assert asked == [READS_MAX] * 6


def test_an_entry_now_and_then_costs_one_vain_read() -> None:
    reads = ReadAhead(EntryId(1, 0))
    (waiting,) = reads.due()
    assert reads.answered(waiting.after, entries(1, 1))
    waiting, vain = reads.due()
    assert (waiting.waits, vain.waits) == (True, False)
    reads.answered(waiting.after, entries(2, 1))
    assert reads.answered(vain.after, []) == []
    assert len(reads.due()) == 1


def test_an_answer_beyond_the_position_is_dropped() -> None:
    reads = ReadAhead(EntryId(1, 0))
    reads.due()
    reads.answered(EntryId(1, 0), entries(1, ENTRIES_PER_READ))
    first, ahead, *_ = reads.due()
    assert reads.answered(first.after, entries(5, 1)) == entries(5, 1)
    assert reads.answered(ahead.after, entries(9, 2)) == []
    assert reads.position == EntryId(1, 5)


def test_a_later_session_is_taken_once_though_several_reads_bring_it() -> None:
    reads = ReadAhead(EntryId(1, 0))
    reads.due()
    reads.answered(EntryId(1, 0), entries(1, ENTRIES_PER_READ))
    first, ahead, *_ = reads.due()
    assert reads.answered(first.after, entries(1, 2, session=3)) == entries(1, 2, session=3)
    assert reads.answered(ahead.after, entries(1, 3, session=3)) == entries(3, 1, session=3)


def test_going_back_needs_a_new_connection_and_going_on_does_not() -> None:
    reads = ReadAhead(EntryId(1, 8))
    reads.due()
    assert reads.moves_to(EntryId(1, 8))
    assert reads.moves_to(EntryId(2, 0))
    assert not reads.moves_to(EntryId(1, 3))


@given(
    st.lists(
        st.one_of(
            st.integers(1, 9).map(lambda n: ("put", n)), st.just(("session", 0)), st.just(("serve", 0))
        ),
        max_size=80,
    ),
    st.booleans(),
)
def test_every_entry_is_handed_out_once_in_order(moves: list[tuple[str, int]], slowly: bool) -> None:
    stream: list[EntryId] = []
    session, n = 1, 0
    reads = ReadAhead(START)
    wire: list[Ask] = reads.due()
    got: list[EntryId] = []

    def serve() -> bool:
        """The broker meets the oldest read; False where it waits there."""
        found = [(entry, b"") for entry in stream if entry > wire[0].after][:ENTRIES_PER_READ]
        if not found and wire[0].waits:
            return False
        if found and slowly:
            wire.extend(reads.begins(found[0][0], len(found)))
        got.extend(entry for entry, _ in reads.answered(wire.pop(0).after, found))
        wire.extend(reads.due())
        return True

    for move, count in moves:
        if move == "session":
            session, n = session + 1, 0
        elif move == "put":
            stream += [EntryId(session, n + i + 1) for i in range(count)]
            n += count
        else:
            serve()
    while serve():
        assert len(wire) <= READS_MAX
    assert got == stream


def test_while_an_answer_comes_the_read_behind_it_is_sent_once_and_waits() -> None:
    reads = ReadAhead(START)
    assert reads.due() == [Ask(START, waits=True)]
    assert reads.begins(EntryId(1, 1), 3) == [Ask(EntryId(1, 3), waits=True)]
    assert reads.begins(EntryId(1, 1), 3) == []
    reads.answered(START, [(EntryId(1, n), b"") for n in (1, 2, 3)])
    assert EntryId(1, 3) not in [one.after for one in reads.due()], "it is in flight"
    fresh = reads.answered(EntryId(1, 3), [(EntryId(1, 4), b"")])
    assert [entry for entry, _ in fresh] == [EntryId(1, 4)]
