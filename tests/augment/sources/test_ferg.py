from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face, write_face
from PIL import Image
from prepared import assert_no_subject_is_parted, prepared, problems_of
from spoiling import Case, assert_refused, cut_off, file_at, moved, spoiled

from augment.prepare.prepare import prepare_faces
from augment.sources import open_source
from augment.sources.base import RawFace
from augment.sources.ferg import CHARACTERS, EXPRESSIONS
from augment.sources.listed import ListedSource


def small_copy(root: Path, expressions: tuple[str, ...] = tuple(EXPRESSIONS), pictures: int = 1) -> Path:
    """Every character with some expressions, under the names that FERG_DB_256.zip unpacks."""
    for number, character in enumerate(CHARACTERS):
        for expression in expressions:
            for take in range(pictures):
                name = f"FERG_DB_256/{character}/{character}_{expression}/{character}_{expression}_{take + 1}.png"
                write_face(root / name, EXPRESSIONS[expression], number, take=take, size=32)
    return root


def smallest_copy(root: Path) -> Path:
    return small_copy(root, ("joy", "sadness"))


def opened(root: Path) -> ListedSource:
    source = open_source("ferg", root)
    assert isinstance(source, ListedSource)
    return source


def test_characters_are_subjects_and_expressions_get_the_projects_names(tmp_path: Path) -> None:
    faces = prepared("ferg", small_copy(tmp_path / "in", pictures=2), tmp_path / "out")
    assert len(faces) == 6 * 7 * 2
    assert Counter(faces.column("label_name").to_pylist()) == dict.fromkeys(EXPRESSIONS.values(), 12)
    assert set(faces.column("subject").to_pylist()) == set(CHARACTERS)
    row = next(row for row in faces.to_pylist() if row["face_id"] == "ferg/malcolm_joy_2")
    assert (row["label_name"], row["subject"], row["split"], row["intensity"]) == ("happy", "malcolm", None, None)
    assert row["image"]["path"] == "FERG_DB_256/malcolm/malcolm_joy/malcolm_joy_2.png"
    assert_no_subject_is_parted(faces, 1, validation_share=0.2)
    assert_no_subject_is_parted(faces, 6, validation_share=0.2)


@pytest.mark.parametrize("below", ["", "FERG_DB_256"])
def test_the_root_may_be_the_archives_folder_or_the_one_that_holds_it(tmp_path: Path, below: str) -> None:
    names = [face.name for face in opened(smallest_copy(tmp_path) / below).listed_faces()]
    assert names[:3] == ["aia_joy_1", "aia_sadness_1", "bonnie_joy_1"] and len(names) == 12


