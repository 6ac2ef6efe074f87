"""Phases of a training, working memory in checkpoints, examples and classes of batches: what works ask of the loop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_translators import tiny_faces
from torch import nn

from augment.core.errors import InputError
from augment.faces.augmentation import TrainingAugmentation
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.training.batches import BatchMaker, FaceSampler, mirror_faces
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators.base import AdversarialTranslator, Batch, LearnedTranslator, Phase, TranslatorSettings

pytestmark = pytest.mark.slow


class PhasedSettings(TranslatorSettings):
    pass


class Phased(AdversarialTranslator):
    """A generator and a critic learn first, then an encoder; every step is remembered in a working memory."""

    name = "phased"
    Settings = PhasedSettings

    def __init__(self, **form: object) -> None:
        super().__init__(**form)  # type: ignore[arg-type]
        self.decoder = nn.Sequential(nn.Conv2d(self.channels, self.channels, 1), nn.BatchNorm2d(self.channels))
        self.encoder = nn.Conv2d(self.channels, self.channels, 1)
        self.critic = nn.Conv2d(self.channels, 1, 1)
        self.register_buffer("history", torch.zeros(8), persistent=False)
        self.history: torch.Tensor
        self.seen: list[tuple[str, str, int]] = []
        self.modes: list[tuple[bool, bool]] = []

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("adversarial", 0.6, ("decoder", "critic")), Phase("encoder", 0.4, ("encoder",)))

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return [*self.decoder.parameters(), *self.encoder.parameters()]

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        return self.critic.parameters()

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.seen.append(("discriminator", batch.phase, batch.step))
        return {"critic": self.critic(batch.images).square().mean() - self.critic(self.decoder(batch.images)).mean()}

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.seen.append(("generator", batch.phase, batch.step))
        self.modes.append((self.decoder.training, self.encoder.training))
        self.history[batch.step % 8] += batch.images.mean()
        if batch.phase == "adversarial":
            return {"decoder": (self.decoder(batch.images) - batch.images).square().mean() + self.history.mean()}
        return {"encoder": (self.decoder(self.encoder(batch.images)) - batch.images).square().mean()}

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        with torch.no_grad():
            return to_bytes_range(self.decoder(self.encoder(to_unit_range(faces.images))))


def phased() -> Phased:
    torch.manual_seed(5)
    return Phased(num_classes=3, channels=1, size=16, settings=PhasedSettings())


SETTINGS = TrainingSettings(
    steps=10,
    batch_size=4,
    discriminator_steps=2,
    generator_learning_rate=0.05,
    discriminator_learning_rate=0.05,
    decay_start_share=0.5,
    ema_decay=0.9,
    log_every=1,
    sample_every=5,
    validate_every=2,
    checkpoint_every=3,
)


def test_each_phase_trains_its_networks_and_no_other(tmp_path: Path) -> None:
    translator = phased()
    start = {name: value.clone() for name, value in translator.state_dict().items()}
    scored: list[int] = []
    held: dict[int, dict[str, torch.Tensor]] = {}

    def validate(_: torch.nn.Module, step: int) -> float:
        scored.append(step)
        held[step] = {name: value.clone() for name, value in translator.state_dict().items()}
        return float(step)

    train_translator(
        translator,
        tiny_faces(),
        None,
        SETTINGS,
        out=tmp_path / "out",
        scratch=tmp_path / "scratch",
        seed=1,
        validate=validate,  # type: ignore[arg-type]
    )
    # Only the last phase's weights can be chosen; the phase begins after 6 steps.
    assert scored == [8, 10]
    assert [entry for entry in translator.seen if entry[0] == "discriminator"] == [
        ("discriminator", "adversarial", step) for step in range(12)
    ]
    phases = [phase for network, phase, _ in translator.seen if network == "generator"]
    assert phases == ["adversarial"] * 6 + ["encoder"] * 4
    assert translator.modes == [(True, False)] * 6 + [(False, True)] * 4
    published = load_file(tmp_path / "out" / "weights.safetensors")
    assert "history" not in published
    for name, value in published.items():
        moved = not torch.equal(value, start[name])
        assert moved, name
        if name.startswith(("decoder", "critic")):  # the frozen stay, batch statistics too
            assert torch.equal(held[8][name], held[10][name]), name
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    rates = [round(line["generator_learning_rate"] / 0.05, 4) for line in log]
    assert rates == [1, 1, 1, 1, 0.6667, 0.3333, 1, 1, 1, 0.5]  # each phase decays for itself
    assert ["discriminator/critic" in line for line in log] == [True] * 6 + [False] * 4


def test_a_usable_phase_is_validated_and_may_be_published_and_another_learns_slower(tmp_path: Path) -> None:
    class Usable(Phased):
        def phases(self) -> tuple[Phase, ...]:
            first, second = super().phases()
            return (replace(first, usable=True), replace(second, learning_rate=0.5))

    torch.manual_seed(5)
    translator = Usable(num_classes=3, channels=1, size=16, settings=PhasedSettings())
    scored: list[int] = []

    def validate(_: torch.nn.Module, step: int) -> float:
        scored.append(step)
        return -abs(step - 4.0)

    result = train_translator(
        translator,
        tiny_faces(),
        None,
        SETTINGS,
        out=tmp_path / "out",
        scratch=tmp_path / "scratch",
        seed=1,
        validate=validate,  # type: ignore[arg-type]
    )
    assert scored == [2, 4, 6, 8, 10]
    assert result.best_step == 4
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    rates = [round(line["generator_learning_rate"] / 0.05, 4) for line in log]
    assert rates == [1, 1, 1, 1, 0.6667, 0.3333, 0.5, 0.5, 0.5, 0.25]


def test_the_second_phase_learns_beside_the_averaged_weights(tmp_path: Path) -> None:
    """What is published of the first phase is its average, not its last step: the second must learn beside that."""

    def decoder_weights(folder: Path, decay: float) -> dict[int, torch.Tensor]:
        """The live weights at each generator step."""
        live: dict[int, torch.Tensor] = {}
        translator = phased()
        losses = translator.generator_losses

        def watched(batch: Batch) -> dict[str, torch.Tensor]:
            live[batch.step] = translator.decoder.state_dict()["0.weight"].clone()
            return losses(batch)

        translator.generator_losses = watched  # type: ignore[method-assign]
        settings = SETTINGS.model_copy(update={"ema_decay": decay})
        train_translator(translator, tiny_faces(), None, settings, out=folder / "out", scratch=folder / "s", seed=1)
        return live

    plain = decoder_weights(tmp_path / "plain", 0.0)
    averaged = decoder_weights(tmp_path / "averaged", 0.9)
    average = plain[0]
    for update in range(6):
        decay = min(0.9, (1 + update) / (10 + update))
        average = decay * average + (1 - decay) * plain[update + 1]
    assert torch.allclose(averaged[5], plain[5])  # averaging changes nothing while a phase lasts
    assert torch.allclose(averaged[6], average, atol=1e-6)
    assert not torch.allclose(averaged[6], plain[6], atol=1e-3)
    assert torch.equal(averaged[6], averaged[9])


@pytest.mark.parametrize("stop_at", [4, 6, 7])
def test_interrupted_in_or_between_phases_and_resumed(tmp_path: Path, stop_at: int) -> None:
    """Bit-identical, the working memory included: the generator's loss of the first phase depends on it."""
    settings = SETTINGS.model_copy(update={"checkpoint_every": 1})

    def run(folder: Path, stop: int | None) -> dict[str, torch.Tensor]:
        translator = phased()
        if stop is not None:
            losses = translator.generator_losses

            def failing(batch: Batch) -> dict[str, torch.Tensor]:
                if batch.step == stop:
                    raise RuntimeError("killed")
                return losses(batch)

            translator.generator_losses = failing  # type: ignore[method-assign]
        train_translator(
            translator, tiny_faces(), None, settings, out=folder / "out", scratch=folder / "scratch", seed=1
        )
        return load_file(folder / "out" / "weights.safetensors") | {"history": translator.history.clone()}

    whole = run(tmp_path / "whole", None)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", stop_at)
    resumed = run(tmp_path / "killed", None)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize(
    ("phases", "error"),
    [
        ((Phase("a", 0.5),), "sum to 1"),
        ((Phase("a", 0.5, ("decoder",)), Phase("b", 0.5, ("decodr",))), "none of its modules"),
        ((), "sum to 1"),
    ],
)
def test_impossible_phases(tmp_path: Path, phases: tuple[Phase, ...], error: str) -> None:
    translator = phased()
    translator.phases = lambda: phases  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=error):
        train_translator(translator, tiny_faces(), None, SETTINGS, out=tmp_path, scratch=tmp_path / "s", seed=0)


