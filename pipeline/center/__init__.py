"""Steps 4 to 6, at the center: intake, validation, deliver. No I/O here: the ledger and the link are ports.

intake.py      frames -> ledger           reading.py (pure), sessions.py (pure: who speaks)
validation.py  packets -> verdicts        rules.py, matching.py (ports for an office's own)
deliver.py     facts and records -> `down`
"""

from pipeline.center.intake import Intake, IntakeResult
from pipeline.center.matching import Case, DeduplicationEngine, EngineFailed, Matches
from pipeline.center.rules import Rule, Verdict
from pipeline.center.validation import Validation, ValidationResult

__all__ = [
    "Case",
    "DeduplicationEngine",
    "EngineFailed",
    "Intake",
    "IntakeResult",
    "Matches",
    "Rule",
    "Validation",
    "ValidationResult",
    "Verdict",
]
