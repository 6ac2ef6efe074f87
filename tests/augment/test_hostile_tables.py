"""Damaged, foreign and harmful tables, and archives in their place: each is named, and none ends in a traceback."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from data_sets import fer_csv
from small_faces import CARD, CLASSES, face_row, fer_pixels, noise

from augment.core.errors import InputError, Problem
from augment.faces.images import encode_png
from augment.faces.shards import write_faces
from augment.faces.table import face_schema, faces_from_rows
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, Source, open_source

pytestmark = pytest.mark.slow

PICTURES = [encode_png(noise(0)), encode_png(noise(1))]


def drawn(source: Source) -> tuple[list[RawFace], list[Problem]]:
    found = list(source.faces())
    problems = [item for item in found if isinstance(item, Problem)]
    return [item for item in found if isinstance(item, RawFace)], problems


def table_at(path: Path, metadata: object = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if metadata is not None:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        table = table.replace_schema_metadata({b"huggingface": text})
    pq.write_table(table, path)
    return path


def metadata_of(names: object) -> dict[str, Any]:
    return {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}


# FER2013: what lies under its name.


def tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("fer2013/fer2013.csv")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fer2013.csv", data)
    return buffer.getvalue()


ARCHIVES: dict[str, Callable[[bytes], bytes]] = {"tar": tar, "ZIP": zipped, "gzip": gzip.compress}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv", "fer2013.parquet"])
def test_an_archive_under_a_tables_name_is_named_with_the_fix(tmp_path: Path, kind: str, name: str) -> None:
    data = (fer_csv(tmp_path / "right") / "fer2013.csv").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(ARCHIVES[kind](data))
    for root in (tmp_path / "in", tmp_path / "in" / name):
        with pytest.raises(InputError, match=rf"{name}: is a {kind} archive, whatever its name says \(unpack it"):
            open_source("fer2013", root)


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "archive.zip", "challenges/fer2013.tar", "fer2013.csv.crdownload"])
def test_a_folder_that_holds_only_the_archive_is_told_to_unpack_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(tar(b"x"))
    with pytest.raises(InputError, match=rf"no layout of FER2013[^\n]*\n.*{name}: is an archive.*\(unpack it here\)"):
        open_source("fer2013", tmp_path)
    with pytest.raises(InputError, match=r"is a tar archive: neither .csv nor .parquet \(unpack it"):
        open_source("fer2013", tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_a_csv_that_a_spreadsheet_saved_is_read_as_the_original(tmp_path: Path, encoding: str) -> None:
    original = fer_csv(tmp_path / "right") / "fer2013.csv"
    (tmp_path / "fer2013.csv").write_text(original.read_text(), encoding=encoding)
    expected, none = drawn(open_source("fer2013", original))
    faces, problems = drawn(open_source("fer2013", tmp_path / "fer2013.csv"))
    assert len(faces) == 14 and not problems and not none
    for face, other in zip(faces, expected, strict=True):
        assert (face.name, face.label_name, face.split) == (other.name, other.label_name, other.split)
        assert np.array_equal(face.image, other.image)


def test_a_csv_in_utf_16_without_its_mark_is_told_what_to_do(tmp_path: Path) -> None:
    text = (fer_csv(tmp_path / "right") / "fer2013.csv").read_text()
    (tmp_path / "fer2013.csv").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(InputError, match=r"is no text in UTF-8: .*zero bytes \(save it as CSV in UTF-8"):
        open_source("fer2013", tmp_path)


@pytest.mark.parametrize("name", ["FER2013.CSV", "Fer2013.csv", "FER2013/fer2013.csv", "ICML_Face_Data.csv"])
def test_capitals_in_the_name_change_nothing(tmp_path: Path, name: str) -> None:
    text = (fer_csv(tmp_path / "right") / "fer2013.csv").read_text()
    file = tmp_path / "in" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    for root in (tmp_path / "in", file):
        faces, problems = drawn(open_source("fer2013", root))
        assert len(faces) == 14 and not problems


def test_the_name_as_it_should_be_is_read_before_one_in_capitals(tmp_path: Path) -> None:
    fer_csv(tmp_path)
    (tmp_path / "FER2013.CSV").write_text("emotion,pixels,Usage\n")
    if len(list(tmp_path.iterdir())) == 2:  # else the file system knows no case
        assert len(drawn(open_source("fer2013", tmp_path))[0]) == 14


# FER2013: its CSV.


@pytest.mark.parametrize("header", ["x" * 200_000, "x" * 3_000_000, '"' + "x" * 200_000, "a,b," * 400_000])
def test_a_huge_first_line_is_no_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "fer2013.csv").write_text(f"{header}\n3,{fer_pixels(0)},Training\n")
    with pytest.raises(InputError, match=r"fer2013.csv: is no CSV of FER2013: its first line is no header") as caught:
        open_source("fer2013", tmp_path)
    assert len(str(caught.value)) < 500


def test_many_columns_are_not_all_listed(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text(",".join(f"c{number}" for number in range(9999)) + "\n")
    with pytest.raises(InputError, match=r"column emotion is missing \(it has c0, .*, c9 \.\.\.;") as caught:
        open_source("fer2013", tmp_path)
    assert len(str(caught.value)) < 1000


def test_numbers_of_thousands_of_digits_are_rows_problems_in_short_words(tmp_path: Path) -> None:
    long, pixels = "1" * 5000, fer_pixels(0)
    rows = [
        f"{long},{pixels},Training",
        f"3,{long} {pixels.split(' ', 1)[1]},Training",
        f"3,{'x' * 5000} {pixels.split(' ', 1)[1]},Training",
        f"3,{pixels},{'x' * 5000}",
        f"3,{'1' * 3_000_000},Training",
        f"3,{pixels},Training",
    ]
    faces, problems = drawn(open_source("fer2013", fer_csv(tmp_path, *rows)))
    assert len(faces) == 15
    assert [problem.where for problem in problems] == [f"fer2013.csv line {number}" for number in range(16, 21)]
    for problem, said in zip(problems, ("emotion", "pixel 0", "pixel 0", "Usage", "is no CSV"), strict=True):
        assert said in problem.why and len(str(problem)) < 200


# FER2013 and others: damaged Parquet.


def fer_table(path: Path, **changes: Any) -> Path:
    columns = {"image": PICTURES * 40, "emotion": [3, 4] * 40, "usage": ["Training", "PrivateTest"] * 40} | changes
    return table_at(path, **columns)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("emotion", ["happy", "sad"] * 40, "has type string, not whole numbers"),
        ("emotion", [3.0, 4.0] * 40, "has type double, not whole numbers"),
        ("usage", [1, 2] * 40, "has type int64, not texts"),
        ("usage", [b"Training"] * 80, "has type binary, not texts"),
        ("image", [[1, 2]] * 80, "has type list<.*, not pictures"),
        ("image", ["Training"] * 80, "has type string, not pictures"),
        ("image", [{"path": "x"}] * 80, "has type struct<.*, not pictures"),
        ("image", [{"bytes": "x", "path": "x"}] * 80, "has type struct<.*, not pictures"),
    ],
)
def test_columns_of_other_types_in_fer2013s_table_are_named(
    tmp_path: Path, column: str, values: list, said: str
) -> None:
    with pytest.raises(InputError, match=f"fer2013.parquet: column {column} {said}"):
        open_source("fer2013", fer_table(tmp_path / "fer2013.parquet", **{column: values}))
    assert len(drawn(open_source("fer2013", fer_table(tmp_path / "fer2013.parquet")))[0]) == 80


@pytest.mark.parametrize("source", ["fer2013", "parquet"])
def test_flipped_bits_in_a_table_are_problems_and_never_another_error(tmp_path: Path, source: str) -> None:
    path = fer_table(tmp_path / "fer2013.parquet")
    settings: dict[str, Any] = {}
    if source == "parquet":
        path = tmp_path / "own.parquet"
        rows = [face_row(number, landmarks=np.full((68, 2), 0.5) + np.eye(68, 2) / 4) for number in range(40)]
        pq.write_table(faces_from_rows(rows, face_schema(CLASSES)), path)
    whole, chance, refused = path.read_bytes(), random.Random(source), 0
    for _ in range(250):
        spoilt = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            del spoilt[chance.randrange(len(spoilt)) :]
        path.write_bytes(spoilt)
        try:
            faces, problems = drawn(open_source(source, path, **settings))
        except InputError:
            refused += 1
        else:
            refused += bool(problems)
            assert faces or problems
    assert refused > 20


def test_a_page_that_is_damaged_ends_the_table_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.parquet"
    columns = {"image": PICTURES * 40, "emotion": [3, 4] * 40, "usage": ["Training", "PrivateTest"] * 40}
    form: dict[str, Any] = {"write_page_checksum": True, "use_dictionary": False, "compression": "none"}
    pq.write_table(pa.table({name: values * 10 for name, values in columns.items()}), path, row_group_size=600, **form)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset + 2000  # behind its header
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    faces, problems = drawn(open_source("fer2013", path))
    assert 0 < len(faces) <= 600 and len(problems) == 1
    assert problems[0].where == f"fer2013.parquet, after row {len(faces) - 1}"
    assert "can't be read further" in problems[0].why and "\n" not in problems[0].why
    with pytest.raises(InputError, match="can't be read further"):
        prepare_faces(open_source("fer2013", path), tmp_path / "out", image_size=16, channels=1)


def test_texts_that_are_not_utf8_are_problems(tmp_path: Path) -> None:
    wrong = pa.array([b"a", b"\xff"], pa.binary()).view(pa.utf8())
    right = pa.array(["a", "b"])
    with pytest.raises(InputError, match=r"t.parquet, column label: can't be read: .*utf-8"):
        open_source("parquet", table_at(tmp_path / "t.parquet", image=PICTURES, label=wrong))
    source = open_source("parquet", table_at(tmp_path / "t.parquet", image=PICTURES, label=right, subject=wrong))
    faces, problems = drawn(source)
    assert not faces and "can't be read further" in problems[0].why


# Own and foreign Parquet.


@pytest.mark.parametrize("path", ["a\0b.png", "../" * 2000, "x" * 5000, "loop/x.png", ".", "../x"])
def test_paths_in_a_table_that_no_file_can_have_are_rows_without_a_picture(tmp_path: Path, path: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    picture = pa.array([{"bytes": None, "path": path}, {"bytes": PICTURES[0], "path": "b.png"}])
    faces, problems = drawn(open_source("parquet", table_at(tmp_path / "t.parquet", image=picture, label=["a", "b"])))
    assert len(faces) == 1 and "is not in the table" in problems[0].why


def test_paths_that_are_no_texts_are_left_out(tmp_path: Path) -> None:
    picture = pa.array([{"bytes": PICTURES[0], "path": b"a"}, {"bytes": None, "path": b"a"}])
    faces, problems = drawn(open_source("parquet", table_at(tmp_path / "t.parquet", image=picture, label=["a", "b"])))
    assert faces[0].path is None and problems[0].why == "has no picture"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([None, "happy"], "have null at 0, which is no name"),
        (["happy", 1], "have 1 at 1, which is no name"),
        (["happy", ["x"]], "have .*at 1, which is no name"),
        (["happy", "  "], "have '  ' at 1"),
        (["happy", "a\0b"], "have .* at 1, which is no name"),
        (["happy", "happy"], "have 'happy' twice"),
        ("happy", "are no list of names"),
        ({"0": "happy"}, "are no list of names"),
        (None, "are no list of names"),
        ([], "are no list of names"),
    ],
)
def test_class_names_that_are_none_are_named(tmp_path: Path, names: object, said: str) -> None:
    path = table_at(tmp_path / "t.parquet", metadata_of(names), image=PICTURES, label=[0, 1])
    with pytest.raises(InputError, match=f"t.parquet, column label: its metadata's class names {said}.*class_names"):
        open_source("parquet", path)
    assert len(drawn(open_source("parquet", path, class_names=("a", "b")))[0]) == 2
    with pytest.raises(InputError, match="class_names"):
        open_source("parquet", path, class_names=("a", "a"))


@pytest.mark.parametrize("names", [["Happy", "happy "], ["happy", " sad"], ["Zo\u00eb", "Zoe\u0308"]])
def test_class_names_in_metadata_that_are_one_class_or_have_blanks_are_named(tmp_path: Path, names: list[str]) -> None:
    path = table_at(tmp_path / "t.parquet", metadata_of(names), image=PICTURES, label=[0, 1])
    with pytest.raises(InputError, match=r"are one class by their names|has blanks around it"):
        open_source("parquet", path)
    assert len(drawn(open_source("parquet", path, class_names=("a", "b")))[0]) == 2


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    table = pa.table([PICTURES, PICTURES, [0, 1]], names=["image", "image", "label"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t.parquet: has several columns called 'image' \(rename or drop"):
        open_source("parquet", tmp_path / "t.parquet", class_names=("a", "b"))


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([b"a", b"b"]),
        pa.array([None, None]),
        pa.array([0.5, 1.5]),
        pa.array([b"a", b"b"]).dictionary_encode(),
        pa.array([["a"], ["b"]]),
    ],
)
def test_labels_of_other_types_are_named(tmp_path: Path, labels: pa.Array) -> None:
    with pytest.raises(InputError, match=r"column label: has type .*, neither whole numbers nor names"):
        open_source("parquet", table_at(tmp_path / "t.parquet", image=PICTURES, label=labels))


def test_null_and_blank_names_in_the_labels_are_missing_labels(tmp_path: Path) -> None:
    for labels in (["a", None], ["a", "  "], pa.array(["a", None]).dictionary_encode()):
        source = open_source("parquet", table_at(tmp_path / "t.parquet", image=PICTURES, label=labels))
        assert source.class_names == ("a",)
        faces, problems = drawn(source)
        assert len(faces) == 1 and problems[0].why == "the label is missing"


def test_metadata_of_a_hundred_thousand_levels_are_passed_over(tmp_path: Path) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(InputError, match="numbers without names"):
        open_source("parquet", table_at(tmp_path / "t.parquet", deep, image=PICTURES, label=[0, 1]))
    source = open_source(
        "parquet", table_at(tmp_path / "t.parquet", deep, image=PICTURES, label=[0, 1]), class_names=("a", "b")
    )
    assert len(drawn(source)[0]) == 2


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("landmarks", [["x"] * 136, None]),
        ("landmarks", [3, None]),
        ("yaw", ["left", None]),
        ("intensity", [b"x", None]),
        ("face_id", [1, 2]),
        ("mask", ["x", None]),
        ("simulated", [["x"], None]),
        ("split", [1, 2]),
    ],
)
def test_own_tables_whose_columns_hold_something_else_are_named(tmp_path: Path, column: str, values: list) -> None:
    table = faces_from_rows([face_row(0), face_row(1)], face_schema(CLASSES))
    pq.write_table(table, tmp_path / "own.parquet")
    assert len(drawn(open_source("parquet", tmp_path))[0]) == 2  # the control
    table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
    pq.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(InputError, match=f"own.parquet, column {column}: has type "):
        open_source("parquet", tmp_path)


def test_own_tables_copied_by_pandas_are_read(tmp_path: Path) -> None:
    points = np.linspace(0, 1, 136, dtype=np.float32)
    table = faces_from_rows([face_row(0, landmarks=points, yaw=3.0), face_row(1)], face_schema(CLASSES))
    copy = pa.Table.from_pandas(table.to_pandas()).replace_schema_metadata(table.schema.metadata)
    pq.write_table(copy, tmp_path / "own.parquet")
    faces, problems = drawn(open_source("parquet", tmp_path))
    assert len(faces) == 2 and not problems
    assert faces[0].landmarks is not None and np.array_equal(faces[0].landmarks.reshape(-1), points)


# Class names in the card, as load_dataset takes them.


def card(folder: Path, *infos: dict[str, Any]) -> None:
    front = {"license": "cc0-1.0", "dataset_info": list(infos) if len(infos) != 1 else infos[0]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n\n# Faces\n", encoding="utf-8")


def info(names: object, column: str = "label", **values: Any) -> dict[str, Any]:
    features = [{"name": "image", "dtype": "image"}, {"name": column, "dtype": {"class_label": {"names": names}}}]
    return {"features": features} | values


@pytest.mark.parametrize("names", [{"0": "sad", "1": "happy"}, {1: "happy", 0: "sad"}, ["sad", "happy"]])
def test_class_names_of_the_card_are_used_as_load_dataset_uses_them(tmp_path: Path, names: object) -> None:
    from datasets import load_dataset

    pictures = pa.array([{"bytes": data, "path": None} for data in PICTURES])
    table_at(tmp_path / "data" / "train-00000.parquet", image=pictures, label=[0, 1])
    card(tmp_path, info(names))
    for root in (tmp_path, tmp_path / "data", tmp_path / "data" / "train-00000.parquet"):
        source = open_source("parquet", root)
        assert source.class_names == ("sad", "happy")
        assert [face.label_name for face in drawn(source)[0]] == ["sad", "happy"]
    if isinstance(names, dict) and "0" in names:
        read = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
        assert tuple(read.features["label"].names) == ("sad", "happy")


def test_the_card_says_the_order_of_labels_that_are_texts_too(tmp_path: Path) -> None:
    table_at(tmp_path / "t.parquet", image=PICTURES, label=["happy", "sad"])
    assert open_source("parquet", tmp_path).class_names == ("happy", "sad")
    card(tmp_path, info(["sad", "happy", "angry"]))
    assert open_source("parquet", tmp_path).class_names == ("sad", "happy", "angry")


def test_a_card_and_a_table_that_name_different_classes_are_not_chosen_between(tmp_path: Path) -> None:
    table_at(tmp_path / "t.parquet", metadata_of(["happy", "sad"]), image=PICTURES, label=[0, 1])
    card(tmp_path, info(["sad", "happy"]))
    with pytest.raises(InputError, match=r"differ: t.parquet says happy, sad; README.md says sad, happy .*class_names"):
        open_source("parquet", tmp_path)
    card(tmp_path, info(["happy", "sad"]))
    assert open_source("parquet", tmp_path).class_names == ("happy", "sad")


def test_configurations_that_name_different_classes_are_not_chosen_between(tmp_path: Path) -> None:
    table_at(tmp_path / "t.parquet", image=PICTURES, label=[0, 1])
    card(tmp_path, info(["a", "b"], config_name="one"), info(["b", "a"], config_name="two"))
    with pytest.raises(InputError, match="its configurations name different classes: one, two"):
        open_source("parquet", tmp_path)
    card(tmp_path, info(["a", "b"], config_name="one"), info(["a", "b"], config_name="two"))
    assert open_source("parquet", tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize(
    "names", [{"0": "a", "2": "b"}, {"0": None, "1": "b"}, ["a", "a"], "ab", 7, {"x": "a"}],
)  # fmt: skip
def test_names_in_a_card_that_are_none_are_named(tmp_path: Path, names: object) -> None:
    table_at(tmp_path / "t.parquet", image=PICTURES, label=[0, 1])
    card(tmp_path, info(names))
    with pytest.raises(InputError, match=r"README.md, column label: its class names .*\(give class_names"):
        open_source("parquet", tmp_path)


@pytest.mark.parametrize(
    "front",
    ["dataset_info: 3", "dataset_info: [1, {features: 2}, {features: [3, {name: label, dtype: int64}]}]",
     "a: " + "[" * 5000, "dataset_info: {features: {label: int64}}", "- a", "date: 2020-99-99", "n: " + "1" * 5000],
)  # fmt: skip
def test_cards_that_say_nothing_of_classes_change_nothing(tmp_path: Path, front: str) -> None:
    table_at(tmp_path / "t.parquet", image=PICTURES, label=["a", "b"])
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n", encoding="utf-8")
    assert open_source("parquet", tmp_path).class_names == ("a", "b")


def test_own_datasets_with_their_own_card_are_read_as_before(tmp_path: Path) -> None:
    write_faces([face_row(0), face_row(1, 1)], tmp_path, CLASSES, card=CARD)
    assert open_source("parquet", tmp_path).class_names == CLASSES
