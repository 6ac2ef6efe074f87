"""Under which terms a source's faces stand: what the source says, and what the user adds."""

from __future__ import annotations

from augment.core.errors import InputError, Problem
from augment.faces.licences import EXAMPLES, THIS_COPY, Licence, LicenceLine, says_something
from augment.sources.base import Source


def source_lines(source: Source) -> list[tuple[str, LicenceLine | None]]:
    """What a source itself says of each of its data sets.

    Args:
        source: An open source. `licence_lines` (pairs as below) is asked first, then `terms`, then `licence`.

    Returns:
        Pairs of the data set's name and its line; None where nothing is said.
    """
    several = getattr(source, "licence_lines", None)
    if several is not None:
        return list(several)
    name = str(getattr(source, "title", source.name))
    terms = getattr(source, "terms", None)
    if terms is not None:
        return [(name, LicenceLine(data_set=name, line=terms.licence, terms=terms))]
    line = getattr(source, "licence", None)
    if line is not None and says_something(line):
        return [(name, LicenceLine(data_set=name, line=line))]
    return [(name, None)]


def licence_of(source: Source, added: str | None = None, *, where: str = "licence") -> Licence:
    """The licence of a source's faces.

    Args:
        source: An open source.
        added: What the user says. It goes to every data set of the source that says nothing itself; where all say
            something it is added, and replaces nothing.
        where: How errors name the place where the user says it.

    Raises:
        InputError: A data set says nothing, and neither does the user (all such are listed), or what is added says
            nothing.
    """
    if added is not None and not says_something(added):
        raise InputError(Problem(where, f"{added!r} says nothing of a licence", f"write {EXAMPLES}"))
    found = source_lines(source)
    silent = [name for name, line in found if line is None]
    if added is None and silent:
        why = "the source does not say under which terms its faces stand, and their cards must"
        fix = f"say it: {EXAMPLES}"
        raise InputError([Problem(where, f"{name}: {why}" if len(found) > 1 else why, fix) for name in silent])
    lines = [line or LicenceLine(data_set=name, line=str(added)) for name, line in found]
    if added is not None and not silent:
        lines.append(LicenceLine(data_set=THIS_COPY, line=added))
    return Licence(lines=tuple(lines))
