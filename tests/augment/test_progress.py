"""Loops on a terminal and elsewhere: bars there, short lines here."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from augment.core import progress
from augment.core.errors import InputError

ROOT = Path(__file__).parents[2]
LOOP = """
import time
from augment.core.progress import track, write_line
with track(total=30, desc="work", unit="steps") as bar:
    for step in range(30):
        bar.update()
        bar.set_postfix(loss=step)
        time.sleep(0.03)
        if step == 20:
            write_line("a message", __import__("sys").stderr)
"""


def run_loop(*, terminal: bool, code: str = LOOP, **environment: str) -> str:
    """What a loop in a process of its own writes to stderr."""
    values = {**os.environ, "TERM": "xterm", **environment}
    if not terminal:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=values, capture_output=True, text=True, check=True
        )
        assert done.stdout == ""
        return done.stderr
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=values, stderr=theirs)
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's word for: the other end is closed
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert process.wait() == 0
    return found.decode()


def test_a_terminal_shows_a_bar() -> None:
    said = run_loop(terminal=True)
    assert "\rwork: " in said and "| 30/30 [" in said
    assert "a message\r\n" in said


@pytest.mark.parametrize(("terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_elsewhere_there_are_short_lines_without_control_codes(terminal: bool, term: str) -> None:
    said = run_loop(terminal=terminal, TERM=term).replace("\r\n", "\n" if terminal else "\r\n")
    assert re.fullmatch(r"a message\nwork: 30 of 30 steps in 00:0\d, loss=29\n", said)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_no_loop_at_all(terminal: bool) -> None:
    assert run_loop(terminal=terminal, S2L_VERBOSITY="quiet").split() == ["a", "message"]


class Clock:
    """Stands for `time.monotonic` and for tqdm's clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def test_lines_come_soon_then_every_quarter_minute_and_tell_what_remains(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.track(range(1000), desc="train lssl", unit="steps"):
        clock.now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train lssl: 3 of 1,000 steps, 00:03 elapsed, 16:37 remaining"
    assert lines[1] == "train lssl: 18 of 1,000 steps, 00:18 elapsed, 16:22 remaining"
    assert lines[-1] == "train lssl: 1,000 of 1,000 steps in 16:40"
    seconds = [int(line.split(": ")[1].split(" of")[0]) for line in lines[:-1] if "elapsed" in line]
    gaps = [late - early for early, late in itertools.pairwise(seconds)]
    assert set(gaps) == {15, 30} and gaps == sorted(gaps)
    assert len(lines) == 1 + 1 + 20 + 23  # first, last, five minutes of 15 s, the rest of 30 s


def test_what_remains_is_not_told_by_the_first_of_many(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The first face of a run waits for a compiler: 18 s times 1,740 would be nine hours, of a minute."""
    with progress.track(total=1740, desc="prepare", unit="faces") as bar:
        clock.now += 18.0
        bar.update()
        clock.now += 15.0
        bar.update(600)
    with progress.track(total=5, desc="seeds", unit="seeds") as bar:
        clock.now += 90.0
        bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "prepare: 1 of 1,740 faces, 00:18 elapsed"
    assert re.fullmatch(r"prepare: 601 of 1,740 faces, 00:33 elapsed, 00:\d\d remaining", lines[1])
    assert lines[3] == "seeds: 1 of 5 seeds, 01:30 elapsed, 06:00 remaining"


def test_an_hour_of_steps_is_some_kilobytes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.track(total=360_000, desc="train stargan", unit="steps") as bar:
        for step in range(360_000):
            clock.now += 0.01
            bar.update()
            if step % 100 == 0:
                bar.set_postfix({f"loss {number}": step / 7 for number in range(300)}, refresh=True)
    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) <= progress.LINE_LENGTH < 120
    assert len(said) < 20_000
    assert said.splitlines()[-2].endswith("...")


def test_a_loop_that_goes_on_counts_from_where_it_was(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.track(total=100, initial=90, desc="train", unit="steps") as bar:
        for _ in range(5):
            clock.now += 1.0
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 93 of 100 steps, 00:03 elapsed, 00:07 remaining",
        "train: ended early: 95 of 100 steps in 00:05",
    ]


def test_a_loop_inside_another_has_no_last_line_and_no_loop_breaks_a_line(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.track(iter("abcd"), desc="in\nner\x1b[A", unit="faces", leave=False):
        clock.now += 1.0
    assert capsys.readouterr().err == "in ner [A: 3 faces, 00:03 elapsed\n"


def test_a_reader_that_went_away_ends_the_lines_and_not_the_work() -> None:
    code = """
import sys
from augment.core.progress import track, write_line
for number in track(range(20_000), desc="work", unit="steps"):
    write_line(f"line {number}", sys.stdout)
open(sys.argv[1], "w").write("whole")
"""
    command = '"$0" -c "$1" "$2" | head -1; echo "exit ${PIPESTATUS[0]}"'
    nowhere = subprocess.run(
        ["bash", "-c", command, sys.executable, code, os.devnull], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert nowhere.stdout.splitlines() == ["line 0", "exit 0"]
    assert nowhere.stderr.splitlines()[-1].startswith("work: 20,000 of 20,000 steps in ")
    assert "rror" not in nowhere.stderr
    # Where stderr is what nobody reads, too.
    both = subprocess.run(
        ["bash", "-c", command.replace("|", "2>&1 |", 1), sys.executable, code, os.devnull],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert both.stdout.splitlines()[-1] == "exit 0" and both.stderr == ""


def test_a_verbosity_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VERBOSITY_VARIABLE, "loud")
    with pytest.raises(InputError, match=r"S2L_VERBOSITY=loud: is no verbosity \(use one of quiet, normal, verbose\)"):
        progress.verbosity()


def test_more_than_was_expected_is_no_early_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.track(total=12, desc="read", unit="faces") as bar:
        for _ in range(13):
            clock.now += 0.1
            bar.update()
    assert capsys.readouterr().err.splitlines() == ["read: 13 faces in 00:01"]
