"""Flipped bits, cut files and swapped rows: nothing that this tool wrote is used in silence when it has changed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.core.checkpoints import newest_checkpoint, write_checkpoint
from augment.core.errors import InputError
from augment.core.sealed_tensors import save_tensors
from augment.core.seals import SEAL, is_sealed, seal_folder
from augment.faces.images import encode_png
from augment.faces.shards import CardFacts, shard_is_complete, write_faces
from augment.faces.splits import FoldSettings, assign_folds, fold_tables, read_folds, write_folds
from augment.faces.table import data_files, face_schema, faces_from_rows, read_faces
from augment.parsing.network import ParsingNetwork, ParsingSettings, load_parsing, save_parsing
from augment.prepare.cache import ResultCache
from augment.translators import create_translator, load_translator, save_translator, translator_header

pytestmark = pytest.mark.slow

FLIPS = 60
CLASSES = ("angry", "happy")


def flipped(whole: bytes, seed: int = 0) -> Iterator[bytes]:
    """Copies with one bit turned, at the file's ends and at places all over it."""
    chance = random.Random(seed)
    ends = [*range(min(16, len(whole))), *range(max(len(whole) - 16, 0), len(whole))]
    for place in [*ends, *(chance.randrange(len(whole)) for _ in range(FLIPS))]:
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        yield bytes(changed)


def assert_refused(path: Path, read: Callable[[], Any], match: str) -> None:
    """Sees that every damaged copy is refused by name, and that the whole one is not."""
    whole = path.read_bytes()
    read()
    for damaged in [*flipped(whole), whole[:-1], whole[: len(whole) // 2], b"", whole + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=match) as caught:
            read()
        assert str(path) in str(caught.value)
    path.write_bytes(whole)
    read()


# Weights


def test_flipped_bits_in_a_translators_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tiny = {"width": 4, "downs": 2, "residual_blocks": 1}
    stargan = create_translator("stargan", num_classes=2, channels=1, size=16, settings=tiny)
    save_translator(stargan, path, class_names=CLASSES)
    assert_refused(path, lambda: load_translator(path), "train it again")
    assert_refused(path, lambda: translator_header(path), "train it again")


def test_flipped_bits_in_the_parsing_networks_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_parsing(ParsingNetwork(channels=1, size=16, settings=ParsingSettings(width=4, levels=1)), path)
    assert_refused(path, lambda: load_parsing(path), "train it again")


def test_weights_are_checked_wherever_they_are_copied_to_and_without_a_digest_refused(tmp_path: Path) -> None:
    path, copy = tmp_path / "weights.safetensors", tmp_path / "elsewhere" / "mine.safetensors"
    save_translator(create_translator("warp", num_classes=2, channels=1, size=16), path)
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert load_translator(copy).name == "warp"
    save_file(load_file(path), copy, metadata={"s2l": json.dumps(translator_header(path))})
    with pytest.raises(InputError, match=r"mine\.safetensors: carries no SHA-256.*\(train it again\)"):
        load_translator(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ["warp"]),
        ("name", 7),
        ("num_classes", "2"),
        ("num_classes", 10**12),
        ("num_classes", True),
        ("channels", 1.0),
        ("channels", None),
        ("size", 10**9),
        ("size", {"width": 16}),
        ("settings", "none"),
        ("settings", [1]),
        ("class_names", {"angry": 0}),
        ("class_names", [0, 1]),
        ("class_names", ["angry"]),
        ("format", "2"),
        ("format", None),
    ],
)
def test_a_header_with_values_of_wrong_types_is_refused_by_its_key(tmp_path: Path, key: str, value: Any) -> None:
    path = tmp_path / "weights.safetensors"
    save_translator(create_translator("warp", num_classes=2, channels=1, size=16), path, class_names=CLASSES)
    save_tensors(load_file(path), path, {**translator_header(path), key: value})
    for read in (load_translator, translator_header):
        with pytest.raises(InputError, match=rf"weights\.safetensors, {key}: can't be"):
            read(path)


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b'{"__metadata__": 3}', b"[" * 5000, b'{"__metadata__": {"s2l": "[1]"}}']
)
def test_a_file_whose_header_is_something_else(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="is no readable weights file"):
        load_translator(path)


# Checkpoints


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "log.jsonl", SEAL])
def test_flipped_bits_in_a_checkpoint(tmp_path: Path, name: str) -> None:
    def write(step: int) -> Path:
        tensors = {"weight": torch.full((50,), float(step)), "chance": torch.arange(40, dtype=torch.uint8)}
        return write_checkpoint(
            tmp_path, step, tensors=tensors, state={"best": 0.5}, fingerprint={"seed": 1}, log=f"line {step}\n"
        )

    older, newest = write(1), write(2)
    found = newest_checkpoint(tmp_path, {"seed": 1})
    assert found is not None and found.path == newest
    whole = (newest / name).read_bytes()
    for damaged in flipped(whole):
        (newest / name).write_bytes(damaged)
        with pytest.warns(UserWarning, match="is damaged and is passed over"):
            found = newest_checkpoint(tmp_path, {"seed": 1})
        assert found is not None and found.path == older


# The cache of landmarks


