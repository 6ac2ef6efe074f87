"""Whether params.yaml is still that of the results that lie here, as far as dvc.lock knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError, Problem


def check_parameters_of_results(root: Path, result: Path) -> None:
    """Refuses results that params.yaml does not describe: with another profile they would be kept under its name.

    Args:
        root: The workspace.
        result: A file of the results. Where it is newer than dvc.lock, or there is none (stages were called without
            DVC), nothing is compared.

    Raises:
        InputError: A stage was run with other parameters; every stage with its first such key is listed.
    """
    lock = root / "dvc.lock"
    if not lock.is_file() or result.stat().st_mtime > lock.stat().st_mtime:
        return
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    problems = []
    for stage, entry in read_lock(root).items():
        first = next(_differences(entry, values), None) if _is_of(stage, values) else None
        if first is not None:
            key, before, now = first
            why = f"is not what {stage} was run with ({_shown(before)}, now {_shown(now)})"
            problems.append(Problem(f"params.yaml: {key}", why))
    if problems:
        fix = "run `dvc repro`, or write the profile again that they are of"
        raise InputError(problems, f"params.yaml is not that of the results here: {fix}:")


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of dvc.lock; of a large one, in a fraction of a second.

    Raises:
        FileNotFoundError: There is none.
        yaml.YAMLError: It is damaged.
    """
    with (root / "dvc.lock").open(encoding="utf-8") as opened:
        found = yaml.load(opened, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return dict((found or {}).get("stages") or {})


def _is_of(stage: str, values: Mapping[str, Any]) -> bool:
    """Whether a stage belongs to this run: dvc.lock keeps those of translators and arms that were taken out."""
    base, _, name = stage.partition("@")
    if not name:
        return True
    kind = base.removeprefix("classify_")
    names = values.get("arms", {}).get(kind, {}) if kind != base else values.get("translators", {})
    return name in (names or {})


def _differences(entry: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Keys that a stage read, what they were, and what they are now, where that is something else."""
    for key, before in entry.get("params", {}).get("params.yaml", {}).items():
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, Mapping) else None
        yield from _unlike(key, before, now)


def _unlike(key: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            yield from _unlike(f"{key}.{name}", before.get(name), now.get(name))
    elif _plain(before) != _plain(now):
        yield key, before, now


def _plain(value: Any) -> Any:
    """A number as a number: 1e-05, as DVC writes it, is text to YAML 1.1."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
