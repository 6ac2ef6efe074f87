"""Several data sets as one: whose face it is, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from data_sets import modules_of_tests
from small_faces import CARD, CLASSES, face_row, noise, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.shards import write_faces
from augment.faces.table import class_names, read_faces
from augment.faces.tensors import face_tensors
from augment.prepare.inventory import take_inventory
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, _source_class, check_source_settings, open_source
from augment.sources.base import known_splits, reading_notes
from augment.sources.terms import licence_of

ROOT = Path(__file__).parent.parent.parent
SMALL_FERG = {"preset": "ferg", "subjects": 2, "faces_per_class": 1}
SMALL_FER = {"preset": "fer2013", "count": 10, "label_noise": 0.0}


def photographs(root: Path) -> Path:
    for seed, name in enumerate(["happy/S1_a.png", "happy/S2_a.png", "sad/S1_a.png"]):
        write_picture(root / "photos" / name, seed)
    return root


def drawings(root: Path) -> Path:
    for seed, name in enumerate(["sad/S1_a.png", "happy/S1_a.png"], start=10):
        write_picture(root / "drawings" / name, seed)
    return root


def folders(**drawn: Any) -> list[dict[str, Any]]:
    pattern = {"subject_pattern": r"(?P<subject>S\d)_"}
    return [
        {"data_set": "photo", "source": "folder", "root": "photos", "settings": pattern},
        {"data_set": "drawn", "source": "folder", "root": "drawings", "settings": {**pattern, **drawn}},
    ]


def test_faces_of_all_parts_in_order_each_with_its_data_set(tmp_path: Path) -> None:
    drawings(photographs(tmp_path))
    source = open_source("joint", tmp_path, parts=folders())
    assert source.class_names == ("happy", "sad")
    found = [face for face in source.faces() if isinstance(face, RawFace)]
    assert [(face.source, face.name, face.subject, face.path) for face in found] == [
        ("photo", "happy/S1_a.png", "photo/S1", "photos/happy/S1_a.png"),
        ("photo", "happy/S2_a.png", "photo/S2", "photos/happy/S2_a.png"),
        ("photo", "sad/S1_a.png", "photo/S1", "photos/sad/S1_a.png"),
        ("drawn", "happy/S1_a.png", "drawn/S1", "drawings/happy/S1_a.png"),
        ("drawn", "sad/S1_a.png", "drawn/S1", "drawings/sad/S1_a.png"),
    ]
    assert np.array_equal(found[0].image, noise(0))


def test_the_table_says_whose_each_face_is(tmp_path: Path) -> None:
    """Both data sets have a happy/S1_a.png, of another person; neither ids nor subjects run together."""
    drawings(photographs(tmp_path))
    source = open_source("joint", tmp_path, parts=folders())
    report = prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="mit")
    assert report.source == "joint" and report.faces == 5 and report.subjects == {"none": 3}
    faces = face_tensors(read_faces(tmp_path / "out"))
    assert faces.sources is not None
    assert Counter(faces.sources) == {"photo": 3, "drawn": 2}
    assert all(name.startswith(f"{source}/") for name, source in zip(faces.face_ids, faces.sources, strict=True))
    assert all(str(name).startswith(f"{source}/") for name, source in zip(faces.subjects, faces.sources, strict=True))
    assert len(set(faces.face_ids)) == 5


def test_two_parts_of_one_data_set_have_the_same_people(tmp_path: Path) -> None:
    """Else one person's faces would teach in one part and test in the other."""
    for camera in ("VL", "NI"):
        for person in ("P001", "P002"):
            for expression in ("Anger", "Happiness"):
                folder = tmp_path / "oulu" / "OriginalImg" / camera / "Strong" / person / expression
                for number in range(4):
                    write_picture(folder / f"{number:03d}.jpeg", number)
    drawings(photographs(tmp_path))
    read = {"source": "oulu_casia", "root": "oulu"}
    cameras = [
        {"data_set": "visible", **read, "settings": {"cameras": ["VL"], "lights": ["Strong"]}},
        {"data_set": "infrared", **read, "settings": {"cameras": ["NI"], "lights": ["Strong"]}},
    ]
    found = [face for face in open_source("joint", tmp_path, parts=cameras).faces() if isinstance(face, RawFace)]
    assert {face.source for face in found} == {"visible", "infrared"}
    assert {face.subject for face in found} == {"visible/P001", "visible/P002"}
    # Folders: where they are the same one, however it is called.
    (tmp_path / "again").symlink_to(tmp_path / "photos")
    photo, drawn = folders()
    parts = [photo, drawn, {**photo, "data_set": "twice", "root": "again"}]
    people: dict[str | None, set[str | None]] = {}
    for face in open_source("joint", tmp_path, parts=parts).faces():
        assert isinstance(face, RawFace)
        people.setdefault(face.source, set()).add(face.subject)
    assert people["twice"] == people["photo"] == {"photo/S1", "photo/S2"} and people["drawn"] == {"drawn/S1"}


