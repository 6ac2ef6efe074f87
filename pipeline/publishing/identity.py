"""The identities of a translator's faces, from a run's workspace to files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.replacing import folder_in_place
from augment.faces.splits import read_folds
from augment.faces.table import iterate_faces
from augment.faces.tensors import face_tensors
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts, fold_directory
from pipeline.parameters.whole import load_parameters
from pipeline.publishing.destinations import check_destination
from pipeline.publishing.export import check_fold, unknown_translator
from pipeline.publishing.rows import none_kept
from pipeline.stages.folds import faces_of_fold
from pipeline.stages.refusals import refusal_in
from reports.identity import IdentityReport, SyntheticFaces, find_embedding, identity_report


def write_identities(
    root: Path, translator: str, out: Path, *, embedding: str, weights: Path | None, fold: int, most: int
) -> IdentityReport:
    """Compares a translator's selected faces with their fold's training faces.

    Args:
        root: The workspace.
        translator: Its name.
        out: The folder for `identity.csv` and `identity.json`.
        embedding: As `reports.identity.find_embedding` knows it.
        weights: As there.
        fold: Which fold.
        most: The first so many faces that selection kept, which mix the classes evenly.

    Returns:
        The report.

    Raises:
        InputError: The faces are not there, or were changed; or there is no such embedding.
    """
    parameters, artifacts = load_parameters(root / "params.yaml"), Artifacts(root)
    if translator not in parameters.translators:
        raise InputError(unknown_translator(parameters, translator))
    check_destination(root, out, "identity.json", below=artifacts.home / "identity")
    embed = find_embedding(embedding, weights)
    check_inputs(
        [
            StageInput(artifacts.faces, "s2l prepare"),
            StageInput(artifacts.folds, "s2l prepare"),
            StageInput(artifacts.selected(translator), f"s2l assess {translator}"),
        ]
    )
    if (refusal := refusal_in(artifacts.selected(translator))) is not None:
        raise InputError(Problem(translator, f"was refused: {refusal['reason']}", "name another translator"))
    check_fold(read_folds(artifacts.folds), fold)
    train = faces_of_fold(artifacts, fold)["train"]
    made = _synthetic(fold_directory(artifacts.selected(translator), fold), train.size, train.channels, most)
    report, table = identity_report(made, train, embed, name=embedding)
    with folder_in_place(out) as folder:
        atomic_write_text(folder / "identity.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        atomic_write_text(folder / "identity.json", report.model_dump_json(indent=1) + "\n")
    return report


def _synthetic(folder: Path, size: int, channels: int, most: int) -> SyntheticFaces:
    columns = ["face_id", "image", "label", "label_name", "source_id", "kept"]
    parts: list[pa.RecordBatch] = []
    left = most
    for batch in iterate_faces(folder, columns=columns, batch_size=500):
        parts.append(batch.filter(batch.column("kept")).slice(0, left))
        left -= len(parts[-1])
        if left <= 0:
            break
    table = pa.Table.from_batches(parts)
    if not len(table):
        raise none_kept(folder)
    return SyntheticFaces(
        images=face_tensors(table, size=size, channels=channels).images,
        face_ids=tuple(table.column("face_id").to_pylist()),
        source_ids=tuple(table.column("source_id").to_pylist()),
        label_names=tuple(table.column("label_name").to_pylist()),
    )
