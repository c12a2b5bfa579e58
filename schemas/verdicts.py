"""What the center says of a packet: its status, and reasons as codes with a sentence in two languages."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """The center's word on a packet; the number travels and is stored, the name is shown."""

    RECEIVED_AT_CENTRAL = 1
    PRINT_READY_RECORD = 2
    DUPLICATE_RECORD = 3
    ENROLL_FAILURE_AT_CENTRAL = 4
    ADJUDICATE_RECORD = 5
    SEARCH_FAILURE_AT_CENTRAL = 6
    CARD_PRINTED = 7
    REFUSED = 8

    @property
    def final(self) -> bool:
        """Whether the center will say nothing further by itself (a verdict, or a refusal)."""
        return self in _FINAL

    @property
    def receipt(self) -> bool:
        """Whether it means that the packet lies durably in the ledger: all but a refusal."""
        return self is not Status.REFUSED


_FINAL = frozenset(
    {
        Status.PRINT_READY_RECORD,
        Status.DUPLICATE_RECORD,
        Status.ENROLL_FAILURE_AT_CENTRAL,
        Status.CARD_PRINTED,
        Status.REFUSED,
    }
)


class Reason(NamedTuple):
    """Why: a `code` of `SENTENCES`, and a `detail` (a name, two NIKs; may be empty)."""

    code: str
    detail: str = ""


#: code -> (Indonesian, English). `{detail}` is filled in where there is one.
SENTENCES: dict[str, tuple[str, str]] = {
    "same_biometrics_other_nik": (
        "Biometrik yang sama sudah tercatat dengan NIK lain: {detail}.",
        "The same biometrics are recorded under another NIK: {detail}.",
    ),
    "nik_has_other_biometrics": (
        "NIK ini sudah memiliki biometrik lain; petugas pusat akan memeriksa: {detail}.",
        "This NIK already has other biometrics; a person at the center will decide: {detail}.",
    ),
    "attachment_empty": ("Lampiran kosong: {detail}.", "An attachment is empty: {detail}."),
    "attachment_not_its_type": (
        "Isi lampiran tidak sesuai jenisnya: {detail}.",
        "An attachment is not what its media type says: {detail}.",
    ),
    "attachment_digest_differs": (
        "Isi lampiran tidak sama dengan sidik digitalnya: {detail}.",
        "An attachment's bytes do not match its digest: {detail}.",
    ),
    "engine_failed": (
        "Mesin pencarian ganda belum dapat menjawab; akan dicoba lagi: {detail}.",
        "The deduplication engine could not answer; it is tried again by itself: {detail}.",
    ),
    "rule_failed": (
        "Aturan pemeriksaan gagal; akan dicoba lagi: {detail}.",
        "A validation rule failed; it is tried again by itself: {detail}.",
    ),
    "unknown_citizen": (
        "Kartu dicetak untuk NIK yang belum tercatat: {detail}.",
        "A card was printed for a NIK that has no record: {detail}.",
    ),
    "note_nik_other_region": (
        "Catatan: NIK diterbitkan di daerah lain.",
        "Note: the NIK was first registered in another region.",
    ),
    "note_birth_date_differs": (
        "Catatan: tanggal lahir berbeda dari yang ada di NIK.",
        "Note: the date of birth differs from the one in the NIK.",
    ),
    "note_older_than_record": (
        "Catatan: sudah ada perekaman yang lebih baru untuk NIK ini.",
        "Note: a newer recording of this NIK is there already.",
    ),
    "fork": (
        "Identitas ini sudah dipakai untuk isi yang lain.",
        "This identity was already used for other contents.",
    ),
    "unreadable": (
        "Paket tidak dapat dibaca oleh pusat: {detail}.",
        "The center could not read the packet: {detail}.",
    ),
    "invalid_packet": (
        "Isi paket melanggar aturan: {detail}.",
        "The packet breaks a rule of its schema: {detail}.",
    ),
    "digest_differs": (
        "Isi paket tidak sama dengan sidik digitalnya.",
        "The packet's bytes do not match its digest.",
    ),
}


def sentence(reason: Reason, language: str = "en") -> str:
    """The reason as a sentence in `en` or `id`; an unknown code is shown as it is."""
    pair = SENTENCES.get(reason.code)
    if pair is None:
        return f"{reason.code}: {reason.detail}" if reason.detail else reason.code
    return pair[0 if language == "id" else 1].replace("{detail}", reason.detail or "?")
