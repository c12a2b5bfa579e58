"""`want` and `ack`: the one message that a region sends about itself, and the center's answer.

Each is always whole: the latest replaces all before it, so losing, doubling or reordering them does no harm.
Unknown fields of a newer version are passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from schemas.codec import pack, unpack
from schemas.errors import CodecError, SchemaError
from schemas.identity import EPOCH_ALPHABET
from schemas.limits import INTEGER_MAX, RANGES_MAX

#: The version of the wire: frames and messages. A reader refuses a higher one as "newer than here".
WIRE_VERSION = 1
#: Bytes of a control message before compression.
MESSAGE_BYTES_MAX = 64 * 1024
#: How many incarnations a `want` names, newest last.
HISTORY_MAX = 16
#: Questions that a `want` asks at a time, and bytes of what one of them is about.
ASKS_MAX = 16
ASK_BYTES_MAX = 1024
#: Runs of packets that were numbered anew, in one `want`, and epochs that came before its own.
RUNS_MAX = 200
EARLIER_MAX = 16
#: Codes of alarms in a region's health, and services that its notice names.
HEALTH_ALARMS_MAX = 16
DISTURBED_MAX = 4
#: How much an ack says of why a region is held, characters.
HOLD_WHY_CHARS_MAX = 120

Count = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
#: What a region says of itself is shown to people: more than this (34,000 years, 2^40 KiB) nobody means; it
#: would push a page's other columns away; of KiB, in bytes, a browser still counts exactly.
TOLD_MAX = 2**40
Told = Annotated[int, Field(ge=0, le=TOLD_MAX)]
Short = Annotated[str, Field(min_length=1, max_length=64)]
Code = Annotated[str, Field(min_length=1, max_length=24)]
EpochText = Annotated[str, Field(pattern=rf"^[{EPOCH_ALPHABET}]{{6}}$")]


class _Message(BaseModel):
    # Built when one is first used: a command that only looks at counts uses none.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)


class Since(_Message):
    """An incarnation of the ledger, and the last numbers given out before it began (for one region).

    Below `facts` and `records` this incarnation agrees with the one before it; above, the word is its own.
    """

    incarnation: Short
    facts: Count = 0
    records: Count = 0


class Back(_Message):
    """How far the rebuild of an empty registry has got: it goes down from `top`, the newest record number
    when it began, once for each pass. All of pass `pass_no` that is numbered above `floor` is here; of the
    record at `floor` itself the first `at` bytes of its attachments are (pass 3 only).

    `left` and `total`: records of this pass that are to come, and that there were; `began_ms`: when the pass
    began, `opened_ms` when pass 1 was done (0: it is not), both by the region's clock.
    """

    pass_no: Annotated[int, Field(ge=1, le=9)]
    floor: Count
    at: Count = 0
    top: Count
    left: Count = 0
    total: Count = 0
    began_ms: Count = 0
    opened_ms: Count = 0


class Ask(_Message):
    """A question of the region that jumps the queue: `what` it is about (`schemas.asks`), its `args`, and how
    much of the answer is here already (`at`; 0: nothing). `id` rises within an outbox's folder."""

    id: Annotated[int, Field(ge=1, le=INTEGER_MAX)]
    what: Short
    args: Annotated[bytes, Field(max_length=ASK_BYTES_MAX)] = b""
    at: Count = 0


class Run(_Message):
    """Packets `old, old + 1, ...` (`count` of them) of the earlier `epoch` are numbered `new, new + 1, ...`
    in the epoch of the want."""

    epoch: EpochText
    old: Annotated[int, Field(ge=1, le=INTEGER_MAX)]
    new: Annotated[int, Field(ge=1, le=INTEGER_MAX)]
    count: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 1


def _short(key: str) -> Any:
    """A number of `Health` that is 0 where it is not said, under a key of few bytes: a want goes often."""
    return Field(default=0, validation_alias=key, serialization_alias=key)


class Health(_Message):
    """How a region is, as it sees it itself, about: for people at the center, and nothing is decided by it.

    `waiting`: packets without a receipt, and their bytes in KiB; `oldest_s`: for how long the first of them
    has waited, and `eta_s`: in how many seconds they are at the center (`None`: no time can be given);
    `dead`: packets refused; `full_in_days`: of its disk (`None`: longer than anyone plans). Of its link:
    `rtt_ms` now, `base_ms` without a queue, `goodput_bytes_s`, `cuts_today`. `alarms`: codes. `disturbed`:
    what its public notice names.
    """

    model_config = ConfigDict(populate_by_name=True)

    waiting: Told = _short("w")
    waiting_kib: Told = _short("b")
    oldest_s: Told = _short("o")
    eta_s: Told | None = Field(default=None, validation_alias="e", serialization_alias="e")
    dead: Told = _short("d")
    full_in_days: Told | None = Field(default=None, validation_alias="f", serialization_alias="f")
    rtt_ms: Told = _short("r")
    base_ms: Told = _short("m")
    goodput_bytes_s: Told = _short("g")
    cuts_today: Told = _short("c")
    alarms: Annotated[list[Code], Field(max_length=HEALTH_ALARMS_MAX)] = Field(
        default_factory=list, validation_alias="a", serialization_alias="a"
    )
    disturbed: Annotated[list[Code], Field(max_length=DISTURBED_MAX)] = Field(
        default_factory=list, validation_alias="n", serialization_alias="n"
    )


def _or_nothing(value: Any, read: ValidatorFunctionWrapHandler) -> Health | None:
    """A want counts whatever else is wrong with what it says of the region's health."""
    try:
        found: Health | None = read(value)
    except ValidationError:
        return None
    return found


