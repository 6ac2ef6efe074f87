"""Profiles of photographs that show nobody twice: embedded people teach what needs pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from augment.core.errors import InputError
from augment.rig import EXPRESSIONS
from augment.sources.affectnet import AffectNetSource
from augment.sources.raf_db import RafDbSource
from augment.translators import translator_settings
from augment.translators.appearance_flow import AppearanceFlowSettings
from pipeline.profile import compose_profile

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("scale", ["cpu", "long", "gpu"])
@pytest.mark.parametrize(
    ("data", "teacher"), [("fer2013", "embedded"), ("raf_db", "embedded"), ("affectnet", "embedded"), ("rig", "own")]
)
def test_embedded_people_teach_the_appearance_flow_where_nobody_is_known_by_name(
    data: str, teacher: str, scale: str
) -> None:
    composed = yaml.safe_load(compose_profile(ROOT, [f"dataset={data}", f"scale={scale}"]))
    entry = composed["translators"]["appearance_flow"]
    settings = translator_settings(entry["method"], entry.get("settings") or {})
    assert isinstance(settings, AppearanceFlowSettings)
    assert settings.teacher == teacher
    assert (settings.gain == (1.1, 1.9)) == (data == "fer2013")
    if data == "fer2013":
        assert entry["training"]["steps"] == {"cpu": 1000, "long": 3000, "gpu": 6000}[scale]


@pytest.mark.parametrize("data", ["raf_db", "affectnet"])
def test_embedded_people_show_every_class_of_theirs(data: str) -> None:
    assert set({"raf_db": RafDbSource, "affectnet": AffectNetSource}[data].class_names) <= set(EXPRESSIONS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["scale=smoke", "+translators.appearance_flow.settings.teacher=embedded"],
            r"translators\.appearance_flow: .*add it: \+recipe/smoke@translators\.appearance_flow=appearance_flow",
        ),
        (["scale=paper", "+translators.mine.settings.width=8"], r"translators\.mine: .*\+translators\.mine\.method="),
    ],
)
def test_settings_of_a_translator_that_is_not_there_are_refused(words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        compose_profile(ROOT, words)


def test_the_translator_can_be_added_as_the_refusal_says() -> None:
    added = [
        "scale=smoke",
        "+recipe/smoke@translators.appearance_flow=appearance_flow",
        "++translators.appearance_flow.settings.teacher=embedded",
    ]
    assert yaml.safe_load(compose_profile(ROOT, added))["translators"]["appearance_flow"]["method"] == "appearance_flow"
