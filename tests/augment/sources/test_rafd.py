from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from embedded import embedded_face, write_face
from hypothesis import given
from hypothesis import strategies as st
from prepared import assert_no_subject_is_parted, prepared, problems_of
from spoiling import Case, assert_refused, cut_off, file_at, moved, spoiled

from augment.core.errors import InputError
from augment.sources import check_source_settings, open_source
from augment.sources.listed import ListedSource
from augment.sources.rafd import ANGLES, EXPRESSIONS, GAZES, PEOPLE, _in_right_case

SOME = ("01", "11", "29", "40")  # two women (one a child) and two men (one a child), of the three groups


def file_name(angle: int, person: str, expression: str, gaze: str) -> str:
    return f"Rafd{angle:03d}_{person}_{'_'.join(PEOPLE[person])}_{expression}_{gaze}.jpg"


def small_copy(
    root: Path,
    people: tuple[str, ...] = SOME,
    angles: tuple[int, ...] = (0, 45, 90, 135, 180),
    expressions: tuple[str, ...] = ("happy", "contemptuous"),
    gazes: tuple[str, ...] = ("frontal", "left"),
) -> Path:
    """Some people before the cameras; the outermost two, which see profiles, get faces turned by 45 degrees."""
    for number, person in enumerate(people):
        for angle in angles:
            for expression in expressions:
                for take, gaze in enumerate(gazes):
                    yaw = float(np.clip(90 - angle, -45, 45))
                    path = root / file_name(angle, person, expression, gaze)
                    write_face(path, EXPRESSIONS[expression], number, take=take, yaw=yaw, size=32)
    return root


def smallest_copy(root: Path) -> Path:
    return small_copy(root, ("01", "29"), (90,), gazes=("frontal",))


def opened(root: Path, **settings: object) -> ListedSource:
    source = open_source("rafd", root, **settings)
    assert isinstance(source, ListedSource)
    return source


def test_names_say_everything(tmp_path: Path) -> None:
    faces = prepared("rafd", small_copy(tmp_path / "in"), tmp_path / "out")
    assert len(faces) == 4 * 3 * 2 * 2  # the outermost cameras are not asked for
    assert Counter(faces.column("label_name").to_pylist()) == {"happy": 24, "contempt": 24}
    assert Counter(faces.column("yaw").to_pylist()) == {45.0: 16, 0.0: 16, -45.0: 16}
    row = next(row for row in faces.to_pylist() if row["face_id"] == "rafd/Rafd045_40_Kid_male_contemptuous_left")
    assert (row["label_name"], row["subject"], row["yaw"], row["split"]) == ("contempt", "40", 45.0, None)
    assert_no_subject_is_parted(faces, 4, validation_share=0.3)


def test_the_camera_at_045_sees_a_face_that_turns_to_the_pictures_right(tmp_path: Path) -> None:
    # What the landmarks of the data set's own pictures show (see the source's docstring), in the project's convention.
    faces = {face.name[4:7]: face for face in opened(small_copy(tmp_path), angles=ANGLES).listed_faces()}
    assert {angle: face.yaw for angle, face in faces.items()} == {
        "000": 90.0,
        "045": 45.0,
        "090": 0.0,
        "135": -45.0,
        "180": -90.0,
    }
    for angle, side in (("045", 1), ("135", -1)):
        yaw = faces[angle].yaw
        assert yaw is not None
        _, landmarks, _ = embedded_face("neutral", 0, yaw=yaw, size=32)
        nose, outline = landmarks[30, 0], landmarks[:17, 0]
        assert np.sign(nose - (outline.min() + outline.max()) / 2) == side


def test_settings_choose_cameras_gazes_and_groups(tmp_path: Path) -> None:
    source = opened(small_copy(tmp_path), angles=[90], gazes=["left"], groups=["Kid"])
    assert [face.name for face in source.listed_faces()] == [
        "Rafd090_11_Kid_female_contemptuous_left",
        "Rafd090_11_Kid_female_happy_left",
        "Rafd090_40_Kid_male_contemptuous_left",
        "Rafd090_40_Kid_male_happy_left",
    ]
    assert source.further_counts() == {"gaze left": 4, "people Kid": 2}


@pytest.mark.parametrize("settings", [{"angles": []}, {"angles": [30]}, {"gazes": ["up"]}, {"groups": ["Kid", "Kid"]}])
def test_settings_out_of_bounds_are_refused(settings: dict) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        check_source_settings("rafd", settings)


