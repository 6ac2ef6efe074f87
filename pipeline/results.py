"""Copies a run's report: tables as text, and pictures only of faces in the public domain, such as embedded ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.json_files import read_json_object
from augment.core.replacing import folder_in_place
from augment.core.seals import SEAL, read_seal, seal_problems
from augment.faces.licences import Licence
from pipeline.core.devices import choose_device, name_of
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts
from pipeline.flow.filed_costs import file_costs
from pipeline.lock_parameters import check_parameters_of_results
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.run_record import read_run_record
from reports.cost import machine_facts
from reports.environment import describe_environment

WRITTEN_BY = "Written by `s2l results`"


def keep_results(
    root: Path, destination: Path, note: str = "", more: Callable[[Path], None] | None = None
) -> list[Path]:
    """Copies a run's tables and metrics, and writes a README that names the machine and the data.

    Args:
        root: The workspace of a finished run.
        destination: A folder such as docs/results/rig-cpu; replaced if this tool wrote it.
        note: A sentence on how the run was made (wall time, load of the machine).
        more: Writes further files into the folder.

    Returns:
        The files written.

    Raises:
        InputError: The run has no report, the report was changed, params.yaml is another run's, or the destination
            contains files that this tool did not write.
    """
    parameters = load_parameters(root / "params.yaml")
    device = name_of(choose_device(parameters.runtime.device))
    check_inputs([StageInput(Artifacts(root).report, "s2l report")])
    check_parameters_of_results(root)
    _check_destination(destination)
    try:
        with folder_in_place(destination) as built:
            _write_results(root, built, destination.name, parameters, device=device, note=note)
            file_costs(root, built)
            if more is not None:
                more(built)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            Problem(str(destination), f"can't be created: {error.strerror}", "name another folder")
        ) from error
    return sorted(path for path in destination.iterdir() if path.name != SEAL)


def _check_destination(destination: Path) -> None:
    """Checks that the destination is absent or unchanged results: not another output of this tool, nor an edited copy.

    Raises:
        InputError: It is something else, or was changed since it was written.
    """
    if destination.is_dir() and read_seal(destination) is not None:
        readme = destination / "README.md"
        if not readme.is_file() or WRITTEN_BY not in readme.read_text(encoding="utf-8", errors="replace"):
            why = "is another output of this tool, not a folder of copied results"
            raise InputError(Problem(str(destination), why, "use a separate folder, such as docs/results/my-run"))
        there = [name for name in read_seal(destination) or {} if (destination / name).exists()]
        fix = "keep a copy of it elsewhere, or name another folder"
        problems = seal_problems(destination, fix, names=there)
        if problems:
            raise InputError(problems, f"{destination} was changed since `s2l results` wrote it:")


def _write_results(root: Path, folder: Path, title: str, parameters: Parameters, *, device: str, note: str) -> None:
    report = Artifacts(root).report
    profile = (root / "params.yaml").read_text(encoding="utf-8")
    command = profile.splitlines()[0].split("`")[1] if profile.startswith("# Written by `") else "params.yaml"
    record = read_run_record(Artifacts(root), list(parameters.translators), list(parameters.arms.all()))
    tables = [file for file in sorted((report / "tables").glob("*.md")) if file.stem not in ("published",)]
    lines = [
        f"# {title}",
        "",
        f"- data: {describe_data(parameters.dataset.source, parameters.dataset.settings)}",
        f"- command: `{without_root(command)}`, then `dvc repro`",
        f"- seeds: run {parameters.seed}, classifiers {', '.join(map(str, parameters.seeds))}",
        *(f"- {name}: {value}" for name, value in describe_environment(device).items()),
        *(f"- {name}: {value}" for name, value in machine_facts(record)),
        *_precision_lines(Artifacts(root), parameters),
        *([f"- {note}"] if note else []),
        "",
        f"{WRITTEN_BY}. Published results have their own columns, with the name of their data set.",
        "",
    ]
    for file in tables:
        lines += [f"## {file.stem.replace('_', ' ')}", "", file.read_text(encoding="utf-8").strip(), ""]
    atomic_write_text(folder / "README.md", "\n".join(lines))
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    atomic_write_text(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    shutil.copy2(root / "params.yaml", folder / "params.yaml")
    for path in (parameters.dataset.root, parameters.parsing.teacher.root, parameters.judge.pretraining.root):
        _hide_root(folder / "params.yaml", path)
    if _may_show(report / "data.json", parameters.dataset.source):
        for file in sorted((report / "figures").glob("*.png")):
            if "do-not-publish" not in file.name:
                shutil.copy2(file, folder / file.name)


def _precision_lines(artifacts: Artifacts, parameters: Parameters) -> list[str]:
    """In which precision the run's networks were trained, which `auto` chooses by the machine; empty where none was."""
    files = {
        "classifiers": [artifacts.arm(name) / "precision.json" for name in parameters.arms.all()],
        "translators": [
            file for name in parameters.translators for file in artifacts.translator(name).glob("fold-*/training.json")
        ],
    }
    said = []
    for what, places in files.items():
        trained = [read_json_object(file) for file in places if file.is_file()]
        choices = [found if what == "classifiers" else found.get("precision") or {} for found in trained]
        if used := sorted({str(choice["used"]) for choice in choices if "used" in choice}):
            said.append(f"{what} {' and '.join(used)}")
    return [f"- precision: {'; '.join(said)}"] if said else []


def _may_show(report_data: Path, source: str) -> bool:
    """Whether the run's pictures may be published, by the licence of its faces."""
    try:
        facts = json.loads(report_data.read_text(encoding="utf-8"))
        licence = Licence.model_validate(facts["licence"])
    except (OSError, KeyError, ValueError):
        return False
    return bool(licence.is_public_domain and facts["source"] == source)  # otherwise params.yaml belongs to another run


def describe_data(source: str, settings: dict[str, Any]) -> str:
    """The data set in words."""
    if source == "rig":
        listed = ", ".join(f"{key} {value}" for key, value in settings.items())
        return f"embedded faces ({listed})"
    if source == "joint" and settings.get("parts"):
        return " and ".join(describe_data(part["source"], part.get("settings", {})) for part in settings["parts"])
    return source


# The value of a key that ends in `root`, up to the next key, option or end: it may hold blanks.
_ROOT = re.compile(r"([\w.]*\broot=).*?(?=['\"]?(?:\s+[+~]*[\w.@/]+=|\s+--|$))")


def without_root(command: str) -> str:
    """Removes the user's paths from the command, for privacy."""
    return _ROOT.sub(r"\1...", command)


def _hide_root(file: Path, root: str) -> None:
    if Path(root).is_absolute():
        atomic_write_text(file, file.read_text(encoding="utf-8").replace(root, "..."))
