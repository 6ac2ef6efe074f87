"""`s2l import`: existing data sets, of faces or not, become a run's data set; digits go through a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from data_sets import modules_of_tests
from made_up_faces import write_workspace
from PIL import Image
from small_faces import noise, write_picture

from augment.core.errors import InputError
from augment.faces.licences import read_card
from augment.faces.table import read_class_names, read_faces
from pipeline.cli import main
from pipeline.core.workspace import Artifacts
from pipeline.importing import _published_layout, convert_saved, import_data
from pipeline.stages.prepare import prepare
from pipeline.whole_run import run_whole

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    for name in ("conf", "dvc.yaml"):
        (tmp_path / "work" / name).symlink_to(ROOT / name)
    return tmp_path / "work"


def dataset(count: int = 24, classes: int = 3, **info: Any) -> Any:
    """Noise with labels, as Hugging Face has it."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"class {n}" for n in range(classes)])}
    )
    rows = {"image": [Image.fromarray(noise(n)) for n in range(count)], "label": [n % classes for n in range(count)]}
    return datasets.Dataset.from_dict(rows, features=features, info=datasets.DatasetInfo(features=features, **info))


def digits() -> Any:
    """scikit-learn's digits: ten classes, no faces."""
    import datasets
    from sklearn.datasets import load_digits

    found = load_digits()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(n) for n in range(10)])}
    )
    pictures = [Image.fromarray((255 * picture / 16).astype(np.uint8)) for picture in found.images[:300]]
    return datasets.Dataset.from_dict({"image": pictures, "label": found.target[:300].tolist()}, features=features)


def params(workspace: Path) -> dict[str, Any]:
    return yaml.safe_load((workspace / "params.yaml").read_text())


def test_digits_go_through_a_whole_run(workspace: Path, tmp_path: Path) -> None:
    digits().save_to_disk(str(tmp_path / "digits"))
    words = ["scale=smoke", "+recipe@translators.stargan=stargan", "+recipe/smoke@translators.stargan=stargan"]
    found = import_data(workspace, tmp_path / "digits", workspace / "data" / "digits", {}, words, "bsd-3-clause")
    assert "300 faces, 10 classes" in found.text and "left out: warp, which needs landmarks" in found.text
    assert set(params(workspace)["translators"]) == {"stargan"} and found.problems == 0
    run = tmp_path / "run"
    run.mkdir()
    run_whole(run, ROOT, [word.replace("data/digits", str(workspace / "data" / "digits")) for word in found.overrides])
    artifacts = Artifacts(run)
    assert read_class_names(artifacts.faces) == tuple(map(str, range(10)))
    made = read_faces(artifacts.selected("stargan") / "fold-0", columns=["label_name", "translator"])
    assert set(made.column("label_name").to_pylist()) == set(map(str, range(10)))
    metrics = json.loads((artifacts.report / "metrics.json").read_text())
    assert metrics["arms"] or metrics
    card = read_card(artifacts.selected("stargan") / "fold-0")
    assert card is not None and card.line == "bsd-3-clause"


def test_saved_splits_are_kept(tmp_path: Path) -> None:
    import datasets

    parts = datasets.DatasetDict({"train": dataset(20), "valid": dataset(10), "test": dataset(7)})
    parts.save_to_disk(str(tmp_path / "saved"))
    convert_saved(tmp_path / "saved", tmp_path / "out", "cc0-1.0")
    files = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert files == ["test-00000.parquet", "train-00000.parquet", "validation-00000.parquet"]
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 20, "validation": 10, "test": 7}
    assert found["train"].features["label"].names == ["class 0", "class 1", "class 2"]


