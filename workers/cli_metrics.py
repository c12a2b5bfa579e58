"""Commands: `metrics`."""

from __future__ import annotations

import sys

import typer

from workers.cli_common import Data, folder_of


def metrics(data: Data = None) -> None:
    """Print this side's metrics in Prometheus' form, as its console serves them at /metrics. Works while
    nothing runs.

    \b
    Examples:
      titian metrics --data region
      titian metrics --data center | grep unverdicted
      titian metrics > titian.new && mv titian.new titian.prom     (for node_exporter's textfile collector)
    """
    from workers.exposition import exposed
    from workers.looking import look
    from workers.measured import metrics_of

    folder = folder_of(data)
    sys.stdout.write(exposed(metrics_of(folder, look(folder).depth()))[0])


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(metrics)
