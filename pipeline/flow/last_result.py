"""The result of the last flow that came to its end here, which the next one's is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError
from augment.core.files import atomic_write_text
from augment.core.json_files import read_json_object
from pipeline.core.workspace import Artifacts
from pipeline.flow.headline import worse_than_before

_COMPARED = ("dataset", "folds")  # sections of params.yaml: results on other data say nothing of each other


def compare_with_last(root: Path, metrics: Mapping[str, Any], synthetic: list[str], *, keep_worse: bool) -> str | None:
    """Compares a result with the last one, and keeps it for the next flow.

    Args:
        root: The workspace.
        metrics: The new metrics.json.
        synthetic: Names of the arms of synthetic faces.
        keep_worse: Whether a worse one is kept, too. Else the next flow is compared with what this one was, so that
            what failed once does not pass the next time because it is no worse than itself.

    Returns:
        Why it is worse, in words; None where it is not, or there is nothing to compare.
    """
    worse = worse_than_before(last_arms(root, metrics), metrics.get("arms", {}), synthetic)
    if worse is None or keep_worse:
        keep_result(root, metrics)
    return worse


def last_arms(root: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The arms of the last result of the same data set, folds and metric; empty where there is none.

    Not those of metrics.json as it lies there: git brings one of other data, and a flow that was killed after its
    report was never compared.

    Args:
        root: The workspace.
        metrics: The new metrics.json.
    """
    try:
        last = read_json_object(_place(root))
    except InputError:  # never written, or damaged
        return {}
    arms = last.get("arms")
    return arms if last.get("of") == _comparison(root, metrics) and isinstance(arms, dict) else {}


def keep_result(root: Path, metrics: Mapping[str, Any]) -> None:
    """Keeps a result for the next flow.

    Args:
        root: The workspace.
        metrics: The new metrics.json.
    """
    kept = {"of": _comparison(root, metrics), "arms": metrics.get("arms", {})}
    atomic_write_text(_place(root), json.dumps(kept, indent=1) + "\n")


def _place(root: Path) -> Path:
    return Artifacts(root).scratch / "flow" / "last-result.json"


def _comparison(root: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What two results have in common that say something of each other, as JSON keeps it."""
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    about = {"metric": metrics.get("metric"), **{name: values.get(name) for name in _COMPARED}}
    return dict(json.loads(json.dumps(about, default=str)))
