"""The console's front without a browser: words in both languages, figures, headlines, the bar of the link."""

from __future__ import annotations

import re
from typing import Any

import pytest

from workers.console.figures import Figures
from workers.console.front import TEMPLATES, make_environment, page, stretches
from workers.console.headline import headline
from workers.console.words import LANGUAGES, language_of, script_words, words

STATIC = TEMPLATES.with_name("static")
_DAY_MS, NOW_MS = 86_400_000, 20_000 * 86_400_000


def sources() -> dict[str, str]:
    return {one.name: one.read_text() for one in (*TEMPLATES.glob("*.html"), *STATIC.glob("*.js"))}


def braces(text: str) -> list[str]:
    return sorted(re.findall(r"{(\w+)}", text))


def test_every_word_is_there_in_both_languages_with_the_same_places_to_fill() -> None:
    english, indonesian = words("en"), words("id")
    assert set(english) == set(indonesian)
    assert [key for key in english if braces(english[key]) != braces(indonesian[key])] == []
    assert not [key for one in (english, indonesian) for key, said in one.items() if not said.strip()]


def test_every_word_that_a_page_uses_is_there() -> None:
    asked = set()
    for name, text in sources().items():
        asked |= set(re.findall(r"""\bt\(["']([^"']+)["'][,)]""", text))
        asked |= set(re.findall(r'words\["([^"]+)"\]', text))
        asked |= set(re.findall(r"""live\([^)]*?, "([a-z_]+\.[a-z_]+)"(?:, "[a-z_.]+")?\)""", text))
        assert not re.search(r"\son\w+=|\sstyle=|<script>|javascript:|innerHTML =|\|\s*safe", text), name
    assert len(asked) > 150
    assert {key for key in asked if not key.endswith(".")} <= set(words("en"))
    assert {key for key in asked if key.startswith("js.")} <= set(script_words("en")) | {"js.connecting"}


def test_every_alarm_has_a_name() -> None:
    code = "".join(one.read_text() for one in (TEMPLATES.parents[2] / "pipeline/inspection").glob("*.py"))
    codes = set(re.findall(r'Alarm\(\s*"(\w+)"', code))
    assert len(codes) > 20
    assert {f"alarm.{one}" for one in codes} <= set(words("en"))


def test_every_template_can_be_read() -> None:
    environment = make_environment()
    assert len([environment.get_template(name) for name in environment.list_templates()]) >= 9


def test_a_browser_gets_the_language_it_likes_best_of_those_there_are() -> None:
    assert language_of("en-US,en;q=0.9,id;q=0.8") == "en"
    assert language_of("fr,id;q=0.4,en;q=0.3") == "id"
    assert language_of("in-ID") == "id"
    assert language_of("fr;q=x, de") == LANGUAGES[0] == "id"


def test_figures_have_their_units_and_three_digits() -> None:
    english, indonesian = Figures("en"), Figures("id")
    assert english.size(999) == "999 B"
    assert english.size(1_340_000) == "1.34 MB"
    assert indonesian.size(1_340_000) == "1,34 MB"
    assert english.number(22_909_293) == "22,909,293"
    assert indonesian.number(22_909_293) == "22.909.293"
    assert english.speed(12_400) == "12.4 kB/s"
    assert english.rate(0.05) == "3.00/min"
    assert english.rate(0) == "0/s"
    assert english.bits(8_000) == "64.0 kbit/s"
    assert english.bits(250_000) == "2.00 Mbit/s"
    assert english.ms(3.24) == "3.2 ms"
    assert english.ms(241.2) == "241 ms"
    assert [english.span(s) for s in (0, 0.4, 59.6, 200, 18_120, 273_600)] == [
        *("0 s", "0.4 s", "1 min", "3 min 20 s", "5 h 2 min", "3 d 4 h")
    ]
    assert indonesian.span(273_600) == "3 hari 4 jam"
    assert english.days(40_000) == "> 3,650 d"


@pytest.mark.parametrize("name", [name for name in vars(Figures) if not name.startswith("_")])
def test_what_is_not_known_is_a_dash(name: str) -> None:
    if name in ("three", "language"):
        return
    show = Figures("en")
    assert (show.clock(None, 0) if name == "clock" else getattr(show, name)(None)) == "–"


