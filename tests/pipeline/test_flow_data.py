"""Counts and drift of the faces that a flow reports, by hand values."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.flow.data import DataSummary, data_sentence, data_table, moved_classes, read_data_summary

SINCE = datetime.datetime(2026, 11, 27, 3, 4, tzinfo=datetime.UTC)


def summary(counts: Mapping[str, Mapping[str, int]], digest: str = "a", folds: int = 1) -> DataSummary:
    return DataSummary(counts=counts, folds=folds, digest=digest, since=SINCE)


# 20 faces: 10, 6 and 4 are 50, 30 and 20 %.
LAST = summary({"happy": {"train": 8, "test": 2}, "sad": {"train": 5, "test": 1}, "fear": {"train": 4, "test": 0}})
# 40 faces: 22, 10 and 8 are 55, 25 and 20 %: five points are not more than five.
SAME_SHARES = summary(
    {"happy": {"train": 20, "test": 2}, "sad": {"train": 8, "test": 2}, "fear": {"train": 8, "test": 0}}, "b"
)
# 25 faces: 14, 6 and 5 are 56, 24 and 20 %; fear is gone, and surprise has come.
MOVED = summary(
    {"happy": {"train": 12, "test": 2}, "sad": {"train": 5, "test": 1}, "surprise": {"train": 4, "test": 1}}, "c"
)


def test_a_class_is_named_beyond_five_points_and_not_at_five() -> None:
    assert moved_classes(LAST, LAST) == []
    assert moved_classes(SAME_SHARES, LAST) == []
    assert moved_classes(MOVED, LAST) == [
        "class happy is 56.0 % of the faces, and was 50.0 % in the last run (+6.0 points)",
        "class sad is 24.0 % of the faces, and was 30.0 % in the last run (-6.0 points)",
        "class surprise is 20.0 % of the faces, and was 0.0 % in the last run (+20.0 points)",
        "class fear is 0.0 % of the faces, and was 20.0 % in the last run (-20.0 points)",
    ]
    # Twice the faces of every class: counts grow, and no share moves.
    twice = {name: {split: 2 * count for split, count in splits.items()} for name, splits in LAST.counts.items()}
    assert moved_classes(summary(twice), LAST) == []
    assert moved_classes(MOVED, None) == []


def test_the_table_has_classes_and_splits_beside_the_last_runs() -> None:
    rows = data_table(MOVED, LAST)
    assert [(row["class"], row["split"]) for row in rows] == [
        (name, split) for name in ("happy", "sad", "surprise", "fear") for split in ("all", "train", "test")
    ]
    assert rows[0] == {
        "class": "happy",
        "split": "all",
        "faces": 14,
        "last run": 10,
        "difference": "+4",
        "share in %": "56.0",
        "moved by points": "+6.0",
    }
    assert rows[1] | {"share in %": "", "moved by points": ""} == rows[1]
    assert [(row["faces"], row["last run"], row["difference"]) for row in rows[3:]] == [
        (6, 6, "+0"), (5, 5, "+0"), (1, 1, "+0"),
        (5, 0, "+5"), (4, 0, "+4"), (1, 0, "+1"),
        (0, 4, "-4"), (0, 4, "-4"), (0, 0, "+0"),
    ]  # fmt: skip
    first = data_table(LAST, None)
    assert {(row["last run"], row["difference"], row["moved by points"]) for row in first} == {("", "", "")}
    assert [row["share in %"] for row in first if row["split"] == "all"] == ["50.0", "30.0", "20.0"]


def test_the_sentence_tells_other_faces_of_the_same_number_from_the_same_faces() -> None:
    begin = "20 faces, in the workspace since 2026-11-27 03:04 UTC: "
    assert data_sentence(LAST, None) == begin + "there is no earlier run to compare with"
    assert data_sentence(LAST, LAST) == begin + "the same as in the last run"
    assert data_sentence(LAST, summary(LAST.counts, "z")) == begin + "other faces than in the last run (+0)"
    assert "(+5)" in data_sentence(MOVED, LAST)
    assert data_sentence(summary(LAST.counts, folds=5), None).endswith("first of 5 folds")


def test_what_prepare_leaves_is_read_and_what_it_does_not_leave_is_no_error(tmp_path: Path) -> None:
    assert read_data_summary(tmp_path / "nowhere") is None
    (tmp_path / ".s2l").write_text("00  report.json\n", encoding="utf-8")
    report = {"counts": {"sad": {"none": 3}}}
    folds = {"counts": [{"sad": {"train": 2, "test": 1}}, {"sad": {"train": 1, "test": 2}}]}
    for content, counts, number in (
        (report, {"sad": {"none": 3}}, 1),
        (report | {"folds": None}, {"sad": {"none": 3}}, 1),
        (report | {"folds": folds}, {"sad": {"train": 2, "test": 1}}, 2),
    ):
        (tmp_path / "report.json").write_text(json.dumps(content), encoding="utf-8")
        found = read_data_summary(tmp_path)
        assert found is not None and (found.counts, found.folds) == (counts, number)
    for broken in ('{"counts": 3}', '{"counts": {"sad": {"train": "many"}}}', "[]", "{", "{}"):
        (tmp_path / "report.json").write_text(broken, encoding="utf-8")
        assert read_data_summary(tmp_path) is None
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (tmp_path / ".s2l").unlink()
    assert read_data_summary(tmp_path) is None


def test_no_faces_are_no_share() -> None:
    nothing = summary({"sad": {"train": 0}})
    assert data_table(nothing, nothing)[0]["share in %"] == "0.0"
