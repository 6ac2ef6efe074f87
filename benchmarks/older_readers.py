"""Which versions of other packages read a table of faces some of which have no landmarks.

    python -m benchmarks.older_readers
    python -m benchmarks.older_readers --reader pyarrow==19.0.1 --reader datasets==3.0.0

uv installs each version into an environment of its own (it downloads what it lacks). Prints a line each, and ends with
1 where a version did not read what was written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from augment.faces.images import encode_png
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.shards import CardFacts, write_faces

READERS = (
    *(f"pyarrow=={version}" for version in ("15.0.2", "18.0.0", "21.0.0", "24.0.0", "25.0.0", "26.0.1")),
    *(f"datasets=={version}" for version in ("2.21.0", "3.6.0", "4.0.0", "5.2.0")),
    *(f"polars=={version}" for version in ("0.20.31", "1.0.0", "1.20.0")),
    *(f"duckdb=={version}" for version in ("0.10.3", "1.1.0", "1.4.0")),
)
CLASSES = ("happy", "sad")
# The landmarks of each face of a `folder`, None where it has none.
PROGRAMS = {
    "pyarrow": "import pyarrow.dataset\n"
    "found = pyarrow.dataset.dataset(folder + '/data').to_table()['landmarks'].to_pylist()",
    # By the tables' own metadata, as below a card that says nothing of columns.
    "datasets": "import datasets\ndatasets.disable_progress_bars()\n"
    "files = folder + '/data/*'\n"
    "made = datasets.load_dataset('parquet', data_files=files, split='train', cache_dir=folder + '/cache')\n"
    "found = list(made['landmarks'])",
    "polars": "import polars\nfound = polars.read_parquet(folder + '/data/*.parquet')['landmarks'].to_list()",
    "duckdb": "import duckdb\n"
    "found = [row[0] for row in duckdb.sql(f\"select landmarks from '{folder}/data/*.parquet'\").fetchall()]",
}


def write_some_faces(folder: Path, count: int = 6) -> list[list[float] | None]:
    """Writes faces of noise and gives their landmarks, which every other has, in the order in which they are read."""
    generator = np.random.default_rng(0)
    points = [generator.random(2 * LANDMARK_COUNT, np.float32) if number % 2 else None for number in range(count)]
    rows = [
        {
            "image": {"bytes": encode_png(generator.integers(0, 256, (16, 16), np.uint8)), "path": None},
            "label": 0,
            "label_name": CLASSES[0],
            "face_id": f"noise/{number}",
            "source": "noise",
            "split": "train",
            "landmarks": points[number],
        }
        for number in range(count)
    ]
    write_faces(rows, folder, CLASSES, card=CardFacts("Noise", "Noise, not faces.", "cc0-1.0"))
    return [None if values is None else values.tolist() for values in points]


def read_by(reader: str, folder: Path) -> list[list[float] | None]:
    """The landmarks that a version of a package reads.

    Raises:
        RuntimeError: It reads nothing, or is not there; with the last line of what it says.
    """
    body = PROGRAMS[reader.partition("==")[0]]
    program = f"import json, sys\nfolder = sys.argv[1]\n{body}\nprint(json.dumps(found))"
    command = ["uv", "run", "--quiet", "--no-project", "--isolated", "--with", reader, "python", "-c", program]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it says nothing"])[-1])
    found: list[list[float] | None] = json.loads(done.stdout.splitlines()[-1])
    return found


@click.command(help=__doc__)
@click.option("--reader", "readers", multiple=True, default=READERS, help="A package and its version.")
def main(readers: tuple[str, ...]) -> None:
    if unknown := [reader for reader in readers if reader.partition("==")[0] not in PROGRAMS]:
        raise click.UsageError(f"--reader {unknown[0]}: is none of {', '.join(PROGRAMS)}")
    failed = False
    for reader in readers:
        with tempfile.TemporaryDirectory() as home:
            wanted = write_some_faces(Path(home) / "faces")
            try:
                said = "reads it" if read_by(reader, Path(home) / "faces") == wanted else "reads other values"
            except RuntimeError as error:
                said = f"fails: {error}"
        failed |= said != "reads it"
        click.echo(f"{reader}: {said}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
