"""Oulu-CASIA on a small copy in its exact layout, drawn from the embedded faces."""

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
from augment.sources.oulu_casia import EXPRESSIONS, OuluCasiaSource

SUBJECTS = ("P001", "P002", "P051", "P080")
LIGHTS = {"Strong": "normal", "Weak": "weak", "Dark": "dark"}


def write_sequence(folder: Path, expression: str, subject: int, frames: int = 5, illumination: str = "normal") -> None:
    for number in range(frames):
        share = number / (frames - 1)
        how = {"illumination": illumination, "intensity": share, "take": number}
        write_face(folder / f"{number:03d}.jpeg", EXPRESSIONS[expression], subject, **how)


def small_copy(root: Path) -> Path:
    """Four subjects, strong light whole, and one subject in weak and dark light and before the infrared camera."""
    for number, subject in enumerate(SUBJECTS):
        for expression in EXPRESSIONS:
            write_sequence(root / "OriginalImg/VL/Strong" / subject / expression, expression, number)
    for light in ("Weak", "Dark"):
        write_sequence(root / "OriginalImg/VL" / light / "P001/Anger", "Anger", 0, illumination=LIGHTS[light])
    write_sequence(root / "OriginalImg/NI/Strong/P001/Fear", "Fear", 0)
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy(tmp_path_factory.mktemp("oulu"))


def opened(root: Path, **settings: Any) -> OuluCasiaSource:
    source = open_source("oulu_casia", root, **settings)
    assert isinstance(source, OuluCasiaSource)
    return source


def test_the_last_three_frames_are_the_faces(copy: Path) -> None:
    source = opened(copy, lights=("Strong",))
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == 4 * 6 * 3
    assert [face.name for face in listed[:3]] == [f"VL/Strong/P001/Anger/{n:03d}.jpeg" for n in (2, 3, 4)]
    assert listed[0].path == "OriginalImg/VL/Strong/P001/Anger/002.jpeg"
    assert {face.subject for face in listed} == set(SUBJECTS)
    assert Counter(face.label_name for face in listed) == dict.fromkeys(source.class_names, 12)
    assert {(face.illumination, face.intensity, face.split) for face in listed} == {("Strong", None, None)}
    assert source.further_counts() == {"sequences": 24}


def test_lights_cameras_and_the_neutral_first_frame(copy: Path) -> None:
    assert Counter(source_illuminations(opened(copy))) == {"Strong": 72, "Weak": 3, "Dark": 3}
    both = opened(copy, cameras=("VL", "NI"), lights=("Strong",), peak_frames=1)
    assert Counter(source_illuminations(both)) == {"Strong": 24, "NI Strong": 1}
    neutral = opened(copy, lights=("Dark",), first_is_neutral=True, peak_frames=2)
    assert "neutral" in neutral.class_names and "neutral" not in both.class_names
    assert [(Path(face.path).name, face.label_name) for face in neutral.listed_faces()] == [
        ("000.jpeg", "neutral"),
        ("003.jpeg", "angry"),
        ("004.jpeg", "angry"),
    ]


def source_illuminations(source: OuluCasiaSource) -> list[str]:
    return list(source.attribute_values("illumination"))


def test_names_do_not_depend_on_how_deep_the_copy_lies(copy: Path, tmp_path: Path) -> None:
    deep = tmp_path / "B_OriginalImg/B_OriginalImg"
    shutil.copytree(copy / "OriginalImg", deep / "OriginalImg")
    (tmp_path / "B_OriginalImg.zip").write_bytes(b"PK")
    names = [face.name for face in opened(copy).listed_faces()]
    for root in (tmp_path, deep, deep / "OriginalImg"):
        source = opened(root)
        assert [item.name for item in source.listed_faces()] == names
        assert not [item for item in source.listed() if isinstance(item, Problem)]
        assert not isinstance(next(iter(source.faces())), Problem)


