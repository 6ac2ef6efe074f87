"""Where a face comes from: source face, translator, weights, settings, code, data; and the same face made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset
from pydantic import TypeAdapter, ValidationError

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes
from augment.core.regular_files import read_regular_file
from augment.core.seals import SEAL, file_digest
from augment.faces.images import UndecodableImageError, decode_image, encode_png
from augment.faces.splits import fold_splits, read_folds
from augment.synthesis.remake import parse_face_id, remake_face
from augment.translators import load_translator
from pipeline.core.devices import choose_device
from pipeline.core.sections import Name
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts, fold_directory
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.publishing.destinations import check_file
from pipeline.publishing.marks import MARKED, mark_of, marked_png
from pipeline.publishing.run_code import code_of_run
from pipeline.results import describe_data
from pipeline.stages.folds import faces_of_fold, fold_numbers

_NAME = TypeAdapter(Name)  # what translators may be called
_COLUMNS = [
    *("face_id", "label_name", "subject", "source", "synthetic", "source_id", "source_label", "translator"),
    *("weights_sha256", "seed", "fold", "confidence", "identity_shift", "kept", "reject_reason"),
]


@dataclass(frozen=True)
class FoundFace:
    """A face of a run.

    Attributes:
        face_id: Its id.
        row: Its row, with its picture.
        table: The folder of its table.
    """

    face_id: str
    row: dict[str, Any]
    table: Path


@dataclass(frozen=True)
class Trace:
    """What a run says of a face.

    Attributes:
        facts: In words, by what each is of, in order.
    """

    facts: dict[str, str]


def find_face(root: Path, face: str) -> FoundFace:
    """A face by its id, or by what the mark of a picture says, if it is a picture of this run.

    Args:
        root: The workspace.
        face: An id, or the path of a PNG that an export or `s2l trace --remake` wrote.

    Raises:
        InputError: The run has no such face, or its tables are damaged; or it is a picture without a mark, with the
            mark of another run's face (every run numbers its faces alike), or with other pixels than the face of that
            mark has.
    """
    path = Path(face)
    if not path.is_file():
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            raise InputError(Problem(face, "is not there", "name a face_id, or a PNG that there is"))
        return _find(Artifacts(root), face)
    picture = read_regular_file(path)
    found = mark_of(picture)
    if found is None or not isinstance(found.get("face_id"), str):
        why = "has no mark that says which face it is: it is no synthetic face of this tool, or was saved anew"
        raise InputError(Problem(face, why, "name a face_id"))
    marked = _find(Artifacts(root), found["face_id"])
    if differing := [name for name in MARKED if found.get(name) != marked.row[name]]:
        why = f"is marked as {marked.face_id} of another run: its mark says another {', '.join(differing)}"
        raise InputError(Problem(face, why, "trace it in the workspace of the run that made it"))
    try:
        same = np.array_equal(decode_image(picture), decode_image(marked.row["image"]["bytes"]))
    except UndecodableImageError as error:
        raise InputError(Problem(face, f"can't be decoded: {error}", "name a face_id")) from error
    if not same:
        why = f"is marked as {marked.face_id}, and has not its pixels: the picture was changed, or the mark is borrowed"
        raise InputError(Problem(face, why, f"to trace that face all the same, name it: `s2l trace {marked.face_id}`"))
    return marked


def trace_face(root: Path, face: FoundFace) -> Trace:
    """Says where a face of a run comes from.

    Args:
        root: The workspace.
        face: Of it, real or synthetic.

    Raises:
        InputError: Parameters or tables of the run can't be read.
    """
    parameters, artifacts = load_parameters(root / "params.yaml"), Artifacts(root)
    face_id, row = face.face_id, face.row
    facts = {"face": face_id, "class": row["label_name"], "table": str(face.table.relative_to(root))}
    if not row["synthetic"]:
        folds = read_folds(artifacts.folds)
        splits = {fold: fold_splits(folds, fold).get(face_id, "none") for fold in fold_numbers(folds)}
        facts |= {
            "kind": f"real, of {row['source']}",
            "person": row["subject"] or "unknown",
            "split": ", ".join(f"{split} (fold {fold})" for fold, split in sorted(splits.items())),
        }
    else:
        facts |= _of_synthetic(parameters, artifacts, row)
    data = describe_data(parameters.dataset.source, parameters.dataset.settings)
    facts |= {"data": f"{data}; {_data_digest(artifacts)}", "code": _code(artifacts)}
    if row["synthetic"]:
        facts |= {"made again by": f"s2l trace {face_id} --remake face.png"}
    return Trace(facts)


def _of_synthetic(parameters: Parameters, artifacts: Artifacts, row: dict[str, Any]) -> dict[str, str]:
    name = row["translator"]
    person, moved = row["subject"] or "unknown", row["identity_shift"]
    facts = {
        "kind": "synthetic",
        "source face": f"{row['source_id']} ({row['source_label']}, person {person}), a training face",
        "fold and seed": f"{row['fold']}, {row['seed']}",
        "moved": "unknown" if moved is None else f"{moved:.4f} of the range of a pixel, on average",
    }
    if row["kept"] is not None:
        judged = "" if row["confidence"] is None else f", probability of its class {row['confidence']:.3f}"
        facts["selection"] = ("kept" if row["kept"] else f"rejected: {row['reject_reason']}") + judged
    entry = parameters.translators.get(name)
    if entry is None:
        facts["translator"] = f"{name}; params.yaml has none of that name any more"
    else:
        settings = ", ".join(f"{key}={value}" for key, value in entry.settings.items()) or "the method's own"
        facts["translator"] = f"{name}: method {entry.method}; settings: {settings}"
    weights = fold_directory(artifacts.translator(name), row["fold"]) / "weights.safetensors"
    there = file_digest(weights) if weights.is_file() else None
    same = {None: "that file is gone", row["weights_sha256"]: str(weights.relative_to(artifacts.root))}
    facts["weights"] = f"SHA-256 {row['weights_sha256']} ({same.get(there, 'the file there now is another one')})"
    return facts


def _data_digest(artifacts: Artifacts) -> str:
    seal = artifacts.faces / SEAL
    return f"SHA-256 of the table's list of digests {file_digest(seal)}" if seal.is_file() else "the table is gone"


def _code(artifacts: Artifacts) -> str:
    """The commit that the run's report names."""
    if not (artifacts.report / "metrics.json").is_file():
        return "unknown: there is no report"
    code = code_of_run(artifacts)
    return f"{code.commit} (tree {code.tree})"


