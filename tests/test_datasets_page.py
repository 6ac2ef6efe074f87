from __future__ import annotations

from write_datasets_page import PAGE, page

from augment.sources import _source_class, source_names
from tools.settings_tables import documented


def test_the_page_says_what_the_sources_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `uv run python tests/write_datasets_page.py`"


def test_every_setting_of_every_data_set_is_described() -> None:
    for name in source_names():
        model = _source_class(name).Settings
        assert all(documented(model).values()), name


def test_every_data_set_shows_its_layout_and_its_terms() -> None:
    for name in source_names():
        source = _source_class(name)
        if hasattr(source, "terms"):
            assert source.layout.strip() and source.title and source.description, name
            for part in ("holder", "ask", "use", "derived", "read_at"):
                assert getattr(source.terms, part).strip(), f"{name}: {part}"