def test_transparent_backgrounds_are_laid_over_grey(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    picture = np.dstack([embedded_face("happy", 0, size=32)[0], np.full((32, 32), 255, np.uint8)])
    picture[:8, :, 3] = 0
    Image.fromarray(picture).save(tmp_path / "FERG_DB_256/aia/aia_joy/aia_joy_1.png")
    face = next(opened(tmp_path).faces())
    assert isinstance(face, RawFace) and face.image.shape == (32, 32, 3)
    assert (face.image[:8] == 128).all() and np.array_equal(face.image[8:], picture[8:, :, :3])


def test_what_a_copy_lacks_is_named_by_character(tmp_path: Path) -> None:
    shutil.rmtree(small_copy(tmp_path) / "FERG_DB_256" / "ray")
    shutil.rmtree(tmp_path / "FERG_DB_256" / "mery" / "mery_fear")
    lines = [str(problem) for problem in opened(tmp_path).missing()]
    assert lines[0] == (
        "aia/: 9,996 of 10,003 pictures are missing: anger 1,643, disgust 1,595, fear 1,115, joy 1,231, neutral 1,199, "
        "sadness 1,468, surprise 1,745"
    )
    assert [line.split(":")[0] for line in lines] == ["aia/", "bonnie/", "jules/", "malcolm/", "mery/", "ray/"]
    assert "fear all" in lines[4] and lines[5] == "ray/: all 8,601 pictures are missing"


def test_published_counts_add_up_and_are_counted(tmp_path: Path) -> None:
    source = opened(smallest_copy(tmp_path))
    published = {count.what: count.count for count in source.published}
    assert sum(published[f"character {name}"] for name in CHARACTERS) == published["faces"] == 55_767
    assert source.further_counts() == {f"character {name}": 2 for name in CHARACTERS}


def test_the_picture_that_is_broken_in_the_archive_says_so(tmp_path: Path) -> None:
    small_copy(tmp_path, ("surprise",))
    (tmp_path / "FERG_DB_256/bonnie/bonnie_surprise/bonnie_surprise_1389.png").write_bytes(b"\x89PNG broken")
    quarantine = tmp_path / "quarantine.jsonl"
    report = prepare_faces(opened(tmp_path), tmp_path / "out", image_size=16, channels=1, quarantine=quarantine)
    assert (report.faces, report.problems) == (6, 1)
    assert "broken in the archive itself" in quarantine.read_text()


def test_all_that_is_wrong_is_listed_at_once_with_one_line_for_a_folder(tmp_path: Path) -> None:
    base = small_copy(tmp_path, ("joy", "fear"), pictures=3) / "FERG_DB_256"
    (base / "aia").rename(base / "Aia")
    (base / "ray" / "ray_joy" / "ray_joy_2.png").rename(base / "ray" / "ray_joy" / "ray_joy_2.PNG")
    (base / "notes.doc").write_bytes(b"x")
    (base / "scores.txt").write_bytes(b"text beside the characters is passed over")
    (base / ".DS_Store").write_bytes(b"x")
    problems = problems_of("ferg", tmp_path)
    assert [problem.where for problem in problems] == [
        "FERG_DB_256/Aia/",
        "FERG_DB_256/notes.doc",
        "FERG_DB_256/ray/ray_joy/ray_joy_2.PNG",
    ]
    assert len(opened(tmp_path)) == 6 * 2 * 3 - 2 * 3 - 1


def not_unpacked(root: Path) -> Path:
    (root / "FERG_DB_256.zip").write_bytes(b"PK")
    return root


def the_archive_itself(root: Path) -> Path:
    return not_unpacked(root) / "FERG_DB_256.zip"


JOY = "FERG_DB_256/aia/aia_joy/"
CASES: dict[str, Case] = {
    "FERG-DB: a folder of something else": (
        "ferg",
        spoiled(lambda root: root, file_at("happy/1.png", b"x")),
        {},
        "has no layout of FERG-DB .*aia, bonnie, jules",
    ),
    "FERG-DB: the archive is not unpacked": (
        "ferg",
        not_unpacked,
        {},
        "(?s)no layout of FERG-DB.*FERG_DB_256.zip: is an archive that is not unpacked",
    ),
    "FERG-DB: the root is the archive": ("ferg", the_archive_itself, {}, "FERG_DB_256.zip: is not a folder .unpack FE"),
    "FERG-DB: an archive among the pictures": (
        "ferg",
        spoiled(smallest_copy, file_at("FERG_DB_256/aia.zip.part", b"PK")),
        {},
        "FERG_DB_256/aia.zip.part: is an archive or a download that has not ended",
    ),
    "FERG-DB: a folder without pictures": (
        "ferg",
        spoiled(smallest_copy, moved(JOY + "aia_joy_1.png", "FERG_DB_256/ray/ray_joy/ray_joy_9.png")),
        {},
        "FERG_DB_256/aia/aia_joy/: is a folder without pictures",
    ),
    "FERG-DB: an empty picture file": (
        "ferg",
        spoiled(smallest_copy, file_at(JOY + "aia_joy_1.png", b"")),
        {},
        "aia_joy_1.png: is an empty file .download it again",
    ),
    "FERG-DB: a picture cut off": (
        "ferg",
        spoiled(smallest_copy, cut_off(JOY + "aia_joy_1.png")),
        {},
        "aia_joy_1.png: does not decode",
    ),
    "FERG-DB: a character's folder in another case": (
        "ferg",
        spoiled(smallest_copy, moved("FERG_DB_256/mery", "FERG_DB_256/Mery")),
        {},
        "FERG_DB_256/Mery/: is written in another case .*rename it to mery",
    ),
    "FERG-DB: one character under two folder names": (
        "ferg",
        spoiled(smallest_copy, file_at("FERG_DB_256/Mery/mery_joy/mery_joy_1.png", b"x")),
        {},
        "FERG_DB_256/Mery/: is written in another case .*there is a mery too",
    ),
    "FERG-DB: a second copy of a character's folder": (
        "ferg",
        spoiled(smallest_copy, file_at("FERG_DB_256/mery copy/mery_joy/mery_joy_1.png", b"x")),
        {},
        "FERG_DB_256/mery copy/: is no folder of FERG-DB; 1 files lie in it",
    ),
    "FERG-DB: an expression's folder renamed": (
        "ferg",
        spoiled(smallest_copy, moved("FERG_DB_256/jules/jules_joy", "FERG_DB_256/jules/happy")),
        {},
        "FERG_DB_256/jules/happy/: is no folder of FERG-DB; 1 files lie in it .folders here are jules_anger",
    ),
    "FERG-DB: an ending in another case": (
        "ferg",
        spoiled(smallest_copy, moved(JOY + "aia_joy_1.png", JOY + "aia_joy_1.PNG")),
        {},
        "aia_joy_1.PNG: is written in another case .*rename it to aia_joy_1.png",
    ),
    "FERG-DB: a renamed picture": (
        "ferg",
        spoiled(smallest_copy, moved(JOY + "aia_joy_1.png", JOY + "image (1).png")),
        {},
        r"image \(1\).png: has a name that FERG-DB does not have .names are like aia_anger_1.png",
    ),
    "FERG-DB: a picture in another character's folder": (
        "ferg",
        spoiled(smallest_copy, moved("FERG_DB_256/ray/ray_joy/ray_joy_1.png", JOY + "ray_joy_1.png")),
        {},
        "aia_joy/ray_joy_1.png: lies in aia_joy/, but its name says ray/ray_joy/",
    ),
    "FERG-DB: a file that is no picture": (
        "ferg",
        spoiled(smallest_copy, file_at(JOY + "notes.doc", b"x")),
        {},
        "aia_joy/notes.doc: is no picture file",
    ),
    "FERG-DB: text under a picture's name": (
        "ferg",
        spoiled(smallest_copy, file_at(JOY + "aia_joy_1.png", b"hello")),
        {},
        "aia_joy_1.png: does not decode",
    ),
    "FERG-DB: a setting that it does not have": ("ferg", smallest_copy, {"scores": True}, "scores: is no setting of"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_copy_of_ferg_is_refused(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_pictures_of_one_name_in_two_roots_keep_their_ids(tmp_path: Path) -> None:
    def ids(root: Path) -> list[Any]:
        return [face.name for face in opened(root).listed_faces()]

    assert ids(smallest_copy(tmp_path / "a")) == ids(smallest_copy(tmp_path / "b") / "FERG_DB_256")
