"""`s2l check` names arms and translators that show nothing new, and translators that no arm shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from classifiers.training import ClassifierSettings
from pipeline.check import check
from pipeline.profile import compose_profile

ROOT = Path(__file__).parents[2]
SAID = "arm oversampled: draws every class alike, and so do all arms"


@pytest.mark.parametrize(("balanced", "warned"), [("true", True), ("false", False)])
def test_check_names_an_arm_that_repeats_another(
    balanced: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["scale=smoke", f"+classifier.class_balanced={balanced}", "+arms.real.oversampled={kind: oversampled}"]
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, words), encoding="utf-8")
    check(tmp_path)
    assert (SAID in caplog.text) == warned


@pytest.mark.parametrize("dataset", ["rig", "fer2013"])
@pytest.mark.parametrize("experiment", ["standard", "baselines"])
@pytest.mark.parametrize("scale", ["cpu", "long", "gpu", "paper"])
def test_profiles_have_the_arm_where_it_differs(scale: str, experiment: str, dataset: str) -> None:
    values: dict[str, Any] = yaml.safe_load(
        compose_profile(ROOT, [f"scale={scale}", f"experiment={experiment}", f"dataset={dataset}"])
    )
    there = any(arm["kind"] == "oversampled" for arm in values["arms"]["real"].values())
    if ClassifierSettings(**values["classifier"]).class_balanced:  # its default too, which profiles need not name
        assert not there
    elif experiment == "baselines":
        assert there


@pytest.mark.parametrize(("arm", "warned"), [("", True), (", class_balanced: false", False)])
def test_check_names_an_arm_that_fills_up_what_is_drawn_alike_anyway(
    arm: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled = f"+arms.synthetic.filled={{kind: synthetic, translator: warp, fill_to: 20{arm}}}"
    words = ["scale=smoke", "+classifier.class_balanced=true", filled]
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, words), encoding="utf-8")
    check(tmp_path)
    assert ("arm filled: fills classes up" in caplog.text) == warned


@pytest.mark.parametrize(("words", "named"), [([], None), (["~arms.synthetic.warp"], "warp")])
def test_check_names_translators_that_no_arm_learns_from(
    words: list[str], named: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = compose_profile(ROOT, ["scale=smoke", *words])
    if named is not None:
        assert named in yaml.safe_load(text)["translators"]
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    check(tmp_path)
    said = f"no arm learns from the faces of {named}: the report will say how they look, not whether they help"
    assert (said in caplog.text) == (named is not None)
    assert ("no arm learns" in caplog.text) == (named is not None)


@pytest.mark.parametrize(("settings", "warned"), [("{}", True), ("{gain: [1.0, 1.5]}", False)])
def test_check_names_translators_that_are_one_training(
    settings: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["scale=smoke", f"+translators.again={{method: warp, settings: {settings}}}"]
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, words), encoding="utf-8")
    check(tmp_path)
    assert ("translators warp, again: the same method, settings and training" in caplog.text) == warned
