"""Runs the papers' experiments, and files what they show."""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import yaml
from matplotlib.figure import Figure

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.core.json_files import read_json_object
from augment.core.processes import processors
from augment.core.progress import track
from augment.training.distances import DISTANCES_FILE
from augment.training.phases import schedule_phases
from augment.translators import load_translator
from augment.translators.base import DISCRIMINATOR, LearnedTranslator
from pipeline.core.devices import choose_device, name_of
from pipeline.core.sections import read_values
from pipeline.core.stage_records import stage_results
from pipeline.core.workspace import Artifacts, fold_directory
from pipeline.data_set import open_data_set
from pipeline.flow.filed_costs import RunTime, filed_costs, run_time
from pipeline.flow.records import read_all_records, size_of, this_machine
from pipeline.flow.work import stage_and_name, stages_of
from pipeline.parameters.dataset import DatasetSettings
from pipeline.parameters.whole import load_parameters
from pipeline.profile import compose_profile
from pipeline.results import describe_data, keep_results, without_root
from pipeline.run_record import read_run_record
from pipeline.stages.refusals import refusal_in
from pipeline.whole_run import run_whole
from reports.cost import MEBIBYTE, RunRecord, duration
from reports.environment import describe_environment
from reports.experiments.catalogue import Experiment, Samples
from reports.experiments.distances import DISTANCES, distance_table, draw_distances, read_distances
from reports.experiments.page import FiledRun, experiment_page, filed_runs
from reports.experiments.pictures import draw_nearest_faces, draw_pictures
from reports.experiments.row_figures import RunResults, rows_of_run, write_sheets
from reports.experiments.rows import RunFacts, write_rows
from reports.figures import png_bytes

UNKNOWN = "not known: such stages, or how many classes and folds its data have, are on no record"
LONGEST_NAME = 120  # characters of a folder that a run is filed in
_WRITTEN_BY_RUNS = ("params.yaml", "metrics.json", "plots/", "docs/results/")  # files and folders that are no code


@dataclass(frozen=True)
class Wanted:
    """A run of an experiment, as it was asked for.

    Attributes:
        experiment: Which.
        scale: The budget.
        dataset: An option of conf/dataset; None: the embedded stand-in.
        settings: Further words of `s2l profile`, which win.
        note: A sentence on how the run is made.
    """

    experiment: Experiment
    scale: str
    dataset: str | None = None
    settings: tuple[str, ...] = ()
    note: str = ""

    @property
    def overrides(self) -> list[str]:
        """The words of `s2l profile` that it runs with.

        Raises:
            InputError: A further word chooses the experiment, the scale or the data set.
        """
        fixed = {"experiment": "its name", "scale": "--scale", "dataset": "--dataset"}
        problems = [
            Problem(word, "would run something else than the rows say", f"use {fixed[key]}")
            for word in self.settings
            if (key := word.lstrip("+~").partition("=")[0]) in fixed
        ]
        if problems:
            raise InputError(problems)
        words = [f"experiment={self.experiment.name}", f"scale={self.scale}"]
        data = self.experiment.data
        if self.dataset is not None and self.dataset != data.stand_in:
            words.append(f"dataset={self.dataset}")
            if self.dataset == data.own:
                given = {word.partition("=")[0] for word in self.settings}
                words += [word for word in data.add if word.partition("=")[0] not in given]
        return [*words, *self.settings]

    @property
    def command(self) -> str:
        """The command that makes the run again."""
        words = ["s2l", "experiments", "run", self.experiment.name, "--scale", self.scale]
        words += ["--dataset", self.dataset] if self.dataset else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        return shlex.join(words)

    @property
    def folder(self) -> str:
        """The name of the folder that it is filed in: data, scale, and what else was set but where data lie.

        So a run with other settings does not take the place of the one without.
        """
        changes = [word for word in self.settings if not word.partition("=")[0].endswith(".root")]
        words = [f"{self.dataset or self.experiment.data.stand_in}-{self.scale}", *changes]
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(words)).strip("_")
        if len(name) <= LONGEST_NAME and name.isascii() and all(word.isascii() for word in words):
            return name
        # What is cut off, or has no letter that a folder's name may have, can be what differs.
        digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
        return f"{name[: LONGEST_NAME - 9]}-{digest}"

    def check(self, project: Path) -> None:
        """Refuses a run whose data set is not there or has other settings, before anything is written.

        Raises:
            InputError: The profile can't be composed, or the data set can't be opened.
        """
        values = yaml.safe_load(compose_profile(project, self.overrides))
        open_data_set(DatasetSettings.model_validate(values["dataset"]), project)


def _bytes_of(artifacts: Artifacts, record: RunRecord) -> int:
    """What the stages and the report wrote; what other runs left below artifacts/ does not count."""
    stages = [stage_and_name(stage) for stage in (*(stage.name for stage in record.stages), *record.unmeasured)]
    paths = [path for stage, name in stages for path in stage_results(artifacts, stage, name)]
    return sum(map(size_of, [*paths, artifacts.report, artifacts.plots]))


