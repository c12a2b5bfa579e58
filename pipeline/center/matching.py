"""Step 5: deduplication, a port and its built-in exact matcher.

An engine answers for one case at a time. The built-in one knows only whether bytes are the same: the ledger
keeps one claim per biometric digest, and gives the matcher those that this case touches. An engine of an
office (a fingerprint search, say) implements `DeduplicationEngine` and is given to `Validation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.packet import Attachment, Packet


class Claim(NamedTuple):
    """Whose a biometric is. `settled` is False for those of a packet that a person decides on."""

    digest: bytes
    nik: str
    name: str
    settled: bool


class Evidence(NamedTuple):
    """What was seen of an attachment: its first bytes, and whether all have the digest of the head."""

    attachment: Attachment
    begin: bytes
    digest_right: bool


class Held(NamedTuple):
    """A record as it is now: its version, its status, and the packet that it was made from."""

    version: int
    status: int
    epoch_ord: int
    epoch_id: int
    seq: int


@dataclass(frozen=True)
class Case:
    """One packet before the rules and the engine.

    `owners`: the claims on its biometrics' digests; `known`: the settled claims of its NIK; `record`: the
    region's record of that citizen.
    """

    region: str
    packet: Packet
    evidence: tuple[Evidence, ...]
    owners: tuple[Claim, ...] = ()
    known: tuple[Claim, ...] = ()
    record: Held | None = None

    @property
    def biometrics(self) -> tuple[Attachment, ...]:
        """Those of its attachments that are biometrics."""
        return biometrics(self.packet)


#: Attachments of these media types, or whose name begins with one of these words, are papers.
_PAPER_TYPES = ("text/", "application/pdf", "application/json", "application/xml")
_PAPER_WORDS = frozenset({"signature", "tanda", "ttd", "document", "dokumen", "kk", "formulir"})
_WORDS = re.compile(r"[^0-9a-z]+")


def biometrics(packet: Packet) -> tuple[Attachment, ...]:
    """The attachments that identify a person: all but papers and signatures, and none of a printed card."""
    if packet.kind != "enrolment":
        return ()
    return tuple(
        one
        for one in packet.attachments
        if one.size
        and not one.media_type.lower().startswith(_PAPER_TYPES)
        and _WORDS.split(one.name.lower())[0] not in _PAPER_WORDS
    )


class EngineFailed(Exception):
    """The engine could not answer now; it is asked again by itself."""


class Matches(NamedTuple):
    """What an engine found: `others`, NIKs under which the same person is recorded (rising), and `conflicts`,
    names of biometrics that differ from those known of this NIK."""

    others: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


class DeduplicationEngine(Protocol):
    """Finds the same person under another NIK."""

    def search(self, case: Case) -> Matches:
        """What is known about the person of this case; raises `EngineFailed` where it cannot say."""


class ExactMatcher:
    """The same bytes are the same person; a NIK's biometrics differ where none is the same, or where one of
    the same name is another."""

    def search(self, case: Case) -> Matches:
        """Matches by digest only."""
        nik = case.packet.nik
        others = sorted({claim.nik for claim in case.owners if claim.nik != nik})
        known_digests = {claim.digest for claim in case.known}
        names = {claim.name for claim in case.known}
        new = [one for one in case.biometrics if one.digest not in known_digests]
        if not case.known or not new:
            return Matches(tuple(others))
        none_is_the_same = len(new) == len(case.biometrics)
        conflicts = [one.name for one in new if none_is_the_same or one.name in names]
        return Matches(tuple(others), tuple(conflicts))
