"""The benchmark of translation: its score against values counted by hand, recipes and their overrides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from scipy import stats
from torch import nn

from augment.core.errors import InputError
from augment.faces.images import decode_image, encode_png
from augment.faces.tensors import FaceTensors
from augment.translators.base import CannotTranslateError, Translator, TranslatorSettings
from benchmarks.translator_bench import parse_overrides, recipe, recipes, score, translate_test_faces
from benchmarks.translator_page import results_page, with_figures
from benchmarks.translators import TookTooLong, at_most, gallery_rows, small_png

pytestmark = pytest.mark.slow

CLASS_NAMES = ("dark", "grey", "light")
BRIGHTNESS = torch.tensor([40, 120, 200], dtype=torch.uint8)


class BrightnessJudge(nn.Module):
    """Takes a face for the class whose brightness is nearest."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Parameter(BRIGHTNESS.float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.float().mean(dim=(1, 2, 3))[:, None] - self.levels).abs()


class Painter(Translator):
    """Paints the wanted class's brightness, but takes `light` for `grey`."""

    name: ClassVar[str] = "painter"
    Settings: ClassVar[type[TranslatorSettings]] = TranslatorSettings
    keeps = False
    wanted_subjects: ClassVar[tuple[str, ...]] = ("anna", "bert")

    @property
    def keeps_class(self) -> bool:
        return self.keeps

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        return torch.tensor([subject in self.wanted_subjects for subject in faces.subjects])

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        assert generator is not None
        noise = torch.randint(0, 3, faces.images.shape, generator=generator, dtype=torch.uint8)
        return BRIGHTNESS[targets.clamp(max=1)][:, None, None, None] + noise


def painter() -> Painter:
    return Painter(num_classes=3, channels=1, size=8, settings=TranslatorSettings())


def six_faces() -> FaceTensors:
    """Two subjects in three classes; Bert's dark face looks light."""
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    looks = torch.tensor([0, 1, 2, 2, 1, 2])
    return FaceTensors(
        images=BRIGHTNESS[looks][:, None, None, None].expand(-1, 1, 8, 8).clone(),
        labels=labels,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"face-{row}" for row in range(6)),
        subjects=("anna",) * 3 + ("bert",) * 3,
        class_names=CLASS_NAMES,
    )


def scored(translator: Translator, faces: FaceTensors, seed: int = 0) -> dict[str, Any]:
    return score(translate_test_faces(translator, faces, BrightnessJudge(), seed), faces.class_names)  # type: ignore[arg-type]


def test_recognition_is_what_counting_gives() -> None:
    found = scored(painter(), six_faces())
    assert found["sources"] == 12
    # Four faces are translated to each class; of those wanted light, Bert's dark one looked light before.
    assert found["untranslated"]["per_class"] == {"dark": 0.0, "grey": 0.0, "light": 0.25}
    assert found["translated"]["per_class"] == {"dark": 1.0, "grey": 1.0, "light": 0.0}
    assert found["untranslated"]["recognition"] == pytest.approx(0.25 / 3)
    assert found["translated"]["recognition"] == pytest.approx(2 / 3)
    assert found["difference"]["value"] == pytest.approx(2 / 3 - 0.25 / 3)
    # Anna's part of the difference is 2/3, Bert's (2 - 1/2) / 3: a standard error of 1/12, of which two people tell
    # little; above, it ends where a difference must.
    half = stats.t.ppf(0.975, 1) / 12
    assert found["difference"]["low"] == pytest.approx(2 / 3 - 0.25 / 3 - half)
    assert found["difference"]["high"] == 1
    # The noise adds 1 of 255 on average. Dark is made from 120, 200, 120, 200; grey from 40, 200, 200, 200;
    # light, which is painted grey, from 40, 120, 200, 120.
    dark, grey, light = (79 + 159) / 2, (81 + 3 * 79) / 4, (81 + 1 + 79 + 1) / 4
    assert found["identity_shift"] == pytest.approx((dark + grey + light) / 3 / 255, abs=1e-3)
    assert "simulated" not in found


def test_the_same_seed_gives_the_same_faces() -> None:
    first, second, other = (scored(painter(), six_faces(), seed)["identity_shift"] for seed in (0, 0, 1))
    assert first == second != other


def test_a_translator_that_keeps_classes_is_asked_for_its_sources_class() -> None:
    translator = painter()
    translator.keeps = True
    found = scored(translator, six_faces())
    assert found["sources"] == 6
    assert found["untranslated"]["per_class"] == {"dark": 0.5, "grey": 1.0, "light": 1.0}
    assert found["translated"]["per_class"] == {"dark": 1.0, "grey": 1.0, "light": 0.0}


