"""Which synthetic faces to learn from: a judge's confidence, thresholds and quotas by class.

Nothing is thrown away: every face stays in the dataset with its confidence, `kept`, and the reason where it was not.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.progress import track
from augment.core.sealed_tensors import load_tensors, save_tensors
from augment.core.seals import claim_folder, file_digest, seal_folder
from augment.faces.images import decode_image
from augment.faces.judge import Judge
from augment.faces.licences import Licence, as_licence, read_card
from augment.faces.shards import ROW_GROUP_ROWS, keep_only_shards, sealed_shard, shard_is_complete, write_card
from augment.faces.table import data_files, read_class_names, schema_metadata

_BATCH = 250

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class SelectionSettings(BaseModel):
    """What is kept.

    Attributes:
        enabled: False keeps every face; the confidence is recorded all the same.
        threshold: Least confidence (the judge's probability of the target): one number, or a number for each class
            named (others 0).
        quota: Most kept faces of a class: one number, a number for each class named (others unbounded), or none.
        quota_order: Which faces fill a quota: `confidence` takes the surest, `first` the first made (so that a
            smaller quota's faces are among a larger one's first).
        min_shift: Faces that moved less than this from their source are rejected: they kept its expression.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    threshold: Share | dict[str, Share] = 0.5
    quota: Count | dict[str, Count] | None = None
    quota_order: Literal["confidence", "first"] = "first"
    min_shift: Share = 0.0


@dataclass(frozen=True)
class SelectionReport:
    """What was kept.

    Attributes:
        fold: The fold.
        enabled: Whether faces could be rejected.
        faces: Faces by class.
        kept: Kept faces by class.
        rejected: By class and kind of reason (`confidence`, `quota`, `shift`). Where synthesis put others in the place
            of copies of training faces, also `copy, replaced`: those are not among `faces`.
        mean_confidence: By class, over all its faces.
        agreement: By class: the share of its faces whose surest class is the target.
    """

    fold: int
    enabled: bool
    faces: dict[str, int]
    kept: dict[str, int]
    rejected: dict[str, dict[str, int]]
    mean_confidence: dict[str, float]
    agreement: dict[str, float]


@dataclass(frozen=True)
class _Judged:
    """What the judge said of one shard: four arrays of its length."""

    label: np.ndarray
    confidence: np.ndarray
    shift: np.ndarray
    agrees: np.ndarray


def select(
    synthetic_dir: Path,
    out_dir: Path,
    judge: Judge,
    settings: SelectionSettings,
    *,
    fold: int,
    class_names: Sequence[str],
    configuration_hash: str = "",
    licence: Licence | str | None = None,
) -> SelectionReport:
    """Judges the faces of a dataset directory and writes them again with `confidence`, `kept` and `reject_reason`.

    The judge must have been trained on this fold's real training faces only. Shards are streamed. A killed run goes
    on where it was: what the judge said of a shard is kept until the end, and a finished shard isn't written again.

    Args:
        synthetic_dir: A dataset directory written by `augment.synthesis.generate.synthesize`.
        out_dir: The dataset directory to write; not `synthetic_dir` itself.
        judge: The fold's judge.
        settings: What is kept.
        fold: The judge's fold; rows of another are refused.
        class_names: Names of the classes in the order of the judge's outputs.
        configuration_hash: Of everything that matters beside the settings and the synthetic files, above all the
            judge's weights.
        licence: For the dataset's card; by default that of the synthetic faces' own card.

    Returns:
        Counts by class and reason; also written to `out_dir/report.json`.

    Raises:
        InputError: The classes or folds disagree, a setting names an unknown class, neither the caller nor the
            synthetic faces' card names a licence, or the judge's output has the wrong shape or isn't finite.
    """
    synthetic_dir, out_dir = Path(synthetic_dir), Path(out_dir)
    files = data_files(synthetic_dir)
    _check(synthetic_dir, out_dir, settings, class_names)
    licence = as_licence(licence or read_card(synthetic_dir))
    judge_hashes = [_hash(configuration_hash, file_digest(file), list(class_names)) for file in files]
    full_hash = _hash(*judge_hashes, settings.model_dump(), fold)
    claim_folder(out_dir)
    notes = out_dir / ".judged"
    total = sum(pq.read_metadata(file).num_rows for file in files)
    judged = []
    with track(total=total, unit="faces", desc=f"judging fold {fold}") as bar:
        for file, judge_hash in zip(files, judge_hashes, strict=True):
            judged.append(_judge_file(file, judge, fold, class_names, notes / f"{judge_hash}.safetensors"))
            bar.update(len(judged[-1].label))
    kept, kinds = _decide(judged, settings, class_names)
    start = 0
    for file, verdict in zip(files, judged, strict=True):
        stop = start + len(verdict.label)
        path = out_dir / "data" / file.name
        if not shard_is_complete(path, stop - start, full_hash):
            _write(file, path, verdict, kept[start:stop], kinds[start:stop], settings, class_names, full_hash)
        start = stop
    keep_only_shards(out_dir, {out_dir / "data" / file.name for file in files})
    report = _report(judged, kept, kinds, settings, fold, class_names, _copies(files))
    write_card(
        out_dir,
        title=f"Selected synthetic faces, fold {fold}",
        description=(
            "Synthetic faces with the confidence of a classifier trained on the fold's real training faces; `kept` "
            "says which to learn from, `reject_reason` why the others are not."
        ),
        licence=licence,
        class_names=class_names,
        splits={"train": total},
        synthetic=True,
    )
    atomic_write_text(out_dir / "report.json", json.dumps(asdict(report), indent=2) + "\n")
    for note in notes.glob("*"):
        note.unlink()
    notes.rmdir()
    seal_folder(out_dir)
    return report


def _check(synthetic_dir: Path, out_dir: Path, settings: SelectionSettings, class_names: Sequence[str]) -> None:
    problems = []
    if out_dir.resolve() == synthetic_dir.resolve():
        problems.append(Problem(str(out_dir), "is the synthetic faces' own directory", "name another one"))
    found = read_class_names(synthetic_dir)
    if found != tuple(class_names):
        why = f"has the classes {list(found)}, but the judge knows {list(class_names)}"
        problems.append(Problem(str(synthetic_dir), why, "train the judge on the same prepared data set"))
    for key in ("threshold", "quota"):
        value = getattr(settings, key)
        for name in value if isinstance(value, dict) else ():
            if name not in class_names:
                problems.append(Problem(f"selection.{key}.{name}", "is no class", f"use {', '.join(class_names)}"))
    if problems:
        raise InputError(problems)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _judge_file(file: Path, judge: Judge, fold: int, class_names: Sequence[str], note: Path) -> _Judged:
    if note.exists():
        try:
            arrays, _ = load_tensors(note, "note of what the judge said", "judge again")
            return _Judged(*(arrays[name].numpy() for name in ("label", "confidence", "shift", "agrees")))
        except InputError:
            note.unlink()  # damaged: the judge is asked again
    labels, confidences, shifts, agreements = [], [], [], []
    with pq.ParquetFile(file) as parquet:
        columns = ["image", "label", "identity_shift", "fold"]
        for batch in parquet.iter_batches(batch_size=_BATCH, columns=columns):
            table = pa.Table.from_batches([batch])
            others = set(table.column("fold").to_pylist()) - {fold}
            if others:
                why = f"holds faces of fold {sorted(others)[0]}, but the judge is that of fold {fold}"
                raise InputError(Problem(str(file), why, "select each fold with its own judge"))
            pictures = [decode_image(value["bytes"]) for value in table.column("image").to_pylist()]
            stacked = torch.from_numpy(np.stack([p[..., None] if p.ndim == 2 else p for p in pictures]))
            probabilities = np.asarray(judge.probabilities(stacked.permute(0, 3, 1, 2).contiguous()))
            if probabilities.shape != (len(pictures), len(class_names)) or not np.isfinite(probabilities).all():
                why = f"gave an array of shape {probabilities.shape}, or values that are not finite"
                wanted = f"it must give finite probabilities of shape {(len(pictures), len(class_names))}"
                raise InputError(Problem("the judge", why, wanted))
            label = table.column("label").to_numpy()
            labels.append(label)
            confidences.append(probabilities[np.arange(len(label)), label].astype(np.float32))
            shifts.append(table.column("identity_shift").to_numpy(zero_copy_only=False).astype(np.float32))
            agreements.append(probabilities.argmax(axis=1) == label)
    judged = _Judged(*(np.concatenate(parts) for parts in (labels, confidences, shifts, agreements)))
    save_tensors({name: torch.from_numpy(values) for name, values in vars(judged).items()}, note, {})
    return judged


def _limit(value: float | Mapping[str, float] | None, name: str, otherwise: float) -> float:
    if value is None:
        return otherwise
    return value.get(name, otherwise) if isinstance(value, Mapping) else value


def _decide(
    judged: Sequence[_Judged], settings: SelectionSettings, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are kept (bool), and the kind of reason why not (empty where kept)."""
    labels = np.concatenate([verdict.label for verdict in judged])
    confidence = np.concatenate([verdict.confidence for verdict in judged])
    shift = np.concatenate([verdict.shift for verdict in judged])
    kinds = np.full(len(labels), "", dtype="U10")
    if not settings.enabled:
        return np.ones(len(labels), dtype=bool), kinds
    # A shift that was never measured (null, read as NaN) can't speak against a face.
    kinds[shift < settings.min_shift] = "shift"
    for label, name in enumerate(class_names):
        threshold = _limit(settings.threshold, name, 0.0)
        own = labels == label
        kinds[own & (kinds == "") & (confidence < threshold)] = "confidence"
        left = np.flatnonzero(own & (kinds == ""))
        if settings.quota_order == "confidence":
            left = left[np.argsort(-confidence[left], kind="stable")]
        quota = _limit(settings.quota, name, float("inf"))
        if len(left) > quota:
            kinds[left[int(quota) :]] = "quota"
    return kinds == "", kinds


def _reason(kind: str, name: str, confidence: float, shift: float, settings: SelectionSettings) -> str | None:
    if kind == "confidence":
        return f"confidence {confidence:.2f} below {_limit(settings.threshold, name, 0.0):g}"
    if kind == "quota":
        return f"over the quota of {_limit(settings.quota, name, 0):g} for {name}"
    if kind == "shift":
        return f"moved {shift:.3f}, less than {settings.min_shift:g}, from its source"
    return None


def _write(
    file: Path,
    path: Path,
    verdict: _Judged,
    kept: np.ndarray,
    kinds: np.ndarray,
    settings: SelectionSettings,
    class_names: Sequence[str],
    full_hash: str,
) -> None:
    reasons = [
        _reason(kind, class_names[label], confidence, shift, settings)
        for kind, label, confidence, shift in zip(
            kinds.tolist(), verdict.label.tolist(), verdict.confidence.tolist(), verdict.shift.tolist(), strict=True
        )
    ]
    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        values = {**schema_metadata(schema), "configuration_hash": full_hash, "rows": len(kept)}
        schema = schema.with_metadata({**(schema.metadata or {}), b"s2l": json.dumps(values, sort_keys=True).encode()})
        new = {
            "confidence": pa.array(verdict.confidence, pa.float32()),
            "kept": pa.array(kept, pa.bool_()),
            "reject_reason": pa.array(reasons, pa.string()),
        }
        start = 0
        with (
            sealed_shard(path) as scratch,
            pq.ParquetWriter(scratch, schema, compression="zstd", use_dictionary=["label_name"]) as writer,
        ):
            for batch in parquet.iter_batches(batch_size=ROW_GROUP_ROWS):
                columns = [
                    new[field.name].slice(start, len(batch)) if field.name in new else batch.column(field.name)
                    for field in schema
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                start += len(batch)


def _copies(files: Sequence[Path]) -> Counter[str]:
    """By class, the copies of training faces that synthesis put others in the place of; it says so in its footers."""
    found: Counter[str] = Counter()
    for file in files:
        for name, reasons in schema_metadata(pq.read_schema(file)).get("rejected", {}).items():
            found[name] += sum(reasons.values())
    return found


def _report(
    judged: Sequence[_Judged],
    kept: np.ndarray,
    kinds: np.ndarray,
    settings: SelectionSettings,
    fold: int,
    class_names: Sequence[str],
    copies: Counter[str],
) -> SelectionReport:
    labels = np.concatenate([verdict.label for verdict in judged])
    confidence = np.concatenate([verdict.confidence for verdict in judged])
    agrees = np.concatenate([verdict.agrees for verdict in judged])
    present = [(label, name) for label, name in enumerate(class_names) if (labels == label).any()]
    return SelectionReport(
        fold=fold,
        enabled=settings.enabled,
        faces={name: int((labels == label).sum()) for label, name in present},
        kept={name: int(kept[labels == label].sum()) for label, name in present},
        rejected={
            name: {kind: int((kinds[labels == label] == kind).sum()) for kind in ("confidence", "quota", "shift")}
            | ({"copy, replaced": copies[name]} if copies[name] else {})
            for label, name in present
        },
        mean_confidence={name: float(confidence[labels == label].mean()) for label, name in present},
        agreement={name: float(agrees[labels == label].mean()) for label, name in present},
    )
