"""Writes the tables, the figures, the metrics and the page."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes
from augment.core.json_files import read_json_object
from augment.core.precision import PrecisionChoice
from pipeline.core.devices import name_of
from pipeline.core.messages import RESULT
from pipeline.core.sections import Name, read_values
from pipeline.core.stage import CommonParameters, prepared_inputs, start
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts, move_into_place, scratch_folder
from pipeline.parameters.arms import Arms
from pipeline.run_record import read_run_record
from pipeline.stages.cards import update_card_of_all
from pipeline.stages.refusals import refusal_in
from reports.build import build_report
from reports.environment import describe_environment
from reports.inputs import Refusal, ReportInputs
from reports.parsing import parsing_notes
from reports.pretraining import pretraining_notes
from reports.settings import ReportSettings

LOG = logging.getLogger(__name__)


class ReportParameters(CommonParameters):
    """The parameters that this stage reads; the page prints the rest of params.yaml without checking it."""

    dataset: dict[str, Any]
    translators: dict[Name, Any]
    arms: Arms
    report: ReportSettings = Field(default_factory=ReportSettings)


def report(root: Path) -> None:
    """Writes the tables, the figures, the metrics and the page."""
    parameters, artifacts, device = start(root, ReportParameters)
    arms = parameters.arms.all()
    inputs = [*prepared_inputs(artifacts), StageInput(artifacts.parsing, "s2l parsing")]
    for translator in parameters.translators:
        inputs.append(StageInput(artifacts.translator(translator), f"s2l train {translator}"))
        assess_it = f"s2l assess {translator}"
        inputs += [
            StageInput(artifacts.selected(translator), assess_it),
            StageInput(artifacts.scores(translator), assess_it),
        ]
    inputs += [StageInput(artifacts.arm(arm), f"s2l classify {arm}") for arm in arms]
    check_inputs(inputs, [artifacts.report])
    # Refusals of training or synthesis were copied to these outputs.
    refusals = {name: refusal_in(artifacts.selected(name)) for name in parameters.translators}
    ran = [name for name, refusal in refusals.items() if refusal is None]
    arm_refusals = {name: refusal_in(artifacts.arm(name)) for name in arms}
    ran_arms = [name for name, refusal in arm_refusals.items() if refusal is None]
    if not ran_arms:
        fix = "fix what it names, or add an arm of kind real (`s2l profile` writes one)"
        raise InputError(
            [
                Problem(f"arm {name}", f"was refused: {refusal['reason']}", fix)
                for name, refusal in arm_refusals.items()
                if refusal is not None
            ],
            "no arm was run, so there is nothing to report:",
        )
    build_report(
        ReportInputs(
            data_name=_data_name(parameters.dataset),
            predictions={name: artifacts.arm(name) / "predictions.parquet" for name in ran_arms},
            arms={name: arm.model_dump(mode="json") for name, arm in arms.items()},
            faces_report=artifacts.faces / "report.json",
            histories={name: artifacts.arm(name) / "history.jsonl" for name in ran_arms},
            scores={name: artifacts.scores(name) / "scores.json" for name in ran},
            translators={name: artifacts.translator(name) for name in ran},
            timings={name: file for name in ran if (file := artifacts.measurements(f"train-{name}")).is_file()},
            precisions=_precisions(artifacts, ran_arms),
            selections={name: artifacts.selected(name) for name in ran},
            refused=tuple(Refusal.model_validate(refusal) for refusal in refusals.values() if refusal is not None),
            refused_arms={name: refusal["reason"] for name, refusal in arm_refusals.items() if refusal is not None},
            notes=(*parsing_notes(artifacts.parsing), *pretraining_notes(artifacts.judge)),
            params=read_values(root / "params.yaml"),
            environment=describe_environment(name_of(str(device))),
            command="dvc repro",
            record=read_run_record(artifacts, parameters.translators, arms),
        ),
        parameters.report,
        artifacts.report,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    with scratch_folder(artifacts.scratch, "report", "kept") as scratch:
        shutil.copytree(artifacts.report / "plots", scratch / "plots", dirs_exist_ok=True)
        move_into_place(scratch / "plots", artifacts.plots)
    atomic_write_bytes(artifacts.metrics, (artifacts.report / "metrics.json").read_bytes())
    for folder in (artifacts.all_synthetic, artifacts.all_selected):
        update_card_of_all(artifacts, folder)  # a translator may have been removed since the last stage wrote them
    LOG.log(RESULT, f"the report is written: {artifacts.report / 'index.html'}")


def _precisions(artifacts: Artifacts, arms: Sequence[str]) -> dict[str, PrecisionChoice]:
    """In which precision each arm's networks were trained; the measured speeds are with the other measurements."""
    found = {}
    for name in arms:
        file = artifacts.arm(name) / "precision.json"
        if not file.is_file():
            continue
        measurements = artifacts.measurements(f"classify-{name}")
        measured = read_json_object(measurements).get("precision.json", {}) if measurements.is_file() else {}
        found[name] = PrecisionChoice.model_validate(read_json_object(file) | dict(measured))
    return found


def _data_name(dataset: Mapping[str, Any]) -> str:
    """The data set's name in tables and pages."""
    source = dataset["source"]
    if source == "rig":
        return f"embedded faces ({dataset.get('settings', {}).get('preset', 'default preset')})"
    if source == "fer2013":
        return "FER2013"
    return f"{source}: {Path(dataset['root']).name}"
