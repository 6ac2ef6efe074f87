from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import modules_of_tests
from pydantic import ValidationError

from augment.core.errors import InputError, Problem
from augment.faces.table import NO_MASK
from augment.faces.tensors import FaceTensors
from augment.parsing.augmentation import AppearanceAugmentation
from augment.parsing.network import ParsingSettings
from augment.parsing.teachers import Lesson, TeacherSettings, choose_teachers, embedded_faces
from augment.parsing.training import train_parsing
from augment.sources.base import RawFace

pytestmark = pytest.mark.slow

FEW = TeacherSettings(faces=20, held_out_faces=10)


@pytest.fixture(scope="module")
def masked() -> FaceTensors:
    """A run's own faces with masks and landmarks."""
    return embedded_faces(12, size=32, channels=1, people="the run's own")


@pytest.fixture(scope="module")
def photographs(masked: FaceTensors) -> FaceTensors:
    """The same, as photographs whose landmarks were detected in two of three."""
    assert masked.landmarks is not None
    landmarks = masked.landmarks.clone()
    landmarks[::3] = torch.nan
    return replace(masked, masks=None, landmarks=landmarks)


def lesson(train: FaceTensors, settings: TeacherSettings, validation: FaceTensors | None = None) -> Lesson:
    found = choose_teachers(train, validation, settings, workspace=Path())
    assert isinstance(found, Lesson)
    return found


def test_own_masks_teach_first(masked: FaceTensors) -> None:
    for settings in (FEW, FEW.model_copy(update={"source": "own"})):
        found = lesson(masked, settings, masked)
        assert [teacher.name for teacher in found.teachers] == ["own masks"]
        assert found.teachers[0].faces is masked and found.teachers[0].appearance is None
        assert found.validation is masked and len(found.held_out) == 10


def test_embedded_faces_and_polygons_teach_photographs(photographs: FaceTensors) -> None:
    found = lesson(photographs, FEW, photographs)
    drawn, polygons = found.teachers
    assert (drawn.name, len(drawn.faces), drawn.appearance) == ("embedded faces", 20, FEW.augmentation)
    assert polygons.name == "polygons of landmarks" and polygons.appearance is None
    assert (drawn.weight, polygons.weight) == (0.5, 0.5)
    assert polygons.faces.masks is not None
    has_mask = (polygons.faces.masks != NO_MASK).flatten(1).any(1)
    assert has_mask.tolist() == [row % 3 != 0 for row in range(12)]
    assert torch.equal(polygons.faces.images, photographs.images)
    assert found.validation is None  # nobody knows their masks


def test_without_landmarks_or_polygons_embedded_faces_teach_alone(photographs: FaceTensors) -> None:
    bare = replace(photographs, landmarks=None)
    unknown = replace(photographs, landmarks=torch.full((12, 68, 2), torch.nan))
    without = FEW.model_copy(update={"polygons": False})
    for train, settings in ((bare, FEW), (unknown, FEW), (photographs, without)):
        (teacher,) = lesson(train, settings).teachers
        assert teacher.name == "embedded faces" and teacher.weight == 1


def test_embedded_faces_can_teach_faces_with_masks_of_their_own(masked: FaceTensors) -> None:
    found = lesson(masked, FEW.model_copy(update={"source": "rig", "polygons": False}))
    assert [teacher.name for teacher in found.teachers] == ["embedded faces"]


def test_faces_without_masks_are_refused_where_they_alone_may_teach(photographs: FaceTensors) -> None:
    own = FEW.model_copy(update={"source": "own"})
    assert choose_teachers(photographs, None, own, workspace=Path()) == "the faces have no masks"


