"""The stages, in the order of the work."""

from __future__ import annotations

STAGES = ("prepare", "parsing", "judge", "train", "synthesize", "assess", "classify", "report")
