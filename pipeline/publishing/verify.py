"""Checks an exported folder: it is what was exported, and nothing of a held-out face is in its training split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.core.regular_files import read_regular_file
from augment.core.seals import folder_files, read_seal, seal_problems
from augment.faces.duplicates import find_duplicates
from augment.faces.images import UndecodableImageError, decode_image
from augment.faces.leakage import LeakageError, check_leakage, duplicates_across
from augment.faces.licences import card_values, read_card
from augment.faces.table import IMAGE
from pipeline.publishing.card import SHEET, card_facts, card_front
from pipeline.publishing.columns import COLUMNS
from pipeline.publishing.description import (
    FILE,
    REAL,
    SCHEMA_FILE,
    SYNTHETIC,
    Description,
    Split,
    SplitCounts,
    encodes,
    json_schema,
    read_description,
)
from pipeline.publishing.formats import form_of
from pipeline.publishing.marks import MARKED, mark_of

_OF_THE_HUB, _FOLDERS_OF_THE_HUB = (".gitattributes", ".git"), (".cache/huggingface/", ".git/")
_FIX = "take the folder from where you have it, or export it again"
_MOST_PROBLEMS = 20
_NEEDED = ("translator", "source_id", "seed")  # of a synthetic face
_PROVENANCE = (*_NEEDED, "source_label", "weights_sha256")
_KINDS: dict[str, tuple[type, ...]] = {"int64": (int,), "string": (str,), "bool": (bool,), "float": (float, int)}


class _Problems(list[Problem]):
    """Problems, of which those beyond the first few are only counted."""

    more = 0

    def report(self, where: str, why: str, fix: str = _FIX) -> None:
        if len(self) < _MOST_PROBLEMS:
            self.append(Problem(where, why, fix))
        else:
            self.more += 1


def verify_faces(folder: Path) -> Description:
    """Checks an exported folder.

    Every file is the one that was written (SHA-256); `dataset.json` is as its schema says; each row has the columns it
    must have, in their types; each picture decodes, in the size that the description names; synthetic pictures are
    marked, and real ones are not; face ids are unique; rows are as many as the description says, by split, class and
    translator; and where real faces are there, no person, source face or picture of validation or test is in train.

    Args:
        folder: The folder.

    Returns:
        What the folder says of itself.

    Raises:
        InputError: Lists what is wrong, at most twenty things.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(Problem(str(folder), "is no folder", "name the folder that `s2l export` wrote"))
    if strange := _strange_files(folder):  # before anything is opened: a pipe would never end
        raise InputError(strange[:_MOST_PROBLEMS], f"{folder} holds what an export has not:")
    description = read_description(folder)
    # What the Hugging Face Hub and git put beside an export is neither sealed nor read.
    files = folder_files(folder)
    there = {name for name in files if name not in _OF_THE_HUB and not name.startswith(_FOLDERS_OF_THE_HUB)}
    problems = _Problems(seal_problems(folder, _FIX, names=there | set(read_seal(folder) or {})))
    if problems:  # what is in changed files would only say it again
        raise InputError(problems[:_MOST_PROBLEMS], f"{folder} is not as it was exported:")
    _check_words(folder, description, problems)
    form = form_of(description.format, description.class_names)
    read: set[str] = {"README.md", FILE, SCHEMA_FILE, SHEET}
    read |= {name for names in description.files.values() for name in names}
    seen: set[str] = set()
    kept: list[dict[str, Any]] = []
    leak_matters = any(counts.real for split, counts in description.splits.items() if split != "train")
    for split, counts in description.splits.items():
        found: Counter[tuple[str, str]] = Counter()
        uncounted = 0  # whose columns can't be read
        rows = form.read(folder, description.files[split])
        for number, row in enumerate(_progress(rows, split, counts.rows)):
            where = f"{split} row {number}"
            if not _check_columns(row, where, problems):
                uncounted += 1
                continue
            _check_row(row, where, description, problems)
            if row["face_id"] in seen:
                problems.report(where, f"face_id {row['face_id']!r} occurs twice")
            seen.add(row["face_id"])
            if description.format == "imagefolder":
                if not str(row["image"]["path"]).startswith(f"{row['label_name']}/"):
                    problems.report(where, f"is of {row['label_name']}, and its picture is {row['image']['path']}")
                read.add(f"{split}/{row['image']['path']}")
            found[row["translator"] if row["synthetic"] else REAL, row["label_name"]] += 1
            if row["split"] != split:
                problems.report(where, f"says that it is of the split {row['split'][:60]!r}")
            if row["synthetic"] and split != "train":
                problems.report(where, "is synthetic, and in a split that is to test with")
            if leak_matters:
                names = ("face_id", "subject", "source_id", "synthetic", "image")
                kept.append({**{name: row[name] for name in names}, "split": split})
        if sum(found.values()) + uncounted != counts.rows or not uncounted:
            _check_counts(split, counts, found, problems)
    for name in sorted(there - read):  # a reader that takes all files of a split would meet it
        problems.report(str(folder / name), f"is no file that {FILE} names")
    if leak_matters and not problems:
        _check_leaks(kept, description, problems)
    if problems:
        more = f", and {problems.more:,} more" if problems.more else ""
        raise InputError(problems, f"{folder} is not as it should be ({len(problems)} problems{more}):")
    return description