class Want(_Message):
    """All that a region has to say about itself.

    `n` rises with each want of an instance. `grant` rises when the region asks for a new session; `session`
    is the one that it holds (0: none yet). `facts` and `records` are its cursors under the newest
    incarnation of `history`, `level` the bytes of `down` it can take now. `whole` asks for records with
    their contents, since the region could not find them in its own outbox. `announced_from` is the seq from
    which on the ack shall restate what is announced (`None`: not at all).

    `fresh`: it has nothing yet, and asks to begin at the top of both sequences (`Ack.start`); from then on
    `back` says how far its rebuild has got (`None`: there is none, or it is done). `asks`: questions without
    an answer yet. `renumbered`: packets that an earlier epoch knew under other numbers, from the
    `Ack.renumbered`-th on. `earlier`: epochs that came before this one and may not be known, oldest first.
    `health`: how it is by its own words (`None`: it does not say; so is a health that cannot be read).
    """

    n: Count
    instance: Short
    grant: Count
    session: Count
    epoch: EpochText
    highest_seq: Count
    clock_ms: Count
    facts: Count
    records: Count
    history: list[Since] = Field(default_factory=list, max_length=HISTORY_MAX)
    level: Count
    whole: bool = False
    take_over: bool = False
    announced_from: Count | None = None
    fresh: bool = False
    back: Back | None = None
    asks: list[Ask] = Field(default_factory=list, max_length=ASKS_MAX)
    renumbered: list[Run] = Field(default_factory=list, max_length=RUNS_MAX)
    earlier: list[EpochText] = Field(default_factory=list, max_length=EARLIER_MAX)
    wire: Count = WIRE_VERSION
    titian: Annotated[str, Field(max_length=64)] = ""
    health: Annotated[Health | None, WrapValidator(_or_nothing)] = None


class Partly(_Message):
    """The bytes of an incomplete packet that the ledger holds, as flat ranges (`schemas.ranges.to_wire`)."""

    seq: Annotated[int, Field(ge=1, le=INTEGER_MAX)]
    ranges: list[Count] = Field(max_length=2 * RANGES_MAX)


class Announced(_Message):
    """Of the seqs `[start, stop)` exactly those of `ranges` (as in `Partly`) are announced and not received;
    `stop` is 2^63 - 1 where it goes on to the end. `full`: the ledger takes no more of this region now."""

    start: Count = 0
    stop: Count = 0
    ranges: list[Count] = Field(default_factory=list, max_length=2 * RANGES_MAX)
    full: bool = False


class Ack(_Message):
    """The center's answer to the latest `want`.

    `n`, `instance` and `grant` name the want that it answers; `session` is granted to that instance (or to
    another, then this one was superseded). `since` is the ledger's incarnation now; `facts_top` and
    `records_top` the newest numbers when it was made. `window_bytes` bounds what may be accepted and not yet
    acknowledged; a `hold_s` above 0 asks to send nothing but control for that many seconds; `hold_why` says
    who holds, or has lowered the window, and why (empty: not known). `partly` restates in full what is stored
    of incomplete packets of `epoch`, `announced` what is announced of it, as far as the want asked (`None`: a
    center that takes no announcements). `rewind` is the common point `(facts, records)` above which the
    region must drop and fetch again. `refusal` is a code where the center will not serve.

    `start`: the `(facts, records)` tops from which a region that is `fresh` begins. `known_seq`: the highest
    seq of `epoch` that the center ever heard of, and above the region's own where another epoch followed:
    such an outbox is older than what it has promised. `renumbered`: how many packets of `epoch` are known by
    their old numbers too.
    """

    n: Count
    instance: Short
    grant: Count
    session: Count
    since: Since
    facts_top: Count
    records_top: Count
    window_bytes: Count
    hold_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    hold_why: Annotated[str, Field(max_length=HOLD_WHY_CHARS_MAX)] = ""
    epoch: EpochText
    partly: list[Partly] = Field(default_factory=list, max_length=RANGES_MAX)
    announced: Announced | None = None
    rewind: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    start: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    known_seq: Count = 0
    renumbered: Count = 0
    superseded: bool = False
    refusal: Annotated[str, Field(max_length=64)] = ""
    clock_ms: Count
    wire: Count = WIRE_VERSION
    titian: Annotated[str, Field(max_length=64)] = ""


class Join(_Message):
    """A region's first word: its public keys (32 bytes each) under the join file's one-time token."""

    token: Annotated[bytes, Field(min_length=16, max_length=64)]
    sign: Annotated[bytes, Field(min_length=32, max_length=32)]
    seal: Annotated[bytes, Field(min_length=32, max_length=32)]


M = TypeVar("M", bound=_Message)


def pack_message(message: _Message) -> bytes:
    """The body of a `want`, `ack` or `join` frame; raises `CodecError` where no reader would take it."""
    body = pack(message.model_dump(exclude_defaults=True, by_alias=True))
    if len(body) > MESSAGE_BYTES_MAX:
        name = type(message).__name__.lower()
        raise CodecError(f"{name} of {len(body)} bytes, at most {MESSAGE_BYTES_MAX}", code="too_large")
    return body


def unpack_message(kind: type[M], body: bytes) -> M:
    """The message of that kind; raises `CodecError` that names the first wrong field."""
    value = unpack(body, bytes_max=MESSAGE_BYTES_MAX, items_max=2 * RANGES_MAX, depth_max=5)
    if isinstance(value, dict) and type(value.get("wire")) is int and value["wire"] > WIRE_VERSION:
        raise CodecError(f"a message of wire version {value['wire']}, newer than here", code="newer_version")
    try:
        return kind.model_validate(value)
    except ValidationError as why:
        first = why.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CodecError(f"{kind.__name__.lower()} {where}: {first['msg']}", field=where) from None
    except SchemaError as why:
        raise CodecError(str(why), code=why.code) from why
