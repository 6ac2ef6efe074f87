"""A workspace as a run leaves it, with made-up faces: real ones in three splits, and those of two translators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from small_faces import CLASSES, face_row, face_table

from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder
from augment.faces.licences import Licence
from augment.faces.shards import CardFacts, write_faces
from augment.faces.splits import FoldSettings, assign_folds, write_folds
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent
TRANSLATORS = ("lssl", "warp")
PER_CLASS = 8  # synthetic faces of each translator and class, of which the last is not kept
PEOPLE = 15


def write_workspace(root: Path, licence: Licence | str = "cc0-1.0", seed: int = 0, *, twice: bool = False) -> Path:
    """15 people with a face of each of three classes, and 24 faces each of LSSL and warp; returns the root.

    `twice`: the source has splits of its own, and one picture in two of them.
    """
    artifacts = Artifacts(root)
    root.mkdir(exist_ok=True)
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    values["translators"] = {
        "lssl": {"method": "lssl", "settings": {"width": 4}, "training": {"steps": 5}},
        "warp": {"method": "warp"},
    }
    values["arms"] = {"real": {"real": {"kind": "real"}}}
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    real = [
        face_row(1000 * seed + 3 * person + label, label, face_id=f"made/{person}/{label}", subject=f"person {person}")
        for person in range(PEOPLE)
        for label in range(len(CLASSES))
    ]
    if twice:
        for row in real:
            person = int(row["subject"].split()[1])
            row["split"] = "test" if person < 3 else "validation" if person < 5 else "train"
        real[0]["image"] = real[-3]["image"]  # of one class, of test and of train
    card = CardFacts("Made faces", "Noise.", licence)
    write_faces(real, artifacts.faces, CLASSES, card=card)
    folds = assign_folds(face_table(real), FoldSettings(kind="source" if twice else "subjects"), seed=0)
    write_folds(folds, artifacts.folds)
    splits = dict(zip(folds.column("face_id").to_pylist(), folds.column("split").to_pylist(), strict=True))
    sources = [row for row in real if splits[row["face_id"]] == "train"]
    for number, name in enumerate(TRANSLATORS):
        weights = artifacts.translator(name) / "fold-0" / "weights.safetensors"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(f"weights of {name}".encode())
        steps = 5 if name == "lssl" else 0
        (weights.parent / "log.jsonl").write_text(json.dumps({"step": steps}) + "\n", encoding="utf-8")
        rows = [
            _made(name, 10_000 * (1 + number) + i, i, sources, sha256_of_file(weights)) for i in range(3 * PER_CLASS)
        ]
        write_faces(rows, artifacts.selected(name) / "fold-0", CLASSES, synthetic=True, card=card)
        seal_folder(artifacts.selected(name))
    return root


def _made(name: str, picture: int, number: int, sources: list[dict[str, Any]], weights: str) -> dict[str, Any]:
    source = sources[number % len(sources)]
    label = number % len(CLASSES)
    return face_row(
        picture,
        label,
        face_id=f"{name}-f0-{CLASSES[label]}-{number // 3:06d}",
        subject=source["subject"],
        source="synthetic",
        split="train",
        synthetic=True,
        translator=name,
        source_id=source["face_id"],
        source_label=source["label_name"],
        weights_sha256=weights,
        seed=0,
        fold=0,
        confidence=0.5 + number / 100,
        identity_shift=0.1,
        kept=number // 3 < PER_CLASS - 1,
    )
