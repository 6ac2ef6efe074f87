"""Runs the papers' experiments, and files what they show."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.core.json_files import read_json_object
from augment.training.distances import DISTANCES_FILE
from pipeline.core.devices import choose_device, name_of
from pipeline.core.workspace import Artifacts, fold_directory
from pipeline.parameters.whole import load_parameters
from pipeline.results import describe_data, keep_results, without_root
from pipeline.stages.refusals import refusal_in
from pipeline.whole_run import run_whole
from reports.environment import describe_environment
from reports.experiments.catalogue import Experiment, find_experiment
from reports.experiments.distances import DISTANCES, distance_table, draw_distances, read_distances
from reports.experiments.page import experiment_page, filed_runs
from reports.experiments.row_figures import RunResults, rows_of_run, write_sheets
from reports.experiments.rows import RunFacts, write_rows
from reports.figures import png_bytes

SCALES = ("smoke", "cpu", "long", "gpu", "paper")


def overrides_of(
    experiment: Experiment, *, scale: str, dataset: str | None = None, others: Sequence[str] = ()
) -> list[str]:
    """The words of `s2l profile` that an experiment runs with.

    Args:
        experiment: Which.
        scale: The budget.
        dataset: An option of conf/dataset; None: the embedded stand-in.
        others: Further words, which win.
    """
    words = [f"experiment={experiment.name}", f"scale={scale}"]
    if dataset is not None and dataset != experiment.data.stand_in:
        words.append(f"dataset={dataset}")
        if dataset == experiment.data.own:
            given = {word.partition("=")[0] for word in others}
            words += [word for word in experiment.data.add if word.partition("=")[0] not in given]
    return [*words, *others]


def run_name(experiment: Experiment, *, scale: str, dataset: str | None = None) -> str:
    """The name of the folder that a run is filed in: data and scale."""
    return f"{dataset or experiment.data.stand_in}-{scale}"


def file_experiment(
    root: Path, name: str, *, scale: str, dataset: str | None, command: str, results: Path, note: str = ""
) -> Path:
    """Files the rows of a finished run, its report's text, and the experiment's page.

    Args:
        root: The workspace of the run.
        name: Of the experiment.
        scale: Of the run.
        dataset: Of the run; None: the stand-in.
        command: That makes the run again.
        results: The folder of all results, such as docs/results.
        note: A sentence on how the run was made.

    Returns:
        The folder of this run's rows.

    Raises:
        InputError: The run has no report, none of its results is a row of this experiment, or the folder contains
            something else.
    """
    experiment = find_experiment(name)
    parameters = load_parameters(root / "params.yaml")
    artifacts = Artifacts(root)
    device = name_of(choose_device(parameters.runtime.device))
    metrics = read_json_object(artifacts.report / "metrics.json")
    run, environment = metrics.get("run", {}), describe_environment(device)
    facts = RunFacts(
        dataset=dataset or experiment.data.stand_in,
        data=describe_data(parameters.dataset.source, parameters.dataset.settings),
        scale=scale,
        command=without_root(command),
        seed=parameters.seed,
        classifier_seeds=tuple(parameters.seeds),
        device=device,
        machine=environment["machine"],
        packages=environment["packages"],
        commit=run.get("commit", "unknown"),
        tree=run.get("tree", "unknown"),
        seconds=run.get("seconds"),
        peak_memory_mib=run.get("peak_memory_mib"),
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
        raise InputError(Problem(str(root / "params.yaml"), why, f"run `s2l experiments run {name}`"))
    destination = results / name / run_name(experiment, scale=scale, dataset=dataset)
    curves = read_distances(distances)

    def add(folder: Path) -> None:
        write_rows(rows, folder)
        write_sheets(rows, found, folder)
        if curves:
            atomic_write_bytes(folder / "distances.png", png_bytes(draw_distances(curves)))
            table = distance_table(curves).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            atomic_write_text(folder / DISTANCES, table)

    keep_results(root, destination, note, more=add)
    write_page(experiment, results)
    return destination


def run_smoke(
    name: str, *, project: Path, dataset: str | None, others: Sequence[str], command: str, results: Path
) -> str:
    """Runs an experiment at the smoke scale in a folder of its own, and files it.

    The stages run in this process, without DVC: they take seconds, and to start each would take longer than its work.
    Nothing of the project's folder is touched but `results`.

    Returns:
        What failed; empty if nothing did.
    """
    experiment = find_experiment(name)
    try:
        with tempfile.TemporaryDirectory(prefix=f"s2l-{name}-") as folder:
            run_whole(Path(folder), project, overrides_of(experiment, scale="smoke", dataset=dataset, others=others))
            file_experiment(Path(folder), name, scale="smoke", dataset=dataset, command=command, results=results)
    except Exception as error:  # the others are to run all the same
        return f"{name}: {type(error).__name__}: {error}"
    return ""


def write_page(experiment: Experiment, results: Path) -> Path:
    """Writes an experiment's page anew from all its filed rows.

    Raises:
        InputError: A row is damaged.
    """
    page = results / experiment.name / "README.md"
    run_it = f"s2l experiments run {experiment.name} --scale cpu"
    atomic_write_text(page, experiment_page(experiment, filed_runs(experiment, page.parent), run_it=run_it))
    return page
