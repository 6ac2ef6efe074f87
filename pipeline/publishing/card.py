"""The card of an exported folder, `README.md`: YAML for Hugging Face, then words for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from augment.faces.licences import Licence, card_head
from pipeline.publishing.columns import COLUMNS, card_features
from pipeline.publishing.description import FILE, REAL, SCHEMA_FILE, Description
from reports.tables import markdown_table

SHEET = "contact-sheet.png"
_PATHS = {"parquet": "data/{}-*.parquet", "imagefolder": "{}/**", "webdataset": "data/{}-*.tar"}
_READ = {
    "parquet": "`datasets.load_dataset` reads this folder; pandas, pyarrow, Polars and DuckDB read its "
    "folder `data`, all splits at once: take one by the column `split`.",
    "imagefolder": "`torchvision.datasets.ImageFolder(..., allow_empty=True)` reads the folder of a split (it numbers "
    "the classes by the alphabet; `dataset.json` has the order of the labels), Hugging Face's `datasets` all.",
    "webdataset": "WebDataset reads the archives in `data`, and Hugging Face's `datasets` the folder.",
}
USE = """\
## What they are for, and what not

For training and testing image classifiers on the classes below. Synthetic faces are of training faces of one split:
what is learned from them is to be tested on real faces of other people, as the splits here keep them apart.

- An expression is not an emotion: the classes say how a face looks, and nothing of what a person feels.
- A synthetic face looks like the person of its source face (`subject`, `source_id`). Where that is somebody real, it
  is a likeness: their consent to the source picture is not consent to every face made from it.
- What is wrong in the source goes on in them: its choice of people, its labels, its light. A translator adds its own
  errors, which the contact sheet shows; and a class that it shows badly is learned badly.
- They are not for recognizing people, for judging anybody, or for passing for photographs.
"""


def plain(text: str) -> str:
    """Somebody's words for Markdown: nothing in them is a table, a heading, a link or HTML, and all is on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    """A text without line breaks and whatever else does not show."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def card_text(description: Description) -> str:
    """The card.

    Args:
        description: What the folder says of itself.
    """
    licence = Licence(lines=description.licence)
    kinds = {1: "grey", 3: "colour"}
    lines = [
        *card_head(card_front(description), plain(description.title)),
        f"Faces of {description.size}x{description.size} pixels, {kinds[description.channels]}. "
        f"{_READ[description.format]}",
        "",
        f"![Faces of each class, by who made them]({SHEET})",
        "",
        "## Counts",
        "",
        *_counts(description),
        "",
        *_translators(description),
        "## Columns",
        "",
        markdown_table(
            pd.DataFrame(
                [(c.name, c.type, "yes" if c.nullable else "", c.meaning) for c in COLUMNS],
                columns=["column", "type", "may be null", "meaning"],
            )
        ),
        "",
        f"`{FILE}` has what this page says for programs, by the JSON Schema in `{SCHEMA_FILE}`.",
        "",
        *_provenance(description),
        USE,
        *licence.section(),
        *_permissions(description),
    ]
    return "\n".join(lines).rstrip() + "\n"


def card_front(description: Description) -> dict[str, Any]:
    """The YAML at the card's head."""
    synthetic = any(counts.synthetic for counts in description.splits.values())
    front: dict[str, Any] = {
        **Licence(lines=description.licence).front_matter(),
        "pretty_name": description.title,
        "task_categories": ["image-classification"],
        "size_categories": [_size_category(sum(counts.rows for counts in description.splits.values()))],
        "tags": ["facial-expression-recognition", *(["synthetic"] if synthetic else [])],
        "configs": card_configs(description),
    }
    if description.format != "imagefolder":  # whose pictures are found by their folders
        front["dataset_info"] = {"features": _features(description)}
    return front


def card_facts(description: Description) -> list[str]:
    """The lines of the card that say what the description says: counts, translators, provenance."""
    return "\n".join([*_counts(description), *_translators(description), *_provenance(description)]).splitlines()


def card_configs(description: Description) -> list[dict[str, Any]]:
    """Which files a card gives Hugging Face for each split."""
    files = [{"split": split, "path": [_PATHS[description.format].format(split)]} for split in description.splits]
    return [{"config_name": "default", "data_files": files}]


def _features(description: Description) -> list[dict[str, Any]]:
    """The columns for Hugging Face, as its reader of the format gives them."""
    columns = card_features(description.class_names)
    if description.format == "parquet":
        return columns
    fields = [{"name": "label", "dtype": "int64"} if field["name"] == "label" else field for field in columns[1:]]
    return [
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
        {"name": "png", "dtype": "image"},
        {"name": "cls", "dtype": columns[1]["dtype"]},
        {"name": "json", "struct": fields},
    ]


def _counts(description: Description) -> list[str]:
    """Faces by split, maker and class, as a table; a class may be called as a column is."""
    names = [plain(name) for name in description.class_names]
    lines = [_row(["split", "faces", *names, "all"]), _row(["---", "---", *["--:"] * (len(names) + 1)])]
    for split, counts in description.splits.items():
        parts: Sequence[tuple[str, Mapping[str, int]]] = [(REAL, counts.real), *counts.synthetic.items()]
        for maker, found in parts:
            if found:
                who = REAL if found is counts.real else f"synthetic, by {plain(maker)}"
                numbers = [found.get(name, 0) for name in description.class_names]
                lines.append(_row([split, who, *(f"{number:,}" for number in [*numbers, sum(numbers)])]))
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _translators(description: Description) -> list[str]:
    if not description.translators:
        return []
    rows = [
        {
            "translator": plain(name),
            "method": facts.method,
            "training steps": "" if facts.steps is None else f"{facts.steps:,}",
            "weights (SHA-256)": facts.weights_sha256[:16],
        }
        for name, facts in description.translators.items()
    ]
    return [
        "## Who made the synthetic faces",
        "",
        markdown_table(pd.DataFrame(rows)),
        "",
        "Each was trained on the training faces of one fold, and made its faces from those. A classifier of the same",
        "real training faces gave the confidences; what it took for another class was dropped where selection was on.",
        "Each synthetic PNG says in its text metadata that it is one (`DigitalSourceType` of the IPTC:",
        "trainedAlgorithmicMedia).",
        "",
    ]


def _provenance(description: Description) -> list[str]:
    made = description.provenance
    command = _one_line(made.command).replace("`", "'")
    return [
        "## Provenance",
        "",
        f"- made by: {made.tool} {made.version}, code {made.commit} (tree {made.tree})",
        f"- exported by code {made.exported_by}",
        f"- command: `{command}`",
        f"- real faces: {plain(made.data)} (SHA-256 of their table's list of digests: {made.data_sha256[:16]})",
        f"- seed {made.seed}, fold {made.fold}",
        "- checksums: `sha256sum --check .s2l`; everything else: `s2l verify` on this folder",
        "",
    ]


def _permissions(description: Description) -> list[str]:
    granted = [permission for permission in description.permissions if permission.granted]
    if not granted:
        return []
    return [
        "Passed on with the holders' word, as whoever exported the folder says:",
        "",
        *(f"- {plain(permission.data_set)}: {plain(permission.granted)}" for permission in granted),
        "",
    ]


def _size_category(rows: int) -> str:
    """The name that Hugging Face has for a number of rows."""
    bounds = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")


def write_card(folder: Path, description: Description) -> None:
    """Writes the card into a folder."""
    (folder / "README.md").write_text(card_text(description), encoding="utf-8")
