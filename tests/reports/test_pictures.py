"""Pictures of the inside of a run: regions of hidden units, the nearest training faces, maps of the parsing network."""

from __future__ import annotations

from pathlib import Path

import made_up_run
import numpy as np
import pytest
import torch

from augment.faces.tensors import FaceTensors
from augment.parsing.network import ParsingNetwork, ParsingSettings
from augment.translators import create_translator
from augment.translators.lssl import LsslModel
from reports.experiments.catalogue import find_experiment
from reports.experiments.page import picture_title
from reports.experiments.pictures import (
    draw_hidden_units,
    draw_nearest_faces,
    draw_parsing_maps,
    draw_pictures,
    encoder_activations,
    most_local_units,
    nearest_faces,
    region_of,
)


def some_faces(count: int = 6, size: int = 16) -> FaceTensors:
    random = np.random.default_rng(0)
    return FaceTensors(
        images=torch.from_numpy(random.integers(0, 256, (count, 1, size, size), dtype=np.uint8)),
        labels=torch.arange(count) % 2,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"f{place}" for place in range(count)),
        subjects=tuple(f"person {place // 2}" for place in range(count)),
        class_names=("happy", "neutral"),
    )


def encoder(size: int = 16, **settings: object) -> LsslModel:
    made = create_translator(
        "lssl",
        num_classes=2,
        channels=1,
        size=size,
        settings={"width": 4, "side_input": False, "lambda_parsing": 0.0, **settings},
    )
    assert isinstance(made, LsslModel)
    return made.eval()


def test_a_region_is_where_a_unit_responds_most() -> None:
    activation = torch.zeros(4, 4)
    activation[1, 2] = 1.0
    region = region_of(activation, 16)
    # Pixel centres of cell (1, 2) are at 4..7 and 8..11, and bilinear interpolation falls to a half midway to the next.
    assert region[5:7, 9:11].all() and not region[:2].any() and not region[:, :6].any()
    assert 0 < int(region.sum()) <= 36
    assert not region_of(torch.zeros(4, 4), 16).any()  # a unit that does not respond has none


def test_local_units_come_first_and_dead_ones_are_left_out() -> None:
    activations = torch.zeros(3, 3, 4, 4)
    activations[:, 0] = 1.0  # everywhere
    activations[:, 2, 1, 1] = 1.0  # at one place
    assert most_local_units(activations, 5) == [2, 0]
    assert most_local_units(activations, 1) == [2]


@pytest.mark.parametrize(("downs", "residual_blocks", "layer", "edge"), [(4, 6, 5, 2), (2, 1, 4, 8), (3, 3, 5, 4)])
def test_the_fifth_layer_or_the_last(downs: int, residual_blocks: int, layer: int, edge: int) -> None:
    found, activations = encoder_activations(
        encoder(32, downs=downs, residual_blocks=residual_blocks), some_faces(size=32)
    )
    assert (found, tuple(activations.shape)) == (layer, (6, 4 * 2**downs, edge, edge))
    assert float(activations.min()) >= 0


def test_activations_are_those_of_the_encoder() -> None:
    model, faces = encoder(downs=2, residual_blocks=1), some_faces()
    _, activations = encoder_activations(model, faces)
    with torch.no_grad():
        latent = model.generator.encoder(faces.images / 127.5 - 1)
    assert torch.allclose(activations, latent.clamp_min(0), atol=1e-5)


def test_hidden_units_and_parsing_maps_are_drawn() -> None:
    figure = draw_hidden_units(encoder(downs=2, residual_blocks=1), some_faces())
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["layer 4, 4x4", "1", "2", "3"]  # one face of each of three people
    network = ParsingNetwork(channels=1, size=16, settings=ParsingSettings(width=4, levels=2)).eval()
    figure = draw_parsing_maps(network, some_faces())
    assert len(figure.axes[0].get_yticklabels()) == 6


def test_the_nearest_face_is_the_copy_also_in_the_mirror() -> None:
    faces = some_faces(6).images
    brighter = (faces[4].float() * 0.5 + 60).to(torch.uint8)
    positions, correlations = nearest_faces(torch.stack([faces[1].flip(-1), brighter]), faces, count=2)
    assert positions[:, 0].tolist() == [1, 4]
    assert correlations[:, 0] == pytest.approx([1.0, 1.0], abs=1e-3) and (correlations[:, 1] < 0.9).all()
    assert nearest_faces(faces[:1], faces[:3], count=9)[0].shape == (1, 3)


def test_faces_that_may_not_be_shown_are_not(tmp_path: Path) -> None:
    """A card with a holder's terms: neither picture is drawn."""
    faces = made_up_run.write_faces_report(tmp_path).parent
    (faces / "README.md").write_text("---\nlicense: other\n---\nThe holder's terms.\n")
    arguments = {"faces_dir": faces, "folds_path": tmp_path / "folds.parquet"}
    assert draw_nearest_faces(tmp_path / "selected", **arguments) is None
    assert not list(draw_pictures({}, **arguments, parsing_dir=tmp_path))


def test_titles_say_what_pictures_show() -> None:
    experiment = find_experiment("lssl_figs")
    assert picture_title("hidden_units-lssl.png", experiment).startswith("Hidden units of the encoder of LSSL")
    assert picture_title("samples-step-000650.png", experiment) == "Sample sheet after 650 steps of training"
    assert picture_title("accuracy_against_n.png", experiment) == "Accuracy against n"
