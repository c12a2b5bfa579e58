"""No NIK gets into a log line, whatever an error's text brings along; names are never said at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workers.logs import without_niks

NIK = "1806015201907391"
SAY = """
import logging, sys
from pipeline.settings import LogPart
from workers.logs import log, set_up_logs
set_up_logs(LogPart(form=sys.argv[1]))
try:
    raise ValueError("the record of 1806015201907391 is damaged")
except ValueError as why:
    log("pull").warning("failed", why=str(why), n=1)
    log("pull").exception("failed")
    logging.getLogger("celery.app.trace").error("Task %s raised: %r", "titian.pull", why, exc_info=True)
"""


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_nik_in_an_error_is_taken_out_of_every_line(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY, form], capture_output=True, text=True, timeout=60, check=True
    )
    assert NIK not in done.stderr
    assert done.stderr.count("(16 digits)") >= 4
    assert done.stderr.count("Traceback") == 2


def test_what_is_no_nik_stays() -> None:
    for text in ("at_ms=1795510800000", "1795510800000000000", "1806-eqtrj7-000012", "0.1234567890123456789"):
        assert without_niks(text) == text
    assert without_niks(f"nik={NIK}, x") == "nik=(16 digits), x"
