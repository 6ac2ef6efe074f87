"""The training loop: what is trained, what is logged, what is published, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny_translators import (
    TinyFit,
    TinyGan,
    TinySettings,
    larger,
    tiny_faces,
    tiny_gan,
    tiny_method,
    tiny_training,
    train_tiny,
)

from augment.core.checkpoints import checkpoint_folders
from augment.core.errors import InputError
from augment.training.divergence import TrainingDivergedError
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators.base import CannotTranslateError

pytestmark = pytest.mark.slow


def run(folder: Path, translator: Any = None, faces: Any = None, *, seed: int = 3, **changes: Any) -> Any:
    """A short run without validation."""
    more = {key: changes.pop(key) for key in ("validate", "validation") if key in changes}
    return train_translator(
        translator or tiny_gan(),
        tiny_faces() if faces is None else faces,
        more.pop("validation", None),
        tiny_training(**({"steps": 4} | changes)),
        out=folder / "out",
        scratch=folder / "scratch",
        seed=seed,
        **more,
    )


def log_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text().splitlines()]


# Settings


def test_the_defaults_are_the_papers() -> None:
    settings = TrainingSettings()
    assert settings.generator_learning_rate == settings.discriminator_learning_rate == 1e-4
    assert settings.betas == (0.5, 0.999)
    assert (settings.batch_size, settings.discriminator_steps) == (8, 5)


def test_the_schedule_is_flat_then_falls_linearly() -> None:
    settings = TrainingSettings(steps=200, decay_start_share=0.5)
    assert [settings.learning_rate_factor(step) for step in (0, 99, 100, 150, 199)] == [1, 1, 1, 0.5, 0.01]
    assert TrainingSettings(steps=10, decay_start_share=1).learning_rate_factor(9) == 1
    assert TrainingSettings(steps=10, decay_start_share=0).learning_rate_factor(5) == 0.5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("betas", (0.5, 1.0)),
        ("generator_learning_rate", 0),
        ("ema_decay", 1.0),
        ("decay_start_share", 1.1),
        ("precision", "float64"),
        ("max_seconds", 60),
    ],
)
def test_impossible_settings_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        TrainingSettings(**{key: value})


# A step


def test_each_step_moves_its_own_network_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one network's losses are made the other's parameters ask for no gradient, and neither moves."""
    translator = tiny_gan()
    generator, discriminator = list(translator.generator_parameters()), list(translator.discriminator_parameters())
    seen = []

    def watched(original: Any, own: list[torch.nn.Parameter], other: list[torch.nn.Parameter]) -> Any:
        def losses(batch: Any) -> Any:
            assert all(p.requires_grad for p in own) and not any(p.requires_grad for p in other)
            seen.append(
                (original.__name__, batch.step, batch.total_steps, [p.clone() for p in (*generator, *discriminator)])
            )
            return original(batch)

        return losses

    monkeypatch.setattr(translator, "generator_losses", watched(translator.generator_losses, generator, discriminator))
    monkeypatch.setattr(
        translator, "discriminator_losses", watched(translator.discriminator_losses, discriminator, generator)
    )
    run(tmp_path, translator, steps=2, ema_decay=0)
    assert [entry[:3] for entry in seen] == [
        ("discriminator_losses", 0, 4),
        ("discriminator_losses", 1, 4),
        ("generator_losses", 0, 2),
        ("discriminator_losses", 2, 4),
        ("discriminator_losses", 3, 4),
        ("generator_losses", 1, 2),
    ]
    for (name, _, _, before), (_, _, _, after) in itertools.pairwise(seen):
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        own = slice(None, len(generator)) if name == "generator_losses" else slice(len(generator), None)
        other = slice(len(generator), None) if name == "generator_losses" else slice(None, len(generator))
        assert all(moved[own]) and not any(moved[other])
    assert torch.equal(translator.untouched, torch.ones(2))
    assert all(p.requires_grad for p in translator.parameters())  # given back as they came


def test_parameters_that_came_frozen_stay(tmp_path: Path) -> None:
    translator = tiny_gan()
    translator.head.requires_grad_(False)
    before = {name: value.clone() for name, value in translator.head.state_dict().items()}
    run(tmp_path, translator)
    assert all(torch.equal(before[name], value) for name, value in translator.head.state_dict().items())
    assert not translator.head.weight.requires_grad


