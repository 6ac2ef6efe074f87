"""Where the class folders of people's own pictures lie: directly in the root, below split folders, or in a wrapper.

Archives unpack into folders of their names (`my-faces/happy`, `archive/train/happy`, `train/train/happy`). Such a
wrapper is gone through where only one reading is possible, and that is said; where two are, the root is refused with
the folder that would be the right one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.sources.class_names import name_problems, plain_name
from augment.sources.folder_walk import FolderWalk, Level

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_EXPRESSIONS = frozenset(  # that tell a folder of classes from one of people or sessions
    {"angry", "anger", "happy", "happiness", "joy", "sad", "sadness", "fear", "fearful", "afraid", "scared"}
    | {"surprise", "surprised", "disgust", "disgusted", "neutral", "contempt", "calm"}
)
_MOST_WRAPPERS = 4


@dataclass(frozen=True)
class ClassFolder:
    """A folder of one class's pictures.

    Attributes:
        path: The folder; its name is the class.
        split: train, validation, test; None where it lies below no split folder.
        subject: Whose folder it lies in; None where folders name no people.
    """

    path: Path
    split: str | None
    subject: str | None = None


@dataclass(frozen=True)
class Layout:
    """What a root holds.

    Attributes:
        folders: The class folders, by split folder, then by name.
        problems: What lies beside them.
        notes: Which wrappers were gone through.
    """

    folders: tuple[ClassFolder, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def split_of(folder: Path) -> str | None:
    """The split that a folder's name stands for, in any case."""
    return SPLIT_FOLDERS.get(plain_name(folder.name))


def find_class_folders(walk: FolderWalk) -> Layout:
    """Finds the class folders below a root.

    Args:
        walk: Of the root.

    Raises:
        InputError: The root holds no class folders; it can be read in two ways (says which root to use); or a class is
            written in several ways.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    base = walk.root
    for _ in range(_MOST_WRAPPERS):
        level = walk.level(base)
        inner = _wrapper_in(level, walk)
        if inner is None:
            break
        problems += _strays(level, walk)
        notes.append(f"the classes are read from {walk.where(inner)}/, the only folder there")
        base = inner
    else:
        if _wrapper_in(walk.level(base), walk) is not None:
            why = f"holds folders in folders, {_MOST_WRAPPERS} deep and more, before any class"
            fix = f"use dataset.root={base}, or the folder in it that holds the class folders"
            raise InputError(Problem(str(walk.root), why, fix))
    level = walk.level(base)
    if not level.folders:
        looked_for = "looked for <class>/*.png and for train/<class>/*.png; the folder holds no folders"
        raise InputError([Problem(str(base), "has no layout that this source knows", looked_for), *level.problems])
    problems += _strays(level, walk)
    splits = [folder for folder in level.folders if split_of(folder)]
    others = [folder for folder in level.folders if not split_of(folder)]
    if splits:
        folders = _below_splits(splits, walk, problems, notes)
        folders += _beside_splits(others, folders, walk, problems)
    else:
        _refuse_a_level_too_high(others, walk)
        folders = [ClassFolder(folder, None) for folder in others]
    if not folders:
        looked_for = f"looked for <class>/*.png in {', '.join(map(walk.where, splits))}"
        raise InputError([Problem(str(base), "has no class folders", looked_for), *problems])
    _refuse_names(folders, walk)
    return Layout(tuple(folders), tuple(problems), tuple(notes))


def find_subject_folders(walk: FolderWalk) -> Layout:
    """Finds the class folders that lie in a folder of each person, `S01/happy`, directly or below split folders.

    Args:
        walk: Of the root.

    Raises:
        InputError: No folder holds folders; the folders are classes, splits or sessions where people or classes should
            be; or a class is written in several ways.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    base = walk.root
    for _ in range(_MOST_WRAPPERS):
        inner = _wrapper_of_subjects_in(walk.level(base), walk)
        if inner is None:
            break
        problems += _strays(walk.level(base), walk)
        notes.append(f"the people are read from {walk.where(inner)}/, the only folder there")
        base = inner
    level = walk.level(base)
    problems += _strays(level, walk)
    places: list[tuple[str | None, Level]] = [(None, level)]
    if _are_splits(level.folders):
        splits = [folder for folder in level.folders if split_of(folder)]
        places = [(split_of(folder), walk.level(folder)) for folder in splits]
        for _, inside in places:
            problems += _strays(inside, walk)
        problems += [
            Problem(walk.where(folder), "is a folder beside the split folders", "move it into one, or quarantine it")
            for folder in level.folders
            if folder not in splits
        ]
    people = [folder for _, inside in places for folder in inside.folders]
    if _names_expressions(people):
        why = f"holds folders of classes, {_names(people)}, where subject_folders looks for people"
        fix = "leave subject_folders out; for people below the classes set subject_pattern='^(?P<subject>[^/]+)/'"
        raise InputError(Problem(str(base), why, fix))
    folders = []
    for split, inside in places:
        for person in inside.folders:
            own = walk.level(person)
            problems += _strays(own, walk)
            if not own.folders and not own.files:
                why = "is a folder of a person without class folders"
                problems.append(Problem(walk.where(person) + "/", why, "fill it or delete it"))
            folders += [ClassFolder(folder, split, person.name) for folder in own.folders]
    if not folders:
        looked_for = "subject_folders looks for <person>/<class>/*.png and for train/<person>/<class>/*.png"
        raise InputError([Problem(str(base), "has no folders of people with class folders", looked_for), *problems])
    _refuse_no_classes([folder.path for folder in folders], walk)
    _refuse_names(folders, walk)
    return Layout(tuple(folders), tuple(problems), tuple(notes))


