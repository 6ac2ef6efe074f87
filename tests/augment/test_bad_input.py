"""Bad input, one case a line: what was given, and what the user is told.

Every case goes through `open_source` and `prepare_faces`, as a user's would, and must end with an `InputError` that
names the file, the row or the key. `docs` lists these cases; keep their names readable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_faces import CARD, CLASSES, face_row, fer_pixels, file_bytes, noise, write_picture

from augment.core.errors import InputError
from augment.faces.images import encode_png
from augment.faces.shards import write_faces
from augment.faces.splits import FoldSettings, assign_folds
from augment.faces.table import face_schema, faces_from_rows, read_faces
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source

pytestmark = pytest.mark.slow

GOOD = fer_pixels(0)


def class_folder(root: Path) -> Path:
    for seed, name in enumerate(["happy/1.png", "happy/2.png", "sad/1.png", "sad/2.png"]):
        write_picture(root / name, seed)
    return root


def folder_with(name: str, data: bytes) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        path = class_folder(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return root

    return build


def fer_csv(*lines: str, header: str = "emotion,pixels,Usage") -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        path = root / "fer2013.csv"
        path.write_text("\n".join([header, f"3,{GOOD},Training", *lines]) + "\n", encoding="utf-8")
        return path

    return build


def raw_file(name: str, data: bytes) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        (root / name).write_bytes(data)
        return root / name

    return build


def parquet_table(**columns: Any) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        pq.write_table(pa.table(columns), root / "t.parquet")
        return root / "t.parquet"

    return build


def own_table(*rows: dict) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        table = faces_from_rows(rows, face_schema(CLASSES))
        pq.write_table(table, root / "own.parquet")
        return root / "own.parquet"

    return build


def folder_with_file(name: str, data: bytes) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        (root / name).write_bytes(data)
        return root

    return build


def with_pipe(root: Path) -> Path:
    os.mkfifo(class_folder(root) / "happy" / "0.png")
    return root


def fer_table(root: Path) -> Path:
    columns = {"image": PICTURES, "emotion": ["happy", "sad"], "usage": ["Training", "Training"]}
    pq.write_table(pa.table(columns), root / "fer2013.parquet")
    return root


def parquet_named(names: list) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        table = pa.table({"image": PICTURES, "label": [0, 1]}).replace_schema_metadata(metadata)
        pq.write_table(table, root / "t.parquet")
        return root / "t.parquet"

    return build


def missing(root: Path) -> Path:
    return root / "nowhere"


def empty_folder(root: Path) -> Path:
    return root


def with_empty_class(root: Path) -> Path:
    (class_folder(root) / "angry").mkdir()
    return root


def with_link_outside(root: Path) -> Path:
    write_picture(root.parent / "elsewhere" / "1.png", 9)
    (class_folder(root) / "happy" / "more").symlink_to(root.parent / "elsewhere")
    return root


def with_named_pipe(root: Path) -> Path:
    os.mkfifo(class_folder(root) / "happy" / "3.png")
    return root


def wrapped(root: Path) -> Path:
    for seed, name in enumerate(["my-faces/frown/1.png", "my-faces/grin/1.png"]):
        write_picture(root / name, seed)
    return root


ANIMATION = file_bytes(
    Image.fromarray(noise(0)), "GIF", save_all=True, append_images=[Image.fromarray(noise(n)) for n in (1, 2)]
)
PICTURES = [encode_png(noise(0)), encode_png(noise(1))]
Case = tuple[str, Callable[[Path], Path], dict[str, Any], str]
CASES: dict[str, Case] = {
    # name: source, what is built, settings, what the message must say
    "missing root": ("folder", missing, {}, "nowhere: does not exist"),
    "unknown setting": (
        "folder",
        class_folder,
        {"colour": 1},
        "colour: is no setting of the source folder .*subject_p",
    ),
    "setting of the wrong type": ("fer2013", fer_csv(), {"limit": "many"}, "limit: .*'many'"),
    "setting out of bounds": ("fer2013", fer_csv(), {"limit": 0}, "limit: .*greater than or equal to 1, got 0"),
    "invalid regular expression": ("folder", class_folder, {"subject_pattern": "("}, "subject_pattern: .*no regular"),
    "pattern without a subject group": ("folder", class_folder, {"subject_pattern": "S1"}, "no group named subject"),
    "class names twice": ("folder", class_folder, {"class_names": ("a", "a")}, "class_names: .*different names"),
    "folder without folders": ("folder", empty_folder, {}, "looked for <class>/"),
    "file where a folder is wanted": ("folder", raw_file("x.png", b"x"), {}, "x.png: is not a folder"),
    "empty picture file": ("folder", folder_with("happy/0.png", b""), {}, "happy/0.png: .*the file is empty"),
    "text renamed .png": ("folder", folder_with("sad/0.png", b"hello"), {}, "sad/0.png: does not decode"),
    "truncated JPEG": (
        "folder",
        folder_with("sad/0.jpg", file_bytes(noise(5, 64), "JPEG")[:-300]),
        {},
        "sad/0.jpg: does not decode: .*truncated",
    ),
    "EPS renamed .png": (
        "folder",
        folder_with("sad/0.png", b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n"),
        {},
        "sad/0.png: does not decode: it is an EPS or PostScript program",
    ),
    "a picture of 13,300 x 13,300 pixels": (
        "folder",
        folder_with("sad/0.pgm", b"P5 13300 13300 255\n" + bytes(100)),
        {},
        "sad/0.pgm: does not decode: the picture has 13300 x 13300 pixels",
    ),
    "a named pipe among the pictures": ("folder", with_pipe, {}, "happy/0.png: is a named pipe .delete it"),
    "truncated PNG": ("folder", folder_with("sad/0.png", file_bytes(noise(5))[:70]), {}, "sad/0.png: does not decode"),
    "floats that are not finite": (
        "folder",
        folder_with("sad/0.tif", file_bytes(np.full((4, 4), np.nan, np.float32), "TIFF")),
        {},
        "sad/0.tif: does not decode: .*not finite",
    ),
    "a file that is no picture": ("folder", folder_with("happy/notes.txt", b"x"), {}, "happy/notes.txt: is no picture"),
    "a file beside the class folders": ("folder", folder_with("labels.csv", b"x"), {}, "labels.csv: is a file outside"),
    "empty class folder": ("folder", with_empty_class, {}, "angry/: is a class folder without pictures"),
    "unknown class folder": ("folder", class_folder, {"class_names": ("happy",)}, "sad/: is an unknown class"),
    "named class without a folder": (
        "folder",
        class_folder,
        {"class_names": ("happy", "sad", "calm")},
        "class_names: calm: has no folder",
    ),
    "pattern that matches no file": (
        "folder",
        class_folder,
        {"subject_pattern": r"(?P<subject>S\d+)_"},
        "happy/1.png: names no subject",
    ),
    "folder beside the split folders": (
        "folder",
        folder_with("train/happy/1.png", PICTURES[0]),
        {},
        "happy: is a folder beside the split folders",
    ),
    "classes that differ by capitals": (
        "folder",
        folder_with("Happy/1.png", file_bytes(noise(5))),
        {},
        "Happy/, happy/: are one class by their names",
    ),
    "blanks around a class's name": (
        "folder",
        folder_with("angry /1.png", file_bytes(noise(5))),
        {},
        "angry /: 'angry ' has blanks around it",
    ),
    "classes in a folder of their own": ("folder", wrapped, {}, "if those are the classes, use dataset.root="),
    "link that leads outside": ("folder", with_link_outside, {}, "happy/more: is a link that leads outside the root"),
    "named pipe": ("folder", with_named_pipe, {}, "happy/3.png: is a named pipe"),
    "animation": ("folder", folder_with("happy/0.gif", ANIMATION), {}, "happy/0.gif: holds several frames"),
    "empty CSV": ("fer2013", raw_file("fer2013.csv", b""), {}, "fer2013.csv: is empty"),
    "CSV without rows": ("fer2013", raw_file("fer2013.csv", b"emotion,pixels,Usage\n"), {}, "a header and no rows"),
    "CSV without a column": ("fer2013", fer_csv(header="emotion,pixels"), {}, "column Usage is missing .*emotion, pix"),
    "CSV row cut off": ("fer2013", fer_csv("3"), {}, "line 3: has 1 columns"),
    "too few pixels": ("fer2013", fer_csv("3,1 2 3,Training"), {}, "line 3: 3 pixels, not 2304"),
    "too many pixels": ("fer2013", fer_csv(f"3,{GOOD} 7,Training"), {}, "line 3: 2305 pixels, not 2304"),
    "pixel that is no number": (
        "fer2013",
        fer_csv(f"3,{GOOD.rsplit(' ', 1)[0]} x,Training"),
        {},
        "line 3: pixel 2303 is 'x', not a number",
    ),
    "pixel of 300": ("fer2013", fer_csv(f"3,300 {GOOD.split(' ', 1)[1]},Training"), {}, "line 3: pixel 0 is 300"),
    "negative pixel": ("fer2013", fer_csv(f"3,-1 {GOOD.split(' ', 1)[1]},Training"), {}, "line 3: pixel 0 is -1"),
    "unknown emotion id": ("fer2013", fer_csv(f"7,{GOOD},Training"), {}, "line 3: unknown emotion '7'"),
    "emotion that is no number": ("fer2013", fer_csv(f"x,{GOOD},Training"), {}, "line 3: unknown emotion 'x'"),
    "unknown Usage": ("fer2013", fer_csv(f"3,{GOOD},Training2"), {}, "line 3: unknown Usage 'Training2'"),
    "zero bytes in a CSV": ("fer2013", fer_csv(f"3,{GOOD}\0,Training"), {}, "line 3: pixel 2303 is"),
    "a field without end": ("fer2013", fer_csv(f'3,"{GOOD} ' + 30 * f"{GOOD} "), {}, "fer2013.csv line 3: is no CSV"),
    "unknown layout of FER2013": ("fer2013", class_folder, {}, "looked for fer2013.csv, icml_face_data.csv"),
    "FER2013 in a ZIP archive": (
        "fer2013",
        raw_file("fer2013.csv", b"PK\x03\x04" + bytes(600)),
        {},
        r"fer2013.csv: is a ZIP archive, whatever its name says .unpack it",
    ),
    "FER2013 that is not unpacked": (
        "fer2013",
        folder_with_file("fer2013.tar.gz", b"\x1f\x8b" + bytes(600)),
        {},
        r"fer2013.tar.gz: is an archive .*unpack it here",
    ),
    "a huge first line": ("fer2013", raw_file("fer2013.csv", b"x" * 300_000), {}, "its first line is no header"),
    "an emotion of 5,000 digits": (
        "fer2013",
        fer_csv(f"{'1' * 5000},{GOOD},Training"),
        {},
        "line 3: unknown emotion '1.*of 5,002 characters",
    ),
    "FER2013's table with other columns": (
        "fer2013",
        fer_table,
        {},
        "fer2013.parquet: column emotion has type string",
    ),
    "no FER2013 file type": ("fer2013", raw_file("fer.zip", b"PK"), {}, r"is an archive .*: neither .csv nor .parquet"),
    "parquet that is none": ("parquet", raw_file("t.parquet", b"PAR0"), {}, "t.parquet: is no Parquet file"),
    "folder without parquet": ("parquet", class_folder, {}, r"looked for \*.parquet"),
    "parquet without a label": ("parquet", parquet_table(image=PICTURES), {}, "no column label or .*set label_column"),
    "parquet without a picture column": (
        "parquet",
        parquet_table(label=["a"]),
        {},
        "no column image or .*it has label",
    ),
    "picture column of numbers": ("parquet", parquet_table(image=[1], label=["a"]), {}, "column image: has type int64"),
    "numbers without names": ("parquet", parquet_table(image=PICTURES, label=[0, 1]), {}, "numbers without names"),
    "label out of range": (
        "parquet",
        parquet_table(image=PICTURES, label=[0, 2]),
        {"class_names": ("a", "b")},
        "t.parquet row 1: label 2 is out of range",
    ),
    "missing label": (
        "parquet",
        parquet_table(image=PICTURES, label=["a", None]),
        {},
        "t.parquet row 1: the label is missing",
    ),
    "missing picture": (
        "parquet",
        parquet_table(image=[*PICTURES[:1], None], label=["a", "b"]),
        {},
        "row 1: has no pi",
    ),
    "broken picture in a table": ("parquet", parquet_table(image=[b"x"], label=["a"]), {}, "row 0: does not decode"),
    "unknown split": (
        "parquet",
        parquet_table(image=PICTURES, label=["a", "b"], split=["train", "holdout"]),
        {},
        "row 1: unknown split 'holdout'",
    ),
    "class names that are none": (
        "parquet",
        parquet_named(["angry", None]),
        {},
        "column label: its metadata's class names have null at 1",
    ),
    "landmarks in pixels": (
        "parquet",
        own_table(face_row(0, landmarks=np.linspace(0, 48, 136).reshape(68, 2))),
        {},
        "landmarks lie far outside the picture: y is",
    ),
    "duplicate ids": ("parquet", own_table(face_row(0), face_row(0)), {}, "name 'made/0' occurs twice"),
    "unknown source": (
        "fer2031",
        class_folder,
        {},
        "'fer2031' is no source .use one of affectnet, .*, fer2013, .*, rig",
    ),
    "root for the embedded faces": ("rig", class_folder, {}, "root: the source rig reads no files"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_an_error_that_names_it(tmp_path: Path, case: str) -> None:
    source, build, settings, message = CASES[case]
    (tmp_path / "in").mkdir()
    root = build(tmp_path / "in")
    with pytest.raises(InputError, match=message):
        prepare_faces(
            open_source(source, root, **settings),
            tmp_path / "out",
            image_size=16,
            channels=1,
            licence="made for a test",
        )
    assert not (tmp_path / "out" / "data").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "oulo"}, "preset: 'oulo' is no preset of the embedded faces .*rare"),
        ({"preset": "rare", "people": 3}, "people"),
        ({"subjects": -1}, "subjects"),
        ({"size": 8}, "size: .*greater than or equal to 32"),
        ({"channels": 2}, "channels: "),
    ],
)
def test_bad_settings_of_the_embedded_faces(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source("rig", **settings)


def test_a_root_is_needed() -> None:
    with pytest.raises(InputError, match="root: the source folder needs one"):
        open_source("folder")


def test_every_bad_row_is_listed_and_quarantine_goes_on(tmp_path: Path) -> None:
    lines = [f"9,{GOOD},Training", "3,1 2,Training", f"3,{fer_pixels(1)},Training", f"3,{GOOD},Never"]
    source = open_source("fer2013", fer_csv(*lines)(tmp_path))
    with pytest.raises(InputError) as caught:
        prepare_faces(source, tmp_path / "out", image_size=16, channels=1)
    assert [problem.where for problem in caught.value.problems] == [f"fer2013.csv line {n}" for n in (3, 4, 6)]
    report = prepare_faces(source, tmp_path / "out", image_size=16, channels=1, quarantine=tmp_path / "q.jsonl")
    assert (report.faces, report.problems) == (2, 3)
    assert len((tmp_path / "q.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "data",
    {
        "16-bit": file_bytes(noise(1).astype(np.uint16) * 257),
        "palette": file_bytes(Image.fromarray(noise(1, channels=3)).convert("P")),
        "alpha": file_bytes(np.dstack([noise(1, channels=3), noise(2)])),
        "CMYK": file_bytes(Image.new("CMYK", (9, 9)), "JPEG"),
        "one pixel": file_bytes(np.zeros((1, 1), np.uint8)),
        "very wide": file_bytes(np.zeros((2, 400), np.uint8)),
    }.values(),
)  # fmt: skip
def test_odd_but_good_pictures_are_taken(tmp_path: Path, data: bytes) -> None:
    root = folder_with("happy/odd.png", data)(tmp_path / "in")
    report = prepare_faces(open_source("folder", root), tmp_path / "out", image_size=16, channels=1, licence="mit")
    assert report.faces == 5 and report.problems == 0


def test_more_folds_than_subjects(tmp_path: Path) -> None:
    write_faces([face_row(n, n % 3, subject=f"s{n // 3}") for n in range(9)], tmp_path, CLASSES, card=CARD)
    with pytest.raises(InputError, match=r"folds\.folds: 4 folds of 3 subjects"):
        assign_folds(read_faces(tmp_path), FoldSettings(kind="subjects", folds=4), 0)
