"""Inspection: reasons as the documents show them."""

from __future__ import annotations

from schemas.verdicts import Reason, sentence


def reasons_json(reasons: tuple[Reason, ...]) -> list[dict[str, str]]:
    """Reasons with their sentences, English and Indonesian."""
    return [
        {"code": one.code, "detail": one.detail, "en": sentence(one), "id": sentence(one, "id")}
        for one in reasons
    ]