def test_what_parts_know_before_a_picture_is_read_the_whole_knows(tmp_path: Path) -> None:
    """So that splits that can't be kept are refused at once, and what was ignored is said."""
    for place in ("a/train/happy/1.png", "a/train/sad/1.png", "a/test/happy/2.png", "b/happy/1.png", "b/sad/1.png"):
        write_picture(tmp_path / place, 1)
    (tmp_path / "b" / ".DS_Store").touch()
    parts = [{"data_set": name, "source": "folder", "root": name} for name in ("a", "b")]
    source = open_source("joint", tmp_path, parts=parts)
    assert known_splits(source) == {"test": 1, "train": 2, "none": 2}
    assert [note.partition(":")[0] for note in reading_notes(source)] == ["b"]
    row = face_row(0, 1, split="test")
    write_faces([row, face_row(1, 2), face_row(2, 0)], tmp_path / "own", CLASSES, card=CARD)
    for label in CLASSES:
        write_picture(tmp_path / "more" / label / "1.png", 1)
    parts = [
        {"data_set": "own", "source": "parquet", "root": "own"},
        {"data_set": "more", "source": "folder", "root": "more"},
    ]
    assert known_splits(open_source("joint", tmp_path, parts=parts)) is None  # a table is read to know


def test_other_sources_go_on_naming_themselves(tmp_path: Path) -> None:
    photographs(tmp_path)
    source = open_source("folder", tmp_path / "photos")
    prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="mit")
    table = read_faces(tmp_path / "out")
    assert set(table.column("source").to_pylist()) == {"folder"}
    assert all(name.startswith("folder/") for name in table.column("face_id").to_pylist())


def test_classes_are_in_the_first_ones_order(tmp_path: Path) -> None:
    drawings(photographs(tmp_path))
    parts = folders()
    parts[0]["settings"] = {"class_names": ["sad", "happy"]}
    source = open_source("joint", tmp_path, parts=parts)
    assert source.class_names == ("sad", "happy")
    prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="mit")
    table = read_faces(tmp_path / "out")
    assert class_names(table.schema) == ("sad", "happy")
    named = zip(table.column("label").to_pylist(), table.column("label_name").to_pylist(), strict=True)
    assert set(named) == {(0, "sad"), (1, "happy")}


def test_sources_of_different_kinds_with_splits_and_landmarks(tmp_path: Path) -> None:
    row = face_row(0, 1, subject="a", split="test", landmarks=np.full((68, 2), 0.5, np.float32))
    write_faces([row, face_row(1, 2, split="train"), face_row(2, 0)], tmp_path / "own", CLASSES, card=CARD)
    for seed, label in enumerate(CLASSES):
        write_picture(tmp_path / "more" / "train" / label / "1.png", seed + 20)
    parts = [
        {"data_set": "own", "source": "parquet", "root": "own"},
        {"data_set": "more", "source": "folder", "root": "more"},
    ]
    found = {
        (face.source, face.label_name): face
        for face in open_source("joint", tmp_path, parts=parts).faces()
        if isinstance(face, RawFace)
    }
    assert len(found) == 6
    face = found["own", "happy"]
    assert (face.subject, face.split) == ("own/a", "test") and face.landmarks is not None
    assert found["own", "angry"].subject is None and found["more", "sad"].split == "train"


def test_drawn_parts_take_the_size_of_the_whole() -> None:
    parts = [
        {"data_set": "fer2013", "source": "rig", "settings": {**SMALL_FER, "count": 7}},
        {"data_set": "ferg", "source": "rig", "settings": {**SMALL_FERG, "size": 64}},
    ]
    source = open_source("joint", ROOT / "augment" / "rig", parts=parts, size=32, channels=1)
    shapes = {(face.source, face.image.shape) for face in source.faces() if isinstance(face, RawFace)}
    assert shapes == {("fer2013", (32, 32)), ("ferg", (64, 64))}


def test_the_embedded_pair_of_the_configuration() -> None:
    """Faces in the wild and drawn characters: seven classes each, subjects for the characters alone."""
    dataset = yaml.safe_load((ROOT / "conf" / "dataset" / "rig_joint.yaml").read_text(encoding="utf-8"))["dataset"]
    parts = dataset["settings"]["parts"]
    assert [(part["data_set"], part["settings"]["preset"]) for part in parts] == [
        ("fer2013", "fer2013"),
        ("ferg", "ferg"),
    ]
    parts[0]["settings"]["count"] = 14
    parts[1]["settings"]["faces_per_class"] = 1
    source = open_source("joint", ROOT / dataset["root"], size=48, channels=1, parts=parts)
    assert len(source.class_names) == 7
    faces = [face for face in source.faces() if isinstance(face, RawFace)]
    assert Counter(face.source for face in faces) == {"fer2013": 14, "ferg": 42}
    assert len({face.subject for face in faces} - {None}) == 6
    assert licence_of(source).line == "cc0-1.0" and licence_of(source).is_public_domain