def _tree(record: RunRecord) -> str:
    """Whether code differed from the commit in any stage; params.yaml follows from the command, as the row keeps it."""
    found = [record.code.changed, *(stage.code.changed for stage in record.stages)]
    if record.unmeasured or any(changed is None for changed in found):
        return "unknown"
    differing = [file for changed in found for file in changed or () if not file.startswith(_WRITTEN_BY_RUNS)]
    return "changed" if differing else "unchanged"


def file_experiment(root: Path, wanted: Wanted, results: Path) -> Path:
    """Files the rows of a finished run, its report's text, and the experiment's page.

    Args:
        root: The workspace of the run.
        wanted: What was run there.
        results: The folder of all results, such as docs/results.

    Returns:
        The folder of this run's rows.

    Raises:
        InputError: The run has no report, none of its results is a row of this experiment, or the folder contains
            something else.
    """
    experiment = wanted.experiment
    parameters = load_parameters(root / "params.yaml")
    artifacts = Artifacts(root)
    device = name_of(choose_device(parameters.runtime.device))
    metrics = read_json_object(artifacts.report / "metrics.json")
    run, environment = metrics.get("run", {}), describe_environment(device)
    record = read_run_record(artifacts, list(parameters.translators), list(parameters.arms.all()))
    facts = RunFacts(
        dataset=wanted.dataset or experiment.data.stand_in,
        data=_describe(parameters.dataset),
        scale=wanted.scale,
        command=without_root(wanted.command),
        seed=parameters.seed,
        classifier_seeds=tuple(parameters.seeds),
        device=device,
        machine="; ".join(record.machines) or environment["machine"],
        packages=environment["packages"],
        commit=run.get("commit", "unknown"),
        tree=_tree(record),
        seconds=run.get("seconds"),
        peak_memory_mib=run.get("peak_memory_mib"),
        disk_mib=round(_bytes_of(artifacts, record) / MEBIBYTE, 1),
        note=wanted.note,
    )
    arms = parameters.arms.all()
    refusals = {arm: refusal_in(artifacts.arm(arm)) for arm in arms}
    refusals |= {translator: refusal_in(artifacts.selected(translator)) for translator in parameters.translators}
    refused = {name: str(refusal["reason"]) for name, refusal in refusals.items() if refusal is not None}
    distances = {
        translator: fold_directory(artifacts.translator(translator), 0) / DISTANCES_FILE
        for translator in parameters.translators
    }
    found = RunResults(
        predictions={arm: artifacts.arm(arm) / "predictions.parquet" for arm in arms if arm not in refused},
        scores={
            translator: artifacts.scores(translator) / "scores.json"
            for translator in parameters.translators
            if translator not in refused
        },
        refused=refused,
        arms={arm: settings.model_dump(mode="json") for arm, settings in arms.items()},
        settings=parameters.report,
        distances=distances,
    )
    rows = rows_of_run(experiment, found, facts)
    if not rows:
        why = f"has no row of {experiment.paper}, {experiment.shows}"
        raise InputError(Problem(str(root / "params.yaml"), why, f"run `{wanted.command}`"))
    destination = results / experiment.name / wanted.folder
    curves = read_distances(distances)
    titles = {row: entry.title for row, entry in experiment.rows.items()}
    shown = experiment.samples
    gallery = next((row.gallery for row in rows if shown and row.row == shown.translator), None)

    def add(folder: Path) -> None:
        write_rows(rows, folder)
        write_sheets(rows, found, folder)
        if shown and gallery is not None:  # there is one only of faces that may be published
            for sheet in _samples(artifacts.translator(shown.translator), shown):
                shutil.copyfile(sheet, folder / f"samples-{sheet.stem}.png")
        if curves:
            atomic_write_bytes(folder / "distances.png", png_bytes(draw_distances(curves, titles)))
            table = distance_table(curves).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            atomic_write_text(folder / DISTANCES, table)
        for name, figure in _pictures(experiment, artifacts, [row.row for row in rows if row.gallery is not None]):
            atomic_write_bytes(folder / name, png_bytes(figure))

    keep_results(root, destination, wanted.note, more=add)
    write_page(experiment, results)
    return destination


