"""The page that citizens read: small, without a script, harmless whatever it is told, in two languages."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from pipeline.inspection.notice import disturbed_now, notice_document
from pipeline.inspection.notice_causes import RECORDING, SERVICES, Cause
from pipeline.inspection.notice_own import BUILT_IN, EQUIPMENT, NOTICES_MAX, TEXT_CHARS_MAX, Notices, Own
from pipeline.inspection.notice_state import Limits, NoticeState, step
from pipeline.inspection.notice_until import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.settings import NoticePart
from workers.notice_page import words
from workers.notice_page.page import policy, public, to_html, to_json, to_text
from workers.notice_page.words import LANGS

WIB = timezone(timedelta(hours=7), "WIB")
#: 24 November 2026, 14:05 in Jakarta.
NOW_MS = 1_795_503_900_000
PART = NoticePart(office="Disdukcapil Kabupaten Tanggamus", phone="0729 555 0100")
LIMITS = Limits(0, 0, DAY_MS)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y> {{ 7*7 }} &amp;"


def own(n: int = 1, **changes: Any) -> Own:
    made = Own(
        n, "office", "Kantor tutup.", "The office is closed.", NOW_MS - HOUR_MS, None, NOW_MS - HOUR_MS
    )
    return replace(made, **changes)


def made(
    *found: Cause, own: tuple[Own, ...] = (), state: NoticeState | None = None, part: NoticePart = PART
) -> dict[str, Any]:
    """What is public when the side sees those causes."""
    state = step(state or NoticeState(), found, NOW_MS, LIMITS, WIB)
    return public(notice_document(state, Notices(own), NOW_MS, "1806", part), WIB)


DOWN = Cause("sending", "link_down", NOW_MS - 3 * HOUR_MS, NOW_MS + 2 * HOUR_MS)


class Page(html.parser.HTMLParser):
    """Tags in order, and whether each that was opened was closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def everything() -> dict[str, Any]:
    """As full a notice as there can be in practice."""
    found = [Cause(what, code) for code, what in EQUIPMENT.items()] + [DOWN]
    longest = "w" * (TEXT_CHARS_MAX // 2)
    several = tuple(own(n, text_id=longest, text_en=longest) for n in range(1, 6))
    planned = own(9, from_ms=NOW_MS + DAY_MS, until_ms=NOW_MS + 2 * DAY_MS)
    over = own(10, until_ms=NOW_MS - MINUTE_MS)
    return made(*found, own=(*several, planned, over))


def too_much() -> dict[str, Any]:
    """As many and as long as they may be."""
    longest = "<" * TEXT_CHARS_MAX
    several = tuple(own(n, text_id=longest, text_en=longest) for n in range(NOTICES_MAX))
    over = tuple(own(n, until_ms=NOW_MS - MINUTE_MS) for n in range(100, 140))
    return made(DOWN, own=(*several, *over))


FULL = (made(), made(DOWN), everything(), too_much())


@pytest.mark.parametrize("found", FULL, ids=["well", "down", "everything", "too much"])
def test_the_page_is_small_whole_and_without_a_script(found: dict[str, Any]) -> None:
    text = to_html(found)
    page = Page(text)
    assert len(text.encode()) < 15_000
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "style")]
    assert "http://" not in text
    assert "https://" not in text


def test_the_one_style_is_the_one_that_the_policy_allows() -> None:
    import base64
    import hashlib

    style = re.findall(r"<style>(.*?)</style>", to_html(made()), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1
    assert f"style-src 'sha256-{digest}'" in policy()
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()


def test_what_is_left_out_for_its_weight_is_said() -> None:
    text = to_html(too_much())
    assert "There is more: ask at the office." in text
    assert "Gangguan pengiriman data" in text
    assert "There is more" not in to_html(everything())


def test_hostile_words_are_shown_and_do_nothing() -> None:
    part = NoticePart(office=HOSTILE, phone=HOSTILE)
    text = to_html(made(own=(own(text_id=HOSTILE, text_en=HOSTILE),), part=part))
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text


def test_nothing_is_disturbed_is_said_in_words() -> None:
    found = made()
    assert found["all_well"] is True
    assert "Semua layanan berjalan normal." in to_html(found)
    assert "All services run normally." in to_text(found, "en")


def test_a_cut_is_told_as_a_neighbour_would() -> None:
    [one] = made(DOWN)["now"]
    assert one["why"]["en"] == "The line to the capital has been down since 11:05 WIB."
    assert one["why"]["id"] == (
        "Jaringan komunikasi data ke pusat di Jakarta terputus sejak pukul 11.05 WIB."
    )
    assert "you need not come again" in one["means"]["en"]
    assert "Perekaman KTP-el tetap berjalan" in one["means"]["id"]
    assert one["until"] == {"id": "sekitar pukul 16.30 WIB", "en": "about 16:30 WIB"}


def test_recording_is_not_promised_where_it_is_disturbed() -> None:
    found = made(DOWN, Cause(RECORDING, "camera"))
    sending = next(one for one in found["now"] if one["what"] == "sending")
    assert "Recording goes on" not in sending["means"]["en"]


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.2, "about 14:30 WIB"), (8, "today"), (24, "tomorrow"), (72, "Friday, 27 November 2026")],
)
def test_the_end_is_said_as_exactly_as_it_is_known(hours: float, said: str) -> None:
    cause = DOWN._replace(until_ms=NOW_MS + int(hours * HOUR_MS))
    assert made(cause)["now"][0]["until"]["en"] == said


def test_an_end_that_nobody_knows_names_the_next_look() -> None:
    [one] = made(DOWN._replace(until_ms=None))["now"]
    assert one["until"] == {
        "id": "belum diketahui; diperiksa lagi pukul 14.30 WIB",
        "en": "not known yet; next look at 14:30 WIB",
    }


def test_an_end_that_has_passed_since_the_last_look_is_not_said() -> None:
    state = step(NoticeState(), [DOWN], NOW_MS, LIMITS, WIB)
    found = public(notice_document(state, Notices(), NOW_MS + 5 * HOUR_MS, "1806", PART), WIB)
    assert found["now"][0]["until"]["en"] == "not known yet"
    assert found["as_of"]["en"] == "14:05 WIB on Tuesday, 24 November 2026"


def test_own_notices_are_planned_then_now_then_resolved_and_then_gone() -> None:
    one = own(from_ms=NOW_MS + DAY_MS, until_ms=NOW_MS + 2 * DAY_MS, shown_ms=NOW_MS)

    def shown(now_ms: int) -> list[str]:
        found = notice_document(NoticeState(), Notices((one,)), now_ms, "1806", PART)
        return [name for name in ("planned", "now", "resolved") if found[name]]

    assert shown(NOW_MS - 1) == []
    assert shown(NOW_MS) == ["planned"]
    assert shown(NOW_MS + DAY_MS) == ["now"]
    assert shown(NOW_MS + 2 * DAY_MS) == ["resolved"]
    assert shown(NOW_MS + 3 * DAY_MS) == []


def test_a_closed_office_records_and_prints_nothing_and_still_sends() -> None:
    assert made(own=(own(),))["disturbed"] == ["recording", "printing"]
    assert made(own=(own(what="printing"),))["disturbed"] == ["printing"]


class Kept:
    """A state as `watch.db` keeps it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self, name: str) -> Any:
        assert name == "notice"
        return self.value


def test_what_is_disturbed_is_told_to_the_center_as_well() -> None:
    state = step(NoticeState(), [DOWN], NOW_MS, LIMITS, WIB)
    assert disturbed_now(Kept(state.to_json())) == ["sending"]
    assert disturbed_now(Kept(None)) == []


def test_every_cause_has_words_in_both_languages() -> None:
    codes = {*EQUIPMENT, "link_down", "refused", "silent", "not_running", "in_doubt", "paused", "slow"}
    codes |= {"disk_full", "return_lag", "rebuild"}
    assert set(words._WHY) == codes
    for lang in LANGS:
        assert all(words.pick(pair, lang) for pair in words._WHY.values())
        assert all(words.service(what, lang) and words.title(what, lang) for what in (*SERVICES, "office"))
    assert all(one.text_id and one.text_en for one in BUILT_IN.values())


def test_a_code_of_a_newer_version_is_told_in_general_words() -> None:
    [one] = made(Cause("sending", "something-new"))["now"]
    assert one["why"]["en"] == "The cause is being looked into."


def test_the_json_has_its_version_and_both_languages() -> None:
    found = json.loads(to_json(made(DOWN)))
    assert found["version"] == 1
    assert found["made"] == "2026-11-24T14:05:00+07:00"
    assert set(found["now"][0]["title"]) == {"id", "en"}


def test_no_more_is_shown_than_anybody_reads() -> None:
    many = tuple(own(n) for n in range(1, 80))
    assert len(made(own=many)["now"]) == NOTICES_MAX
