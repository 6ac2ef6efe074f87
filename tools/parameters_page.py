"""docs/reference/parameters.md: every key of params.yaml, from the settings classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from augment.translators import _BUILT_IN, translator_class
from pipeline.parameters.whole import Parameters
from pipeline.profile import compose_profile
from tools.settings_tables import inner_sections, settings_table

INTRODUCTION = """\
# Parameters

Every key of `params.yaml`, with the type, the default and the bounds that the code checks. `s2l profile` writes the
file, and any key can be set by its path: `uv run s2l profile translators.lssl_flow.training.steps=2000`. A wrong key or
value is refused before any work.

The settings of each data set (`dataset.settings`) stand beside its layout on the page of [data sets](data-sets.md).

† The code has no default: `conf/` gives this value to the default run. *needed*: the profile, or you, must give one.

*`uv run python -m tools.write_docs` writes this page from the settings classes; a test keeps it up to date.*
"""


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of params.yaml by its path, outermost first, each before the next."""
    yield path, model
    for key, inner in inner_sections(model):
        yield from sections(inner, f"{path}.{key}" if path else key)


def at(values: Any, path: str) -> Mapping[str, Any]:
    """The mapping at a path; empty where the path names what users name."""
    for key in filter(None, path.split(".")):
        values = values.get(key, {}) if isinstance(values, Mapping) else {}
    return values if isinstance(values, Mapping) else {}


def summary(model: type[BaseModel]) -> str:
    """What a class says of itself before its `Attributes:`."""
    return re.split(r"\n\s*Attributes:\n", (model.__doc__ or "").strip())[0]


def page(root: Path) -> str:
    """The whole page.

    Args:
        root: The project's folder; its conf/ gives the values of keys without a default.
    """
    values = yaml.safe_load(compose_profile(root))
    lines = [INTRODUCTION]
    first_with: dict[type[BaseModel], str] = {}
    for path, model in sections(Parameters):
        heading = f"`{path}`" if path else "The whole file"
        lines += [f"## {heading}", ""]
        if model in first_with:
            lines += [f"The same keys as [`{first_with[model]}`](#{anchor(first_with[model])}).", ""]
            continue
        if path:
            first_with[model] = path
        lines += [_paragraphs(summary(model)), "", *settings_table(model, at(values, path))]
    lines += ["## Settings of the translators", "", "`translators.NAME.settings`, by `translators.NAME.method`.", ""]
    for name in _BUILT_IN:
        model = translator_class(name).Settings
        lines += [f"### `{name}`", "", _paragraphs(summary(model)), "", *settings_table(model)]
    return "\n".join(lines).rstrip() + "\n"


def anchor(path: str) -> str:
    """The anchor of a section's heading."""
    return re.sub(r"[^a-z0-9_-]", "", path.lower())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
