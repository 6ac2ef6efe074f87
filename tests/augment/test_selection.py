import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_faces import CLASSES, JudgeBy, noise

import augment.synthesis.selection as selection
from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.faces.images import encode_png
from augment.faces.kept import read_kept
from augment.faces.shards import write_card, write_shard
from augment.faces.table import face_schema, read_faces, schema_metadata, validate_faces
from augment.synthesis.selection import SelectionReport, SelectionSettings, select

PER_CLASS = 30


class Judge:
    """The first pixel is the confidence of the face's own class (which its second pixel names)."""

    def __init__(self) -> None:
        self.faces = 0

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        assert images.dtype == torch.uint8
        self.faces += len(images)
        first, label = images[:, 0, 0, 0].numpy() / 255.0, images[:, 0, 0, 1].numpy()
        out = np.repeat(((1 - first) / 2)[:, None], 3, axis=1)
        out[np.arange(len(label)), label] = first
        return out


def _confidence(label: int, index: int) -> int:
    return (index * 37 + label * 11) % 256


def _synthetic(directory: Path, *, shard: int = 20, fold: int = 0, channels: int = 1) -> Path:
    schema = face_schema(CLASSES, metadata={"configuration_hash": "made"})
    for label, name in enumerate(CLASSES):
        rows = []
        for index in range(PER_CLASS):
            picture = noise(index + 100 * label, channels=channels).copy()
            picture[0, 0], picture[0, 1] = _confidence(label, index), label
            rows.append(
                {
                    "image": {"bytes": encode_png(picture), "path": None},
                    "label": label,
                    "label_name": name,
                    "face_id": f"t-f{fold}-{name}-{index:06d}",
                    "source": "synthetic",
                    "split": "train",
                    "synthetic": True,
                    "source_id": f"real/{index}",
                    "translator": "t",
                    "seed": 0,
                    "fold": fold,
                    "identity_shift": index / 1000,
                }
            )
        for number, start in enumerate(range(0, PER_CLASS, shard)):
            path = directory / "data" / f"train-{name}-{number:05d}.parquet"
            write_shard(path, rows[start : start + shard], schema)
    write_card(
        directory,
        title="t",
        description="t",
        licence="mit",
        class_names=CLASSES,
        splits={"train": 3 * PER_CLASS},
        synthetic=True,
    )
    return directory


def _select(
    tmp_path: Path, judge: object = None, configuration_hash: str = "", **changes: object
) -> tuple[SelectionReport, list[dict]]:
    source = tmp_path / "synthetic"
    if not source.exists():
        _synthetic(source)
    out = tmp_path / "selected"
    report = select(
        source,
        out,
        judge or Judge(),
        SelectionSettings(**changes),
        fold=0,
        class_names=CLASSES,
        configuration_hash=configuration_hash,
    )
    return report, read_faces(out).to_pylist()


def test_every_face_stays_with_its_confidence_and_the_reason(tmp_path: Path) -> None:
    report, rows = _select(tmp_path, threshold=0.5, min_shift=0.01)
    assert len(rows) == 3 * PER_CLASS
    for row in rows:
        index = int(row["face_id"][-6:])
        confidence = _confidence(row["label"], index) / 255
        assert row["confidence"] == pytest.approx(confidence)
        assert row["kept"] == (index >= 10 and confidence >= 0.5)
        if index < 10:
            assert row["reject_reason"] == f"moved {index / 1000:.3f}, less than 0.01, from its source"
        elif confidence < 0.5:
            assert row["reject_reason"] == f"confidence {confidence:.2f} below 0.5"
        else:
            assert row["reject_reason"] is None
    kept = [row for row in rows if row["kept"]]
    assert sum(report.kept.values()) == len(kept)
    for name in CLASSES:
        own = [row for row in rows if row["label_name"] == name]
        assert report.faces[name] == PER_CLASS
        assert report.kept[name] + sum(report.rejected[name].values()) == PER_CLASS
        assert report.rejected[name]["shift"] == 10
        assert report.mean_confidence[name] == pytest.approx(np.mean([row["confidence"] for row in own]))
        assert report.agreement[name] == pytest.approx(np.mean([row["confidence"] > 1 / 3 for row in own]), abs=0.04)
    assert json.loads((tmp_path / "selected" / "report.json").read_text()) == asdict(report)
    validate_faces(read_faces(tmp_path / "selected"))


def test_off_keeps_everything_and_still_records_the_confidence(tmp_path: Path) -> None:
    report, rows = _select(tmp_path, enabled=False, threshold=0.99, quota=1, min_shift=1.0)
    assert all(row["kept"] and row["reject_reason"] is None and row["confidence"] is not None for row in rows)
    assert sum(report.kept.values()) == 3 * PER_CLASS


