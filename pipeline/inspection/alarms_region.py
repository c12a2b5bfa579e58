"""Inspection, pure: from when on something of a region is an alarm; `inspection.alarms` offers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.inspection.alarm import Alarm
from pipeline.inspection.alarms_version import differs
from pipeline.inspection.custody import custody_alarms
from pipeline.inspection.refusals import SUPERSEDED, denial, refusal
from pipeline.said import Said, heard, say
from pipeline.settings import AlarmsPart
from pipeline.throttle.view import REASONS

_DAY_S = 86_400.0


def region_rules(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Every alarm of that document, in order."""
    yield from _link(depth["link"], depth["waiting"], limits)
    yield from _flow(depth, limits)
    yield from _counted(depth)
    yield from _old(depth, limits)
    yield from _disk(depth["runway"], limits)
    yield from custody_alarms(depth, limits)
    yield from _version(depth)


def _counted(depth: Mapping[str, Any]) -> Iterator[Alarm]:
    if n := depth["tallies"].get("lost"):
        text = say(
            "{n:,} enqueued packets are gone from the disk",
            "{n:,} paket yang sudah masuk antrean hilang dari cakram",
            n=n,
        )
        do = Said("see `titian doctor`, and look at the disk", "lihat `titian doctor`, dan periksa cakramnya")
        yield Alarm("lost", text, do, "fail")
    if n := depth["tallies"].get("forks"):
        text = say(
            "{n:,} times the center held other contents under our identity",
            "{n:,} kali pusat menyimpan isi lain di bawah identitas kita",
            n=n,
        )
        do = Said(
            "find out which folder is a copy; the packets were sent again under numbers of their own",
            "cari tahu folder mana yang salinan; paketnya sudah dikirim lagi dengan nomor tersendiri",
        )
        yield Alarm("forks", text, do)
    if n := depth["dead"]:
        do = Said(
            "`titian dead list` says which and why", "`titian dead list` menyebut yang mana dan sebabnya"
        )
        yield Alarm("dead", say("{n:,} packets were refused", "{n:,} paket ditolak", n=n), do)
    if n := depth["registry"]["kept_raw"]:
        text = say(
            "{n:,} frames of the center are not understood here",
            "{n:,} kiriman dari pusat tidak dipahami di sini",
            n=n,
        )
        yield Alarm("kept_raw", text, Said("update Titian", "perbarui Titian"))


def _link(link: Mapping[str, Any], waiting: int, limits: AlarmsPart) -> Iterator[Alarm]:
    if link["state"] == "not running":
        if waiting:
            text = Said(
                "this side is not running, and packets wait",
                "sisi ini tidak berjalan, padahal ada paket yang menunggu",
            )
            yield Alarm("not_running", text, Said("`titian up`", "`titian up`"), "fail")
        return
    if link["state"] == "unknown":
        text = Said("the worker has said nothing lately", "pekerja sudah lama tidak memberi kabar")
        yield Alarm("silent", text, Said("see DATA/run/logs", "lihat DATA/run/logs"), "fail")
    if link["superseded"]:
        yield Alarm("superseded", *SUPERSEDED, "fail")
    if link["refusal"]:
        yield Alarm("refused", *refusal(link["refusal"]), "fail")
    if link["denied"]:
        meaning, do = denial(link["denied"])
        text = say("{meaning} ({why})", "{meaning} ({why})", meaning=meaning, why=link["denied"])
        yield Alarm("denied", text, do, "fail")
    elif link["state"] == "down" and (link["down_for_s"] or 0) > limits.link_down_s:
        down = _minutes(link["down_for_s"])
        text = say("the link has been down for {down}", "sambungan sudah putus selama {down}", down=down)
        do = Said(
            "packets are kept and go when it is back; `titian doctor` says whether it is here",
            "paket tetap disimpan dan berangkat begitu sambungan pulih; `titian doctor` memeriksa sisi ini",
        )
        yield Alarm("link_down", text, do, "warn", link.get("since_ms"))
    yield from _clock(link["clock_off_ms"], limits)


def _minutes(seconds: float) -> Said:
    return (
        say("{n:.0f} min", "{n:.0f} mnt", n=seconds / 60)
        if seconds >= 60
        else say("{n:.0f} s", "{n:.0f} dtk", n=seconds)
    )


def _clock(off_ms: int | None, limits: AlarmsPart) -> Iterator[Alarm]:
    if off_ms is not None and abs(off_ms) > limits.clock_off_s * 1000:
        way = Said("behind", "tertinggal dari") if off_ms > 0 else Said("ahead of", "mendahului")
        text = say(
            "our clock is {n:,.0f} min {way} the center's",
            "jam kita {n:,.0f} mnt {way} jam pusat",
            n=abs(off_ms) / 60_000,
            way=way,
        )
        do = Said("set it (timedatectl), here or there", "setel jamnya (timedatectl), di sini atau di sana")
        yield Alarm("clock_off", text, do)