def test_one_step_is_adams(tmp_path: Path) -> None:
    """After one step a weight has moved by the learning rate in its gradient's direction (Adam's first step)."""
    translator = tiny_gan()
    before = translator.scores.weight.detach().clone()
    run(tmp_path, translator, steps=1, discriminator_steps=1, discriminator_learning_rate=1e-3, ema_decay=0)
    moved = (translator.scores.weight.detach() - before).abs()
    assert moved.max().item() == pytest.approx(1e-3, rel=1e-3)


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_and_the_global_state_does_not(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(tmp_path / "a")
    torch.manual_seed(2)
    again = run(tmp_path / "b")
    other = run(tmp_path / "c", seed=4)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_networks_that_overlap_are_refused(tmp_path: Path) -> None:
    class Overlapping(TinyGan):
        def discriminator_parameters(self) -> Any:
            return self.parameters()

    translator = Overlapping(num_classes=3, channels=1, size=16, settings=TinySettings())
    with pytest.raises(ValueError, match=r"the networks discriminator and generator both claim body\.0\.bias"):
        run(tmp_path, translator)


def test_a_term_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = tiny_gan()
    monkeypatch.setattr(translator, "generator_losses", lambda batch: {"cycle": translator.head.weight})
    with pytest.raises(ValueError, match=r"losses of generator: the term 'cycle' has shape"):
        run(tmp_path, translator)


def test_bfloat16_trains(tmp_path: Path) -> None:
    exact, coarse = run(tmp_path / "a"), run(tmp_path / "b", precision="bfloat16")
    assert exact.weights_sha256 != coarse.weights_sha256
    line, rough = log_lines(tmp_path / "a")[0], log_lines(tmp_path / "b")[0]
    for term in ("generator/reconstruction", "discriminator/adversarial"):
        assert rough[term] == pytest.approx(line[term], rel=0.1)


# The log


def test_log_lines_are_means_over_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = tiny_gan()
    original = translator.discriminator_losses
    values: list[dict[str, float]] = []

    def losses(batch: Any) -> Any:
        terms = original(batch)
        values.append({name: value.item() for name, value in terms.items()})
        return terms

    monkeypatch.setattr(translator, "discriminator_losses", losses)
    run(tmp_path, translator, steps=6, log_every=4)
    lines = log_lines(tmp_path)
    assert [line["step"] for line in lines] == [4, 6]
    for line, part in zip(lines, (values[:8], values[8:]), strict=True):
        for term in ("adversarial", "lazy"):  # a lazy term's mean is over the steps in which it takes part
            present = [entry[term] for entry in part if term in entry]
            assert line[f"discriminator/{term}"] == pytest.approx(sum(present) / len(present), rel=1e-12)
    assert lines[0]["generator_learning_rate"] == pytest.approx(2e-3 * 3 / 3)
    assert lines[1]["generator_learning_rate"] == pytest.approx(2e-3 * 1 / 3)
    assert all(line["images_per_second"] > 0 and line["seconds"] > 0 for line in lines)


# Divergence


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError) as caught:
        run(tmp_path, tiny_gan(explode_at=8), steps=20, checkpoint_every=3)
    error = caught.value
    assert (error.step, error.term, error.checkpoint_step) == (8, "generator/reconstruction", 6)
    assert error.checkpoint is not None and error.checkpoint.is_dir()
    assert f"step 8: generator/reconstruction is inf; the last good checkpoint is {error.checkpoint}" in str(error)
    assert not (tmp_path / "out" / "weights.safetensors").exists()
    tensors = load_file(error.checkpoint / "tensors.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in tensors.values())


def test_without_a_checkpoint_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match=r"step 0: .* there is no checkpoint yet"):
        run(tmp_path, tiny_gan(explode_at=0))


def test_spoiled_weights_are_never_a_checkpoint(tmp_path: Path) -> None:
    """A loss may be finite and its gradient not: the weights of that very step must not be kept as good."""
    with pytest.raises(TrainingDivergedError) as caught:
        run(tmp_path, tiny_gan(spoil_at=2), checkpoint_every=1)
    assert caught.value.step == 2 and caught.value.term.startswith("weight ")
    assert caught.value.checkpoint_step == 2
    assert [folder.name for folder in checkpoint_folders(tmp_path / "scratch")] == [
        "checkpoint-00000001",
        "checkpoint-00000002",
    ]


def test_a_score_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="the validation score is nan"):
        run(tmp_path, validate=lambda translator, step: math.nan)


# What is published


