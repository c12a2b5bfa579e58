"""The command line, steps 1 to 7 from outside: `titian`. Commands are in `cli_*.py`, one file a group.

Exit codes: 0 done, 1 the answer is "no", 2 usage or configuration, 3 unreachable, 4 already running, 70 our
own defect, 130 interrupted. Heavy modules are imported inside commands, so that `titian --help` is quick.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

# A command is over before garbage matters; looking for it while modules load costs 10 ms.
gc.set_threshold(50_000, 20, 50)
# pydantic looks through all that is installed for plugins of its own (14 ms of each command); none is ours.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from workers import (  # noqa: E402
    cli_alarms,
    cli_audit,
    cli_bundles,
    cli_console,
    cli_doctor,
    cli_enqueue,
    cli_hold,
    cli_linksim,
    cli_look,
    cli_losses,
    cli_metrics,
    cli_notice,
    cli_reconcile,
    cli_records,
    cli_run,
    cli_setup,
    cli_steer,
)

EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="titian",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    cli_run,
    cli_setup,
    cli_enqueue,
    cli_bundles,
    cli_look,
    cli_losses,
    cli_records,
    cli_reconcile,
    cli_steer,
    cli_hold,
    cli_audit,
    cli_alarms,
    cli_notice,
    cli_console,
    cli_metrics,
    cli_doctor,
    cli_linksim,
):
    group.register(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        from pipeline.version import VERSION

        print(f"titian {VERSION}")
        raise typer.Exit


@app.callback()
def titian(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (also: TITIAN_DEBUG=1).")
    ] = False,
) -> None:
    """Moves KTP-EL packets from a registry office to the national center over bad links, and brings the
    validated records back.

    \b
    A first look, on this machine alone:
      titian demo
    Two sides by hand:
      titian init center --data center && titian admit 1806 --data center --out 1806.join
      titian init region --join 1806.join --data region
      titian up --data center        (one terminal)
      titian up --data region        (another)
      titian sample -n 100 --out packets.ndjson && titian enqueue --data region packets.ndjson
      titian depth --data region --until-empty --timeout 60
    """
    del version
    if debug:
        os.environ["TITIAN_DEBUG"] = "1"


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see the module)."""
    said: Any
    try:
        said = app(
            args=None if args is None else list(args),
            prog_name="titian",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as why:
        return _explain(why)
    return said if isinstance(said, int) else 0


def _explain(why: Exception) -> int:
    """Say on stderr what went wrong and what to do; returns the exit code."""
    from pipeline.errors import TitianError
    from schemas.errors import SchemaError

    if os.environ.get("TITIAN_DEBUG"):
        import traceback

        traceback.print_exception(why)
    if isinstance(why, TitianError):
        print(f"titian: {_one_line(why)}", file=sys.stderr)
        return why.exit_code
    if isinstance(why, SchemaError):
        print(f"titian: {_one_line(why)}", file=sys.stderr)
        return 2
    if isinstance(why, typer.Abort):
        return EXIT_INTERRUPTED
    if isinstance(why, typer.BadParameter) or hasattr(why, "format_message"):
        why.show()  # type: ignore[attr-defined]  # the parser's own errors: usage, then what is wrong
        return 2
    if isinstance(why, BrokenPipeError):  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(why, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        print(f"titian: {why.filename}: {why.strerror}", file=sys.stderr)
        return 2
    if isinstance(why, OSError) and why.errno in (errno.ENOSPC, errno.EDQUOT):
        print("titian: the disk is full: free space, then run it again", file=sys.stderr)
        return 1
    print(
        f"titian: a defect of Titian's own ({type(why).__name__}: {_one_line(why)}). Run it again with "
        "TITIAN_DEBUG=1 and send what it says to whoever keeps Titian for you",
        file=sys.stderr,
    )
    return EXIT_DEFECT


def _one_line(why: Exception) -> str:
    return " ".join(str(why).split()) or type(why).__name__


if __name__ == "__main__":
    sys.exit(main())
