"""CCycleGAN's grid at the paper's scale."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.profile import compose_profile

ROOT = Path(__file__).parents[2]


def test_the_grid_is_the_papers_on_fer2013() -> None:
    profile = compose_profile(ROOT, ["experiment=ccyclegan_fig3", "dataset=fer2013", "scale=paper"])
    entries = yaml.safe_load(profile)["translators"]
    grid = {name: entry for name, entry in entries.items() if entry["method"] == "ccyclegan"}
    softmax, first = grid.pop("ccyclegan_softmax"), grid["ccyclegan_lr2_cyc1_cl1"]  # beside the grid
    assert softmax["settings"] == first["settings"] | {"classification": "softmax"}
    assert (
        softmax["training"] | {"log_distances": True} == first["training"]
        and "log_distances" not in softmax["training"]
    )
    found = {
        (
            entry["training"]["generator_learning_rate"],
            entry["settings"]["lambda_cyc"],
            entry["settings"]["lambda_cl"],
        )
        for entry in grid.values()
    }
    weights = ((1, 1), (1, 2), (0.5, 1), (0.5, 0.5))
    assert found == {(rate, *pair) for rate in (2e-4, 1e-4) for pair in weights} and len(grid) == 8
    for name, entry in grid.items():
        training, settings = entry["training"], entry["settings"]
        rate, cyc, cl = name.removeprefix("ccyclegan_").split("_")
        assert float(rate.removeprefix("lr")) * 1e-4 == training["generator_learning_rate"]
        assert training["discriminator_learning_rate"] == training["generator_learning_rate"]
        assert [settings["lambda_cyc"], settings["lambda_cl"]] == [
            {"1": 1, "2": 2, "05": 0.5}[text] for text in (cyc.removeprefix("cyc"), cl.removeprefix("cl"))
        ]
        batches = 28_709 / training["batch_size"]  # an epoch of FER2013
        assert training["validate_every"] == round(batches / training["discriminator_steps"])
        assert training["batch_size"] == 64 and set(settings) == {"lambda_cyc", "lambda_cl"}