def test_people_who_teach_are_others_than_those_held_out_and_those_of_any_run() -> None:
    from augment.rig import preset, render

    taught = embedded_faces(40, size=32, channels=1, people="teachers")
    held_out = embedded_faces(40, size=32, channels=1, people="held out")
    assert not set(taught.subjects) & set(held_out.subjects)
    # The same number under another seed is another person: no picture is near one of the others.
    flat = [faces.images.flatten(1).float() for faces in (taught, held_out)]
    assert float(torch.cdist(*flat).min()) > 100
    for seed in (0, 1):
        run = render(preset("helen", seed=seed, count=40).specs, size=32, channels=1, seed=seed)
        others = torch.from_numpy(run.images).flatten(1).float()
        assert min(float(torch.cdist(faces, others).min()) for faces in flat) > 100
    assert torch.equal(embedded_faces(40, size=32, channels=1, people="teachers").images, taught.images)


def test_embedded_faces_are_of_many_kinds() -> None:
    faces = embedded_faces(200, size=32, channels=1, people="held out")
    assert faces.yaw is not None and faces.sources is not None and faces.masks is not None
    assert len(faces) == 200 and len(set(faces.subjects)) > 80
    assert faces.sources.count("drawn") == 20
    assert float((faces.yaw.abs() < 8).float().mean()) > 0.3 and float((faces.yaw.abs() > 25).float().mean()) > 0.1
    assert len(set(faces.labels.tolist())) == 8
    assert set(faces.masks.unique().tolist()) == {0, 1, 2, 3}
    assert "drawn" not in (embedded_faces(30, size=32, channels=1, people="held out", drawn_share=0.0).sources or ())


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (48, 3)])
def test_embedded_faces_come_in_the_runs_form(size: int, channels: int) -> None:
    faces = embedded_faces(7, size=size, channels=channels, people="held out")
    assert faces.images.shape == (7, channels, size, size) and faces.masks is not None
    assert faces.masks.shape == (7, size, size) and len(faces.face_ids) == len(set(faces.face_ids)) == 7


class FewHelen:
    """Helen as its source gives it: some faces of the training split, some of the other, maybe a problem."""

    name = "helen"
    class_names = ("neutral",)

    def __init__(self, splits: list[str | None], problems: int = 0, masks: bool = True) -> None:
        self.splits, self.problems, self.masks = splits, problems, masks

    def faces(self):  # type: ignore[no-untyped-def]
        drawn = embedded_faces(len(self.splits), size=64, channels=3, people="helen")
        assert drawn.masks is not None
        for row, split in enumerate(self.splits):
            # Half as wide again, as photographs are: cropped to the central square.
            pixels = np.pad(drawn.images[row].permute(1, 2, 0).numpy(), ((0, 0), (16, 16), (0, 0)))
            mask = np.pad(drawn.masks[row].numpy(), ((0, 0), (16, 16)))
            yield RawFace(f"{row}", pixels, "neutral", split=split, mask=mask if self.masks else None)
        for number in range(self.problems):
            yield Problem(f"labels/{number}.png", "is missing")


def teach_by(monkeypatch: pytest.MonkeyPatch, source: FewHelen) -> list[tuple]:
    opened: list[tuple] = []

    def open_class(kind: type, name: str, root: Path, settings: dict[str, object]) -> FewHelen:
        opened.append((name, root, settings))
        return source

    monkeypatch.setattr("augment.parsing.teachers.open_class", open_class)
    return opened


HELEN = TeacherSettings(root="data/helen", held_out_faces=5, settings={"limit": 9})


def test_helen_teaches_where_root_names_a_copy(monkeypatch: pytest.MonkeyPatch, photographs: FaceTensors) -> None:
    opened = teach_by(monkeypatch, FewHelen(["train", "train", "test", "train", "validation"]))
    found = choose_teachers(photographs, photographs, HELEN, workspace=Path("/workspace"))
    assert isinstance(found, Lesson) and opened == [("helen", Path("/workspace/data/helen"), {"limit": 9})]
    (teacher,) = found.teachers
    assert (teacher.name, len(teacher.faces), teacher.faces.images.shape[1:]) == ("Helen", 3, (1, 32, 32))
    assert found.validation is not None and len(found.validation) == 2
    taught = set(teacher.faces.face_ids)
    assert not taught & set(found.validation.face_ids)
    assert teacher.faces.masks is not None and float((teacher.faces.masks == 1).float().mean()) > 0.1


