"""CK+ on a small copy in its exact layout, drawn from the embedded faces."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face, write_face
from spoiling import Case, assert_folds_part_no_subject, assert_refused, cut, deleted, file_at, moved, spoiled

from augment.core.errors import InputError, Problem
from augment.faces.images import encode_png
from augment.sources import open_source
from augment.sources.ck_plus import EMOTIONS, CkPlusSource

SUBJECTS = ("S005", "S010", "S999")
IMAGES = "cohn-kanade-images"


def write_sequence(
    root: Path, subject: str, sequence: str, emotion: str | None, *, frames: int = 5, person: int = 0, size: int = 64
) -> None:
    """A sequence with its landmarks and, where it has an emotion, its label."""
    place = f"{subject}/{sequence}"
    for number in range(1, frames + 1):
        how: dict[str, Any] = {"intensity": number / frames, "take": number, "size": size}
        shown = emotion or "neutral"
        name = f"{place}/{subject}_{sequence}_{number:08d}"
        write_face(root / IMAGES / f"{name}.png", shown, person, **how, channels=1)
        points = embedded_face(shown, person, **how, channels=1)[1] * size
        text = "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points)
        file_at(f"Landmarks/{name}_landmarks.txt", text.encode())(root)
    (root / "Emotion" / place).mkdir(parents=True, exist_ok=True)  # the data set has empty folders for the unlabelled
    if emotion is not None:
        label = f"   {EMOTIONS.index(emotion):.7e}\n"
        file_at(f"Emotion/{place}/{subject}_{sequence}_{frames:08d}_emotion.txt", label.encode())(root)


def small_copy(root: Path) -> Path:
    """Three subjects with three emotions each, contempt among them, and a sequence without a label."""
    for person, subject in enumerate(SUBJECTS):
        for number, emotion in enumerate(("angry", "contempt", "happy"), 1):
            write_sequence(root, subject, f"{number:03d}", emotion, frames=4 + number, person=person)
        write_sequence(root, subject, "004", None, person=person)
    file_at("FACS/S005/001/S005_001_00000005_facs.txt", b"9.0 4.0\n")(root)
    file_at("ReadMeCohnKanadeDatabase.txt")(root)
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy(tmp_path_factory.mktemp("ck"))


def opened(root: Path, **settings: Any) -> CkPlusSource:
    source = open_source("ck_plus", root, **settings)
    assert isinstance(source, CkPlusSource)
    return source


def test_the_last_frames_of_labelled_sequences_are_the_faces(copy: Path) -> None:
    source = opened(copy)
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == 3 * 3 * 3
    assert [face.name for face in listed[:3]] == [f"S005/001/S005_001_{n:08d}.png" for n in (3, 4, 5)]
    assert Counter(face.label_name for face in listed) == {"angry": 9, "contempt": 9, "happy": 9}
    assert {face.subject for face in listed} == set(SUBJECTS)
    assert "neutral" not in source.class_names and len(source.class_names) == 7
    assert source.further_counts() == {"sequences": 9, "sequences without a label": 3}


def test_the_neutral_first_frame(copy: Path) -> None:
    source = opened(copy, first_is_neutral=True, peak_frames=1)
    labels = [(face.name[-12:], face.label_name) for face in source.listed_faces()]
    assert labels[:2] == [("00000001.png", "neutral"), ("00000005.png", "angry")]
    counts = {item.what: item.count for item in source.published}
    assert (counts["faces"], counts["class neutral"], counts["class surprise"]) == (654, 327, 83)


def test_published_counts_are_those_of_the_extract(copy: Path) -> None:
    counts = {item.what: item.count for item in opened(copy).published}
    assert counts["faces"] == 981 == sum(count for what, count in counts.items() if what.startswith("class "))
    assert (counts["sequences"], counts["sequences without a label"], counts["subjects"]) == (327, 266, 118)


def test_landmarks_are_parts_of_the_picture(copy: Path, tmp_path: Path) -> None:
    face = next(iter(opened(copy).faces()))
    assert not isinstance(face, Problem) and face.landmarks is not None
    truth = embedded_face("angry", 0, intensity=3 / 5, take=3, channels=1)
    assert np.array_equal(face.image, truth[0])
    assert face.landmarks == pytest.approx(truth[1], abs=1e-6)
    # A picture that is wider than high: x is divided by the width, y by the height.
    shutil.copytree(copy, tmp_path / "wide")
    file_at(f"{SEQUENCE}/S005_001_00000003.png", encode_png(np.zeros((49, 64), np.uint8)))(tmp_path / "wide")
    face = next(iter(opened(tmp_path / "wide").faces()))
    assert not isinstance(face, Problem) and face.landmarks is not None
    assert face.landmarks == pytest.approx(truth[1] * (1, 64 / 49), abs=1e-6)


def test_archives_unpacked_into_folders_of_their_names(copy: Path, tmp_path: Path) -> None:
    for part, into in (
        (IMAGES, "extended-cohn-kanade-images"),
        ("Emotion", "Emotion_labels"),
        ("Landmarks", "Landmarks"),
    ):
        shutil.copytree(copy / part, tmp_path / into / part)
    (tmp_path / "Emotion_labels.zip").write_bytes(b"PK")
    names = [face.name for face in opened(copy).listed_faces()]
    source = opened(tmp_path)
    assert [face.name for face in source.listed_faces()] == names and len(source.listed()) == len(names)
    assert all(not isinstance(face, Problem) and face.landmarks is not None for face in source.faces())


def test_without_landmarks_there_are_none_and_that_is_said(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy, tmp_path / "in")
    (tmp_path / "in/Landmarks/S005/001/S005_001_00000005_landmarks.txt").unlink()
    source = opened(tmp_path / "in")
    faces = [face for face in source.faces() if not isinstance(face, Problem)]
    assert [face.name for face in faces if face.landmarks is None] == ["S005/001/S005_001_00000005.png"]
    assert "Landmarks/S005: lacks the landmarks of 1 faces (unpack it again)" in map(str, source.missing())
    shutil.rmtree(tmp_path / "in/Landmarks")
    source = opened(tmp_path / "in")
    assert all(not isinstance(face, Problem) and face.landmarks is None for face in source.faces())
    missing = [str(item) for item in source.missing()]
    assert missing[0] == "angry: 3 of 45 sequences are there" and missing[-1].startswith("Landmarks: is missing")


def test_folds_part_no_subject(copy: Path, tmp_path: Path) -> None:
    report = assert_folds_part_no_subject(opened(copy), tmp_path / "out", 3)
    assert (report.faces, report.columns["landmarks"], report.subjects) == (27, 27, {"none": 3})


# The extract CK+48.

EXTRACT = "CK+48"


def small_extract(root: Path) -> Path:
    for person, subject in enumerate(("S010", "S011", "S014")):
        for sequence, (folder, emotion) in enumerate((("anger", "angry"), ("sadness", "sad")), 2):
            for number in (15, 16, 17):
                path = root / EXTRACT / folder / f"{subject}_{sequence:03d}_{number:08d}.png"
                write_face(path, emotion, person, take=number, size=48, channels=1)
    return root


def test_the_extract(tmp_path: Path) -> None:
    root = small_extract(tmp_path / "in")
    source = opened(root)
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == 18
    assert (listed[0].name, listed[0].label_name, listed[0].subject) == ("anger/S010_002_00000015.png", "angry", "S010")
    assert [face.name for face in opened(root / EXTRACT, peak_frames=1).listed_faces()][:1] == [
        "anger/S010_002_00000017.png"
    ]
    assert source.further_counts() == {"sequences": 6}
    assert "sequences without a label" not in {item.what for item in source.published}
    report = assert_folds_part_no_subject(source, tmp_path / "out", 3)
    assert report.columns["landmarks"] == 0


# Bad input.

SEQUENCE = f"{IMAGES}/S005/001"
LABEL = "Emotion/S005/001/S005_001_00000005_emotion.txt"
POINTS = "Landmarks/S005/001/S005_001_00000005_landmarks.txt"


def one_subject(root: Path) -> Path:
    write_sequence(root, "S005", "001", "angry")
    write_sequence(root, "S005", "002", None)
    return root


def archives_only(root: Path) -> Path:
    for name in ("extended-cohn-kanade-images.zip", "Emotion_labels.zip"):
        (root / name).write_bytes(b"PK")
    return root


def labels_packed(root: Path) -> Path:
    one_subject(root)
    shutil.rmtree(root / "Emotion")
    (root / "Emotion_labels.zip").write_bytes(b"PK")
    return root


CASES: dict[str, Case] = {
    "CK+: archives that are not unpacked": (
        "ck_plus",
        archives_only,
        {},
        r"3 problems(.|\n)*Emotion_labels.zip: is an archive(.|\n)*extended-cohn-kanade-images.zip: is an archive",
    ),
    "CK+: labels that are not unpacked": (
        "ck_plus",
        labels_packed,
        {},
        r"looked for Emotion/S005/001(.|\n)*Emotion_labels.zip: is an archive that is not unpacked",
    ),
    "CK+: labels' folder in another case": (
        "ck_plus",
        spoiled(one_subject, moved("Emotion", "emotion")),
        {},
        "emotion: is written in another case .*rename it to Emotion",
    ),
    "CK+: two copies in one folder": (
        "ck_plus",
        spoiled(one_subject, moved(IMAGES, f"a/{IMAGES}"), file_at(f"b/{IMAGES}/x.txt")),
        {},
        f"{IMAGES} is there more than once: a/{IMAGES}, b/{IMAGES}",
    ),
    "CK+: subject folder in another case": (
        "ck_plus",
        spoiled(one_subject, moved(f"{IMAGES}/S005", f"{IMAGES}/s005")),
        {},
        r"s005/: is written in another case .*rename it to S005(.|\n)*labels the sequences 001, whose pictures are not",
    ),
    "CK+: renamed subject": (
        "ck_plus",
        spoiled(one_subject, moved(f"{IMAGES}/S005", f"{IMAGES}/anna")),
        {},
        f"{IMAGES}/anna/: is not a subject",
    ),
    "CK+: pictures of another subject": (
        "ck_plus",
        spoiled(one_subject, moved(f"{SEQUENCE}/S005_001_00000004.png", f"{SEQUENCE}/S010_001_00000004.png")),
        {},
        r"S005/001/: holds what is not a frame of this sequence .S005_001_00000001.png.: S010_001_00000004.png",
    ),
    "CK+: frames in another case": (
        "ck_plus",
        spoiled(one_subject, moved(f"{SEQUENCE}/S005_001_00000005.png", f"{SEQUENCE}/s005_001_00000005.PNG")),
        {},
        "rename s005_001_00000005.PNG to S005_001_00000005.png",
    ),
    "CK+: sequence cut off before its peak": (
        "ck_plus",
        spoiled(one_subject, deleted(f"{SEQUENCE}/S005_001_00000005.png")),
        {},
        "S005/001/: ends with frame 4, and its label is that of frame 5",
    ),
    "CK+: gap in a sequence": (
        "ck_plus",
        spoiled(one_subject, deleted(f"{SEQUENCE}/S005_001_00000002.png")),
        {},
        "S005/001/: lacks the frames 2 between 1 and 5",
    ),
    "CK+: too few frames": ("ck_plus", one_subject, {"peak_frames": 9}, "S005/001/: has 5 frames, and 9 are needed"),
    "CK+: neutral frame that is not there": (
        "ck_plus",
        spoiled(one_subject, deleted(f"{SEQUENCE}/S005_001_00000001.png")),
        {"first_is_neutral": True},
        "S005/001/: starts with frame 2, so its neutral face is not there",
    ),
    "CK+: label without its pictures": (
        "ck_plus",
        spoiled(one_subject, file_at("Emotion/S005/003/S005_003_00000009_emotion.txt", b"3.0")),
        {},
        "Emotion/S005/: labels the sequences 003, whose pictures are not there",
    ),
    "CK+: empty label": ("ck_plus", spoiled(one_subject, file_at(LABEL, b"")), {}, f"{LABEL}: holds no label, but ''"),
    "CK+: label that is no number": (
        "ck_plus",
        spoiled(one_subject, file_at(LABEL, b"anger")),
        {},
        f"{LABEL}: holds no label, but 'anger'",
    ),
    "CK+: label out of range": (
        "ck_plus",
        spoiled(one_subject, file_at(LABEL, b"   8.0000000e+00\n")),
        {},
        f"{LABEL}: holds the label 8 ",
    ),
    "CK+: two labels of one sequence": (
        "ck_plus",
        spoiled(one_subject, file_at("Emotion/S005/001/copy.txt", b"3.0")),
        {},
        "Emotion/S005/001/: holds more than one label: S005_001_00000005_emotion.txt, copy.txt",
    ),
    "CK+: renamed label": (
        "ck_plus",
        spoiled(one_subject, moved(LABEL, "Emotion/S005/001/emotion.txt")),
        {},
        "001/emotion.txt: is not this sequence's label .*S005_001_00000011_emotion.txt",
    ),
    "CK+: landmarks cut off": (
        "ck_plus",
        spoiled(one_subject, cut(POINTS, 340)),
        {},
        f"{POINTS}: holds 11 rows, not 68",
    ),
    "CK+: landmarks that are no numbers": (
        "ck_plus",
        spoiled(one_subject, file_at(POINTS, b"x y\n" * 68)),
        {},
        f"{POINTS}: holds rows that are not two numbers",
    ),
    "CK+: landmarks that are not finite": (
        "ck_plus",
        spoiled(one_subject, file_at(POINTS, b"nan 1\n" * 68)),
        {},
        f"{POINTS}: has points far outside",
    ),
    "CK+: landmarks of a larger picture": (
        "ck_plus",
        spoiled(one_subject, file_at(POINTS, b"320 240\n" * 68)),
        {},
        f"{POINTS}: has points far outside the picture of 64 x 64 pixels",
    ),
    "CK+: empty frame": (
        "ck_plus",
        spoiled(one_subject, file_at(f"{SEQUENCE}/S005_001_00000005.png", b"")),
        {},
        "S005_001_00000005.png: does not decode: the file is empty",
    ),
    "CK+: several problems at once": (
        "ck_plus",
        spoiled(one_subject, file_at(POINTS, b""), file_at("Emotion/S005/x.txt"), file_at(f"{SEQUENCE}/a.zip")),
        {},
        r"3 problems(.|\n)*a.zip: is an archive(.|\n)*holds 0 rows, not 68(.|\n)*Emotion/S005/x.txt: is a file",
    ),
    "CK+48: neutral faces, which it does not have": (
        "ck_plus",
        small_extract,
        {"first_is_neutral": True},
        "first_is_neutral: CK.48 has no neutral faces",
    ),
    "CK+48: renamed emotion": (
        "ck_plus",
        spoiled(small_extract, file_at(f"{EXTRACT}/angry/S010_009_00000001.png")),
        {},
        "angry/: is not an emotion .anger, contempt",
    ),
    "CK+48: emotion folder in another case": (
        "ck_plus",
        spoiled(small_extract, moved(f"{EXTRACT}/anger", f"{EXTRACT}/Anger")),
        {},
        "Anger/: is written in another case .*rename it to anger",
    ),
    "CK+48: renamed picture": (
        "ck_plus",
        spoiled(small_extract, moved(f"{EXTRACT}/anger/S010_002_00000015.png", f"{EXTRACT}/anger/1.png")),
        {},
        "anger/1.png: names no subject, sequence and frame",
    ),
    "CK+48: one sequence with two emotions": (
        "ck_plus",
        spoiled(
            small_extract,
            moved(f"{EXTRACT}/anger/S010_002_00000015.png", f"{EXTRACT}/sadness/S010_002_00000015.png"),
        ),
        {},
        "sadness/: has pictures of the sequence S010_002, and so has anger",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_unlabelled_sequences_are_not_looked_into(tmp_path: Path) -> None:
    root = spoiled(one_subject, deleted(f"{IMAGES}/S005/002/S005_002_00000002.png"))(tmp_path)
    assert [type(item) for item in opened(root).listed() if isinstance(item, Problem)] == []
    with pytest.raises(InputError, match="is not a folder"):
        opened(root / LABEL)
