"""Writes faces of a finished run as one folder that can be given away."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.core.replacing import folder_in_place
from augment.core.seals import file_digest, read_seal
from augment.faces.duplicates import find_duplicates
from augment.faces.images import decode_image
from augment.faces.leakage import check_leakage, duplicates_across
from augment.faces.licences import Licence, read_card
from augment.faces.splits import fold_splits, read_folds
from augment.faces.table import SPLITS, iterate_faces, read_class_names, read_faces
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts, fold_directory
from pipeline.lock_parameters import check_parameters_of_results
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.publishing.card import SHEET, write_card
from pipeline.publishing.description import (
    FILE,
    REAL,
    SCHEMA_FILE,
    Description,
    Format,
    Provenance,
    Split,
    SplitCounts,
    TranslatorFacts,
    json_schema,
)
from pipeline.publishing.destinations import check_destination
from pipeline.publishing.formats import form_of
from pipeline.publishing.permissions import Kind, Permission, check_permissions
from pipeline.publishing.rows import Part, choose_real, choose_synthetic, stream_rows
from pipeline.publishing.run_code import code_of_run
from pipeline.publishing.sheets import ContactSheet
from pipeline.results import describe_data
from pipeline.stages.folds import fold_numbers
from pipeline.stages.refusals import refusal_in
from reports.code_version import describe_code
from reports.figures import png_bytes
from reports.inputs import read_json_lines


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    Attributes:
        translators: Names; none: all that the run has faces of.
        per_class: Faces of each translator and class; None: all that were kept.
        with_real: Whether the real faces of the fold go along, in their splits.
        fold: Of which fold: faces of several folds were made from each other's test faces.
        format: Parquet, folders of pictures, or WebDataset's archives.
        title: The card's heading; empty: made from the rest.
        permissions: Data set -> who allowed its faces to be passed on (`pipeline.publishing.permissions`).
    """

    translators: tuple[str, ...] = ()
    per_class: int | None = None
    with_real: bool = False
    fold: int = 0
    format: Format = "parquet"
    title: str = ""
    permissions: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that exports this again."""
        words = ["s2l", "export", "DEST"]
        words += [word for name in self.translators for word in ("--translator", name)]
        words += [] if self.per_class is None else ["--per-class", str(self.per_class)]
        words += ["--with-real"] if self.with_real else []
        words += ["--fold", str(self.fold)] if self.fold else []
        words += ["--format", self.format] if self.format != "parquet" else []
        words += ["--title", self.title] if self.title else []
        words += [word for name, said in self.permissions.items() for word in ("--permission", f"{name}={said}")]
        return shlex.join(words)


def export_faces(root: Path, destination: Path, settings: ExportSettings) -> Description:
    """Writes faces of a run's fold as a folder of their own: pictures, card, contact sheet, description, checksums.

    Args:
        root: The workspace of a run that has passed `s2l assess` for each translator.
        destination: The folder; one that this tool wrote is replaced when the new one is complete.
        settings: What to export.

    Returns:
        What the folder says of itself.

    Raises:
        InputError: Outputs of the run are missing or changed, or params.yaml is another run's; the terms of the faces
            don't let them be passed on; a class has too few faces; validation or test faces would be among the training
            faces; or the destination holds files that this tool did not write.
    """
    parameters, artifacts = load_parameters(root / "params.yaml"), Artifacts(root)
    check_destination(root, destination, FILE)
    check_inputs([StageInput(artifacts.faces, "s2l prepare"), StageInput(artifacts.folds, "s2l prepare")])
    names = _translators(parameters, artifacts, settings.translators)
    check_inputs([StageInput(artifacts.selected(name), f"s2l assess {name}") for name in names])
    check_parameters_of_results(root, names)
    folds = read_folds(artifacts.folds)
    check_fold(folds, settings.fold)
    class_names = read_class_names(artifacts.faces)
    form = form_of(settings.format, class_names)
    tables = {name: fold_directory(artifacts.selected(name), settings.fold) for name in names}
    licence, permissions = _permissions(artifacts, tables, settings)
    splits = fold_splits(folds, settings.fold)
    parts = _parts(artifacts, tables, splits, class_names, settings)
    faces = read_faces(artifacts.faces, columns=["face_id", "subject"])
    for table in tables.values():
        made = iterate_faces(table, columns=["face_id", "source_id", "fold"])
        check_leakage(faces, folds, fold=settings.fold, synthetic=made)
    sheet = ContactSheet(class_names)
    with folder_in_place(destination) as folder:
        files: dict[Split, tuple[str, ...]] = {}
        shape: set[tuple[int, int]] = set()
        for split, found in parts.items():
            count = sum(map(len, found))
            rows = _watched(stream_rows(found, split), sheet, shape, split, count)
            files[split] = tuple(form.write(folder, split, rows, count))
        if len(shape) != 1:
            raise InputError(Problem(str(artifacts.faces), "pictures differ in size", "run `s2l prepare` again"))
        size, channels = shape.pop()
        description = Description(
            title=" ".join(settings.title.split()) or _title(names, settings),
            format=settings.format,
            class_names=class_names,
            size=size,
            channels=cast(Literal[1, 3], channels),
            splits={split: _counts(found) for split, found in parts.items()},
            files=files,
            translators={name: _facts(parameters, artifacts, name, settings.fold) for name in names},
            licence=licence.lines,
            shared_pictures=_shared_pictures(artifacts, splits) if settings.with_real else 0,
            permissions=permissions,
            provenance=_provenance(parameters, artifacts, settings),
        )
        text = json.dumps(description.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")
        (folder / SCHEMA_FILE).write_text(json_schema(), encoding="utf-8")
        (folder / SHEET).write_bytes(png_bytes(sheet.draw()))
        write_card(folder, description)
    return description


def check_fold(folds: pa.Table, fold: int) -> None:
    """Refuses a fold that a run has not.

    Raises:
        InputError: There is none of that number.
    """
    there = fold_numbers(folds)
    if fold not in there:
        raise InputError(
            Problem(f"--fold {fold}", "is no fold of this run", f"its folds: {', '.join(map(str, there))}")
        )


def unknown_translator(parameters: Parameters, name: str) -> Problem:
    """What is said of a translator that a run has not."""
    there = ", ".join(parameters.translators) or "none"
    return Problem(f"translator {name}", "is no translator of params.yaml", f"there are {there}")


def _translators(parameters: Parameters, artifacts: Artifacts, wanted: Sequence[str]) -> tuple[str, ...]:
    """The translators whose faces are exported; what can't be is refused with the reason."""
    problems: list[Problem] = []
    unknown = [name for name in wanted if name not in parameters.translators]
    problems += [unknown_translator(parameters, name) for name in unknown]
    names = tuple(dict.fromkeys(wanted)) or tuple(parameters.translators)
    refused = {name: refusal_in(artifacts.selected(name)) for name in names if name not in unknown}
    for name, refusal in refused.items():
        if refusal is not None and name in wanted:
            fix = "name others, or fix what it says and run `dvc repro`"
            problems.append(Problem(f"--translator {name}", f"it was refused: {refusal['reason']}", fix))
    if problems:
        raise InputError(problems)
    return tuple(name for name in names if refused.get(name) is None)


