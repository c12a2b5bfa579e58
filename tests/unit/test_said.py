"""A sentence in both languages: the same values in each, and what another process said is known again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.center.behind import WHY_BEHIND
from pipeline.said import Said, Saying, heard, joined, say
from pipeline.throttle.view import REASONS


def test_numbers_wear_each_languages_marks_and_what_others_wrote_stays() -> None:
    said = say(
        "{n:,} packets for {days:.1f} days: {why}",
        "{n:,} paket {days:.1f} hari: {why}",
        n=1234,
        days=2.5,
        why="v1.2, {x}",
    )
    assert said == ("1,234 packets for 2.5 days: v1.2, {x}", "1.234 paket 2,5 hari: v1.2, {x}")


def test_a_part_is_said_in_the_language_of_the_whole() -> None:
    whole = say("for {long}", "selama {long}", long=Said("5 min", "5 mnt"))
    assert joined([whole, Said("on", "hidup")]) == ("for 5 min; on", "selama 5 mnt; hidup")


@pytest.mark.parametrize("saying", [*REASONS.values(), *WHY_BEHIND])
@given(st.integers(0, 10**9), st.floats(0, 1e9))
def test_what_another_process_said_in_english_is_known_again(
    saying: Saying, one: float, other: float
) -> None:
    said = saying.of(queue=one, target=other, n=one, first=other)
    assert heard(said.en, [*REASONS.values(), *WHY_BEHIND]) == said


def test_what_nobody_of_ours_said_is_shown_as_it_came() -> None:
    assert heard("the {link} is %s", REASONS.values()) == ("the {link} is %s", "the {link} is %s")
