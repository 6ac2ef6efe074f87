"""The experiments on LSSL's further forms, at every scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors
from augment.translators import create_translator
from pipeline.check import check
from pipeline.profile import compose_profile
from pipeline.readiness import missing_prerequisites

ROOT = Path(__file__).parent.parent.parent
SCALES = ["smoke", "cpu", "long", "gpu", "paper"]
# Table 1's rows, and what makes each of them.
ABLATIONS: dict[str, dict[str, Any]] = {
    "lssl_without_side": {"side_input": False},
    "lssl_without_bidirectional": {"lambda_bi": 0.0},
    "lssl_without_parsing": {"lambda_parsing": 0.0},
}


def composed(*overrides: str) -> dict[str, Any]:
    return yaml.safe_load(compose_profile(ROOT, overrides))


@pytest.mark.parametrize("scale", SCALES)
def test_each_ablation_is_the_scales_lssl_without_one_part(scale: str) -> None:
    values = composed("experiment=lssl_table1", f"scale={scale}")
    whole = values["translators"]["lssl"]
    for name, change in ABLATIONS.items():
        assert values["translators"][name] == whole | {"settings": whole.get("settings", {}) | change}, name
        assert values["arms"]["synthetic"][name]["translator"] == name
    assert len({arm["per_class"] for arm in values["arms"]["synthetic"].values()}) == 1
    if scale in ("gpu", "paper"):  # the scale's own, which the experiment repeats
        assert whole == composed(f"scale={scale}")["translators"]["lssl"]


def test_what_each_ablation_lacks() -> None:
    """Nothing of landmarks; no way back; no parsing network."""
    entries = composed("experiment=lssl_table1")["translators"]
    generator = torch.Generator().manual_seed(0)
    bare = FaceTensors(
        images=torch.randint(0, 256, (4, 1, 48, 48), dtype=torch.uint8, generator=generator),
        labels=torch.arange(4) % 2,
        landmarks=None,
        masks=None,
        face_ids=("a", "b", "c", "d"),
        subjects=(None,) * 4,
        class_names=("calm", "happy"),
    )

    def made(name: str) -> Any:
        settings = entries[name]["settings"]
        return create_translator("lssl", num_classes=2, channels=1, size=48, settings=settings, seed=0)

    whole = made("lssl")
    side, bidirectional, parsing = (made(name) for name in ABLATIONS)
    assert side.side_input(bare) is None
    assert side.generator.encoder.blocks[0].convolution.in_channels == 1
    assert side.generator.decoder.side_head is None and whole.generator.decoder.side_head is not None
    side.attach_parsing(torch.nn.Conv2d(1, 4, 1))
    side.check(bare)
    assert whole.settings.lambda_bi and not bidirectional.settings.lambda_bi
    landmarks = torch.rand(4, 68, 2, generator=generator)
    parsing.check(FaceTensors(**{**vars(bare), "landmarks": landmarks}))  # none is attached


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("experiment", "attribute"), [("lssl_fig2a", "pose"), ("lssl_fig2b", "illumination")])
def test_the_attributes_bring_their_faces_and_learn_by_lssl(experiment: str, attribute: str, scale: str) -> None:
    values = composed(f"experiment={experiment}", f"scale={scale}")
    assert values["dataset"]["attribute"] == attribute
    assert values["dataset"]["settings"]["preset"] == {"illumination": "oulu_casia", "pose": "bu3dfe"}[attribute]
    assert values["translators"]["lssl"]["method"] == "lssl"
    assert "lssl" in {arm["translator"] for arm in values["arms"]["synthetic"].values()}


def test_an_attribute_of_other_faces() -> None:
    values = composed("experiment=lssl_fig2a", "dataset=rig_rafd")
    assert values["dataset"]["settings"]["preset"] == "rafd" and values["dataset"]["attribute"] == "pose"


@pytest.mark.parametrize("scale", SCALES)
def test_pose_normalization_has_both_works_and_their_faces(scale: str) -> None:
    values = composed("experiment=lssl_table3", f"scale={scale}")
    assert values["dataset"]["settings"]["preset"] == "bu3dfe" and values["dataset"]["settings"]["simulated"] is True
    assert values["translators"]["simgan"]["settings"]["attribute_loss"] is True
    assert values["judge"]["frontal_yaw"] == 5.0
    first = values["judge"]["pretraining"]
    assert (first["source"], first["settings"]["preset"]) == ("rig", "rafd")
    assert first["steps"] == values["judge"]["classifier"]["steps"] > 0
    assert (values["judge"]["classifier"]["model"]["name"] == "vgg16_bn") == (scale in ("gpu", "paper"))
    for name in ("lssl_pose", "simgan", "cyclegan_pose"):
        assert values["translators"][name]["method"] == name
        assert values["arms"]["synthetic"][name]["translator"] == name
    whole = values["translators"]["lssl_pose"]
    without = whole | {"settings": whole.get("settings", {}) | {"lambda_parsing": 0.0}}
    assert values["translators"]["lssl_pose_without_parsing"] == without


def test_a_copy_of_rafd_for_the_judge(tmp_path: Path) -> None:
    words = [
        "judge.pretraining.source=rafd",
        f"judge.pretraining.root={tmp_path}",
        "~judge.pretraining.settings",
    ]
    first = composed("experiment=lssl_table3", "scale=smoke", *words)["judge"]["pretraining"]
    assert (first["source"], first["root"], first.get("settings", {})) == ("rafd", str(tmp_path), {})


def test_a_copy_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    first = "judge.pretraining"
    words = [
        f"{first}.source=rafd",
        f"{first}.root=nowhere",
        f"~{first}.settings",
    ]
    text = compose_profile(ROOT, ["experiment=lssl_table3", "scale=smoke", *words])
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match="nowhere"):
        check(tmp_path)
    problems = missing_prerequisites(tmp_path)
    assert any("judge.pretraining.root: nowhere is not there" in str(problem) for problem in problems)


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"judge\.pretraining\.source: 'rafdd' is no source \(use one of .*rafd"):
        composed("experiment=lssl_table3", "scale=cpu", "judge.pretraining.source=rafdd")
