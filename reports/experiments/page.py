"""An experiment as a page of text: every run that was filed, with the published figures in columns of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from augment.core.errors import InputError, Problem
from augment.core.seals import seal_problems
from reports.cost import duration
from reports.experiments.catalogue import SMALLER_IS_BETTER, WITH_OWN_WEIGHTS, Experiment
from reports.experiments.order import Order, compare_order
from reports.experiments.rows import FIX, FOLDER, Difference, ResultRow, RunFacts, read_rows
from reports.experiments.statements import Statements, compare_statements
from reports.tables import format_p_value, markdown_table, signed

PICTURES = (
    *("distances.png", "accuracy_against_n.png", "gallery-*.png", "nearest-*.png", "parsing.png"),
    *("hidden_units-*.png", "losses-*.png", "samples-*.png"),
)
TITLES = {
    "nearest": "Synthetic faces of {}, their sources, and the training faces that are nearest, with the correlation",
    "hidden_units": "Hidden units of the encoder of {}: the faces that drive each most, and where",
    "parsing": "What the parsing network finds in test faces",
    "losses": "Losses in the training of {}",
    "samples": "Sample sheet after {} steps of training",
    "gallery": "Test faces translated by {}",
}
RECOGNIZED = (
    "How much more of a row's pictures one judge recognizes than of the best published row's, with an interval over "
    "people; what another judge, or another training of the translators, would give is not in these intervals"
)
OF_DATA_SETS = (
    "Recognition by data set, in per cent: of whose faces, and made to be of which; the judge has learned both"
)
BASELINES = {
    "real": "real faces alone",
    "real_double_steps": "real faces alone, twice the steps",
}  # where no row is one
INTERVAL = "learned from: difference [95 % interval]"


@dataclass(frozen=True)
class FiledRun:
    """One run of an experiment that was filed.

    Attributes:
        name: Its folder's name.
        rows: By name; never empty.
        folder: Where it was filed.
        pictures: Names of its pictures that the page shows.
    """

    name: str
    rows: dict[str, ResultRow]
    folder: Path
    pictures: tuple[str, ...] = ()

    @property
    def facts(self) -> RunFacts:
        """How it was made."""
        return next(iter(self.rows.values())).run

    def outcomes(self, experiment: Experiment) -> dict[str, Order | Statements]:
        """By each measure that can say, whether what is published came out: the order, and statements beside it."""
        against = experiment.claim.against if experiment.claim else None
        found: dict[str, Order | Statements | None] = {}
        for measure in experiment.measures:
            groups = experiment.published_groups(measure)
            values = {name: row.figures[measure] for name, row in self.rows.items() if measure in row.figures}
            found[measure] = compare_order(values, groups, smaller=measure in SMALLER_IS_BETTER)
            if against is not None:
                found[f"{measure}, statements" if groups else measure] = compare_statements(self.rows, against, measure)
        return {measure: outcome for measure, outcome in found.items() if outcome is not None}

    def outcome_sentences(self, experiment: Experiment) -> list[str]:
        """The same in words."""
        titles = {name: row.title for name, row in experiment.rows.items()}
        return [
            f"{measure[:1].upper()}{measure[1:]}: {outcome.describe(titles)}"
            for measure, outcome in self.outcomes(experiment).items()
        ]


def filed_runs(experiment: Experiment, folder: Path) -> tuple[list[FiledRun], list[Problem]]:
    """The runs of one experiment that were filed below a folder, by name; rows in the experiment's order.

    Returns:
        The runs, and what is wrong with others: a row can't be read, or a file is not as it was filed (by its seal).
    """
    runs: list[FiledRun] = []
    problems: list[Problem] = []
    for place in sorted({rows.parent for rows in folder.glob(f"*/{FOLDER}")}):
        try:
            if changed := seal_problems(place, FIX):
                raise InputError(changed)
            found = read_rows(place)
        except InputError as error:
            problems += error.problems
            continue
        if rows := {name: found[name] for name in [*experiment.rows, *found] if name in found}:
            names = sorted(file.name for pattern in PICTURES for file in place.glob(pattern))
            runs.append(FiledRun(place.name, rows, place, tuple(names)))
    return runs, problems


def all_filed(
    experiments: Mapping[str, Experiment], results: Path
) -> tuple[dict[str, tuple[list[FiledRun], list[Problem]]], list[Problem]]:
    """What was filed of each experiment, as `filed_runs` gives it, and what is wrong with any of it."""
    filed = {name: filed_runs(experiment, results / name) for name, experiment in experiments.items()}
    return filed, [problem for _, problems in filed.values() for problem in problems]


def experiment_page(
    experiment: Experiment, runs: Iterable[FiledRun], problems: Iterable[Problem] = (), *, run_it: str
) -> str:
    """The page, in Markdown.

    Args:
        experiment: What it shows.
        runs: Those that were filed.
        problems: What is wrong with others.
        run_it: The command that runs it.
    """
    runs = list(runs)
    lines = [
        f"# {experiment.paper}, {experiment.shows}",
        "",
        experiment.question,
        "",
        f"`{run_it}` runs it and files its rows here. Published figures are of",
        "the data that their column names, ours of those that are named above the table.",
        "",
    ]
    if experiment.claim:
        lines += [f"The paper: {experiment.claim.text}.", ""]
    for problem in problems:
        lines += [f"Left out: {problem}", ""]
    if not runs:
        lines += ["It was not run yet.", "", markdown_table(rows_table(experiment, None)), ""]
    for run in runs:
        lines += [f"## {run.name}", "", *_facts(run), "", markdown_table(rows_table(experiment, run)), ""]
        for sentence in run.outcome_sentences(experiment):
            lines += [sentence, ""]
        if len(differences := recognition_differences(experiment, run)):
            lines += [f"{RECOGNIZED}:", "", markdown_table(differences), ""]
        if len(of_data_sets := data_set_recognition(run)):
            lines += [f"{OF_DATA_SETS}:", "", markdown_table(of_data_sets), ""]
        for picture in run.pictures:
            lines += [f"![{picture_title(picture, experiment)}]({run.name}/{picture})", ""]
    others = experiment.unmatched()
    if len(others):
        lines += ["## Published rows that nothing here reproduces", "", markdown_table(others), ""]
    return "\n".join(lines).rstrip() + "\n"


def title_of(experiment: Experiment, arm: str) -> str:
    """What to call an arm that rows are compared with, which need not be a row itself."""
    return experiment.rows[arm].title if arm in experiment.rows else BASELINES.get(arm, arm)


def picture_title(file: str, experiment: Experiment) -> str:
    """What a picture of a run shows, by its file's name."""
    kind, _, of = file.removesuffix(".png").partition("-")
    row = experiment.rows.get(of)
    named = row.title if row else of.removeprefix("step-").lstrip("0")
    return TITLES.get(kind, kind.replace("_", " ").capitalize()).format(named)


