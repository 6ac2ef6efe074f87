"""Figures that the papers published, from data files; they stand in their own column, with their own data's name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from augment.core.errors import InputError, Problem

FOLDER = Path(__file__).parent / "published"
COLUMNS = ("paper", "table", "row", "metric", "value", "dataset", "note", "matches")


@lru_cache
def read_published(folder: Path = FOLDER) -> pd.DataFrame:
    """All published figures.

    Args:
        folder: Holds the CSV files.

    Returns:
        Columns paper, table, row, metric, value (per cent), dataset, note, and matches: which of our rows stands
        beside it (`utility:<translator>`, `recognition:<translator>`, `hog`, `lbp`, `real`, `amount:<n per class>`);
        empty where we have no such row.

    Raises:
        InputError: A file has other columns, or a value that is no percentage.
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
    """The published rows that stand beside one of ours; often none, at times one a data set."""
    published = read_published()
    return published[published["matches"] == matches] if matches else published.iloc[0:0]


def describe_published(rows: pd.DataFrame) -> tuple[str, str]:
    """Two table cells: the figures, and whose they are on which data (`Oulu-CASIA VIS: StarGAN (LSSL, Table 1)`)."""
    values = "; ".join(f"{value:.2f}" for value in rows["value"])
    origins = "; ".join(f"{row.dataset}: {row.row} ({row.paper}, {row.table})" for row in rows.itertuples())
    return values, origins
