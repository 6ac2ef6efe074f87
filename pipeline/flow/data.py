"""The faces of a run beside those of the run before: counts by class and split, and classes whose share moved."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.core.errors import InputError
from augment.core.files import sha256_of_file
from augment.core.json_files import read_json_object
from augment.core.seals import SEAL

ALL = "all"  # splits together
LARGEST_MOVE = 5.0  # points of share, beyond which a class is named


@dataclass(frozen=True)
class DataSummary:
    """What the stage `prepare` left, in numbers.

    Attributes:
        counts: Faces by class and split, in the first fold. Each fold has all faces, so only the splits differ.
        folds: How many folds there are.
        digest: SHA-256 that stands for all files of the prepared faces.
        since: When they came into the workspace, in UTC.
    """

    counts: Mapping[str, Mapping[str, int]]
    folds: int
    digest: str
    since: datetime.datetime

    def total(self, name: str) -> int:
        """Faces of a class; 0 where there is no such class."""
        return sum(self.counts.get(name, {}).values())

    def share(self, name: str) -> float:
        """Faces of a class among all faces, in percent."""
        everything = sum(map(self.total, self.counts))
        return 100 * self.total(name) / everything if everything else 0.0


def read_data_summary(faces: Path) -> DataSummary | None:
    """Reads the summary of the prepared faces; None where there are none, or an older version wrote them otherwise.

    Args:
        faces: Folder that `prepare` wrote.
    """
    try:
        report = read_json_object(faces / "report.json")
        folds = (report.get("folds") or {}).get("counts") or [report["counts"]]
        counts = {
            str(name): {str(split): int(count) for split, count in by_split.items()}
            for name, by_split in folds[0].items()
        }
        seal = faces / SEAL
        since = datetime.datetime.fromtimestamp(seal.stat().st_mtime, tz=datetime.UTC)
        return DataSummary(counts=counts, folds=len(folds), digest=sha256_of_file(seal), since=since)
    except (InputError, OSError, KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def data_table(now: DataSummary, last: DataSummary | None) -> list[dict[str, Any]]:
    """Rows for each class, with all splits together and one by one; classes that are gone come last, with 0 faces.

    Args:
        now: Of this run.
        last: Of the run before; None where there is none: its columns are then empty.
    """
    rows = []
    for name in _classes(now, last):
        before = last.counts.get(name, {}) if last is not None else {}
        splits = list(dict.fromkeys([*now.counts.get(name, {}), *before]))
        for split in (ALL, *splits):
            faces = now.total(name) if split == ALL else now.counts.get(name, {}).get(split, 0)
            row: dict[str, Any] = {"class": name, "split": split, "faces": faces}
            if last is None:
                row |= {"last run": "", "difference": ""}
            else:
                earlier = last.total(name) if split == ALL else before.get(split, 0)
                row |= {"last run": earlier, "difference": f"{faces - earlier:+d}"}
            whole = split == ALL
            row["share in %"] = f"{now.share(name):.1f}" if whole else ""
            row["moved by points"] = f"{_move(name, now, last):+.1f}" if whole and last is not None else ""
            rows.append(row)
    return rows


def data_sentence(now: DataSummary, last: DataSummary | None) -> str:
    """What is above the table: whether the faces are new, and since when they are here."""
    total = sum(map(now.total, now.counts))
    if last is None:
        found = "there is no earlier run to compare with"
    elif now.digest == last.digest:
        found = "the same as in the last run"
    else:
        difference = total - sum(map(last.total, last.counts))
        found = f"other faces than in the last run ({difference:+,d})"
    splits = f"; splits are those of the first of {now.folds} folds" if now.folds > 1 else ""
    return f"{total:,} faces, in the workspace since {now.since:%Y-%m-%d %H:%M} UTC: {found}{splits}"


def moved_classes(now: DataSummary, last: DataSummary | None, largest: float = LARGEST_MOVE) -> list[str]:
    """A sentence for each class whose share of the faces moved by more than some points.

    Args:
        now: Of this run.
        last: Of the run before; None where there is none.
        largest: Points of share that are no news.
    """
    if last is None:
        return []
    return [
        f"class {name} is {now.share(name):.1f} % of the faces, and was {last.share(name):.1f} % in the last run"
        f" ({_move(name, now, last):+.1f} points)"
        for name in _classes(now, last)
        if abs(_move(name, now, last)) > largest
    ]


def _classes(now: DataSummary, last: DataSummary | None) -> list[str]:
    return list(dict.fromkeys([*now.counts, *(last.counts if last is not None else ())]))


def _move(name: str, now: DataSummary, last: DataSummary | None) -> float:
    return now.share(name) - (last.share(name) if last is not None else 0.0)
