"""Commands as the pages write them: profiles that compose to parameters of a run that would be accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from augment.core.errors import InputError
from augment.translators import translator_names
from pipeline.profile import compose_profile

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "results" not in path.parts)]
# What stands for a reader's own: a name, a value or a part of one, or the translator of a page's own package.
PLACEHOLDER = re.compile(r"[A-Z]{2,}|\.\.\.|[<>…]|overlay")
COMMAND = re.compile(r"s2l (?:profile|flow run|flow plan)((?: [^`\n]*)?)$", re.MULTILINE)
NUMBERS = ["Ten", "Eleven", "Twelve", "Thirteen", "Fourteen", "Fifteen", "Sixteen"]


def documented_profiles(text: str) -> list[list[str]]:
    """Words of the profiles that a page composes, in blocks of the shell and in sentences; without placeholders."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    inline = "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    found = []
    for line in (blocks + "\n" + inline).splitlines():
        command = re.split(r"&&|\||;|\s#", line)[0].strip().rstrip(")")
        if match := COMMAND.search(command.replace("$n", "100")):
            words = shlex.split(match[1])
            overrides = all(re.match(r"[~+]?[a-z_.0-9]+(=|$)", word) for word in words)
            if words and overrides and not PLACEHOLDER.search(" ".join(words)):
                found.append(words)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_profiles_of_the_pages_compose(page: Path) -> None:
    for words in documented_profiles(page.read_text(encoding="utf-8")):
        try:
            compose_profile(ROOT, words)
        except InputError as error:
            pytest.fail(f"{page.relative_to(ROOT)}: s2l profile {' '.join(words)}: {error}")


def test_many_profiles_are_found_and_a_wrong_one_fails() -> None:
    found = [words for page in PAGES for words in documented_profiles(page.read_text(encoding="utf-8"))]
    assert len(found) > 30
    text = "```sh\nuv run s2l profile dataset=fer2013 scale=cpu \\\n  synthesis.per_class=500   # refused\n```\n"
    assert documented_profiles(text) == [["dataset=fer2013", "scale=cpu", "synthesis.per_class=500"]]
    with pytest.raises(InputError, match=r"raise synthesis\.per_class"):
        compose_profile(ROOT, documented_profiles(text)[0])


def test_readme_counts_the_translators() -> None:
    assert f"**{NUMBERS[len(translator_names()) - 10]} translators**" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )
