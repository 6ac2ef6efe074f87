"""Results by group: an arm that helps one group and hurts another, which the mean over both hides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_up_faces import write_workspace

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.faces.table import read_faces
from pipeline.cli import main
from pipeline.core.workspace import Artifacts
from pipeline.group_results import group_results
from reports.groups import results_by_group
from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import HELPED, HURT

PEOPLE, SEEDS, CLASSES = 60, 5, ("happy", "sad")
SETTINGS = BootstrapSettings(resamples=400)
GROUP = {f"f{person}/{label}": "young" if person % 2 else "old" for person in range(PEOPLE) for label in range(2)}


def arm(name: str, right: dict[str, float]) -> Predictions:
    """Each group is recognized with a probability of its own; the same people fail in every arm first."""
    hardness = np.random.default_rng(0).random((PEOPLE, 2, SEEDS))
    rows = [
        {
            "fold": 0,
            "seed": seed,
            "face_id": f"f{person}/{label}",
            "subject": f"p{person}",
            "label": label,
            "predicted": label
            if hardness[person, label, seed] < right["young" if person % 2 else "old"]
            else 1 - label,
        }
        for seed in range(SEEDS)
        for person in range(PEOPLE)
        for label in range(2)
    ]
    return Predictions(name, CLASSES, pd.DataFrame(rows))


ARMS = {
    "real": arm("real", {"young": 0.6, "old": 0.6}),
    "warp": arm("warp", {"young": 0.9, "old": 0.3}),
    "same": arm("same", {"young": 0.6, "old": 0.6}),
}


def test_an_arm_helps_one_group_and_hurts_another() -> None:
    table = results_by_group(ARMS, GROUP, "real", SETTINGS).set_index(["group", "arm"])
    assert table.loc[("young", "warp"), "verdict"] == HELPED and table.loc[("old", "warp"), "verdict"] == HURT
    for group in ("young", "old"):
        rows = ARMS["warp"].rows
        chosen = rows[rows["face_id"].map(GROUP) == group]
        score = 100 * (chosen["label"] == chosen["predicted"]).mean()
        assert table.loc[(group, "warp"), "score"] == pytest.approx(score)
        difference = score - table.loc[(group, "real"), "score"]
        assert table.loc[(group, "warp"), "difference"] == pytest.approx(difference)
        assert table.loc[(group, "same"), "difference"] == 0 and table.loc[(group, "warp"), "faces"] == PEOPLE
        recalls = chosen.assign(right=chosen["label"] == chosen["predicted"]).groupby("label")["right"].mean()
        assert table.loc[(group, "warp"), "worst_recall"] == pytest.approx(100 * recalls.min())
    assert table.loc[("young", "warp"), "p_holm"] >= 0 and pd.isna(table.loc[("young", "real"), "p_holm"])


def test_faces_without_a_group_and_small_groups_are_named() -> None:
    some = {face: group for face, group in GROUP.items() if int(face[1:].split("/")[0]) < 12}
    table = results_by_group(ARMS, some, "real", SETTINGS)
    assert table["group"].unique().tolist() == ["old", "young", "unknown"]
    assert set(table.set_index("group").loc["young", "note"]) == {"few people: the interval says little"}
    assert set(table.set_index("group").loc["unknown", "note"]) == {""}


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(InputError, match="there are real, warp, same"):
        results_by_group(ARMS, GROUP, "nobody", SETTINGS)
    with pytest.raises(InputError, match="have no test face"):
        results_by_group(ARMS, {"x": "y"}, "real", SETTINGS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose arm of real faces has predictions of its test faces."""
    root = write_workspace(tmp_path / "run")
    artifacts = Artifacts(root)
    faces = read_faces(artifacts.faces, columns=["face_id", "subject", "label"]).to_pylist()
    rows = [
        {"arm": "real", "fold": 0, "seed": seed, "split": "test", "predicted": number % 3, **face}
        for seed in range(2)
        for number, face in enumerate(faces)
    ]
    schema = pa.Table.from_pylist(rows).schema.with_metadata(
        {b"s2l": json.dumps({"class_names": ["angry", "happy", "sad"]}).encode()}
    )
    artifacts.arm("real").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), artifacts.arm("real") / "predictions.parquet")
    seal_folder(artifacts.arm("real"))
    return root


def test_groups_come_from_a_column_or_from_a_file(run: Path, tmp_path: Path) -> None:
    assert "| made | 45 | 15 | real |" in group_results(run, "source")
    file = tmp_path / "groups.csv"
    file.write_text("subject,group\n" + "".join(f"person {n},{'a' if n < 5 else 'b'}\n" for n in range(12)))
    text = group_results(run, str(file), tmp_path / "out.csv")
    assert "| a | 15 | 5 | real |" in text and "| b | 21 | 7 | real |" in text and "| unknown | 9 | 3 | real |" in text
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    file.write_text("face_id,group\nmade/0/0,a\nmade/0/1,b\n")
    assert "| a | 1 | 1 | real |" in group_results(run, str(file))
    for content, said in [
        ("name,group\nx,y\n", "must have group, and face_id or subject"),
        ("subject,group\nperson 1,a\nperson 1,b\n", "is in two groups"),
        ("subject,group\nnobody,a\n", "have no test face"),
        ("", "can't be read as CSV"),
    ]:
        file.write_text(content)
        with pytest.raises(InputError, match=said):
            group_results(run, str(file))
    with pytest.raises(InputError, match="is unknown of all faces"):
        group_results(run, "yaw")
    with pytest.raises(InputError, match="neither a column nor a file"):
        group_results(run, "age")


def test_the_command(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    result = CliRunner().invoke(main, ["groups", "source", "--out", "groups.csv"])
    assert result.exit_code == 0 and "differences from real" in result.output and (run / "groups.csv").is_file()
    assert CliRunner().invoke(main, ["groups", "age"]).exit_code == 1
