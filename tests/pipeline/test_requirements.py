"""What translators require is compared with what the data set can give, before any face is read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.core.errors import InputError
from augment.sources import open_source
from pipeline.check import check
from pipeline.core.stage_runs import run_in_workspace
from pipeline.parameters.whole import Parameters, parse_parameters
from pipeline.profile import compose_profile
from pipeline.requirements import check_requirements, unmet_requirements

ROOT = Path(__file__).parent.parent.parent
TRANSLATORS: dict[str, Any] = {
    "warp": {"method": "warp"},
    "with_side_input": {"method": "lssl", "settings": {"downs": 2}},
    "without_side_input": {"method": "lssl", "settings": {"downs": 2, "side_input": False}},
    "stargan": {"method": "stargan"},
    "simgan": {"method": "simgan", "on_refusal": "stop"},
}


class Faces:
    """A source that says what its faces come with, or doesn't, and would fail if a face were read."""

    name = "faces"
    class_names = ("happy", "neutral")

    def __init__(self, *annotations: str, known: bool = True) -> None:
        if known:
            self.annotations = frozenset(annotations)

    def faces(self) -> Any:
        raise AssertionError("a face was read")


def parameters(**annotation: Any) -> Parameters:
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    values["translators"] |= TRANSLATORS
    values["dataset"]["annotation"] |= annotation
    return parse_parameters(values, where="params.yaml")


def unmet(source: Any, **annotation: Any) -> dict[str, list[str]]:
    found = unmet_requirements(parameters(**annotation), source)
    return {
        name: [problem.why.split(",")[0].split(" needs ")[1] for problem in problems]
        for name, problems in found.items()
    }


LOOKED_FOR = {"landmarks": {"detector": "dlib"}}


@pytest.mark.parametrize(
    ("source", "annotation", "expected"),
    [
        (Faces(), {}, {"warp": ["landmarks"], "with_side_input": ["landmarks"], "simgan": ["simulated frontal faces"]}),
        (Faces("landmarks"), {}, {"simgan": ["simulated frontal faces"]}),
        (Faces("landmarks", "simulated"), {}, {}),
        (Faces(), LOOKED_FOR, {"simgan": ["simulated frontal faces"]}),
        (Faces(), {**LOOKED_FOR, "simulated": True}, {}),
        (Faces("landmarks"), {"simulated": True}, {}),
        (
            Faces(),
            {"simulated": True},
            {"warp": ["landmarks"], "with_side_input": ["landmarks"], "simgan": ["simulated frontal faces"]},
        ),
        (Faces(known=False), {}, {}),
    ],
)
def test_what_is_lacking_is_known_without_reading_a_face(
    source: Any, annotation: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    found = unmet(source, **annotation)
    assert {name: found[name] for name in found if name in TRANSLATORS} == expected


@pytest.mark.parametrize(
    ("classes", "chosen", "told"),
    [
        (("happy", "neutral"), None, None),
        (("Happy", "neutral", "bored"), None, "rename Happy to happy"),
        (("froh", "neutral"), None, "give the classes those names"),
        (("Happy", "happy", "neutral"), ["happy", "neutral"], None),
    ],
)
def test_classes_that_embedded_people_do_not_show_are_known_beforehand(
    classes: tuple[str, ...], chosen: list[str] | None, told: str | None
) -> None:
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    taught = {"method": "appearance_flow", "settings": {"teacher": "embedded"}}
    values["translators"] |= {"taught": taught, "own": {"method": "appearance_flow"}}
    values["dataset"]["classes"] = chosen
    source = Faces(known=False)
    source.class_names = classes  # type: ignore[assignment]
    found = unmet_requirements(parse_parameters(values, where="params.yaml"), source)  # type: ignore[arg-type]
    assert ("taught" in found) == bool(told) and "own" not in found
    if told:
        (problem,) = found["taught"]
        assert told in problem.fix and "who show angry" in problem.why
        assert not problem.why.endswith("neutral")


def test_stop_is_a_problem_and_report_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(InputError) as refused:
        check_requirements(parameters(), Faces())  # type: ignore[arg-type]
    assert [problem.where for problem in refused.value.problems] == ["params.yaml: translators.simgan"]
    assert "dataset.settings.simulated=true" in refused.value.problems[0].fix
    warnings = [record.getMessage() for record in caplog.records]
    told = [line for line in warnings if "with_side_input" in line]
    assert len(told) == 1 and told[0].startswith("translator with_side_input will be refused: lssl needs landmarks")
    assert not any("without_side_input" in line or "stargan" in line for line in warnings)


def test_sources_say_what_their_faces_come_with(tmp_path: Path) -> None:
    assert open_source("rig", None, preset="rare").annotations == {"landmarks"}  # type: ignore[attr-defined]
    with_simulated = open_source("rig", None, preset="rare", simulated=True)
    assert with_simulated.annotations == {"landmarks", "simulated"}  # type: ignore[attr-defined]
    parts = [
        {"data_set": "one", "source": "rig", "settings": {"preset": "rare"}},
        {"data_set": "two", "source": "rig", "settings": {"preset": "rare", "simulated": True}},
    ]
    assert open_source("joint", tmp_path, parts=parts).annotations == with_simulated.annotations  # type: ignore[attr-defined]


def test_a_run_that_can_not_serve_its_translators_is_told_before_it_prepares(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("happy", "neutral"):
        for number in range(3):
            file = tmp_path / "faces" / "train" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"no picture: nothing is read")
    overrides = ["scale=smoke", "dataset=folder", f"dataset.root={tmp_path / 'faces'}", "dataset.licence=mit"]
    values = yaml.safe_load(compose_profile(ROOT, overrides))
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        check(tmp_path)
    assert "translator warp will be refused: warp needs landmarks" in caplog.text
    values["translators"]["warp"]["on_refusal"] = "stop"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    for refuse in (check, lambda root: run_in_workspace("prepare", root)):
        with pytest.raises(InputError, match=r"params\.yaml: translators\.warp: warp needs landmarks"):
            refuse(tmp_path)
    assert not (tmp_path / "artifacts").exists()


def test_a_neutral_class_that_is_none_of_the_classes_is_known_beforehand() -> None:
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    values["translators"]["warp"]["settings"] = {"neutral_class": "calm"}
    found = unmet_requirements(parse_parameters(values, where="params.yaml"), Faces("landmarks"))  # type: ignore[arg-type]
    assert "neutral_class is 'calm', and the classes are happy, neutral" in found["warp"][0].why
    values["translators"]["warp"]["settings"] = {"neutral_class": "happy"}
    assert "warp" not in unmet_requirements(parse_parameters(values, where="params.yaml"), Faces("landmarks"))  # type: ignore[arg-type]