def _strange_files(folder: Path) -> list[Problem]:
    """What is neither a folder nor a file (a pipe, a device, a link to a folder or to nothing), or leads out."""
    problems = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() and (path.is_symlink() or not path.is_dir()):
            problems.append(Problem(str(path), "is neither a folder nor a file", "take it out"))
        elif path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            why = "is a link that leads out of the folder"
            problems.append(Problem(str(path), why, "put the file itself there (`cp -rL` copies what links lead to)"))
    return problems


def _check_words(folder: Path, description: Description, problems: _Problems) -> None:
    """Whether the schema is this version's, the card says what the description does, and the sheet is a picture."""
    if not (folder / SCHEMA_FILE).is_file() or (folder / SCHEMA_FILE).read_bytes() != json_schema().encode():
        problems.report(str(folder / SCHEMA_FILE), f"is not the schema of version {description.schema_version}")
    card = folder / "README.md"
    found, expected = card_values(folder), card_front(description)
    if found.get("configs") != expected["configs"]:
        problems.report(str(card), f"does not name the files of each split as {FILE} does")
    licence = read_card(folder)
    if licence is None or licence.lines != description.licence:
        problems.report(str(card), f"does not name the terms that {FILE} names")
    others = sorted(key for key in {*found, *expected} - {"configs"} if found.get(key) != expected.get(key))
    if others:
        problems.report(str(card), f"says another {', '.join(map(str, others))} at its head than {FILE} gives")
    text = read_regular_file(card).decode("utf-8", errors="replace") if card.is_file() else ""
    said = set(text.splitlines())
    if missing := [line for line in card_facts(description) if line not in said]:
        problems.report(str(card), f"does not say what {FILE} does; it lacks {missing[0][:120]!r}")
    if markup := re.search(r"(?<!\\)<[a-zA-Z!/][^>]*>", re.sub(r"`[^`\n]*`", "", text)):
        problems.report(str(card), f"holds {markup.group(0)[:60]!r}, and an export's card has no HTML")
    try:
        decode_image(read_regular_file(folder / SHEET))
    except (OSError, UndecodableImageError) as error:
        problems.report(str(folder / SHEET), f"is no picture: {error}")


def _progress(rows: Iterator[dict[str, Any]], split: str, count: int) -> Iterator[dict[str, Any]]:
    with track(rows, desc=f"verify {split}", unit="faces", total=count) as progress:
        yield from progress


def _check_columns(row: dict[str, Any], where: str, problems: _Problems) -> bool:
    """Whether each column has a value of its type, and none is null that may not be."""
    before = len(problems) + problems.more
    for column in COLUMNS:
        value = row[column.name]
        if value is None:
            if not column.nullable:
                problems.report(where, f"{column.name} is null")
        elif column.name == "image":
            if not isinstance(value.get("bytes"), bytes):
                problems.report(where, "image has no bytes")
        elif column.type == "float" and not (isinstance(value, (int, float)) and 0 <= value <= 1):
            problems.report(where, f"{column.name} is {str(value)[:60]}, not in 0..1")
        elif column.type == "string" and isinstance(value, str) and not encodes(value):
            problems.report(where, f"{column.name} is no text that can be written")
        elif not isinstance(value, _KINDS[column.type]) or (column.type == "int64" and isinstance(value, bool)):
            problems.report(where, f"{column.name} is {str(value)[:60]!r}, no {column.type}")
    return len(problems) + problems.more == before