def test_published_counts_are_those_of_the_settings(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    published = {count.what: count.count for count in opened(tmp_path).published}
    assert published["faces"] == 4824 and published["subjects"] == 67  # LSSL, section 4
    assert published["class contempt"] == 603 and published["pose +45"] == published["pose 0"] == 1608
    whole = {count.what: count.count for count in opened(tmp_path, angles=ANGLES).published}
    assert whole["faces"] == 8040 and whole["pose -90"] == 1608 and whole["people Kid"] == 10
    few = {count.what: count.count for count in opened(tmp_path, angles=[90], gazes=["frontal"]).published}
    assert few["faces"] == 67 * 8 and few["gaze frontal"] == 67 * 8


def test_the_people_are_those_of_the_overview() -> None:
    assert Counter(PEOPLE.values()) == {  # rafd.socsci.ru.nl/Overview.html
        ("Caucasian", "male"): 20,
        ("Caucasian", "female"): 19,
        ("Kid", "male"): 4,
        ("Kid", "female"): 6,
        ("Moroccan", "male"): 18,
    }
    assert set(map(int, PEOPLE)) == set(range(1, 74)) - {6, 13, 17, 34, 62, 66}


def test_what_a_copy_lacks_is_named_by_camera_and_person(tmp_path: Path) -> None:
    small_copy(tmp_path, ("01", "29"), (45, 90), tuple(EXPRESSIONS), ("frontal",))
    (tmp_path / file_name(90, "29", "sad", "frontal")).unlink()
    lines = [str(problem) for problem in opened(tmp_path, gazes=["frontal"]).missing()]
    assert lines[0] == "Rafd135_*: all 536 pictures of this camera are missing"
    assert "person 29 (Moroccan male): 1 of 16 pictures are missing" in lines
    assert "person 02 (Caucasian female): all 16 pictures are missing" in lines
    assert len(lines) == 1 + 65 + 1


@given(name=st.sampled_from([file_name(45, "01", "angry", gaze) for gaze in GAZES]), data=st.data())
def test_a_name_in_any_case_is_told_its_right_one(name: str, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    mixed = "".join(letter.upper() if up else letter.lower() for letter, up in zip(name, upper, strict=True))
    assert _in_right_case(mixed) == name


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    small_copy(tmp_path, ("01", "29"), (90,))
    good = file_name(90, "01", "happy", "frontal")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / good).write_bytes((tmp_path / good).read_bytes())
    (tmp_path / file_name(90, "29", "happy", "left")).write_bytes(b"")
    (tmp_path / "Rafd090_06_Caucasian_male_happy_frontal.jpg").write_bytes(b"x")
    (tmp_path / "readme.md").write_bytes(b"x")
    (tmp_path / ".hidden").write_bytes(b"x")
    problems = {problem.where: problem.why for problem in problems_of("rafd", tmp_path)}
    assert problems == {
        "Rafd090_06_Caucasian_male_happy_frontal.jpg": "RaFD has no person 06",
        "Rafd090_29_Moroccan_male_happy_left.jpg": "is an empty file",
        f"again/{good}": f"lies there twice, also as {good}",
        "readme.md": "is no picture file",
    }


ANNA = "Rafd090_01_Caucasian_female_happy_frontal.jpg"
CASES: dict[str, Case] = {
    "RaFD: a folder of something else": (
        "rafd",
        spoiled(lambda root: root, file_at("happy/1.jpg", b"x")),
        {},
        "has no layout of RaFD .*looked for Rafd090_01_Caucasian_female_angry_frontal.jpg",
    ),
    "RaFD: the archive is not unpacked": (
        "rafd",
        spoiled(lambda root: root, file_at("RafDDownload.zip", b"PK")),
        {},
        "(?s)no layout of RaFD.*RafDDownload.zip: is an archive that is not unpacked",
    ),
    "RaFD: an archive beside the pictures": (
        "rafd",
        spoiled(smallest_copy, file_at("Rafd045.zip.crdownload", b"PK")),
        {},
        "Rafd045.zip.crdownload: is an archive or a download that has not ended",
    ),
    "RaFD: no picture of the cameras that are asked for": (
        "rafd",
        smallest_copy,
        {"angles": [45]},
        "angles, gazes, groups: leave none of the pictures .*cameras 090",
    ),
    "RaFD: an empty picture file": (
        "rafd",
        spoiled(smallest_copy, file_at(ANNA, b"")),
        {},
        f"{ANNA}: is an empty file",
    ),
    "RaFD: a picture cut off": ("rafd", spoiled(smallest_copy, cut_off(ANNA)), {}, f"{ANNA}: does not decode"),
    "RaFD: a name in another case": (
        "rafd",
        spoiled(smallest_copy, moved(ANNA, "rafd090_01_caucasian_Female_happy_frontal.JPG")),
        {},
        f"Female_happy_frontal.JPG: is written in another case .*rename it to {ANNA}",
    ),
    "RaFD: a renamed picture": (
        "rafd",
        spoiled(smallest_copy, moved(ANNA, "Rafd090_01_happy.jpg")),
        {},
        "Rafd090_01_happy.jpg: has a name that RaFD does not have .names are like Rafd090_01",
    ),
    "RaFD: an expression that it does not have": (
        "rafd",
        spoiled(smallest_copy, moved(ANNA, ANNA.replace("happy", "happiness"))),
        {},
        "happiness_frontal.jpg: has a name that RaFD does not have",
    ),
    "RaFD: a number that nobody has": (
        "rafd",
        spoiled(smallest_copy, moved(ANNA, ANNA.replace("_01_", "_66_"))),
        {},
        "Rafd090_66_.*: RaFD has no person 66",
    ),
    "RaFD: one number for two people": (
        "rafd",
        spoiled(smallest_copy, moved(ANNA, ANNA.replace("_01_Caucasian_female", "_01_Moroccan_male"))),
        {},
        "person 01 is Caucasian female, not Moroccan male",
    ),
    "RaFD: a picture in two folders": (
        "rafd",
        spoiled(smallest_copy, file_at(f"front/{ANNA}", b"x")),
        {},
        f"front/{ANNA}: lies there twice, also as {ANNA}",
    ),
    "RaFD: a file that is no picture": (
        "rafd",
        spoiled(smallest_copy, file_at("Rafd090_01.txt", b"x")),
        {},
        "Rafd090_01.txt: is no picture file",
    ),
    "RaFD: a camera that it does not have": ("rafd", smallest_copy, {"angles": [60]}, "angles.*got 60"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_copy_of_rafd_is_refused(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)
