"""MUG on a small copy in its exact layout, drawn from the embedded faces."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from embedded import write_face
from spoiling import Case, assert_folds_part_no_subject, assert_refused, cut, deleted, file_at, moved, spoiled

from augment.core.errors import InputError, Problem
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source
from augment.sources.mug import EXPRESSIONS, MugSource

SUBJECTS = ("001", "002", "014")
SHORT = {"min_frames": 5}


def write_take(folder: Path, expression: str, subject: int, frames: int = 7, first: int = 0) -> None:
    """A take that rises from the neutral face to the apex, and falls back."""
    for number in range(frames):
        share = 1 - abs(2 * number / (frames - 1) - 1)
        path = folder / f"img_{first + number:04d}.jpg"
        write_face(path, EXPRESSIONS[expression], subject, take=number, intensity=share)


def small_copy(root: Path) -> Path:
    """Three subjects with all expressions; the last has two sessions, and a take that is set aside."""
    for number, subject in enumerate(SUBJECTS):
        session = "/session0" if subject == "014" else ""
        for expression in EXPRESSIONS:
            write_take(root / f"subjects3/{subject}{session}/{expression}/take000", expression, number)
    write_take(root / "subjects3/014/session1/anger/take000", "anger", 2, frames=6, first=3)
    write_take(root / "subjects3/014/session1/anger/take001-nsg", "anger", 2, frames=6)
    return root


def annotated_copy(root: Path) -> Path:
    """The part that the holders annotated by hand."""
    for name, expression in (
        ("001_an_001_0027", "angry"),
        ("001_ne_000_0003", "neutral"),
        ("052_su_002_0041", "surprise"),
    ):
        write_face(root / f"manual/images/{name}.jpg", expression, int(name[:3]))
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy(tmp_path_factory.mktemp("mug"))


def opened(root: Path, **settings: Any) -> MugSource:
    source = open_source("mug", root, **settings)
    assert isinstance(source, MugSource)
    return source


def test_the_middle_frames_of_takes_are_the_faces(copy: Path) -> None:
    source = opened(copy, **SHORT)
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == (3 * 7 + 1) * 3
    assert [face.path for face in listed[:3]] == [f"subjects3/001/anger/take000/img_{n:04d}.jpg" for n in (2, 3, 4)]
    of_session = [face.name for face in listed if "session1" in face.path]  # six frames, from 3 on
    assert of_session == [f"014/session1/anger/take000/img_{n:04d}.jpg" for n in (4, 5, 6)]
    assert Counter(face.label_name for face in listed) == {
        "angry": 12,
        **dict.fromkeys(("disgust", "fear", "happy", "neutral", "sad", "surprise"), 9),
    }
    assert {(face.intensity, face.split, face.yaw) for face in listed} == {(None, None, None)}
    assert source.further_counts() == {"sequences": 22, "takes set aside (nsg)": 1}
    assert [(item.what, item.count) for item in source.published] == [("subjects", 52)]


def test_other_parts_that_number_people_are_no_second_copy(tmp_path: Path) -> None:
    write_take(tmp_path / "subjects3/001/anger/take000", "anger", 0)
    (tmp_path / "induced/001").mkdir(parents=True)
    assert [face.name for face in opened(tmp_path, peak_frames=1, **SHORT).listed_faces()] == [
        "001/anger/take000/img_0003.jpg"
    ]


@pytest.mark.parametrize(("count", "numbers"), [(1, [3]), (2, [2, 3]), (3, [2, 3, 4]), (7, list(range(7)))])
def test_the_apex_is_in_the_middle(copy: Path, count: int, numbers: list[int]) -> None:
    listed = opened(copy, peak_frames=count, **SHORT).listed_faces()
    fear = [face.path for face in listed if face.path.startswith("subjects3/001/fear")]
    assert [int(path[-8:-4]) for path in fear] == numbers


def test_names_do_not_depend_on_how_deep_the_copy_lies(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "subjects3", tmp_path / "MUG/subjects3")
    names = [face.name for face in opened(copy, **SHORT).listed_faces()]
    (tmp_path / "MUG/subjects3/001").rename(tmp_path / "001")
    (tmp_path / "001").rename(tmp_path / "MUG/subjects3/inner")  # an archive unpacked into a folder of its name
    (tmp_path / "MUG/subjects3/inner").rename(tmp_path / "inner")
    (tmp_path / "MUG/subjects3/001").mkdir()
    (tmp_path / "inner").rename(tmp_path / "MUG/subjects3/001/001")
    for root in (tmp_path, tmp_path / "MUG", tmp_path / "MUG/subjects3"):
        source = opened(root, **SHORT)
        assert [face.name for face in source.listed_faces()] == names
        assert not [item for item in source.listed() if isinstance(item, Problem)]
        first = next(iter(source.faces()))
        assert not isinstance(first, Problem) and first.image.shape == (64, 64, 3)


def test_the_annotated_pictures(tmp_path: Path) -> None:
    source = opened(annotated_copy(tmp_path), peak="annotation")
    assert [(face.name, face.label_name, face.subject) for face in source.listed_faces()] == [
        ("manual/001_an_001_0027.jpg", "angry", "001"),
        ("manual/001_ne_000_0003.jpg", "neutral", "001"),
        ("manual/052_su_002_0041.jpg", "surprise", "052"),
    ]
    assert source.published == () and not list(source.missing())
    assert source.further_counts() == {"annotated pictures": 3}
    assert prepare_faces(source, tmp_path / "out", image_size=16, channels=3).faces == 3
    with pytest.raises(InputError, match="looked for subjects3/001/anger"):
        opened(tmp_path)


def test_missing_subjects_and_expressions(copy: Path, tmp_path: Path) -> None:
    assert [str(item) for item in opened(copy, **SHORT).missing()] == [
        "subjects3: 3 subjects of the 52 that are given to licensees have faces (their numbers, 001 to 086, have gaps)"
    ]
    write_take(tmp_path / "subjects3/007/fear/take000", "fear", 0)
    found = [str(item) for item in opened(tmp_path, **SHORT).missing()]
    assert found[1] == "007: has no faces of anger, disgust, happiness, neutral, sadness, surprise"


def test_folds_part_no_subject(copy: Path, tmp_path: Path) -> None:
    report = assert_folds_part_no_subject(opened(copy, peak_frames=1, **SHORT), tmp_path / "out", 3)
    assert (report.faces, report.subjects) == (22, {"none": 3})


# Bad input.

TAKE = "subjects3/001/anger/take000"


def one_subject(root: Path) -> Path:
    write_take(root / TAKE, "anger", 0)
    write_take(root / "subjects3/001/fear/take000", "fear", 0)
    return root


def archive_only(root: Path) -> Path:
    (root / "subjects3.tar").write_bytes(b"x")
    return root


def two_copies(root: Path) -> Path:
    for name in ("first", "second"):
        write_take(root / name / "001/anger/take000", "anger", 0, frames=3)
    return root


def take_twice(root: Path) -> None:
    shutil.copytree(root / "subjects3/001/anger", root / "subjects3/001/001/anger")


CASES: dict[str, Case] = {
    "MUG: archive that is not unpacked": (
        "mug",
        archive_only,
        {},
        r"no layout of MUG(.|\n)*subjects3.tar: is an archive that is not unpacked",
    ),
    "MUG: two copies in one folder": ("mug", two_copies, {}, "more than one copy: first, second"),
    "MUG: annotated part that is not there": (
        "mug",
        one_subject,
        {"peak": "annotation"},
        "looked for manual/images/001_an_001_0000.jpg",
    ),
    "MUG: annotated picture that is renamed": (
        "mug",
        spoiled(annotated_copy, moved("manual/images/001_an_001_0027.jpg", "manual/images/anna.jpg")),
        {"peak": "annotation"},
        "manual/images/anna.jpg: is not an annotated picture",
    ),
    "MUG: annotated picture in another case": (
        "mug",
        spoiled(annotated_copy, moved("manual/images/001_an_001_0027.jpg", "manual/images/001_AN_001_0027.JPG")),
        {"peak": "annotation"},
        "001_AN_001_0027.JPG: is written in another case .*rename it to 001_an_001_0027.jpg",
    ),
    "MUG: annotated picture of an unknown expression": (
        "mug",
        spoiled(annotated_copy, moved("manual/images/001_an_001_0027.jpg", "manual/images/001_co_001_0027.jpg")),
        {"peak": "annotation"},
        "001_co_001_0027.jpg: is not an annotated picture",
    ),
    "MUG: expression folder in another case": (
        "mug",
        spoiled(one_subject, moved("subjects3/001/fear", "subjects3/001/Fear")),
        SHORT,
        "subjects3/001/Fear/: is written in another case .*rename it to fear",
    ),
    "MUG: session folder in another case": (
        "mug",
        spoiled(one_subject, moved("subjects3/001/fear", "subjects3/001/Session0/fear")),
        SHORT,
        "subjects3/001/Session0/: is written in another case .*rename it to session0",
    ),
    "MUG: renamed expression": (
        "mug",
        spoiled(one_subject, moved("subjects3/001/fear", "subjects3/001/scared")),
        SHORT,
        r"subjects3/001/scared/: is not an expression .anger, disgust",
    ),
    "MUG: renamed subject": (
        "mug",
        spoiled(one_subject, moved("subjects3/001/fear", "subjects3/anna/fear")),
        SHORT,
        "subjects3/anna/: is not a subject",
    ),
    "MUG: one take under two folders": (
        "mug",
        spoiled(one_subject, take_twice),
        SHORT,
        "001/001/anger/take000/: is a take of subject 001 that lies in subjects3/001/anger/take000 too",
    ),
    "MUG: renamed take": (
        "mug",
        spoiled(one_subject, moved(TAKE, "subjects3/001/anger/first")),
        SHORT,
        "anger/first/: is not a take",
    ),
    "MUG: expression without takes": (
        "mug",
        spoiled(one_subject, moved(TAKE, "subjects3/002/anger/take000")),
        SHORT,
        "subjects3/001/anger/: holds no takes",
    ),
    "MUG: frames that lie in no take": (
        "mug",
        spoiled(one_subject, moved(f"{TAKE}/img_0003.jpg", "subjects3/001/anger/img_0003.jpg")),
        SHORT,
        r"anger/img_0003.jpg: is a file that the data set does not have there(.|\n)*lacks the frames 3 between 0 and 6",
    ),
    "MUG: take cut short": (
        "mug",
        one_subject,
        {},
        r"anger/take000/: has 7 frames, and 20 are needed .*lower min_frames",
    ),
    "MUG: gap in a take": (
        "mug",
        spoiled(one_subject, deleted(f"{TAKE}/img_0001.jpg", f"{TAKE}/img_0005.jpg")),
        SHORT,
        "take000/: lacks the frames 1, 5 between 0 and 6",
    ),
    "MUG: one frame under two names": (
        "mug",
        spoiled(one_subject, moved(f"{TAKE}/img_0004.jpg", f"{TAKE}/0003.jpg")),
        SHORT,
        "take000/img_0003.jpg: is frame 3 like 0003.jpg",
    ),
    "MUG: frame in another case": (
        "mug",
        spoiled(one_subject, moved(f"{TAKE}/img_0003.jpg", f"{TAKE}/IMG_0003.JPG")),
        SHORT,
        "rename IMG_0003.JPG to img_0003.jpg",
    ),
    "MUG: empty frame": (
        "mug",
        spoiled(one_subject, file_at(f"{TAKE}/img_0003.jpg", b"")),
        SHORT,
        "img_0003.jpg: does not decode: the file is empty",
    ),
    "MUG: truncated frame": (
        "mug",
        spoiled(one_subject, cut(f"{TAKE}/img_0003.jpg", 700)),
        SHORT,
        "img_0003.jpg: does not decode: .*truncated",
    ),
    "MUG: text that is called a picture": (
        "mug",
        spoiled(one_subject, file_at(f"{TAKE}/img_0003.jpg", b"hello")),
        SHORT,
        "img_0003.jpg: does not decode",
    ),
    "MUG: archive among the takes": (
        "mug",
        spoiled(one_subject, file_at("subjects3/001/fear/take001.tar.gz")),
        SHORT,
        "fear/take001.tar.gz: is an archive or a download",
    ),
    "MUG: several problems at once": (
        "mug",
        spoiled(one_subject, file_at(f"{TAKE}/img_0003.jpg", b""), file_at("subjects3/001/fear/take000/a.txt")),
        SHORT,
        r"2 problems(.|\n)*img_0003.jpg: (.|\n)*fear/take000/: holds what is not a frame .*: a.txt",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)