def _permissions(
    artifacts: Artifacts, tables: Mapping[str, Path], settings: ExportSettings
) -> tuple[Licence, tuple[Permission, ...]]:
    """All terms that the exported faces stand under, and why they may be passed on."""
    cards: list[tuple[Kind, Path]] = [("synthetic faces", table) for table in tables.values()]
    cards += [("real faces", artifacts.faces)] if settings.with_real else []
    found: list[tuple[Kind, Licence]] = []
    for kind, folder in cards:
        licence = read_card(folder)
        if licence is None:
            why = f"has no card that names a licence, so nobody can tell whether {kind} may be passed on"
            raise InputError(Problem(str(folder), why, "run the stage that wrote it again"))
        found.append((kind, licence))
    if not found:
        raise InputError(Problem("the run", "has no translator's faces to export", "add --with-real, or a translator"))
    permissions = check_permissions(found, settings.permissions)
    first, *others = (licence for _, licence in found)
    return first.with_lines(line for other in others for line in other.lines), permissions


def _parts(
    artifacts: Artifacts,
    tables: Mapping[str, Path],
    splits: Mapping[str, str],
    class_names: Sequence[str],
    settings: ExportSettings,
) -> dict[Split, list[Part]]:
    parts: dict[Split, list[Part]] = {}
    for split in cast(tuple[Split, ...], SPLITS):
        real = choose_real(artifacts.faces, splits, split, class_names) if settings.with_real else None
        if real is not None:
            parts[split] = [real]
    made = [choose_synthetic(table, name, class_names, settings.per_class) for name, table in tables.items()]
    if made:
        parts = {"train": [*parts.get("train", []), *made], **{s: p for s, p in parts.items() if s != "train"}}
    return parts


