"""The headline of a run, and whether it is worse than that of the run before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.core.json_files import read_json_object
from pipeline.core.sections import StageParameters, load_sections
from pipeline.parameters.arms import Arms


class _Sections(StageParameters):
    arms: Arms


def read_metrics(root: Path) -> dict[str, Any]:
    """What metrics.json says; empty where no report was made yet."""
    path = root / "metrics.json"
    return read_json_object(path) if path.is_file() else {}


def synthetic_arms(root: Path) -> list[str]:
    """Names of the arms that learn from synthetic faces, as params.yaml says."""
    arms = load_sections(root / "params.yaml", _Sections).arms
    return [name for name, arm in arms.all().items() if arm.is_synthetic]


def best_arm(arms: Mapping[str, Mapping[str, float]], synthetic: list[str]) -> str | None:
    """The arm of synthetic faces that is furthest above the strongest arm without; None where there is none."""
    found = [name for name in synthetic if "difference" in arms.get(name, {})]
    return max(found, key=lambda name: arms[name]["difference"], default=None)


def worse_than_before(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]], synthetic: list[str]
) -> str | None:
    """Why the headline is worse than the last one's, if it is.

    It is worse where the last best difference lies above the interval of the new best one: chance alone, as the
    interval measures it, does not explain so large a fall.

    Args:
        before: Arms of the last metrics.json.
        after: Arms of the new one.
        synthetic: Names of the arms of synthetic faces.

    Returns:
        The reason in words; None where it is not worse, or there is nothing to compare.
    """
    old, new = best_arm(before, synthetic), best_arm(after, synthetic)
    if old is None or new is None:
        return None
    last, now = before[old]["difference"], after[new]
    if now["high"] >= last:
        return None
    return (
        f"the best arm, {new}, is {100 * now['difference']:+.1f} points from real faces "
        f"[{100 * now['low']:+.1f}, {100 * now['high']:+.1f}]; the last run's, {old}, was {100 * last:+.1f}"
    )


def headline_markdown(metrics: Mapping[str, Any], synthetic: list[str], page: Path) -> str:
    """The result in a few lines of Markdown, with a link to the page; by the metric that the report leads with."""
    arms = metrics.get("arms", {})
    best = best_arm(arms, synthetic)
    lines = ["# Do synthetic faces help?", ""]
    if best is None:
        lines.append("No arm of this run learns from synthetic faces.")
    else:
        found, metric = arms[best], metrics["metric"]
        lines.append(
            f"**{best}**: {metric.replace('_', ' ')} {100 * found[metric]:.1f} %,"
            f" {100 * found['difference']:+.1f} points "
            f"[{100 * found['low']:+.1f}, {100 * found['high']:+.1f}] from the strongest arm of real faces alone."
        )
    return "\n".join([*lines, "", f"[The page]({page.resolve().as_uri()})"])


def arms_table(arms: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows of the arms, in percent and points."""
    return [
        {
            "arm": name,
            **{key: f"{100 * arm[key]:.1f}" for key in ("accuracy", "balanced_accuracy") if key in arm},
            **{key: f"{100 * arm[key]:+.1f}" for key in ("difference", "low", "high") if key in arm},
        }
        for name, arm in arms.items()
    ]
