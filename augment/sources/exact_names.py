"""What is wrong with a file or folder whose name a published data set does not have: one problem each, with the right
name where that is known.

Names are taken to the letter, as in `augment.sources.sequences`: one in another case is a problem too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from augment.core.errors import Problem
from augment.sources.folder import IMAGE_EXTENSIONS, is_ignored
from augment.sources.sequences import OTHER_CASE, is_archive, stray_file


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden and system files."""
    return sorted(path for path in folder.iterdir() if not is_ignored(path))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in and below a folder, sorted, without hidden and system ones; links that lead back end."""
    for path in entries(folder):
        if path.is_symlink() and path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            continue
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


def folders_to_search(root: Path, depth: int = 2) -> Iterator[Path]:
    """The root and the folders below it, nearest first: archives unpack into one or two folders of their own."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [path for folder in level for path in entries(folder) if path.is_dir()]


def below(root: Path, path: Path) -> str:
    """A path below the root as faces and problems name it, with `/`; nothing for the root itself."""
    return "" if path == root else path.relative_to(root).as_posix()


def relative(path: Path, root: Path) -> str:
    """A path below the root as problems name it: with `/`, and readable where it is not UTF-8."""
    where = path.relative_to(root).as_posix()
    try:
        where.encode()
    except UnicodeEncodeError:
        return ascii(where)
    return where


def misfit(where: str, title: str, like: str, right: str | None = None) -> Problem:
    """The problem of a file whose name the data set does not have.

    Args:
        where: The file, relative to the root.
        title: The data set's.
        like: What its names are like.
        right: The name in the right case, where only the case is wrong.
    """
    name = where.rsplit("/", 1)[-1]
    if is_archive(name):
        return stray_file(where, name)
    if right is not None:
        return Problem(where, OTHER_CASE, f"rename it to {right}")
    if Path(name).suffix.lower() not in IMAGE_EXTENSIONS:
        return Problem(where, "is no picture file", "move it away, or quarantine it")
    return Problem(
        where, f"has a name that {title} does not have", f"names are like {like}; rename it, or move it away"
    )


def misfit_folder(path: Path, where: str, title: str, known: Collection[str]) -> Problem:
    """The problem of a folder that the data set does not have; one for the folder, however much lies in it."""
    count = sum(1 for _ in files_below(path))
    right = next((name for name in known if name.lower() == path.name.lower()), None)
    if right is None:
        fix = f"folders here are {', '.join(known)}; rename it, or move it away"
        return Problem(where + "/", f"is no folder of {title}; {count} files lie in it", fix)
    if right in (sibling.name for sibling in entries(path.parent)):
        return Problem(where + "/", OTHER_CASE, f"there is a {right} too: compare them")
    return Problem(where + "/", OTHER_CASE, f"rename it to {right}")


def beside(root: Path, base: Path, title: str, like: str, allowed: Collection[str] = ()) -> Iterator[Problem]:
    """Yields what lies on the way from the root to the folder that holds the data set, and is none of it.

    Args:
        root: The root.
        base: The folder that holds the data set: the root itself, or a folder below it.
        title: The data set's.
        like: What its names are like.
        allowed: Names that may lie there; text files may in any case.
    """
    folder = root
    for part in base.relative_to(root).parts:
        for path in entries(folder):
            if path.name == part or path.name in allowed or path.suffix.lower() == ".txt":
                continue
            where = relative(path, root)
            yield misfit_folder(path, where, title, (part,)) if path.is_dir() else misfit(where, title, like)
        folder = folder / part


def empty_file(path: Path, where: str) -> Problem | None:
    """The problem of a file without a byte, as downloads that broke off leave it."""
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}")
    return Problem(where, "is an empty file", "download it again") if empty else None
