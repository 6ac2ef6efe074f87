"""Whether params.yaml is still that of the results that lie here, as far as dvc.lock knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError, Problem


def check_parameters_of_results(root: Path, translators: Iterable[str] | None = None) -> None:
    """Refuses results that params.yaml does not describe: with another profile they would be kept under its name.

    Only what DVC has noted of the very files that lie here is compared, so that results of stages that were called
    without DVC, beside another run's dvc.lock, are let be.

    Args:
        root: The workspace.
        translators: Those whose selected faces are the results, which arms and the report did not make; None: all
            results of the run.

    Raises:
        InputError: A stage was run with other parameters (every such stage is listed with its first such key), or
            dvc.lock can't be read.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return
    # As texts, for dvc.lock is YAML 1.2 and params.yaml 1.1, to which `yes`, 12:30 and 1e-05 are not the same things.
    stages, values = _read(lock).get("stages") or {}, _read(root / "params.yaml")
    problems = []
    for stage, entry in stages.items():
        first = next(_differences(entry, values), None) if _is_of(stage, values, translators) else None
        if first is not None and _made_what_is_here(root, entry):
            key, before, now = first
            why = f"is not what {stage} was run with ({_shown(before)}, now {_shown(now)})"
            problems.append(Problem(f"params.yaml: {key}", why))
    if problems:
        fix = "run `dvc repro`, or write the profile again that they are of"
        raise InputError(problems, f"params.yaml is not that of the results here: {fix}:")


def _read(file: Path) -> dict[str, Any]:
    """A file of YAML whose every scalar is text."""
    try:
        found = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = f"can't be read: {' '.join(str(error).split())[:120]}"
        raise InputError(Problem(str(file), why, "restore it, for example from git")) from error
    return found if isinstance(found, dict) else {}


def _is_of(stage: str, values: Mapping[str, Any], translators: Iterable[str] | None) -> bool:
    """Whether a stage belongs to this run: dvc.lock keeps those of translators and arms that were taken out."""
    base, _, name = stage.partition("@")
    kind = base.removeprefix("classify_")
    if not name:
        return translators is None or base != "report"
    if kind == base:
        return name in (values.get("translators") or {} if translators is None else translators)
    return translators is None and name in ((values.get("arms") or {}).get(kind) or {})


def _differences(entry: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Keys that a stage read, what they were, and what they are now, where that is something else."""
    params = entry.get("params") if isinstance(entry, dict) else None
    read = params.get("params.yaml") if isinstance(params, dict) else None
    for key, before in (read if isinstance(read, dict) else {}).items():
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, Mapping) else None
        yield from _unlike(key, before, now)


def _unlike(key: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            yield from _unlike(f"{key}.{name}", before.get(name), now.get(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _unlike(f"{key}[{number}]", one, other)
    elif before != now and not _same_value(before, now):
        yield key, before, now


def _same_value(one: Any, other: Any) -> bool:
    """Whether two texts stand for one value: nothing, or a number."""
    nothing = (None, "", "null", "~")
    if one in nothing and other in nothing:
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _made_what_is_here(root: Path, entry: Mapping[str, Any]) -> bool:
    """Whether every file and folder that DVC noted as a stage's results lies here with the hash that it noted."""
    outs = [out for out in entry.get("outs") or [] if str(out.get("path", "")).startswith("artifacts/")]
    return bool(outs) and all(_hash(root / out["path"]) == out.get("md5") for out in outs)


def _hash(path: Path) -> str | None:
    """The hash that DVC gives a file or a folder; None where there is nothing."""
    if path.is_file():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "md5").hexdigest()
    if not path.is_dir():
        return None
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    listed = [{"md5": _hash(file), "relpath": name} for name, file in sorted(files.items())]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
