"""The columns of exported faces: plain types, each with its meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from augment.faces.table import IMAGE

SCHEMA_VERSION = "2"  # since 2 rows have their split


class Column(BaseModel):
    """A column of exported faces.

    Attributes:
        name: Plain, the same in every format.
        type: Of Arrow; in JSON the nearest one.
        nullable: Whether it may be null.
        meaning: In words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    type: str
    nullable: bool
    meaning: str


COLUMNS: tuple[Column, ...] = tuple(
    Column(name=name, type=kind, nullable=nullable, meaning=meaning)
    for name, kind, nullable, meaning in [
        ("image", "image", False, "the picture, a PNG: a struct of `bytes` and `path` in Parquet, a file elsewhere"),
        ("label", "int64", False, "the class, an index into `class_names`"),
        ("label_name", "string", False, "the class by name"),
        (
            "split",
            "string",
            False,
            "train, validation or test: of the run's fold, which keeps people apart; synthetic faces are in train",
        ),
        ("face_id", "string", False, "a name that no other face has"),
        ("subject", "string", True, "the person; of a synthetic face the person of its source face"),
        ("source", "string", False, "the kind of data set that a real face is of; `synthetic` for the others"),
        ("synthetic", "bool", False, "whether a translator made the face"),
        ("translator", "string", True, "the translator that made it; null for real faces, as are all columns below"),
        ("source_id", "string", True, "the real face that it was made from, a training face of the same fold"),
        ("source_label", "string", True, "the class of that face, by name"),
        (
            "confidence",
            "float",
            True,
            "probability 0..1 of its class, by a classifier of the fold's real training faces",
        ),
        ("identity_shift", "float", True, "mean absolute difference 0..1 of its pixels from those of the source face"),
        ("weights_sha256", "string", True, "SHA-256 of the translator's weights"),
        ("seed", "int64", True, "the seed that it was made with"),
    ]
)
FILE_NAME = Column(
    name="file_name", type="string", nullable=False, meaning="the picture's file, from the folder of this one"
)
NAMES = tuple(column.name for column in COLUMNS)
DATA_NAMES = NAMES[1:]  # all but the picture
_TYPES = {"image": IMAGE, "int64": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "float": pa.float32()}
_FEATURES = {"int64": "int64", "string": "string", "bool": "bool", "float": "float32"}


def export_schema(class_names: Sequence[str], *, pictures: bool = True) -> pa.Schema:
    """The Arrow schema of exported faces; its `huggingface` metadata names the classes, `s2l` the version.

    Args:
        class_names: In label order.
        pictures: Whether pictures are in a column; else `file_name` says where each is.
    """
    columns = COLUMNS if pictures else (FILE_NAME, *COLUMNS[1:])
    features: dict[str, Any] = {}
    for column in columns:
        if column.name == "image":
            features["image"] = {"_type": "Image"}
        elif column.name == "label":
            features["label"] = {"names": list(class_names), "_type": "ClassLabel"}
        else:
            features[column.name] = {"dtype": _FEATURES[column.type], "_type": "Value"}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        b"s2l": json.dumps({"export_schema_version": SCHEMA_VERSION}).encode(),
    }
    # Nullable all of them: `datasets` ignores the metadata of a field that is not.
    return pa.schema([pa.field(column.name, _TYPES[column.type]) for column in columns], metadata=metadata)


def card_features(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The columns in the form of a card's YAML."""
    numbered = {str(index): name for index, name in enumerate(class_names)}
    features: list[dict[str, Any]] = []
    for column in COLUMNS:
        if column.name == "image":
            features.append({"name": "image", "dtype": "image"})
        elif column.name == "label":
            features.append({"name": "label", "dtype": {"class_label": {"names": numbered}}})
        else:
            features.append({"name": column.name, "dtype": _FEATURES[column.type]})
    return features
