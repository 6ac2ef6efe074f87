from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from embedded import embedded_face, write_face
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prepared import assert_no_subject_is_parted, prepared, problems_of
from spoiling import Case, assert_refused, cut_off, file_at, moved, spoiled

from augment.core.errors import Problem
from augment.sources import open_source
from augment.sources.base import RawFace
from augment.sources.jaffe import EXPRESSIONS, NAMES, PEOPLE, _right_name
from augment.sources.listed import ListedSource


def small_copy(root: Path, takes: tuple[str, ...] = ("1", "2"), people: tuple[str, ...] = PEOPLE) -> Path:
    """The first takes of everybody's expressions, under the set's own names, in the folder of its archive."""
    for name in NAMES.values():
        person, expression, _, _ = name.split(".")
        if person in people and expression[2] in takes:
            how = {"take": int(expression[2]), "size": 32, "channels": 1}
            write_face(root / "jaffe" / name, EXPRESSIONS[expression[:2]], PEOPLE.index(person), **how)
    return root


def smallest_copy(root: Path) -> Path:
    return small_copy(root, ("1",), ("KA", "YM"))


def opened(root: Path) -> ListedSource:
    source = open_source("jaffe", root)
    assert isinstance(source, ListedSource)
    return source


def test_people_and_expressions_come_from_the_names(tmp_path: Path) -> None:
    faces = prepared("jaffe", small_copy(tmp_path / "in"), tmp_path / "out")
    assert len(faces) == 10 * 7 * 2 - 2  # KM.DI2 and NM.DI2 were taken out of the set
    assert set(faces.column("subject").to_pylist()) == set(PEOPLE)
    row = next(row for row in faces.to_pylist() if row["face_id"] == "jaffe/KA.AN1.39")
    assert (row["label_name"], row["subject"], row["split"], row["yaw"]) == ("angry", "KA", None, None)
    assert row["image"]["path"] == "jaffe/KA.AN1.39.tiff"
    assert_no_subject_is_parted(faces, 5, validation_share=0.2)
    assert_no_subject_is_parted(faces, 10, validation_share=0.2)


def test_the_rule_of_the_names_gives_the_sets_own(tmp_path: Path) -> None:
    # Names that public projects list, at and about the places where pictures were taken out.
    listed = """KM.NE1.1 KM.HA4.7 KM.SA1.9 KM.SA3.11 KM.SA5.13 KM.SU1.14 KM.DI1.20 KM.DI3.22 KM.FE3.25 KA.NE1.26
        KA.HA4.32 KA.SA1.33 KA.FE4.48 YM.NE1.49 YM.HA2.53 YM.FE4.70 KR.NE1.71 KR.HA2.75 KR.SA1.77 KR.FE3.91 NM.DI1.107
        NM.DI3.109 MK.NE1.113 MK.FE3.133 UY.NE1.134 UY.SU3.145 KL.AN1.167 KL.DI4.173 KL.FE1.174 TM.HA3.182 TM.SA1.184
        TM.FE3.198 NA.NE1.199 NA.FE3.219"""
    assert {f"{name}.tiff" for name in listed.split()} <= set(NAMES.values())
    assert len(set(NAMES.values())) == 213 and set(range(1, 220)) - set(NAMES) == {8, 12, 21, 76, 108, 183}
    published = {count.what: count.count for count in opened(smallest_copy(tmp_path)).published}
    by_class = Counter(EXPRESSIONS[name.split(".")[1][:2]] for name in NAMES.values())
    assert {f"class {name}": count for name, count in by_class.items()} | {"faces": 213, "subjects": 10} == published


@given(number=st.sampled_from(sorted(NAMES)), data=st.data())
def test_a_dot_too_many_does_not_hide_which_picture_it_is(number: int, data: st.DataObject) -> None:
    name = NAMES[number]
    place = data.draw(st.sampled_from([position for position, letter in enumerate(name) if letter == "."]))
    assert _right_name(name[:place] + "." + name[place:]) == name
    assert _right_name(name.lower()) == name


def test_palettes_of_greys_are_read_as_grey(tmp_path: Path) -> None:
    # 23 of the set's pictures are stored so.
    smallest_copy(tmp_path)
    path = tmp_path / "jaffe" / "KA.AN1.39.tiff"
    picture = Image.fromarray(embedded_face("angry", 1, size=32, channels=1)[0])
    palette = picture.convert("P")
    palette.putpalette([level for level in range(256) for _ in range(3)])
    palette.save(path)
    face = next(opened(tmp_path).faces())
    assert isinstance(face, RawFace) and face.name == "KA.AN1.39"
    assert (face.image.reshape(32, 32, -1) == embedded_face("angry", 1, size=32, channels=1)[0][:, :, None]).all()