def _watched(
    rows: Iterable[dict[str, Any]], sheet: ContactSheet, shape: set[tuple[int, int]], split: str, count: int
) -> Iterator[dict[str, Any]]:
    """The rows as they pass: the contact sheet takes the first ones, and the pictures' size is noted."""
    with track(rows, desc=f"export {split}", unit="faces", total=count) as progress:
        for row in progress:
            maker = row["translator"] if row["synthetic"] else REAL
            if not shape or sheet.wants(maker, row["label"]):
                pixels = decode_image(row["image"]["bytes"])
                shape.add((pixels.shape[0], 1 if pixels.ndim == 2 else pixels.shape[2]))
                face = torch.tensor(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
                sheet.add(maker, row["label"], face)
            yield row


def _shared_pictures(artifacts: Artifacts, splits: Mapping[str, str]) -> int:
    """How many real faces of a later split have their picture in an earlier one too, as the source has it."""
    found = artifacts.faces / "duplicates.parquet"
    if found.is_file():
        table = pq.read_table(found)
    else:
        table = find_duplicates(read_faces(artifacts.faces, columns=["face_id", "image"]))
    exported = {face: split for face, split in splits.items() if split in SPLITS}
    return sum(entry.near for entry in duplicates_across(table, exported))


def _counts(parts: Sequence[Part]) -> SplitCounts:
    real: dict[str, int] = {}
    synthetic: dict[str, dict[str, int]] = {}
    for part in parts:
        if part.translator is None:
            real = part.per_class
        else:
            synthetic[part.translator] = part.per_class
    return SplitCounts(rows=sum(map(len, parts)), real=real, synthetic=synthetic)


def _facts(parameters: Parameters, artifacts: Artifacts, name: str, fold: int) -> TranslatorFacts:
    entry = parameters.translators[name]
    weights = fold_directory(artifacts.translator(name), fold) / "weights.safetensors"
    if not weights.is_file():
        raise InputError(Problem(str(weights), "is missing", f"run `s2l train {name}`, or `dvc repro`"))
    log = read_json_lines(weights.parent / "log.jsonl")
    return TranslatorFacts(
        method=entry.method,
        settings=entry.settings,
        steps=int(log["step"].max()) or None,
        weights_sha256=file_digest(weights),
    )


def _provenance(parameters: Parameters, artifacts: Artifacts, settings: ExportSettings) -> Provenance:
    try:
        own_version = version("synthesize-to-learn")
    except PackageNotFoundError:  # a clone that is on the path, and not installed
        own_version = "unknown"
    code = code_of_run(artifacts)
    return Provenance(
        version=own_version,
        commit=code.commit,
        tree=code.tree,
        exported_by=describe_code().commit,
        command=settings.command,
        data=describe_data(parameters.dataset.source, parameters.dataset.settings),
        data_sha256=_digest_of_faces(artifacts.faces),
        folds_sha256=file_digest(artifacts.folds),
        seed=parameters.seed,
        fold=settings.fold,
    )


def _digest_of_faces(table: Path) -> str:
    """Stands for the rows of the real faces, whatever folds were made of them (which the report beside them counts)."""
    digests = read_seal(table) or {}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items()) if name.endswith(".parquet")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _title(names: Sequence[str], settings: ExportSettings) -> str:
    made = f"synthetic faces by {', '.join(names)}" if names else ""
    both = " and ".join(filter(None, ["real faces" if settings.with_real else "", made]))
    return both[:1].upper() + both[1:]
