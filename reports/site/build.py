"""Writes the site: plain HTML with sorting tables, charts and galleries, which opens from disk and fetches nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from augment.core.errors import Problem
from augment.core.files import atomic_write_text
from augment.core.replacing import folder_in_place
from reports.experiments.catalogue import Experiment
from reports.experiments.page import (
    OF_DATA_SETS,
    RECOGNIZED,
    FiledRun,
    all_filed,
    cost_of,
    data_set_recognition,
    experiments_table,
    picture_title,
    recognition_differences,
    rows_table,
)
from reports.experiments.rows import FOLDER, SHEETS, ResultRow
from reports.site.charts import CONFUSION, charts_of
from reports.site.downloads import tables_of

TEMPLATES = Path(__file__).parent / "templates"
STYLE = Path(__file__).parent.parent / "templates" / "style.css"
PICTURES = ("nearest-", "hidden_units-", "parsing.", "losses-", "samples-")  # of which there is no chart and no sheet
ASSETS = ("site.css", "site.js")
SCRIPT = "assets/vega.js"  # which every site has, and no other folder of the tool


def build_site(experiments: Mapping[str, Experiment], results: Path, out: Path) -> tuple[Path, list[Problem]]:
    """Writes the site of all experiments, run or not.

    Args:
        experiments: By name.
        results: Where their rows were filed.
        out: The folder to write, which is replaced. It contains `index.html`, a page for each experiment, `rows/` with
            a copy of every row as JSON, of its tables as CSV and of every picture, and `assets/`.

    Returns:
        The index, and what is wrong with runs that it therefore lacks.

    Raises:
        InputError: `out` contains files that this tool did not write.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    environment.filters["script_json"] = _script_json
    with folder_in_place(out) as folder:
        _write_assets(folder)
        filed, lacking = all_filed(experiments, results)
        index = experiments_table(experiments, filed).to_dict("records")
        for row in index:
            row["share"] = _share_as_published(experiments[row["experiment"]], filed[row["experiment"]][0])
        page = environment.get_template("index.html.j2").render(experiments=index)
        atomic_write_text(folder / "index.html", page)
        for name, experiment in experiments.items():
            runs, problems = filed[name]
            shown = [_run(experiment, run, folder) for run in runs]
            page = environment.get_template("experiment.html.j2").render(
                experiment=experiment,
                runs=shown,
                problems=[str(problem).replace(f"{results}/", "") for problem in problems],
                charts={chart["key"]: chart["spec"] for run in shown for chart in run["charts"]},
                compared=_compared(experiment, runs),
                empty=None if runs else _table(rows_table(experiment, None)),
                others=experiment.unmatched().to_dict("records"),
                recognized=RECOGNIZED,
                by_data_set=OF_DATA_SETS,
            )
            atomic_write_text(folder / f"{name}.html", page)
    return out / "index.html", lacking


def _write_assets(folder: Path) -> None:
    import vl_convert  # it holds Vega, Vega-Lite and Vega-Embed, and is slow to load

    assets = folder / "assets"
    assets.mkdir(parents=True)
    for name in ASSETS:
        shutil.copyfile(TEMPLATES / name, assets / name)
    shutil.copyfile(STYLE, assets / STYLE.name)
    # A classic script that sets one global: a module can't be loaded from file://.
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    atomic_write_text(folder / SCRIPT, bundle)


def _run(experiment: Experiment, run: FiledRun, folder: Path) -> dict[str, Any]:
    """What a page says of one run; its rows and sheets are copied beside the page."""
    place = Path("rows") / experiment.name / run.name
    shutil.copytree(run.folder / FOLDER, folder / place)
    downloads = tables_of(experiment, run)
    for name, values in downloads.items():
        atomic_write_text(folder / place / f"{name}.csv", values.to_csv(index=False, lineterminator="\n"))
    differences, of_data_sets = recognition_differences(experiment, run), data_set_recognition(run)
    sheets = []
    for name, row in run.rows.items():
        if row.gallery is not None:
            file = run.folder / SHEETS / row.gallery.file
            (folder / place / SHEETS).mkdir(exist_ok=True)
            shutil.copyfile(file, folder / place / SHEETS / row.gallery.file)
            sheet = row.gallery.model_dump() | {"file": quote(str(place / SHEETS / row.gallery.file))}
            sheets.append({"row": name, "title": row.title, **sheet})
    pictures = []
    for name in run.pictures:
        if name.startswith(PICTURES):
            (folder / place / "pictures").mkdir(exist_ok=True)
            shutil.copyfile(run.folder / name, folder / place / "pictures" / name)
            pictures.append({"file": quote(f"{place}/pictures/{name}"), "title": picture_title(name, experiment)})
    return {
        "name": run.name,
        "facts": run.facts,
        "table": _table(rows_table(experiment, run)),
        "downloads": [{"file": quote(f"{place}/{name}.csv"), "title": name.replace("_", " ")} for name in downloads],
        "cost": cost_of(run),
        "outcomes": run.outcome_sentences(experiment),
        "recognized": _table(differences) if len(differences) else None,
        "of_data_sets": _table(of_data_sets) if len(of_data_sets) else None,
        "charts": [
            {"key": f"{run.name}-{number}", "title": spec["title"], "small": _is_confusion(spec), "spec": spec}
            for number, spec in enumerate(charts_of(experiment, run))
        ],
        "sheets": sheets,
        "pictures": pictures,
        "confusions": [_confusion_table(row) for row in run.rows.values() if row.confusion],
        "rows": [{"file": quote(f"{place}/{row.file_name}"), "title": row.title} for row in run.rows.values()],
    }


def _is_confusion(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("usermeta", {}).get("kind") == CONFUSION)


def _confusion_table(row: ResultRow) -> dict[str, Any]:
    """A confusion matrix as a table: of each wanted class, how many per cent are recognized as which, and how many."""
    shown = []
    for wanted, counts in zip(row.classes, row.confusion or (), strict=True):
        total = sum(counts)
        shown.append([wanted, *(f"{100 * count / max(total, 1):.1f}" for count in counts), f"{total:,}"])
    return {"title": row.title, "columns": ["wanted", *row.classes, "faces"], "rows": shown}


def _share_as_published(experiment: Experiment, runs: Sequence[FiledRun]) -> float | None:
    """The least share of what came out as published, over runs and measures; None where none can say."""
    shares = [outcome.share for run in runs for outcome in run.outcomes(experiment).values()]
    return min(shares, default=None)


def _compared(experiment: Experiment, runs: list[FiledRun]) -> dict[str, dict[str, Any]]:
    """Run -> its data, how it was made, and the figures by title of a row, for the comparison of two runs."""
    return {
        run.name: {
            "data": run.facts.data,
            "about": f"{run.facts.data}; scale {run.facts.scale}; run {run.facts.seed}, classifiers "
            f"{', '.join(map(str, run.facts.classifier_seeds))}; {run.facts.machine}; code {run.facts.commit[:10]}",
            "rows": {row.title: row.figures for name, row in run.rows.items() if name in experiment.rows},
        }
        for run in runs
    }


def _table(table: Any) -> dict[str, Any]:
    return {"columns": list(table.columns), "rows": table.to_numpy(dtype=object).tolist()}


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: no `<` that could end it, and no value that JSON lacks."""
    text = json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)
