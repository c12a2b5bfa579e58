"""Inspection, pure: from when on something of a center is an alarm. `pipeline.inspection.alarms` offers it.

Hundreds of regions may be silent at once: one alarm names a few of them and counts the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.center.behind import WHY_BEHIND
from pipeline.inspection.alarm import Alarm
from pipeline.inspection.alarms_version import older
from pipeline.said import NOTHING, Said, as_it_came, heard, say
from pipeline.settings import AlarmsPart
from schemas.messages import WIRE_VERSION

_DAY_S = 86_400.0
#: So many regions are named; the rest is counted.
NAMED = 5


def center_rules(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Every alarm of that document, in order."""
    if not depth["running"] and (depth["unverdicted"] or depth["regions"]):
        text = Said("this side is not running", "sisi ini tidak berjalan")
        yield Alarm("not_running", text, as_it_came("`titian up`"), "fail")
    yield from _behind(depth.get("restraint"))
    yield from _counted(depth, limits)
    yield from _disk(depth.get("runway"), limits)
    yield from _regions([one for one in depth["regions"] if isinstance(one, Mapping)], depth, limits)


def _counted(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    if n := depth["quarantined"]:
        do = Said(
            "`titian dead list` says which and why", "`titian dead list` menyebut yang mana dan sebabnya"
        )
        yield Alarm("quarantine", say("{n:,} frames were kept aside", "{n:,} kiriman disisihkan", n=n), do)
    oldest = depth["oldest_unverdicted_ms"]
    if oldest is not None and depth["at_ms"] - oldest > limits.old_s * 1000:
        text = say(
            "a packet has waited for its verdict for {n:.1f} days",
            "ada paket yang sudah {n:.1f} hari menunggu putusan",
            n=(depth["at_ms"] - oldest) / _DAY_S / 1000,
        )
        do = Said(
            "see whether `validate` runs, and what its rules wait for",
            "periksa apakah `validate` berjalan, dan apa yang ditunggu aturannya",
        )
        yield Alarm("old", text, do, "warn", oldest)
    if n := depth["lost"]:
        text = say(
            "{n:,} packets were lost with their office's disk",
            "{n:,} paket hilang bersama cakram kantornya",
            n=n,
        )
        yield Alarm(
            "losses", text, Said("`titian losses` says whose", "`titian losses` menyebut milik siapa")
        )
    if n := depth["counters"].get("forks"):
        text = say(
            "{n:,} packets came with other contents under a known identity",
            "{n:,} paket datang dengan isi lain di bawah identitas yang sudah dikenal",
            n=n,
        )
        do = Said(
            "ask those offices whether they run a copy of an older folder",
            "tanyakan kepada kantor itu apakah mereka menjalankan salinan folder lama",
        )
        yield Alarm("forks", text, do)


def _behind(restraint: Mapping[str, Any] | None) -> Iterator[Alarm]:
    if restraint is None or not restraint["step"]:
        return
    asks = (
        Said(
            "asks its regions to hold (urgent packets go)",
            "meminta daerah-daerahnya menahan (paket mendesak tetap jalan)",
        )
        if restraint["hold_s"]
        else say(
            "lets each region send {n:,} KiB at a time",
            "membatasi setiap daerah {n:,} KiB sekali kirim",
            n=restraint["window_bytes"] // 1024,
        )
    )
    text = say(
        "the center {asks}: {why}",
        "pusat {asks}: {why}",
        asks=asks,
        why=heard(str(restraint["why"]), WHY_BEHIND),
    )
    do = Said(
        "it lets go by itself; if it lasts, look at this machine's load and disk",
        "nanti longgar dengan sendirinya; jika berlangsung lama, periksa beban dan cakram mesin ini",
    )
    yield Alarm("behind", text, do)


def _disk(runway: Mapping[str, Any] | None, limits: AlarmsPart) -> Iterator[Alarm]:
    """The room of the ledger, where the document says it."""
    if runway is None or runway.get("free_bytes") is None:
        return
    days = runway.get("full_in_days")
    if runway["free_bytes"] <= runway.get("low_water_bytes", 0):
        text = Said(
            "the ledger's disk is too full: regions are asked to hold",
            "cakram buku besar terlalu penuh: daerah-daerah diminta menahan",
        )
        yield Alarm("disk_full", text, Said("free space", "kosongkan ruang"), "fail")
    elif days is not None and days < limits.runway_days:
        text = say(
            "at this rate the ledger's disk is full in {n:g} days",
            "dengan laju ini cakram buku besar penuh dalam {n:g} hari",
            n=days,
        )
        do = Said(
            "free space, or keep less (`ledger.events_days`)",
            "kosongkan ruang, atau simpan lebih sedikit (`ledger.events_days`)",
        )
        yield Alarm("runway", text, do)


def _regions(
    regions: Sequence[Mapping[str, Any]], depth: Mapping[str, Any], limits: AlarmsPart
) -> Iterator[Alarm]:
    silent = [one["region"] for one in regions if _silent(one, limits)]
    if silent and depth["running"]:
        text = say(
            "{who} {have} not been heard for {n:,.0f} min or longer",
            "{who} tanpa kabar selama {n:,.0f} mnt atau lebih",
            who=_named(silent),
            have="has" if len(silent) == 1 else "have",
            n=limits.silent_s / 60,
        )
        do = Said(
            "call the office: is its machine on, and its line up?",
            "hubungi kantornya: apakah mesinnya menyala, dan jalurnya hidup?",
        )
        yield Alarm("region_silent", text, do)
    newer = [one["region"] for one in regions if (one.get("wire") or 0) > WIRE_VERSION]
    ours = str(depth.get("titian") or "")
    behind = [one["region"] for one in regions if older(str(one.get("titian") or ""), ours)]
    if newer:
        text = say(
            "a newer wire than this center's is spoken by {who}",
            "versi kawat yang lebih baru daripada milik pusat ini dipakai {who}",
            who=_named(newer),
        )
        yield Alarm("version", text, Said("update this center", "perbarui pusat ini"), "fail")
    elif behind:
        text = say(
            "an older Titian than {ours} runs at {who}",
            "Titian yang lebih lama dari {ours} berjalan di {who}",
            ours=ours,
            who=_named(behind),
        )
        yield Alarm("version", text, Said("have it updated there", "minta diperbarui di sana"))


def _silent(region: Mapping[str, Any], limits: AlarmsPart) -> bool:
    """Whether it joined, is not revoked, and was not heard for so long."""
    if region.get("state") != "joined":
        return False
    seen_s = region.get("last_seen_s")
    return bool(region.get("silent")) or (seen_s is not None and seen_s > limits.silent_s)


def _named(codes: Sequence[str]) -> Said:
    """`region 1806`; `7 regions (1801, 1802, 1803, 1804, 1805 and 2 more)`."""
    if len(codes) == 1:
        return say("region {code}", "daerah {code}", code=codes[0])
    more = say(" and {n:,} more", " dan {n:,} lagi", n=len(codes) - NAMED) if len(codes) > NAMED else NOTHING
    return say(
        "{n:,} regions ({names}{more})",
        "{n:,} daerah ({names}{more})",
        n=len(codes),
        names=", ".join(codes[:NAMED]),
        more=more,
    )
