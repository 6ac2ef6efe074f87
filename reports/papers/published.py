"""Reads results published in the papers; tables show them in their own column, with the name of their data set."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from augment.core.errors import InputError, Problem

FOLDER = Path(__file__).parent / "published"
COLUMNS = ("paper", "table", "row", "metric", "value", "dataset", "note", "matches")


@lru_cache
def read_published(folder: Path = FOLDER) -> pd.DataFrame:
    """All published results.

    Args:
        folder: Contains the CSV files.

    Returns:
        Columns paper, table, row, metric, value (per cent), dataset, note, and matches: the row of this project's
        tables to show it in (`utility:<translator>`, `recognition:<translator>`, `hog`, `lbp`, `real`,
        `amount:<n per class>`); empty if there is none.

    Raises:
        InputError: A file has other columns, or a value is not a percentage.
    """
    problems = []
    frames = []
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path, dtype=dict.fromkeys(COLUMNS, str), keep_default_na=False)
        if tuple(frame.columns) != COLUMNS:
            problems.append(Problem(path.name, f"has the columns {', '.join(frame.columns)}", ", ".join(COLUMNS)))
            continue
        frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
        for row in frame.index[~frame["value"].between(0, 100)]:
            problems.append(Problem(f"{path.name} row {row + 2}", "value is not a percentage"))
        frames.append(frame)
    if problems:
        raise InputError(problems)
    return pd.concat(frames, ignore_index=True)


def published_for(matches: str) -> pd.DataFrame:
    """The published rows for one row of this project's tables: often none, sometimes one per data set."""
    published = read_published()
    return published[published["matches"] == matches] if matches else published.iloc[0:0]


def describe_published(rows: pd.DataFrame) -> tuple[str, str]:
    """Two table cells: the values, and their data set and origin (`Oulu-CASIA VIS: StarGAN (LSSL, Table 1)`)."""
    values = "; ".join(f"{value:.2f}" for value in rows["value"])
    origins = "; ".join(f"{row.dataset}: {row.row} ({row.paper}, {row.table})" for row in rows.itertuples())
    return values, origins
