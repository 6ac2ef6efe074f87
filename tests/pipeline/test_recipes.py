"""The recipes of conf/recipe: each shows only how it differs from its base, and all can be composed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.translators import translator_settings
from pipeline.parameters.translators import TranslatorEntry
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "conf" / "recipe"
FILES = sorted(RECIPES.rglob("*.yaml"))
MISSING = "???"  # OmegaConf's word for a value that whatever inherits must set


def base_of(file: Path) -> Path | None:
    """The recipe that a recipe starts from."""
    defaults = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults")
    if defaults is None:
        return None
    base, own = defaults
    assert own == "_self_" and base.endswith("@_here_")
    return file.parent / f"{base.removesuffix('@_here_')}.yaml"


@cache
def lineage(file: Path) -> tuple[Path, ...]:
    """A recipe, its base, the base of that, and so on."""
    base = base_of(file)
    return (file,) if base is None else (file, *lineage(base))


@cache
def own_values(file: Path) -> Mapping[str, Any]:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {path: value for path, value in leaves(values) if not path.startswith("defaults")}


def leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted path."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def values_of(file: Path) -> dict[str, Any]:
    """A recipe's values with those of its bases."""
    values: dict[str, Any] = {}
    for step in reversed(lineage(file)):
        values |= own_values(step)
    return values


def name_of(file: Path) -> str:
    return file.relative_to(RECIPES).with_suffix("").as_posix()


@pytest.mark.parametrize("folder", ["", "gpu", "smoke"])
def test_all_compose_to_what_the_files_say(folder: str) -> None:
    """Hydra's inheritance against the merge written out here; and each is a valid translator."""
    files = [file for file in (RECIPES / folder).glob("*.yaml") if MISSING not in values_of(file).values()]
    group = f"recipe/{folder}".rstrip("/")
    asked = [f"+{group}@translators.{file.stem}_here={file.stem}" for file in files]
    words = [f"scale={folder or 'cpu'}", *([] if folder == "gpu" else ["dataset.image_size=48"]), *asked]
    translators = yaml.safe_load(compose_profile(ROOT, words))["translators"]
    assert len(files) > 2
    for file in files:
        composed = translators[f"{file.stem}_here"]
        assert dict(leaves(composed)) == values_of(file), name_of(file)
        translator_settings(composed["method"], TranslatorEntry.model_validate(composed).settings)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_none_repeats_a_value_of_its_base(file: Path) -> None:
    base = base_of(file)
    inherited = values_of(base) if base else {}
    repeated = {path for path, value in own_values(file).items() if path in inherited and inherited[path] == value}
    assert not repeated, f"{name_of(file)} repeats {', '.join(sorted(repeated))} of {name_of(base or file)}"


def test_recipes_of_one_method_have_a_common_base() -> None:
    """So that a new variant is written as a difference."""
    for one, other in combinations(FILES, 2):
        methods = {values_of(file)["method"] for file in (one, other)}
        if one.parent == other.parent and len(methods) == 1 and MISSING not in methods:
            assert set(lineage(one)) & set(lineage(other)), f"{name_of(one)} and {name_of(other)}"
