"""The pages: they build without a network, links lead somewhere, generated ones are up to date, names exist."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.imports_picture import arrows, circles, counted_imports, layers, reduced, room_of
from tools.write_docs import ROOT, generated, leftovers

pytestmark = pytest.mark.slow

TOP_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Local links of a page that lead to no file, or to no heading."""
    broken = []
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


def test_the_site_builds_without_warnings_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "quickstart.html").read_text(encoding="utf-8")
    assert 'href="reference/parameters.html"' in page  # files, as a reader from disk needs them
    for file in (tmp_path / "site").rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r'(?:<script[^>]+src|<link[^>]+rel="stylesheet"[^>]+href)="(https?:[^"]+)', text), file


@pytest.mark.parametrize("page", TOP_PAGES)
def test_links_of_the_top_pages_lead_somewhere(page: str) -> None:
    assert not broken_links(ROOT / page)


def test_links_of_docs_lead_somewhere_on_github_too() -> None:
    broken = {str(page.relative_to(ROOT)): broken_links(page) for page in (ROOT / "docs").rglob("*.md")}
    assert not {page: links for page, links in broken.items() if links}


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# One thing\n[a](#one-thing) [b](#other) [c](page.md#one-thing) [d](none.md)")
    assert broken_links(tmp_path / "page.md") == ["#other", "none.md"]


def test_generated_pages_are_up_to_date() -> None:
    texts = generated()
    stale = [
        str(path)
        for path, text in texts.items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text
    ]
    assert not stale and not leftovers(texts), "run `uv run python -m tools.write_docs`"


def test_every_parameter_is_described() -> None:
    from augment.translators import _BUILT_IN, translator_class
    from pipeline.parameters.whole import Parameters
    from tools.parameters_page import sections
    from tools.settings_tables import documented

    models = [*sections(Parameters), *((name, translator_class(name).Settings) for name in _BUILT_IN)]
    lacking = {f"{path}.{key}" for path, model in models for key, text in documented(model).items() if not text}
    assert lacking <= {".seed", "translators.NAME.settings"}


def test_every_page_is_in_the_navigation_or_linked_from_its_folder() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        folders = [folder / "README.md" for folder in (page.parent, page.parent.parent)]
        listed = [folder.read_text(encoding="utf-8") for folder in folders if folder.is_file() and folder != page]
        assert name in text or any(page.name in links or page.parent.name in links for links in listed), name
    assert yaml.safe_load(text)["use_directory_urls"] is False


def test_every_kept_result_is_on_the_page_of_results() -> None:
    results = ROOT / "docs" / "results"
    linked = set(LINK.findall((results / "README.md").read_text(encoding="utf-8")))
    assert {f"{folder.name}/README.md" for folder in results.iterdir() if folder.is_dir()} <= linked


def test_names_in_the_walk_of_a_face_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = text.split("## One face")[1]
    names = set(re.findall(r"`((?:augment|classifiers|reports|pipeline)(?:\.\w+)+)`", walk))
    assert len(names) >= 20
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_imports_run_down_the_rooms() -> None:
    graph = arrows(counted_imports())
    assert not circles(graph) and {"augment.core", "augment.faces", "classifiers", "reports"} <= set(graph)
    order = [room for row in layers(graph) for room in row]
    assert all(order.index(room) < order.index(to) for room, tos in graph.items() for to in tos)


def test_a_circle_is_found_and_arrows_that_follow_are_left_out() -> None:
    graph = {"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset[str]()}
    assert reduced(graph) == {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset()} and not circles(graph)
    assert layers(graph) == [["a"], ["b"], ["c"]]
    assert circles(graph | {"c": frozenset("a")}) == ["a", "b", "c"]
    assert room_of("pipeline.stages.train") == "pipeline.stages.train" and room_of("pipeline.stages.common") == (
        "pipeline.stages"
    )
