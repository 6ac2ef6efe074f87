"""Who else reads the tables: pandas, pyarrow, Polars, Hugging Face `datasets`, torch; and the pages that say how."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import yaml
from made_up_faces import PER_CLASS, write_workspace
from small_faces import CARD, CLASSES, face_row, face_table

from augment.core.errors import InputError
from augment.core.seals import SEAL
from augment.faces.interleaving import mixed_order
from augment.faces.parent_card import write_parent_card
from augment.faces.shards import CardFacts, write_faces
from augment.faces.splits import FoldSettings, assign_folds, write_folds
from augment.faces.table import FACE_FIELDS, FIELDS, read_faces, validate_faces
from augment.sources import open_source
from pipeline.publishing.export import ExportSettings, export_faces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEPT = PER_CLASS - 1
PAGES = ("README.md", "docs/how-to/read-the-synthetic-faces.md")
BLOCKS = [
    (page, block)
    for page in PAGES
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
]


def synthetic_rows(translator: str, fold: int, count: int = 12) -> list[dict]:
    provenance = {"synthetic": True, "translator": translator, "seed": 7, "fold": fold, "source_id": "made/0"}
    return [
        face_row(number, number % 3, split="train", face_id=f"{translator}-{fold}-{number}", kept=number < 9)
        | provenance
        for number in range(count)
    ]


def write_run(root: Path, translators: tuple[str, ...] = ("lssl", "warp"), folds: int = 2) -> Path:
    """A folder as a run leaves it; returns that of all translators."""
    real = [face_row(number, number % 3, split=("train", "test")[number // 20]) for number in range(30)]
    write_faces(real, root / "artifacts" / "faces", CLASSES, card=CARD)
    home = root / "artifacts" / "selected"
    for name in translators:
        for fold in range(folds):
            card = CardFacts("Made", "Noise.", "cc0-1.0" if name == "warp" else "Ask *us*.")
            write_faces(
                synthetic_rows(name, fold), home / f"{name}.s2l" / f"fold-{fold}", CLASSES, synthetic=True, card=card
            )
        write_parent_card(home / f"{name}.s2l", name=name, title="By one")
    write_parent_card(home, title="By all")
    return home


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


# The page


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[block.strip().splitlines()[-1][:40] for _, block in BLOCKS])
def test_what_the_pages_say_runs_as_it_is_written(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    write_run(root)
    folds = assign_folds(read_faces(root / "artifacts" / "faces"), FoldSettings(kind="source"), seed=0)
    write_folds(folds, root / "artifacts" / "folds.parquet")
    settings = ExportSettings(with_real=True, translators=("warp",))
    made = export_faces(write_workspace(tmp_path / "other"), tmp_path / "faces", settings)  # as README says it
    monkeypatch.chdir(root)
    values: dict = {}
    exec(compile(block, page, "exec"), values)
    if "same" in values:
        assert values["same"]["face_id"][:] == values["faces"]["face_id"][:]
    if "both" in values:  # the fold's training faces, whatever split the source gives them, and what selection kept
        splits = dict(zip(folds.column("face_id").to_pylist(), folds.column("split").to_pylist(), strict=True))
        made_up = values["both"]["synthetic"]
        real = [face for face, other in zip(values["both"]["face_id"], made_up, strict=True) if not other]
        assert {splits[face] for face in real} == {"train"}
        assert len(real) == list(splits.values()).count("train") < 20 and sum(made_up) == 9
    if "lazy" in values:
        assert len(values["frame"]) == 12 and len(values["kept"]) == len(values["lazy"]) == 9
    if "accuracy" in values:
        assert 0 <= values["accuracy"] <= 1
        assert len(values["train"]["label"]) == made.splits["train"].rows
        assert sum(made.splits["train"].synthetic["warp"].values()) == 3 * KEPT
        assert len(values["test"]["label"]) == made.splits["test"].rows
    elif "loss" in values:
        assert bool(values["loss"].isfinite()) and len(values["faces"]) == 9
        assert values["batch"]["image"].shape == (9, 1, 16, 16)


def test_the_page_names_every_column() -> None:
    text = (ROOT / "docs" / "reference" / "table.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {field.name for field in FIELDS} <= named


def test_torch_refuses_the_null_columns_that_the_page_leaves_out(tmp_path: Path) -> None:
    """Why the page selects columns: else the default collation meets a null."""
    import datasets
    from torch.utils.data import DataLoader

    faces = datasets.load_dataset(str(write_run(tmp_path)), "warp-fold-0", split="train").with_format("torch")
    with pytest.raises(TypeError):
        next(iter(DataLoader(faces, batch_size=4)))


# Folders


def test_the_folder_with_the_card_fails_and_its_data_folder_does_not(tmp_path: Path) -> None:
    import polars as pl

    folder = write_run(tmp_path) / "warp.s2l" / "fold-0"
    for read in (
        pd.read_parquet,
        lambda path: pyarrow.dataset.dataset(path).to_table().to_pandas(),
        lambda path: pl.read_parquet(path).to_pandas(),
    ):
        with pytest.raises(Exception, match=r"README|arquet"):
            read(folder)
        frame = read(folder / "data")
        assert len(frame) == 12 and set(frame["label_name"]) == set(CLASSES)
        assert frame["image"][0]["bytes"].startswith(b"\x89PNG")
    card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert "pandas, pyarrow and Polars take every file of a folder for a table" in card and "folder `data`" in card


@pytest.mark.parametrize("place", ["", "warp.s2l"])
def test_a_folder_above_datasets_must_be_told_which(tmp_path: Path, place: str) -> None:
    import datasets

    home = write_run(tmp_path)
    with pytest.raises(ValueError, match="warp-fold-1"):
        datasets.load_dataset(str(home / place))
    found = datasets.load_dataset(str(home / place), "warp-fold-1", split="train")
    assert set(found["translator"]) == {"warp"} and set(found["fold"]) == {1} and len(found) == 12
    assert found.features["label"].names == list(CLASSES) and found[0]["image"].size == (16, 16)


def test_without_the_card_above_they_would_be_mixed(tmp_path: Path) -> None:
    """What the cards are for; the day this fails they can go."""
    import datasets

    home = write_run(tmp_path)
    for card in (home / "README.md", home / "warp.s2l" / "README.md", home / "lssl.s2l" / "README.md"):
        card.unlink()
    mixed = datasets.load_dataset(str(home), split="train")
    assert set(mixed["translator"]) == {"lssl", "warp"}


def test_a_card_above_follows_what_comes_and_goes(tmp_path: Path) -> None:
    import shutil

    import datasets

    home = write_run(tmp_path)
    shutil.rmtree(home / "lssl.s2l")
    # Before anybody wrote the card again it is an error, and never a mixture.
    with pytest.raises((datasets.exceptions.DataFilesNotFoundError, ValueError)):
        datasets.load_dataset(str(home))
    (home / "refused").mkdir()
    (home / "refused" / "refused.json").write_text("{}")
    write_parent_card(home, title="By all")
    text = (home / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert [config["config_name"] for config in front["configs"]] == ["warp-fold-0", "warp-fold-1"]
    assert front["license"] == "cc0-1.0"  # lssl's went with it
    shutil.rmtree(home / "warp.s2l")
    assert write_parent_card(home, title="By all") is None and not (home / "README.md").exists()


def test_a_card_above_names_the_terms_of_all(tmp_path: Path) -> None:
    text = (write_run(tmp_path) / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "other"
    assert [line["line"] for line in front["terms_of_data_sets"]] == ["Ask *us*.", "cc0-1.0"]


# Order


def test_real_faces_that_come_class_by_class_are_written_mixed(tmp_path: Path) -> None:
    import datasets

    labels = [0] * 60 + [1] * 30 + [2] * 10
    rows = [face_row(number, label, split="train") for number, label in enumerate(labels)]
    for name, limits in (("one", {}), ("many", {"rows_per_shard": 7}), ("small", {"buffered_bytes": 3_000})):
        write_faces(rows, tmp_path / name, CLASSES, card=CARD, **limits)
        found = read_faces(tmp_path / name)
        validate_faces(found)
        seen = found.column("label").to_numpy()
        for start in range(0, 90, 10):
            assert np.abs(np.bincount(seen[start : start + 10], minlength=3) - [6, 3, 1]).max() <= 1
        ids = found.column("face_id").to_pylist()
        for label in range(3):  # each class in its own order
            assert [face for face, other in zip(ids, seen, strict=True) if other == label] == [
                row["face_id"] for row in rows if row["label"] == label
            ]
    files = {name: len(list((tmp_path / name / "data").iterdir())) for name in ("one", "many", "small")}
    assert files["one"] == 1 and files["many"] == 15 and files["small"] > 5
    streamed = datasets.load_dataset(str(tmp_path / "one"), split="train", streaming=True)
    assert {row["label"] for row in streamed.take(12)} == {0, 1, 2}


@pytest.mark.parametrize("counts", [[5], [3, 3], [100, 1, 7], [0, 4], []])
def test_an_order_holds_every_row_once_and_each_class_by_its_share(counts: list[int]) -> None:
    order = mixed_order(counts)
    assert np.bincount(order, minlength=len(counts)).tolist() == counts
    for label, count in enumerate(counts):
        share = np.cumsum(order == label) - np.arange(1, len(order) + 1) * count / max(len(order), 1)
        assert np.abs(share).max(initial=0) <= 1.5


# One schema


def test_real_and_synthetic_tables_join(tmp_path: Path) -> None:
    import datasets
    import polars as pl

    home = write_run(tmp_path)
    folders = (tmp_path / "artifacts" / "faces", home / "warp.s2l" / "fold-0")
    tables = [read_faces(folder) for folder in folders]
    assert tables[0].schema.equals(tables[1].schema) and tables[0].schema.names == [field.name for field in FIELDS]
    joined = pa.concat_tables(tables)
    validate_faces(joined)
    assert joined.column("synthetic").to_pylist() == [False] * 30 + [True] * 12
    assert joined.column("translator").null_count == joined.column("seed").null_count == 30
    frames = pd.concat([pd.read_parquet(folder / "data") for folder in folders])
    assert len(frames) == 42 and frames["synthetic"].sum() == 12
    assert len(pl.concat([pl.read_parquet(folder / "data") for folder in folders])) == 42
    loaded = [datasets.load_dataset(str(folder), split="train") for folder in folders]
    assert loaded[0].features == loaded[1].features
    both = datasets.concatenate_datasets(loaded)
    assert both[0]["translator"] is None and both[-1]["translator"] == "warp"


def test_faces_with_and_without_landmarks_are_read_by_all(tmp_path: Path) -> None:
    """Arrow before 26 refuses a column of lists of a fixed length that has a null, and so every such table."""
    import datasets
    import duckdb
    import polars as pl

    points = np.linspace(0, 1, 136, dtype=np.float32).tolist()
    rows = [face_row(number, split="train", landmarks=points if number % 2 else None) for number in range(6)]
    write_faces(rows, tmp_path, CLASSES, card=CARD)
    assert not any(pa.types.is_fixed_size_list(field.type) for field in FIELDS)
    file = next((tmp_path / "data").iterdir())
    assert not any(pa.types.is_fixed_size_list(field.type) for field in pq.read_schema(file))
    found = {
        "arrow": pq.read_table(file).column("landmarks").to_pylist(),
        "pandas": [None if values is None else values.tolist() for values in pd.read_parquet(file)["landmarks"]],
        "polars": pl.read_parquet(file)["landmarks"].to_list(),
        "duckdb": [values for (values,) in duckdb.sql(f"select landmarks from '{file}'").fetchall()],
        "datasets": datasets.load_dataset(str(tmp_path), split="train")["landmarks"][:],
    }
    for reader, values in found.items():
        assert values == [points if number % 2 else None for number in range(6)], reader


def as_version_2(folder: Path) -> None:
    """Makes a table what version 2 wrote: landmarks are lists of a fixed length."""
    file = next((folder / "data").iterdir())
    table = pq.read_table(file)
    place = table.column_names.index("landmarks")
    fixed = pa.field("landmarks", pa.list_(pa.float32(), 136))
    table = table.set_column(place, fixed, table.column(place).cast(fixed.type))
    metadata = {**table.schema.metadata, b"s2l": table.schema.metadata[b"s2l"].replace(b'"3"', b'"2"')}
    assert b'"schema_version": "2"' in metadata[b"s2l"]
    (folder / SEAL).unlink()
    pq.write_table(table.replace_schema_metadata(metadata), file)


def test_tables_of_version_2_are_read_as_they_are_now(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((68, 2), np.float32)
    rows = [face_row(number, split="train", landmarks=points if number % 2 else None) for number in range(6)]
    write_faces(rows, tmp_path, CLASSES, card=CARD)
    now = read_faces(tmp_path)
    as_version_2(tmp_path)
    older = read_faces(tmp_path)
    validate_faces(older)
    assert older.equals(now) and older.schema.equals(now.schema)
    assert read_faces(tmp_path, columns=["landmarks"]).equals(now.select(["landmarks"]))
    assert sum(face.landmarks is not None for face in open_source("parquet", tmp_path).faces()) == 3


def as_version_1(folder: Path) -> None:
    """Makes a table of real faces what version 1 wrote: no provenance, sorted by class."""
    file = next((folder / "data").iterdir())
    table = pq.read_table(file).select([field.name for field in FACE_FIELDS]).sort_by("label")
    metadata = {**table.schema.metadata, b"s2l": table.schema.metadata[b"s2l"].replace(b'"3"', b'"1"')}
    assert b'"schema_version": "1"' in metadata[b"s2l"]
    file.unlink()
    (folder / SEAL).unlink()  # it knew no seals either
    pq.write_table(table.replace_schema_metadata(metadata), folder / "data" / "train-angry-00000.parquet")


def test_tables_of_version_1_are_read_with_the_columns_that_came_since(tmp_path: Path) -> None:
    write_faces([face_row(number, number % 3, split="train") for number in range(6)], tmp_path, CLASSES, card=CARD)
    now = read_faces(tmp_path).sort_by([("label", "ascending"), ("face_id", "ascending")])
    as_version_1(tmp_path)
    older = read_faces(tmp_path)
    validate_faces(older)
    assert older.schema.equals(now.schema, check_metadata=False)
    assert older.sort_by([("label", "ascending"), ("face_id", "ascending")]).equals(now)
    assert read_faces(tmp_path, columns=["face_id", "synthetic"]).column("synthetic").to_pylist() == [False] * 6
    assert read_faces(tmp_path, columns=["face_id"]).column_names == ["face_id"]
    assert len(list(open_source("parquet", tmp_path).faces())) == 6


def test_a_table_of_a_later_version_is_refused_with_its_number(tmp_path: Path) -> None:
    write_faces([face_row(0, split="train")], tmp_path, CLASSES, card=CARD, metadata={"schema_version": "4"})
    with pytest.raises(InputError, match=r"train-00000.parquet: is of version '4'.*versions 1, 2, 3 are known"):
        read_faces(tmp_path)


def test_a_real_table_is_a_source_and_a_synthetic_one_is_not(tmp_path: Path) -> None:
    home = write_run(tmp_path)
    assert len(list(open_source("parquet", tmp_path / "artifacts" / "faces").faces())) == 30
    with pytest.raises(InputError, match="synthetic faces"):
        open_source("parquet", home / "warp.s2l" / "fold-0")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"synthetic": True}, "column translator: 1 rows are null"),
        ({"synthetic": None}, "column synthetic: 1 rows are null"),
    ],
)
def test_provenance_is_asked_of_synthetic_faces_alone(values: dict, message: str) -> None:
    validate_faces(face_table([face_row(0), face_row(1)]))
    with pytest.raises(InputError, match=message):
        validate_faces(face_table([face_row(0), face_row(1, **values)]))