def test_licences_that_differ_are_all_named(tmp_path: Path) -> None:
    photographs(tmp_path)
    write_picture(tmp_path / "fer2013" / "train" / "happy" / "1.png", 0, 48)
    for label in ("angry", "disgust", "fear", "neutral", "sad", "surprise", "happy"):
        write_picture(tmp_path / "fer2013" / "train" / label / "1.png", len(label), 48)
        write_picture(tmp_path / "photos" / label / "9.png", len(label) + 50)
    parts = [
        {"data_set": "fer", "source": "fer2013", "root": "fer2013"},
        {"data_set": "photo", "source": "folder", "root": "photos"},
    ]
    source = open_source("joint", tmp_path, parts=parts)
    with pytest.raises(InputError, match="licence: photo: the source does not say"):
        licence_of(source)
    said = licence_of(source, "cc-by-4.0")
    assert said.line.startswith("fer: For research") and said.line.endswith("photo: cc-by-4.0")
    parts[1]["licence"] = "cc-by-4.0"
    assert licence_of(open_source("joint", tmp_path, parts=parts)) == said
    assert "web search" in source.description  # type: ignore[attr-defined]


def test_published_data_sets_learned_together_keep_their_people_and_their_terms(tmp_path: Path) -> None:
    """FERG-DB's characters and JAFFE's women: LSSL's and StarGAN's way to learn from two sets at once."""
    for name in ("ferg", "jaffe"):
        modules_of_tests()[name].small_copy(tmp_path / name)
    parts = [{"data_set": name, "source": name, "root": name} for name in ("ferg", "jaffe")]
    source = open_source("joint", tmp_path, parts=parts)
    report = prepare_faces(source, tmp_path / "out", image_size=16, channels=1)
    assert report.licence.line.startswith("ferg: ") and " jaffe: " in report.licence.line
    assert not report.licence.is_public_domain
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for name in ("ferg", "jaffe"):
        terms = _source_class(name).terms
        assert all(part in text for part in (terms.holder, terms.ask, terms.use, terms.derived, terms.read_at))
        alone = {face.subject for face in open_source(name, tmp_path / name).faces() if isinstance(face, RawFace)}
        table = read_faces(tmp_path / "out").to_pylist()
        assert {row["subject"] for row in table if row["source"] == name} == {f"{name}/{who}" for who in alone}
    found = take_inventory(source, pictures=False)
    assert found.faces == report.faces and {entry.what for entry in found.published} >= {"ferg: faces", "jaffe: faces"}
    assert {problem.where.split(": ")[0] for problem in found.missing} <= {"ferg", "jaffe"}


def test_problems_say_whose_they_are(tmp_path: Path) -> None:
    drawings(photographs(tmp_path))
    (tmp_path / "drawings" / "sad" / "broken.png").write_bytes(b"no picture")
    source = open_source("joint", tmp_path, parts=folders())
    problems = [str(found) for found in source.faces() if isinstance(found, Problem)]
    assert len(problems) == 1 and problems[0].startswith("drawn: ") and "broken.png" in problems[0]
    with pytest.raises(InputError, match=r"1 problem in the source joint.*\n.*drawn: .*broken\.png"):
        prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="mit")


def part(**changes: Any) -> dict[str, Any]:
    return {"data_set": "drawn", "source": "folder", "root": "drawings"} | changes


BAD = {
    "one part": ([], "parts: .*at least 2"),
    "a name twice": ([part(data_set="photo")], "two parts have one data_set name"),
    "a name with a slash": ([part(data_set="a/b")], r"parts\.1\.data_set"),
    "no name": ([{"source": "folder", "root": "drawings"}], r"parts\.1\.data_set: Field required"),
    "unknown key": ([part(rot="x")], r"parts\.1\.rot"),
    "joint in joint": ([part(source="joint")], "can't be joint itself"),
    "outside": ([part(root="../elsewhere")], "lies within the joint root"),
    "a licence of nothing": ([part(licence="unknown")], r"parts\.1\.licence: .*says nothing of a licence"),
    "absolute": ([part(root="/elsewhere")], "put or link all data sets below one folder"),
    "unknown source": ([part(source="fer2031")], "drawn: source: 'fer2031' is no source"),
    "unknown setting": ([part(settings={"colour": 1})], "drawn: colour: is no setting of the source folder"),
    "absent root": ([part(root="nowhere")], "drawn: .*nowhere: does not exist"),
    "no root": ([part(root=None)], "drawn: root: the source folder needs one"),
    "root for the embedded faces": ([part(source="rig")], "drawn: root: the source rig reads no files"),
    "other classes": ([part(root="others")], "drawn: has the classes angry, happy, but photo has happy, sad"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused_by_name(tmp_path: Path, case: str) -> None:
    drawings(photographs(tmp_path))
    for label in ("angry", "happy"):
        write_picture(tmp_path / "others" / label / "1.png", 0)
    rest, why = BAD[case]
    with pytest.raises(InputError, match=why):
        open_source("joint", tmp_path, parts=[part(data_set="photo", root="photos"), *rest])


def test_all_parts_that_cannot_be_opened_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_source("joint", tmp_path, parts=folders())
    assert [problem.where.partition(":")[0] for problem in caught.value.problems] == ["photo", "drawn"]


def test_no_root_is_refused() -> None:
    with pytest.raises(InputError, match="root: the source joint needs one"):
        open_source("joint", parts=folders())
    assert check_source_settings("joint", {"parts": folders()})
