"""Writing the table of faces: shards, their completeness, and the card that lies beside them.

A dataset directory holds `data/<split>-<shard>.parquet`, whose rows mix the classes evenly, and a `README.md` card that
`datasets.load_dataset` reads. Faces without a split lie in `data/all-*` and are the card's `train` split, since Hugging
Face knows no rows outside a split; their own `split` column stays null.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path, atomic_write_text, sha256_of_file
from augment.core.replacing import folder_in_place
from augment.core.seals import add_to_seal, announce_files, file_digest, read_seal, remove_sealed_files
from augment.faces.interleaving import RowStream, interleave
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.licences import Licence, as_licence, card_head
from augment.faces.table import (
    FIELDS,
    SCHEMA_VERSION,
    SPLITS,
    SYNTHETIC_FIELDS,
    class_names,
    face_schema,
    faces_from_rows,
    schema_metadata,
)

ROW_GROUP_ROWS = 1_000
ROWS_PER_SHARD = 5_000
BUFFERED_BYTES = 256 * 2**20
UNSPLIT = "all"
_DATA = "data"


@dataclass(frozen=True)
class CardFacts:
    """What a dataset's card says beyond its counts.

    Attributes:
        title: The card's heading.
        description: What the faces are and where they come from; Markdown.
        licence: Under which terms the faces stand: a licence, an identifier (`mit`, `cc-by-4.0`) or a sentence. A card
            without one is refused when it is written.
    """

    title: str
    description: str
    licence: Licence | str | None = None


def shard_path(directory: Path, split: str | None, index: int) -> Path:
    """Where a shard lies: `data/<split>-<shard>.parquet`.

    Args:
        directory: The dataset directory.
        split: train, validation or test; None (no split) is filed as `all`.
        index: The shard's number within its split.
    """
    return Path(directory) / "data" / f"{split or UNSPLIT}-{index:05d}.parquet"


def class_shard_path(directory: Path, split: str | None, class_name: str, index: int) -> Path:
    """Where the rows of one class wait to be mixed with others: `data/<split>-<class>-<shard>.parquet`.

    Args:
        directory: A scratch folder.
        split: train, validation or test; None (no split) is filed as `all`.
        class_name: The class. Characters that a file name can't hold everywhere become `_`, with a short hash after
            them, so that two classes never share a file.
        index: The shard's number within its split and class.
    """
    safe = re.sub(r"[^A-Za-z0-9_]+", "_", class_name)
    if safe != class_name:
        safe = f"{safe}_{hashlib.sha256(class_name.encode()).hexdigest()[:8]}"
    return Path(directory) / "data" / f"{split or UNSPLIT}-{safe}-{index:05d}.parquet"


def write_shard(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, sealed: bool = True) -> Path:
    """Writes one shard, atomically: built under a scratch name, flushed to disk, renamed.

    Where it lies in a dataset directory's `data`, its SHA-256 joins the directory's seal (`augment.core.seals`).

    Args:
        path: The shard's file, as `shard_path` names it.
        rows: Row mappings of the schema; absent keys become null.
        schema: Made by `augment.faces.table.face_schema`. The row count joins its metadata here.
        sealed: Whether its SHA-256 joins the seal; False where several processes write into one directory, and one
            of them calls `announce_shards` before and `seal_shard` after.

    Returns:
        `path`.

    Raises:
        InputError: A row has a null where none may be, a label without that name, or an unknown split.
    """
    path = Path(path)
    _check_rows(rows, schema, str(path))
    starts = range(0, len(rows), ROW_GROUP_ROWS)
    groups = (faces_from_rows(rows[start : start + ROW_GROUP_ROWS], schema) for start in starts)
    return _write_groups(path, groups, len(rows), schema, sealed)


def _write_groups(path: Path, groups: Iterable[pa.Table], rows: int, schema: pa.Schema, sealed: bool = True) -> Path:
    encoded = json.dumps({**schema_metadata(schema), "rows": rows}, sort_keys=True).encode()
    schema = schema.with_metadata({**(schema.metadata or {}), b"s2l": encoded})
    with (
        (sealed_shard if sealed else atomic_path)(path) as scratch,
        # Pages of encoded pictures are never alike: a dictionary would only cost memory.
        pq.ParquetWriter(scratch, schema, compression="zstd", use_dictionary=_dictionary_columns(schema)) as writer,
    ):
        for group in groups:
            writer.write_table(group.replace_schema_metadata(schema.metadata))
    return path


@contextmanager
def sealed_shard(path: Path) -> Iterator[Path]:
    """Gives a scratch path for a shard, as `atomic_path` does; its SHA-256 joins its dataset directory's seal.

    First the seal, then the file: a kill between them leaves a shard that is no more complete, and never one that
    nobody owns to.
    """
    path = Path(path)
    with atomic_path(path) as scratch:
        yield scratch
        if path.parent.name == _DATA:
            add_to_seal(path.parent.parent, f"{_DATA}/{path.name}", sha256_of_file(scratch))


def announce_shards(directory: Path, paths: Iterable[Path]) -> None:
    """Makes shards the tool's own that other processes are going to write."""
    announce_files(directory, [f"{_DATA}/{path.name}" for path in paths])


