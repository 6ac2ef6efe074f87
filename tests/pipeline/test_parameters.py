from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.core.errors import InputError
from augment.core.yaml_text import parse_yaml
from augment.synthesis.generate import SynthesisSettings
from pipeline.check import check
from pipeline.parameters.whole import load_parameters, parse_parameters
from pipeline.profile import compose_profile
from pipeline.stages.prepare import prepare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    return yaml.safe_load(compose_profile(ROOT, ["scale=cpu"]))


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *parents, last = path.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    return values


MIXED = {"kind": "synthetic", "translator": "warp", "per_class": 300}

REFUSALS = [
    # path, value, what the error must name
    ("sead", 1, ["sead", "did you mean seed?"]),
    ("synthesis.per_clas", 10, ["synthesis.per_clas", "did you mean per_class?"]),
    ("translators.lssl_flow.settings.widht", 16, ["translators.lssl_flow.settings.widht", "did you mean width?"]),
    ("translators.lssl_flow.training.step", 16, ["translators.lssl_flow.training.step", "did you mean steps?"]),
    ("synthesis.per_class", 0, ["synthesis.per_class", "greater than"]),
    ("synthesis.per_class", "many", ["synthesis.per_class", "integer"]),
    ("synthesis.per_class_of", {"warp": 0}, ["synthesis.per_class_of.warp", "greater than"]),
    ("synthesis.per_class_of", {"wrap": 10}, ["synthesis.per_class_of.wrap", "is not a translator", "one of warp"]),
    ("synthesis.per_class_of", {"warp": 7}, ["arms.synthetic.warp.per_class", "raise synthesis.per_class_of.warp"]),
    ("synthesis.per_class_of", {"warp": 7}, ["arms.mixed.warp_appearance_flow", "raise synthesis.per_class_of.warp"]),
    ("dataset.image_size", 50, ["dataset.image_size", "lssl"]),
    ("dataset.rare", {"happy": 0}, ["dataset.rare.happy", "greater than or equal to 1"]),
    ("dataset.rare", "100", ["dataset.rare", "dictionary"]),
    ("dataset.channels", 2, ["dataset.channels", "1 or 3"]),
    ("dataset.source", "mnist", ["dataset", "mnist", "fer2013"]),
    ("translators.lssl_flow.method", "pix2pix", ["translators.lssl_flow", "pix2pix", "stargan"]),
    ("seeds", [], ["seeds", "has 0 entries", "give at least 1"]),
    ("seeds", [1, 1], ["seeds", "twice"]),
    ("folds.folds", 0, ["folds.folds"]),
    ("arms.synthetic.warp.per_class", 10**9, ["arms.synthetic.warp.per_class", "raise synthesis.per_class"]),
    ("arms.synthetic.warp.translator", "nobody", ["arms.synthetic.warp.translator", "nobody", "lssl"]),
    ("arms.synthetic.warp.share", 1.5, ["arms.synthetic.warp.share"]),
    ("arms.synthetic.warp.second_translator", "lssl", ["arms.synthetic.warp.second_translator", "arms.mixed"]),
    ("arms.synthetic.warp.per_class", None, ["arms.synthetic.warp", "per_class", "or fill_to a number"]),
    ("arms.mixed", {"two": MIXED}, ["arms.mixed.two.second_translator", "is missing", "lssl"]),
    ("arms.mixed", {"two": MIXED | {"second_translator": "warp"}}, ["arms.mixed.two", "is the first one, warp"]),
    ("arms.mixed", {"warp": MIXED | {"second_translator": "lssl"}}, ["arms.mixed.warp", "arms.synthetic", "rename it"]),
    ("report.baseline_arm", "nothing", ["report.baseline_arm", "nothing", "is not an arm (one of real,"]),
    ("report.baseline_arm", "warp", ["report.baseline_arm", "'warp' learns from synthetic faces", "(one of real,"]),
    ("runtime.device", "tpu", ["runtime.device", "'tpu' is not of the form", "use auto, cpu, cuda"]),
    ("runtime.ranks", 3, ["lssl_flow.training.batch_size", "among 3 ranks", "classifier.batch_size"]),
    ("classifier.model.name", "resnet19", ["classifier.model", "resnet19"]),
    ("dataset.licence", "unknown", ["dataset.licence", "does not state a licence", "cc-by-4.0"]),
    ("dataset.annotation.landmarks.detector", "mediapipe", ["dataset.annotation.landmarks.detector", "none", "dlib"]),
    ("dataset.annotation.crop.by", "eyes", ["dataset.annotation.crop.by", "none", "face"]),
    ("dataset.annotation.crop.marign", 0.1, ["dataset.annotation.crop.marign", "did you mean margin?"]),
    ("scale", "smoke", ["scale", "s2l profile scale=smoke"]),
    ("dataset", "fer2013", ["dataset", "s2l profile dataset=fer2013"]),
    ("classifier.learning_rate", "1e999", ["classifier.learning_rate"]),
    ("translators.lssl_flow.settings.lambda_cls", float("inf"), ["translators.lssl_flow.settings.lambda_cls", "inf"]),
    ("translators.lssl_flow.settings.lambda_cls", "1e999", ["translators.lssl_flow.settings.lambda_cls", "finite"]),
    (
        "translators",
        {"x; touch pwned": {"method": "warp"}},
        ["x; touch pwned", "lower-case letters, digits"],
    ),
    ("dataset.attribute", "age", ["dataset.attribute", "illumination", "pose"]),
    ("dataset.attribute", "pose", ["lssl_flow.training.mirror", "set it to false", "augmentation_settings.flip"]),
    ("dataset.attribute", "pose", ["translators.warp: warp", "that say the pose of a face", "translators.warp=null"]),
    ("dataset.attribute", "pose", ["translators.appearance_flow:", "arms.mixed.warp_appearance_flow=null"]),
    ("dataset.attribute", "illumination", ["translators.warp:", "translators.appearance_flow:", "of a face"]),
    ("dataset.attribute", "illumination", ["classifier.augmentation_settings.contrast", "set it to [1.0, 1.0]"]),
    ("dataset.attribute", "illumination", ["lssl_flow.settings.class_network_variation", "set it to 0"]),
]


