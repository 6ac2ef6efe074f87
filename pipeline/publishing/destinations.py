"""Where a command may write a folder: never over what a run, a clone or somebody else has there."""

from __future__ import annotations

from pathlib import Path

from augment.core.errors import InputError, Problem

_OWN = ("artifacts", ".ckpt", ".dvc", ".git")  # of a workspace


def check_above(place: Path) -> None:
    """Refuses a file or folder to write below what is no folder.

    Raises:
        InputError: A file stands where a folder above it would be.
    """
    there = next(folder for folder in Path(place).resolve().parents if folder.exists())
    if not there.is_dir():
        raise InputError(Problem(str(place), f"would lie in {there}, which is a file", "name another place"))


def check_file(root: Path, file: Path) -> None:
    """Refuses a file to write in a workspace's own folders.

    Raises:
        InputError: It would lie there, or below a file.
    """
    check_above(file)
    inside = _own_folder(root, Path(file).resolve())
    if inside is not None:
        raise InputError(Problem(str(file), f"lies in {inside.name}/, which is the run's own", "name a file elsewhere"))


def check_destination(root: Path, destination: Path, marker: str, *, below: Path | None = None) -> None:
    """Refuses a folder to write that holds something else than an earlier output of the same command.

    Args:
        root: The workspace.
        destination: The folder.
        marker: A file that each output of the command has.
        below: A part of the workspace's own folders that the command may write to.

    Raises:
        InputError: The folder is, contains or lies in the workspace or one of its own folders, lies below a file, or
            holds files without the marker.
    """
    check_above(destination)
    there, home = Path(destination).resolve(), Path(root).resolve()
    fix = "name another folder"
    if there == home or there in home.parents:
        raise InputError(Problem(str(destination), "is or contains this workspace", fix))
    inside = _own_folder(root, there)
    if inside is not None and not (below is not None and below.resolve() in there.parents):
        why = f"lies in {inside.name}/, which is the run's own; it would take the place of its results"
        raise InputError(Problem(str(destination), why, fix))
    if there.is_dir() and any(there.iterdir()) and not (there / marker).is_file():
        why = f"holds other files than this command writes (there is no {marker}); it is not touched"
        raise InputError(Problem(str(destination), why, fix))


def _own_folder(root: Path, there: Path) -> Path | None:
    """The workspace's own folder that a resolved path is or lies in; None: none of them."""
    own = (Path(root).resolve() / name for name in _OWN)
    return next((folder for folder in own if there == folder or folder in there.parents), None)
