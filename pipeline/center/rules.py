"""Step 5: the rules of validation: small pure functions, registered by the entry point group `titian.rules`.

    rule(case: Case) -> Verdict | Reason | None

A `Verdict` decides, a `Reason` is a note that goes with whatever is decided, `None` is nothing to say. An
office adds its own by an entry point in its package; one that raises makes the packet wait for another try.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NamedTuple, TypeAlias

from pipeline.center.matching import Case
from schemas.enrolment import parse_tanggal
from schemas.nik import parse_nik
from schemas.verdicts import Reason, Status

GROUP = "titian.rules"


class Verdict(NamedTuple):
    """It is decided so, for these reasons."""

    status: Status
    reasons: tuple[Reason, ...] = ()


Rule: TypeAlias = Callable[[Case], "Verdict | Reason | None"]

#: ISO/IEC 19794 by part: minutiae, finger image, face image, iris image. Any of them where no part is named.
_ISO_19794 = {"-2": b"FMR\0", "-4": b"FIR\0", "-5": b"FAC\0", "-6": b"IIR\0"}
#: media type -> how files of it begin. Types that are not here pass.
MAGIC: dict[str, tuple[bytes, ...]] = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/jpg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "image/jpx": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/tiff": (b"II*\0", b"MM\0*"),
    "application/pdf": (b"%PDF-",),
}
#: Bytes of an attachment that tell its type.
MAGIC_BYTES = 16


def attachments_whole(case: Case) -> Verdict | None:
    """Each declared attachment is there and has the digest that the head names."""
    empty = [one.attachment.name for one in case.evidence if not one.attachment.size]
    if empty:
        return _failure("attachment_empty", empty)
    damaged = [one.attachment.name for one in case.evidence if not one.digest_right]
    return _failure("attachment_digest_differs", damaged) if damaged else None


def attachments_of_their_type(case: Case) -> Verdict | None:
    """Each attachment begins as files of its media type do."""
    wrong = [
        f"{one.attachment.name} ({one.attachment.media_type})"
        for one in case.evidence
        if not _may_be(one.attachment.media_type, one.begin)
    ]
    return _failure("attachment_not_its_type", wrong) if wrong else None


def citizen_known(case: Case) -> Verdict | None:
    """A card is printed of a citizen who has a record."""
    if case.packet.kind != "card_printed" or case.record is not None:
        return None
    return _failure("unknown_citizen", [case.packet.nik])


def nik_of_this_region(case: Case) -> Reason | None:
    """A NIK is permanent: one of another region is a citizen who moved, and only worth a note."""
    return None if case.packet.nik.startswith(case.region) else Reason("note_nik_other_region")


def birth_date_as_in_nik(case: Case) -> Reason | None:
    """The date of birth should be the one in the NIK; where it is not, that is worth a note."""
    text = case.packet.payload.get("tanggal_lahir")
    if not isinstance(text, str):
        return None
    born, nik = parse_tanggal(text), parse_nik(case.packet.nik)
    same = (born.day, born.month, born.year % 100) == (nik.day, nik.month, nik.year)
    return None if same else Reason("note_birth_date_differs")


#: The built-in rules, in the order in which they are asked; others follow by name.
BUILT_IN: dict[str, Rule] = {
    "attachments_whole": attachments_whole,
    "attachments_of_their_type": attachments_of_their_type,
    "citizen_known": citizen_known,
    "nik_of_this_region": nik_of_this_region,
    "birth_date_as_in_nik": birth_date_as_in_nik,
}


def load_rules() -> dict[str, Rule]:
    """Every rule by name: the built-in ones (also where the package is not installed), then those of others.

    A rule that cannot be imported raises here, at start, and not at the first packet.
    """
    rules = dict(BUILT_IN)
    for one in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        rules[one.name] = one.load()
    return rules


def _failure(code: str, names: list[str]) -> Verdict:
    return Verdict(Status.ENROLL_FAILURE_AT_CENTRAL, (Reason(code, ", ".join(names)[:300]),))


def _may_be(media_type: str, begin: bytes) -> bool:
    plain = media_type.lower().split(";")[0].strip()
    magic = MAGIC.get(plain, ())
    if "19794" in plain:
        part = _ISO_19794.get(plain.partition("19794")[2][:2])
        magic = tuple(_ISO_19794.values()) if part is None else (part,)
    return not magic or begin.startswith(magic)
