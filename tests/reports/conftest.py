"""What tests of reports share."""

from __future__ import annotations

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without drawings, for tests of words and tables: each drawing takes a second of a processor, twice."""
    monkeypatch.setattr("reports.build.render_figures", lambda data: {})
    monkeypatch.setattr("reports.build.png_bytes", lambda figure: b"")