def test_classes_of_which_a_part_has_no_picture_are_left_out(workspace: Path, tmp_path: Path) -> None:
    """A part of a data set keeps the names of all classes, as `Dataset.filter` leaves it."""
    import datasets

    names = datasets.ClassLabel(names=["class 0", "class 1", "it's gone"])
    dataset(count=24, classes=2).cast_column("label", names).save_to_disk(str(tmp_path / "saved"))
    done = import_data(workspace, tmp_path / "saved", tmp_path / "out", {}, ["scale=smoke"], licence="made up")
    assert "left out: it's gone, of which there is no face" in done.text
    assert yaml.safe_load((workspace / "params.yaml").read_text())["dataset"]["classes"] == ["class 0", "class 1"]
    prepare(workspace)
    assert read_class_names(Artifacts(workspace).faces) == ("class 0", "class 1")


def test_the_licence_is_the_data_sets_own_or_is_asked_for(workspace: Path, tmp_path: Path) -> None:
    dataset(license="cc-by-4.0").save_to_disk(str(tmp_path / "own"))
    import_data(workspace, tmp_path / "own", workspace / "data" / "own", {}, ["scale=smoke"])
    licence = read_card(workspace / "data" / "own")
    assert licence is not None and licence.line == "cc-by-4.0"
    assert params(workspace)["dataset"]["root"] == "data/own"  # the workspace can be moved
    (workspace / "params.yaml").unlink()
    dataset().save_to_disk(str(tmp_path / "silent"))
    with pytest.raises(InputError, match="licence"):
        import_data(workspace, tmp_path / "silent", workspace / "data" / "silent", {}, ["scale=smoke"])
    dataset().to_parquet(str(tmp_path / "silent.parquet"))
    with pytest.raises(InputError, match="--licence"):
        import_data(workspace, tmp_path / "silent.parquet", workspace / "data" / "x", {}, ["scale=smoke"])
    assert not (workspace / "params.yaml").exists() and not (workspace / "data" / "silent").exists()


def test_class_folders_stay_where_they_are_and_lssl_goes_without_landmarks(workspace: Path, tmp_path: Path) -> None:
    for number in range(12):
        write_picture(tmp_path / "mine" / f"class {number % 3}" / f"{number}.png", number)
    found = import_data(workspace, tmp_path / "mine", workspace / "data" / "x", {}, ["scale=cpu"], "all persons agreed")
    values = params(workspace)
    assert values["dataset"]["source"] == "folder" and values["dataset"]["root"] == str(tmp_path / "mine")
    assert {"warp", "appearance_flow"}.isdisjoint(values["translators"]) and "lssl" in values["translators"]
    assert values["translators"]["lssl"]["settings"]["side_input"] is False
    arms = {name: arm for kind in values["arms"].values() for name, arm in kind.items()}
    assert {arm.get("translator") for arm in arms.values()} <= {None, *values["translators"]}
    assert "left out: warp" in found.text and not (workspace / "data").exists()
    import_data(
        workspace, tmp_path / "mine", workspace / "data" / "x", {}, ["scale=cpu", "landmarks=dlib"], "all agreed"
    )
    assert "warp" in params(workspace)["translators"]
    words = [
        "scale=cpu",
        "landmarks=dlib",
        "experiment=baselines",
        "+translators.appearance_flow.settings.teacher=embedded",
    ]
    found = import_data(workspace, tmp_path / "mine", workspace / "data" / "x", {}, words, "all agreed")
    assert "left out: appearance_flow" in found.text and "classes that embedded people show" in found.text
    values = params(workspace)
    assert "appearance_flow" not in values["translators"] and "warp" in values["translators"]
    assert any(arm["kind"] == "landmark_lda" for arm in values["arms"]["real"].values())


def test_a_published_data_set_is_recognized_where_it_would_be_read_as_anybodys_folders(
    workspace: Path, tmp_path: Path
) -> None:
    """As folders of classes, the people of CK+'s extract would be unknown, and parted."""
    copy = tmp_path / "CK+48"
    modules_of_tests()["ck_plus"].small_extract(copy)
    found = import_data(workspace, copy, workspace / "data" / "x", {}, ["scale=cpu"], "made-up")
    assert params(workspace)["dataset"]["source"] == "folder"
    assert "this is laid out as ck_plus is. If it is that data set, read it as such" in found.text
    assert f"s2l profile dataset=ck_plus dataset.root={copy}" in found.text


