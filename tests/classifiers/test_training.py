from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from striped_faces import NAMES, tensors

import classifiers.training as training
from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors
from classifiers.evaluation import Scores, predict
from classifiers.models import ModelSettings
from classifiers.training import ClassifierDivergedError, ClassifierSettings, train_classifier

pytestmark = pytest.mark.slow

TINY = ClassifierSettings(
    model=ModelSettings(name="resnet18_narrow", stem="half", width=4),
    steps=30,
    batch_size=12,
    learning_rate=1e-2,
    augmentation="flip",
    validate_every=10,
)


def changed(**update: Any) -> ClassifierSettings:
    return ClassifierSettings(**{**TINY.model_dump(), **update})


def train(settings: ClassifierSettings = TINY, **options: Any) -> training.TrainedClassifier:
    defaults: dict[str, Any] = {
        "real": tensors(np.arange(30) % 3, seed=0),
        "validation": tensors(np.arange(15) % 3, seed=1),
        "progress": False,
    }
    return train_classifier(settings, **{**defaults, **options})


def recorded_batches(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    batches: list[torch.Tensor] = []
    augment = training.augment_images

    def record(images: torch.Tensor, *arguments: Any) -> torch.Tensor:
        batches.append(images.clone())
        return augment(images, *arguments)

    monkeypatch.setattr(training, "augment_images", record)
    return batches


def test_it_learns_what_can_be_learned() -> None:
    test = tensors(np.arange(60) % 3, seed=2)
    result = train(changed(steps=60))
    assert (predict(result.model, test).argmax(1) == test.labels.numpy()).mean() > 0.9
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert [row["step"] for row in result.history] == [10, 20, 30, 40, 50, 60]
    assert not result.model.training


PLAIN = ModelSettings(name="plain_cnn", widths=(4, 8), convolutions=(1, 1), dropout=0.5)


@pytest.mark.parametrize(
    "settings",
    [
        TINY,
        changed(optimizer="sgd", schedule="cosine", ema_decay=0.9),
        changed(model=PLAIN, augmentation="classical", ema_decay=0.9, select_by="last"),
        changed(model=PLAIN, augmentation="mixup"),
        changed(model=PLAIN, augmentation="cutmix"),
    ],
)
def test_the_same_seed_gives_the_same_weights(settings: ClassifierSettings) -> None:
    synthetic = tensors(np.arange(60) % 3, seed=3)
    first, second, other = (train(settings, synthetic=synthetic, seed=seed) for seed in (4, 4, 5))
    weights = [result.model.state_dict() for result in (first, second, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    layer = next(name for name in weights[0] if name.startswith("network."))
    assert not torch.equal(weights[0][layer], weights[2][layer])
    assert first.history == second.history


def test_dropout_leaves_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(changed(model=PLAIN, steps=2))
    assert torch.equal(torch.rand(2), expected)


def test_arms_share_first_weights_and_the_order_of_real_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tensors(np.arange(30) % 3, seed=0)
    synthetic = tensors(np.arange(60) % 3, seed=3)
    batches = recorded_batches(monkeypatch)
    made: list[dict[str, torch.Tensor]] = []
    create = training.create_classifier

    def record(*arguments: Any, **settings: Any) -> Any:
        model = create(*arguments, **settings)
        made.append({name: value.clone() for name, value in model.state_dict().items()})
        return model

    monkeypatch.setattr(training, "create_classifier", record)
    train(real=real)
    alone, made_alone = list(batches), made.pop()
    batches.clear()
    train(real=real, synthetic=synthetic, synthetic_share=0.5)
    assert all(torch.equal(made_alone[name], value) for name, value in made.pop().items())
    assert len(alone) == len(batches) == TINY.steps
    assert {len(batch) for batch in alone + batches} == {TINY.batch_size}
    seen_alone = torch.cat(alone)
    seen_beside = torch.cat([batch[:6] for batch in batches])
    assert torch.equal(seen_beside, seen_alone[: len(seen_beside)])
    others = {picture.numpy().tobytes() for picture in synthetic.images}
    assert all(picture.numpy().tobytes() in others for batch in batches for picture in batch[6:])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.01, 1), (0.25, 3), (0.5, 6), (0.99, 11), (1.0, 12)])
