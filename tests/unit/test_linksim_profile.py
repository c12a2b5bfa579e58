"""How links are written."""

from __future__ import annotations

import pytest

from pipeline.errors import UsageError
from pipeline.linksim import PROFILES, Address, LinkProfile, parse_address, parse_profile, parse_rate


@pytest.mark.parametrize(
    ("text", "rate_bit_s"),
    [
        ("2M", 2_000_000),
        ("128k", 128_000),
        ("1.5 Mbit/s", 1_500_000),
        ("512000", 512_000),
        ("1Gbps", 10**9),
        (" 64kbit ", 64_000),
    ],
)
def test_a_rate_reads_in_decimal_units(text: str, rate_bit_s: int) -> None:
    assert parse_rate(text) == rate_bit_s


@pytest.mark.parametrize("text", ["", "0", "-2M", "2X", "fast", "2MB", "M", "0.0001"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="128k"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:7000", Address("10.0.0.1", 7000)),
        (":7000", Address("127.0.0.1", 7000)),
        ("[::1]:80", Address("::1", 80)),
        ("center.example:0", Address("center.example", 0)),
    ],
)
def test_an_address_reads_and_prints(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:port", "host:70000", "host:-1", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text)


def test_a_profile_reads_by_its_name_or_its_figures() -> None:
    assert parse_profile("regency-2m") is PROFILES["regency-2m"]
    assert parse_profile("2M/50ms") == PROFILES["regency-2m"]
    assert parse_profile("128k/100ms/32k") == PROFILES["district-128k"]


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="regency-2m"):
        parse_profile("regency-3m")


@pytest.mark.parametrize(
    "wrong", [{"rate_up_bit_s": 0}, {"rate_down_bit_s": -1}, {"delay_ms": -1}, {"buffer_bytes": 0}]
)
def test_a_link_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    right: dict[str, int] = {
        "rate_up_bit_s": 1,
        "rate_down_bit_s": 1,
        "delay_ms": 0,
        "buffer_bytes": 1,
    }
    with pytest.raises(UsageError):
        LinkProfile(**(right | wrong))  # type: ignore[arg-type]


def test_the_demo_link_says_what_it_is() -> None:
    assert str(PROFILES["regency-2m"]) == "2 Mbit/s, 100 ms round trip, 64 KiB buffer"