def seal_shard(directory: Path, path: Path) -> None:
    """Adds a shard that another process has written to the seal."""
    add_to_seal(directory, f"{_DATA}/{path.name}", sha256_of_file(path))


def keep_only_shards(directory: Path, paths: Collection[Path]) -> None:
    """Deletes the other shards of a directory that the tool claimed: a reader takes every file that lies there.

    Raises:
        InputError: One of them is not the tool's.
    """
    others = [path for path in sorted((Path(directory) / _DATA).glob("*.parquet")) if path not in paths]
    remove_sealed_files(directory, [f"{_DATA}/{path.name}" for path in others])


def _dictionary_columns(schema: pa.Schema) -> list[str]:
    names = {"label", "label_name", "subject", "source", "split", "illumination", "source_label", "translator"}
    return [name for name in (*schema.names,) if name in names | {"weights_sha256", "reject_reason"}]


def _check_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, where: str) -> None:
    names = class_names(schema)
    required = [field.name for field in FIELDS if not field.nullable and field.name != "synthetic"]
    of_synthetic = {field.name for field in SYNTHETIC_FIELDS}
    known = set(schema.names)
    problems: list[Problem] = []
    for position, row in enumerate(rows):
        here = f"{where} row {position}"
        problems += [
            Problem(here, f"{name} is missing")
            for name in required
            if row.get(name) is None and (row.get("synthetic") or name not in of_synthetic)
        ]
        problems += [Problem(here, f"no column is called {name!r}") for name in row if name not in known]
        label = row.get("label")
        if label is not None and not (0 <= label < len(names) and names[label] == row.get("label_name")):
            problems.append(Problem(here, f"label {label} is not {row.get('label_name')!r} among {list(names)}"))
        if row.get("split") is not None and row["split"] not in SPLITS:
            problems.append(Problem(here, f"split {row['split']!r} is none of {', '.join(SPLITS)}"))
        landmarks = row.get("landmarks")
        if landmarks is not None and np.size(landmarks) != 2 * LANDMARK_COUNT:
            problems.append(Problem(here, f"landmarks are {np.size(landmarks)} numbers, not {2 * LANDMARK_COUNT}"))
    if problems:
        raise InputError(problems, f"{len(problems)} problems in rows that were to be written:")


def shard_is_complete(path: Path, expected_rows: int | None, configuration_hash: str | None) -> bool:
    """Whether a shard is there, whole, and what this configuration would write again.

    Args:
        path: The shard's file.
        expected_rows: How many rows it must hold; None accepts the count that its metadata names.
        configuration_hash: Must equal the metadata's `configuration_hash`; None accepts any.

    Returns:
        True where the footer can be read, the row counts of the footer, the metadata and the caller agree, the
        schema version and the configuration hash are the wanted ones, and the file is what its directory's seal (if it
        lies in a sealed one) says.
    """
    path = Path(path)
    try:
        seal = read_seal(path.parent.parent) if path.parent.name == _DATA else None
        if seal is not None and seal.get(f"{_DATA}/{path.name}") != file_digest(path):
            return False
        with pq.ParquetFile(path) as parquet:
            rows = parquet.metadata.num_rows
            values = schema_metadata(parquet.schema_arrow)
    except (OSError, pa.ArrowException, ValueError):
        return False
    return (
        rows == values.get("rows")
        and (expected_rows is None or rows == expected_rows)
        and values.get("schema_version") == SCHEMA_VERSION
        and (configuration_hash is None or values.get("configuration_hash") == configuration_hash)
    )


