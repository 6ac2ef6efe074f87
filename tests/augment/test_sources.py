"""The sources read what they say they read."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_faces import CARD, CLASSES, face_row, fer_pixels, file_bytes, noise, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.images import decode_image, encode_png
from augment.faces.shards import write_faces
from augment.sources import RawFace, Source, open_source, source_names
from augment.sources.fer2013 import _parse_pixels

FER = [(3, 0, "Training"), (0, 1, "Training"), (6, 2, "PublicTest"), (1, 3, "PrivateTest"), (4, 4, "PrivateTest")]


def write_fer_csv(path: Path, header: list[str], order: list[int]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([header[column] for column in range(3)])
        for emotion, seed, usage in FER:
            cells = [str(emotion), fer_pixels(seed), usage]
            writer.writerow([cells[column] for column in order])
    return path


def faces_of(source: Source) -> list[RawFace]:
    found = list(source.faces())
    assert not [item for item in found if isinstance(item, Problem)]
    assert [item.name for item in found] == [item.name for item in source.faces()]  # as often as wanted
    return found  # type: ignore[return-value]


def summary(faces: list[RawFace]) -> list[tuple]:
    return [(face.label_name, face.split, face.image.tobytes()) for face in faces]


def test_registry() -> None:
    published = {"affectnet", "bu3dfe", "ck_plus", "fer2013", "ferg", "helen", "jaffe", "mug", "oulu_casia", "raf_db"}
    assert set(source_names()) == published | {"folder", "joint", "parquet", "rafd", "rig"}


def test_fer2013_csv_in_both_column_orders_and_as_parquet(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    official = write_fer_csv(tmp_path / "a" / "fer2013.csv", ["emotion", "pixels", "Usage"], [0, 1, 2])
    other = write_fer_csv(tmp_path / "b" / "icml_face_data.csv", ["emotion", " Usage", " pixels"], [0, 2, 1])
    columns = {
        "image": [{"bytes": encode_png(noise(seed, 48)), "path": None} for _, seed, _ in FER],
        "emotion": pa.array([emotion for emotion, _, _ in FER], pa.int8()),
        "usage": pa.array([usage for _, _, usage in FER]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "fer2013.parquet")
    read = [faces_of(open_source("fer2013", path)) for path in (official, other, tmp_path / "a", tmp_path / "b")]
    read.append(faces_of(open_source("fer2013", tmp_path / "fer2013.parquet")))
    assert [face.label_name for face in read[0]] == ["happy", "angry", "neutral", "disgust", "sad"]
    assert [face.split for face in read[0]] == ["train", "train", "validation", "test", "test"]
    assert np.array_equal(read[0][0].image, noise(0, 48))
    assert all(summary(faces) == summary(read[0]) for faces in read)
    assert all([face.name for face in faces] == [face.name for face in read[0]] for faces in read)


def test_fer2013_classes_settings_and_limit(tmp_path: Path) -> None:
    path = write_fer_csv(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], [0, 1, 2])
    source = open_source("fer2013", path, test_on="both")
    assert source.class_names == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert [face.split for face in faces_of(source)] == ["train", "train", "test", "test", "test"]
    limited = faces_of(open_source("fer2013", path, limit=1))
    assert [face.split for face in limited] == ["train", "validation", "test"]


def test_fer2013_folders(tmp_path: Path) -> None:
    names = ["train/happy/Training_3908.jpg", "test/happy/PublicTest_123.jpg", "test/sad/PrivateTest_9.jpg"]
    names += ["train/fearful/im0.png", "test/fearful/im0.png", "test/Neutral/.DS_Store"]
    for seed, name in enumerate(names):
        write_picture(tmp_path / "images" / name, seed, 48)
    found = {face.name: (face.label_name, face.split) for face in faces_of(open_source("fer2013", tmp_path))}
    assert found == {
        "test/fearful/im0.png": ("fear", "test"),
        "test/happy/PublicTest_123.jpg": ("happy", "validation"),
        "test/sad/PrivateTest_9.jpg": ("sad", "test"),
        "train/fearful/im0.png": ("fear", "train"),
        "train/happy/Training_3908.jpg": ("happy", "train"),
    }


@pytest.mark.parametrize(("test_on", "public"), [("private", "validation"), ("both", "test")])
def test_fer2013_folders_may_be_named_after_the_usages(tmp_path: Path, test_on: str, public: str) -> None:
    for seed, name in enumerate(["Training/happy/1.png", "PublicTest/sad/1.png", "PrivateTest/fear/1.png"]):
        write_picture(tmp_path / name, seed, 48)
    found = {face.name: face.split for face in faces_of(open_source("fer2013", tmp_path, test_on=test_on))}
    assert found == {"Training/happy/1.png": "train", "PublicTest/sad/1.png": public, "PrivateTest/fear/1.png": "test"}


def test_folder_with_classes_only(tmp_path: Path) -> None:
    for seed, name in enumerate(["happy/S1_a.PNG", "happy/deep/S2_b.png", "sad/S1_a.png"]):
        write_picture(tmp_path / name, seed)
    (tmp_path / "sad" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    source = open_source("folder", tmp_path, subject_pattern=r"(?P<subject>S\d)_")
    assert source.class_names == ("happy", "sad")
    found = [(face.name, face.label_name, face.subject, face.split) for face in faces_of(source)]
    assert found == [
        ("happy/S1_a.PNG", "happy", "S1", None),
        ("happy/deep/S2_b.png", "happy", "S2", None),
        ("sad/S1_a.png", "sad", "S1", None),
    ]
    assert all(face.subject is None for face in faces_of(open_source("folder", tmp_path)))


@pytest.mark.parametrize("pattern", [r"(?P<subject>[^_]+)_", r"^(?P<subject>s\d+)", r"(^|/)(?P<subject>s\d+)_"])
@pytest.mark.parametrize("above", ["", "train/"])
def test_the_class_is_no_part_of_a_persons_name(tmp_path: Path, pattern: str, above: str) -> None:
    """Searched from the root, the first pattern would find one person `happy/s1` and another `sad/s1`."""
    for seed, name in enumerate(["happy/s1_a.png", "happy/s2_a.png", "sad/s1_b.png", "sad/s2_b.png"]):
        write_picture(tmp_path / above / name, seed)
    found = faces_of(open_source("folder", tmp_path, subject_pattern=pattern))
    assert [(face.subject, face.label_name) for face in found] == [
        ("s1", "happy"),
        ("s2", "happy"),
        ("s1", "sad"),
        ("s2", "sad"),
    ]


def test_folder_with_splits_and_given_classes(tmp_path: Path) -> None:
    for seed, name in enumerate(["Train/happy/1.png", "valid/sad/1.png", "test/happy/1.png", "test/sad/1.png"]):
        write_picture(tmp_path / name, seed)
    source = open_source("folder", tmp_path, class_names=("sad", "happy"))
    assert source.class_names == ("sad", "happy")
    assert Counter(face.split for face in faces_of(source)) == {"test": 2, "train": 1, "validation": 1}


def test_folder_reads_what_cameras_and_tools_write(tmp_path: Path) -> None:
    folder = tmp_path / "happy"
    folder.mkdir()
    (folder / "deep.png").write_bytes(file_bytes(noise(0).astype(np.uint16) * 257))
    (folder / "colour.jpeg").write_bytes(file_bytes(noise(1, channels=3), "JPEG"))
    (folder / "old.bmp").write_bytes(file_bytes(noise(2), "BMP"))
    (folder / "new.webp").write_bytes(file_bytes(noise(3, channels=3), "WEBP"))
    (folder / "plain.pgm").write_bytes(file_bytes(noise(4), "PPM"))
    shapes = {face.name: face.image.shape for face in faces_of(open_source("folder", tmp_path))}
    assert shapes["happy/deep.png"] == (16, 16) and shapes["happy/colour.jpeg"] == (16, 16, 3)
    assert len(shapes) == 5


def test_parquet_reads_our_own_schema_whole(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((68, 2), np.float32)
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16) % 4
    full = {"subject": "a", "split": "test", "yaw": 15.0, "illumination": "dark", "intensity": 0.5}
    rows = [face_row(0, 2, landmarks=points, mask=encode_png(mask), **full), face_row(1, 0)]
    write_faces(rows, tmp_path, CLASSES, card=CARD)
    source = open_source("parquet", tmp_path)
    assert source.class_names == CLASSES
    empty, face = sorted(faces_of(source), key=lambda face: face.label_name)
    assert (face.name, face.label_name) == ("made/0", "sad")
    assert {key: getattr(face, key) for key in full} == full
    assert face.landmarks is not None and np.array_equal(face.landmarks, points)
    assert face.mask is not None and np.array_equal(face.mask, mask)
    assert empty.landmarks is None and empty.mask is None and empty.subject is None and empty.yaw is None


def test_parquet_reads_what_hugging_face_datasets_writes(tmp_path: Path) -> None:
    features = datasets.Features({"img": datasets.Image(), "labels": datasets.ClassLabel(names=["sad", "happy"])})
    rows = {"img": [{"bytes": encode_png(noise(n)), "path": None} for n in range(3)], "labels": [1, 0, 1]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    made.to_parquet(str(tmp_path / "validation-00000-of-00001.parquet"))
    source = open_source("parquet", tmp_path)
    assert source.class_names == ("sad", "happy")
    found = faces_of(source)
    assert [face.label_name for face in found[:3]] == ["happy", "sad", "happy"]
    assert Counter(face.split for face in found) == {"train": 3, "validation": 3}
    assert np.array_equal(found[0].image, noise(0))


def test_parquet_with_named_columns_text_labels_and_files_beside_it(tmp_path: Path) -> None:
    write_picture(tmp_path / "pictures" / "1.png", 1)
    columns = {
        "photo_file": [{"bytes": None, "path": "pictures/1.png"}, {"bytes": encode_png(noise(2)), "path": "x"}],
        "feels": ["sad", "happy"],
        "part": ["dev", "train"],
        "person": [7, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    settings = {"image_column": "photo_file", "label_column": "feels", "split_column": "part"}
    source = open_source("parquet", tmp_path / "t.parquet", subject_column="person", **settings)
    first, second = faces_of(source)
    assert source.class_names == ("happy", "sad")
    assert (first.label_name, first.split, first.subject) == ("sad", "validation", "7")
    assert (second.label_name, second.split, second.subject) == ("happy", "train", None)
    assert np.array_equal(first.image, noise(1))


def test_parquet_does_not_read_files_outside_its_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "secret.png", 1)
    (tmp_path / "d").mkdir()
    columns = {"image": [{"bytes": None, "path": "../secret.png"}], "label": ["sad"]}
    pq.write_table(pa.table(columns), tmp_path / "d" / "t.parquet")
    (problem,) = open_source("parquet", tmp_path / "d").faces()
    assert isinstance(problem, Problem) and "is not in the table" in problem.why


def test_binary_images_and_numbers_with_given_names(tmp_path: Path) -> None:
    columns = {"image": pa.array([encode_png(noise(0))]), "label": pa.array([1])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (face,) = faces_of(open_source("parquet", tmp_path / "t.parquet", class_names=("a", "b")))
    assert face.label_name == "b" and face.split is None


def test_synthetic_faces_are_no_source(tmp_path: Path) -> None:
    row = face_row(0) | {"synthetic": True, "translator": "warp", "seed": 0, "fold": 0, "source_id": "made/1"}
    write_faces([row], tmp_path, CLASSES, card=CARD, synthetic=True)
    with pytest.raises(InputError, match="synthetic faces"):
        open_source("parquet", tmp_path)


def test_rig_gives_landmarks_masks_and_subject_disjoint_splits() -> None:
    settings = {"subjects": 2, "neutral_subjects": 1, "validation_subjects": 1, "test_subjects": 1}
    source = open_source("rig", preset="rare", seed=1, size=48, channels=1, **settings)
    faces = faces_of(source)
    assert len(faces) == len(source) == 2 * 7 + 1 + 7 + 7  # type: ignore[arg-type]
    assert {face.image.shape for face in faces} == {(48, 48)}
    assert all(face.landmarks is not None and face.mask is not None and face.subject for face in faces)
    assert {face.split for face in faces} == {"train", "validation", "test"}
    assert {face.label_name for face in faces} <= set(source.class_names)
    assert not np.array_equal(faces[0].image, next(iter(open_source("rig", seed=2, size=48).faces())).image)


def test_the_picture_of_a_source_is_what_its_file_shows(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "happy" / "1.png", 5)
    (face,) = faces_of(open_source("folder", tmp_path))
    assert np.array_equal(face.image, decode_image(path.read_bytes()))
    assert face.path == "happy/1.png"


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([" ", "  ", "\t"]), st.booleans())
def test_fer2013_pixels_come_back_however_they_are_written(seed: int, gap: str, padded: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)
    words = [f"{value:03d}" if padded else str(value) for value in pixels.ravel()]
    assert np.array_equal(_parse_pixels(gap.join(words)), pixels)
    words[seed % 2304] = "256"
    assert _parse_pixels(gap.join(words)) == f"pixel {seed % 2304} is 256, not 0 to 255"