def test_the_best_validated_average_is_published(tmp_path: Path) -> None:
    scores = {2: 0.1, 4: 0.7, 6: 0.7, 8: 0.2}
    seen: dict[int, dict[str, torch.Tensor]] = {}
    translator = tiny_gan()

    def validate(judged: Any, step: int) -> float:
        assert judged is translator and not judged.training
        seen[step] = {name: value.clone() for name, value in judged.state_dict().items()}
        return scores[step]

    result = run(tmp_path, translator, steps=8, validate_every=2, validate=validate)
    assert (result.best_step, result.best_score) == (4, 0.7)  # the earlier of two equals
    assert result.scores == tuple(scores.items())
    published = load_file(result.weights)
    for name, value in seen[4].items():
        if not name.startswith(("critic", "scores")):
            assert torch.equal(published[name], value), name
    assert not torch.equal(published["head.weight"], seen[8]["head.weight"])
    assert torch.equal(translator.head.weight, published["head.weight"])  # the caller's translator holds them too
    assert not translator.training


def test_the_average_is_published_not_the_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: average <- d average + (1 - d) weights, d = min(decay, (1 + t) / (10 + t)); buffers too."""
    translator = tiny_gan()
    names = ("head.weight", "body.1.running_mean")
    expected = {name: translator.state_dict()[name].double() for name in names}
    from augment.training.ema import MovingAverage

    original = MovingAverage.update
    steps = []

    def update(self: Any) -> None:
        decay = min(0.3, (1 + len(steps)) / (10 + len(steps)))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * translator.state_dict()[name].double()
        steps.append(decay)
        original(self)

    monkeypatch.setattr(MovingAverage, "update", update)
    result = run(tmp_path, translator, steps=6, ema_decay=0.3)
    assert steps[0] == 0.1 and steps[-1] == 0.3
    published = load_file(result.weights)
    for name in names:
        assert torch.allclose(published[name].double(), expected[name], rtol=0, atol=1e-6)
    last = load_file(checkpoint_folders(tmp_path / "scratch")[-1] / "tensors.safetensors")
    assert not torch.equal(last["translator/head.weight"], published["head.weight"])
    assert published["body.1.num_batches_tracked"] == last["translator/body.1.num_batches_tracked"] > 0


def test_without_an_average_the_last_weights_are_published(tmp_path: Path) -> None:
    result = run(tmp_path, ema_decay=0)
    last = load_file(checkpoint_folders(tmp_path / "scratch")[-1] / "tensors.safetensors")
    published = load_file(result.weights)
    assert result.best_step == 4 and result.best_score is None
    assert all(torch.equal(last[f"translator/{name}"], value) for name, value in published.items())


def test_training_json_tells_the_run(tmp_path: Path) -> None:
    result = train_tiny(tmp_path / "out", tmp_path / "scratch", steps=6)
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    assert report["translator"] == "tiny" and report["seed"] == 3
    assert TrainingSettings(**report["settings"]) == tiny_training(steps=6)
    assert report["steps"] == 6 and report["best_step"] == result.best_step
    assert [tuple(entry) for entry in report["scores"]] == list(result.scores)
    assert report["parameters"] == {
        "generator": sum(p.numel() for p in tiny_gan().generator_parameters()),
        "discriminator": sum(p.numel() for p in tiny_gan().discriminator_parameters()),
    }
    assert sum(report["faces"].values()) == len(tiny_faces())
    assert report["weights_sha256"] == result.weights_sha256
    assert report["peak_memory_bytes"] > 0 and report["images_per_second"] > 0


def test_a_finished_run_publishes_again_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path)
    translator = tiny_gan()
    monkeypatch.setattr(translator, "generator_losses", None)
    again = run(tmp_path, translator)
    assert again.weights_sha256 == first.weights_sha256 and again.resumed_from == again.steps == 4


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 5}, "training.steps: 4 in the checkpoint, 5 now"),
        ({"generator_learning_rate": 1e-3}, "training.generator_learning_rate"),
        ({"seed": 4}, "seed: 3 in the checkpoint, 4 now"),
        ({"translator": "width"}, "translator_settings.width: 4 in the checkpoint, 5 now"),
        ({"faces": 1}, "train_sha256"),
    ],
)
def test_resuming_with_others_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run(tmp_path)
    if "translator" in change:
        change = {"translator": tiny_gan(width=5)}
    if "faces" in change:
        faces = tiny_faces()
        faces.images[0, 0, 0, 0] ^= 1  # a single bit
        change = {"faces": faces}
    with pytest.raises(InputError, match="another run") as caught:
        run(tmp_path, **change)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_two_runs_do_not_share_a_scratch_folder(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with FileLock(tmp_path / "scratch" / "lock"), pytest.raises(InputError, match="another run is writing here"):
        run(tmp_path)
    run(tmp_path)  # the lock was given back


def test_faces_of_another_form_are_refused(tmp_path: Path) -> None:
    translator = TinyGan(num_classes=4, channels=3, size=32, settings=TinySettings())
    with pytest.raises(InputError) as caught:
        run(tmp_path, translator)
    assert [problem.why.partition(",")[0] for problem in caught.value.problems] == [
        "have channels 1",
        "have pixels' edge 16",
        "have classes 3",
    ]


def test_no_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no faces"):
        run(tmp_path, faces=tiny_faces().take([]))


def test_validation_faces_among_the_training_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 are training faces too, for example face-0"):
        run(tmp_path, validation=tiny_faces().take(range(5)))


def test_float16_needs_cuda(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float16 needs a CUDA device"):
        run(tmp_path, precision="float16")


# Fitted translators


def test_a_fitted_translator_is_fitted_once(tmp_path: Path) -> None:
    translator = TinyFit(num_classes=3, channels=1, size=16, settings=TinySettings())
    result = run(tmp_path, translator, validate=lambda judged, step: 0.5)
    assert translator.fits == 1
    faces = tiny_faces()
    means = [faces.images[faces.labels == label].float().mean().item() for label in range(3)]
    assert result.facts["means"] == pytest.approx(means, abs=1e-2)
    assert torch.equal(load_file(result.weights)["means"], translator.means)
    assert (result.steps, result.best_score) == (0, 0.5)
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    assert report["facts"] == result.facts and report["settings"] is None
    assert (tmp_path / "out" / "samples" / "step-000000.png").exists()
    assert log_lines(tmp_path)[0]["facts"] == result.facts


# A real one


@pytest.mark.parametrize("name", ["lssl", "stargan"])
def test_a_method_is_published_whole(tmp_path: Path, name: str) -> None:
    """What `load_translator` reads makes the same pictures as the translator that was trained."""
    from augment.translators import load_translator

    faces = larger(tiny_faces())
    translator = tiny_method(name)
    result = run(tmp_path, translator, faces, validate=lambda judged, step: -float(step), validate_every=2)
    assert result.best_step == 2
    targets = (faces.labels + 1) % 3
    pictures = load_translator(result.weights).translate(faces, targets)
    assert torch.equal(pictures, translator.translate(faces, targets))


def test_a_method_refuses_faces_that_lack_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(CannotTranslateError, match="landmarks"):
        run(tmp_path, tiny_method("lssl"), larger(tiny_faces(landmarks=False)))
    assert not (tmp_path / "scratch").exists()


# Preparation


class Prepared(TinyGan):
    """Keeps the mean picture of the training faces as a buffer, and its standard deviation as an attribute."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("mean_picture", torch.zeros(self.channels, self.size, self.size))
        self.deviation = 0.0
        self.prepared = 0

    def prepare_training(self, faces: Any) -> dict[str, Any]:
        self.prepared += 1
        self.mean_picture.copy_(faces.images.float().mean(0))
        self.deviation = float(faces.images.float().std())
        return {"faces": len(faces)}

    def generator_losses(self, batch: Any) -> dict[str, torch.Tensor]:
        assert self.deviation > 0
        return super().generator_losses(batch) | {"prepared": self.mean_picture.mean() / 255 * self.head.bias.mean()}