def test_thresholds_and_quotas_by_class(tmp_path: Path) -> None:
    _, rows = _select(tmp_path, threshold={"happy": 0.8}, quota={"angry": 7})
    kept = {name: [row for row in rows if row["label_name"] == name and row["kept"]] for name in CLASSES}
    assert [int(row["face_id"][-6:]) for row in kept["angry"]] == list(range(7))
    assert all(row["confidence"] >= 0.8 for row in kept["happy"])
    assert 0 < len(kept["happy"]) < PER_CLASS
    assert len(kept["sad"]) == PER_CLASS
    reasons = {row["reject_reason"] for row in rows if row["label_name"] == "angry"}
    assert reasons == {None, "over the quota of 7 for angry"}


def test_a_quota_can_take_the_surest(tmp_path: Path) -> None:
    _, rows = _select(tmp_path, threshold=0.0, quota=5, quota_order="confidence")
    for name in CLASSES:
        own = [row for row in rows if row["label_name"] == name]
        surest = sorted((row["confidence"] for row in own), reverse=True)[:5]
        assert sorted((row["confidence"] for row in own if row["kept"]), reverse=True) == surest


def test_only_the_selections_columns_change(tmp_path: Path) -> None:
    _, rows = _select(tmp_path)
    before = read_faces(tmp_path / "synthetic").to_pylist()
    changed = ("confidence", "kept", "reject_reason")
    for old, new in zip(before, rows, strict=True):
        assert {k: v for k, v in old.items() if k not in changed} == {k: v for k, v in new.items() if k not in changed}
    metadata = schema_metadata(pq.read_schema(next((tmp_path / "selected" / "data").iterdir())))
    assert metadata["configuration_hash"] != "made"
    assert metadata["rows"] in (10, 20)


