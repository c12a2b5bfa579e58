"""The payload of a packet by kind: KTP-EL enrolments and printed cards. Fields as printed on the card."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from schemas.errors import InvalidPacket
from schemas.identity import parse_packet_id
from schemas.limits import PAYLOAD_DEPTH_MAX, PAYLOAD_FIELDS_MAX, TEXT_CHARS_MAX
from schemas.nik import parse_nik

#: The version of the payload's schema that this code writes and the newest that it reads.
SCHEMA_VERSION = 1

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})|([0-9]{2})-([0-9]{2})-([0-9]{4})")


def parse_tanggal(text: str) -> date:
    """A date as ISO `1990-11-23` or as the card prints it, `23-11-1990`; raises `ValueError`."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError("a date is written 1990-11-23 or, as on the card, 23-11-1990")
    y, m, d = (found[1], found[2], found[3]) if found[1] else (found[6], found[5], found[4])
    return date(int(y), int(m), int(d))


def _is_nik(nik: str) -> str:
    parse_nik(nik)
    return nik


def _is_date(text: str) -> str:
    parse_tanggal(text)
    return text


Text = Annotated[str, StringConstraints(max_length=TEXT_CHARS_MAX)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Nik = Annotated[str, AfterValidator(_is_nik)]
Tanggal = Annotated[str, AfterValidator(_is_date)]
SixteenDigits = Annotated[str, StringConstraints(pattern=r"^[0-9]{16}$")]
Digits3 = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}$")]


class Enrolment(BaseModel):
    """One citizen's recorded data. Who it is (`nik`, `nama`) is required; what else is there must be right.

    Fields that this version does not know are kept and travel on.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)

    nik: Nik
    nama: Name
    no_kk: SixteenDigits | None = None
    tempat_lahir: Text | None = None
    tanggal_lahir: Tanggal | None = None
    jenis_kelamin: Literal["LAKI-LAKI", "PEREMPUAN"] | None = None
    golongan_darah: Text | None = None
    alamat: Text | None = None
    rt: Digits3 | None = None
    rw: Digits3 | None = None
    kel_desa: Text | None = None
    kecamatan: Text | None = None
    agama: Text | None = None
    status_perkawinan: Text | None = None
    pekerjaan: Text | None = None
    kewarganegaraan: Text | None = None
    berlaku_hingga: Text | None = None


def _is_packet_id(text: str) -> str:
    parse_packet_id(text)
    return text


class CardPrinted(BaseModel):
    """The region printed this citizen's card; `packet` is the enrolment that it was printed from."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)

    nik: Nik
    printed_at: Text
    packet: Annotated[str, AfterValidator(_is_packet_id)] | None = None


_MODELS: dict[str, type[Enrolment] | type[CardPrinted]] = {
    "enrolment": Enrolment,
    "card_printed": CardPrinted,
}

#: The kinds of packet that this version knows.
KINDS = tuple(_MODELS)


def check_payload(kind: str, version: int, payload: Any) -> None:
    """Raise `InvalidPacket` naming the field unless `payload` is a right one of its kind and version.

    Nothing is returned: the payload travels as it was given, unknown fields and all.
    """
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(KINDS)
        raise InvalidPacket(
            f"unknown kind {str(kind)[:40]!r}; there are: {known}", code="unknown_kind", field="kind"
        )
    if version != SCHEMA_VERSION:
        raise InvalidPacket(
            f"schema version {str(version)[:20]} is not known here (this is version {SCHEMA_VERSION})",
            code="unknown_schema_version",
            field="schema",
        )
    if not isinstance(payload, dict):
        raise InvalidPacket("the payload is not an object", field="payload")
    if len(payload) > PAYLOAD_FIELDS_MAX:
        raise InvalidPacket(f"the payload has more than {PAYLOAD_FIELDS_MAX} fields", field="payload")
    try:
        model.model_validate(payload)
    except ValidationError as why:
        raise _first_error(why) from None
    for field, value in payload.items():
        if type(value) is not str:
            _check_value(field, value, PAYLOAD_DEPTH_MAX)


def _check_value(field: str, value: object, depth_left: int) -> None:
    """Raise `InvalidPacket` unless JSON can show the value and the codec's limits let it through."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidPacket(f"{field}: a number that is not finite", code="not_finite", field=field)
        return
    if not isinstance(value, dict | list | tuple):
        raise InvalidPacket(f"{field}: a {type(value).__name__} cannot stand in a payload", field=field)
    if depth_left == 0:
        raise InvalidPacket(f"{field}: nested too deeply", code="too_deep", field=field)
    if len(value) > PAYLOAD_FIELDS_MAX:
        raise InvalidPacket(f"{field}: more than {PAYLOAD_FIELDS_MAX} entries", code="too_many", field=field)
    if isinstance(value, dict) and not all(type(key) is str for key in value):
        raise InvalidPacket(f"{field}: a key that is not text", code="bad_key", field=field)
    for item in value.values() if isinstance(value, dict) else value:
        _check_value(field, item, depth_left - 1)


def _first_error(why: ValidationError) -> InvalidPacket:
    """The first complaint of pydantic in one line, without the value (it may be a person's)."""
    first = why.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidPacket):
        return cause
    text = str(cause) if cause is not None else first["msg"]
    return InvalidPacket(f"{field}: {text}", field=field)
