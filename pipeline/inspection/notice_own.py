"""Inspection, pure: what people add to the public notice: their own notices, plans, templates, equipment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.errors import NotFound, UsageError

#: Which service a broken thing disturbs.
EQUIPMENT = {
    "camera": "recording",
    "fingerprint": "recording",
    "iris": "recording",
    "signature": "recording",
    "printer": "printing",
    "network": "sending",
}
#: What an own notice may be about: a service, or the whole office.
ABOUT = ("recording", "sending", "printing", "office")
NOTICES_MAX, TEMPLATES_MAX = 50, 50
TEXT_CHARS_MAX, REASON_CHARS_MAX = 500, 200
#: Ended ones are kept in the file for so long.
ENDED_MS_MAX = 35 * 86_400_000
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_NIK = re.compile(r"(?<!\d)\d{16}(?!\d)")


@dataclass(frozen=True)
class Equipment:
    """A thing that is broken (`name` of `EQUIPMENT`). The public does not see the `reason`."""

    name: str
    since_ms: int
    until_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Own:
    """A notice in people's own words, shown from `shown_ms` on (before `from_ms`: as planned) until it ends:
    at `until_ms`, or (`None`) when somebody ends it (`ended_ms`)."""

    n: int
    what: str
    text_id: str
    text_en: str
    from_ms: int
    until_ms: int | None
    shown_ms: int
    ended_ms: int | None = None

    def over_ms(self, now_ms: int) -> int | None:
        """When it was over; `None`: it is not."""
        ends = [ms for ms in (self.until_ms, self.ended_ms) if ms is not None and ms <= now_ms]
        return min(ends, default=None)


@dataclass(frozen=True)
class Template:
    """Words for a usual case."""

    what: str
    text_id: str
    text_en: str


@dataclass(frozen=True)
class Notices:
    """Everything that people said."""

    notices: tuple[Own, ...] = ()
    templates: Mapping[str, Template] = field(default_factory=dict)
    equipment: tuple[Equipment, ...] = ()
    next_n: int = 1

    def template(self, name: str) -> Template:
        """An own one, or a built-in one; raises `NotFound` that names those there are."""
        found = self.templates.get(name) or BUILT_IN.get(name)
        if found is None:
            known = ", ".join(sorted({*self.templates, *BUILT_IN}))
            raise NotFound(f"there is no template {name!r}; there are: {known}")
        return found

    def added(self, own: Own, now_ms: int) -> Notices:
        """With that notice under the next number. Raises `UsageError` where it is not fit to be shown."""
        check_texts(own.what, own.text_id, own.text_en)
        if own.until_ms is not None and own.until_ms <= max(own.from_ms, now_ms):
            raise UsageError("it would be over before it is shown: give a later --until")
        kept = tuple(one for one in self.notices if now_ms - (one.over_ms(now_ms) or now_ms) < ENDED_MS_MAX)
        if sum(one.over_ms(now_ms) is None for one in kept) >= NOTICES_MAX:
            raise UsageError(
                f"there are {NOTICES_MAX} notices already, more nobody reads: `titian notice end N`"
            )
        kept = kept[-10 * NOTICES_MAX :]
        return replace(self, notices=(*kept, replace(own, n=self.next_n)), next_n=self.next_n + 1)

    def ended(self, n: int, now_ms: int) -> Notices:
        """Without that one from now on; one that was not shown yet is taken away. Raises `NotFound`."""
        one = next((own for own in self.notices if own.n == n and own.over_ms(now_ms) is None), None)
        if one is None:
            raise NotFound(
                f"there is no notice {n} that could be ended (`titian notice` shows their numbers)"
            )
        others = (replace(own, ended_ms=now_ms) if own is one else own for own in self.notices)
        return replace(self, notices=tuple(own for own in others if own.n != n or one.from_ms <= now_ms))

    def with_template(self, name: str, template: Template) -> Notices:
        """With those words under that name. Raises `UsageError`."""
        if not _NAME.fullmatch(name):
            raise UsageError("a template's name has small letters, digits and -, at most 40")
        check_texts(template.what, template.text_id, template.text_en)
        if name not in self.templates and len(self.templates) >= TEMPLATES_MAX:
            raise UsageError(
                f"there are {TEMPLATES_MAX} templates already: take the name of one to replace it"
            )
        return replace(self, templates={**self.templates, name: template})

    def with_equipment(self, name: str, broken: Equipment | None) -> Notices:
        """That thing is broken, or (`None`) works. One that was broken already stays so since then. Raises
        `UsageError`, `NotFound` (it was not broken)."""
        _known(name)
        was = next((one for one in self.equipment if one.name == name), None)
        others = tuple(one for one in self.equipment if one.name != name)
        if broken is None:
            if was is None:
                raise NotFound(f"the {name} was not said to be broken")
            return replace(self, equipment=others)
        if len(broken.reason) > REASON_CHARS_MAX:
            raise UsageError(f"the reason is longer than {REASON_CHARS_MAX} characters: say it shorter")
        if broken.until_ms is not None and broken.until_ms <= broken.since_ms:
            raise UsageError("--until has passed already: give a later one")
        since_ms = broken.since_ms if was is None else min(was.since_ms, broken.since_ms)
        return replace(self, equipment=(*others, replace(broken, since_ms=since_ms)))


def check_texts(what: str, *texts: str) -> None:
    """Raise `UsageError` unless that may be shown to everybody."""
    if what not in ABOUT:
        raise UsageError(f"a notice is about {', '.join(ABOUT)}, not {what!r}")
    for text in texts:
        if not text.strip():
            raise UsageError("a notice has words in both languages: give --id and --en, or --template NAME")
        if len(text) > TEXT_CHARS_MAX:
            raise UsageError(f"a text is longer than {TEXT_CHARS_MAX} characters: say it shorter")
        if _NIK.search(text):
            raise UsageError("a NIK is in that text, and everybody may read it: leave it out")
        if any(not char.isprintable() and char != "\n" for char in text):
            raise UsageError("a text holds characters that cannot be printed: leave them out")


def _known(name: str) -> None:
    if name not in EQUIPMENT:
        raise UsageError(f"there is no {name!r} among the equipment: {', '.join(EQUIPMENT)}")


BUILT_IN = {
    "power-cut": Template(
        "office",
        "Listrik di kantor ini sedang padam. Pelayanan dilanjutkan segera setelah listrik menyala kembali. "
        "Data yang sudah direkam tersimpan aman.",
        "The power at this office is out. Service goes on as soon as it is back. What has been recorded is "
        "kept.",
    ),
    "blank-cards": Template(
        "printing",
        "Persediaan blangko KTP-el sedang habis. Perekaman tetap berjalan; KTP-el dicetak setelah blangko "
        "tersedia. Sementara itu tersedia surat keterangan atau Identitas Kependudukan Digital (IKD).",
        "Blank cards are out of stock. Recording goes on; cards are printed as soon as blanks have come. "
        "Meanwhile a letter of confirmation or the digital identity (IKD) is available.",
    ),
    "printer": Template(
        "printing",
        "Mesin cetak KTP-el sedang diperbaiki. Perekaman tetap berjalan seperti biasa.",
        "The card printer is being repaired. Recording goes on as usual.",
    ),
    "maintenance": Template(
        "sending",
        "Ada pemeliharaan sistem. Perekaman tetap berjalan; data yang direkam terkirim dengan sendirinya "
        "setelah pemeliharaan selesai.",
        "The system is being maintained. Recording goes on; what is recorded is sent by itself afterwards.",
    ),
    "holiday": Template(
        "office",
        "Kantor tutup pada hari libur. Pelayanan dibuka kembali pada hari kerja berikutnya.",
        "The office is closed for a public holiday. It opens again on the next working day.",
    ),
}