def _check_row(row: dict[str, Any], where: str, description: Description, problems: _Problems) -> None:
    label, names = row["label"], description.class_names
    if not (0 <= label < len(names) and names[label] == row["label_name"]):
        problems.report(where, f"label {str(label)[:60]} is not {row['label_name'][:60]!r} among {list(names)}")
    picture = row["image"]["bytes"]
    try:
        pixels = decode_image(picture)
    except UndecodableImageError as error:
        problems.report(where, f"its picture can't be decoded: {error}")
        return
    shape = (*pixels.shape[:2], 1 if pixels.ndim == 2 else pixels.shape[2])
    wanted = (description.size, description.size, description.channels)
    if shape != wanted:
        problems.report(where, f"its picture is {'x'.join(map(str, shape))}, not {'x'.join(map(str, wanted))}")
    mark = mark_of(picture)
    if row["synthetic"]:
        missing = [name for name in _NEEDED if row[name] is None]
        if missing:
            problems.report(where, f"is synthetic and lacks {', '.join(missing)}")
        elif row["translator"] not in description.translators:
            problems.report(where, f"its translator {row['translator']!r} is not described")
        elif row["weights_sha256"] != description.translators[row["translator"]].weights_sha256:
            problems.report(where, f"its weights_sha256 is not that of {row['translator']} in {FILE}")
        if row["source"] != SYNTHETIC:
            problems.report(where, f"is synthetic, and of the source {row['source'][:60]!r}, not {SYNTHETIC!r}")
        if mark is None or mark.get("face_id") != row["face_id"]:
            problems.report(where, "is synthetic, and its picture is not marked so")
        elif differing := [name for name in MARKED if mark.get(name) != row[name]]:
            problems.report(where, f"its picture's mark says another {', '.join(differing)}")
    elif mark is not None:
        problems.report(where, "is called real, and its picture is marked as synthetic")
    elif any(row[name] is not None for name in _PROVENANCE):
        problems.report(where, "is called real, and names a translator or a source face")


def _check_counts(split: Split, counts: SplitCounts, found: Counter[tuple[str, str]], problems: _Problems) -> None:
    said = {(REAL, name): count for name, count in counts.real.items()}
    said |= {(who, name): count for who, per_class in counts.synthetic.items() for name, count in per_class.items()}
    for who, name in sorted({*said, *found}):
        if said.get((who, name), 0) != found[who, name]:
            why = f"has {found[who, name]:,} faces of {name} by {who}, and {said.get((who, name), 0):,} are described"
            problems.report(split, why)
    if sum(found.values()) != counts.rows:
        problems.report(split, f"has {sum(found.values()):,} rows, and {counts.rows:,} are described")


def _check_leaks(rows: list[dict[str, Any]], description: Description, problems: _Problems) -> None:
    """Whether a person, a source face or a picture of validation or test is among the training faces."""
    real = [row for row in rows if not row["synthetic"]]
    made = [row for row in rows if row["synthetic"]]
    faces = pa.table(
        {
            "face_id": pa.array([row["face_id"] for row in real], pa.string()),
            "subject": pa.array([row["subject"] for row in real], pa.string()),
            "image": pa.array([row["image"] for row in real], IMAGE),
        }
    )
    folds = pa.table(
        {
            "face_id": faces.column("face_id"),
            "fold": pa.array([0] * len(real), pa.int64()),
            "split": pa.array([row["split"] for row in real], pa.string()),
        }
    )
    synthetic = pa.table(
        {
            "face_id": pa.array([row["face_id"] for row in made], pa.string()),
            "source_id": pa.array([row["source_id"] for row in made], pa.string()),
            "fold": pa.array([0] * len(made), pa.int64()),
            "image": pa.array([row["image"] for row in made], IMAGE),
        }
    )
    people = {row["face_id"]: row["subject"] for row in real}
    for row in made:
        if row["source_id"] in people and row["subject"] != people[row["source_id"]]:
            why = f"is of {row['subject']}, and its source face {row['source_id']} of {people[row['source_id']]}"
            problems.report(f"synthetic face {row['face_id']}", why)
    held_out = {row["subject"] for row in real if row["split"] != "train" and row["subject"] is not None}
    for row in made:
        if row["subject"] in held_out:
            problems.report(f"synthetic face {row['face_id']}", f"is of {row['subject']}, a person of a held-out split")
    shared = duplicates_across(
        find_duplicates(faces.select(["face_id", "image"])), {row["face_id"]: row["split"] for row in real}
    )
    if sum(entry.near for entry in shared) > description.shared_pictures:
        pairs = "; ".join(f"{one} and {other}" for entry in shared for one, other in entry.examples[:3])
        why = f"share pictures, such as {pairs}; {description.shared_pictures:,} are described"
        problems.report("the splits", why)
    try:
        check_leakage(faces, folds, fold=0, synthetic=synthetic if made else None, pictures="synthetic")
    except LeakageError as error:
        for problem in error.problems:
            problems.report(problem.where, problem.why)
