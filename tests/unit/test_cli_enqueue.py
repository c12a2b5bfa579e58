"""`titian enqueue` and `titian sample`: good lines go through, bad ones are named, nothing is taken twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli_rig import JPEG, Sides, Titian, line, make_sides, nik, write_lines


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def bad_file(folder: Path) -> Path:
    """Line 2 and 8 are good."""
    (folder / "large.jpg").touch()
    os.truncate(folder / "large.jpg", 200 * 1024 * 1024)

    def with_file(path: str) -> dict[str, object]:
        attachment = {"name": "face", "media_type": "image/jpeg", "path": path}
        return line(7, attachments=[attachment])

    return write_lines(
        folder / "mixed.ndjson",
        {"kind": "enrolment", "payload": {"nik": nik(1)[:15], "nama": "SITI"}},
        line(2),
        {"kind": "marriage", "payload": {"nik": nik(3)}},
        line(4, schema=99),
        with_file("gone.jpg"),
        with_file("large.jpg"),
        "{not json",
        line(8),
    )


def test_bad_lines_are_named_in_one_line_each_and_good_ones_go_through(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    path = bad_file(tmp_path)
    said = titian("enqueue", "--data", sides.region, path)
    assert said.code == 1
    assert said.out == "2 taken, 6 refused\n"
    wrong = {text.split(":")[1]: text for text in said.err.splitlines()}
    assert sorted(wrong) == ["1", "3", "4", "5", "6", "7"]
    assert all(text.startswith(f"{path}:") for text in wrong.values())
    assert "nik" in wrong["1"]
    assert "16 digits" in wrong["1"]
    assert "kind" in wrong["3"]
    assert "marriage" in wrong["3"]
    assert "99" in wrong["4"]
    assert "gone.jpg" in wrong["5"]
    assert "attachment_bytes_max" in wrong["6"]
    assert "JSON" in wrong["7"]
    assert titian.ok("depth", "--data", sides.region, "--json").json["waiting"] == 2


def test_the_same_file_again_takes_nothing_twice(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    path = bad_file(tmp_path)
    titian("enqueue", "--data", sides.region, path)
    said = titian("enqueue", "--data", sides.region, path, "--json")
    assert said.code == 1
    assert (said.json["taken"], said.json["already"], said.json["refused"]) == (0, 2, 6)
    assert [one["line"] for one in said.json["refusals"]] == [1, 3, 4, 5, 6, 7]
    assert said.json["refusals"][0]["field"] == "nik"
    assert titian.ok("depth", "--data", sides.region, "--json").json["recorded"] == 2


def test_an_id_that_was_used_for_other_contents_is_refused_and_the_same_file_again_does_no_harm(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "x.ndjson", line(1, id="a"), line(2, id="a"), line(3, id="b"))
    said = titian("enqueue", "--data", sides.region, path)
    assert (said.code, said.out) == (1, "2 taken, 1 refused\n")
    assert said.err.startswith(f"{path}:2: id: id 'a' was used for another packet (seq 1): give this one ")
    again = titian("enqueue", "--data", sides.region, path, "--json")
    assert again.code == 1
    assert (again.json["taken"], again.json["already"], again.json["refused"]) == (0, 2, 1)
    assert (again.json["refusals"][0]["line"], again.json["refusals"][0]["field"]) == (2, "id")
    assert titian.ok("depth", "--data", sides.region, "--json").json["recorded"] == 2


def test_a_limit_on_attachments_is_a_setting(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "face.jpg").write_bytes(JPEG + bytes(2_000))
    attachment = {"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}
    path = write_lines(tmp_path / "one.ndjson", line(1, attachments=[attachment]))
    monkeypatch.setenv("TITIAN_OUTBOX__ATTACHMENT_BYTES_MAX", "1000")
    assert titian("enqueue", "--data", sides.region, path).code == 1
    monkeypatch.delenv("TITIAN_OUTBOX__ATTACHMENT_BYTES_MAX")
    titian.ok("enqueue", "--data", sides.region, path)


def test_stdin_files_and_folders_go_together(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    write_lines(tmp_path / "spool" / "a.ndjson", line(1), line(2))
    write_lines(tmp_path / "spool" / "b.jsonl", line(3))
    write_lines(tmp_path / "c.ndjson", line(4))
    stdin = json.dumps(line(5)).encode()
    said = titian.ok(
        "enqueue",
        "--data",
        sides.region,
        tmp_path / "spool",
        tmp_path / "c.ndjson",
        "-",
        "--json",
        stdin=stdin,
    )
    assert said.json["taken"] == 5


def test_a_bad_line_on_stdin_says_so(titian: Titian, sides: Sides) -> None:
    said = titian("enqueue", "--data", sides.region, "-", stdin=b"\n\nnothing\n")
    assert said.code == 1
    assert said.err.startswith("stdin:3: ")


def test_a_file_that_is_not_there_stops_it_before_anything_is_taken(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    good = write_lines(tmp_path / "good.ndjson", line(1))
    said = titian("enqueue", "--data", sides.region, good, tmp_path / "gone.ndjson")
    assert said.code == 1
    assert "gone.ndjson" in said.err
    assert titian.ok("depth", "--data", sides.region, "--json").json["recorded"] == 0


def test_enqueueing_at_the_center_names_the_right_side(titian: Titian, sides: Sides, tmp_path: Path) -> None:
    said = titian("enqueue", "--data", sides.center, write_lines(tmp_path / "x.ndjson", line(1)))
    assert said.code == 2
    assert "belongs to the region" in said.err


def test_nothing_to_enqueue_is_a_wrong_call(titian: Titian, sides: Sides) -> None:
    assert titian("enqueue", "--data", sides.region).code == 2


def test_a_full_disk_refuses_all_and_says_what_to_do(
    titian: Titian, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(tmp_path / "x.ndjson", line(1))
    monkeypatch.setenv("TITIAN_OUTBOX__LOW_WATER_BYTES", str(2**62))
    said = titian("enqueue", "--data", sides.region, path)
    assert said.code == 1
    assert "Free space" in said.err
    monkeypatch.delenv("TITIAN_OUTBOX__LOW_WATER_BYTES")
    assert "1 taken" in titian.ok("enqueue", "--data", sides.region, path).out


def test_what_a_line_smuggles_in_does_not_reach_the_terminal(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "x.ndjson", line(1, **{"\x1b]0;owned\x07": 1}))
    said = titian("enqueue", "--data", sides.region, path)
    assert said.code == 1
    assert "\x1b" not in said.err


def test_samples_are_the_same_for_the_same_seed_and_can_be_enqueued(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    titian.ok("sample", "-n", 20, "--biometrics", 2, "--out", tmp_path / "a.ndjson")
    piped = titian.ok("sample", "-n", 20, "--biometrics", 2, "--out", "-").out
    assert (tmp_path / "a.ndjson").read_text() == piped
    assert titian.ok("sample", "-n", 20, "--seed", 2, "--out", "-").out != piped
    said = titian.ok("enqueue", "--data", sides.region, "-", "--json", stdin=piped.encode())
    assert said.json["taken"] == 20
    lanes = titian.ok("depth", "--data", sides.region, "--json").json["lanes"]
    assert (lanes["record"]["waiting"], lanes["biometric"]["waiting"]) == (18, 2)


@pytest.mark.parametrize(
    "arguments", [("-n", 1, "--biometrics", 2), ("-n", -1), ("-n", 1, "--region", "18")], ids=str
)
def test_a_sample_that_cannot_be_is_refused(
    titian: Titian, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    assert titian("sample", *arguments, "--out", tmp_path / "x").code == 2
    assert not (tmp_path / "x").exists()


def wait_for(path: Path, deadline_s: float = 20.0) -> bool:
    end_s = time.monotonic() + deadline_s
    while not path.exists():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_spool_is_watched_until_a_signal_comes(
    titian: Titian, sides: Sides, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    spool = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "enqueue", "--data", str(sides.region), "--spool", str(spool)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert wait_for(spool / "done")
        write_lines(tmp_path / "x.part", line(1), line(2))
        os.rename(tmp_path / "x.part", spool / "x.ndjson")
        assert wait_for(spool / "done" / "x.ndjson")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (code, "2 taken\n"), err
    assert titian.ok("depth", "--data", sides.region, "--json").json["waiting"] == 2


def test_an_enqueue_that_is_interrupted_has_kept_what_it_took(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "enqueue", "--data", str(sides.region), "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        # Whoever runs us in the background may have had it ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdin is not None
        text = "".join(json.dumps(line(n)) + "\n" for n in range(1, 1_501)).encode()
        process.stdin.write(text)
        process.stdin.flush()
        end_s = time.monotonic() + 20
        while titian.ok("depth", "--data", sides.region, "--json").json["recorded"] < 1_000:
            assert time.monotonic() < end_s
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"nothing is taken twice" in err
    again = write_lines(tmp_path / "again.ndjson", *[line(n) for n in range(1, 1_501)])
    titian.ok("enqueue", "--data", sides.region, again)
    assert titian.ok("depth", "--data", sides.region, "--json").json["recorded"] == 1_500