def _are_splits(folders: Iterable[Path]) -> bool:
    """Whether the folders of a level are splits: all of them, or two and more; one may be a person called Dev."""
    found = [split_of(folder) for folder in folders]
    return bool(found) and (all(found) or len(set(found) - {None}) > 1)


def _wrapper_of_subjects_in(level: Level, walk: FolderWalk) -> Path | None:
    """The only folder of a level where it is no person (or split) itself but holds the people or splits."""
    if len(level.folders) != 1 or split_of(level.folders[0]):
        return None
    (only,) = level.folders
    inside = walk.level(only)
    if _are_splits(inside.folders):
        return only
    below = [walk.level(folder) for folder in inside.folders]
    holds_people = bool(below) and all(found.folders and not found.files for found in below)
    return only if holds_people and not inside.files and not _names_expressions(inside.folders) else None


def _refuse_no_classes(folders: list[Path], walk: FolderWalk) -> None:
    """Refuses folders of people that hold splits, or folders with the classes in them, in the place of classes.

    Raises:
        InputError: Says how to move the folders.
    """
    for folder in folders:
        where, inside = walk.where(folder) + "/", walk.level(folder)
        if split_of(folder):
            fix = f"splits stand above the people: {folder.name}/{folder.parent.name}/<class>"
            raise InputError(Problem(where, "is a folder of a split, where a class should be", fix))
        if not inside.files and _names_expressions(inside.folders) and not _names_expressions(folders):
            why = f"is where a class should be, and holds folders of classes: {_names(inside.folders)}"
            fix = f"move them up into {walk.where(folder.parent)}, or take dataset.root one folder deeper"
            raise InputError(Problem(where, why, fix))


def _strays(level: Level, walk: FolderWalk) -> list[Problem]:
    fix = "move it away, or quarantine it"
    found = [Problem(walk.where(path), "is a file outside the class folders", fix) for path in level.files]
    return [*found, *level.problems]


def _wrapper_in(level: Level, walk: FolderWalk) -> Path | None:
    """The only folder of a level where it is no class (or split) itself but holds the classes or splits."""
    if len(level.folders) != 1:
        return None
    (only,) = level.folders
    inside = walk.level(only)
    splits = {split_of(folder) for folder in inside.folders} - {None}
    if split_of(only) is not None:
        return only if len(splits) > 1 else None
    if plain_name(only.name) in _EXPRESSIONS:
        return None
    if splits or _names_expressions(inside.folders):
        return only
    if inside.files:
        return None
    if _wrapper_in(inside, walk) is not None:
        return only
    if len(inside.folders) > 1:
        why = f"holds one folder, {walk.where(only)}, and in it {len(inside.folders)} others: {_names(inside.folders)}"
        fix = f"if those are the classes, use dataset.root={only}; a single class can't be told from another"
        raise InputError(Problem(str(only.parent), why, fix))
    return None