def region(**more: Any) -> dict[str, Any]:
    """A region with 312 biometric packets and nothing else."""
    rates = {"minute": {"out": {"bytes_s": 12_000.0}}}
    lanes = {
        "urgent": {"waiting": 0, "held": ""},
        "biometric": {"waiting": 312, "held": "", "opens_ms": None},
    }
    found = {
        "side": "region",
        "at_ms": NOW_MS,
        "waiting": 312,
        "waiting_bytes": 41_000_000,
        "unverdicted": 312,
        "oldest_ms": NOW_MS - 200_000,
        "lanes": lanes,
        "link": {"state": "up", "age_s": 1.0, "down_for_s": None},
        "rates": rates,
        "eta_s": 840.0,
        "throttle": {"state": "steady"},
        "alarms": [],
    }
    return found | more


def test_the_headline_says_what_waits_since_when_why_and_until_when() -> None:
    said = headline(region(), "en")
    assert said.text.startswith(
        "312 packets (41.0 MB) wait, the oldest for 3 min 20 s; they are on their way (12.0 kB/s)"
    )
    assert "done in about 14 min, at " in said.text
    assert said.level == "ok"
    assert headline(region(), "id").text.startswith("312 paket (41,0 MB) menunggu")


def test_the_headline_names_what_holds_packets() -> None:
    down = {"state": "down", "age_s": 1.0, "down_for_s": 3_600.0}
    assert (
        "the link has been down for 1 h; no time can be given"
        in headline(region(link=down, eta_s=None), "en").text
    )
    assert "others use the line" in headline(region(throttle={"state": "yield"}), "en").text
    lanes = region()["lanes"]
    paused = lanes | {"biometric": {"waiting": 312, "held": "lane biometric is paused by budi"}}
    assert "; Biometrics: held here; " in headline(region(lanes=paused), "en").text
    capped = lanes | {"biometric": {"waiting": 312, "held": "lane biometric is capped to 8,000 B/s"}}
    assert "held here" not in headline(region(lanes=capped), "en").text


def test_the_headline_is_read_out_again_only_when_its_cause_changes() -> None:
    assert headline(region(), "en").key == headline(region(waiting=311, eta_s=830.0), "en").key
    assert headline(region(), "en").key != headline(region(waiting=0, unverdicted=0), "en").key


def test_the_bar_of_the_link_is_whole_and_knows_what_it_does_not_know() -> None:
    turns = [
        {"what": "link up", "at_ms": NOW_MS - 3_600_000, "detail": ""},
        {"what": "throttle", "at_ms": NOW_MS - 4_000_000, "detail": "ramp"},
        {"what": "link down", "at_ms": NOW_MS - 7_200_000, "detail": ""},
        {"what": "link up", "at_ms": NOW_MS - 9 * _DAY_MS, "detail": ""},
    ]
    bar = stretches(turns, {"state": "up"}, NOW_MS)
    assert [one.state for one in bar] == ["up", "down", "up"]
    assert sum(one.width for one in bar) == pytest.approx(1000, abs=0.1)
    young = stretches(turns[:1], {"state": "not running", "age_s": 60.0}, NOW_MS)
    assert [one.state for one in young] == ["", "up", ""]
    assert [one.state for one in stretches([], {"state": "unknown", "age_s": None}, NOW_MS)] == [""]


def test_hostile_text_comes_out_as_text_and_without_marks_that_turn_it_round() -> None:
    common = {
        "side": "region",
        "place": "1806",
        "who": None,
        "csrf": "",
        "path": "/x",
        "version": "0",
        "done": None,
    }
    shown = page(
        make_environment(),
        "message.html",
        "en",
        **common,
        asset=str,
        now_ms=0,
        zone_min=420,
        title="failed",
        sentence="<script>alert(1)</script>\u202egnp.exe\x1b[2J",
        back="/",
        failed=[("'\"><img src=x>", "x")],
    )
    assert "<script>alert" not in shown
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert "UTC+07:00" in shown