@pytest.mark.filterwarnings("ignore:.*a new one is begun")
def test_flipped_bits_in_the_landmark_cache_never_change_a_result(tmp_path: Path) -> None:
    """Whatever is damaged: a result is what it was or unknown, and new ones are kept."""
    file = tmp_path / "landmarks.sqlite"
    results = {bytes([number]) * 32: {"box": bytes([number]) * 9000, "error": number / 7} for number in range(20)}

    def open_cache() -> ResultCache:
        return ResultCache(file, ("box", "error"))

    def fill(cache: ResultCache) -> None:
        for key, result in results.items():
            cache.put(key, result)
        cache.close()

    fill(open_cache())
    whole = file.read_bytes()
    lost = 0
    for damaged in [*flipped(whole), whole[:-1], whole[: len(whole) // 2], whole[:50], b"", whole + b"\0"]:
        file.write_bytes(damaged)
        cache = open_cache()
        found = [cache.get(key) for key in results]
        assert all(one is None or one == result for one, result in zip(found, results.values(), strict=True))
        lost += None in found
        fill(cache)
        assert [open_cache().get(key) for key in results] == list(results.values())
    assert lost > FLIPS / 2  # the values fill nearly the whole file


# Folds


def faces(count: int = 24, prefix: str = "face") -> pa.Table:
    return pa.table(
        {
            "face_id": [f"{prefix}-{number}" for number in range(count)],
            "label_name": [CLASSES[number % 2] for number in range(count)],
            "subject": [f"s{number // 2}" for number in range(count)],
            "split": pa.array([None] * count, pa.string()),
        }
    )


def test_flipped_bits_in_the_folds(tmp_path: Path) -> None:
    path = write_folds(assign_folds(faces(), FoldSettings(kind="subjects"), 0), tmp_path / "folds.parquet")
    assert_refused(path, lambda: read_folds(path, sealed=True), "run the stage that writes it")


def test_train_and_test_swapped_in_the_folds(tmp_path: Path) -> None:
    path = write_folds(assign_folds(faces(), FoldSettings(kind="subjects"), 0), tmp_path / "folds.parquet")
    table = pq.read_table(path)
    swap = {"train": "test", "test": "train", "validation": "validation"}
    splits = pa.array([swap[split] for split in table.column("split").to_pylist()])
    changed = table.set_column(2, "split", splits)
    pq.write_table(changed, path)
    with pytest.raises(InputError, match=r"folds\.parquet: is damaged or was changed"):
        read_folds(path)
    pq.write_table(changed.replace_schema_metadata(None), path)  # by a program that drops what it does not know
    with pytest.raises(InputError, match="carries no SHA-256"):
        read_folds(path, sealed=True)
    write_folds(table, path)  # the control
    assert read_folds(path, sealed=True).equals(table)


@pytest.mark.parametrize("column", ["label_name", "subject", "order"])
def test_folds_of_other_faces_are_refused(column: str) -> None:
    mine = faces()
    folds = assign_folds(mine, FoldSettings(kind="subjects"), 0)
    fold_tables(mine, folds, 0)
    if column == "order":
        other = mine.take(list(reversed(range(len(mine)))))
    else:
        values = list(reversed(mine.column(column).to_pylist()))
        other = mine.set_column(mine.column_names.index(column), column, pa.array(values))
    with pytest.raises(InputError, match="folds of other faces"):
        fold_tables(other, folds, 0)


# Shards


def rows(count: int = 12) -> list[dict[str, Any]]:
    chance = random.Random(0)
    return [
        {
            "image": {"bytes": encode_png(torch.tensor([[chance.randrange(256)] * 8] * 8).numpy().astype("uint8"))},
            "label": number % 2,
            "label_name": CLASSES[number % 2],
            "face_id": f"face-{number}",
            "source": "test",
            "split": "train",
        }
        for number in range(count)
    ]


def test_flipped_bits_in_a_shard(tmp_path: Path) -> None:
    write_faces(rows(), tmp_path / "faces", CLASSES, card=CardFacts("t", "d", "mit"))
    path = data_files(tmp_path / "faces")[0]
    assert_refused(path, lambda: read_faces(tmp_path / "faces"), "run the stage that writes it again")
    assert shard_is_complete(path, None, None)
    whole = path.read_bytes()
    for damaged in flipped(whole):
        path.write_bytes(damaged)
        assert not shard_is_complete(path, None, None)


def test_a_shard_that_is_gone_or_was_added(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    write_faces(rows(), folder, CLASSES, card=CardFacts("t", "d", "mit"), rows_per_shard=3)
    first, *others = data_files(folder)
    assert others
    stranger = {**rows(1)[0], "face_id": "a test face"}
    pq.write_table(faces_from_rows([stranger], face_schema(CLASSES)), folder / "data" / "train-00099.parquet")
    with pytest.raises(InputError, match=r"train-00099\.parquet: was added later"):
        read_faces(folder)
    (folder / "data" / "train-00099.parquet").unlink()
    whole = first.read_bytes()
    first.unlink()
    with pytest.raises(InputError, match=rf"{first.name}: is missing"):
        read_faces(folder)
    first.write_bytes(whole)
    read_faces(folder)


def test_a_damaged_seal_is_an_error_and_no_seal_of_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    write_faces(rows(), folder, CLASSES, card=CardFacts("t", "d", "mit"))
    whole = (folder / SEAL).read_bytes()
    for damaged in flipped(whole):
        (folder / SEAL).write_bytes(damaged)
        assert not is_sealed(folder)
    for cut in range(0, len(whole) - 1, 37):
        (folder / SEAL).write_bytes(whole[:cut])
        assert not is_sealed(folder)
        with pytest.raises(InputError, match=r"s2l"):
            read_faces(folder)


def test_a_seal_is_in_the_form_of_sha256sum(tmp_path: Path) -> None:
    import shutil
    import subprocess

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a file").write_text("a")
    (tmp_path / "b").write_text("b")
    seal_folder(tmp_path)
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum")
    done = subprocess.run(["sha256sum", "-c", "--strict", SEAL], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("OK") == 2, done.stderr
