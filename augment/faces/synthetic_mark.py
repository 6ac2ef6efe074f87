"""Marks by which a synthetic picture's file says what it is, wherever it goes; no reader takes it for a real face."""

from __future__ import annotations

from augment.core.errors import Problem
from augment.faces.images import png_text

MARK = "s2l"
"""The PNG text chunk of exported faces."""
TRANSLATED_MARK = "s2l translate"
"""The PNG text chunk of translated photographs."""


def synthetic_problem(data: bytes, where: str) -> Problem | None:
    """The problem of a picture file that is marked as synthetic; None of any other.

    Args:
        data: The file's bytes.
        where: How the problem names it.
    """
    if all(png_text(data, key) is None for key in (MARK, TRANSLATED_MARK)):
        return None
    return Problem(where, "is marked as a synthetic face", "leave it out: it would pass for a real one in every test")
