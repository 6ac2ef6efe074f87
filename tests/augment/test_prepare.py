"""From a source to the table: fitted, counted, nothing lost in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_faces import noise, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.crops import CropSettings, crop_image, crop_landmarks, face_square
from augment.faces.images import decode_image, fit_landmarks, fit_mask
from augment.faces.table import class_names, read_faces, schema_metadata, validate_faces
from augment.prepare.annotation import AnnotationSettings
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source


class MadeSource:
    name = "made"
    class_names: tuple[str, ...] = ("calm", "happy")
    licence = "mit"

    def __init__(self, items: list[RawFace | Problem]) -> None:
        self.items = items

    def faces(self) -> Iterator[RawFace | Problem]:
        yield from self.items


def made_face(number: int, **values) -> RawFace:
    label_name = ("calm", "happy")[number % 2]
    return replace(RawFace(f"f{number}", noise(number, 24), label_name), **values)


def test_faces_are_written_and_counted(tmp_path: Path) -> None:
    items = [made_face(number, split=("train", "test")[number // 6], subject=f"s{number // 3}") for number in range(9)]
    source = MadeSource(items)  # type: ignore[arg-type]
    report = prepare_faces(source, tmp_path, image_size=16, channels=3, metadata={"configuration_hash": "h"})
    table = read_faces(tmp_path)
    validate_faces(table)
    assert report.faces == len(table) == 9
    assert report.counts == {"calm": {"train": 3, "test": 2}, "happy": {"train": 3, "test": 1}}
    assert report.subjects == {"test": 1, "train": 2}
    assert report.columns["subject"] == 9 and report.columns["landmarks"] == 0
    assert json.loads((tmp_path / "report.json").read_text()) == report.model_dump(mode="json")
    assert schema_metadata(table.schema)["configuration_hash"] == "h"
    assert set(table.column("face_id").to_pylist()) == {f"made/f{number}" for number in range(9)}
    assert {decode_image(image["bytes"]).shape for image in table.column("image").to_pylist()} == {(16, 16, 3)}
    assert "Licence: mit" in (tmp_path / "README.md").read_text()


def test_problems_end_it_with_all_of_them_and_nothing_is_written(tmp_path: Path) -> None:
    items = [Problem(f"file {number}", "is bad") for number in range(120)]
    items.insert(60, made_face(0))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        prepare_faces(MadeSource(items), tmp_path, image_size=16, channels=1)  # type: ignore[arg-type]
    assert len(caught.value.problems) == 120
    assert all(f"file {number}: is bad" in str(caught.value) for number in range(120))
    assert not (tmp_path / "data").exists() and not (tmp_path / "report.json").exists()


def test_a_run_that_ends_early_leaves_the_older_dataset_whole(tmp_path: Path) -> None:
    prepare_faces(MadeSource([made_face(4)]), tmp_path, image_size=16, channels=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError):
        prepare_faces(MadeSource([made_face(0), Problem("x", "bad")]), tmp_path, image_size=16, channels=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    prepare_faces(MadeSource([made_face(2)]), tmp_path, image_size=16, channels=1)
    assert read_faces(tmp_path).column("face_id").to_pylist() == ["made/f2"]


def test_quarantine_lists_the_problems_and_goes_on(tmp_path: Path) -> None:
    items = [Problem("file 1", "is bad"), made_face(0), Problem("file 2", "is bad"), made_face(1)]
    report = prepare_faces(
        MadeSource(items), tmp_path / "out", image_size=16, channels=1, quarantine=tmp_path / "q.jsonl",
        max_problems_shown=1,
    )  # fmt: skip
    assert report.problems == 2 and report.problems_shown == ("file 1: is bad",) and report.faces == 2
    assert [json.loads(line)["where"] for line in (tmp_path / "q.jsonl").read_text().splitlines()] == [
        "file 1",
        "file 2",
    ]


def test_an_old_quarantine_list_does_not_outlive_its_problems(tmp_path: Path) -> None:
    (tmp_path / "q").write_text('{"where": "a.png", "why": "is empty", "fix": ""}\n')
    prepare_faces(MadeSource([made_face(0)]), tmp_path / "out", image_size=16, channels=1, quarantine=tmp_path / "q")
    assert (tmp_path / "q").read_text() == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label_name": "odd"}, "unknown label"),
        ({"split": "dev"}, "unknown split"),
        ({"name": "f1"}, "occurs twice"),
        ({"image": np.zeros((4, 4), np.float32)}, "not 8-bit"),
        ({"image": np.zeros((4, 4, 4), np.uint8)}, "4 channels"),
        ({"landmarks": np.zeros((5, 2), np.float32)}, r"landmarks are \[5, 2\]"),
        ({"landmarks": np.full((68, 2), np.nan, np.float32)}, "not finite"),
        ({"mask": np.full((24, 24), 7, np.uint8)}, "no map of areas"),
    ],
)
def test_what_a_source_took_for_good_is_checked(tmp_path: Path, change: dict, why: str) -> None:
    source = MadeSource([made_face(1), made_face(0, **change)])
    with pytest.raises(InputError, match=why):
        prepare_faces(source, tmp_path, image_size=16, channels=1)


def test_a_choice_of_classes_gets_new_labels(tmp_path: Path) -> None:
    source = MadeSource([made_face(number) for number in range(5)])
    report = prepare_faces(source, tmp_path, image_size=16, channels=1, classes=("happy",))
    table = read_faces(tmp_path)
    assert class_names(table.schema) == ("happy",) and table.column("label").to_pylist() == [0, 0]
    assert report.left_out == {"calm": 3} and report.faces == 2


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"classes": ("happy", "odd")}, "classes: unknown: odd .*calm, happy"),
        ({"classes": ("happy", "happy")}, "classes: a class is named twice"),
        ({"classes": ()}, "classes: no class is left"),
        ({"channels": 2}, "channels: 2"),
        ({"image_size": 4}, "image_size: 4"),
    ],
)
def test_impossible_settings_are_refused_before_reading(tmp_path: Path, settings: dict, key: str) -> None:
    with pytest.raises(InputError, match=key):
        prepare_faces(MadeSource([]), tmp_path, **{"image_size": 16, "channels": 1} | settings)


def test_landmarks_and_masks_follow_the_crop(tmp_path: Path) -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[4:6, 28:30] = 255  # a white dot, its centre at x 29, y 5
    mask = np.zeros((20, 40), np.uint8)
    mask[4:6, 28:30] = 2
    points = np.tile(np.array([[29 / 40, 5 / 20]], np.float32), (68, 1))
    points[1:, 0] -= 0.25  # the other points elsewhere, as a face's are
    face = made_face(0, image=image, landmarks=points, mask=mask)
    prepare_faces(MadeSource([face]), tmp_path, image_size=20, channels=1)
    row = read_faces(tmp_path).to_pylist()[0]
    picture, area = decode_image(row["image"]["bytes"]), decode_image(row["mask"])
    x, y = row["landmarks"][:2]
    assert (x, y) == pytest.approx((19 / 20, 5 / 20))
    bright = np.argwhere(picture > 127) + 0.5
    assert bright.mean(axis=0) / 20 == pytest.approx([y, x])
    assert (area == 2).sum() == 4 and np.array_equal(area == 2, picture > 127)


def test_tall_pictures_too() -> None:
    points = np.tile(np.array([[0.5, 0.5]], np.float32), (68, 1))
    assert fit_landmarks(points, 60, 20)[0] == pytest.approx([0.5, 0.5])
    points[:, 1] = 25 / 60
    assert fit_landmarks(points, 60, 20)[0] == pytest.approx([0.5, 5 / 20])
    mask = np.zeros((60, 20), np.uint8)
    mask[20:30] = 3
    assert fit_mask(mask, 10)[:5].min() == 3 and fit_mask(mask, 10)[5:].max() == 0


def test_mask_scaling_makes_no_new_areas() -> None:
    mask = np.array([[0, 3], [3, 0]], np.uint8).repeat(7, 0).repeat(7, 1)
    assert set(np.unique(fit_mask(mask, 10))) == {0, 3}  # bilinear would make 1 and 2


def test_duplicates_are_counted_within_and_across_splits(tmp_path: Path) -> None:
    repeated, other = noise(50, 24), noise(51, 24)
    near = np.clip(other.astype(int) + 3, 0, 255).astype(np.uint8)
    items = [
        made_face(0, image=repeated, split="train"),
        made_face(1, image=repeated, split="train"),
        made_face(2, image=repeated, split="test"),
        made_face(3, image=other, split="train"),
        made_face(4, image=near, split="validation"),
        made_face(5, split="train"),
        made_face(6, image=np.full((24, 24), 9, np.uint8), split="train"),
        made_face(8, image=np.full((24, 24), 200, np.uint8), split="test"),
    ]
    report = prepare_faces(MadeSource(items), tmp_path, image_size=24, channels=1)  # type: ignore[arg-type]
    assert report.duplicate_faces == 3 and report.near_duplicate_faces == 5
    assert report.duplicates_with_other_label == 1 and report.blank_pictures == 2
    across = {(entry.first, entry.second): (entry.exact, entry.near) for entry in report.duplicates_across}
    assert across == {("train", "test"): (1, 1), ("train", "validation"): (0, 1)}
    listed = pq.read_table(tmp_path / "duplicates.parquet").column("face_id").to_pylist()
    assert sorted(listed) == [f"made/f{number}" for number in range(5)]


def test_real_files_slow(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/happy/1.png", "train/sad/1.png", "test/happy/1.png", "test/sad/1.png"]):
        write_picture(tmp_path / "in" / name, seed, 20)
    report = prepare_faces(
        open_source("folder", tmp_path / "in"), tmp_path / "out", image_size=12, channels=1, licence="mit"
    )
    assert report.counts == {"happy": {"train": 1, "test": 1}, "sad": {"train": 1, "test": 1}}
    assert {row["image"]["path"] for row in read_faces(tmp_path / "out").to_pylist()} == {
        "train/happy/1.png",
        "train/sad/1.png",
        "test/happy/1.png",
        "test/sad/1.png",
    }


def test_what_was_annotated_is_written_and_counted(tmp_path: Path) -> None:
    """Own landmarks to crop by, none, a class that is left out, and a quarantine, all at once."""
    points = np.tile(np.array([[0.5, 0.6]], np.float32), (68, 1))
    points[36:42], points[42:48] = (0.4, 0.4), (0.6, 0.4)
    items = [
        made_face(1, landmarks=points, path="1.png"),
        Problem("file", "is bad"),
        made_face(3, path="3.png"),
        made_face(0, landmarks=points),
        made_face(5, landmarks=points[:5]),
    ]
    settings = AnnotationSettings(crop=CropSettings(by="face"))
    report = prepare_faces(
        MadeSource(items), tmp_path / "out", image_size=20, channels=1, classes=("happy",),  # type: ignore[arg-type]
        annotation=settings, annotation_cache=tmp_path / "cache", quarantine=tmp_path / "q",
    )  # fmt: skip
    assert report.faces == 2 and report.problems == 2 and report.left_out == {"calm": 1}
    assert report.annotation is not None
    assert (report.annotation.faces, report.annotation.cropped, report.annotation.left_whole) == (2, 1, 1)
    names = [json.loads(line) for line in (tmp_path / "out" / "faces_without_landmarks.jsonl").read_text().splitlines()]
    assert names == [{"face_id": "made/f3", "path": "3.png"}]
    first, second = read_faces(tmp_path / "out").to_pylist()
    square = face_square(points, 24, 24)
    assert square is not None and second["landmarks"] is None
    assert np.reshape(first["landmarks"], (68, 2)) == pytest.approx(crop_landmarks(points, square))
    assert np.array_equal(decode_image(first["image"]["bytes"]), crop_image(noise(1, 24), square, 20))
    # Without annotation nothing is said of it, and the older list is gone.
    plain = prepare_faces(MadeSource([made_face(0)]), tmp_path / "out", image_size=20, channels=1)
    assert plain.annotation is None and not (tmp_path / "out" / "faces_without_landmarks.jsonl").exists()


def test_one_person_in_several_spellings_is_written_as_one_and_said(tmp_path: Path) -> None:
    spelt = ("Zo\u00eb", "zoe\u0308", "Zo\u00eb ", "Zoe")
    items = [made_face(number, subject=subject) for number, subject in enumerate(spelt)]
    report = prepare_faces(MadeSource(items), tmp_path, image_size=16, channels=1)
    assert report.subjects == {"none": 2}
    assert report.subject_spellings == {spelt[0]: (spelt[1], spelt[2])}
    assert sorted(read_faces(tmp_path).column("subject").to_pylist()) == sorted([spelt[0]] * 3 + ["Zoe"])