def test_a_killed_run_goes_on_without_asking_the_judge_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = selection._write
    calls = []

    def killed(*arguments: object) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        write(*arguments)

    monkeypatch.setattr(selection, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        _select(tmp_path)
    monkeypatch.setattr(selection, "_write", lambda *arguments: calls.append(arguments) or write(*arguments))
    judge = Judge()
    report, rows = _select(tmp_path, judge)
    assert judge.faces == 0
    assert len(calls) == 6
    assert sorted(path.name for path in (tmp_path / "selected").iterdir()) == [
        ".s2l",
        "README.md",
        "data",
        "report.json",
    ]
    (tmp_path / "fresh").mkdir()
    assert _select(tmp_path / "fresh") == (report, rows)


def test_another_judge_is_asked_again(tmp_path: Path) -> None:
    _select(tmp_path, configuration_hash="judge one")
    doubtful = Judge()
    _, rows = _select(
        tmp_path, JudgeBy(lambda images: doubtful.probabilities(images) * 0.1), configuration_hash="judge two"
    )
    assert doubtful.faces == 3 * PER_CLASS
    assert not any(row["kept"] for row in rows)


def test_colour_faces_reach_the_judge_as_three_channels(tmp_path: Path) -> None:
    _synthetic(tmp_path / "synthetic", channels=3)
    shapes = set()

    def judge(images: torch.Tensor) -> np.ndarray:
        shapes.add(tuple(images.shape[1:]))
        return Judge().probabilities(images)

    _select(tmp_path, JudgeBy(judge))
    assert shapes == {(3, 16, 16)}


def test_read_kept_reads_the_first_kept_faces_of_each_class(tmp_path: Path) -> None:
    _, rows = _select(tmp_path, threshold=0.4)
    expected = {name: [r["face_id"] for r in rows if r["label_name"] == name and r["kept"]] for name in CLASSES}
    directory = tmp_path / "selected"
    for count in (1, 8, 15):
        got = read_kept(directory, count, columns=["face_id", "label_name"]).to_pylist()
        for name in CLASSES:
            assert [row["face_id"] for row in got if row["label_name"] == name] == expected[name][:count]
    assert read_kept(directory, 3, classes=["sad"]).column("label_name").to_pylist() == ["sad"] * 3
    assert len(read_kept(directory, 12, only_kept=False)) == 36
    assert read_kept(directory, 12, only_kept=False).column("kept").null_count == 0
    assert len(read_kept(directory)) == sum(map(len, expected.values()))
    assert len(read_kept(tmp_path / "synthetic", 25)) == 75
    first, second, _ = CLASSES
    of_each = read_kept(directory, {first: 2, second: 5}, columns=["face_id"]).column("face_id").to_pylist()
    assert of_each == expected[first][:2] + expected[second][:5]
    assert len(read_kept(directory, {name: 10_000 for name in CLASSES})) == sum(map(len, expected.values()))
    with pytest.raises(InputError, match="bored"):
        read_kept(directory, 3, classes=["bored"])


def test_two_translators_that_take_turns_have_no_source_in_common(tmp_path: Path) -> None:
    """Every other face of a class, by its place among all that were made: rejected ones keep their place."""
    _, rows = _select(tmp_path, threshold=0.4)
    turns = []
    for turn in (0, 1):
        got = read_kept(tmp_path / "selected", 4, columns=["face_id", "label_name"], turn=(turn, 2)).to_pylist()
        for name in CLASSES:
            of_class = [row for row in rows if row["label_name"] == name]
            expected = [row["face_id"] for place, row in enumerate(of_class) if place % 2 == turn and row["kept"]]
            assert [row["face_id"] for row in got if row["label_name"] == name] == expected[:4]
        turns.append({row["face_id"] for row in got})
    assert not turns[0] & turns[1]


def test_read_kept_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _synthetic(tmp_path / "synthetic", shard=5)
    groups = []
    read = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, **options: object) -> object:
        groups.append(group)
        return read(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    read_kept(tmp_path / "synthetic", 5)
    assert len(groups) == 2 * len(CLASSES)
    groups.clear()
    read_kept(tmp_path / "synthetic", {CLASSES[-1]: 5})  # classes of which none is wanted are not read
    assert len(groups) == 2


def test_a_class_without_kept_faces_gives_an_empty_table(tmp_path: Path) -> None:
    _select(tmp_path, threshold=1.0)
    table = read_kept(tmp_path / "selected", 5, columns=["face_id", "label"])
    assert len(table) == 0
    assert table.column_names == ["face_id", "label"]


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda images: np.full((len(images), 2), 0.5), "shape"),
        (lambda images: np.full((len(images), 3), np.nan), "finite"),
    ],
)
def test_a_judge_that_makes_no_sense_is_refused(tmp_path: Path, judge: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _select(tmp_path, JudgeBy(judge))


def test_wrong_folds_classes_and_directories_are_refused(tmp_path: Path) -> None:
    source = _synthetic(tmp_path / "synthetic", fold=1)
    with pytest.raises(InputError, match="fold 1"):
        _select(tmp_path)
    keep = SelectionSettings()
    with pytest.raises(InputError, match="classes"):
        select(source, tmp_path / "out", Judge(), keep, fold=1, class_names=("a", "b", "c"))
    with pytest.raises(InputError, match="own directory"):
        select(source, source, Judge(), keep, fold=1, class_names=CLASSES)
    with pytest.raises(InputError, match=r"selection\.quota\.bored"):
        bored = SelectionSettings(quota={"bored": 3})
        select(source, tmp_path / "out", Judge(), bored, fold=1, class_names=CLASSES)
    with pytest.raises(InputError, match="holds no data"):
        select(tmp_path / "nowhere", tmp_path / "out", Judge(), keep, fold=1, class_names=CLASSES)


@pytest.mark.parametrize("bad", [{"threshold": 1.5}, {"threshold": {"happy": -1}}, {"quota": 0}, {"qouta": 3}])
def test_settings_are_checked(bad: dict) -> None:
    with pytest.raises(ValidationError):
        SelectionSettings(**bad)


@settings(max_examples=60)
@given(
    confidences=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40),
    threshold=st.floats(0, 1),
    quota=st.integers(1, 45),
    order=st.sampled_from(["confidence", "first"]),
)
def test_rules_hold_whatever_the_confidences(
    confidences: list[float], threshold: float, quota: int, order: str
) -> None:
    values = np.asarray(confidences, dtype=np.float32)
    judged = selection._Judged(
        np.zeros(len(values), np.int64), values, np.full(len(values), np.nan, np.float32), np.ones(len(values), bool)
    )
    rules = SelectionSettings(threshold=threshold, quota=quota, quota_order=order)
    kept, kinds = selection._decide([judged], rules, ["only"])
    passed = values >= threshold
    assert kept.sum() == min(quota, passed.sum())
    assert ((kinds == "confidence") == ~passed).all()
    if order == "first":
        assert (np.flatnonzero(kept) == np.flatnonzero(passed)[: kept.sum()]).all()
    elif kept.any() and (kinds == "quota").any():
        assert values[kept].min() >= values[kinds == "quota"].max()


def test_copies_that_synthesis_replaced_are_counted(tmp_path: Path) -> None:
    synthetic = _synthetic(tmp_path / "synthetic")
    shard = sorted((synthetic / "data").glob("*.parquet"))[0]
    table = pq.read_table(shard)
    values = schema_metadata(table.schema) | {"rejected": {"happy": {"copy of a training face": 4}}}
    metadata = {**table.schema.metadata, b"s2l": json.dumps(values).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), shard)
    seal_folder(synthetic)
    report, _ = _select(tmp_path)
    assert report.rejected["happy"]["copy, replaced"] == 4
    assert all("copy, replaced" not in report.rejected[name] for name in CLASSES if name != "happy")
