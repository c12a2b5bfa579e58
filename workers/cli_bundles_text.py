"""What `export` and `import` say: lines for a person (a courier may have them signed), or one document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers import render
from workers.cli_common import note

if TYPE_CHECKING:
    from pipeline.bundles import Problem, Scanned
    from pipeline.region.importing import Imported
    from workers.bundling import Written
    from workers.bundling_center import Taken
    from workers.bundling_region import Applied

#: What a code of a frame that was not taken means, and what to do.
WORDS = {
    "revoked_key": "signed by a key that was revoked: nothing of that machine is taken any more",
    "unknown_key": "signed by a key that is not known here: let the machine that made it join first",
    "bad_signature": "the signature does not hold: copy the file again from where it was made",
    "bad_seal": "it does not open with our key: copy the file again from where it was made",
    "malformed": "no frame: copy the file again from where it was made",
    "foreign_region": "of another region",
    "other_center": "sealed to another center",
    "other_key": "sealed to a key that this machine does not have: ask for a new bundle",
    "other_life": "made under a life of the center's ledger that is not known here: ask for a new one",
    "wrong_kind": "of a kind that does not belong into a bundle",
    "newer_version": "of a newer version: update Titian here, then import it again",
    "ledger_refused": "the ledger refuses their values",
}


def show_export(side: str, done: Written, as_json: bool) -> None:
    """What was written."""
    if as_json:
        render.print_json(_document(side, done))
        return
    whole = done.packets if done.total is None else done.total
    rows = [
        ("bundle", str(done.file)),
        ("region", done.region),
        ("packets" if side == "region" else "records", render.number(whole)),
        *([("facts about", f"{render.number(done.facts)} packets")] if side == "center" else []),
        ("bytes", render.number(done.file_bytes)),
        ("hash", _grouped(done.chain)),
        ("made", render.when(done.made_ms)),
    ]
    render.pairs(rows)
    if done.resumed_bytes:
        note(f"went on behind {render.size(done.resumed_bytes)} that were there")
    _note_left_out(done)
    if side == "region":
        note(f"at the center: titian import {done.file.name}")
    else:
        note(f"at region {done.region}: titian import {done.file.name}")


def _note_left_out(done: Written) -> None:
    if done.damaged:
        seqs = ", ".join(map(str, done.damaged[:5])) + (", ..." if len(done.damaged) > 5 else "")
        note(f"titian: left out, since their stored bytes are damaged: {len(done.damaged)} packets ({seqs})")
    said = {
        "damaged": "packets that were found damaged before",
        "suspect": "packets whose numbers the center may hold with other contents: over the link first",
    }
    for what, words in said.items():
        if done.left_out.get(what):
            note(f"left out: {render.number(done.left_out[what])} {words}")


def _document(side: str, done: Written) -> dict[str, Any]:
    counted = {"packets": done.packets if done.total is None else done.total, "added": done.packets}
    if side == "center":
        counted = {"records": done.packets, "facts": done.facts}
    return {
        "version": 1,
        "side": side,
        "file": str(done.file),
        "region": done.region,
        **counted,
        "bytes": done.file_bytes,
        "hash": done.chain,
        "made_ms": done.made_ms,
        "resumed_bytes": done.resumed_bytes,
        "damaged": done.damaged,
        "left_out": done.left_out,
        "cursors": done.cursors,
    }


# --- at the center --------------------------------------------------------------------------------


def show_center(file: Path, found: Taken, dry_run: bool, as_json: bool) -> bool:
    """What became of packets; returns whether all of the file was taken."""
    done, scanned = found.done, found.scanned
    clean = found.whole and done.clean and not found.trouble
    counts = {
        "new": done.new,
        "already": done.already,
        "forks": done.forks,
        "refused": done.refused,
        "incomplete": done.incomplete,
        "missing": found.missing,
    }
    if as_json:
        receipt = found.receipt
        render.print_json(
            _head("center", file, found.region, scanned, found.whole, dry_run)
            | {
                "packets": counts,
                "joined": done.joined,
                "problems": _problems(done.problems),
                "receipt": None if receipt is None else {"file": str(receipt.file), "hash": receipt.chain},
            }
        )
    else:
        _lines(file, found.region, scanned, found.said.made_ms if found.said else None)
        render.pairs([("packets", _packets_sentence(found, dry_run))])
        if found.receipt is not None:
            render.pairs([("receipt", str(found.receipt.file)), ("its hash", _grouped(found.receipt.chain))])
    _complain(scanned, found.trouble, done.problems, _missing(found.missing, "packets"), found.whole)
    if done.forks:
        note(f"titian: {done.forks} packets are known here by the same number with other contents: not taken")
    if done.incomplete:
        note(f"{done.incomplete} large packets are not whole: the rest comes with the file, or over the link")
    if found.no_receipt:
        note(f"no receipt: {found.no_receipt}")
    return clean


def _packets_sentence(found: Taken, dry_run: bool) -> str:
    done = found.done
    parts = [f"{render.number(done.new)} {'would be taken' if dry_run else 'taken'}"]
    if done.already:
        parts.append(f"{render.number(done.already)} were there already")
    if done.refused:
        parts.append(f"{render.number(done.refused)} that the center cannot read (the region learns why)")
    return ", ".join(parts)


# --- at a region ----------------------------------------------------------------------------------


def show_region(file: Path, found: Applied, dry_run: bool, as_json: bool) -> bool:
    """What became of facts and records; returns whether all of the file was taken."""
    from pipeline.region.importing import Imported

    done, scanned = found.done or Imported(), found.scanned
    region = scanned.first.region if scanned.first is not None else ""
    if as_json:
        head = _head("region", file, region, scanned, found.whole, dry_run)
        render.print_json(head | _region_document(found, done))
    elif not found.why:
        _lines(file, region, scanned, found.said.made_ms if found.said else None)
        changed = f"{render.number(done.changed)} {'would be' if dry_run else 'were'} new or newer"
        rows = [("facts about", f"{render.number(done.facts)} packets")]
        rows.append(("records", f"{render.number(done.records)}, of which {changed}"))
        render.pairs(rows)
    if found.why:
        note(f"titian: nothing of {file} was taken: {found.why}")
    _complain(scanned, found.trouble, done.problems, "", found.whole)
    _note_region(done, dry_run)
    return found.whole and done.clean and not (found.trouble or found.why)


def _region_document(found: Applied, done: Imported) -> dict[str, Any]:
    return {
        "facts": {"packets": done.facts, "settled": done.settled, "earlier_lives": done.foreign_facts},
        "records": {"held": done.records, "changed": done.changed},
        "gaps": done.gaps,
        "forks": done.forks,
        "waiting_again": done.back,
        "opened": done.opened,
        "cursors": {"facts": found.facts, "records": found.records},
        "problems": _problems(done.problems),
        "refused": found.why,
    }


def _note_region(done: Imported, dry_run: bool) -> None:
    if done.gaps and not dry_run:
        note("something between what this region has and what the file holds is missing: the link brings it")
    if done.back:
        note(f"the center was restored from a backup: {render.number(done.back)} packets wait again")
    if done.forks:
        note(f"titian: {done.forks} groups speak of packets that are not those of this outbox: not applied")
    if done.opened:
        note("open for service: every record is here")


# --- both -----------------------------------------------------------------------------------------


def _head(side: str, file: Path, region: str, scanned: Scanned, whole: bool, dry_run: bool) -> dict[str, Any]:
    return {
        "version": 1,
        "side": side,
        "file": str(file),
        "region": region,
        "dry_run": dry_run,
        "whole": whole,
        "damage": scanned.damage,
        "bytes": scanned.mark.size,
        "hash": scanned.chain,
    }


def _lines(file: Path, region: str, scanned: Scanned, made_ms: int | None) -> None:
    render.pairs(
        [
            ("bundle", str(file)),
            ("region", region or "-"),
            ("bytes", render.number(scanned.mark.size)),
            ("hash", _grouped(scanned.chain)),
            ("made", render.when(made_ms)),
        ]
    )


def _complain(
    scanned: Scanned, trouble: str, problems: dict[str, Problem], missing: str, whole: bool
) -> None:
    if scanned.damage:
        note(f"titian: damaged: {scanned.damage}; nothing behind that was taken. Copy the file again")
    elif not whole and not trouble:
        note(
            f"titian: the file is cut off{missing}. Copy all of it (or let the export finish), and import it "
            "again: only the rest is taken"
        )
    if trouble:
        note(f"titian: {trouble}")
    for code, one in problems.items():
        about = f" about {render.number(one.packets)} packets" if one.packets else ""
        note(f"titian: {render.number(one.frames)} frames{about} not taken: {WORDS.get(code, code)}")


def _missing(count: int | None, noun: str) -> str:
    return "" if count is None else f": about {render.number(count)} {noun} are missing"


def _problems(problems: dict[str, Problem]) -> list[dict[str, Any]]:
    return [
        {"code": code, "frames": one.frames, "packets": one.packets, "message": WORDS.get(code, code)}
        for code, one in problems.items()
    ]


def _grouped(chain: str) -> str:
    """A hash as a person reads it out: eight groups of eight."""
    return " ".join(chain[at : at + 8] for at in range(0, len(chain), 8))