def _flow(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """Packets do not go, or hardly, though the link is up."""
    if depth["link"]["state"] != "up":
        return
    crowded_ms = depth["link"].get("congested_since_ms")
    if crowded_ms is not None and depth["at_ms"] - crowded_ms >= limits.congested_s * 1000:
        yield _congested(depth, crowded_ms)
    idle_since_ms = _idle_since_ms(depth)
    if idle_since_ms is not None and depth["at_ms"] - idle_since_ms > limits.not_moving_s * 1000:
        text = say(
            "packets wait and the link is up, but nothing has moved for {n:,.0f} min",
            "paket menunggu dan sambungan hidup, tetapi tidak ada yang bergerak selama {n:,.0f} mnt",
            n=(depth["at_ms"] - idle_since_ms) / 60_000,
        )
        do = Said(
            "see DATA/run/logs here, and whether the center's intake runs (`titian doctor` there)",
            "lihat DATA/run/logs di sini, dan apakah penerimaan di pusat berjalan (`titian doctor` di sana)",
        )
        yield Alarm("not_moving", text, do, "fail", idle_since_ms)
    lag_s = (depth.get("return") or {}).get("lag_s") or 0.0
    if lag_s > limits.return_lag_s:
        text = say(
            "what the center decided has not all come back for {n:,.0f} min",
            "putusan pusat belum semuanya kembali selama {n:,.0f} mnt",
            n=lag_s / 60,
        )
        do = Said(
            "`titian depth` says whether the link or the center is slow",
            "`titian depth` menunjukkan apakah sambungan atau pusat yang lambat",
        )
        yield Alarm("return_lag", text, do)


def _congested(depth: Mapping[str, Any], since_ms: int) -> Alarm:
    said = (depth.get("throttle") or {}).get("reason")
    reason = heard(said, REASONS.values()) if said else Said("others use it", "dipakai pihak lain")
    text = say(
        "the link has been congested for {n:,.0f} min: {reason}",
        "sambungan sudah padat selama {n:,.0f} mnt: {reason}",
        n=(depth["at_ms"] - since_ms) / 60_000,
        reason=reason,
    )
    do = Said(
        "find out what else uses the line; our packets go on, slowly, urgent ones first",
        "cari tahu apa lagi yang memakai jalur ini; paket kita tetap jalan, pelan, yang mendesak lebih dulu",
    )
    return Alarm("congested", text, do, "warn", since_ms)


def _idle_since_ms(depth: Mapping[str, Any]) -> int | None:
    """Since when something could have moved and nothing has; `None`: nothing waits that may go, or it is not
    known. A packet that came a moment ago, or a link that did, makes it younger."""
    if "moved_ms" not in depth or depth["link"].get("held_for_s") or depth["in_doubt"]:
        return None
    free = [lane for lane in depth["lanes"].values() if not lane.get("held")]
    began = [lane["oldest_ms"] for lane in free if lane.get("not_sent") and lane.get("oldest_ms")]
    under_way = any(lane.get("in_stream") for lane in depth["lanes"].values())
    if not began and not under_way:
        return None
    known = [ms for ms in (depth["moved_ms"], depth["link"].get("up_since_ms")) if ms is not None]
    if not under_way:
        known.append(min(began))
    return max(known, default=None)


def _old(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    ages = {label: lane["oldest_age_s"] or 0.0 for label, lane in depth["lanes"].items()}
    oldest = max(ages.values(), default=0.0)
    if oldest > limits.old_s:
        text = say(
            "the oldest packet has waited for {n:.1f} days",
            "paket terlama sudah menunggu {n:.1f} hari",
            n=oldest / _DAY_S,
        )
        do = say(
            "`titian depth` says what holds lane {label}; `titian trace` why one waits",
            "`titian depth` menyebut apa yang menahan lajur {label}; `titian trace` mengapa paket menunggu",
            label=max(ages, key=lambda one: ages[one]),
        )
        yield Alarm("old", text, do)


def _disk(runway: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    days = runway["full_in_days"]
    if runway["free_bytes"] <= runway["low_water_bytes"]:
        text = Said(
            "the disk is too full to enqueue",
            "cakram terlalu penuh untuk menerima paket baru ke dalam antrean",
        )
        yield Alarm("disk_full", text, Said("free space", "kosongkan ruang"), "fail")
    elif days is not None and days < limits.runway_days:
        text = say(
            "at this rate the disk is full in {n:g} days",
            "dengan laju ini cakram penuh dalam {n:g} hari",
            n=days,
        )
        do = Said(
            "free space, or have the packets go sooner (`titian depth`)",
            "kosongkan ruang, atau usahakan paket berangkat lebih cepat (`titian depth`)",
        )
        yield Alarm("runway", text, do)


def _version(depth: Mapping[str, Any]) -> Iterator[Alarm]:
    ours, theirs = str(depth.get("titian") or ""), str(depth["link"].get("center_titian") or "")
    if differs(ours, theirs):
        text = say(
            "the center has Titian {theirs}, this side {ours}",
            "pusat memakai Titian {theirs}, sisi ini {ours}",
            theirs=theirs,
            ours=ours,
        )
        do = Said(
            "update the older one; both go on as far as they understand each other",
            "perbarui yang lebih lama; keduanya jalan terus sejauh saling memahami",
        )
        yield Alarm("version", text, do)
