"""Who speaks: wants in any order, from several machines, against any restored ledger."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.center.sessions import (
    PAST_MAX,
    SESSION_MAX,
    Conversation,
    Spoken,
    Taken,
    ended,
    hear,
    milestones,
    renewed,
)
from schemas.messages import Back, Want

spoken = st.builds(
    Spoken,
    instance=st.sampled_from(["a", "b", "c"]),
    grant=st.integers(1, 3),
    n=st.integers(1, 6),
    session=st.integers(0, 6),
    take_over=st.booleans(),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(spoken, st.integers(0, 8)), max_size=25))
def test_sessions_only_rise_and_one_instance_has_each(said: list[tuple[Spoken, int]]) -> None:
    now, holders = Conversation(), {}
    for one, last_session in said:
        what, after = hear(now, one, last_session)
        assert after.session >= now.session
        if what is Taken.GRANTED:
            assert after.session > max(now.session, last_session, one.session)
            assert (after.instance, after.grant, after.n) == (one.instance, one.grant, one.n)
        else:
            assert (after.session, after.instance, after.grant) == (now.session, now.instance, now.grant)
        assert holders.setdefault(after.session, (after.instance, after.grant)) == (
            after.instance,
            after.grant,
        )
        now = after


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(spoken, st.integers(0, 8)), max_size=15), spoken)
def test_a_want_said_twice_is_granted_once(said: list[tuple[Spoken, int]], one: Spoken) -> None:
    now = Conversation()
    for before, last_session in said:
        _, now = hear(now, before, last_session)
    what, after = hear(now, one, 0)
    again, at_last = hear(after, one, after.session)
    if what in (Taken.GRANTED, Taken.LATEST):
        assert again is Taken.OLD
    assert at_last.session == after.session


def test_the_latest_n_of_an_instance_wins() -> None:
    now = Conversation(3, "a", 1, 5)
    assert hear(now, Spoken("a", 1, 4), 3) == (Taken.OLD, now)
    assert hear(now, Spoken("a", 1, 5), 3) == (Taken.OLD, now)
    what, after = hear(now, Spoken("a", 1, 9, 3), 3)
    assert (what, after) == (Taken.LATEST, Conversation(3, "a", 1, 9))


def test_a_new_start_follows_and_the_one_before_is_told_so() -> None:
    now = Conversation(3, "a", 1, 5)
    what, now = hear(now, Spoken("b", 1, 1), 3)
    assert (what, now.session, now.past) == (Taken.GRANTED, 4, ("a",))
    for session in (0, 3):  # also where it asks for a new session meanwhile
        what, after = hear(now, Spoken("a", 2, 6, session), 4)
        assert (what, after.session, after.superseded) == (Taken.SUPERSEDED, 4, "a")


def test_who_takes_over_speaks_again() -> None:
    now = Conversation(4, "b", 1, 1, ("a",))
    what, after = hear(now, Spoken("a", 2, 6, 3, take_over=True), 4)
    assert (what, after.session, after.instance, after.past) == (Taken.GRANTED, 5, "a", ("b",))


def test_an_unknown_instance_with_a_session_of_before_does_not_take_over() -> None:
    what, _ = hear(Conversation(9, "b", 1, 1), Spoken("a", 1, 1, 4), 9)
    assert what is Taken.SUPERSEDED


def test_a_restored_ledger_grants_no_session_that_was_in_use() -> None:
    restored = Conversation(2, "a", 1, 1)
    what, after = hear(restored, Spoken("a", 1, 90, 7), 5)
    assert (what, after.session) == (Taken.GRANTED, 8)
    what, after = hear(restored, Spoken("c", 1, 1), 6)
    assert (what, after.session) == (Taken.GRANTED, 7)


def test_a_session_out_of_all_bounds_is_not_believed() -> None:
    _, after = hear(Conversation(2, "a", 1, 1), Spoken("c", 1, 1, SESSION_MAX + 1), 3)
    assert after.session == 4


def test_a_session_is_renewed_only_if_it_is_still_the_one() -> None:
    now = Conversation(4, "b", 1, 1)
    assert renewed(now, 4, 2).session == 5
    assert renewed(now, 4, 9).session == 10  # the broker has seen sessions of a life that was lost
    assert renewed(now, 3, 9) == now


def test_only_so_many_instances_are_remembered() -> None:
    now = Conversation()
    for number in range(PAST_MAX + 5):
        _, now = hear(now, Spoken(f"i{number}", 1, 1), 0)
    assert len(now.past) == PAST_MAX
    assert now.past[-1] == f"i{PAST_MAX + 3}"


# --- milestones of a rebuild ----------------------------------------------------------------------

FRESH = Want(
    n=1,
    instance="a",
    grant=1,
    session=1,
    epoch="k3v9qa",
    highest_seq=0,
    clock_ms=0,
    facts=0,
    records=0,
    level=1,
    fresh=True,
)
BEGUN = FRESH.model_copy(update={"fresh": False, "back": Back(pass_no=1, floor=9, top=9)})
OPENED = FRESH.model_copy(update={"fresh": False, "back": Back(pass_no=2, floor=9, top=9, opened_ms=77)})
DONE = FRESH.model_copy(update={"fresh": False})


@pytest.mark.parametrize(
    ("before", "now", "events"),
    [
        (None, DONE, []),
        (None, FRESH, []),
        (FRESH, BEGUN, []),
        (BEGUN, BEGUN, []),
        (BEGUN, OPENED, ["open_for_service"]),
        (FRESH, OPENED, ["open_for_service"]),
        (None, OPENED, ["open_for_service"]),
        (OPENED, OPENED, []),
        (OPENED, DONE, ["rebuilt"]),
        (BEGUN, DONE, ["open_for_service", "rebuilt"]),
        (DONE, DONE, []),
        (BEGUN, FRESH, []),
        (OPENED, DONE.model_copy(update={"epoch": "zzzzzz"}), []),
        (OPENED, OPENED.model_copy(update={"epoch": "zzzzzz"}), ["open_for_service"]),
    ],
)
def test_a_rebuild_has_each_milestone_once(before: Want | None, now: Want, events: list[str]) -> None:
    assert [what for what, _ in milestones(before, now)] == events


def test_the_office_opens_by_its_own_clock() -> None:
    assert "77" in dict(milestones(BEGUN, OPENED))["open_for_service"]


# --- a machine that was replaced ------------------------------------------------------------------


def test_a_new_key_ends_the_conversation_whatever_session_its_machine_has() -> None:
    now = ended(Conversation(12, "old", 3, 40, ("a",), "a"))
    assert now == Conversation(12, "", 0, 0, ("a", "old"), "")
    what, after = hear(now, Spoken("new", 1, 90, 10), 12)
    assert (what, after.session, after.instance) == (Taken.GRANTED, 13, "new")
    what, _ = hear(after, Spoken("old", 3, 41, 12), 13)
    assert what is Taken.SUPERSEDED
