"""Exported faces read for training: our reader against a `DataLoader` over torchvision's `ImageFolder` of PNG files.

python -m benchmarks.reading [--size 48] [--batch 64]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from s2l_data import Faces
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, PILToTensor

from augment.faces.images import encode_png
from augment.faces.tensors import FaceTensors
from benchmarks.measurements import Row, embedded_faces, seconds_by_turns, speed_row
from pipeline.publishing.columns import DATA_NAMES
from pipeline.publishing.formats import form_of


def write_exports(faces: FaceTensors, folder: Path) -> None:
    """The same faces as Parquet and as folders of PNG files, in the forms of `s2l export`."""
    names = faces.class_names
    rows = [
        {
            **dict.fromkeys(DATA_NAMES),
            "image": {"bytes": encode_png(image.permute(1, 2, 0).numpy()), "path": None},
            "label": int(label),
            "label_name": names[int(label)],
            "split": "train",
            "face_id": face_id,
            "source": "rig",
            "synthetic": False,
        }
        for image, label, face_id in zip(faces.images, faces.labels, faces.face_ids, strict=True)
    ]
    files = form_of("parquet", names).write(folder / "parquet", "train", rows, len(rows))
    form_of("imagefolder", names).write(folder / "imagefolder", "train", rows, len(rows))
    about: dict[str, Any] = {
        "schema_version": "2",
        "format": "parquet",
        "class_names": names,
        "files": {"train": files},
        "provenance": {"data_sha256": "", "folds_sha256": "", "fold": 0},
    }
    about |= {"size": faces.size, "channels": faces.channels}
    (folder / "parquet" / "dataset.json").write_text(json.dumps(about), encoding="utf-8")


def measure(*, size: int = 48, batch: int = 64, repeats: int = 3) -> list[Row]:
    """The rows of the table: an epoch in one process, as a worker reads it."""
    with tempfile.TemporaryDirectory() as home:
        write_exports(embedded_faces(size, 1), Path(home))
        decoded = Faces(Path(home) / "parquet")
        kept = Faces(Path(home) / "parquet", keep_pixels=True)
        read = Compose([Grayscale(), PILToTensor()])
        loader = DataLoader(ImageFolder(f"{home}/imagefolder/train", transform=read), batch, shuffle=True)
        mapped: DataLoader[Any] = DataLoader(decoded, batch, shuffle=True)  # type: ignore[arg-type]

        def epoch(faces: Faces) -> None:
            for images, labels in faces.batches(batch, shuffle=True):
                torch.from_numpy(images), torch.from_numpy(labels)

        seconds = seconds_by_turns(
            {
                "batches": lambda: epoch(decoded),
                "kept": lambda: epoch(kept),
                "mapped": lambda: [None for _ in mapped],
                "folder": lambda: [None for _ in loader],
            },
            repeats,
        )
        speeds = {name: len(decoded) / value for name, value in seconds.items()}
    what = {
        "batches": "its batches",
        "mapped": "its faces by a DataLoader",
        "kept": "its batches, pixels kept, from the second epoch on",
    }
    return [
        speed_row(
            f"exported faces read, {size} px, batches of {batch}: {words}",
            speeds[name],
            "DataLoader, ImageFolder of PNG files",
            speeds["folder"],
            unit="faces/s",
        )
        for name, words in what.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 48), ("batch", 64), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    torch.set_num_threads(1)
    for row in measure(**vars(parser.parse_args())):
        print(" | ".join(row.cells()))


if __name__ == "__main__":
    main()
