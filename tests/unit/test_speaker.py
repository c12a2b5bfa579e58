"""When a region speaks, and what it makes of the answers."""

from __future__ import annotations

import dataclasses

from pipeline.ports import Cursors
from pipeline.region.speaker import NEWS_S, REPEAT_S, VOICE_S, WAITING_REPEAT_S, Heard, Speaker
from schemas.messages import Ack, Back, Since, Want

NOWHERE = Cursors(0, 0, ())


def speaker() -> Speaker:
    return Speaker(instance="me", window_bytes=1000)


def say(one: Speaker, now_s: float, cursors: Cursors = NOWHERE) -> Want:
    return one.want(now_s, 1, epoch="k3v9qa", highest_seq=0, cursors=cursors, level=10)


def ack(one: Speaker, **other: object) -> Ack:
    base: dict[str, object] = {
        "n": one.n,
        "instance": one.instance,
        "grant": one.grant,
        "session": 7,
        "since": Since(incarnation="a"),
        "facts_top": 0,
        "records_top": 0,
        "window_bytes": 500,
        "epoch": "k3v9qa",
        "clock_ms": 1,
    }
    return Ack.model_validate(base | other)


def granted() -> Speaker:
    one = speaker()
    say(one, 0.0)
    assert one.hear(ack(one), 0.1, NOWHERE) is Heard.GRANTED
    return one


def test_the_first_want_is_due_at_once() -> None:
    assert speaker().due(0.0, NOWHERE, 10, waiting=False)


def test_a_want_stands_and_is_repeated_after_half_a_minute() -> None:
    one = granted()
    assert not one.due(REPEAT_S - 1, NOWHERE, 10, waiting=False)
    assert one.due(REPEAT_S, NOWHERE, 10, waiting=False)


def test_news_goes_at_most_once_a_second() -> None:
    one = granted()
    news = Cursors(5, 0, ())
    assert not one.due(NEWS_S / 2, news, 10, waiting=False)
    assert one.due(NEWS_S, news, 10, waiting=False)


def test_an_unanswered_want_is_repeated_sooner_while_something_waits_for_it() -> None:
    one = granted()
    say(one, 1.0)
    assert not one.due(1.0 + NEWS_S, Cursors(9, 0, ()), 10, waiting=True)
    assert one.due(1.0 + WAITING_REPEAT_S, NOWHERE, 10, waiting=True)


def test_an_ack_for_another_grant_changes_nothing() -> None:
    one = granted()
    one.ask_anew()
    assert one.hear(ack(one, grant=one.grant - 1), 1.0, NOWHERE) is Heard.STALE
    assert one.session == 0


def test_the_same_instance_may_be_led_into_a_later_session() -> None:
    one = granted()
    assert one.hear(ack(one, session=8), 1.0, NOWHERE) is Heard.GRANTED
    assert one.session == 8


def test_a_session_never_goes_back() -> None:
    one = granted()
    assert one.hear(ack(one, session=6), 1.0, NOWHERE) is Heard.STALE
    assert one.session == 7


def test_an_ack_to_another_instance_in_a_later_session_means_that_we_are_superseded() -> None:
    one = granted()
    assert one.hear(ack(one, instance="other", session=8), 1.0, NOWHERE) is Heard.SUPERSEDED
    assert not one.due(100.0, NOWHERE, 10, waiting=True)


def test_an_ack_to_another_instance_in_an_older_session_is_left_over() -> None:
    one = granted()
    assert one.hear(ack(one, instance="other", session=6), 1.0, NOWHERE) is Heard.STALE
    assert not one.superseded


def test_meeting_an_entry_of_a_later_session_without_an_ack_for_us_means_the_same() -> None:
    one = granted()
    one.meet(7)
    assert not one.superseded
    one.meet(8)
    assert one.superseded


def test_who_waits_for_a_session_is_not_superseded_by_what_is_left_over() -> None:
    one = speaker()
    one.meet(99)
    assert not one.superseded


def test_a_hold_lasts_as_long_as_the_center_says_and_a_later_ack_ends_it() -> None:
    one = granted()
    one.hear(ack(one, hold_s=20.0), 10.0, NOWHERE)
    assert one.hold_until_s == 30.0
    one.hear(ack(one), 11.0, NOWHERE)
    assert one.hold_until_s == 0.0


def test_a_refusal_to_our_key_is_kept_and_a_good_ack_clears_it() -> None:
    one = speaker()
    say(one, 0.0)
    assert one.hear(ack(one, instance="-", refusal="token_used"), 1.0, NOWHERE) is Heard.REFUSED
    assert one.refusal == "token_used"
    one.hear(ack(one), 2.0, NOWHERE)
    assert one.refusal == ""


