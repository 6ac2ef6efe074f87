"""Precision `auto`: takes bfloat16 where it is clearly faster, keeps its choice, and disturbs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_translators import tiny_faces, tiny_gan
from torch import nn

from augment.core import precision_measurement as module
from augment.core.checkpoints import checkpoint_folders
from augment.core.errors import InputError
from augment.core.mixed_precision import autocast
from augment.core.precision import ComputedPrecision, PrecisionChoice
from augment.core.precision_measurement import Step, choose_precision
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings


class Machine:
    """A machine whose clock moves by what a step costs there."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.now, self.steps = seconds, 0.0, 0

    def make_step(self, precision: ComputedPrecision) -> Step:
        def step() -> None:
            self.now += self.seconds[precision]
            self.steps += 1

        return step

    def choose(self, **options: object) -> PrecisionChoice:
        given = {"device": "cpu", "network": {"width": 8}, "clock": lambda: self.now, **options}
        return choose_precision("auto", self.make_step, **given)  # type: ignore[arg-type]


FAST, SLOW = {"float32": 3.0, "bfloat16": 1.0}, {"float32": 0.6, "bfloat16": 1.0}


@pytest.mark.parametrize(
    ("bfloat16", "used"), [(0.5, "bfloat16"), (0.85, "bfloat16"), (0.9, "float32"), (1.0, "float32"), (2.0, "float32")]
)
def test_bfloat16_is_taken_where_it_is_clearly_faster(bfloat16: float, used: str) -> None:
    choice = Machine(float32=1.0, bfloat16=bfloat16).choose()
    assert choice.used == used and choice.bfloat16_speed == pytest.approx(1 / bfloat16, rel=0.01)


def test_a_close_result_is_measured_again_and_a_clear_one_is_not() -> None:
    clear, close = Machine(**FAST), Machine(float32=1.0, bfloat16=0.9)
    clear.choose(steps=4), close.choose(steps=4)
    assert clear.steps == 2 * (2 + 4) and close.steps == 2 * (2 + 4 * 4)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [({"float32": 1.0, "bfloat16": 10.0}, 1 + 1), ({"float32": 0.01, "bfloat16": 0.1}, 2 + 2)],
    ids=["long steps", "short steps"],
)
def test_emulated_bfloat16_costs_little(seconds: dict[str, float], steps: int) -> None:
    machine = Machine(**seconds)
    choice = machine.choose(steps=4)
    assert choice.used == "float32" and choice.bfloat16_speed == pytest.approx(0.1) and machine.steps == steps


def test_compiling_kernels_in_the_first_step_is_not_held_against_bfloat16() -> None:
    machine = Machine(**FAST)
    original, first = machine.make_step, []

    def make_step(precision: ComputedPrecision) -> Step:
        step = original(precision)

        def compiled() -> None:
            step()
            if precision == "bfloat16" and not first:
                first.append(precision)
                machine.now += 3.9  # 4.9 s against 3: slower at first, and three times as fast from then on

        return compiled

    machine.make_step = make_step  # type: ignore[method-assign]
    assert machine.choose().used == "bfloat16"


def test_a_disturbed_measurement_does_not_count() -> None:
    """Of each the least time counts: one long step of bfloat16 changes nothing where it is looked at again."""
    machine = Machine(float32=1.2, bfloat16=1.0)
    durations: Iterator[float] = iter([1.0, 1.0, 1.12, *[1.0] * 10])  # the first measurement was disturbed
    original = machine.make_step

    def make_step(precision: ComputedPrecision) -> Step:
        if precision == "float32":
            return original(precision)

        def step() -> None:
            machine.now += next(durations)

        return step

    machine.make_step = make_step  # type: ignore[method-assign]
    assert machine.choose().used == "bfloat16"


def test_what_is_set_is_not_measured() -> None:
    def never(precision: ComputedPrecision) -> Step:
        raise AssertionError("measured")

    for precision in ("float32", "bfloat16", "float16"):
        choice = choose_precision(precision, never, device="cpu", network={})  # type: ignore[arg-type]
        assert choice.used == precision == choice.sentence


def test_the_choice_says_why() -> None:
    assert Machine(float32=0.6, bfloat16=1.0).choose().sentence == "float32 (auto: bfloat16 was 0.6 times as fast)"
    assert Machine(**FAST).choose().sentence == "bfloat16 (auto: bfloat16 was 3 times as fast)"
    # Without the measured speed, which outputs that must be the same again do not hold.
    assert PrecisionChoice(asked="auto", used="bfloat16").sentence == "bfloat16 (auto)"


@pytest.mark.parametrize(
    "error", [RuntimeError("not implemented for 'BFloat16'\nat line 3"), FloatingPointError("inf")]
)
def test_where_bfloat16_fails_float32_is_used(error: Exception) -> None:
    def make_step(precision: ComputedPrecision) -> Step:
        def step() -> None:
            if precision == "bfloat16":
                raise error

        return step

    choice = choose_precision("auto", make_step, device="cpu", network={})
    assert choice.used == "float32" and choice.failure == str(error).splitlines()[0]
    assert choice.failure in choice.sentence


def test_a_rerun_does_not_flip(tmp_path: Path) -> None:
    first = Machine(**FAST).choose(cache=tmp_path)
    noisy = Machine(**SLOW)
    assert noisy.choose(cache=tmp_path) == first and noisy.steps == 0
    # Another network, another number of threads or another version is measured.
    assert Machine(**SLOW).choose(cache=tmp_path, network={"width": 16}).used == "float32"


