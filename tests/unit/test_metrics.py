"""A document of `depth` as metrics: every name, no more than is known, in both forms of the text."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from pipeline.inspection.metric_names import CENTER, COMMON, FAMILIES, REGION
from pipeline.inspection.metrics import Value, values, without_stores
from tests.unit.metrics_rig import AT_MS, center_document, region_document
from workers.exposition import exposed

ROOT = Path(__file__).resolve().parents[2]
OPEN = "application/openmetrics-text; version=1.0.0"
LABELS = {
    *("side", "region", "version", "code", "level", "figure", "group"),
    *("lane", "stage", "status", "direction", "window", "state", "service"),
}


def found(document: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {(one.name, *one.labels): one.value for one in values(document)}


def names(document: dict[str, Any]) -> set[str]:
    return {one.name for one in values(document)}


# --- which there are ------------------------------------------------------------------------------


def test_a_region_of_which_everything_is_known_shows_every_metric() -> None:
    assert {one.name for one in (*COMMON, *REGION)} - names(region_document()) == {"titian_left_out"}


def test_a_center_of_which_everything_is_known_shows_every_metric() -> None:
    assert {one.name for one in (*COMMON, *CENTER)} - names(center_document()) == {"titian_left_out"}


@pytest.mark.parametrize("document", [region_document(), center_document()], ids=["region", "center"])
def test_no_value_comes_twice_and_each_has_the_labels_of_its_family(document: dict[str, Any]) -> None:
    made = values(document)
    assert len(made) == len({(one.name, one.labels) for one in made})
    for one in made:
        family = FAMILIES[one.name]
        assert len(one.labels) == len(family.labels) + (family.kind == "stateset")


def test_names_keep_to_the_conventions() -> None:
    for family in FAMILIES.values():
        assert re.fullmatch(r"titian_[a-z]+(_[a-z]+)*", family.name)
        assert set(family.labels) <= LABELS
        assert not re.search(r"_(ms|minutes|hours|days|kib|mib|percent|count)$", family.name)
        assert not re.search(r'[\\\n"]', family.help), "it would have to be escaped"
        assert family.help


# --- what they say --------------------------------------------------------------------------------


def test_what_waits_is_told_apart_by_lane_and_stage() -> None:
    said = found(region_document())
    stages = {
        stage: said["titian_backlog_packets", "1806", "record", stage] for stage in ("not_sent", "in_stream")
    }
    assert stages == {"not_sent": 3, "in_stream": 2}
    assert said["titian_backlog_packets", "1806", "record", "at_center"] == 4  # 9 without a verdict less 5
    assert said["titian_backlog_bytes", "1806", "record", "in_stream"] == 2_000


def test_times_are_in_seconds() -> None:
    said = found(region_document())
    assert said["titian_link_rtt_seconds", "1806"] == 0.11
    assert said["titian_clock_offset_seconds", "1806"] == -1.5
    assert said["titian_disk_runway_seconds", "1806"] == 2 * 86_400
    assert said["titian_last_moved_timestamp_seconds", "1806"] == AT_MS / 1000 - 1


def test_the_throttle_is_in_one_state_in_each_direction() -> None:
    said = {key[2:]: value for key, value in found(region_document()).items() if "state" in key[0]}
    assert {key for key, value in said.items() if value} == {("up", "yield"), ("down", "steady")}
    assert len(said) == 10


def test_a_lane_that_people_keep_is_held() -> None:
    said = found(region_document())
    assert (said["titian_lane_held", "1806", "record"], said["titian_lane_held", "1806", "biometric"]) == (
        0,
        1,
    )


def test_a_link_of_which_nobody_knows_is_neither_up_nor_down() -> None:
    document = region_document()
    for state, shown in (("up", 1.0), ("down", 0.0), ("unknown", None), ("not running", None)):
        document["link"]["state"] = state
        assert found(document).get(("titian_link_up", "1806")) == shown


def test_each_region_of_a_center_has_its_values_and_its_own_words() -> None:
    said = found(center_document())
    assert said["titian_center_lag_seconds", "1001"] == 6.5
    assert said["titian_reported_rtt_seconds", "1000"] == 0.25
    assert said["titian_reported_disturbed", "1000", "sending"] == 1
    assert ("titian_reported_disturbed", "1000", "made up") not in said


def test_what_regions_call_their_version_becomes_no_endless_label() -> None:
    document = center_document() | {"versions": {f"0.{n}": 1 for n in range(50)} | {'a"}\n': 3, "0.1": 2}}
    versions = [key[1] for key in found(document) if key[0] == "titian_center_version_regions"]
    assert len(versions) <= 22
    assert found(document)["titian_center_version_regions", "other"] >= 3


def test_a_figure_that_is_not_known_is_left_out_and_nothing_else() -> None:
    whole, document = names(region_document()), region_document()
    document["throttle"] = document["return"] = document["moved_ms"] = None
    document["link"]["rtt_ms"] = None
    gone = whole - names(document)
    assert gone == {
        "titian_return_lag_seconds",
        "titian_return_facts_behind",
        "titian_return_records_behind",
        "titian_last_moved_timestamp_seconds",
        "titian_link_rtt_seconds",
    }


def test_a_group_that_cannot_be_made_is_named_and_the_others_are_there() -> None:
    document = region_document() | {"runway": "none"}
    said = found(document)
    assert said["titian_left_out", "region", "1806", "disk"] == 1
    assert ("titian_link_up", "1806") in said


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


REGION_PLACES, CENTER_PLACES = list(places(region_document())), list(places(center_document()))
ODD = st.sampled_from([None, "x", "", [], {}, -1, 1e400, float("nan"), True])


@given(data=st.data(), odd=ODD)
def test_whatever_a_document_says_a_scrape_does_not_fail(data: st.DataObject, odd: Any) -> None:
    for whole, where in ((region_document(), REGION_PLACES), (center_document(), CENTER_PLACES)):
        *path, last = data.draw(st.sampled_from(where))
        document = copy.deepcopy(whole)
        inside: Any = document
        for key in path:
            inside = inside[key]
        inside[last] = odd
        text = exposed(values(document))[0]
        assert "titian_info{" in text
        list(read(text))


def test_of_stores_that_cannot_be_read_it_is_said_that_they_cannot() -> None:
    text = exposed(without_stores("region", "1806", "0.1.0", running=True))[0]
    assert 'titian_stores_readable{region="1806",side="region"} 0.0' in text
    assert 'titian_running{region="1806",side="region"} 1.0' in text


# --- the form -------------------------------------------------------------------------------------


class Theirs(Collector):
    """The same values, for the library's own writer."""

    def __init__(self, made: list[Value]) -> None:
        self.made = made

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES.values():
            mine = [one for one in self.made if one.name == family.name]
            labels = (*family.labels, *([family.name] if family.kind == "stateset" else []))
            short = family.name.removesuffix("_total").removesuffix("_info")
            metric = Metric(short, family.help, family.kind)
            metric.samples = [
                Sample(one.name, dict(zip(labels, one.labels, strict=True)), one.value) for one in mine
            ]
            if mine:
                yield metric


