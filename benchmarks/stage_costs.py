"""What stages of the papers' experiments cost on this machine, from a few steps and faces of each, in two amounts.

`s2l flow plan` and `s2l experiments --times` scale such records by the work: the line through two amounts tells what
does not grow, such as reading faces, from what does. Of translators that have one method the first is run: its records
serve all variants. All in one process of one thread, so that wall time is processor time where nothing else runs; there
is no start of Python in it, which DVC's stages have.

python -m benchmarks.stage_costs [EXPERIMENT ...] [--scale cpu] [--out docs/results/stage-costs]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from augment.core.files import atomic_write_text
from augment.core.progress import track
from pipeline.experiments import Wanted
from pipeline.flow.filed_costs import COSTS, costs_of_run
from pipeline.flow.records import CostRecord, this_machine, written
from pipeline.profile import compose_profile
from pipeline.whole_run import run_whole
from reports.experiments.catalogue import find_experiment, read_experiments

ROOT = Path(__file__).parents[1]
AMOUNTS = ((10, 20), (40, 60))  # steps of every training, synthetic faces per class
HEAD = """# What stages cost

Written by `{command}`: each experiment was run at its settings for {amounts} with one seed, and its
stages' times are in [costs.jsonl](costs.jsonl). They say nothing of faces or classifiers, and serve
`s2l flow plan` and `s2l experiments --times` where nothing longer is on record.

- machine: {machine}
- experiments: {experiments}
- stages on record: {number}
"""


def variants(values: Mapping[str, Any]) -> set[str]:
    """Names of the translators whose method an earlier one has."""
    methods: dict[str, str] = {}
    return {name for name, entry in values["translators"].items() if methods.setdefault(entry["method"], name) != name}


def few_words(values: Mapping[str, Any], steps: int, faces: int) -> list[str]:
    """Words of a profile that cut a run down to a few steps and faces, and leave what a step costs as it is."""
    words = [f"synthesis.per_class={faces}", "seeds=[0]", "++report.bootstrap.resamples=200"]
    left_out = variants(values)
    words += [f"~translators.{name}" for name in left_out]
    trainings = {"classifier": values["classifier"], "judge.classifier": values["judge"]["classifier"]}
    if values["parsing"].get("enabled", True):
        trainings["parsing.training"] = values["parsing"]["training"]
    trainings |= {
        f"translators.{name}.training": entry["training"]
        for name, entry in values["translators"].items()
        if "steps" in entry.get("training", {}) and name not in left_out
    }
    for key, training in trainings.items():
        words.append(f"{key}.steps={steps}")
        words += [f"{key}.{name}={steps}" for name in ("validate_every", "sample_every") if training.get(name)]
    for group, arms in values["arms"].items():
        for name, arm in arms.items():
            if left_out & {arm.get("translator"), arm.get("second_translator")}:
                words.append(f"~arms.{group}.{name}")
            elif arm.get("per_class"):
                words.append(f"arms.{group}.{name}.per_class={faces}")
    return words


def measure(name: str, scale: str, workspace: Path) -> list[CostRecord]:
    """Runs an experiment in both amounts, in a folder of its own; the records of its stages."""
    wanted = Wanted(find_experiment(name), scale).overrides
    values = yaml.safe_load(compose_profile(ROOT, wanted))
    found: list[CostRecord] = []
    workspace.mkdir()
    for steps, faces in AMOUNTS:
        run_whole(workspace, ROOT, [*wanted, *few_words(values, steps, faces)], done=("prepare",) if found else ())
        known = {record.model_dump_json() for record in found}  # prepare's, which ran once
        found += [record for record in costs_of_run(workspace) if record.model_dump_json() not in known]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all by default")
    parser.add_argument("--scale", default="cpu", help="of whose settings (default cpu)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "stage-costs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = options.experiments or list(read_experiments())
    found: list[CostRecord] = []
    with tempfile.TemporaryDirectory(prefix="s2l-costs-", ignore_cleanup_errors=True) as folder:
        for name in track(chosen, desc="experiments", unit="experiments"):
            found += measure(name, options.scale, Path(folder) / name)
            atomic_write_text(options.out / COSTS, "".join(f"{written(record)}\n" for record in found))
    named = "".join(f" {name}" for name in options.experiments)
    amounts = " and ".join(f"{steps} steps and {faces} faces per class" for steps, faces in AMOUNTS)
    facts = {
        "command": f"python -m benchmarks.stage_costs{named} --scale {options.scale}",
        "machine": this_machine(),
        "experiments": ", ".join(chosen),
        "number": len(found),
        "amounts": amounts,
    }
    atomic_write_text(options.out / "README.md", HEAD.format(**facts))


if __name__ == "__main__":
    main()
