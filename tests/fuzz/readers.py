"""All that reads files of somebody else: for each reader valid seeds, and how it is called."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from made_up_faces import write_workspace
from PIL import Image
from s2l_data import Faces, FacesError
from small_faces import CLASSES, face_row, face_table, fer_pixels, file_bytes, noise
from sources.test_vrml import SQUARE

from augment.core.errors import InputError
from augment.core.json_files import read_json_object
from augment.core.sealed_tensors import load_tensors, save_tensors
from augment.core.seals import read_seal, seal_problems
from augment.core.yaml_text import parse_yaml
from augment.faces.images import UndecodableImageError, decode_image
from augment.faces.licences import read_card
from augment.faces.splits import read_folds
from augment.faces.table import read_faces
from augment.faces.tensors import face_tensors
from augment.sources import open_source
from augment.sources.helen import read_points
from augment.sources.vrml import VrmlError, parse_vrml
from pipeline.parameters.whole import parse_parameters
from pipeline.profile import compose_profile
from pipeline.publishing.description import read_description
from pipeline.publishing.export import ExportSettings, export_faces
from pipeline.publishing.formats import form_of
from pipeline.publishing.marks import mark_of, marked_png

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reader:
    """A reader of somebody else's bytes.

    Attributes:
        seeds: Makes valid files.
        read: Reads a file; gets the bytes and an empty folder.
        errors: What it may raise; anything else has escaped.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    errors: tuple[type[Exception], ...] = (InputError,)