def test_a_copy_of_helen_in_its_exact_layout_teaches_cropped_to_the_faces(
    photographs: FaceTensors, tmp_path: Path
) -> None:
    modules_of_tests()["helen"].small_copy(tmp_path / "helen")
    settings = TeacherSettings(root="helen", held_out_faces=5)
    found = choose_teachers(photographs, photographs, settings, workspace=tmp_path)
    assert isinstance(found, Lesson) and found.validation is not None
    taught = found.teachers[0].faces
    assert (len(taught), len(found.validation)) == (4, 4)
    for faces in (taught, found.validation):
        assert faces.masks is not None and faces.landmarks is not None
        for image, mask, points in zip(faces.images, faces.masks, faces.landmarks, strict=True):
            rows, columns = (mask != 0).nonzero().T
            # In the middle, and as large as embedded faces; the copy's faces are right of their pictures' middle.
            middle = torch.stack([rows.float().mean(), columns.float().mean()]) / 32
            assert float((middle - 0.5).abs().max()) < 0.1
            longest = max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1
            assert 0.7 < longest / 32 < 0.95
            if bool(torch.isfinite(points).all()):
                nose = (points[30] * 32).long()
                assert mask[nose[1], nose[0]] == 1
            assert float(image.float().std()) > 5


def test_own_masks_come_before_helen_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, masked: FaceTensors
) -> None:
    opened = teach_by(monkeypatch, FewHelen([None, None]))
    assert lesson(masked, HELEN).teachers[0].name == "own masks" and not opened
    found = lesson(masked, HELEN.model_copy(update={"source": "helen"}))
    assert found.teachers[0].name == "Helen" and len(found.teachers[0].faces) == 2 and found.validation is None


def test_a_broken_helen_is_refused_with_every_problem(
    monkeypatch: pytest.MonkeyPatch, photographs: FaceTensors
) -> None:
    teach_by(monkeypatch, FewHelen(["train"], problems=3))
    with pytest.raises(InputError, match=r"3 problems in .*helen") as error:
        lesson(photographs, HELEN)
    assert len(error.value.problems) == 3
    for source in (FewHelen(["test"]), FewHelen(["train"], masks=False)):
        teach_by(monkeypatch, source)
        with pytest.raises(InputError, match=r"no training face with a mask .*parsing\.teacher\.source"):
            lesson(photographs, HELEN)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"source": "helen"}, "needs a root"),
        ({"source": "rig", "root": "data/helen"}, "reads no root"),
        ({"source": "own", "root": "data/helen"}, "reads no root"),
        ({"source": "mother"}, "auto"),
        ({"polygon_share": 1.0}, "less than 1"),
        ({"augmentation": {"blurr": 1}}, "blurr"),
    ],
)
def test_impossible_teachers_are_refused(values: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TeacherSettings.model_validate(values)


def test_embedded_teachers_teach_what_the_held_out_people_show() -> None:
    """A real, if short, training: far above a network that learned nothing."""
    settings = ParsingSettings(width=8, levels=3, steps=80, batch_size=16, learning_rate=2e-2)
    bare = replace(embedded_faces(4, size=32, channels=1, people="the run's own"), masks=None, landmarks=None)
    seldom = AppearanceAugmentation(probability=0.2)  # what is always strongly augmented takes a thousand steps
    found = lesson(bare, TeacherSettings(faces=150, held_out_faces=60, augmentation=seldom))
    scores = []
    for steps in (80, 1):
        how = settings.model_copy(update={"steps": steps})
        _, report = train_parsing(found.teachers, found.validation, how, 0, "cpu", found.held_out)
        assert report["scored_on"] == "held_out" and report["held_out"]["faces"] == 60
        scores.append(report["intersection_over_union"])
    for part, least in (("skin", 0.5), ("lips", 0.18), ("eyes", 0.18)):
        assert scores[0][part] > least and scores[0][part] > 2 * scores[1][part], scores