def experiments_table(
    experiments: Mapping[str, Experiment], filed: Mapping[str, tuple[Sequence[FiledRun], Sequence[Problem]]]
) -> pd.DataFrame:
    """All experiments: paper, data, and for what was filed the time and whether what is published came out.

    Args:
        experiments: By name.
        filed: Of `filed_runs`, by the experiment's name.
    """
    rows = []
    for name, experiment in experiments.items():
        runs, problems = filed[name]
        none = "filed, but can't be shown" if problems else "none"
        rows.append(
            {
                "experiment": name,
                "paper": f"{experiment.paper}, {experiment.shows}",
                "stand_in": experiment.data.stand_in,
                "own_data": experiment.data.own or "",
                "runs": "; ".join(f"{run.name} ({_time(run)})" for run in runs) or none,
                "outcomes": [said for run in runs if (said := _outcomes(experiment, run))],
            }
        )
    return pd.DataFrame(rows)


def _outcomes(experiment: Experiment, run: FiledRun) -> str:
    """Whether what is published came out in a run, by each measure that can say; empty where none can."""
    said = [
        f"{measure}: {'yes' if outcome.came_out else 'no'}, {outcome.summary}"
        for measure, outcome in run.outcomes(experiment).items()
    ]
    return f"{run.name}: {', '.join(said)}" if said else ""


def _time(run: FiledRun) -> str:
    return "time unknown" if run.facts.seconds is None else duration(run.facts.seconds)


def cost_of(run: FiledRun) -> str:
    """What a run took, in words."""
    peak = run.facts.peak_memory_mib
    memory = "" if peak is None else f", at most {peak:,.0f} MiB in one process"
    disk = "" if run.facts.disk_mib is None else f", {run.facts.disk_mib:,.0f} MiB on disk"
    return f"{_time(run)}, the sum of all stages{memory}{disk}"