def _find(artifacts: Artifacts, face_id: str) -> FoundFace:
    """A face in the table of selection, or else of synthesis, or of the real faces; tables by their digests."""
    name = parse_face_id(face_id)
    places: list[tuple[Path, StageInput]] = []
    if name is not None and _is_name(name.translator):  # it is part of a path
        places = [
            (fold_directory(home(name.translator), name.fold), StageInput(home(name.translator), f"s2l {stage}"))
            for home, stage in (
                (artifacts.selected, f"assess {name.translator}"),
                (artifacts.synthetic, f"synthesize {name.translator}"),
            )
        ]
    places.append((artifacts.faces, StageInput(artifacts.faces, "s2l prepare")))
    for place, written in places:
        if (place / "data").is_dir():
            check_inputs([written])
            table = pyarrow.dataset.dataset(place / "data", format="parquet")
            columns = [column for column in [*_COLUMNS, "image"] if column in table.schema.names]
            found = table.to_table(columns=columns, filter=pc.field("face_id") == face_id)
            if len(found):
                row = {**dict.fromkeys(_COLUMNS), "synthetic": False, **found.to_pylist()[0]}
                return FoundFace(face_id, row, place)
    looked = ", ".join(str(place.relative_to(artifacts.root)) for place, _ in places)
    raise InputError(Problem(face_id, f"is no face of this run; looked in {looked}", "name a face of this workspace"))


def _is_name(word: str) -> bool:
    try:
        return bool(_NAME.validate_python(word))
    except ValidationError:
        return False


def remake_face_of(root: Path, face: FoundFace, out: Path) -> bool:
    """Makes a synthetic face again and writes it as a marked PNG.

    Args:
        root: The workspace.
        face: Of it, a synthetic one.
        out: The file.

    Returns:
        Whether every pixel is as it was. On another machine or version of torch a network rounds otherwise.

    Raises:
        InputError: It is no synthetic face, or its weights or settings are not there any more.
    """
    if out.exists() and (not out.is_file() or mark_of(read_regular_file(out)) is None):
        raise InputError(Problem(str(out), "is there, and is no marked face; it is not touched", "name another file"))
    check_file(root, out)
    parameters, artifacts = load_parameters(root / "params.yaml"), Artifacts(root)
    face_id, row = face.face_id, face.row
    name = parse_face_id(face_id)
    if name is None or not row["synthetic"]:
        raise InputError(Problem(face_id, "is a real face, which nothing makes", "name a synthetic face"))
    weights = fold_directory(artifacts.translator(name.translator), name.fold) / "weights.safetensors"
    if not weights.is_file() or file_digest(weights) != row["weights_sha256"]:
        why = f"was made by weights with the SHA-256 {row['weights_sha256']}, which are not at {weights}"
        raise InputError(Problem(face_id, why, "check them out (`dvc checkout`), or run `dvc repro`"))
    device = choose_device(parameters.runtime.device)
    train = faces_of_fold(artifacts, name.fold)["train"].to(device)
    translator = load_translator(weights, device).eval()
    made, source = remake_face(translator, train, parameters.synthesis.of(name.translator), name, seed=row["seed"])
    pixels = made.permute(1, 2, 0).numpy()
    before = decode_image(row["image"]["bytes"]).reshape(pixels.shape)
    if source != row["source_id"]:
        why = f"is made from {source} now, and was from {row['source_id']}: params.yaml or the faces are others"
        raise InputError(Problem(face_id, why, "check out what made it, or run `dvc repro`"))
    atomic_write_bytes(out, marked_png(encode_png(pixels), row))
    return bool(np.array_equal(pixels, before))