def test_the_holders_crops(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "OriginalImg/VL", tmp_path / "PreProcess Img/VL_Acropped")
    (tmp_path / "PreProcess Img/change_log.txt").write_text("2012")
    source = opened(tmp_path, pictures="cropped", lights=("Strong",))
    assert len(source) == 72 and len(source.listed()) == 72
    with pytest.raises(InputError, match="looked for OriginalImg/VL/Strong/P001"):
        opened(tmp_path)


def test_published_counts_follow_the_settings(copy: Path) -> None:
    counts = {item.what: item.count for item in opened(copy, lights=("Strong",)).published}
    assert (counts["subjects"], counts["sequences"], counts["faces"], counts["class happy"]) == (80, 480, 1440, 240)
    counts = {item.what: item.count for item in opened(copy, first_is_neutral=True).published}
    assert (counts["sequences"], counts["faces"], counts["light Dark"], counts["class neutral"]) == (
        1440,
        5760,
        1920,
        1440,
    )
    assert "faces" not in {item.what for item in opened(copy, peak_frames=4).published}


def test_missing_subjects_are_one_line_and_so_are_a_subjects_expressions(copy: Path) -> None:
    found = [str(problem) for problem in opened(copy, cameras=("VL", "NI")).missing()]
    assert found[0] == "VL/Strong: lacks the subjects P003, P004, P005, P006, P007 ... 76 in all"
    assert "VL/Dark/P001: lacks Disgust, Fear, Happiness, Sadness, Surprise" in found
    assert any(line.startswith("NI/Weak: is missing") for line in found)


def test_folds_part_no_subject(copy: Path, tmp_path: Path) -> None:
    report = assert_folds_part_no_subject(opened(copy, lights=("Strong",)), tmp_path / "out", 4)
    assert (report.faces, report.subjects) == (72, {"none": 4})


# Bad input.

PLACE = "OriginalImg/VL/Strong"


def one_subject(root: Path) -> Path:
    for expression in ("Anger", "Fear"):
        write_sequence(root / PLACE / "P001" / expression, expression, 0)
    return root


def archive_only(root: Path) -> Path:
    (root / "B_OriginalImg.zip").write_bytes(b"PK\x03\x04")
    return root


def two_copies(root: Path) -> Path:
    for name in ("first", "second"):
        write_sequence(root / name / "VL/Strong/P001/Anger", "Anger", 0, frames=3)
    return root


def duplicate_subject(root: Path) -> None:
    shutil.copytree(root / PLACE / "P001", root / PLACE / "p001")