def test_share_of_the_batch(monkeypatch: pytest.MonkeyPatch, share: float, expected: int) -> None:
    batches = recorded_batches(monkeypatch)
    synthetic = tensors(np.arange(60) % 3, seed=3)
    train(changed(steps=2), synthetic=synthetic, synthetic_share=share)
    names = {picture.numpy().tobytes() for picture in synthetic.images}
    for batch in batches:
        assert sum(picture.numpy().tobytes() in names for picture in batch) == expected


def test_synthetic_only(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = recorded_batches(monkeypatch)
    synthetic = tensors(np.arange(60) % 3, seed=3)
    train(changed(steps=2), real=None, synthetic=synthetic)
    names = {picture.numpy().tobytes() for picture in synthetic.images}
    assert all(picture.numpy().tobytes() in names for batch in batches for picture in batch)


def test_balance_is_a_setting_that_an_arm_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([0] * 90 + [1] * 5 + [2] * 5)
    real = tensors(labels, seed=0)
    owner = {picture.numpy().tobytes(): int(label) for picture, label in zip(real.images, labels, strict=True)}
    for balanced, rare in ((True, 2 / 3), (False, 0.1)):
        batches = recorded_batches(monkeypatch)
        train(changed(steps=25, class_balanced=not balanced), real=real, class_balanced=balanced)
        drawn = [owner[picture.numpy().tobytes()] for batch in batches for picture in batch]
        assert np.mean(np.array(drawn) > 0) == pytest.approx(rare, abs=0.01)


def _scripted_scores(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    scripted = iter(values)

    def score(*arguments: Any) -> Scores:
        value = next(scripted)
        return Scores(
            count=1,
            accuracy=1 - value,
            balanced_accuracy=value,
            macro_f1=value,
            recall=dict.fromkeys(NAMES),
            confusion=[[0] * 3] * 3,
        )

    monkeypatch.setattr(training, "score_predictions", score)


def test_validation_picks_the_step_and_the_earlier_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    _scripted_scores(monkeypatch, [0.2, 0.7, 0.7])
    assert (result := train()).best_step == 20 and result.validation_score == 0.7
    _scripted_scores(monkeypatch, [0.2, 0.7, 0.7])
    assert train(changed(select_by="accuracy")).best_step == 10


def test_weights_are_those_of_the_best_step(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[dict[str, torch.Tensor]] = []
    look = training.predict

    def record(model: Any, *arguments: Any, **settings: Any) -> np.ndarray:
        taken.append({name: value.clone() for name, value in model.state_dict().items()})
        return look(model, *arguments, **settings)

    monkeypatch.setattr(training, "predict", record)
    _scripted_scores(monkeypatch, [0.2, 0.7, 0.3])
    result = train()
    final = result.model.state_dict()
    assert all(torch.equal(final[name], taken[1][name]) for name in final)
    assert not torch.equal(final["network.conv1.weight"], taken[2]["network.conv1.weight"])


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_last_keeps_the_last_step_whatever_validation_says(monkeypatch: pytest.MonkeyPatch, ema_decay: float) -> None:
    taken: list[dict[str, torch.Tensor]] = []
    look = training.predict

    def record(model: Any, *arguments: Any, **settings: Any) -> np.ndarray:
        taken.append({name: value.clone() for name, value in model.state_dict().items()})
        return look(model, *arguments, **settings)

    monkeypatch.setattr(training, "predict", record)
    _scripted_scores(monkeypatch, [0.9, 0.7, 0.3])
    result = train(changed(select_by="last", ema_decay=ema_decay))
    assert (result.best_step, result.validation_score) == (30, 0.3)
    final = result.model.state_dict()
    assert all(torch.equal(final[name], taken[2][name]) for name in final)
    assert not torch.equal(final["network.conv1.weight"], taken[0]["network.conv1.weight"])


def test_steps_of_a_call_stretch_the_schedule() -> None:
    settings = changed(steps=10, validate_every=5)
    history = train(settings, steps=20).history
    assert [row["step"] for row in history] == [5, 10, 15, 20]
    assert history == train(changed(steps=20, validate_every=5)).history


def test_the_average_is_looked_at_and_the_weights_go_on_without_it() -> None:
    slow, none = train(changed(ema_decay=0.9)), train()
    assert [row["loss"] for row in slow.history] == [row["loss"] for row in none.history]
    layer = "network.conv1.weight"
    assert not torch.equal(slow.model.state_dict()[layer], none.model.state_dict()[layer])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_faces_are_learned_from(kind: str) -> None:
    test = tensors(np.arange(60) % 3, seed=2)
    result = train(changed(steps=60, augmentation=kind, augmentation_settings={"rotation": 0, "translation": 0}))
    assert (predict(result.model, test).argmax(1) == test.labels.numpy()).mean() > 0.8


def test_biases_and_norms_do_not_decay() -> None:
    model = training.create_classifier(PLAIN, num_classes=3, channels=1, seed=0)
    optimizer, _ = training._optimizer(model, changed(weight_decay=0.3))
    decays = {id(values): group["weight_decay"] for group in optimizer.param_groups for values in group["params"]}
    for name, values in model.named_parameters():
        # Of the two stages: convolution, pooling, norm, ReLU each.
        weight = name in ("network.stages.0.weight", "network.stages.4.weight", "network.fc.weight")
        assert decays.pop(id(values)) == (0.3 if weight else 0.0), name
    assert not decays


def test_last_step_is_always_validated() -> None:
    assert [row["step"] for row in train(changed(steps=25)).history] == [10, 20, 25]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_schedules_rise_and_fall_as_they_say(schedule: str) -> None:
    result = train(changed(schedule=schedule, steps=20, validate_every=1, warmup_share=0.25))
    rates = [row["learning_rate"] for row in result.history]
    peak = int(np.argmax(rates))
    assert peak == 5 and rates[peak] == pytest.approx(TINY.learning_rate, rel=0.01)
    assert all(one < two for one, two in pairwise(rates[:6]))
    if schedule == "constant":
        assert rates[5:] == [pytest.approx(TINY.learning_rate)] * 15
    else:
        assert all(one > two for one, two in pairwise(rates[5:])) and rates[-1] < rates[5] / 10


def test_a_rise_of_one_step_is_possible() -> None:
    """0.2 of 4 steps and the one after: torch's own schedule divides by nought here."""
    rates = [row["learning_rate"] for row in train(changed(steps=4, validate_every=1, warmup_share=0.2)).history]
    assert int(np.argmax(rates)) == 1 and rates[0] < rates[3] < rates[2] < rates[1]


def test_label_smoothing_and_moving_average_change_the_run() -> None:
    plain = train().model.state_dict()["network.conv1.weight"]
    for update in ({"label_smoothing": 0.3}, {"ema_decay": 0.5}, {"weight_decay": 0.5}):
        assert not torch.equal(train(changed(**update)).model.state_dict()["network.conv1.weight"], plain)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(ClassifierDivergedError, match=r"not finite at step \d+ of 30; lower classifier.learning_rate"):
        train(changed(optimizer="sgd", learning_rate=1e30, schedule="constant", warmup_share=0))


def other_classes() -> FaceTensors:
    faces = tensors([0, 1, 2], seed=0)
    return FaceTensors(
        faces.images, faces.labels, None, None, faces.face_ids, faces.subjects, ("angry", "happy", "sad")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"real": None}, "training faces: there are none"),
        ({"validation": tensors([], seed=0)}, "validation faces: there are none.*folds.validation_share"),
        ({"synthetic_share": 1.5}, "share: 1.5 is no share"),
        ({"synthetic": other_classes()}, "synthetic faces: have the classes"),
    ],
)
def test_sets_that_cannot_be_trained_on(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(**options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"select_by": "test_accuracy"}, "'accuracy', 'balanced_accuracy' or 'macro_f1'"),
        ({"select_by": "first"}, "'last'"),
        ({"warmup_share": 0}, "one_cycle needs a rise"),
        ({"epochs": 3}, "Extra inputs"),
        ({"model": {"name": "vit"}}, "no known network"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClassifierSettings(**wrong)