def _names_expressions(folders: Iterable[Path]) -> bool:
    return len({plain_name(folder.name) for folder in folders} & _EXPRESSIONS) > 1


def _below_splits(splits: list[Path], walk: FolderWalk, problems: list[Problem], notes: list[str]) -> list[ClassFolder]:
    folders = []
    for split in splits:
        level = walk.level(split)
        nested = [folder for folder in level.folders if split_of(folder)]
        if nested and len(nested) == len(level.folders):
            if len(nested) > 1 or split_of(nested[0]) != split_of(split):
                why = f"holds folders of splits itself: {_names(nested)}"
                fix = f"use dataset.root={split}, or move them beside {walk.where(split)}"
                raise InputError(Problem(walk.where(split) + "/", why, fix))
            problems += _strays(level, walk)
            notes.append(f"{split_of(split)} is read from {walk.where(nested[0])}/, the only folder there")
            level, nested = walk.level(nested[0]), []
        elif len(level.folders) == 1 and not level.files:
            inner = walk.level(level.folders[0])
            if plain_name(level.folders[0].name) not in _EXPRESSIONS and _names_expressions(inner.folders):
                notes.append(f"{split_of(split)} is read from {walk.where(level.folders[0])}/, the only folder there")
                level = inner
        problems += _strays(level, walk)
        problems += [
            Problem(
                walk.where(folder) + "/",
                "is a folder of a split within that of a split",
                f"move it beside {walk.where(split)}",
            )
            for folder in nested
        ]
        own = split_of(split)
        folders += [ClassFolder(folder, own) for folder in level.folders if folder not in nested]
    return folders


def _beside_splits(
    others: list[Path], below: list[ClassFolder], walk: FolderWalk, problems: list[Problem]
) -> list[ClassFolder]:
    """Class folders beside split folders: pictures without a split, which train where there is no train folder."""
    classes = {plain_name(folder.path.name) for folder in below}
    if any(folder.split == "train" for folder in below):
        classes = set()
    found = [folder for folder in others if plain_name(folder.name) in classes]
    problems += [
        Problem(
            walk.where(folder), "is a folder beside the split folders", "move it into one of them, or quarantine it"
        )
        for folder in others
        if folder not in found
    ]
    return [ClassFolder(folder, None) for folder in found]


def _refuse_a_level_too_high(folders: list[Path], walk: FolderWalk) -> None:
    """Refuses class folders that hold splits, or classes, themselves.

    Raises:
        InputError: Says which root to use, or how to move the folders.
    """
    problems = []
    above_classes: list[tuple[Path, Level]] = []
    for folder in folders:
        inside = walk.level(folder)
        splits = [path for path in inside.folders if split_of(path)]
        if len({split_of(path) for path in splits}) > 1:
            if any(walk.level(path).folders for path in splits):
                why = f"holds folders of splits, {_names(splits)}, and lies beside others"
                problems.append(Problem(walk.where(folder) + "/", why, f"use dataset.root={folder}"))
            else:
                why = f"holds its own folders of splits: {_names(splits)}"
                moved = f"{splits[0].name}/{folder.name}"
                fix = f"splits stand above the classes: make {walk.where(folder)}/{splits[0].name} to {moved}"
                problems.append(Problem(walk.where(folder) + "/", why, fix))
        elif not inside.files and _names_expressions(inside.folders) and not _names_expressions(folders):
            above_classes.append((folder, inside))
    if above_classes:
        folder, inside = above_classes[0]
        why = f"holds folders of classes, {_names(inside.folders)}, and lies beside others"
        fix = (
            f"use dataset.root={folder}, or name the folders train, validation and test, or, where each is a person, "
            "set dataset.settings.subject_folders=true"
        )
        problems.append(Problem(walk.where(folder) + "/", why, fix))
    if problems:
        raise InputError(problems)


def _refuse_names(folders: list[ClassFolder], walk: FolderWalk) -> None:
    places: dict[str, list[Path]] = {}
    for folder in folders:
        places.setdefault(folder.path.name, []).append(folder.path)
    by_name = {name: [walk.where(path) + "/" for path in paths] for name, paths in places.items()}
    problems = name_problems(by_name, str, "rename the folders")
    if problems:
        raise InputError(problems)


def _names(folders: Iterable[Path]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names[:5]) + (f" ... {len(names)} in all" if len(names) > 5 else "")