CASES: dict[str, Case] = {
    "Oulu-CASIA: archive that is not unpacked": (
        "oulu_casia",
        archive_only,
        {},
        r"no layout of Oulu-CASIA(.|\n)*B_OriginalImg.zip: is an archive that is not unpacked",
    ),
    "Oulu-CASIA: two copies in one folder": ("oulu_casia", two_copies, {}, "more than one copy: first, second"),
    "Oulu-CASIA: camera folder in another case": (
        "oulu_casia",
        spoiled(one_subject, moved("OriginalImg/VL", "OriginalImg/vl")),
        {},
        r"OriginalImg/vl/: is written in another case .*rename it to VL",
    ),
    "Oulu-CASIA: expression folder in another case": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001/Anger", f"{PLACE}/P001/anger")),
        {},
        "P001/anger/: is written in another case .*rename it to Anger",
    ),
    "Oulu-CASIA: one subject under two names": (
        "oulu_casia",
        spoiled(one_subject, duplicate_subject),
        {},
        "Strong/p001/: is written in another case .*there is a P001 too",
    ),
    "Oulu-CASIA: renamed subject": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001", f"{PLACE}/subject1")),
        {},
        r"Strong/subject1/: is not a subject .P001 to P080",
    ),
    "Oulu-CASIA: subject that the data set does not have": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001", f"{PLACE}/P081")),
        {},
        "Strong/P081/: is not a subject",
    ),
    "Oulu-CASIA: renamed expression": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001/Anger", f"{PLACE}/P001/Angry")),
        {},
        r"P001/Angry/: is not an expression .Anger, Disgust",
    ),
    "Oulu-CASIA: renamed frames": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001/Anger/003.jpeg", f"{PLACE}/P001/Anger/peak.jpeg")),
        {},
        r"Anger/: holds what is not a frame .000.jpeg.: peak.jpeg(.|\n)*lacks the frames 3 between 0 and 4",
    ),
    "Oulu-CASIA: frames in another case": (
        "oulu_casia",
        spoiled(one_subject, moved(f"{PLACE}/P001/Anger/004.jpeg", f"{PLACE}/P001/Anger/004.JPEG")),
        {},
        "Anger/: holds frames that are written in another case .*: 004.JPEG .*rename 004.JPEG to 004.jpeg",
    ),
    "Oulu-CASIA: gap in a sequence": (
        "oulu_casia",
        spoiled(one_subject, deleted(f"{PLACE}/P001/Fear/001.jpeg", f"{PLACE}/P001/Fear/002.jpeg")),
        {},
        "Fear/: lacks the frames 1-2 between 0 and 4",
    ),
    "Oulu-CASIA: too few frames": (
        "oulu_casia",
        one_subject,
        {"peak_frames": 6},
        "Anger/: has 5 frames, and 6 are needed",
    ),
    "Oulu-CASIA: sequence without frames": (
        "oulu_casia",
        spoiled(one_subject, deleted(*[f"{PLACE}/P001/Fear/{number:03d}.jpeg" for number in range(5)])),
        {},
        "Fear/: holds no frames",
    ),
    "Oulu-CASIA: neutral frame that is not there": (
        "oulu_casia",
        spoiled(one_subject, deleted(f"{PLACE}/P001/Fear/000.jpeg")),
        {"first_is_neutral": True},
        "Fear/: starts with frame 1, so its neutral face is not there",
    ),
    "Oulu-CASIA: file that is no picture among the subjects": (
        "oulu_casia",
        spoiled(one_subject, file_at(f"{PLACE}/notes.txt")),
        {},
        "Strong/notes.txt: is a file that the data set does not have there",
    ),
    "Oulu-CASIA: archive in place of a subject": (
        "oulu_casia",
        spoiled(one_subject, file_at(f"{PLACE}/P002.rar")),
        {},
        "Strong/P002.rar: is an archive or a download that has not ended",
    ),
    "Oulu-CASIA: empty frame": (
        "oulu_casia",
        spoiled(one_subject, file_at(f"{PLACE}/P001/Anger/004.jpeg", b"")),
        {},
        "Anger/004.jpeg: does not decode: the file is empty",
    ),
    "Oulu-CASIA: truncated frame": (
        "oulu_casia",
        spoiled(one_subject, cut(f"{PLACE}/P001/Anger/004.jpeg", 700)),
        {},
        "Anger/004.jpeg: does not decode: .*truncated",
    ),
    "Oulu-CASIA: light named twice": (
        "oulu_casia",
        one_subject,
        {"lights": ("Dark", "Dark")},
        "lights: .*names one twice",
    ),
    "Oulu-CASIA: unknown light": ("oulu_casia", one_subject, {"lights": ("Normal",)}, "lights.0: .*'Strong', 'Weak'"),
    "Oulu-CASIA: several problems at once": (
        "oulu_casia",
        spoiled(
            one_subject,
            file_at(f"{PLACE}/P001/Anger/004.jpeg", b""),
            moved(f"{PLACE}/P001/Fear", f"{PLACE}/P001/Panic"),
        ),
        {},
        r"2 problems(.|\n)*P001/Panic/: is not an expression(.|\n)*Anger/004.jpeg: ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_system_files_are_no_problem_and_quarantine_keeps_the_rest(tmp_path: Path) -> None:
    build = spoiled(
        one_subject,
        file_at(f"{PLACE}/P001/Anger/Thumbs.db"),
        file_at(f"{PLACE}/.DS_Store"),
        deleted(f"{PLACE}/P001/Fear/001.jpeg"),
    )
    (tmp_path / "in").mkdir()
    source = opened(build(tmp_path / "in"))
    report = prepare_faces(source, tmp_path / "out", image_size=16, channels=1, quarantine=tmp_path / "q.jsonl")
    assert (report.faces, report.problems) == (6, 1)