def test_only_usable_faces_are_sources() -> None:
    translator = painter()
    translator.wanted_subjects = ("anna",)  # type: ignore[misc]
    assert scored(translator, six_faces())["untranslated"]["recognition"] == 0
    translator.wanted_subjects = ()  # type: ignore[misc]
    with pytest.raises(CannotTranslateError, match="no test face can be a source of painter"):
        scored(translator, six_faces())


def test_simulated_faces_are_judged_beside_their_sources() -> None:
    all_dark = torch.full((6, 1, 8, 8), 40, dtype=torch.uint8)
    faces = replace(six_faces(), simulated=all_dark)
    assert scored(painter(), faces)["simulated"]["per_class"] == {"dark": 1.0, "grey": 0.0, "light": 0.0}


def test_every_recipe_can_be_read() -> None:
    assert {"warp", "lssl", "stargan"} <= set(recipes())
    for name in recipes():
        assert recipe(name).training.steps > 0


def test_overrides_replace_values_of_a_recipe() -> None:
    overrides = parse_overrides(["settings.width=8", "training.generator_learning_rate=1e-3"])
    entry = recipe("stargan", overrides)
    assert entry.settings["width"] == 8 and entry.settings["downs"] == recipe("stargan").settings["downs"]
    assert entry.training.generator_learning_rate == 1e-3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("settings.widht=8", "widht"),
        ("training.steps=0", "steps"),
        ("method=nothing", "nothing"),
        ("steps=4", "steps"),
        ("settings.width", "settings.width=8"),
    ],
)
def test_an_override_that_cannot_be_is_refused(override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe("stargan", parse_overrides([override]))


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match=r"none of .*lssl"):
        recipe("nothing")


def result_of(name: str, found: dict[str, Any], people: int) -> dict[str, Any]:
    """What a run by a recipe would have written."""
    return {
        "name": name,
        "method": "painter",
        "training": {"batch_size": 16},
        "seed": 0,
        "faces": {"name": "rare", "source": {"preset": "rare", "seed": people}},
        "judge": {"accuracy": 0.9},
        **found,
        "seconds": 200.4,
        "processor_seconds": 180.4,
        "steps": 500,
        "torch": "2.11.0",
        "environment": {"machine": "a machine"},
    }


@pytest.mark.parametrize(("people", "said"), [(0, "these very people"), (1, "run painter --people 1")])
def test_the_page_shows_what_the_runs_wrote(people: int, said: str) -> None:
    result = result_of("painter", scored(painter(), six_faces()), people)
    costs = [{"name": "painter", "method": "painter", "settings": "recipe", "batch": 16, "note": "a | b"}]
    page = results_page([result], costs, "../sheets")
    assert "| painter | painter | rare | 8.3% | 66.7% | +58.3 (-47.6 .. +100.0) | 0.313 | 180 | 500 | 16 |" in page
    assert "| painter | recipe |  |  | 16 |  |  | a / b |" in page
    assert "90.0% of the rare test faces" in page and "(../sheets)" in page
    assert said in page


def test_figures_are_put_between_the_marks_of_a_page() -> None:
    result = result_of("painter", scored(painter(), six_faces()), 0)
    costs = [{"name": "painter", "method": "painter", "settings": "recipe", "milliseconds_a_step": 12.3}]
    page = "before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n"
    filled = with_figures(page, [result], costs)
    assert "| `painter` | 8.3% | 66.7% | +58.3 (-47.6 .. +100.0) | 0.313 |" in filled and " 12 |" in filled
    assert filled.startswith("before\n") and filled.endswith("after\n") and "old" not in filled
    assert with_figures(filled, [result], costs) == filled
    with pytest.raises(ValueError, match="lacks the marks"):
        with_figures("before", [result], costs)


def test_a_gallery_shows_different_people_in_different_classes() -> None:
    shown = gallery_rows(painter(), six_faces(), 4)
    assert shown.subjects == ("anna", "bert") and shown.labels.tolist() == [0, 1]


def test_sheets_are_made_small_enough() -> None:
    noise = torch.randint(0, 256, (1, 3, 300, 600), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    png = encode_png(noise[0].permute(1, 2, 0).numpy())
    small = small_png(png, most_bytes=60_000)
    assert len(small) <= 60_000 < len(png)
    assert decode_image(small).shape == (225, 450, 3)


def test_a_measurement_is_given_up_after_its_limit() -> None:
    with pytest.raises(TookTooLong), at_most(0.05):
        while True:
            pass
    with at_most(5):
        pass
