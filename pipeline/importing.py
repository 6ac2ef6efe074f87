"""`s2l import`: an existing data set of pictures and labels, of faces or not, becomes a run's data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError, Problem
from augment.core.replacing import folder_in_place
from augment.faces.licences import as_licence, card_head, says_something
from augment.faces.splits import FoldSettings
from augment.faces.table import SPLITS
from augment.prepare.inventory import Inventory, take_inventory
from augment.sources import open_source
from augment.sources.folder import IMAGE_EXTENSIONS, SPLIT_FOLDERS
from augment.sources.listed import ListedSource
from augment.sources.terms import licence_of
from augment.translators import translator_class, translator_settings
from pipeline.core.project import check_project
from pipeline.data_check import (
    classes_without_faces,
    classes_without_training_faces,
    inventory_text,
    leaving_out,
    override_value,
    unsplittable,
)
from pipeline.profile import compose_profile, write_parameters
from pipeline.publishing.destinations import check_destination
from pipeline.requirements import classes_not_taught

_IMPORTED = "IMPORTED.txt"  # a folder that has it is this command's to replace
_ROWS_PER_FILE = 10_000
_PUBLISHED = ("affectnet", "bu3dfe", "ck_plus", "ferg", "jaffe", "mug", "oulu_casia", "raf_db", "rafd")
_NEEDED = {"side_input": "landmarks", "lambda_parsing": "masks"}  # what a setting of LSSL needs


@dataclass(frozen=True)
class Import:
    """What was found in a data set, and the run that it was made ready for.

    Attributes:
        text: What is in the data set, what can't be read, which translators were left out and why.
        problems: How many pictures or rows can't be read.
        overrides: The words of `s2l profile` that params.yaml was composed with; empty where it was not written.
        can_be_split: Whether there are enough people or pictures for train, validation and test, as far as counts tell.
    """

    text: str
    problems: int
    overrides: list[str] = field(default_factory=list)
    can_be_split: bool = True


def import_data(
    root: Path,
    source: Path,
    to: Path,
    settings: Mapping[str, Any],
    overrides: Sequence[str],
    licence: str | None = None,
) -> Import:
    """Checks a data set whole, and composes a run that learns from it.

    Every picture is read. A data set that Hugging Face's `save_to_disk` wrote is turned into Parquet first; Parquet and
    folders of classes stay where they are. Translators that need what these pictures lack (landmarks, simulated
    faces) are left out of the run, with their arms.

    Args:
        root: The workspace, with conf/.
        source: A Parquet file or a folder of them, a folder with a folder of pictures for each class, or what
            `save_to_disk` wrote.
        to: Where a turned data set is written.
        settings: Of the source (`augment.sources.parquet`, `augment.sources.folder`), such as image_column.
        overrides: Further words of `s2l profile`.
        licence: Under which terms the pictures stand; None where the data set says it.

    Returns:
        What was found. With problems nothing is written, unless `overrides` names a quarantine.

    Raises:
        InputError: It is no data set that can be read, has one class alone, nobody says under which terms it stands, or
            the profile can't be composed.
    """
    check_project(root)
    name, place = _recognize(source), source
    # What is wrong with the user's own words is said now, not after minutes of reading.
    kind, where = ("parquet", to) if name == "saved" else (name, source)
    compose_profile(root, [*_profile_words(kind, where, settings, licence, root), *overrides])
    if name == "saved":
        check_destination(root, to, _IMPORTED)
        if source.resolve() in to.resolve().parents:
            raise InputError(Problem(str(to), "lies in the data set that is imported", "name a folder elsewhere: --to"))
        place = convert_saved(source, to, licence)
        name = "parquet"
    opened = open_source(name, place, **settings)
    found = take_inventory(opened, pictures=True)
    if licence is not None:
        found = found.model_copy(update={"licence": licence_of(opened, licence, where="--licence")})
    text = inventory_text(found, where=str(place))
    if name == "folder" and (published := _published_layout(place)):
        text += (
            f"\nplease check: this is laid out as {published} is. If it is that data set, read it as such, which knows "
            f"its people, splits and terms: s2l profile dataset={published} dataset.root={place}\n"
        )
    words = _profile_words(name, place, settings, licence, root)
    if licence is None and found.licence is None:
        why = "does not say under which terms its pictures stand, and what is made from them must"
        raise InputError(Problem(str(place), why, 'say it: --licence "my own photographs, all persons agreed"'))
    if len(found.class_names) < 2:
        raise InputError(Problem(str(source), "has one class alone", "add pictures of a second class"))
    if found.by_split and not found.by_split.get("train"):
        there = ", ".join(f"{split} {count:,}" for split, count in found.by_split.items())
        raise InputError(Problem(str(source), f"has no training faces: {there}", "name its largest split `train`"))
    if empty := classes_without_faces(found):
        words += leaving_out(empty, found)
    words += overrides
    values = yaml.safe_load(compose_profile(root, words))
    untrained = [name for name in classes_without_training_faces(found) if name not in empty]
    if values["folds"]["kind"] != "subjects" and untrained:
        fix = "add some to its split `train`, or add folds.kind=subjects, which draws new splits"
        raise InputError([Problem(str(source), f"has no training face of {name}", fix) for name in untrained])
    lenient = bool(values["dataset"]["quarantine"])
    if found.problems and not lenient:
        fix = "\nmend what is listed, or go on without it: add dataset.quarantine=quarantine/list.jsonl\n"
        return Import(text + fix, len(found.problems))
    if empty:
        text += f"\nleft out: {', '.join(empty)}, of which there is no face\n"
    changed, lacking = _fitted(values, found, taught=any(word.startswith("masks=") for word in overrides))
    words += [f"++translators.{name}.settings.{key}={value}" for name, key, value in changed]
    words += [f"translators.{translator}=null" for translator in lacking]
    words += _arms_without(values, lacking)
    composed = compose_profile(root, words)
    for translator, key, value in changed:
        text += f"\n{translator}: {key}={value}, since these pictures have no {_NEEDED[key]}"
    for translator, needs in lacking.items():
        text += f"\nleft out: {translator}, which needs {needs}; these pictures have none"
    if changed or lacking:
        text += "\n(landmarks of faces can be found: add landmarks=dlib)\n"
    if not yaml.safe_load(composed)["translators"]:
        text += "no translator is left, so nothing will be synthesized: add scale=cpu, whose translators include such\n"
        text += "as need no landmarks, with their arms\n"
    write_parameters(root, composed)
    folds = FoldSettings.model_validate(values["folds"])
    return Import(text, 0 if lenient else len(found.problems), words, can_be_split=unsplittable(found, folds) is None)


def _recognize(source: Path) -> str:
    """What kind of data set lies there: `saved`, `parquet` or `folder`.

    Raises:
        InputError: Nothing that can be read.
    """
    fix = "name a Parquet file, a folder of them or of class folders, or what `save_to_disk` of `datasets` wrote"
    if source.is_file():
        if source.suffix.lower() == ".parquet":
            return "parquet"
        raise InputError(Problem(str(source), "is no Parquet file", fix))
    if not source.is_dir():
        raise InputError(Problem(str(source), "is not there", fix))
    if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
        return "saved"
    # A card's or a contact sheet's pictures lie beside tables, not in folders of classes.
    if any(source.rglob("*.parquet")) and not _class_folders(source):
        return "parquet"
    if any(path.suffix.lower() in IMAGE_EXTENSIONS for path in source.rglob("*")):
        return "folder"
    if any(source.rglob("*.tar")):
        raise InputError(Problem(str(source), "holds archives, which are not read", "unpack them, or use Parquet"))
    raise InputError(Problem(str(source), "holds no table and no picture", fix))


def _published_layout(folder: Path) -> str | None:
    """The published data set whose layout a folder has; None where it has none.

    FER2013's is left out: folders of expressions below folders of splits are many people's own.
    """
    for name in _PUBLISHED:
        try:
            source = open_source(name, folder)
        except InputError:
            continue
        # Folders of numbers alone are many people's own, too.
        if isinstance(source, ListedSource) and not source.listed_faces():
            continue
        return name
    return None


def _class_folders(source: Path) -> bool:
    """Whether two folders or more hold pictures and no table."""
    holding = {path.parent for path in source.rglob("*") if path.suffix.lower() in IMAGE_EXTENSIONS} - {source}
    return sum(not any(folder.glob("*.parquet")) for folder in holding) >= 2


def convert_saved(source: Path, to: Path, licence: str | None = None) -> Path:
    """Turns what Hugging Face's `save_to_disk` wrote into Parquet tables with a card.

    Args:
        source: The folder of a `Dataset` or a `DatasetDict`.
        to: The folder to write.
        licence: Where the data set itself names none.

    Returns:
        `to`.

    Raises:
        InputError: It can't be read, its splits have names that are not known, it names no licence and none is given,
            or `to` holds files that this tool did not write.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        found = datasets.load_from_disk(str(source))
    except Exception as error:  # of a damaged folder it raises whatever Arrow, JSON and the file system may
        why = f"can't be read as a data set that `save_to_disk` wrote: {error}"
        if isinstance(error, IndexError):  # what `datasets` says of a split without rows
            why = "has a split without rows, which can't be read"
        raise InputError(Problem(str(source), why, "save it again, without empty splits")) from error
    parts = dict(found) if isinstance(found, datasets.DatasetDict) else {"": found}
    unknown = [split for split in parts if split and str(split).lower() not in SPLIT_FOLDERS]
    if unknown:
        why = f"has splits that are not known: {', '.join(map(str, unknown))}"
        raise InputError(Problem(str(source), why, f"name them {', '.join(SPLITS)}, or save one alone"))
    first = next(iter(parts.values()))
    said = first.info.license if says_something(first.info.license or "") else licence
    terms = as_licence(said, where=f"{source}: licence")
    with folder_in_place(to) as folder:
        (folder / "data").mkdir()
        for split, part in parts.items():
            word = SPLIT_FOLDERS[str(split).lower()] if split else "all"
            for number, start in enumerate(range(0, len(part), _ROWS_PER_FILE)):
                rows = part.select(range(start, min(start + _ROWS_PER_FILE, len(part))))
                rows.to_parquet(str(folder / "data" / f"{word}-{number:05d}.parquet"))
        title = first.info.dataset_name or source.name
        lines = [*card_head(terms.front_matter(), title), f"From {source.name}, as Parquet.", "", *terms.section()]
        (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
        (folder / _IMPORTED).write_text(f"by `s2l import`, from {source.name}\n", encoding="utf-8")
    return to


def _profile_words(name: str, place: Path, settings: Mapping[str, Any], licence: str | None, root: Path) -> list[str]:
    """The words of `s2l profile` for a data set."""
    shown = place.relative_to(root) if place.is_relative_to(root) else place
    words = [f"dataset={name}", f"dataset.root={override_value(str(shown))}", "folds.folds=1"]
    words += [f"++dataset.settings.{key}={override_value(value)}" for key, value in settings.items()]
    if licence is not None:
        words.append(f"dataset.licence={override_value(licence)}")
    return words


def _fitted(
    values: Mapping[str, Any], found: Inventory, *, taught: bool
) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """What a run's translators need and a data set lacks.

    Args:
        values: Of the profile.
        found: What is in the data set.
        taught: Whether the parsing network is to learn from other faces than these.

    Returns:
        Settings that must change (translator, key, value), and translators that can't work: name -> what they need.
    """
    pictures = found.pictures
    there = {"own_class", *(["landmarks"] if pictures and pictures.landmarks else [])}
    annotation = values["dataset"]["annotation"]
    there |= {"landmarks"} if annotation["landmarks"]["detector"] != "none" else set()  # they are going to be sought
    there |= {"simulated"} if annotation["simulated"] else set()
    changed, lacking = [], {}
    for name, entry in values["translators"].items():
        kind = translator_class(entry["method"])
        settings = translator_settings(entry["method"], entry.get("settings"))
        if "landmarks" in kind.requires_for(settings) - there and getattr(settings, "side_input", False):
            settings = settings.model_copy(update={"side_input": False})
            changed.append((name, "side_input", "false"))
        if getattr(settings, "lambda_parsing", 0) and not taught and not (pictures and pictures.masks):
            changed.append((name, "lambda_parsing", "0.0"))
        needs: list[str] = sorted(kind.requires_for(settings) - there)
        if classes_not_taught(settings, values["dataset"]["classes"] or found.class_names):
            needs.append("classes that embedded people show")
        if needs:
            changed = [change for change in changed if change[0] != name]
            lacking[name] = " and ".join(needs).replace("simulated", "simulated frontal faces")
    return changed, lacking


def _arms_without(values: Mapping[str, Any], lacking: Mapping[str, str]) -> Iterator[str]:
    """Words that take the arms of left-out translators out."""
    for kind, arms in values["arms"].items():
        for arm, entry in arms.items():
            if {entry.get("translator"), entry.get("second_translator")} & set(lacking) or (
                entry.get("kind") == "landmark_lda" and any("landmarks" in needs for needs in lacking.values())
            ):
                yield f"arms.{kind}.{arm}=null"