def test_asking_anew_twice_before_a_grant_asks_once() -> None:
    one = granted()
    one.ask_anew()
    grant = one.grant
    one.ask_anew(whole=True)
    assert one.grant == grant
    assert one.whole


def test_the_lock_is_no_part_of_what_is_compared_or_shown() -> None:
    shown = repr(speaker())
    assert "_lock" not in shown
    assert {f.name for f in dataclasses.fields(Speaker)} >= {"grant", "session", "n"}


def test_a_session_that_begins_from_where_we_no_longer_are_is_not_taken() -> None:
    one = granted()
    assert one.hear(ack(one, session=8), 1.0, Cursors(5, 0, ())) is Heard.OUTDATED
    assert one.session == 7


def test_an_outdated_session_is_asked_for_anew_even_while_none_is_held() -> None:
    one = speaker()
    one.ask_anew(outdated=True)
    assert one.grant == 2


def in_a_second_session() -> Speaker:
    one = granted()
    one.ask_anew()
    say(one, 1.0)
    assert one.hear(ack(one, session=8), 1.1, NOWHERE) is Heard.GRANTED
    return one


def test_a_restored_ledger_that_answers_what_we_said_long_ago_is_no_other_instance() -> None:
    one = in_a_second_session()
    assert one.hear(ack(one, n=1, grant=1, session=9), 2.0, NOWHERE) is Heard.STALE
    one.meet(9)
    assert not one.superseded
    assert one.due(2.0, NOWHERE, 10, waiting=False)  # so that it hears where we are


def test_a_session_later_than_that_is_of_another_instance_after_all() -> None:
    one = in_a_second_session()
    one.hear(ack(one, n=1, grant=1, session=9), 2.0, NOWHERE)
    one.meet(10)
    assert one.superseded


# --- voices, and the way back of a rebuild --------------------------------------------------------


def test_what_a_voice_has_to_say_goes_at_once_but_not_all_the_time() -> None:
    one = granted()
    assert not one.due(VOICE_S / 2, NOWHERE, 10, waiting=False, voices=True)
    assert one.due(VOICE_S, NOWHERE, 10, waiting=False, voices=True)
    assert not one.due(VOICE_S, NOWHERE, 10, waiting=False)


def test_how_far_a_rebuild_has_got_is_news() -> None:
    one = speaker()
    back = Back(pass_no=1, floor=9, top=9, began_ms=1)
    here = Cursors(5, 9, (), False, back)
    assert say(one, 0.0, here).back == back
    one.hear(ack(one), 0.1, here)
    counted = back.model_copy(update={"left": 3, "total": 4})  # as far as before, counted now
    assert not one.due(NEWS_S, here._replace(back=counted), 10, waiting=False)
    further = back.model_copy(update={"floor": 5})
    assert not one.due(NEWS_S / 2, here._replace(back=further), 10, waiting=False)
    assert one.due(NEWS_S, here._replace(back=further), 10, waiting=False)
    assert one.due(NEWS_S, here._replace(back=None), 10, waiting=False)


def test_a_session_may_begin_behind_where_a_rebuild_has_got_for_that_does_no_harm() -> None:
    one = speaker()
    here = Cursors(5, 9, (), False, Back(pass_no=1, floor=9, top=9))
    say(one, 0.0, here)
    further = here._replace(back=Back(pass_no=2, floor=9, top=9))
    assert one.hear(ack(one), 0.1, further) is Heard.GRANTED


def test_a_region_that_has_begun_takes_no_session_that_was_made_for_a_fresh_one() -> None:
    one = speaker()
    assert say(one, 0.0, Cursors(0, 0, (), True)).fresh
    assert one.hear(ack(one), 0.1, Cursors(0, 0, ())) is Heard.OUTDATED


def test_cursors_that_went_back_by_themselves_ask_for_a_new_session() -> None:
    one = speaker()
    stood = Cursors(9, 4, ())
    say(one, 0.0, stood)
    one.hear(ack(one, session=3), 1.0, stood)
    assert say(one, 0.0, stood).session == 3
    gone_back = say(one, 0.0, Cursors(5, 4, ()))
    assert (gone_back.session, gone_back.grant, gone_back.facts) == (0, 2, 5)


def test_cursors_that_a_new_session_takes_back_ask_for_no_other() -> None:
    one = speaker()
    say(one, 0.0, Cursors(9, 4, ()))
    one.hear(ack(one, session=3), 1.0, Cursors(9, 4, ()))
    assert say(one, 0.0, Cursors(5, 4, ())).session == 3
