"""What a run's report holds, as artifacts of Prefect: the headline, the arms, confusion matrices and pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from pipeline.core.workspace import Artifacts
from pipeline.flow.headline import arms_table, headline_markdown

_WITHHELD = "do-not-publish"  # in the names of figures of faces whose licence forbids it (reports.build)


def publish_report(root: Path, metrics: Mapping[str, Any], synthetic: list[str], *, pictures: bool) -> None:
    """Makes the artifacts of a finished run.

    Args:
        root: The workspace.
        metrics: What metrics.json says.
        synthetic: Names of the arms of synthetic faces.
        pictures: Whether the figures too, megabytes that the server keeps: not where a run had nothing to do.
    """
    report = Artifacts(root).report
    arms = metrics.get("arms", {})
    create_table_artifact(arms_table(arms), key="arms")
    create_markdown_artifact(headline_markdown(metrics, synthetic, report / "index.html"), key="headline")
    for file in sorted((root / "plots" / "confusion").glob("*.csv")):
        create_table_artifact(
            confusion_table(pd.read_csv(file, dtype=str, keep_default_na=False)),  # a class may be called NA
            key=_key(f"confusion-{file.stem}"),
            description=f"{file.stem}: test faces of each class, by the class that the classifiers give them",
        )
    for file in shown_figures(report) if pictures else []:
        # In the artifact itself: a browser does not load a file that a page of a server names.
        picture = base64.b64encode(file.read_bytes()).decode("ascii")
        create_image_artifact(
            f"data:image/png;base64,{picture}", key=_key(f"figure-{file.stem}"), description=file.stem
        )


def confusion_table(predictions: pd.DataFrame) -> list[dict[str, str | int]]:
    """Rows of a confusion matrix.

    Args:
        predictions: A row for each test face and classifier, with columns `actual` and `predicted`.
    """
    names = sorted({*predictions["actual"], *predictions["predicted"]})
    counts = pd.crosstab(predictions["actual"], predictions["predicted"]).reindex(names, columns=names, fill_value=0)
    return [{"actual": name, **{other: int(counts.loc[name, other]) for other in names}} for name in names]


def shown_figures(report: Path) -> list[Path]:
    """The report's figures that may leave the workspace for a server: all but faces whose licence forbids it.

    Args:
        report: Folder of the report.
    """
    return [file for file in sorted((report / "figures").glob("*.png")) if _WITHHELD not in file.name]


def _key(name: str) -> str:
    """As Prefect takes it: lower-case letters, digits and dashes."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in name.lower())