def _pictures() -> list[bytes]:
    grey, colour = noise(1, 24), noise(2, 24, channels=3)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a face"
    frames = [Image.fromarray(noise(number, 12)) for number in range(3)]
    many = io.BytesIO()
    frames[0].save(many, "GIF", save_all=True, append_images=frames[1:])
    row = face_row(3, face_id="a", translator="warp", source_id="b", seed=0)
    return [
        *(file_bytes(grey, kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")),
        *(file_bytes(colour, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        many.getvalue(),
        file_bytes(Image.fromarray(colour).convert("P"), "PNG"),
        file_bytes(Image.fromarray(grey.astype(np.uint16) * 200), "PNG"),
        marked_png(row["image"]["bytes"], row),
    ]


def _read_picture(data: bytes, folder: Path) -> None:
    mark_of(data)  # never raises
    pixels = decode_image(data)
    assert pixels.dtype == np.uint8 and pixels.ndim in (2, 3)


def _source(name: str, file_name: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        (folder / file_name).write_bytes(data)
        for _ in open_source(name, folder / file_name).faces():
            pass

    return read


def _fer() -> list[bytes]:
    lines = ["emotion,pixels,Usage", *(f"{n},{fer_pixels(n)},Training" for n in range(2))]
    short = ["emotion,pixels,Usage", f"6,{fer_pixels(3)},PrivateTest", f"3,{fer_pixels(4)},PublicTest"]
    return ["\n".join(lines).encode(), "\r\n".join(short).encode()]


def _parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@cache
def _tables() -> list[bytes]:
    own = face_table([face_row(number, number % 3) for number in range(4)])
    pictures = [{"bytes": face_row(number)["image"]["bytes"], "path": None} for number in range(4)]
    plain = pa.table({"image": pictures, "label": pa.array(["a", "b", "a", "b"])})
    binary = pa.table({"img": [picture["bytes"] for picture in pictures], "emotion": pa.array(["x", "y", "x", "y"])})
    return [
        _parquet_bytes(own),
        _parquet_bytes(own, compression="zstd", use_dictionary=False),
        _parquet_bytes(plain),
        _parquet_bytes(binary, compression="none"),
    ]


@cache
def _own_tables() -> list[bytes]:
    own = face_table([face_row(number, number % 3) for number in range(4)])
    return [_parquet_bytes(own), _parquet_bytes(own, compression="zstd", use_dictionary=False)]


def _read_own_table(data: bytes, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "train-00000.parquet").write_bytes(data)
    face_tensors(read_faces(folder))


def _params() -> list[bytes]:
    return [compose_profile(ROOT, words).encode() for words in (["scale=smoke"], ["scale=cpu", "dataset=fer2013"])]


def _read_params(data: bytes, folder: Path) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    values = parse_yaml(text, "params.yaml")
    parse_parameters(values if isinstance(values, dict) else {"": values}, where="params.yaml")


def _weights() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_tensors({"a": torch.arange(6.0), "b": torch.zeros(2, 3)}, path, {"method": "warp", "size": 16})
        return [path.read_bytes()]


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    def written(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        read(folder / name)

    return written


@cache
def exports() -> dict[str, Path]:
    """An export in each form, in a folder that lasts as long as the process."""
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="s2l-fuzz-"))
    write_workspace(home / "run")
    for format in ("parquet", "imagefolder", "webdataset"):
        export_faces(home / "run", home / format, ExportSettings(with_real=True, format=format))  # type: ignore[arg-type]
    return {"home": home, **{format: home / format for format in ("parquet", "imagefolder", "webdataset")}}


def _folds() -> list[bytes]:
    return [(exports()["home"] / "run" / "artifacts" / "folds.parquet").read_bytes()]


def _description() -> list[bytes]:
    return [(exports()[format] / "dataset.json").read_bytes() for format in ("parquet", "webdataset")]


def _read_description(data: bytes, folder: Path) -> None:
    (folder / "dataset.json").write_bytes(data)
    with contextlib.suppress(InputError):
        read_description(folder)
    with contextlib.suppress(FacesError):
        Faces(folder)


def _archives() -> list[bytes]:
    small = io.BytesIO()
    path = exports()["webdataset"] / "data" / "test-00000-of-00001.tar"
    with (
        tarfile.open(path) as whole,
        tarfile.open(fileobj=small, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for member in whole.getmembers()[:6]:
            archive.addfile(member, whole.extractfile(member))
    return [small.getvalue()]


def _read_archive(data: bytes, folder: Path) -> None:
    (folder / "a.tar").write_bytes(data)
    for _ in form_of("webdataset", CLASSES).read(folder, ["a.tar"]):
        pass


def _shards() -> list[bytes]:
    return [(exports()["parquet"] / "data" / f"{split}-00000-of-00001.parquet").read_bytes() for split in ("test",)]


def _read_shard(data: bytes, folder: Path) -> None:
    (folder / "a.parquet").write_bytes(data)
    with contextlib.suppress(InputError):
        for _ in form_of("parquet", CLASSES).read(folder, ["a.parquet"]):
            pass
    (folder / "data").mkdir()
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(data)
    (folder / "dataset.json").write_bytes((exports()["parquet"] / "dataset.json").read_bytes())
    faces = Faces(folder, "test")
    for _ in faces.batches(4):
        pass


def _cards() -> list[bytes]:
    return [(exports()[format] / "README.md").read_bytes() for format in ("parquet", "webdataset")]


def _read_seal(path: Path) -> None:
    seal = path.rename(path.parent / ".s2l")
    read_seal(seal.parent)
    seal_problems(seal.parent, "")


def _points() -> list[bytes]:
    points = 50 + 5 * np.arange(136).reshape(68, 2) % 37
    lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return [f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n".encode()]


READERS: dict[str, Reader] = {
    "pictures": Reader(_pictures, _read_picture, (UndecodableImageError,)),
    "FER2013's table": Reader(_fer, _source("fer2013", "fer2013.csv")),
    "tables of pictures and labels": Reader(_tables, _source("parquet", "faces.parquet")),
    "tables of faces": Reader(_own_tables, _read_own_table),
    "VRML": Reader(lambda: [SQUARE.encode()], lambda data, folder: parse_vrml(data), (VrmlError,)),
    "landmark files": Reader(_points, _file("a.pts", lambda path: read_points(path, "a.pts", (300, 300)))),
    "params.yaml": Reader(_params, _read_params),
    "weights": Reader(_weights, _file("w.safetensors", lambda path: load_tensors(path, "weights", "train again"))),
    "folds": Reader(_folds, _file("folds.parquet", read_folds)),
    "JSON": Reader(lambda: [b'{"a": [1, 2.5, null, "b"], "c": {}}'], _file("a.json", read_json_object)),
    "cards": Reader(_cards, _file("README.md", lambda path: read_card(path.parent)), ()),
    "seals": Reader(lambda: [(exports()["parquet"] / ".s2l").read_bytes()], _file("seal", _read_seal), ()),
    "descriptions of exports": Reader(_description, _read_description, ()),
    "exported archives": Reader(_archives, _read_archive),
    "exported tables": Reader(_shards, _read_shard, (FacesError,)),
}
