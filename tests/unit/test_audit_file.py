"""The log of acts: a chain of lines, whole after anything, and never with a NIK."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from pipeline.adapters import audit_file
from pipeline.adapters.audit_file import NAME, AuditFile
from pipeline.errors import DiskFull, StoreError, UsageError

NOW_MS = 1_790_000_000_000


def log(folder: Path) -> AuditFile:
    return AuditFile(folder, now_ms=lambda: NOW_MS)


def add(folder: Path, what: str = "pause", **changes: str) -> int:
    words = {"who": "made", "via": "command line", "target": "biometric", "reason": "", **changes}
    return log(folder).add(what=what, **words)


def test_the_newest_comes_first_and_each_says_who_did_what_when_and_why(tmp_path: Path) -> None:
    assert log(tmp_path).read(10) == []
    assert add(tmp_path, reason="jam kerja") == 1
    assert log(tmp_path).add("wayan", "console", "resume", "every lane", "", {"login": "root"}) == 2
    newest, first = log(tmp_path).read(10)
    assert (newest["n"], newest["who"], newest["via"]) == (2, "wayan", "console")
    assert newest["detail"] == {"login": "root"}
    assert (first["what"], first["reason"], first["at_ms"]) == ("pause", "jam kerja", NOW_MS)
    assert log(tmp_path).check() == ""
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_look_takes_the_newest_of_a_kind_and_reads_no_more_than_it_must(tmp_path: Path) -> None:
    for n in range(400):  # more than one block of the file
        add(tmp_path, "pause" if n % 2 else "cap", reason=f"no {n} " + "x" * 300)
    assert [one["n"] for one in log(tmp_path).read(3)] == [400, 399, 398]
    assert [one["n"] for one in log(tmp_path).read(2, "cap")] == [399, 397]
    assert len(log(tmp_path).read(1_000)) == 400
    assert log(tmp_path).look().entries == 400


@pytest.mark.parametrize("what", ["changed", "removed", "turned", "forged at the end"])
def test_a_line_that_was_changed_or_removed_breaks_the_chain_there(tmp_path: Path, what: str) -> None:
    for _ in range(4):
        add(tmp_path)
    path = tmp_path / NAME
    lines = path.read_text().splitlines(keepends=True)
    if what == "changed":
        lines[1] = lines[1].replace("made", "dewi")
    elif what == "removed":
        del lines[1]
    elif what == "turned":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines.append(json.dumps({**json.loads(lines[3]), "n": 5}) + "\n")
    path.write_text("".join(lines))
    wrong = log(tmp_path).check()
    assert {"changed": "line 3", "removed": "line 2", "turned": "line 2"}.get(what, "line 5") in wrong
    assert "does not follow" in wrong


def test_a_number_that_does_not_follow_is_said(tmp_path: Path) -> None:
    add(tmp_path)
    path = tmp_path / NAME
    first = path.read_bytes().rstrip(b"\n")
    second = json.loads(first) | {"n": 3, "prev": audit_file._hash(first)}
    path.write_bytes(first + b"\n" + json.dumps(second).encode() + b"\n")
    assert "line 2" in log(tmp_path).check()
    assert "number 3 where 2 should be" in log(tmp_path).check()


@pytest.mark.parametrize("left", [1, 40, 150])
def test_a_line_that_a_power_cut_tore_is_passed_over_and_said_and_the_chain_goes_on(
    tmp_path: Path, left: int
) -> None:
    add(tmp_path)
    whole = (tmp_path / NAME).stat().st_size
    add(tmp_path)
    with (tmp_path / NAME).open("r+b") as file:
        file.truncate(whole + left)
    assert [one["n"] for one in log(tmp_path).read(10)] == [1]
    assert add(tmp_path, "resume") == 2
    assert [(one["n"], one["what"]) for one in log(tmp_path).read(10)] == [(2, "resume"), (1, "pause")]
    looked = log(tmp_path).look()
    assert (looked.entries, looked.torn, looked.wrong) == (2, [2], "")


def test_a_line_that_only_lost_its_end_counts_and_the_next_stands_on_its_own(tmp_path: Path) -> None:
    add(tmp_path)
    with (tmp_path / NAME).open("r+b") as file:
        file.truncate((tmp_path / NAME).stat().st_size - 1)
    assert add(tmp_path) == 2
    assert log(tmp_path).look()[:3] == (2, [], "")


def test_on_a_full_disk_nothing_is_left_of_the_line_and_the_act_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)
    before = (tmp_path / NAME).read_bytes()
    real, written = os.write, iter([20])

    def full(fd: int, data: bytes) -> int:
        room = next(written, 0)
        if not room:
            raise OSError(28, "No space left on device")
        return real(fd, data[:room])

    monkeypatch.setattr(audit_file.os, "write", full)
    with pytest.raises(DiskFull, match="it was not done"):
        add(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"reason": "asked by 1806015201900001"}, "keeps no NIK"),
        ({"who": "1806015201900001"}, "keeps no NIK"),
        ({"who": " "}, "say who"),
        ({"reason": "x" * 501}, "say it shorter"),
        ({"reason": "\udc80"}, "UTF-8"),
        ({"target": "x" * 20_000}, "smaller parts"),
    ],
)
def test_words_that_do_not_belong_there_are_refused_and_nothing_is_written(
    tmp_path: Path, words: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        add(tmp_path, **words)
    assert log(tmp_path).look().entries == 0


def test_a_line_break_in_a_reason_makes_no_second_line(tmp_path: Path) -> None:
    add(tmp_path, reason='so\n{"version": 1}\u2028and more')
    assert log(tmp_path).read(9)[0]["reason"] == 'so\n{"version": 1}\u2028and more'
    assert log(tmp_path).look().entries == 1


def test_a_folder_of_another_user_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file.os, "geteuid", lambda: tmp_path.stat().st_uid + 4_711)
    with pytest.raises(UsageError, match="run this as"):
        add(tmp_path)
    assert not (tmp_path / NAME).exists()


def test_who_waits_too_long_for_another_process_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "WAIT_S", 0.05)
    with log(tmp_path).writing(), pytest.raises(StoreError, match="another process holds"):
        add(tmp_path)


def _many(folder: Path, count: int) -> None:
    for _ in range(count):
        add(folder)


def test_several_processes_write_at_once_and_the_chain_is_whole(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_many, args=(tmp_path, 40)) for _ in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    looked = log(tmp_path).look()
    assert (looked.entries, looked.torn, looked.wrong) == (120, [], "")