def test_folders_of_ones_own_are_no_published_data_set(workspace: Path, tmp_path: Path) -> None:
    for number in range(24):
        write_picture(tmp_path / "mine" / ("happy", "sad")[number % 2] / f"anna {number}.png", number)
    found = import_data(workspace, tmp_path / "mine", workspace / "data" / "x", {}, ["scale=cpu"], "made-up")
    assert "is laid out as" not in found.text


@pytest.mark.parametrize("folder", ["001/a.png", "train/1/a.png"])
def test_folders_of_numbers_are_many_peoples_own(tmp_path: Path, folder: str) -> None:
    """MUG and RAF-DB have such; what makes it theirs are pictures where they have them."""
    write_picture(tmp_path / folder, 1)
    write_picture(tmp_path / folder.replace("1/", "2/"), 2)
    assert _published_layout(tmp_path) is None


def test_what_can_not_be_read_is_listed_and_nothing_is_written(workspace: Path, tmp_path: Path) -> None:
    for number in range(12):
        write_picture(tmp_path / "mine" / f"class {number % 3}" / f"{number}.png", number)
    (tmp_path / "mine" / "class 0" / "broken.png").write_bytes(b"no picture")
    words = ["scale=smoke"]
    found = import_data(workspace, tmp_path / "mine", workspace / "x", {}, words, "all persons agreed")
    assert found.problems == 1 and "broken.png" in found.text and not (workspace / "params.yaml").exists()
    words.append("dataset.quarantine=quarantine/list.jsonl")
    found = import_data(workspace, tmp_path / "mine", workspace / "x", {}, words, "all persons agreed")
    assert found.problems == 0 and params(workspace)["dataset"]["quarantine"] == "quarantine/list.jsonl"


def test_data_sets_that_are_none(workspace: Path, tmp_path: Path) -> None:
    import datasets

    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("x")
    dataset(classes=1).save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"night": dataset()}).save_to_disk(str(tmp_path / "night"))
    datasets.DatasetDict({"train": dataset(), "test": dataset().select([])}).save_to_disk(str(tmp_path / "empty part"))
    datasets.DatasetDict({"test": dataset()}).save_to_disk(str(tmp_path / "test alone"))
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "train.tar").write_bytes(b"")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "state.json").write_text("{")
    for name, said in {
        "nowhere": "is not there",
        "empty": "no table and no picture",
        "list.txt": "no Parquet file",
        "one": "one class alone",
        "night": "splits that are not known: night",
        "damaged": "can't be read",
        "empty part": "a split without rows",
        "test alone": "has no training faces",
        "archives": "holds archives",
    }.items():
        with pytest.raises(InputError, match=said):
            import_data(workspace, tmp_path / name, workspace / name, {}, ["scale=smoke"], "cc0-1.0")
    with pytest.raises(InputError, match="holds synthetic faces"):
        made = Artifacts(write_workspace(tmp_path / "run")).selected("warp") / "fold-0" / "data"
        import_data(workspace, made, workspace / "x", {}, ["scale=smoke"], "cc0-1.0")


def s2l(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_the_command(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    table = tmp_path / "faces.parquet"
    dataset().rename_column("image", "pic").to_parquet(str(table))
    result = s2l("import", str(table), "--licence", "cc0-1.0", "scale=smoke")
    assert result.exit_code == 1 and "set image_column" in result.output
    result = s2l("import", str(table), "--licence", "cc0-1.0", "--set", "image_column=pic", "scale=smoke")
    assert result.exit_code == 0 and "params.yaml is written" in result.output
    assert params(workspace)["dataset"]["settings"] == {"image_column": "pic"}
    result = s2l("import", str(table), "--licence", "cc0-1.0", "--set", "image_column=pic", "scale=none")
    assert result.exit_code == 1 and "scale" in result.output
