from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from data_sets import modules_of_tests
from small_faces import write_picture

from augment.core.errors import InputError
from pipeline.check import check
from pipeline.profile import compose_profile
from pipeline.stages.prepare import prepare

ROOT = Path(__file__).parents[2]


def helen(root: Path) -> Path:
    return modules_of_tests()["helen"].small_copy(root)


def folder(root: Path) -> Path:
    for number in range(3):
        write_picture(root / "happy" / f"{number}.png", number)
    return root


@pytest.mark.parametrize(
    ("source", "build", "message"),
    [
        (
            "helen",
            helen,
            r"helen has one class, face: .*Helen teaches the parsing network: name it as parsing\.teacher",
        ),
        ("folder", folder, "folder has one class, happy: .*use faces of two or more classes"),
    ],
)
def test_a_run_of_one_class_is_refused_before_a_picture_is_read(
    tmp_path: Path, source: str, build: Callable[[Path], Path], message: str
) -> None:
    """A classifier of one class would always be right."""
    build(tmp_path / "faces")
    overrides = ["scale=smoke", "dataset=folder", f"dataset.source={source}", "dataset.root=faces"]
    overrides += ["dataset.licence=mit", "folds.kind=source", "folds.folds=1"]
    values = yaml.safe_load(compose_profile(ROOT, overrides))
    values["dataset"]["settings"] = {}  # those of the profile are the source folder's own
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for stage in (check, prepare):
        with pytest.raises(InputError, match=message):
            stage(tmp_path)
    assert not (tmp_path / "artifacts" / "faces").exists()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[happy, bogus]", r"params\.yaml: dataset\.classes: unknown: bogus \(the source rig has .*happy"),
        ("[happy, sad, happy]", r"params\.yaml: dataset\.classes: a class is named twice"),
        ("[]", r"params\.yaml: dataset\.classes: no class is left"),
        ("[happy]", r"params\.yaml: dataset\.classes: one class, happy: .*name two or more"),
    ],
)
def test_wrong_classes_are_refused_before_a_face_is_drawn(tmp_path: Path, classes: str, message: str) -> None:
    text = compose_profile(ROOT, ["scale=smoke", f"dataset.classes={classes}"])
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for stage in (check, prepare):
        with pytest.raises(InputError, match=message):
            stage(tmp_path)
    assert not (tmp_path / "artifacts" / "faces").exists()
