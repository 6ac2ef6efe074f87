"""Light or pose as the class, in place of the expression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_faces import noise

from augment.core.errors import InputError, Problem
from augment.faces.splits import FoldSettings, assign_folds, fold_tables
from augment.faces.table import class_names, read_faces
from augment.faces.tensors import face_tensors
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source
from augment.sources.attributes import pose_class, with_attribute
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator

pytestmark = pytest.mark.slow


class MadeSource:
    name = "made"
    licence = "cc0-1.0"
    class_names: tuple[str, ...] = ("calm", "happy")
    title = "Made"

    def __init__(self, items: list[RawFace | Problem]) -> None:
        self.items = items
        self.passes = 0

    def faces(self) -> Iterator[RawFace | Problem]:
        self.passes += 1
        yield from self.items


def lit(number: int, illumination: str | None, yaw: float | None = None) -> RawFace:
    return RawFace(str(number), noise(number), "calm", illumination=illumination, yaw=yaw)


@pytest.mark.parametrize(
    ("yaw", "name"),
    [(-31.0, "yaw -30"), (-7.4, "yaw 0"), (7.5, "yaw +15"), (-7.5, "yaw -15"), (0.0, "yaw 0"), (52.4, "yaw +45")],
)
def test_poses_go_to_the_nearest_class(yaw: float, name: str) -> None:
    assert pose_class(yaw, 15.0) == name


@given(st.floats(-60, 60))
def test_a_mirrored_face_has_the_mirrored_class(yaw: float) -> None:
    exchanged = str.maketrans("+-", "-+")
    assert pose_class(-yaw, 7.5) == pose_class(yaw, 7.5).translate(exchanged)


def test_the_expression_is_the_source_itself() -> None:
    source = MadeSource([])
    assert with_attribute(source, "expression") is source


def test_classes_are_the_values_that_occur() -> None:
    bad = Problem("x", "is bad")
    faces: list[RawFace | Problem] = [
        lit(0, "weak", 29.0),
        lit(1, "dark", -46.0),
        bad,
        lit(2, "normal"),
        lit(3, "weak", 2.0),
    ]
    source = with_attribute(MadeSource(faces), "illumination")
    assert source.class_names == ("dark", "normal", "weak") and source.name == "made"
    found = list(source.faces())
    assert [face.label_name for face in found if isinstance(face, RawFace)] == ["weak", "dark", "normal", "weak"]
    assert found[2] == bad and len(source) == 5 and source.title == "Made"  # type: ignore[arg-type, attr-defined]
    again = [face.label_name for face in source.faces() if isinstance(face, RawFace)]
    assert again[0] == "weak"  # it is read as often as wanted
    # In the angles' order, from left to right; alphabetically "yaw +30" would come first.
    assert with_attribute(MadeSource(faces), "pose").class_names == ("yaw -45", "yaw 0", "yaw +30")
    assert with_attribute(MadeSource(faces), "pose", pose_step=40.0).class_names == ("yaw -40", "yaw 0", "yaw +40")


def test_faces_without_the_value_are_problems(tmp_path: Path) -> None:
    faces: list[RawFace | Problem] = [lit(0, "weak"), lit(1, "dark"), lit(2, None), lit(3, "dark", float("nan"))]
    with pytest.raises(InputError, match="2: has no illumination, which attribute: illumination makes the class"):
        prepare_faces(MadeSource(faces), tmp_path / "faces", image_size=16, channels=1, attribute="illumination")
    options = {"attribute": "illumination", "quarantine": tmp_path / "q"}
    report = prepare_faces(MadeSource(faces), tmp_path / "faces", image_size=16, channels=1, **options)
    assert report.faces == 3 and report.problems == 1 and report.class_names == ("dark", "weak")
    faces[:2] = [lit(0, None, 10.0), lit(1, None, -10.0)]
    found = list(with_attribute(MadeSource(faces), "pose").faces())
    assert [isinstance(face, Problem) for face in found] == [False, False, True, True]


def test_nothing_to_tell_apart_is_refused() -> None:
    same: list[RawFace | Problem] = [lit(0, "weak"), lit(1, "weak")]
    with pytest.raises(InputError, match=r"attribute: illumination: .* have the same, 'weak'.*attribute: expression"):
        with_attribute(MadeSource(same), "illumination")
    with pytest.raises(InputError, match="attribute: pose: the faces of the source made have none"):
        with_attribute(MadeSource(same), "pose")
    with pytest.raises(InputError, match="pose_step: 0 degrees"):
        with_attribute(MadeSource(same), "pose", pose_step=0.0)


def test_the_rig_knows_its_classes_without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("rig", preset="bu3dfe", subjects=1)
    monkeypatch.setattr("augment.sources.rig.render", None)
    assert with_attribute(source, "pose").class_names == (
        "yaw -45", "yaw -30", "yaw -15", "yaw 0", "yaw +15", "yaw +30", "yaw +45",
    )  # fmt: skip
    source = open_source("rig", preset="oulu_casia", subjects=1)
    assert with_attribute(source, "illumination").class_names == ("dark", "normal", "weak")
    unknowing = MadeSource([lit(0, "weak"), lit(1, "dark")])
    with_attribute(unknowing, "illumination")
    assert unknowing.passes == 1


def test_a_choice_among_the_poses(tmp_path: Path) -> None:
    """LSSL fig. 2a: 0 to 45 degrees to one side."""
    source = open_source("rig", preset="bu3dfe", subjects=1, size=32, channels=1)
    wanted = ("yaw 0", "yaw +15", "yaw +30", "yaw +45")
    report = prepare_faces(source, tmp_path, image_size=32, channels=1, attribute="pose", classes=wanted)
    assert report.faces == 4 * 25 and set(report.left_out) == {"yaw -15", "yaw -30", "yaw -45"}
    table = read_faces(tmp_path)
    yaws = np.array(table.column("yaw").to_pylist())
    assert class_names(table.schema) == wanted
    assert np.array_equal(yaws, 15.0 * table.column("label").to_numpy())


def test_lssl_learns_illuminations_as_it_learns_expressions(tmp_path: Path) -> None:
    source = open_source("rig", preset="oulu_casia", subjects=4, frames=1, size=32, channels=1)
    prepare_faces(source, tmp_path / "faces", image_size=32, channels=1, attribute="illumination")
    table = read_faces(tmp_path / "faces")
    tables = fold_tables(
        table, assign_folds(table, FoldSettings.model_validate({"kind": "subjects", "folds": 1}), seed=0), 0
    )
    train, test = face_tensors(tables["train"]), face_tensors(tables["test"])
    assert train.class_names == ("dark", "normal", "weak")
    settings = {
        "width": 8,
        "downs": 2,
        "residual_blocks": 1,
        "conditioning": "instance_norm",
        "image_skip": True,
        "adversarial": "non_saturating",
        "lambda_gp": 0.0,
        "lambda_parsing": 0.0,
        "lambda_bi": 0.0,
        "lambda_id": 0.0,
    }
    translator = create_translator("lssl", num_classes=3, channels=1, size=32, settings=settings, seed=0)
    training = TrainingSettings(
        steps=160,  # after 80 the lights were apart on one kind of processor and hardly on another
        batch_size=8,
        discriminator_steps=1,
        generator_learning_rate=0.004,
        discriminator_learning_rate=0.004,
        ema_decay=0.8,
        log_every=40,
        checkpoint_every=40,
        sample_every=40,
    )
    result = train_translator(
        translator, train, None, training, out=tmp_path / "out", scratch=tmp_path / "scratch", seed=0
    )
    assert result.weights.is_file()
    dark = translator.translate(test, torch.zeros(len(test), dtype=torch.int64)).float().mean()
    normal = translator.translate(test, torch.ones(len(test), dtype=torch.int64)).float().mean()
    assert normal > dark + 20  # grey values of 255; untranslated, the faces of one person in three lights