class ShardWriter:
    """Sorts a stream of rows, in whatever order they come, into shards by split and class, with bounded memory.

    Rows wait in memory until a shard is full, or until all waiting pictures together pass `buffered_bytes`: then the
    fullest waiting shard is written as it is. What it writes depends on the rows and their order alone.

    Args:
        directory: A scratch folder, from which `mix_classes` reads.
        schema: Made by `augment.faces.table.face_schema`.
        rows_per_shard: A shard's largest number of rows.
        buffered_bytes: Largest number of bytes of pictures and masks that wait in memory.

    Attributes:
        paths: The shards written.
        largest_row: Bytes of the largest row's pictures and masks.
        rows_by_split: Rows by the card's splits.
    """

    def __init__(
        self,
        directory: Path,
        schema: pa.Schema,
        *,
        rows_per_shard: int = ROWS_PER_SHARD,
        buffered_bytes: int = BUFFERED_BYTES,
    ) -> None:
        self.directory = Path(directory)
        self.schema = schema
        self.rows_per_shard = rows_per_shard
        self.buffered_bytes = buffered_bytes
        self.paths: list[Path] = []
        self.largest_row = 1
        self.rows_by_split: Counter[str] = Counter()
        self._waiting: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        self._waiting_bytes: Counter[tuple[str, str]] = Counter()
        self._next_index: Counter[tuple[str, str]] = Counter()
        self._face_ids: set[str] = set()

    def write(self, row: Mapping[str, Any]) -> None:
        """Takes one row.

        Raises:
            InputError: Its face_id was taken before.
        """
        face_id = row.get("face_id")
        if face_id is not None and face_id in self._face_ids:
            raise InputError(
                Problem(f"face_id {face_id!r}", "occurs twice", "give every face of the source its own name")
            )
        self._face_ids.add(str(face_id))
        key = (row.get("split") or UNSPLIT, str(row.get("label_name")))
        waiting = self._waiting.setdefault(key, [])
        waiting.append(row)
        pictures = ((row.get("image") or {}).get("bytes"), row.get("mask"), row.get("simulated"))
        size = sum(len(picture or b"") for picture in pictures)
        self._waiting_bytes[key] += size
        self.largest_row = max(self.largest_row, size)
        if len(waiting) >= self.rows_per_shard:
            self._flush(key)
        elif self._waiting_bytes.total() > self.buffered_bytes:
            self._flush(self._waiting_bytes.most_common(1)[0][0])

    def close(self) -> None:
        """Writes what still waits."""
        for key in sorted(self._waiting):
            self._flush(key)

    def _flush(self, key: tuple[str, str]) -> None:
        rows = self._waiting.pop(key)
        del self._waiting_bytes[key]
        path = class_shard_path(self.directory, key[0], key[1], self._next_index[key])
        self._next_index[key] += 1
        self.paths.append(write_shard(path, rows, self.schema))
        self.rows_by_split["train" if key[0] == UNSPLIT else key[0]] += len(rows)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def mix_classes(writer: ShardWriter, directory: Path) -> None:
    """Writes the shards of a dataset directory from those that a writer sorted by class; their rows mix the classes.

    Args:
        writer: Closed. Its limits on rows and bytes hold here too.
        directory: The dataset directory.
    """
    order = {name: label for label, name in enumerate(class_names(writer.schema))}
    by_key: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(writer.paths):
        split, name = path.stem.split("-")[:2]
        by_key.setdefault((split, name), []).append(path)
    for split in sorted({split for split, _ in by_key}):
        keys = sorted((key for key in by_key if key[0] == split), key=lambda key: (order.get(key[1], len(order)), key))
        rows = min(writer.rows_per_shard, max(1, writer.buffered_bytes // writer.largest_row))
        streams = [RowStream(by_key[key], max(1, min(ROW_GROUP_ROWS, rows // len(keys)))) for key in keys]
        for index, table in enumerate(interleave(streams, rows)):
            groups = (table.slice(start, ROW_GROUP_ROWS) for start in range(0, len(table), ROW_GROUP_ROWS))
            path = shard_path(directory, None if split == UNSPLIT else split, index)
            _write_groups(path, groups, len(table), writer.schema)


def write_faces(
    rows: Iterable[Mapping[str, Any]],
    directory: Path,
    class_names: Sequence[str],
    *,
    synthetic: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
    buffered_bytes: int = BUFFERED_BYTES,
    metadata: Mapping[str, Any] | None = None,
    card: CardFacts,
) -> dict[str, int]:
    """Writes a whole dataset directory from a stream of rows; an older dataset there is replaced at the end.

    Until all is there the dataset grows in a scratch folder, so that a killed run leaves the older one, or none, and
    never a part of one (`augment.core.replacing`). A directory that this tool did not write is refused, not replaced.

    Args:
        rows: Row mappings of the schema, in any order.
        directory: The dataset directory.
        class_names: The classes in label order.
        synthetic: Whether the faces are; the card says it.
        rows_per_shard: A shard's largest number of rows.
        buffered_bytes: Largest number of bytes of pictures that wait in memory.
        metadata: JSON values for the schema metadata, such as `configuration_hash`.
        card: Title, description and licence of the card.

    Returns:
        Rows by the card's splits.

    Raises:
        InputError: The card has no licence, a row breaks the schema's rules, a face_id occurs twice, there are no
            rows, or the directory holds files that this tool did not write.
    """
    directory = Path(directory)
    licence = as_licence(card.licence)
    schema = face_schema(class_names, metadata=metadata)
    limits = {"rows_per_shard": rows_per_shard, "buffered_bytes": buffered_bytes}
    with folder_in_place(directory) as scratch:
        with ShardWriter(scratch / "sorted", schema, **limits) as writer:
            for row in rows:
                writer.write(row)
        if not writer.paths:
            raise InputError(Problem("the dataset", "would hold no faces", "look at the source's root and settings"))
        mix_classes(writer, scratch)
        shutil.rmtree(scratch / "sorted")
        counts = {split: writer.rows_by_split[split] for split in SPLITS if writer.rows_by_split[split]}
        write_card(
            scratch,
            title=card.title,
            description=card.description,
            licence=licence,
            class_names=class_names,
            splits=counts,
            synthetic=synthetic,
        )
    return counts


def write_card(
    directory: Path,
    *,
    title: str,
    description: str,
    licence: Licence | str | None,
    class_names: Sequence[str],
    splits: Mapping[str, int],
    synthetic: bool,
) -> Path:
    """Writes `README.md`, the dataset's card: YAML for Hugging Face `datasets`, then words for people.

    Args:
        directory: The dataset directory; its shards are there already.
        title: The card's heading.
        description: What the faces are; Markdown.
        licence: Under which terms the faces stand: a licence, an identifier or a sentence.
        class_names: The classes in label order.
        splits: Rows by split. Faces without a split count as `train`; splits without rows are left out.
        synthetic: Whether the faces are; the card says it.

    Returns:
        The card's path.

    Raises:
        InputError: There is no licence, or its line says nothing.
    """
    directory, licence = Path(directory), as_licence(licence)
    filled = {split: count for split, count in splits.items() if count}
    patterns = {split: [f"data/{split}-*.parquet"] for split in filled}
    if "train" in filled:
        names = {path.name.split("-")[0] for path in (directory / "data").glob("*.parquet")}
        if UNSPLIT in names:
            patterns["train"] = [f"data/{name}-*.parquet" for name in ("train", UNSPLIT) if name in names]
    sizes = {
        split: sum(_uncompressed_bytes(path) for pattern in patterns[split] for path in directory.glob(pattern))
        for split in filled
    }
    front = {
        **licence.front_matter(),
        "task_categories": ["image-classification"],
        "tags": ["facial-expression-recognition", *(["synthetic"] if synthetic else [])],
        "configs": [
            {"config_name": "default", "data_files": [{"split": s, "path": patterns[s]} for s in filled]},
        ],
        "dataset_info": {
            "features": _card_features(class_names),
            "splits": [{"name": s, "num_bytes": sizes[s], "num_examples": n} for s, n in filled.items()],
            "download_size": sum(path.stat().st_size for path in (directory / "data").glob("*.parquet")),
            "dataset_size": sum(sizes.values()),
        },
    }
    lines = [
        *card_head(front, title),
        description.strip(),
        "",
        *(["These faces are synthetic: each row names its source face, translator, weights and seed.", ""] * synthetic),
        "| Split | Faces |",
        "|---|---:|",
        *(f"| {split} | {count} |" for split, count in filled.items()),
        "",
        f"Classes: {', '.join(class_names)}.",
        "",
        "`datasets.load_dataset` reads this folder. pandas, pyarrow and Polars take every file of a folder for a",
        "table, this card too: give them its folder `data`. The rows mix the classes evenly.",
        "",
        *licence.section(),
    ]
    path = directory / "README.md"
    atomic_write_text(path, "\n".join(lines))
    return path


def _uncompressed_bytes(path: Path) -> int:
    footer = pq.read_metadata(path)
    return sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))


def _card_features(names: Sequence[str]) -> list[dict[str, Any]]:
    """The features in the form that a card's YAML wants; it differs from the form in the schema metadata."""
    features: list[dict[str, Any]] = []
    for field in FIELDS:
        if field.name == "image":
            features.append({"name": "image", "dtype": "image"})
        elif field.name == "label":
            numbered = {str(index): name for index, name in enumerate(names)}
            features.append({"name": "label", "dtype": {"class_label": {"names": numbered}}})
        elif pa.types.is_list(field.type):
            features.append({"name": field.name, "sequence": "float32"})
        else:
            dtype = {"double": "float64", "float": "float32"}.get(str(field.type), str(field.type))
            features.append({"name": field.name, "dtype": dtype})
    return features
