"""A run says under which terms its faces stand before it reads one, and keeps no picture that it may not show."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from small_faces import write_picture

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.faces.licences import Licence, LicenceLine, read_card
from augment.parsing.teachers import HELEN, teacher_terms
from augment.sources import _source_class, open_source, source_names
from augment.sources.helen import HelenSource
from pipeline.check import check
from pipeline.cli import main
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile
from pipeline.results import keep_results
from reports.preparation import data_facts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = [name for name in source_names() if hasattr(_source_class(name), "terms")]


def folder_run(root: Path, *overrides: str) -> Path:
    """A project of class folders."""
    for number in range(8):
        for name in ("happy", "sad"):
            write_picture(root / "faces" / name / f"{number}.png", number + 100 * (name == "sad"), 32)
    profile = ["dataset=folder", "scale=smoke", "folds.folds=1", f"dataset.root={root / 'faces'}", *overrides]
    (root / "params.yaml").write_text(compose_profile(ROOT, profile), encoding="utf-8")
    return root


def test_check_and_prepare_refuse_a_folder_of_which_nobody_says_the_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_run(tmp_path))
    for command in ("check", "prepare"):
        done = CliRunner().invoke(main, [command])
        assert done.exit_code == 1
        assert "params.yaml: dataset.licence: the source does not say under which terms" in done.output
        assert "my own photographs, all persons agreed" in done.output and "cc-by-4.0" in done.output
    assert not (tmp_path / "artifacts").exists()


def test_the_line_goes_on_the_card(tmp_path: Path) -> None:
    folder_run(tmp_path, "dataset.licence='my own photographs, all persons agreed'")
    check(tmp_path)
    run_stage("prepare", tmp_path)
    licence = read_card(tmp_path / "artifacts" / "faces")
    assert licence is not None and licence.line == "my own photographs, all persons agreed"
    report = json.loads((tmp_path / "artifacts" / "faces" / "report.json").read_text(encoding="utf-8"))
    assert Licence.model_validate(report["licence"]) == licence


def test_the_reports_page_names_the_licence() -> None:
    said = Licence(lines=(LicenceLine(data_set="a", line="cc-by-4.0"), LicenceLine(data_set="b", line="For research.")))
    facts = dict(data_facts({"source": "joint", "licence": said.model_dump(mode="json")}))
    assert facts["licence"] == "a: cc-by-4.0 b: For research."
    assert dict(data_facts({"licence": "cc0-1.0"}))["licence"] == "cc0-1.0"  # as older reports have it


@pytest.mark.parametrize("line", ["unknown", "''", "other"])
def test_a_line_that_says_nothing_is_refused_with_its_key(line: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.licence: .*does not state a licence"):
        compose_profile(ROOT, ["dataset=folder", f"dataset.licence={line}"])


def test_what_helens_parsing_network_helped_to_make_stands_under_helens_terms_too(tmp_path: Path) -> None:
    overrides = ["scale=smoke", "experiment=tiny_gan", "parsing.enabled=true", "runtime.threads=1"]
    lssl = "{method: lssl, settings: {width: 4, residual_blocks: 1}, training: {steps: 2, batch_size: 4, log_every: 1}}"
    values = yaml.safe_load(compose_profile(ROOT, [*overrides, f"+translators.lssl={lssl}"]))
    values["synthesis"]["per_class"] = 1
    for arm in values["arms"]["synthetic"].values():
        arm["per_class"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run_stage("prepare", tmp_path)
    run_stage("parsing", tmp_path)
    run_stage("judge", tmp_path)
    report = tmp_path / "artifacts" / "parsing" / "fold-0" / "report.json"
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert [teacher["name"] for teacher in facts["teachers"]] == ["own masks"]
    assert teacher_terms([SimpleNamespace(name="own masks")]) == ()
    [line] = teacher_terms([SimpleNamespace(name=HELEN)])
    facts |= {"teacher_terms": [line.model_dump(mode="json")]}  # as the stage writes where Helen taught
    report.write_text(json.dumps(facts), encoding="utf-8")
    seal_folder(tmp_path / "artifacts" / "parsing")
    for name, public in (("warp", True), ("lssl", False)):  # warp has no use for parsing maps
        run_stage("train", tmp_path, name=name)
        run_stage("synthesize", tmp_path, name=name)
        run_stage("assess", tmp_path, name=name)
        for kind in ("synthetic", "selected"):
            folder = tmp_path / "artifacts" / kind / f"{name}.s2l" / "fold-0"
            licence = read_card(folder)
            assert licence is not None and licence.is_public_domain is public
            text = (folder / "README.md").read_text(encoding="utf-8")
            assert (HelenSource.terms.derived in text) is not public


def finished_run(root: Path, source: str, licence: Licence | str) -> Path:
    """What `s2l results` looks at, of a run on faces under a licence."""
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    values["dataset"] |= {"source": source, "root": "/secret/faces", "settings": {}}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    report = root / "artifacts" / "report"
    for folder in (report / "figures", report / "tables"):
        folder.mkdir(parents=True)
    (report / "metrics.json").write_text("{}", encoding="utf-8")
    Image.new("L", (4, 4)).save(report / "figures" / "gallery-lssl.png")
    said = licence if isinstance(licence, str) else licence.model_dump(mode="json")
    (report / "data.json").write_text(json.dumps({"source": source, "licence": said}), encoding="utf-8")
    return root


def pictures_kept(root: Path) -> list[str]:
    seal_folder(root / "artifacts" / "report")  # as the stage leaves it
    keep_results(root, root / "kept")
    return [file.name for file in (root / "kept").glob("*.png")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_picture_of_a_published_data_set_is_kept(tmp_path: Path, name: str) -> None:
    terms = _source_class(name).terms
    licence = Licence(lines=(LicenceLine(data_set=name, line=terms.licence, terms=terms),))
    assert not licence.is_public_domain and pictures_kept(finished_run(tmp_path, name, licence)) == []


def test_pictures_of_the_embedded_faces_are_kept_and_of_what_is_joined_with_them_as_well(tmp_path: Path) -> None:
    for source in ("rig", "joint"):
        (tmp_path / source).mkdir()
        assert pictures_kept(finished_run(tmp_path / source, source, "cc0-1.0")) == ["gallery-lssl.png"]
    assert getattr(open_source("rig", subjects=1), "licence", None) == "cc0-1.0"


@pytest.mark.parametrize("licence", ["cc-by-4.0", "my own photographs, all persons agreed"])
def test_a_source_by_the_embedded_faces_name_is_not_enough(tmp_path: Path, licence: str) -> None:
    assert pictures_kept(finished_run(tmp_path, "rig", licence)) == []


def test_without_the_licence_or_with_another_runs_no_picture_is_kept(tmp_path: Path) -> None:
    root = finished_run(tmp_path, "rig", "cc0-1.0")
    report = root / "artifacts" / "report" / "data.json"
    report.write_text(json.dumps({"source": "folder", "licence": "cc0-1.0"}), encoding="utf-8")
    assert pictures_kept(root) == []
    report.unlink()
    assert pictures_kept(root) == []