def _pictures(experiment: Experiment, artifacts: Artifacts, translators: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """File names and figures: what is nearest to synthetic faces, and what the networks look like from the inside."""
    for translator in translators:
        selected = artifacts.selected(translator)
        nearest = draw_nearest_faces(selected, artifacts.faces, artifacts.folds) if selected.is_dir() else None
        if nearest is not None:
            yield f"nearest-{translator}.png", nearest
    if experiment.inside:
        yield from draw_pictures(
            {translator: artifacts.translator(translator) for translator in translators},
            faces_dir=artifacts.faces,
            folds_path=artifacts.folds,
            parsing_dir=artifacts.parsing,
        )


def _describe(dataset: DatasetSettings) -> str:
    """The data set in words, with what was taken of it where that is not all."""
    words = [describe_data(dataset.source, dataset.settings)]
    if dataset.attribute != "expression":
        words.append(f"classes: {dataset.attribute}")
    if dataset.classes is not None:
        words.append(f"of the classes {', '.join(dataset.classes)}")
    return ", ".join(words)


def _samples(translator: Path, shown: Samples) -> list[Path]:
    """The sample sheets of a translator's adversarial training: of many those nearest to where the paper shows them.

    Sheets of other phases, such as an encoder's that learns from a finished generator, show another course.

    Args:
        translator: Its folder.
        shown: Where the paper shows them.
    """
    folder = fold_directory(translator, 0)
    sheets = {int(sheet.stem.removeprefix("step-")): sheet for sheet in sorted(folder.glob("samples/step-*.png"))}
    trained = load_translator(folder / "weights.safetensors")
    assert isinstance(trained, LearnedTranslator), "no other has a course of training"
    phases = schedule_phases(trained, read_json_object(folder / "training.json")["steps"])
    adversarial = [phase for phase in phases if phase.trains_name(DISCRIMINATOR)]
    start, stop = adversarial[0].start, adversarial[-1].stop
    steps = [step for step in sheets if start < step <= stop]
    if len(steps) > len(shown.epochs):
        wanted = [start + epoch / shown.of * (stop - start) for epoch in shown.epochs]
        steps = sorted({min(steps, key=lambda step: abs(step - place)) for place in wanted})
    return [sheets[step] for step in steps]


def expected_times(
    root: Path,
    experiments: Mapping[str, Experiment],
    scales: Mapping[str, Sequence[str]],
    results: Path,
    runs: Mapping[str, Sequence[FiledRun]],
) -> dict[str, dict[str, str]]:
    """How long experiments would take on embedded faces, in words, by experiment and scale.

    Args:
        root: A clone of the project, whose own records are used too.
        experiments: By name.
        scales: Budgets, by experiment.
        results: The folder of all results: what stages cost is filed there.
        runs: What is filed there, by experiment: it tells how many classes their data have.

    Raises:
        InputError: A profile can't be composed.
    """
    own = read_values(root / "params.yaml") if (root / "params.yaml").is_file() else {}
    records = [*filed_costs(results), *read_all_records(root, list(stages_of(own)))]
    machine, words = this_machine(), {name: dict.fromkeys(wanted, UNKNOWN) for name, wanted in scales.items()}
    wanted = [(name, scale) for name in words for scale in words[name] if records]
    classes = {name: _classes_of(experiments[name], runs[name]) for name in words}
    for name, scale in track(wanted, desc="times", unit="runs", leave=False):
        values = yaml.safe_load(compose_profile(root, Wanted(experiments[name], scale).overrides))
        found = run_time(values, records, machine=machine, cores=processors(), classes=classes[name])
        words[name][scale] = _in_words(found, machine)
    return words


def _classes_of(experiment: Experiment, runs: Sequence[FiledRun]) -> int | None:
    """How many classes a filed run on embedded faces has; None where there is none that says so."""
    counts = [
        len(row.classes)
        for run in runs
        for row in run.rows.values()
        if row.classes and run.facts.dataset == experiment.data.stand_in
    ]
    return counts[0] if counts else None


def _in_words(found: RunTime, machine: str) -> str:
    without = f"no record of {shorten(', '.join(found.unknown), width=90, placeholder=' ...')}"
    if not found.known:
        return UNKNOWN
    if found.known < len(found.unknown):
        return f"not known: {len(found.unknown)} of {found.known + len(found.unknown)} stages are on no record"
    others = [name for name in found.machines if name != machine]
    by = f", by records of {'; '.join(others)}" if others else ""
    least = "at least " if found.unknown else "about "
    return f"{least}{duration(found.seconds)}, the sum of all stages{by}" + (f"; {without}" if found.unknown else "")


def run_smoke(wanted: Wanted, project: Path, workspace: Path, results: Path) -> str:
    """Runs an experiment at the smoke scale in a folder of its own, and files it.

    The stages run in this process, without DVC: they take seconds, and to start each would take longer than its work.
    Nothing of the project's folder is touched but `results`.

    Args:
        wanted: What to run.
        project: A clone of the project.
        workspace: A folder to make, whose parent the caller removes.
        results: As of `file_experiment`.

    Returns:
        What failed; empty if nothing did.
    """
    logging.getLogger("pipeline.stages.report").setLevel(logging.ERROR)  # it names a page that is gone at once
    workspace.mkdir()
    try:
        run_whole(workspace, project, wanted.overrides)
        file_experiment(workspace, wanted, results)
    except Exception as error:  # the others are to run all the same
        why = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return f"{wanted.experiment.name}: {why}"
    return ""


def write_page(experiment: Experiment, results: Path) -> Path:
    """Writes an experiment's page anew from all its filed rows; what is damaged is named on it."""
    page = results / experiment.name / "README.md"
    run_it = f"s2l experiments run {experiment.name} --scale cpu"
    runs, problems = filed_runs(experiment, page.parent)
    atomic_write_text(page, experiment_page(experiment, runs, problems, run_it=run_it))
    return page
