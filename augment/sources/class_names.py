"""Names of classes that data sets of people's own give: their order, and names that only look different.

Folders and tables name a class by what somebody typed. `happy`, `Happy`, `happy ` and the two Unicode forms of one
accent are one class to a reader and several to a program, so they are refused together, and never told apart in
silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from augment.core.errors import Problem

_DIGITS = re.compile(r"([0-9]+)")

NaturalKey = tuple[list[tuple[str, int, str]], str]


def natural_key(name: str) -> NaturalKey:
    """Sorts names as people count: `2` before `10`, `take 2` before `take 10`; else by code points, as `sorted` does.

    Args:
        name: Any text.

    Returns:
        A key for `sorted`; different names have different keys.
    """
    parts = []
    for number, part in enumerate(_DIGITS.split(name)):
        # Numbers are compared by their length and digits: int() refuses numbers of thousands of digits.
        digits = part.lstrip("0") if number % 2 else ""
        parts.append(("", len(digits), digits) if number % 2 else (part, 0, ""))
    return parts, name


def plain_name(name: str) -> str:
    """What a name is to a reader: without case, blanks around it, invisible characters and forms of Unicode."""
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return " ".join(folded.split())


def shown_name(name: str) -> str:
    """A name for problems: quoted, with escapes where it would look like another one (blanks, accents of two marks)."""
    return repr(name) if unicodedata.is_normalized("NFC", name) and name.isprintable() else ascii(name)


def like_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that are one to a reader and several to a program: by `plain_name`, in natural order."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names), key=natural_key):
        groups.setdefault(plain_name(name), []).append(name)
    return {plain: group for plain, group in groups.items() if len(group) > 1}


def close_name(name: str, known: Sequence[str]) -> str | None:
    """The one of some names that reads like another; None where none does."""
    return next((other for other in known if other != name and plain_name(other) == plain_name(name)), None)


def name_problems(places: Mapping[str, Sequence[str]], describe: Callable[[str], str], fix: str) -> list[Problem]:
    """One problem for each class that is written in several ways, and for each name with blanks around it.

    Args:
        places: By class name, where it stands (folders, files); at least one place each.
        describe: How a place is named in a problem.
        fix: What to do, after "write ... as".

    Returns:
        The problems; none where every class has one name.
    """
    problems = []
    groups = like_names(places)
    for group in groups.values():
        where = ", ".join(describe(place) for name in group for place in places[name])
        words = ", ".join(map(shown_name, group))
        why = f"are one class by their names, which differ in capitals, blanks or the form of an accent: {words}"
        right = next((name for name in group if name == plain_name(name)), group[-1].strip())
        problems.append(Problem(where, why, f"write each as {shown_name(right)}: {fix}"))
    together = {name for group in groups.values() for name in group}
    for name in sorted(set(places) - together, key=natural_key):
        if name != name.strip():
            where = ", ".join(describe(place) for place in places[name])
            problems.append(
                Problem(where, f"{shown_name(name)} has blanks around it", f"write {shown_name(name.strip())}: {fix}")
            )
    return problems
