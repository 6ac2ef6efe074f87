"""Who is one person: `S01`, `s01` and `S01 ` are, and so are an accent written as one character or as two."""

from __future__ import annotations

import unicodedata


def person_key(subject: str) -> str:
    """What all spellings of a subject's name share: Unicode's NFKC form, without capitals, signs
    that nobody sees, and outer or double blanks.

    A data set whose subjects differ by capitals alone is taken for one of fewer people: that parts too few faces,
    where the other way round one person's faces would train and test.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", subject).casefold())
    shown = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")  # a mark of byte order, say
    return " ".join(shown.split())


class Spellings:
    """Gives every person one name, the spelling that came first, and remembers the others."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def name(self, subject: str) -> str:
        """The person's name: the first spelling that was asked for."""
        spellings = self._names.setdefault(person_key(subject), {})
        spellings[subject] = None
        return next(iter(spellings))

    def several(self) -> dict[str, tuple[str, ...]]:
        """The people whose names came in several spellings: their name, and the others."""
        found = {}
        for spellings in self._names.values():
            first, *others = spellings
            if others:
                found[first] = tuple(others)
        return found
