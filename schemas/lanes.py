"""Lanes: the classes of traffic, in the order in which they leave."""

from __future__ import annotations

from enum import IntEnum

from schemas.errors import SchemaError


class Lane(IntEnum):
    """A class of traffic with its own place in the order; the number travels, the name is shown."""

    URGENT = 0
    CONTROL = 1
    RECORD = 2
    BIOMETRIC = 3

    @property
    def label(self) -> str:
        """The lane's name as people write it: `urgent`, `control`, `record`, `biometric`."""
        return self.name.lower()


def parse_lane(name: str) -> Lane:
    """The lane of that name; raises `SchemaError` that lists the names."""
    try:
        return Lane[name.upper()] if name == name.lower() else Lane[""]
    except KeyError:
        known = ", ".join(lane.label for lane in Lane)
        raise SchemaError(
            f"{name[:30]!r} is not a lane; there are: {known}", code="bad_lane", field="lane"
        ) from None
