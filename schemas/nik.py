"""The NIK: sixteen digits, `PPKKCC DDMMYY SSSS`; what its structure says and what is only a note.

It has no check digit, and it is permanent: a citizen who moved keeps it. So a region other than the
sender's, or a birth date other than the record's, is a note for a person to read and never a refusal.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from schemas.errors import InvalidPacket

_NIK = re.compile(r"[0-9]{16}")
_WOMAN_DAY_OFFSET = 40
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class NikParts(NamedTuple):
    """What stands in a NIK: `region` of first registration (4 digits), `district` (6), birth, sex, number.

    `year` has two digits."""

    region: str
    district: str
    day: int
    month: int
    year: int
    woman: bool
    number: int


def parse_nik(nik: str) -> NikParts:
    """The parts of a structurally right NIK; raises `InvalidPacket` that says which part is wrong."""
    if not isinstance(nik, str) or _NIK.fullmatch(nik) is None:
        what = f"{len(nik)} characters" if isinstance(nik, str) else type(nik).__name__
        raise InvalidPacket(f"a NIK has 16 digits, this has {what}", code="bad_nik", field="nik")
    day, month, year = int(nik[6:8]), int(nik[8:10]), int(nik[10:12])
    woman = day > _WOMAN_DAY_OFFSET
    if woman:
        day -= _WOMAN_DAY_OFFSET
    if not 1 <= month <= 12:
        raise InvalidPacket(
            f"digits 9 and 10 of the NIK are no month: {nik[8:10]}", code="bad_nik", field="nik"
        )
    if not 1 <= day <= _DAYS[month - 1]:
        raise InvalidPacket(
            f"digits 7 and 8 of the NIK are no day of birth: {nik[6:8]}", code="bad_nik", field="nik"
        )
    if nik[12:] == "0000":
        raise InvalidPacket("the NIK's number (digits 13 to 16) starts at 0001", code="bad_nik", field="nik")
    if not 11 <= int(nik[:2]) <= 99:
        raise InvalidPacket(
            f"digits 1 and 2 of the NIK are no province: {nik[:2]}", code="bad_nik", field="nik"
        )
    return NikParts(nik[:4], nik[:6], day, month, year, woman, int(nik[12:]))


def nik_hash(nik: str) -> bytes:
    """16 bytes that name a NIK without showing it (indexes and events; not a secret, there are few NIKs)."""
    return hashlib.sha256(b"titian nik 1" + nik.encode()).digest()[:16]
