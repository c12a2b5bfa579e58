"""`/metrics`, `/healthz`, `/readyz`, `titian metrics`: who may read, what they say, and what they do not."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from pipeline.adapters.folder import open_folder
from pipeline.inspection.health import RESIDENTS, document, healthy, ready
from tests.unit.cli_rig import Sides, Titian, line, make_sides, write_lines
from workers import running
from workers.console import metrics_routes
from workers.console.app import make_app
from workers.console.passwords import hash_token
from workers.console.side import Side
from workers.console.users import Token, UserFile
from workers.measured import depth_of

LOOPBACK, ELSEWHERE = ("127.0.0.1", 50_000), ("10.1.2.3", 50_000)


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


@dataclass
class Seen:
    """The thread that looks, as far as these routes know it."""

    document: dict[str, Any] | None = None

    def latest(self) -> dict[str, Any] | None:
        return self.document


@dataclass
class Client:
    """Asks the routes from an address."""

    app: Starlette
    where: tuple[str, int]

    def get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer."""

        async def ask() -> httpx.Response:
            way = httpx.ASGITransport(app=self.app, client=self.where)
            async with httpx.AsyncClient(transport=way, base_url="http://titian") as client:
                return await client.get(url, headers=headers)

        return asyncio.run(ask())


def client(path: Path, seen: Seen, where: tuple[str, int] = LOOPBACK) -> Client:
    side = Side(open_folder(path), seen)  # type: ignore[arg-type]  # only `latest` is asked for
    return Client(Starlette(routes=metrics_routes.routes(side)), where)


def fresh(path: Path) -> Seen:
    return Seen(depth_of(open_folder(path)))


# --- who may read ---------------------------------------------------------------------------------


def test_metrics_are_for_this_machine(sides: Sides) -> None:
    assert client(sides.region, Seen()).get("/metrics").status_code == 200
    assert client(sides.region, Seen(), ("::1", 5)).get("/metrics").status_code == 200
    assert client(sides.region, Seen(), ELSEWHERE).get("/metrics").status_code == 403


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for"])
def test_who_comes_through_a_proxy_on_this_machine_is_not_of_this_machine(sides: Sides, header: str) -> None:
    said = client(sides.region, Seen()).get("/metrics", headers={header: "10.1.2.3"})
    assert said.status_code == 403