def test_fewer_steps_than_phases(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"steps": 1})
    with pytest.raises(InputError, match="too few for the 2 phases"):
        train_translator(phased(), tiny_faces(), None, settings, out=tmp_path, scratch=tmp_path / "s", seed=0)


class Asking(Phased):
    """Wants batches of one class and one wanted class, examples, and data sets."""

    def batch_classes(self, step: int) -> tuple[int, int] | None:
        return (2, step % 2)

    def example_faces(self, faces: FaceTensors) -> torch.Tensor | None:
        return torch.arange(len(faces)) % 4 != 0

    def domains(self, faces: FaceTensors) -> torch.Tensor | None:
        return torch.arange(len(faces)) % 2


def asking() -> Asking:
    return Asking(num_classes=3, channels=1, size=16, settings=PhasedSettings())


def maker(translator: LearnedTranslator, faces: FaceTensors, *, mirror: bool = False) -> BatchMaker:
    return BatchMaker(translator, faces, batch_size=6, balanced_sources=False, balanced_targets=True, mirror=mirror)


def test_a_batch_holds_what_the_translator_asks_for() -> None:
    faces = tiny_faces(40)
    # Each picture says its position, so that examples can be told.
    marked = replace(faces, images=torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16))
    batches = maker(asking(), marked)
    generator = torch.Generator().manual_seed(3)
    for turn in range(6):
        batch = batches.draw(generator, step=2 * turn + 1, total_steps=99, turn=turn, phase="adversarial")
        assert batch.labels.tolist() == [2] * 6 and batch.targets.tolist() == [turn % 2] * 6
        assert batch.examples is not None and batch.domains is not None and batch.target_domains is not None
        positions = ((batch.examples[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert faces.labels[positions].tolist() == [turn % 2] * 6
        assert all(position % 4 for position in positions.tolist())
        own = ((batch.images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert batch.domains.tolist() == (own % 2).tolist()
        assert sorted(batch.target_domains.tolist()) == sorted(batch.domains.tolist())
        assert batch.phase == "adversarial" and batch.epoch == pytest.approx((2 * turn + 1) * 6 / 40)


def test_faces_side_input_and_examples_are_augmented_together() -> None:
    """Turned by 180 degrees, always: picture and side input come upside down."""

    class Sided(Asking):
        def side_input(self, faces: FaceTensors) -> torch.Tensor | None:
            return to_unit_range(faces.images)

    faces = tiny_faces(40)
    sided = Sided(num_classes=3, channels=1, size=16, settings=PhasedSettings())

    def draw(augmentation: TrainingAugmentation) -> Batch:
        batches = BatchMaker(
            sided, faces, batch_size=6, balanced_sources=False, balanced_targets=True, mirror=True,
            augmentation=augmentation,
        )  # fmt: skip
        return batches.draw(torch.Generator().manual_seed(3), step=0, total_steps=9)

    batch = draw(TrainingAugmentation(share=1, rotate=(180, 180)))
    assert batch.side_input is not None and batch.examples is not None and torch.equal(batch.side_input, batch.images)
    seen = {picture.numpy().tobytes() for picture in to_bytes_range(torch.cat([batch.images, batch.examples]))}
    upside_down = faces.images.flip(-1).flip(-2)
    known = {picture.numpy().tobytes() for picture in torch.cat([upside_down, upside_down.flip(-1)])}
    assert seen <= known
    plain = draw(TrainingAugmentation())
    assert plain.side_input is not None and torch.equal(plain.side_input, plain.images)
    known = {picture.numpy().tobytes() for picture in torch.cat([faces.images, faces.images.flip(-1)])}
    assert {picture.numpy().tobytes() for picture in to_bytes_range(plain.images)} <= known


def test_examples_of_a_class_without_any_are_refused() -> None:
    faces = tiny_faces(40)
    translator = asking()
    translator.example_faces = lambda faces: faces.labels != 1  # type: ignore[method-assign]
    with pytest.raises(InputError, match="no examples among the training faces of: happy"):
        maker(translator, faces)


def test_unusable_faces_are_never_drawn() -> None:
    faces = tiny_faces(12)
    translator = phased()
    translator.usable_sources = lambda faces: torch.arange(len(faces)) < 5  # type: ignore[method-assign]
    sampler = maker(translator, faces).sampler
    assert set(sampler.draw(50, torch.Generator().manual_seed(0)).tolist()) == set(range(5))
    translator.usable_sources = lambda faces: torch.zeros(len(faces), dtype=torch.bool)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="none of the 12 faces can be a source of phased"):
        maker(translator, faces)


def test_sample_sheets_show_usable_faces_only(tmp_path: Path) -> None:
    translator = phased()
    translator.usable_sources = lambda faces: torch.arange(len(faces)) >= len(faces) - 3  # type: ignore[method-assign]
    seen: set[str] = set()
    translate = translator.translate

    def watched(faces: FaceTensors, *arguments: object) -> torch.Tensor:
        seen.update(faces.face_ids)
        return translate(faces, *arguments)  # type: ignore[arg-type]

    translator.translate = watched  # type: ignore[method-assign, assignment]
    faces = tiny_faces()
    train_translator(translator, faces, None, SETTINGS, out=tmp_path, scratch=tmp_path / "s", seed=0)
    assert seen == set(faces.face_ids[-3:])


def test_sample_sheets_of_a_phase_without_translations_show_what_it_makes(tmp_path: Path) -> None:
    translator = phased()
    asked: list[str] = []

    def made(phase: str, count: int, generator: torch.Generator) -> torch.Tensor | None:
        asked.append(phase)
        grey = torch.full((count, translator.num_classes, 1, translator.size, translator.size), 7, dtype=torch.uint8)
        return grey if phase == "adversarial" else None

    translator.samples_of_phase = made  # type: ignore[method-assign]
    settings = SETTINGS.model_copy(update={"steps": 10, "sample_every": 2})
    train_translator(translator, tiny_faces(), None, settings, out=tmp_path, scratch=tmp_path / "s", seed=0)
    steps = [int(path.stem.removeprefix("step-")) for path in sorted((tmp_path / "samples").glob("*.png"))]
    # the first phase is steps 1 to 6: the sheet of step 6 is its own, whatever comes next
    assert dict(zip(steps, asked, strict=True)) == {
        step: "adversarial" if step <= 6 else "encoder" for step in (2, 4, 6, 8, 10)
    }
    widths = [Image.open(path).width for path in sorted((tmp_path / "samples").glob("*.png"))]
    assert widths[0] == widths[2] < widths[3] == widths[4], "no column of inputs where nothing is made of them"


def test_draws_of_a_class_go_through_its_faces_before_any_comes_twice() -> None:
    labels = torch.tensor([0, 1, 1, 1, 2])
    sampler = FaceSampler(labels, balanced=True)
    drawn = sampler.draw_of(torch.ones(6, dtype=torch.int64), torch.Generator().manual_seed(0)).tolist()
    assert sorted(drawn[:3]) == sorted(drawn[3:]) == [1, 2, 3]


def test_simulated_faces_and_yaw_are_mirrored_with_their_picture() -> None:
    faces = tiny_faces(4)
    simulated = torch.randint(0, 256, faces.images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    faces = replace(faces, simulated=simulated, yaw=torch.tensor([10.0, -20.0, float("nan"), 0.0]))
    mirrored = mirror_faces(faces, torch.tensor([True, False, True, True]))
    assert mirrored.simulated is not None and mirrored.yaw is not None
    assert torch.equal(mirrored.simulated[0], simulated[0].flip(-1)) and torch.equal(
        mirrored.simulated[1], simulated[1]
    )
    assert mirrored.yaw[:2].tolist() == [-10, -20] and torch.isnan(mirrored.yaw[2])
