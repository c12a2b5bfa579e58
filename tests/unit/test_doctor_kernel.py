"""The doctor's judgement of the kernel's part: asked for, granted, and what helps where not."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from pipeline.adapters.tcp_options import TcpHelp
from pipeline.inspection.doctor import Check, document
from pipeline.inspection.doctor_kernel import Host, Kernel, kernel

KERNEL = ("congestion control", "lower effort", "TCP_INFO", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT")
ALL = asdict(TcpHelp("bbr", True, tcp_info=True, user_timeout_ms=15_000, notsent_bytes=128 * 1024))
NONE = asdict(TcpHelp("cubic", False, tcp_info=False, user_timeout_ms=0, notsent_bytes=0))


def seen(**changed: Any) -> Kernel:
    host = Host(("reno", "cubic", "bbr"), ("reno", "cubic", "bbr"))
    return replace(Kernel("bbr", True, ALL, connected=True, host=host), **changed)


def said_of(**changed: Any) -> list[Check]:
    return list(kernel(seen(**changed)))


def test_all_that_was_asked_for_and_granted_is_said_to_be() -> None:
    found = said_of()
    assert [(one.name, one.level) for one in found] == [(f"kernel {name}", "ok") for name in KERNEL]
    assert all("on the connection to the center" in one.said for one in found)
    assert found[0].said.startswith("bbr: asked for and granted")
    assert "15 s" in found[3].said
    assert "128 KiB" in found[4].said


def test_what_was_not_granted_is_a_note_with_what_to_do_and_no_failure() -> None:
    found = said_of(held=NONE)
    assert {one.level for one in found} == {"note"}
    assert all(one.do for one in found)
    assert "cubic is used" in found[0].said
    assert document("region", 0, found)["healthy"] is True


@pytest.mark.parametrize(
    ("host", "do"),
    [
        (Host(("reno", "cubic"), ("reno", "cubic")), "modprobe tcp_bbr"),
        (
            Host(("reno", "cubic", "bbr"), ("reno", "cubic")),
            "tcp_allowed_congestion_control='reno cubic bbr'",
        ),
        (Host(("reno", "cubic", "bbr"), ("reno", "cubic", "bbr")), "titian stop"),
        (Host(), "Linux"),
    ],
    ids=["not loaded", "not allowed", "allowed since", "not a thing of this system"],
)
def test_what_helps_to_bbr_depends_on_how_far_it_is(host: Host, do: str) -> None:
    assert do in said_of(held=NONE, host=host)[0].do
    assert said_of(held=ALL, host=host)[0].level == "ok"


def test_what_nobody_asked_for_is_no_note() -> None:
    found = said_of(congestion="", lower_effort=False, held=NONE)
    assert [one.level for one in found[:2]] == ["ok", "ok"]
    assert "not asked for" in found[1].said
    assert "cubic" in found[0].said


def test_a_proxy_on_the_way_is_a_note() -> None:
    found = said_of(by_answers=True)[2]
    assert (found.name, found.level) == ("kernel TCP_INFO", "note")
    assert "a proxy" in found.said