@pytest.mark.parametrize("key", ["device", "instructions", "threads", "torch"])
def test_another_machine_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    facts = module.machine_facts(torch.device("cpu"))
    assert Machine(**FAST).choose(cache=tmp_path).used == "bfloat16"
    monkeypatch.setattr(module, "machine_facts", lambda device: {**facts, key: "another"})
    assert Machine(**SLOW).choose(cache=tmp_path).used == "float32"
    monkeypatch.undo()
    assert Machine(**SLOW).choose(cache=tmp_path).used == "bfloat16"


def test_unfinished_work_keeps_its_choice_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "precision.json"
    assert Machine(**FAST).choose(kept=kept, cache=tmp_path / "here").used == "bfloat16"
    monkeypatch.setattr(module, "machine_facts", lambda device: {"device": "another"})
    assert Machine(**SLOW).choose(kept=kept, cache=tmp_path / "there").used == "bfloat16"
    assert Machine(**SLOW).choose(kept=kept, network={"width": 16}).used == "float32"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"about": {}}', '{"about": {"machine": {}}, "choice": {}}'])
def test_a_damaged_cache_is_measured_again(tmp_path: Path, text: str) -> None:
    Machine(**FAST).choose(cache=tmp_path)
    (file,) = tmp_path.glob("*.json")
    file.write_text(text, encoding="utf-8")
    assert Machine(**SLOW).choose(cache=tmp_path).used == "float32"
    assert json.loads(file.read_text(encoding="utf-8"))["choice"]["used"] == "float32"


def test_bfloat16_is_computed_on_the_cpu() -> None:
    layer = nn.Linear(4, 4)
    seen = {}
    for precision in ("float32", "bfloat16"):
        with autocast("cpu", precision):  # type: ignore[arg-type]
            seen[precision] = layer(torch.ones(1, 4)).dtype
    assert seen == {"float32": torch.float32, "bfloat16": torch.bfloat16}


# Translators


def settings(precision: str, steps: int = 6) -> TrainingSettings:
    return TrainingSettings.model_validate(
        {"steps": steps, "batch_size": 4, "log_every": 2, "checkpoint_every": 2, "precision": precision}
    )


def train(folder: Path, precision: str, *, steps: int = 6, cache: Path | None = None) -> dict[str, torch.Tensor]:
    done = train_translator(
        tiny_gan(),
        tiny_faces(),
        None,
        settings(precision, steps),
        out=folder / "out",
        scratch=folder / "scratch",
        seed=3,
        precision_cache=cache,
    )
    return load_file(done.weights)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def report(folder: Path) -> dict:
    return json.loads((folder / "out" / "training.json").read_text(encoding="utf-8"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets bfloat16 be so many times as fast, whatever this machine is."""

    def set_speed(speed: float) -> None:
        def measure(make_step: Callable[[ComputedPrecision], Step], *_: object) -> PrecisionChoice:
            for precision in ("float32", "bfloat16"):
                step = make_step(precision)
                step(), step()
            used = "bfloat16" if speed > 1.15 else "float32"
            return PrecisionChoice(asked="auto", used=used, bfloat16_speed=speed)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "_measure", measure)

    return set_speed


@pytest.mark.parametrize(("speed", "used"), [(3.0, "bfloat16"), (0.6, "float32")])
def test_auto_trains_as_if_its_choice_had_been_set(
    tmp_path: Path, clock: Callable[[float], None], speed: float, used: str
) -> None:
    """Measuring changes neither weights nor random states."""
    clock(speed)
    measured, set_so = train(tmp_path / "auto", "auto"), train(tmp_path / "set", used)
    assert same(measured, set_so)
    other = train(tmp_path / "other", {"bfloat16": "float32", "float32": "bfloat16"}[used])
    assert not same(measured, other)  # the control
    found = report(tmp_path / "auto")
    assert found["settings"]["precision"] == used
    assert found["precision"] == {"asked": "auto", "used": used, "bfloat16_speed": speed, "failure": ""}
    assert report(tmp_path / "set")["precision"]["asked"] == used


def test_a_resumed_run_goes_on_in_its_precision(tmp_path: Path, clock: Callable[[float], None]) -> None:
    clock(3.0)
    whole = train(tmp_path / "whole", "auto")
    killed = tmp_path / "killed"
    train(killed, "auto")
    newest = checkpoint_folders(killed / "scratch")[-1]
    for file in sorted(newest.rglob("*"), reverse=True):
        file.unlink()
    newest.rmdir()
    clock(0.6)  # now another machine, with a cache of its own
    resumed = train(killed, "auto", cache=tmp_path / "cache")
    assert same(resumed, whole) and report(killed)["precision"]["used"] == "bfloat16"


def test_a_checkpoint_of_the_other_precision_is_refused(tmp_path: Path, clock: Callable[[float], None]) -> None:
    clock(3.0)
    train(tmp_path, "auto")
    with pytest.raises(InputError, match=r'training\.precision: "bfloat16" in the checkpoint, "float32" now'):
        train(tmp_path, "float32")
    train(tmp_path, "bfloat16")  # set to what was chosen, it goes on


def test_a_real_measurement_of_a_translator_ends_in_a_choice(tmp_path: Path) -> None:
    train(tmp_path, "auto", steps=2, cache=tmp_path / "cache")
    found = report(tmp_path)["precision"]
    assert found["asked"] == "auto" and found["used"] in ("float32", "bfloat16") and found["bfloat16_speed"] > 0
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1
