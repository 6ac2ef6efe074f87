"""Profiles of photographs that show nobody twice: embedded people teach what needs pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from augment.translators import translator_settings
from augment.translators.appearance_flow import AppearanceFlowSettings
from pipeline.profile import compose_profile

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("scale", ["cpu", "long"])
def test_embedded_people_teach_the_appearance_flow_for_fer2013_alone(scale: str) -> None:
    teachers = {}
    for data in ("fer2013", "rig"):
        entry = yaml.safe_load(compose_profile(ROOT, [f"dataset={data}", f"scale={scale}"]))["translators"][
            "appearance_flow"
        ]
        settings = translator_settings(entry["method"], entry.get("settings") or {})
        assert isinstance(settings, AppearanceFlowSettings)
        teachers[data] = settings.teacher
        if data == "fer2013":
            assert entry["training"]["steps"] == {"cpu": 1000, "long": 3000}[scale]
    assert teachers == {"fer2013": "embedded", "rig": "own"}