def theirs(made: list[Value]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Theirs(made))
    return registry


DOCUMENTS = [region_document(), center_document(20), {"side": "region", "region": 'a\\"b\nc', "link": {}}]


@pytest.mark.parametrize("document", DOCUMENTS, ids=["region", "center", "hostile"])
def test_both_forms_are_what_the_library_writes(document: dict[str, Any]) -> None:
    made = values(document)
    assert exposed(made)[0].encode() == generate_latest(theirs(made))
    assert exposed(made, OPEN)[0].encode() == open_metrics.generate_latest(theirs(made))


@pytest.mark.parametrize("document", DOCUMENTS, ids=["region", "center", "hostile"])
def test_both_forms_read_back_to_the_same_values(document: dict[str, Any]) -> None:
    made = values(document)
    for reader, accept in ((read, ""), (read_open, OPEN)):
        back = [one.value for family in reader(exposed(made, accept)[0]) for one in family.samples]
        assert sorted(back) == sorted(one.value for one in made)


def test_the_form_is_as_the_scraper_asks() -> None:
    assert exposed([], "")[1].startswith("text/plain; version=0.0.4")
    assert exposed([], "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")[1].startswith(
        "application/openmetrics-text; version=1.0.0"
    )


# --- what others read of it -----------------------------------------------------------------------


def test_the_page_lists_every_metric_with_its_labels_and_meaning() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for family in FAMILIES.values():
        labels = ", ".join(family.labels) or " "
        row = f"| `{family.name}` | {labels} | {family.help} |"
        assert re.sub(r" +", " ", row) in re.sub(r" +", " ", page), family.name


FILES = sorted((ROOT / "compose/monitoring").glob("titian-*.*"))


def test_the_files_of_rules_and_dashboards_are_where_these_tests_look() -> None:
    assert {"titian-alerts.yml", "titian-region.json", "titian-center.json"} <= {one.name for one in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_rules_and_dashboards_ask_for_metrics_that_there_are(path: Path) -> None:
    asked = set(re.findall(r"(?<!:)\btitian_[a-z_]+\b(?!:)", path.read_text()))
    assert asked
    assert asked <= set(FAMILIES)


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


@pytest.mark.parametrize("name", ["titian-region.json", "titian-center.json"])
def test_a_dashboard_asks_the_chosen_source_and_each_panel_says_what_it_shows(name: str) -> None:
    dashboard = json.loads((ROOT / "compose/monitoring" / name).read_text())
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    assert "region" in [one["name"] for one in dashboard["templating"]["list"]]
    listed = list(panels(dashboard))
    assert len({one["id"] for one in listed}) == len(listed)
    for panel in listed:
        if panel["type"] not in ("row", "text"):
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
            assert panel["title"]
            assert panel["description"]