def test_notes_of_the_set_are_no_problem_and_folders_by_class_are_read(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    for name in ("README_FIRST.txt", "jaffe/README", "jaffe/.DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    moved("jaffe/KA.HA1.29.tiff", "happiness/KA.HA1.29.tiff")(tmp_path)
    assert problems_of("jaffe", tmp_path) == [] and len(opened(tmp_path)) == 14


def test_what_a_copy_lacks_is_named_by_person(tmp_path: Path) -> None:
    small_copy(tmp_path, ("1", "2", "3", "4"), ("KM", "TM"))
    (tmp_path / "jaffe" / "TM.HA2.181.tiff").unlink()
    lines = [str(problem) for problem in opened(tmp_path).missing()]
    assert len(lines) == 10
    assert "person KA: all 23 pictures are missing" in lines
    assert "person KM: 1 of 22 pictures are missing (KM.SA5.13.tiff)" in lines
    assert "person TM: 1 of 21 pictures are missing (TM.HA2.181.tiff)" in lines


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    moved("jaffe/KA.AN1.39.tiff", "jaffe/KA.AN1..39.tiff")(tmp_path)
    moved("jaffe/YM.HA1.52.tiff", "jaffe/ym.ha1.52.tiff")(tmp_path)
    file_at("jaffe/KA.SU1.36.tiff", b"")(tmp_path)
    file_at("jaffe.zip", b"PK")(tmp_path)
    assert {problem.where: problem.fix for problem in problems_of("jaffe", tmp_path)} == {
        "jaffe.zip": "unpack it, or download it again; move it away if it is unpacked",
        "jaffe/KA.AN1..39.tiff": "its number is that of KA.AN1.39.tiff: rename it",
        "jaffe/KA.SU1.36.tiff": "download it again",
        "jaffe/ym.ha1.52.tiff": "rename it to YM.HA1.52.tiff",
    }


KA = "jaffe/KA.AN1.39.tiff"
CASES: dict[str, Case] = {
    "JAFFE: a folder of something else": (
        "jaffe",
        spoiled(lambda root: root, file_at("happy/1.tiff", b"x")),
        {},
        "has no layout of JAFFE .*looked for KA.AN1.39.tiff",
    ),
    "JAFFE: the archive is not unpacked": (
        "jaffe",
        spoiled(lambda root: root, file_at("jaffedbase.zip", b"PK")),
        {},
        "(?s)no layout of JAFFE.*jaffedbase.zip: is an archive that is not unpacked",
    ),
    "JAFFE: an archive beside the pictures": (
        "jaffe",
        spoiled(smallest_copy, file_at("jaffe.zip", b"PK")),
        {},
        "jaffe.zip: is an archive or a download that has not ended",
    ),
    "JAFFE: an empty picture file": ("jaffe", spoiled(smallest_copy, file_at(KA, b"")), {}, f"{KA}: is an empty file"),
    "JAFFE: a picture cut off": ("jaffe", spoiled(smallest_copy, cut_off(KA)), {}, f"{KA}: does not decode"),
    "JAFFE: text under a picture's name": (
        "jaffe",
        spoiled(smallest_copy, file_at(KA, b"hello")),
        {},
        f"{KA}: does not decode",
    ),
    "JAFFE: a name in another case": (
        "jaffe",
        spoiled(smallest_copy, moved(KA, "jaffe/ka.an1.39.TIFF")),
        {},
        "ka.an1.39.TIFF: is written in another case .*rename it to KA.AN1.39.tiff",
    ),
    "JAFFE: a name with a dot too many": (
        "jaffe",
        spoiled(smallest_copy, moved(KA, "jaffe/KA..AN1.39.tiff")),
        {},
        r"KA..AN1.39.tiff: has a name that JAFFE does not have .its number is that of KA.AN1.39.tiff",
    ),
    "JAFFE: a picture under another person's letters": (
        "jaffe",
        spoiled(smallest_copy, moved("jaffe/YM.HA1.52.tiff", "jaffe/YN.HA1.52.tiff")),
        {},
        "YN.HA1.52.tiff: has a name that JAFFE does not have .its number is that of YM.HA1.52.tiff",
    ),
    "JAFFE: a picture that was taken out of the set": (
        "jaffe",
        spoiled(smallest_copy, file_at("jaffe/KM.SA4.12.tiff", b"x")),
        {},
        "KM.SA4.12.tiff: has a name that JAFFE does not have .names are like KA.AN1.39.tiff",
    ),
    "JAFFE: a picture in two folders": (
        "jaffe",
        spoiled(smallest_copy, file_at("jaffe/copy/KA.AN1.39.tiff", b"x")),
        {},
        "jaffe/copy/KA.AN1.39.tiff: lies there twice, also as jaffe/KA.AN1.39.tiff",
    ),
    "JAFFE: a file that is no picture": (
        "jaffe",
        spoiled(smallest_copy, file_at("jaffe/labels.csv", b"x")),
        {},
        "jaffe/labels.csv: is no picture file",
    ),
    "JAFFE: a setting that it does not have": ("jaffe", smallest_copy, {"people": ["KA"]}, "people: is no setting of"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_copy_of_jaffe_is_refused(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_a_folder_that_is_a_link_leading_outside_is_not_read(tmp_path: Path) -> None:
    small_copy(tmp_path / "disk", ("1",), ("KA",))
    root = small_copy(tmp_path / "in", ("1",), ("YM",))
    (root / "more").symlink_to(tmp_path / "disk" / "jaffe")
    (tmp_path / "linked").symlink_to(root)  # the root itself may be a link
    for place in (root, tmp_path / "linked"):
        problems = [found for found in opened(place).faces() if isinstance(found, Problem)]
        assert len(problems) == 7 and all("leading outside the root" in problem.why for problem in problems)