def _facts(run: FiledRun) -> list[str]:
    facts = run.facts
    code = f"{facts.commit}{'' if facts.tree == 'unchanged' else f', tree {facts.tree}'}"
    return [
        f"- data: {facts.data}",
        f"- command: `{facts.command}`",
        f"- seeds: run {facts.seed}, classifiers {', '.join(map(str, facts.classifier_seeds))}",
        f"- machine: {facts.device}, {facts.machine}",
        f"- code: {code}",
        f"- time: {cost_of(run)}",
        *([f"- note: {facts.note}"] if facts.note else []),
        f"- details: [{run.name}]({run.name}/README.md)",
        *(
            ["- a run of this scale shows that everything works; its figures say nothing"]
            if facts.scale == "smoke"
            else []
        ),
    ]


def rows_table(experiment: Experiment, run: FiledRun | None) -> pd.DataFrame:
    """One row each: ours, its difference, and the published figure; an en dash where a row was not run."""
    rows = run.rows if run else {}
    measures = shown_measures(experiment, run)
    datasets = experiment.published_data()
    shown = []
    for name, row in experiment.rows.items():
        ours = rows.get(name)
        cells: dict[str, object] = {"row": row.title}
        for measure in measures:
            cells[f"ours: {measure}"] = _ours(ours, measure)
            published = experiment.published_values(measure)
            if published:
                value = published.get(name)
                cells[f"published ({datasets}): {measure}"] = "–" if value is None else f"{value:.2f}"
        if any(other.difference for other in rows.values()):
            cells |= _difference_cells(ours, experiment)
        if any(other.refused for other in rows.values()):
            cells["refused"] = (ours.refused if ours else None) or ""
        shown.append(cells)
    return pd.DataFrame(shown)


def shown_measures(experiment: Experiment, run: FiledRun | None) -> list[str]:
    """The measures that a run's table has: those that some row of it has a figure of, ours or a published one.

    Args:
        experiment: What it shows.
        run: None: it was not run, and has all that need no weights of somebody else's.
    """
    if run is None:
        there = set(experiment.measures) - set(WITH_OWN_WEIGHTS)
    else:
        there = {measure for row in run.rows.values() for measure in row.figures}
    return [measure for measure in experiment.measures if measure in there or experiment.published_values(measure)]


def _ours(row: ResultRow | None, measure: str) -> str:
    if row is None or measure not in row.figures:
        return "–"
    digits = 2 if measure.endswith(SMALLER_IS_BETTER) else 1
    bounds = [f"{bound:.{digits}f}" for bound in row.intervals.get(measure, ())]
    return f"{row.figures[measure]:.{digits}f}" + (f" [{', '.join(bounds)}]" if bounds else "")


def recognition_differences(experiment: Experiment, run: FiledRun) -> pd.DataFrame:
    """How much more of each row's pictures are recognized than of the best published row's; empty without any."""
    shown = []
    for row in run.rows.values():
        for measure, difference in row.recognized.items():
            cells = _cells(difference, experiment, "difference [95 % interval]")
            shown.append({"row": row.title, "measure": measure, **cells})
    return pd.DataFrame(shown)


def data_set_recognition(run: FiledRun) -> pd.DataFrame:
    """Each row's recognition by the faces' own data set and the wanted one; empty where no row has a choice."""
    shown = [
        {
            "row": row.title,
            "faces of": found.source,
            "made as": found.target,
            "n": found.n,
            "recognized": found.accuracy,
        }
        for row in run.rows.values()
        for found in row.data_sets
    ]
    table = pd.DataFrame(shown)
    return table.assign(recognized=[f"{value:.1f}" for value in table["recognized"]]) if shown else table


def _difference_cells(row: ResultRow | None, experiment: Experiment) -> dict[str, str]:
    difference = row.difference if row else None
    if difference is None:
        return dict.fromkeys((INTERVAL, "from", "p (Holm)", "p (McNemar, seed by seed)", "verdict"), "–")
    return _cells(difference, experiment, INTERVAL)


def _cells(difference: Difference, experiment: Experiment, title: str) -> dict[str, str]:
    bounds = f"[{signed(difference.low)}, {signed(difference.high)}]"
    return {
        title: f"{signed(difference.value)} {bounds} points of {difference.metric}",
        "from": title_of(experiment, difference.against),
        "p (Holm)": "–" if difference.p_holm is None else format_p_value(difference.p_holm),
        "p (McNemar, seed by seed)": ", ".join(map(format_p_value, difference.p_mcnemar)) or "–",
        "verdict": difference.verdict,
    }
