"""The one tree of errors: split by who is wrong, each with the exit code that the command line gives it.

Outcomes that are planned for are frozen values, not errors. Foreign errors (sockets, SQLite, Redis) are
translated where they arise, in the adapters; the message says what to do next.
"""

from __future__ import annotations


class TitianError(Exception):
    """Something went wrong that nobody planned."""

    exit_code = 70


class UsageError(TitianError):
    """The call or the configuration is wrong; the message says how it is right."""

    exit_code = 2


class WrongSide(UsageError):
    """This command belongs to the other side; the message names it."""


class NotFound(TitianError):
    """What was asked for is not there."""

    exit_code = 1


class AlreadyRunning(TitianError):
    """This side is running already on this folder."""

    exit_code = 4


class Unreachable(TitianError):
    """A server or the other side does not answer."""

    exit_code = 3


class LinkDown(Unreachable):
    """The link gave out: what was in flight is unknown. Not an error of the data, and never final."""


class LinkDenied(TitianError):
    """The center's broker refuses our credentials or a command: look at the join file."""

    exit_code = 2


class Superseded(TitianError):
    """Another instance speaks as this region now: this one stops. `titian up --take-over` claims it back."""

    exit_code = 4


class StoreError(TitianError):
    """A store could not do what was asked; nothing of it was done."""

    exit_code = 70


class StoreAway(Unreachable, StoreError):
    """The ledger's database does not answer: nothing was done, and no frame is to blame."""

    exit_code = 3


class OlderLayout(UsageError, StoreError):
    """A store that is only looked at has the layout of an older Titian: `titian up` brings it over."""

    exit_code = 2


class DiskFull(StoreError):
    """The disk has no room: nothing was stored of what was refused. Free space, then run it again."""

    exit_code = 1


class StoreDamaged(StoreError):
    """A store is damaged or older than what was already promised from it."""
