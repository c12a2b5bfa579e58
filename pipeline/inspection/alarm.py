"""Inspection, pure: what an alarm is, and how it is written into the documents of `depth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pipeline.said import Said

Level = Literal["warn", "fail"]


class Alarm(NamedTuple):
    """What a person should look at: `text` says what is, `do` what to do about it (both without a full stop).
    `level`: a `fail` stops packets or endangers them, a `warn` may. `since_ms`: where the document knows."""

    code: str
    text: Said
    do: Said
    level: Level = "warn"
    since_ms: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the documents: `text` and `do` in English, `text_id` and `do_id` in Indonesian."""
        said = self.text.json("text") | self.do.json("do")
        return {"code": self.code, **said, "level": self.level, "since_ms": self.since_ms}


def sentence(alarm: Mapping[str, Any]) -> str:
    """An alarm of a document in one line: what is, and what to do."""
    do = alarm.get("do")
    return f"{alarm['text']}: {do}" if do else str(alarm["text"])
