"""What can't work is said before anything runs, with the fix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pydantic import ValidationError

from augment.core.errors import InputError
from classifiers.models import ModelSettings, create_classifier
from pipeline.check import check
from pipeline.cli import main
from pipeline.data_check import check_data
from pipeline.importing import import_data
from pipeline.profile import READ_WHOLE, compose_profile, write_parameters
from pipeline.stages.prepare import prepare

ROOT = Path(__file__).parents[2]
NETWORKS = [
    {"name": "plain_cnn"},
    {"name": "plain_cnn", "stem": "half"},
    {"name": "squeeze_excitation_cnn", "widths": (4, 4, 4), "convolutions": (1, 1, 1), "stem": "half"},
    {"name": "squeeze_excitation_cnn", "widths": (4, 4), "convolutions": (2, 1)},
    {"name": "vgg16_bn"},
    {"name": "resnet18_narrow", "stem": "standard"},
]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    for name in ("conf", "dvc.yaml"):
        (place / name).symlink_to(ROOT / name)
    return place


def write_pictures(folder: Path, count: int = 4) -> None:
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(abs(hash(folder.name)) % 1000).integers(0, 256, (count, 24, 24), dtype=np.uint8)
    for number, picture in enumerate(drawn):
        Image.fromarray(picture).save(folder / f"{number}.png")


def checked(workspace: Path, *words: str) -> None:
    write_parameters(workspace, compose_profile(workspace, ["scale=smoke", *words]))
    check(workspace)


@pytest.mark.slow
@pytest.mark.parametrize("values", NETWORKS, ids=str)
def test_the_least_edge_is_the_least_that_a_network_takes(values: dict[str, Any]) -> None:
    settings = ModelSettings(**values)
    network = create_classifier(settings, num_classes=3, channels=1, seed=0).eval()

    def logits(edge: int) -> torch.Tensor:
        return network(torch.zeros(1, 1, edge, edge, dtype=torch.uint8))

    assert logits(settings.least_edge).shape == (1, 3)
    if settings.least_edge > 1:
        with pytest.raises(RuntimeError, match="too small"):
            logits(settings.least_edge - 1)


@pytest.mark.parametrize("classifier", ["classifier", "judge.classifier"])
def test_networks_that_are_too_deep_for_the_pictures_are_refused(classifier: str) -> None:
    model = f"{classifier}.model"
    words = [f"~{model}.width", f"{model}.name=squeeze_excitation_cnn", f"{model}.stem=half"]
    stages = [f"+{model}.widths=[4,4,4,4,4]", f"+{model}.convolutions=[1,1,1,1,1]"]
    with pytest.raises(
        InputError, match=rf"{classifier}\.model: squeeze_excitation_cnn needs pictures of 63 px.* 32 px"
    ):
        compose_profile(ROOT, ["scale=smoke", *words, *stages])
    fewer = [f"+{model}.widths=[4,4,4,4]", f"+{model}.convolutions=[1,1,1,1]"]
    compose_profile(ROOT, ["scale=smoke", *words, *fewer])  # negative control


def test_an_arm_of_landmarks_that_no_face_has(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name)
    words = ["dataset=folder", "dataset.root=faces", "dataset.licence=mine", "folds.folds=1"]
    lda = "+arms.real.lda.kind=landmark_lda"
    checked(workspace, *words, lda)
    assert "arm lda will be refused: it learns from landmarks" in caplog.text and "landmarks=dlib" in caplog.text
    with pytest.raises(InputError, match=r"report\.baseline_arm: lda learns from landmarks"):
        checked(workspace, *words, lda, "report.baseline_arm=lda")
    with pytest.raises(InputError, match=r"arms\.real\.lda: learns from landmarks"):
        checked(workspace, *words, lda, "~arms.real.real", "~arms.synthetic.warp")
    caplog.clear()
    checked(workspace, lda)  # embedded faces have them
    assert "will be refused" not in caplog.text


def test_a_run_without_translators_needs_folders_alone(workspace: Path) -> None:
    words = ["translators.warp=null", "arms.synthetic.warp=null"]
    checked(workspace, *words)
    for name in READ_WHOLE:
        (workspace / "artifacts" / name).rmdir()
    with pytest.raises(InputError, match=r"artifacts/scores: is not there.*run `s2l profile`"):
        check(workspace)


@pytest.mark.parametrize("key", ["classifier", "judge.classifier"])
def test_what_a_classifier_lacks_on_this_machine(workspace: Path, key: str) -> None:
    with pytest.raises(InputError, match=rf"{key}\.precision: float16 needs a GPU"):
        checked(workspace, f"++{key}.precision=float16", "runtime.device=cpu")
    model = "{name: resnet18, stem: small, weights: nowhere.safetensors}"
    with pytest.raises(InputError, match=rf"{key}\.model\.weights: nowhere\.safetensors is not there"):
        checked(workspace, f"~{key}.model", f"+{key}.model={model}")


def test_weights_that_can_not_be_read_are_blamed_and_not_pretrained(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match=r"classifier\.model\.weights: .*w\.safetensors can't be read"):
        create_classifier(ModelSettings(name="resnet18", weights=tmp_path / "w.safetensors"), num_classes=3, channels=1)
    with pytest.raises(ValidationError):
        ModelSettings(name="resnet18", weights=tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("translators={}", "changes nothing.*translators.NAME=null"),
        ("arms.synthetic={}", "changes nothing.*arms.synthetic.NAME=null"),
        ("~scale", "scale can't be left out.*scale=..."),
        ("~dataset=rig", "dataset can't be left out"),
        ("+scale=smoke", "write scale=smoke"),
        ("hydra.run.dir=x", "is a setting of Hydra"),
        ("seed=null", "not null"),
    ],
)
def test_words_that_would_do_nothing_or_be_answered_by_hydra(word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compose_profile(ROOT, [word])


def test_a_class_without_training_faces_is_named_before_a_run(workspace: Path) -> None:
    data = workspace / "split"
    for place in ("train/a", "train/b", "test/a", "test/c"):
        write_pictures(data / place)
    text, problems = check_data("folder", data, {}, pictures=False)
    assert problems == 0 and "no training face of c" in text and "folds.kind=subjects" in text.splitlines()[-1]
    with pytest.raises(InputError, match=r"has no training face of c.*folds\.kind=subjects"):
        import_data(workspace, data, workspace / "x", {}, ["scale=smoke"], "all agreed")
    assert not (workspace / "params.yaml").exists()
    import_data(workspace, data, workspace / "x", {}, ["scale=smoke", "folds.kind=subjects"], "all agreed")


def test_too_few_pictures_for_three_splits_are_named_before_a_run(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "few" / name, 2)
        write_pictures(workspace / "enough" / name, 4)
    why = (
        "can be parted: a has 2 faces in 2 different pictures, b has 2 faces in 2 different pictures (train, validation"
    )
    found = import_data(workspace, workspace / "few", workspace / "x", {}, ["scale=smoke"], "all agreed")
    assert "a run is refused: folds.validation_share: no class is shown by two" in found.text and why in found.text
    assert not found.can_be_split
    caplog.set_level("INFO")
    check(workspace)
    assert "`s2l prepare` will refuse these faces: folds.validation_share" in caplog.text and why in caplog.text
    assert "no translator: nothing will be synthesized" in caplog.text and "scale=cpu" in caplog.text
    with pytest.raises(InputError) as refused:
        prepare(workspace)
    assert why in str(refused.value)
    caplog.clear()
    found = import_data(workspace, workspace / "enough", workspace / "x", {}, ["scale=smoke"], "all agreed")
    check(workspace)
    assert found.can_be_split and "refuse" not in found.text + caplog.text


def test_a_run_all_of_whose_translators_will_be_refused_is_said_to_synthesize_nothing(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name)
    caplog.set_level("INFO")
    checked(workspace, "dataset=folder", "dataset.root=faces", "dataset.licence=mine", "folds.folds=1")
    assert "no translator can work on these faces: nothing will be synthesized" in caplog.text
    caplog.clear()
    checked(workspace)  # embedded faces have landmarks
    assert "nothing will be synthesized" not in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scale=smokk"], "did you mean smoke"),
        (["clasifier.steps=3"], "did you mean classifier"),
        (None, "conf: is not"),
    ],
)
def test_words_and_the_wrong_folder_are_refused_before_a_picture_is_read(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, words: list[str] | None, said: str
) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name)
    monkeypatch.setattr("pipeline.importing.take_inventory", lambda *_, **__: pytest.fail("the data set was read"))
    root = workspace if words else workspace / "faces"
    with pytest.raises(InputError, match=said):
        import_data(root, workspace / "faces", workspace / "x", {}, words or [], "all agreed")


def test_empty_pictures_and_copies_are_named(workspace: Path) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name, 6)
    black = Image.new("L", (24, 24))
    for number in range(6):
        black.save(workspace / "faces" / "a" / f"black {number}.png")
    text, _ = check_data("folder", workspace / "faces", {}, pictures=True)
    assert (
        "6 pictures without content: a/black 0.png; a/black 1.png; a/black 2.png; a/black 3.png; a/black 4.png ..."
        in text
    )
    assert "folds keep them together: a/black 0.png and a/black 1.png and 4 more\n" in text


def test_pictures_that_can_not_be_read_need_a_quarantine_that_is_one(workspace: Path) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name, 6)
    (workspace / "faces" / "a" / "broken.png").write_bytes(b"no picture")
    for words in ([], ["dataset.quarantine=null"]):
        found = import_data(workspace, workspace / "faces", workspace / "x", {}, ["scale=smoke", *words], "all agreed")
        assert found.problems == 1 and not (workspace / "params.yaml").exists()
    words = ["scale=smoke", "dataset.quarantine=quarantine/list.jsonl"]
    assert import_data(workspace, workspace / "faces", workspace / "x", {}, words, "all agreed").problems == 0


def test_a_stray_table_among_class_folders_hides_no_pictures(workspace: Path) -> None:
    for name in ("a", "b"):
        write_pictures(workspace / "faces" / name, 6)
    (workspace / "faces" / "notes.parquet").write_bytes(b"none")
    (workspace / "faces" / "x.tar").write_bytes(b"none")
    found = import_data(workspace, workspace / "faces", workspace / "x", {}, ["scale=smoke"], "all agreed")
    assert found.problems == 2 and "12 faces" in found.text  # the two strays, by name
    assert all(name in found.text for name in ("notes.parquet", "x.tar"))


def test_a_flow_is_refused_before_a_server_starts(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.flow import graph, temporary_server

    def started() -> Any:
        raise AssertionError("a server was started")

    monkeypatch.setattr(graph, "check_workspace", lambda root: None)
    monkeypatch.setattr(temporary_server, "patient_with_temporary_server", started)
    monkeypatch.chdir(workspace)
    ended = CliRunner().invoke(main, ["flow", "run", "--experiment", "nope"])
    assert ended.exit_code == 1 and "there is no 'nope' in conf/experiment" in ended.output


def test_a_temporary_server_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.flow import temporary_server

    for given, left in ((None, "false"), ("true", "true")):
        with monkeypatch.context() as patch:
            patch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
            patch.setattr(
                temporary_server, "get_current_settings", lambda: type("S", (), {"api": type("A", (), {"url": "x"})})
            )
            if given is None:
                patch.delenv("PREFECT_SERVER_ANALYTICS_ENABLED", raising=False)
            else:
                patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", given)
            with temporary_server.patient_with_temporary_server():
                assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == left


def test_all_stands_alone_and_results_are_there(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    ended = CliRunner().invoke(main, ["experiments", "run", "all", "lssl_table2"])
    assert ended.exit_code == 1 and "all: runs each experiment, and stands alone" in ended.output
    for command in (["--results", "gone"], ["page", "--results", "gone"], ["site", "--results", "gone"]):
        ended = CliRunner().invoke(main, ["experiments", *command])
        assert ended.exit_code == 1 and "--results gone: is not there" in ended.output
