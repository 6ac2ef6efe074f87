"""Counts of a copy: by hand-counted faces, beside published ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import noise, write_picture

from augment.core.errors import Problem
from augment.faces.licences import Terms
from augment.prepare.inventory import MOST_EXAMPLES, MOST_VALUES, Inventory, take_inventory
from augment.sources import RawFace, SourceSettings, open_source
from augment.sources.attributes import signed_degrees
from augment.sources.base import PublishedCount
from augment.sources.listed import ListedFace, ListedSource


class MadeSource:
    name = "made"
    class_names: tuple[str, ...] = ("calm", "happy")

    def __init__(self, *items: RawFace | Problem) -> None:
        self.items = items

    def faces(self) -> Iterator[RawFace | Problem]:
        yield from self.items


class MadeSet(ListedSource):
    """`S1_calm_a.png`: a published data set of four subjects."""

    name = "made_set"
    title = "Made Set"
    description = "Noise."
    class_names = ("calm", "happy")
    terms = Terms("us", "us.example", "Any.", "Any.", "here")
    published = (
        PublishedCount("faces", 8, "the paper, table 1"),
        PublishedCount("subjects", 4, "the paper, table 1"),
        PublishedCount("class happy", 4, "the paper, table 1"),
        PublishedCount("pose +45", 4, "the paper, table 2"),
        PublishedCount("takes", 2, "the paper, table 2"),
    )

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        for path in sorted(self.root.glob("*.png")):
            subject, label, take = path.stem.split("_")
            if subject == "S9":
                yield Problem(path.name, "is of nobody")
                continue
            yield ListedFace(path.name, label, subject=subject, yaw=45.0 if take == "a" else 0.0)

    def missing(self) -> Iterator[Problem]:
        there = {face.subject for face in self.listed_faces()}
        for subject in ("S1", "S2", "S3", "S4"):
            if subject not in there:
                yield Problem(f"subject {subject}", "is missing")

    def further_counts(self) -> Counter[str]:
        return Counter(takes=len({Path(face.path).stem[-1] for face in self.listed_faces()}))


def face(number: int, label: str = "calm", **values: Any) -> RawFace:
    return RawFace(values.pop("name", f"f{number}"), values.pop("image", noise(number)), label, **values)


def test_faces_are_counted_by_all_that_is_known_of_them() -> None:
    found = take_inventory(
        MadeSource(
            face(0, subject="a", split="train", yaw=-45.0, illumination="Dark", intensity=0.25),
            face(1, subject="a", split="train", yaw=45.0, illumination="Weak", intensity=1.0),
            face(2, "happy", subject="a", split="test", yaw=0.0, illumination="Weak", intensity=0.25),
            face(3, "happy", subject="b", split="validation"),
            face(4, "happy", image=noise(4, 20, 3)),
            Problem("x.png", "is broken"),
        )
    )
    assert (found.faces, found.classes, found.subjects) == (5, {"calm": 2, "happy": 3}, 2)
    assert found.faces_per_subject is not None
    each = found.faces_per_subject
    assert (each.least, each.median, each.most) == (1, 2.0, 3)
    assert list(found.by_split.items()) == [("train", 2), ("validation", 1), ("test", 1), ("none", 1)]
    assert list(found.by_pose.items()) == [("-45", 1), ("0", 1), ("+45", 1), ("none", 2)]
    assert found.by_light == {"Dark": 1, "Weak": 2, "none": 2}
    assert found.by_intensity == {"0.25": 2, "1": 1, "none": 2}
    assert found.crossed["light"]["happy"] == {"Dark": 0, "Weak": 1, "none": 2}
    assert found.subjects_in_several_splits == ("a",)
    assert found.problems == (Problem("x.png", "is broken"),)
    assert found.pictures is not None
    assert found.pictures.sizes == {"16 x 16": 4, "20 x 20": 1} and found.pictures.forms == {"grey": 4, "colour": 1}
    assert found.licence is None and found.published == () and found.missing == ()


def test_what_no_face_has_is_not_counted() -> None:
    found = take_inventory(MadeSource(face(0), face(1, "happy")))
    assert found.subjects is None and found.faces_per_subject is None
    assert found.by_split == found.by_pose == found.by_light == found.by_intensity == found.crossed == {}


def test_measured_poses_are_counted_and_not_set_against_classes() -> None:
    found = take_inventory(MadeSource(*(face(n, yaw=n / 7, split="train") for n in range(MOST_VALUES + 1))))
    assert len(found.by_pose) == MOST_VALUES + 1 and set(found.crossed) == {"split"}


def test_what_preparation_would_refuse_is_a_problem_here() -> None:
    found = take_inventory(
        MadeSource(
            face(0),
            face(1, name="f0"),
            face(2, "odd"),
            face(3, split="dev"),
            face(4, image=np.zeros((4, 4), np.float32)),
            face(5, landmarks=np.full((68, 2), np.nan, np.float32)),
        )
    )
    assert found.faces == 1
    whys = [problem.why for problem in found.problems]
    assert [why.split()[0] for why in whys] == ["the", "unknown", "unknown", "the", "landmarks"]
    assert "occurs twice" in whys[0] and "'odd'" in whys[1] and "'dev'" in whys[2] and "float32" in whys[3]


def test_pictures_that_occur_twice() -> None:
    repeated = noise(50, 32)
    near = np.clip(noise(51, 32).astype(int) + 3, 0, 255).astype(np.uint8)
    facts = take_inventory(
        MadeSource(
            face(0, image=repeated, subject="a", split="train"),
            face(1, "happy", image=repeated, subject="b", split="test"),
            face(2, image=noise(51, 32), subject="a", split="train"),
            face(3, image=near, subject="a", split="train"),
            face(
                4,
                image=noise(52, 32),
                landmarks=np.linspace(0, 1, 136, dtype=np.float32).reshape(68, 2),
                mask=np.zeros((32, 32), np.uint8),
            ),
            face(5, image=np.full((32, 32), 7, np.uint8)),
        )
    ).pictures
    assert facts is not None
    assert (facts.identical, facts.near_identical, facts.blank) == (2, 4, 1)
    assert (facts.identical_of_other_class, facts.identical_of_other_subject) == (1, 1)
    assert [(pair.first, pair.second, pair.exact) for pair in facts.across_splits] == [("train", "test", 1)]
    assert (facts.landmarks, facts.masks) == (1, 1)
    assert facts.apart == {"calm": 3, "happy": 1}  # a's and b's pictures can't be parted
    assert facts.examples == {
        "blank": ("f5",),
        "near_identical": ("f0 and f1", "f2 and f3"),
        "identical_of_other_class": ("f0 and f1",),
        "identical_of_other_subject": ("f0 and f1",),
    }


def test_a_few_of_many_copies_are_named() -> None:
    same, other = np.full((32, 32), 7, np.uint8), np.full((32, 32), 9, np.uint8)
    faces = [face(number, image=other if number < 2 else same) for number in range(MOST_EXAMPLES + 2)]
    facts = take_inventory(MadeSource(*faces)).pictures
    assert facts is not None and facts.blank == len(faces)
    assert facts.examples["blank"] == tuple(f"f{number}" for number in range(MOST_EXAMPLES))
    assert facts.examples["near_identical"] == ("f0 and f1", f"f2 and f3 and {MOST_EXAMPLES - 2} more")


def made_set(root: Path) -> MadeSet:
    for seed, name in enumerate(("S1_calm_a", "S1_happy_a", "S2_calm_b", "S9_calm_a")):
        write_picture(root / f"{name}.png", seed)
    return MadeSet(root, SourceSettings())


@pytest.mark.parametrize("pictures", [True, False])
def test_found_and_published_stand_side_by_side(tmp_path: Path, pictures: bool) -> None:
    found = take_inventory(made_set(tmp_path), pictures=pictures)
    compared = {entry.what: (entry.found, entry.published, entry.difference) for entry in found.published}
    assert compared == {
        "faces": (3, 8, -5),
        "subjects": (2, 4, -2),
        "class happy": (1, 4, -3),
        "pose +45": (2, 4, -2),
        "takes": (2, 2, 0),
    }
    assert {entry.read_at for entry in found.published} == {"the paper, table 1", "the paper, table 2"}
    assert [problem.where for problem in found.missing] == ["subject S3", "subject S4"]
    assert [problem.where for problem in found.problems] == ["S9_calm_a.png"]
    assert found.further == {"takes": 2} and found.licence is not None and "us.example" in found.licence.line
    assert (found.pictures is None) is not pictures


def test_a_listed_picture_that_does_not_decode_is_found_where_pictures_are_read(tmp_path: Path) -> None:
    source = made_set(tmp_path)
    (tmp_path / "S1_calm_a.png").write_bytes(b"x")
    assert len(take_inventory(source, pictures=False).problems) == 1
    found = take_inventory(source)
    assert [problem.where for problem in found.problems] == ["S1_calm_a.png", "S9_calm_a.png"] and found.faces == 2


def test_people_of_different_data_sets_are_different(tmp_path: Path) -> None:
    for place in ("x", "y"):
        for number, name in enumerate(("train/calm/S1_a.png", "test/happy/S2_a.png")):
            write_picture(tmp_path / place / name, number + 10 * (place == "y"))
    write_picture(tmp_path / "y" / "test" / "happy" / "S1_b.png", 30)
    (tmp_path / "y" / "test" / "happy" / "notes.txt").write_text("x")
    settings = {"subject_pattern": r"(?P<subject>S\d)_"}
    parts = [{"data_set": place, "source": "folder", "root": place, "settings": settings} for place in ("x", "y")]
    found = take_inventory(open_source("joint", tmp_path, parts=parts))
    assert found.by_data_set == {"x": 2, "y": 3} and found.subjects == 4
    assert found.subjects_in_several_splits == ("y/S1",)
    assert [problem.where for problem in found.problems] == ["y: test/happy/notes.txt"]


def test_it_can_be_written_as_json_and_read_back(tmp_path: Path) -> None:
    found = take_inventory(made_set(tmp_path))
    text = found.model_dump_json()
    assert json.loads(text)["published"][0]["difference"] == -5
    values = json.loads(text)
    for entry in values["published"]:
        del entry["difference"]  # computed anew
    assert Inventory.model_validate(values) == found


@pytest.mark.parametrize(("yaw", "name"), [(0.0, "0"), (-0.0, "0"), (45, "+45"), (-22.5, "-22.5")])
def test_poses_have_signs(yaw: float, name: str) -> None:
    assert signed_degrees(yaw) == name


def test_one_person_in_several_spellings_is_counted_once_and_said() -> None:
    subjects = ("S01", "s01", "S02")
    faces = [RawFace(f"f{n}", noise(n), "calm", subject=subject) for n, subject in enumerate(subjects)]
    found = take_inventory(MadeSource(*faces), pictures=False)
    assert found.subjects == 2 and found.subject_spellings == {"S01": ("s01",)}