def test_metrics_are_for_everybody_where_the_settings_say_so(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_CONSOLE__METRICS_OPEN", "true")
    assert client(sides.region, Seen(), ELSEWHERE).get("/metrics").status_code == 200


def test_metrics_are_for_whoever_has_a_token_of_the_console(sides: Sides) -> None:
    folder = open_folder(sides.region)
    token = "prometheus-" + "x" * 32
    UserFile(folder.path).change(
        lambda users: users.with_token("scrape", Token("reader", 0, hash_token(token)))
    )
    side = Side(folder, Seen())  # type: ignore[arg-type]
    asking = Client(make_app(side), ELSEWHERE)
    assert asking.get("/metrics").status_code == 403
    assert asking.get("/metrics", {"authorization": "Bearer " + "y" * 32}).status_code == 403
    assert "titian_info" in asking.get("/metrics", {"authorization": f"Bearer {token}"}).text


# --- what a scrape says ---------------------------------------------------------------------------


def test_a_scrape_takes_the_newest_document_and_makes_its_own_where_that_is_old(sides: Sides) -> None:
    seen = fresh(sides.region)
    assert seen.document is not None
    seen.document["eta_s"] = 4711.0
    assert "4711.0" in client(sides.region, seen).get("/metrics").text
    seen.document["at_ms"] -= 60_000
    assert "4711.0" not in client(sides.region, seen).get("/metrics").text


def test_a_scrape_of_stores_that_are_gone_says_so(sides: Sides) -> None:
    (sides.region / "outbox.db").write_bytes(b"not a database" * 1_000)
    said = client(sides.region, Seen()).get("/metrics")
    assert said.status_code == 200
    assert 'titian_stores_readable{region="1806",side="region"} 0.0' in said.text


def test_a_scrape_is_small_only_where_that_is_asked_for(sides: Sides) -> None:
    asking = client(sides.center, Seen())
    plain = asking.get("/metrics", headers={"accept-encoding": "identity"})
    small = asking.get("/metrics", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.content) / 2
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_command_prints_the_same_while_nothing_runs(titian: Titian, sides: Sides) -> None:
    assert (
        'titian_running{region="1806",side="region"} 0.0' in titian.ok("metrics", "--data", sides.region).out
    )
    assert "titian_center_regions" in titian.ok("metrics", "--data", sides.center).out


def test_nobody_is_named_in_a_scrape(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    payload = {"nik": "1806015201900042", "nama": "SITI UNIKUM"}
    lines = write_lines(tmp_path / "packets.ndjson", {"kind": "enrolment", "payload": payload}, line(2))
    titian.ok("enqueue", "--data", sides.region, lines)
    titian.ok("pause", "biometric", "--data", sides.region, "--reason", "UNIKUM GRUND")
    sides.take_over()
    for path in (sides.region, sides.center):
        text = client(path, Seen()).get("/metrics").text
        assert "titian_" in text
        assert "UNIKUM" not in text
        assert "1806015201900042" not in text


# --- healthy --------------------------------------------------------------------------------------


def move(path: Path, side: str, at_s: float) -> None:
    for name in RESIDENTS[side]:
        tick = open_folder(path).run / f"{name}.tick"
        tick.touch()
        os.utime(tick, (at_s, at_s))


def test_the_residents_are_those_that_run() -> None:
    for side, roles in (("region", running.REGION_ROLES), ("center", running.CENTER_ROLES)):
        assert sorted(f"{one}.tick" for one in RESIDENTS[side]) == sorted(sum(roles.values(), ()))


def test_a_side_that_looks_and_moves_is_healthy(sides: Sides) -> None:
    move(sides.region, "region", time.time())
    said = client(sides.region, fresh(sides.region)).get("/healthz")
    assert said.status_code == 200
    assert said.json()["ok"] is True
    assert {one["name"] for one in said.json()["checks"]} == {"look", "push", "pull"}


def test_a_resident_that_stands_still_makes_it_unhealthy_and_is_named(sides: Sides) -> None:
    move(sides.region, "region", time.time())
    os.utime(sides.region / "run" / "pull.tick", (time.time() - 60, time.time() - 60))
    said = client(sides.region, fresh(sides.region)).get("/healthz")
    assert said.status_code == 503
    assert [one["name"] for one in said.json()["checks"] if not one["ok"]] == ["pull"]


def test_a_process_that_has_not_looked_yet_is_not_healthy(sides: Sides) -> None:
    move(sides.center, "center", time.time())
    said = client(sides.center, Seen()).get("/healthz")
    assert said.status_code == 503
    assert [one["name"] for one in said.json()["checks"] if not one["ok"]] == ["look"]


def test_how_old_a_look_may_be_goes_by_how_often_one_is_taken() -> None:
    def ok(age_s: float, every_s: float) -> bool:
        return all(one.ok for one in healthy(age_s, every_s, {}))

    assert (ok(14, 1), ok(16, 1), ok(24, 5), ok(26, 5)) == (True, False, True, False)


def test_others_learn_which_check_failed_and_no_more(sides: Sides) -> None:
    here = client(sides.region, Seen()).get("/healthz").json()
    there = client(sides.region, Seen(), ELSEWHERE).get("/healthz")
    assert there.status_code == 503
    assert all("said" in one for one in here["checks"])
    assert all(set(one) == {"name", "ok", "needed"} for one in there.json()["checks"])


# --- ready ----------------------------------------------------------------------------------------


def test_a_side_that_does_not_run_is_not_ready(sides: Sides) -> None:
    for path in (sides.region, sides.center):
        said = client(path, Seen()).get("/readyz")
        assert said.status_code == 503
        assert [one["name"] for one in said.json()["checks"] if one["needed"] and not one["ok"]] == [
            "workers"
        ]


def ok(**changes: Any) -> dict[str, Any]:
    well: dict[str, Any] = {
        "stores": {"outbox": ""},
        "room_bytes": 5,
        "workers": {"region": True},
        "brokers": {"broker": ""},
        "link": "up",
    }
    return document(ready(**well | changes), in_words=True)


def test_a_region_is_ready_without_its_link() -> None:
    assert ok()["ok"] is True
    assert ok(link="down")["ok"] is True
    assert {"name": "link", "ok": False, "needed": False, "said": "down"} in ok(link="down")["checks"]


@pytest.mark.parametrize(
    "changes",
    [
        {"stores": {"outbox": "damaged"}},
        {"room_bytes": 0},
        {"room_bytes": -1},
        {"workers": {"region": False}},
        {"workers": {}},
        {"brokers": {"broker": "ConnectionError"}},
    ],
    ids=json.dumps,
)
def test_it_is_not_ready_without_anything_else(changes: dict[str, Any]) -> None:
    assert ok(**changes)["ok"] is False


def test_a_ledger_on_another_machine_needs_no_room_here() -> None:
    assert ok(room_bytes=None)["ok"] is True
