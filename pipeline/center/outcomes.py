"""Steps 4 and 5: what the ledger answers, as frozen values; `intake` and `validation` match on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pipeline.center.reading import Outcome, WantIs
from pipeline.center.sessions import Taken
from pipeline.errors import StoreError
from schemas.keys import PublicKey


class BadItem(StoreError):
    """The ledger refuses these values (not: it cannot write); nothing of the transaction was done."""


class Item(NamedTuple):
    """A frame of `stream` (`ctl` or `up`) as it was found, and what it is."""

    stream: str
    frame: bytes
    outcome: Outcome


@dataclass(frozen=True)
class TookIn:
    """What one transaction of intake did, in packets: `received` new ones, `duplicates` that were there
    (their facts moved to the end of the feed), `forks`, `refused`; and `chunks`, `completed`, `restated`
    (discarded, since they came out with a wrong digest) of large ones. `quarantined` frames. `wants` with
    what became of each. `bytes` of frames."""

    received: int = 0
    duplicates: int = 0
    forks: int = 0
    refused: int = 0
    chunks: int = 0
    completed: int = 0
    restated: int = 0
    quarantined: int = 0
    bytes: int = 0
    wants: tuple[tuple[Taken, WantIs], ...] = ()

    @property
    def new_facts(self) -> bool:
        """Whether the region's feed grew."""
        return bool(self.received + self.duplicates + self.forks + self.refused + self.completed)


@dataclass(frozen=True)
class Bound:
    """The token was good and is bound to this key now. `retired`: ids of the keys that it follows."""

    key: PublicKey
    retired: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class AlreadyBound:
    """The same key shows the same token again: nothing changed."""

    key: PublicKey


@dataclass(frozen=True)
class TokenUsed:
    """Another machine joined with this join file before: `titian admit CODE --again` makes a new one."""

    code: str = "token_used"


@dataclass(frozen=True)
class TokenWrong:
    """This token was never given out, or a newer one replaced it."""

    code: str = "token_wrong"


@dataclass(frozen=True)
class Revoked:
    """The region (or this key) was shut out."""

    code: str = "revoked"


Joining: TypeAlias = Bound | AlreadyBound | TokenUsed | TokenWrong | Revoked
