"""Under which terms faces stand, and that no card is written without saying it.

A synthetic face is made from real ones, so the terms of every data set that taught a translator go with its faces:
from the source into the prepared faces' report and card, from there into the cards of synthesis and selection. What a
user says by hand is added to the holders' own terms and never takes their place: whoever has a licence can be bound by
more than the holders ask of everybody, but a line in a settings file can't free them of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_text
from augment.core.yaml_text import parse_yaml

# What Hugging Face's cards accept as `license:`; anything else is `other` with the text in the body.
IDENTIFIERS = frozenset(
    {"mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0"}
    | {"cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "odc-by", "odbl", "unlicense"}
)
PUBLIC_DOMAIN = "cc0-1.0"
EXAMPLES = '"my own photographs, all persons agreed", or an identifier such as "cc-by-4.0"'
_SAYS_NOTHING = frozenset({"", "unknown", "other", "none", "null", "n/a", "?", "-", "todo", "tbd"})
THIS_COPY = "this copy"
_MOST_BYTES = 2**24  # of a card
_CARD = "README.md"
_CARD_KEY = "terms_of_data_sets"


@dataclass(frozen=True)
class Terms:
    """Under which terms a data set's faces may be used, as its holders say it.

    Attributes:
        holder: Who gives the data set out.
        ask: Where to ask for it: an address of a page, or how.
        use: What it may be used for, one sentence.
        derived: What the terms say of images made from it (which a synthetic face is), one sentence.
        read_at: Where these terms were read.
    """

    holder: str
    ask: str
    use: str
    derived: str
    read_at: str

    @property
    def licence(self) -> str:
        """The licence line of cards."""
        return f"{self.use} {self.derived} ({self.holder}; ask at {self.ask})"


def says_something(line: str) -> bool:
    """Whether a licence line is one: `unknown`, `other` or blanks are none."""
    return line.strip().lower() not in _SAYS_NOTHING


class LicenceLine(BaseModel):
    """What one data set's holders allow.

    Attributes:
        data_set: The data set; empty where there is but one, and nothing tells its name.
        line: A licence identifier (`cc-by-4.0`) or a sentence.
        terms: The holders' terms in full, where they are known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_set: str = ""
    line: str
    terms: Terms | None = None

    @field_validator("line")
    @classmethod
    def _is_one_line(cls, line: str) -> str:
        if not says_something(line):
            raise ValueError(f"{line!r} says nothing of a licence; write {EXAMPLES}")
        return " ".join(line.split())

    @property
    def identifier(self) -> str | None:
        """The licence's identifier in Hugging Face's list; None where the line is a sentence."""
        word = self.line.lower()
        return word if word in IDENTIFIERS else None


class Licence(BaseModel):
    """The terms of all data sets that faces come from; a plain line stands for that of one.

    Attributes:
        lines: One or more for each data set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: tuple[LicenceLine, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_a_line(cls, value: Any) -> Any:
        return {"lines": ({"line": value},)} if isinstance(value, str) else value

    @property
    def line(self) -> str:
        """All lines in one; what several data sets have alike is said once."""
        if len({part.line for part in self.lines}) == 1:
            return self.lines[0].line
        return " ".join(f"{part.data_set}: {part.line}" if part.data_set else part.line for part in self.lines)

    @property
    def is_public_domain(self) -> bool:
        """Whether pictures of all these faces may be shown to anybody, as the embedded ones' may."""
        return all(part.identifier == PUBLIC_DOMAIN for part in self.lines)

    def with_lines(self, lines: Iterable[LicenceLine]) -> Licence:
        """This one and further lines, each once."""
        return Licence(lines=tuple(dict.fromkeys((*self.lines, *lines))))

    def front_matter(self) -> dict[str, Any]:
        """What a card's YAML says: `license`, for other ones `license_name`, and the terms in full for `read_card`."""
        identifiers = {part.identifier for part in self.lines}
        if len(identifiers) == 1 and (identifier := identifiers.pop()) is not None:
            front: dict[str, Any] = {"license": identifier}
        else:
            named = [_slug(part.data_set) for part in self.lines if part.data_set and part.data_set != THIS_COPY]
            front = {"license": "other", "license_name": "-".join([*dict.fromkeys(named), "terms"])}
        return front | {_CARD_KEY: [part.model_dump(mode="json", exclude_none=True) for part in self.lines]}

    def section(self) -> list[str]:
        """What a card's text says, in lines of Markdown."""
        lines = ["## Licence", "", f"Licence: {self.line}", ""]
        for part in self.lines:
            if part.terms is None:
                continue
            terms = part.terms
            lines += [
                f"Terms of {part.data_set or 'the data set'}, which hold for everything made from its faces:",
                "",
                f"- holder: {terms.holder}",
                f"- where to ask: {terms.ask}",
                f"- use: {terms.use}",
                f"- images made from it: {terms.derived}",
                f"- read at: {terms.read_at}",
                "",
            ]
        return lines


def as_licence(value: Licence | str | None, *, where: str = "licence") -> Licence:
    """A licence from what a caller gives.

    Args:
        value: A licence, or one line.
        where: How to name it in errors.

    Raises:
        InputError: There is none, or its line says nothing.
    """
    if isinstance(value, Licence):
        return value
    if value is None or not says_something(value):
        why = "these faces have none, and no card is written without one"
        raise InputError(Problem(where, why, f"say under which terms they stand: {EXAMPLES}"))
    return Licence.model_validate(value)


def read_card(directory: Path) -> Licence | None:
    """The licence that a dataset directory's card names.

    Args:
        directory: Holds `README.md`, ours or another's of Hugging Face's form.

    Returns:
        None where there is no card, or its YAML names no licence.
    """
    front = card_values(directory)
    try:
        return Licence.model_validate({"lines": front[_CARD_KEY]})
    except (KeyError, ValidationError):
        pass
    words = [front.get("license"), front.get("license_name"), front.get("license_link")]
    said = [word for value in words for word in _words(value) if says_something(word)]
    return Licence.model_validate(", ".join(said)) if said else None


def is_public(directory: Path) -> bool:
    """Whether pictures of a dataset directory's faces may be shown to anybody, by its card; not where it names none."""
    licence = read_card(directory)
    return licence is not None and licence.is_public_domain


def card_values(directory: Path) -> Mapping[str, Any]:
    """What stands in the YAML at the head of a dataset directory's card (`README.md`); empty where there is none."""
    try:
        return _front_matter(read_regular_text(Path(directory) / _CARD, most_bytes=_MOST_BYTES))
    except (OSError, UnicodeDecodeError):
        return {}


def card_head(front_matter: Mapping[str, Any], title: str) -> list[str]:
    """The first lines of a card: its YAML, as `card_values` reads it, and its title."""
    text = yaml.safe_dump(dict(front_matter), sort_keys=False, allow_unicode=True, width=1000).rstrip()
    return ["---", text, "---", "", f"# {title}", ""]


@lru_cache(maxsize=64)  # each stage asks for its few cards a dozen times
def _front_matter(text: str) -> Mapping[str, Any]:
    """The YAML between a card's first two lines of dashes; empty where there is none."""
    match = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(\n|$)", text.lstrip("\ufeff").replace("\r\n", "\n"), re.DOTALL)
    try:
        values = parse_yaml(match.group(1), _CARD) if match else None
    except InputError:
        return {}
    return values if isinstance(values, dict) else {}


def _words(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
