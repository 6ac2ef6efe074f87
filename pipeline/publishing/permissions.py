"""Whether the terms of faces let them be passed on: a licence's identifier says so, or the holder's word does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from augment.core.errors import InputError, Problem
from augment.faces.licences import Licence, LicenceLine

Kind = Literal["real faces", "synthetic faces"]
NO_DERIVATIVES = "-nd-"  # in an identifier: the faces themselves may be passed on, nothing made from them
UNNAMED = "faces"


class Permission(BaseModel):
    """Why the faces of one data set, or what was made from them, may be passed on.

    Attributes:
        data_set: The data set, as the licence names it.
        line: What its holders say.
        granted: What the user says that the holders allowed; empty where the line itself allows it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_set: str
    line: str
    granted: str = ""


def check_permissions(
    licences: Sequence[tuple[Kind, Licence]], granted: Mapping[str, str] | None = None
) -> tuple[Permission, ...]:
    """Refuses to pass faces on where their terms do not allow it.

    Of the terms only identifiers are understood (`cc0-1.0`, `cc-by-4.0`). Whatever else a holder says, or a user said
    of faces of their own, forbids it here until somebody says who allowed it.

    Args:
        licences: What is to be passed on, each with its licence.
        granted: Data set -> who allowed it, and how.

    Returns:
        One entry for each line of a licence.

    Raises:
        InputError: Lists each line that does not allow it, and permissions for data sets that there are not.
    """
    granted = dict(granted or {})
    problems: list[Problem] = []
    found: dict[tuple[str, str], Permission] = {}
    for kind, licence in licences:
        for line in licence.lines:
            name = line.data_set or UNNAMED
            words = " ".join(granted.get(name, "").split())
            why = _forbids(line, kind)
            if why and not words:
                fix = f'ask the holder; with the holder\'s word: --permission "{name}=WHO ALLOWED IT, WHEN"'
                problems.append(Problem(f"{kind} of {name}", f'{why}: "{line.line}"', fix))
            found[name, line.line] = Permission(data_set=name, line=line.line, granted=words if why else "")
    names = {name for name, _ in found}
    problems += [
        Problem(f"--permission {name}", "is no data set of these faces", f"there are {', '.join(sorted(names))}")
        for name in granted
        if name not in names
    ]
    if problems:
        raise InputError(list(dict.fromkeys(problems)), "The terms do not let these faces be passed on:")
    return tuple(found.values())


def _forbids(line: LicenceLine, kind: Kind) -> str:
    """Why a line does not let faces be passed on; empty where it does."""
    if line.identifier is None:
        return f"the terms do not say that {kind} may be passed on"
    if kind == "synthetic faces" and NO_DERIVATIVES in line.identifier:
        return "the licence allows no derivatives, and synthetic faces are made from the data set's"
    return ""