@pytest.mark.parametrize(("path", "value", "named"), REFUSALS, ids=[path for path, _, _ in REFUSALS])
def test_refused_with_path_and_fix(composed: dict[str, Any], path: str, value: Any, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_parameters(changed(composed, path, value), where="params.yaml")
    for part in named:
        assert part in str(error.value)


def filling(values: dict[str, Any], rare: Any, fill_to: int, share: float) -> dict[str, Any]:
    arm = {"kind": "synthetic", "translator": "warp", "fill_to": fill_to, "share": share}
    values = changed(
        changed(values, "arms.synthetic", {}), "arms.mixed", {"filled": arm | {"second_translator": "lssl_flow"}}
    )
    return changed(changed(values, "synthesis.per_class", 100), "dataset.rare", rare)


@pytest.mark.parametrize("rare", [20, {"happy": 20, "default": None}, {"happy": 20, "sad": 300}])
@pytest.mark.parametrize(("share", "most"), [(1.0, 220), (0.8, 270)])  # 100 faces by each of the two, of 200 or 250
def test_more_faces_to_fill_up_than_are_made_are_refused_before_they_are(
    composed: dict[str, Any], rare: Any, share: float, most: int
) -> None:
    parse_parameters(filling(composed, rare, most, share), where="params.yaml")
    with pytest.raises(InputError) as error:
        parse_parameters(filling(composed, rare, most + 1, share), where="params.yaml")
    for part in (
        "arms.mixed.filled.fill_to",
        "dataset.rare",
        "raise synthesis.per_class to 101",
        f"lower this to {most}",
    ):
        assert part in str(error.value)


def test_a_translator_makes_a_number_of_its_own(composed: dict[str, Any]) -> None:
    values = changed(composed, "synthesis.per_class_of", {"warp": 10**6})
    values = changed(values, "arms.synthetic.warp.per_class", 10**6)
    synthesis = parse_parameters(values, where="params.yaml").synthesis
    others = SynthesisSettings(**composed["synthesis"])
    assert synthesis.of("lssl_flow") == others and synthesis.of("warp") == others.model_copy(
        update={"per_class": 10**6}
    )


def test_filling_up_counts_what_each_translator_makes(composed: dict[str, Any]) -> None:
    values = filling(composed, 20, 220, 1.0)  # 100 faces by each of the two
    values = changed(values, "synthesis.per_class_of", {"lssl_flow": 90})
    with pytest.raises(InputError, match=r"raise synthesis\.per_class_of\.lssl_flow to 100 .* lower this to 200"):
        parse_parameters(values, where="params.yaml")
    parse_parameters(changed(values, "arms.mixed.filled.fill_to", 200), where="params.yaml")


def test_all_problems_are_listed_at_once(composed: dict[str, Any]) -> None:
    wrong = changed(changed(composed, "sead", 1), "synthesis.per_class", 0)
    with pytest.raises(InputError) as error:
        parse_parameters(wrong, where="params.yaml")
    assert len(error.value.problems) == 2


def test_a_missing_key_is_named(composed: dict[str, Any]) -> None:
    wrong = copy.deepcopy(composed)
    del wrong["seed"]
    with pytest.raises(InputError, match=r"params\.yaml: seed: is missing"):
        parse_parameters(wrong, where="params.yaml")


@pytest.mark.parametrize("text", ["", "[1, 2]", "seed: [", "\x00"])
def test_files_that_hold_no_parameters(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_parameters(file)


def test_the_committed_parameters_are_the_default_profile() -> None:
    written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert written == yaml.safe_load(compose_profile(ROOT))


@pytest.mark.parametrize("scale", ["smoke", "cpu", "long", "gpu", "paper"])
@pytest.mark.parametrize("dataset", sorted(file.stem for file in (ROOT / "conf" / "dataset").glob("*.yaml")))
def test_every_profile_can_be_composed(dataset: str, scale: str) -> None:
    text = compose_profile(ROOT, [f"dataset={dataset}", f"scale={scale}"])  # which refuses what can't be run
    assert re.search(r"^arms:\n(  .*\n)*?  real:\n    real:\n", text, re.MULTILINE)


def test_what_a_file_of_conf_sets_to_null_is_taken_out() -> None:
    found = yaml.safe_load(
        compose_profile(
            ROOT, ["translators.warp=null", "arms.synthetic.warp=null", "arms.mixed.warp_appearance_flow=null"]
        )
    )
    assert "warp" not in found["translators"] and "appearance_flow" in found["translators"]
    assert (
        not found["arms"]["mixed"]
        and "warp" not in found["arms"]["synthetic"]
        and "appearance_flow" in found["arms"]["synthetic"]
    )


def test_unknown_groups_are_refused_with_what_exists() -> None:
    with pytest.raises(InputError, match="nowhere") as error:
        compose_profile(ROOT, ["dataset=nowhere", "scale=cpuu"])
    assert "fer2013" in str(error.value) and "did you mean cpu?" in str(error.value)
    assert "experiment" not in str(error.value)  # the groups that are right need no list


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["dataset=parquet", "dataset.settings.subject_column=who"],
            r"add it: \+dataset\.settings\.subject_column=who",
        ),
        (["dataset=bu3dfe", "dataset.settings.size=64"], r"add it: \+dataset\.settings\.size=64"),
        (
            ["dataset=parquet", "dataset.settings.subject_colum=who"],
            r"did you mean \+dataset\.settings\.subject_column",
        ),
        (
            ["dataset=parquet", "dataset.settings={subject_column: who}"],
            r"add each by itself: \+dataset\.settings\.KEY",
        ),
    ],
)
def test_a_setting_of_the_source_is_advised_with_its_plus(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        compose_profile(ROOT, words)


MISSPELT = [
    # override, the fix, what must not be advised
    ("translators.lssl_flow.training.step=3", "did you mean translators.lssl_flow.training.steps?", "+translators"),
    ("translators.lssl_flow.settings.widht=3", "did you mean translators.lssl_flow.settings.width?", "+translators"),
    ("translators.lssl_flow.training.miror=false", "did you mean +translators.lssl_flow.training.mirror?", "add it"),
    (
        "translators.lssl_flow.training.mirror=false",
        "add it: +translators.lssl_flow.training.mirror=false",
        "did you mean",
    ),
    ("sead=3", "did you mean seed?", "+sead"),
    ("datset=fer2013", "did you mean dataset?", "+datset"),
    ("seed.x=3", "seed is a value without keys", "+seed"),
    ("seed=" + "9" * 5000, "can't be read", "Traceback"),
    ("report.title=a, b", "quote the value", "--multirun"),
    ("seed", "key=value", "Traceback"),
    ("synthesis.per_class=0", "greater than", "+synthesis"),
]


@pytest.mark.parametrize(("override", "fix", "not_said"), MISSPELT, ids=[case[0][:40] for case in MISSPELT])
def test_a_wrong_override_gets_its_mend_and_no_list_of_groups(override: str, fix: str, not_said: str) -> None:
    with pytest.raises(InputError) as error:
        compose_profile(ROOT, [override])
    assert fix in str(error.value) and not_said not in str(error.value)
    assert "groups:" not in str(error.value)


def test_an_override_cannot_write_lines_of_its_own() -> None:
    text = compose_profile(ROOT, ['report.title="a\nb: \x00"'])
    assert text.splitlines()[0].startswith("# Written by") and text.splitlines()[1].startswith("seed:")
    assert parse_yaml(text, "profile")["report"]["title"] == "a\nb: \x00"


def test_more_folds_than_subjects_are_refused_before_a_face_is_drawn(tmp_path: Path) -> None:
    overrides = ["dataset=rig_mug", "+dataset.settings.subjects=3", "folds.folds=4"]
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, overrides), encoding="utf-8")
    for stage in (check, prepare):
        with pytest.raises(InputError, match=r"folds\.folds: 4 folds of 3 subjects"):
            stage(tmp_path)
    assert not (tmp_path / "artifacts").exists()
