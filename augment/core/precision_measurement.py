"""The choice of a precision: `auto` measures which one the machine at hand computes faster.

bfloat16 (8 bits of mantissa instead of 24, the same range; Kalamkar et al., "A Study of BFLOAT16 for Deep Learning
Training", 2019) is two to three times as fast on a CPU with AMX or a recent GPU, and slower than float32 on a CPU that
has no instructions for it. No table of machines says which: a few steps of the very network do.

A choice is made once. It is kept in a cache by machine, device, torch and network, so that a rerun doesn't flip by
noise, and by its caller with the unfinished work, so that a resumed run goes on as it began. Results depend on the
precision: whoever needs the same bytes on several machines sets it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from pydantic import ValidationError

from augment.core.files import atomic_write_text
from augment.core.precision import ComputedPrecision, Precision, PrecisionChoice

Step = Callable[[], None]

CLEARLY_FASTER = 1.15  # times as fast as float32, from which on bfloat16 is taken
_CLOSE = 1.25  # a speed within this factor of the threshold is measured again
_ROUNDS = 4  # at most
# A single step of such a speed ends the measurement: where bfloat16 is emulated, it costs ten of float32.
_HOPELESS = 0.5
_PREPARATION = 2.0  # seconds of a first step that may be spent on compiling kernels


def choose_precision(
    asked: Precision,
    make_step: Callable[[ComputedPrecision], Step],
    *,
    device: torch.device | str,
    network: Mapping[str, Any],
    steps: int = 1,
    cache: Path | None = None,
    kept: Path | None = None,
    clock: Callable[[], float] | None = None,
) -> PrecisionChoice:
    """The precision to compute in.

    Args:
        asked: What the settings say; anything but `auto` is used as it is.
        make_step: Gives a function that makes one step of the network in a precision, on a copy of it: the network
            that will be trained must stay as it is, and so must torch's global random state.
        device: Where it computes.
        network: JSON values that tell this network, its batches and its training step from others'.
        steps: Steps that are timed together, where not every step does the same work.
        cache: A folder that keeps choices over runs; None measures each time.
        kept: A file beside unfinished work that keeps its choice: it is used whatever the machine, as long as the
            network is the same.
        clock: Seconds; by default the process's processor time on a CPU, which other processes hardly disturb, and
            wall time elsewhere.

    Returns:
        The choice.
    """
    if asked != "auto":
        return PrecisionChoice(asked=asked, used=asked)
    device = torch.device(device)
    about = {"network": dict(network), "machine": machine_facts(device)}
    if kept is not None and (known := _read(kept, "network", about)) is not None:
        return known
    if cache is None:
        choice = _measure(make_step, device, steps, clock)
    else:
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        place = Path(cache) / f"{name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        # Folds that begin together must not choose apart: the first measures, the others wait and read.
        with FileLock(place.with_suffix(".lock")):
            found = _read(place, "machine", about)
            choice = _measure(make_step, device, steps, clock) if found is None else found
            if found is None:
                _write(place, about, choice)
    if kept is not None:
        _write(kept, about, choice)
    return choice


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What the speed of a precision depends on beside the network: processor or GPU, threads, version of torch."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "torch": torch.__version__}
    return {
        "device": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _measure(
    make_step: Callable[[ComputedPrecision], Step],
    device: torch.device,
    steps: int,
    clock: Callable[[], float] | None,
) -> PrecisionChoice:
    """Times both by turns; of each the least counts, for whatever disturbs a measurement makes it longer."""
    read = clock or _clock_of(device)
    try:
        exact, coarse = make_step("float32"), make_step("bfloat16")
        # The first step allocates, compiles kernels and chooses algorithms.
        first = [_seconds(step, 1, read) for step in (exact, coarse)]
        speed = first[0] / max(first[1], 1e-9)
        if speed > _HOPELESS or first[1] - first[0] < _PREPARATION:
            single = [_seconds(step, 1, read) for step in (exact, coarse)]
            speed = single[0] / max(single[1], 1e-9)
        if speed > _HOPELESS:
            best = [float("inf"), float("inf")]
            for _ in range(_ROUNDS):
                found = [_seconds(step, steps, read) for step in (exact, coarse)]
                best = [min(pair) for pair in zip(best, found, strict=True)]
                speed = best[0] / max(best[1], 1e-9)
                if not CLEARLY_FASTER / _CLOSE < speed < CLEARLY_FASTER * _CLOSE:
                    break
    except (RuntimeError, ArithmeticError) as error:  # an operation without bfloat16, or a loss that is not finite
        return PrecisionChoice(asked="auto", used="float32", failure=str(error).splitlines()[0][:200])
    used: ComputedPrecision = "bfloat16" if speed >= CLEARLY_FASTER else "float32"
    return PrecisionChoice(asked="auto", used=used, bfloat16_speed=float(f"{speed:.3g}"))


def _seconds(step: Step, count: int, read: Callable[[], float]) -> float:
    began = read()
    for _ in range(count):
        step()
    return read() - began


def _clock_of(device: torch.device) -> Callable[[], float]:
    if device.type == "cpu":
        return time.process_time

    def read() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def _read(place: Path, part: str, about: Mapping[str, Any]) -> PrecisionChoice | None:
    """A choice that was written; None where there is none, it is damaged, or is about something else."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        if content["about"][part] != json.loads(json.dumps(about[part])):
            return None
        return PrecisionChoice.model_validate(content["choice"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _write(place: Path, about: Mapping[str, Any], choice: PrecisionChoice) -> None:
    content = {"about": about, "choice": choice.model_dump(mode="json")}
    atomic_write_text(place, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