def prepared_gan() -> Prepared:
    torch.manual_seed(0)
    return Prepared(num_classes=3, channels=1, size=16, settings=TinySettings())


def test_a_translator_sees_all_training_faces_before_the_first_step_and_before_a_resume(tmp_path: Path) -> None:
    whole = prepared_gan()
    result = run(tmp_path / "whole", whole, steps=6, checkpoint_every=2)
    assert whole.prepared == 1
    assert result.facts == {"faces": 24}
    assert json.loads((tmp_path / "whole" / "out" / "training.json").read_text())["facts"] == {"faces": 24}
    published = load_file(tmp_path / "whole" / "out" / "weights.safetensors")
    torch.testing.assert_close(published["mean_picture"], tiny_faces().images.float().mean(0))

    class Broken(Exception):
        pass

    cut = prepared_gan()

    def breaking(batch: Any) -> dict[str, torch.Tensor]:
        if batch.step == 3:
            raise Broken
        return Prepared.generator_losses(cut, batch)

    cut.generator_losses = breaking  # type: ignore[method-assign]
    with pytest.raises(Broken):
        run(tmp_path / "cut", cut, steps=6, checkpoint_every=2)
    again = prepared_gan()
    assert run(tmp_path / "cut", again, steps=6, checkpoint_every=2).resumed_from == 2
    assert again.prepared == 1
    found = load_file(tmp_path / "cut" / "out" / "weights.safetensors")
    assert all(torch.equal(found[name], value) for name, value in published.items())
