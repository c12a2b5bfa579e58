"""States of a packet at its region: the one table from which the state, and the docs' diagram, come.

A state is derived, never stored: from where the packet's bytes are (`Place`) and from the latest fact of the
center (`schemas.verdicts.Status`). Facts are merged by position, never checked as moves; what the region does
itself (`Move`) are the moves of the table, and a test holds the outbox to making these and no others.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from schemas.verdicts import Status


class Place(IntEnum):
    """Where a packet's bytes are, as far as the region knows."""

    WAITING = 0
    PARTLY_IN_STREAM = 1
    IN_STREAM = 2


class Move(Enum):
    """What a region does with a packet by itself."""

    SEND_PART = "send a part"
    SEND_ALL = "send all that is left"
    REQUEUE = "take back: it was lost on the way"
    REQUEUE_PART = "take back a part: it was lost on the way"


#: (place, move) -> place. The only moves there are.
MOVES: dict[tuple[Place, Move], Place] = {
    (Place.WAITING, Move.SEND_PART): Place.PARTLY_IN_STREAM,
    (Place.WAITING, Move.SEND_ALL): Place.IN_STREAM,
    (Place.PARTLY_IN_STREAM, Move.SEND_PART): Place.PARTLY_IN_STREAM,
    (Place.PARTLY_IN_STREAM, Move.SEND_ALL): Place.IN_STREAM,
    (Place.PARTLY_IN_STREAM, Move.REQUEUE_PART): Place.PARTLY_IN_STREAM,
    (Place.PARTLY_IN_STREAM, Move.REQUEUE): Place.WAITING,
    (Place.IN_STREAM, Move.REQUEUE): Place.WAITING,
    (Place.IN_STREAM, Move.REQUEUE_PART): Place.PARTLY_IN_STREAM,
}

#: place -> state, as long as the center has said nothing.
STATE_BY_PLACE: dict[Place, str] = {
    Place.WAITING: "BIO_CAPTURED",
    Place.PARTLY_IN_STREAM: "PROCESSING",
    Place.IN_STREAM: "SENT_FOR_ENROLLMENT",
}

#: What each state means, in a sentence.
MEANING: dict[str, str] = {
    "BIO_CAPTURED": "in the outbox, durable",
    "PROCESSING": "some of it is in the stream",
    "SENT_FOR_ENROLLMENT": "all of it is in the stream",
    "RECEIVED_AT_CENTRAL": "in the ledger, digest right: the receipt",
    "PRINT_READY_RECORD": "verdict: the card can be printed",
    "DUPLICATE_RECORD": "verdict: the biometrics belong to another NIK",
    "ENROLL_FAILURE_AT_CENTRAL": "verdict: incomplete or unreadable",
    "ADJUDICATE_RECORD": "a person at the center decides",
    "SEARCH_FAILURE_AT_CENTRAL": "the search could not be made; it is tried again by itself",
    "CARD_PRINTED": "the card was printed and the center knows it",
    "REFUSED": "the center could not read it: outside the window, counted as dead; retry or drop",
}


def state(place: Place, status: Status | None) -> str:
    """The KTP-EL state of a packet: the center's word where there is one, else where its bytes are."""
    return STATE_BY_PLACE[place] if status is None else status.name


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs (a test compares them)."""
    lines = ["stateDiagram-v2", "    [*] --> BIO_CAPTURED: enqueue"]
    for (place, what), to in MOVES.items():
        lines.append(f"    {STATE_BY_PLACE[place]} --> {STATE_BY_PLACE[to]}: {what.value}")
    lines.append("    SENT_FOR_ENROLLMENT --> RECEIVED_AT_CENTRAL: fact")
    lines.append("    SENT_FOR_ENROLLMENT --> REFUSED: fact")
    for status in Status:
        if status not in (Status.RECEIVED_AT_CENTRAL, Status.REFUSED):
            lines.append(f"    RECEIVED_AT_CENTRAL --> {status.name}: fact")
            if status.final:
                lines.append(f"    {status.name} --> [*]")
    return "\n".join(lines) + "\n"
