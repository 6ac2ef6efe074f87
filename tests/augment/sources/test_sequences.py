"""Names to the letter, and frames of sequences."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.sources.exact_names import below
from augment.sources.sequences import (
    NameRule,
    archives_in,
    enumerate_numbers,
    find_bases,
    is_archive,
    last_frames,
    match_folders,
    middle_frames,
    read_frames,
)

FRAMES = NameRule(re.compile(r"(?P<number>\d{3})\.png"), "a frame (000.png)", str.lower)
numbers = st.lists(st.integers(0, 999), min_size=1, max_size=40, unique=True).map(sorted)


@given(numbers, st.integers(1, 50))
def test_middle_frames_are_neighbours_with_as_many_on_either_side(found: list[int], count: int) -> None:
    kept = middle_frames(found, count)
    assert len(kept) == min(count, len(found))
    start = found.index(kept[0])
    assert found[start : start + len(kept)] == kept
    assert abs(start - (len(found) - start - len(kept))) <= 1


@given(numbers, st.integers(1, 50))
def test_last_frames_end_with_the_last(found: list[int], count: int) -> None:
    assert last_frames(found, count) == found[-min(count, len(found)) :]


def test_runs_of_numbers_are_shortened() -> None:
    assert enumerate_numbers([3]) == "3"
    assert enumerate_numbers([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert enumerate_numbers(range(0, 20, 2)) == "0, 2, 4, 6, 8 ... 10 in all"


@given(numbers)
def test_a_gap_is_named_and_only_a_gap(found: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in found:
            (Path(folder) / f"{number:03d}.png").touch()
        frames = read_frames(Path(folder), "s", FRAMES)
    assert list(frames.names) == found
    whole = found == list(range(found[0], found[-1] + 1))
    assert [problem.why.startswith("lacks the frames") for problem in frames.problems] == [True] * (not whole)


@pytest.mark.parametrize(
    ("name", "right"),
    [("Fear", "Fear"), ("fear", "Fear"), ("FEAR", "Fear"), ("Fears", None), ("", None), ("Anger", "Anger")],
)
def test_rules_know_the_right_case(name: str, right: str | None) -> None:
    assert NameRule.of_names(["Anger", "Fear"], "an expression").judge(name) == right


@pytest.mark.parametrize(
    "name", ["a.zip", "a.tar.gz", "a.RAR", "a.part01", "a.part", "a.7z", "b.jpg.crdownload", "a.z01"]
)
def test_archives_and_downloads_are_known_by_their_names(name: str) -> None:
    assert is_archive(name) and not is_archive(name + ".png")


def test_bases_are_found_nearest_to_the_root(tmp_path: Path) -> None:
    for name in ("a/b/VL", "a/c/VL", "VL/x/VL", "__MACOSX/VL"):
        (tmp_path / name).mkdir(parents=True)
    holds = {"VL"}.issubset
    assert find_bases(tmp_path, holds) == [tmp_path]
    (tmp_path / "VL").rename(tmp_path / "a/d")
    assert find_bases(tmp_path, holds) == [tmp_path / "a/b", tmp_path / "a/c"]
    assert find_bases(tmp_path / "a/b/VL", holds) == []
    (tmp_path / "a/left.zip").touch()
    (tmp_path / ".hidden.zip").touch()
    assert archives_in(tmp_path) == ["a/left.zip"]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_not_utf8_are_printed_readably(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.png"))).touch()
    _, problems = match_folders(tmp_path, "s", NameRule.of_names(["a"], "an a"))
    problems += read_frames(tmp_path, "s", FRAMES).problems
    assert len(problems) == 3
    assert all(str(problem).encode() and "\\udcf" in str(problem) for problem in problems)


def test_a_place_below_the_root_keeps_the_dot_of_a_hidden_folder() -> None:
    root = Path("set")
    assert below(root, root / ".copy" / "S005") == ".copy/S005" and below(root, root) == ""
