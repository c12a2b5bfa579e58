"""The public notice in words, Indonesian and English, as an office would put it: no jargon, no blame."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal

Lang = Literal["id", "en"]
LANGS: tuple[Lang, ...] = ("id", "en")
#: From such a step on only the day is said.
_DAY_MS = 86_400_000
_DAYS = {
    "id": ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS = {
    "id": (
        *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
        *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
_TITLES = {
    "recording": ("Gangguan perekaman KTP-el", "Recording is disturbed"),
    "sending": ("Gangguan pengiriman data", "Sending of data is disturbed"),
    "printing": ("Gangguan pencetakan KTP-el", "Printing of cards is disturbed"),
    "office": ("Pengumuman kantor", "Notice of this office"),
}
_SERVICES = {
    "recording": ("Perekaman KTP-el", "Recording (photo, fingerprints)"),
    "sending": ("Pengiriman data ke pusat", "Sending of data to the center"),
    "printing": ("Pencetakan KTP-el", "Printing of cards"),
    "office": ("Pelayanan kantor", "Service of this office"),
}
_WHY = {
    "link_down": (
        "Jaringan komunikasi data ke pusat di Jakarta terputus sejak {since}.",
        "The line to the capital has been down since {since}.",
    ),
    "refused": (
        "Sambungan ke pusat data sedang dibenahi oleh petugas.",
        "The connection to the center is being put in order.",
    ),
    "silent": ("Sistem pengiriman sedang diperiksa.", "The system that sends the data is being checked."),
    "not_running": (
        "Sistem pengiriman di kantor ini sedang tidak berjalan.",
        "The system that sends the data is not running at this office.",
    ),
    "in_doubt": (
        "Data yang tersimpan sedang dicocokkan dengan pusat sebelum dikirim.",
        "What is kept here is being compared with the center before it is sent.",
    ),
    "paused": (
        "Pengiriman sedang dihentikan sementara oleh kantor.",
        "The office has halted sending for a while.",
    ),
    "slow": (
        "Jaringan sedang padat, sehingga pengiriman lebih lambat dari biasanya.",
        "The line is busy, so sending takes longer than usual.",
    ),
    "network": ("Jaringan di kantor ini sedang diperbaiki.", "The network of this office is being repaired."),
    "disk_full": (
        "Tempat penyimpanan data di kantor ini penuh dan sedang ditambah.",
        "The storage at this office is full and is being extended.",
    ),
    "camera": ("Kamera sedang diperbaiki.", "The camera is being repaired."),
    "fingerprint": (
        "Alat pemindai sidik jari sedang diperbaiki.",
        "The fingerprint scanner is being repaired.",
    ),
    "iris": ("Alat pemindai iris mata sedang diperbaiki.", "The iris scanner is being repaired."),
    "signature": ("Alat tanda tangan sedang diperbaiki.", "The signature pad is being repaired."),
    "printer": ("Mesin cetak KTP-el sedang diperbaiki.", "The card printer is being repaired."),
    "return_lag": (
        "Hasil pemeriksaan dari pusat datang lebih lambat dari biasanya.",
        "What the center has checked comes back later than usual.",
    ),
    "rebuild": (
        "Data penduduk sedang dipulihkan dari pusat setelah penggantian komputer.",
        "The records are being brought back from the center after a change of computers.",
    ),
}
_UNKNOWN_WHY = ("Penyebabnya sedang diperiksa.", "The cause is being looked into.")
#: What it means for whoever stands at the door; the second of sending where nothing can be recorded either.
_MEANS = {
    "recording": (
        "Untuk sementara perekaman belum dapat dilayani sepenuhnya. Data yang sudah direkam sebelumnya "
        "tersimpan aman dan tidak perlu direkam ulang.",
        "Recording cannot be offered in full for now. What was recorded before is kept; you need not come "
        "again for that.",
    ),
    "sending": (
        "Perekaman KTP-el tetap berjalan. Data Anda yang direkam hari ini tersimpan aman dan akan terkirim "
        "dengan sendirinya; Anda tidak perlu datang lagi untuk perekaman ulang.",
        "Recording goes on. What you have recorded today is kept and will be sent by itself; you need not "
        "come again to record.",
    ),
    "sending alone": (
        "Data yang sudah direkam tersimpan aman dan akan terkirim dengan sendirinya; Anda tidak perlu datang "
        "lagi untuk perekaman ulang.",
        "What has been recorded is kept and will be sent by itself; you need not come again to record.",
    ),
    "printing": (
        "KTP-el dicetak setelah gangguan selesai. Data Anda tersimpan aman; tidak perlu perekaman ulang.",
        "Cards are printed as soon as this is over. Your data are kept; you need not record again.",
    ),
}
PAGE = {
    "title": ("Informasi Layanan KTP-el", "KTP-el service notice"),
    "well": ("Semua layanan berjalan normal.", "All services run normally."),
    "works": ("berjalan", "runs"),
    "disturbed": ("terganggu", "disturbed"),
    "since": ("Sejak", "Since"),
    "until": ("Perkiraan selesai", "Expected until"),
    "from": ("Mulai", "From"),
    "to": ("Sampai", "Until"),
    "planned": ("Jadwal mendatang", "Planned"),
    "resolved": ("Sudah pulih", "Resolved"),
    "more": ("Masih ada pengumuman lain: tanyakan kepada petugas.", "There is more: ask at the office."),
    "sorry": ("Mohon maaf atas ketidaknyamanan ini.", "We are sorry for the inconvenience."),
    "phone": ("Informasi", "Questions"),
    "as_of": ("Keadaan per", "As of"),
    "renewed": (
        "Halaman ini diperbarui sendiri tiap 5 menit. Bila waktu di atas sudah lama, tanyakan "
        "kepada petugas.",
        "This page renews itself every 5 minutes. If the time above is long past, ask at the office.",
    ),
}


def pick(pair: tuple[str, str], lang: Lang) -> str:
    """The one of (Indonesian, English)."""
    return pair[0] if lang == "id" else pair[1]


def page_words(lang: Lang) -> dict[str, str]:
    """The fixed words of the page."""
    return {name: pick(pair, lang) for name, pair in PAGE.items()}


def title(what: str, lang: Lang) -> str:
    """What is disturbed, as a heading."""
    return pick(_TITLES[what], lang)


def service(what: str, lang: Lang) -> str:
    """The name of a service."""
    return pick(_SERVICES[what], lang)


def why(one: Mapping[str, Any], now_ms: int, zone: tzinfo | None, lang: Lang) -> str:
    """Why, in plain words: at most three reasons, or the office's own words."""
    if one["by"] == "office":
        return str(one["text"][lang])
    since = when(one["since_ms"], now_ms, zone, lang)
    parts = [pick(_WHY.get(code, _UNKNOWN_WHY), lang).format(since=since) for code in one["codes"][:3]]
    return " ".join(dict.fromkeys(parts))


