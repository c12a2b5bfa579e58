"""The public notice in a real browser: one A4 page for the office's door, readable on a phone, no script."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.inspection.notice import notice_document
from pipeline.inspection.notice_causes import Cause
from pipeline.inspection.notice_own import BUILT_IN, Notices, Own
from pipeline.inspection.notice_state import Limits, NoticeState, step
from pipeline.inspection.notice_until import DAY_MS, HOUR_MS
from pipeline.settings import NoticePart
from tests.nightly.browser_rig import chromium
from workers.notice_page.page import public, to_html

pytestmark = [pytest.mark.nightly, pytest.mark.filterwarnings("default")]

NOW_MS = 1_795_503_900_000
PART = NoticePart(office="Disdukcapil Kabupaten Tanggamus", phone="0729 555 0100")
CAUSES = (
    Cause("sending", "link_down", NOW_MS - HOUR_MS, NOW_MS + 2 * HOUR_MS),
    Cause("printing", "printer", NOW_MS - HOUR_MS),
    Cause("recording", "camera", NOW_MS - HOUR_MS),
)


def own(name: str, n: int, in_days: int) -> Own:
    words, from_ms = BUILT_IN[name], NOW_MS + in_days * DAY_MS
    return Own(n, words.what, words.text_id, words.text_en, from_ms, from_ms + DAY_MS, NOW_MS - DAY_MS)


def page(*found: Cause, own: tuple[Own, ...] = ()) -> str:
    state = step(NoticeState(), found, NOW_MS, Limits(0, 0, DAY_MS))
    return to_html(public(notice_document(state, Notices(own), NOW_MS, "1806", PART)))


PAGES = {
    "well": page(),
    "a cut": page(CAUSES[0]),
    "everything": page(
        *CAUSES, own=(own("blank-cards", 1, 0), own("maintenance", 2, 3), own("holiday", 3, -1))
    ),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(params=list(PAGES))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "notice.html"
    path.write_text(PAGES[request.param])
    return path


def test_it_prints_on_one_a4_page(browser: Any, file: Path) -> None:
    shown = browser.new_page()
    shown.goto(file.as_uri())
    pdf: bytes = shown.pdf(prefer_css_page_size=True)
    shown.close()
    assert re.findall(rb"/Type /Pages\s+/Count (\d+)", pdf) == [b"1"]
    [[width, height]] = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert (round(float(width)), round(float(height))) == (595, 842), "A4 in points"


@pytest.mark.parametrize(("scheme", "width"), list(itertools.product(("light", "dark"), (320, 1280))))
def test_it_is_readable_on_an_old_phone_in_either_scheme(
    browser: Any, file: Path, scheme: str, width: int
) -> None:
    complaints: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 700}, color_scheme=scheme, java_script_enabled=True
    )
    shown = context.new_page()
    shown.on("console", lambda said: complaints.append(said.text))
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width, "nothing goes over the edge"
    size, ink, paper = shown.evaluate(
        "(s => [parseFloat(s.fontSize), s.color, s.backgroundColor])(getComputedStyle(document.body))"
    )
    context.close()
    assert size >= 18
    assert abs(_brightness(ink) - _brightness(paper)) > 150
    assert (_brightness(paper) < 100) == (scheme == "dark")
    assert not complaints, "the policy lets the one style through"


def _brightness(colour: str) -> float:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3