def means(one: Mapping[str, Any], disturbed: list[str], lang: Lang) -> str:
    """What it means for a citizen; empty where the office's own words say it."""
    if one["by"] == "office":
        return ""
    alone = one["what"] == "sending" and "recording" in disturbed
    return pick(_MEANS["sending alone" if alone else one["what"]], lang)


def until(one: Mapping[str, Any], now_ms: int, zone: tzinfo | None, lang: Lang) -> str:
    """Until when, as exactly as it is known."""
    if one.get("until_ms") is None:
        look_ms = one.get("next_look_ms")
        if look_ms is None:
            return pick(("belum diketahui", "not known yet"), lang)
        look = when(look_ms, now_ms, zone, lang)
        return pick((f"belum diketahui; diperiksa lagi {look}", f"not known yet; next look at {look}"), lang)
    if one["until_step_ms"] >= _DAY_MS:
        return _day(one["until_ms"] - 1, now_ms, zone, lang)
    said = when(one["until_ms"], now_ms, zone, lang)
    return said if one["until_step_ms"] == 0 else pick((f"sekitar {said}", f"about {said}"), lang)


def when(at_ms: int, now_ms: int, zone: tzinfo | None, lang: Lang) -> str:
    """A time of day, with the day where that is another: `pukul 14.00 WIB`, `14:00 WIB`."""
    at, now = _local(at_ms, zone), _local(now_ms, zone)
    name = at.tzname() or ""
    name = f" {name}" if name.isalpha() else ""
    clock = at.strftime("%H.%M" if lang == "id" else "%H:%M") + name
    clock = f"pukul {clock}" if lang == "id" else clock
    if at.date() == now.date():
        return clock
    return f"{_date(at, lang)} {clock}" if lang == "id" else f"{clock} on {_date(at, lang)}"


def _day(at_ms: int, now_ms: int, zone: tzinfo | None, lang: Lang) -> str:
    at, now = _local(at_ms, zone), _local(now_ms, zone)
    if at.date() == now.date():
        return pick(("hari ini", "today"), lang)
    if at.date() == (now + timedelta(days=1)).date():
        return pick(("besok", "tomorrow"), lang)
    return _date(at, lang)


def _date(at: datetime, lang: Lang) -> str:
    day, month = _DAYS[lang][at.weekday()], _MONTHS[lang][at.month - 1]
    return f"{day}, {at.day} {month} {at.year}"


def _local(at_ms: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, zone).astimezone(zone)
