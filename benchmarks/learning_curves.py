"""What a translator's faces are worth to a classifier after so much training: gain and distance against time.

A translator is trained by its recipe on embedded faces (48 px, grey, preset `rare`) with one thread. Whenever its
training has used so much processor time as a mark says, faces of every class are made with the averaged weights of that
step, and a classifier is trained half on them and half on real faces. A row of the table holds the gain in accuracy on
test people over real faces alone (the same seeds), the Frechet distance of the synthetic faces from the real training
faces in the features of a classifier of real faces, and the share that this classifier takes for the wanted class.

    python -m benchmarks.learning_curves lssl stargan flow_matching --marks 60 120
    python -m benchmarks.learning_curves stargan --marks 100 600 3600 --classifier-seeds 3

The recipe's steps are scaled so that the run ends at the last mark: schedules of learning rates and phases belong to
that length, so an earlier mark shows a run under way, and not what a run of that length would give. Recipes were found
on people of seeds from 101 on; the default is another seed.

A curve of hours can be killed at any moment: the same command goes on from its last checkpoint, which lies beside the
table in `unfinished/`, and writes no row again. Give it one method: those before it would be measured once more.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from augment.core.checkpoints import checkpoint_folders
from augment.core.errors import InputError
from augment.core.files import atomic_path, atomic_write_bytes, atomic_write_text
from augment.core.seeding import derive_seed
from augment.faces.tensors import FaceTensors
from augment.training.loop import train_translator
from augment.training.samples import sample_sheet, sheet_faces
from augment.translators import create_translator
from augment.translators.base import CannotTranslateError, FittedTranslator, LearnedTranslator, Translator, UsesParsing
from benchmarks.translator_bench import ROOT, cpu_scale, embedded_faces, parse_overrides, parsing_network, recipe
from benchmarks.translators import step_milliseconds
from classifiers.evaluation import extract_features, predict
from classifiers.models import FaceClassifier
from classifiers.training import ClassifierSettings, train_classifier
from pipeline.parameters.translators import TranslatorEntry
from reports.metrics.fid import feature_moments, frechet_distance

COLUMNS = ("method", "people", "seconds", "step", "gain", "real_accuracy", "frechet_distance", "recognition")


class LastMarkReached(Exception):
    """The training has used its time."""


@dataclass
class Course:
    """What a curve that was broken off needs to go on.

    Attributes:
        marks: Of the whole curve, in processor seconds.
        settings: The recipe, the seed, and the synthetic faces per class of a row.
        steps: Of the whole training: its probe was timed once, and would be another now.
        seconds: Processor seconds of training, by the finished steps at which they were read.
        rows: The steps whose rows were written.
    """

    marks: list[float]
    settings: dict[str, Any]
    steps: int
    seconds: dict[str, float] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)

    def used(self, step: int) -> float:
        """Processor seconds of training up to a checkpoint's step; by the probe's pace where none was looked at."""
        known = max((int(done) for done in self.seconds if int(done) <= step), default=0)
        return self.seconds.get(str(known), 0.0) + (step - known) * self.marks[-1] / self.steps


class Utility:
    """Judges synthetic faces by classifiers that learn from them.

    Args:
        faces: By split.
        settings: Of the classifiers.
        seeds: A classifier for each.
    """

    def __init__(self, faces: Mapping[str, FaceTensors], settings: ClassifierSettings, seeds: Sequence[int]) -> None:
        self.faces = faces
        self.settings = settings
        self.seeds = seeds
        found = [self._train(None, seed) for seed in seeds]
        self.real_accuracy = float(np.mean([accuracy for accuracy, _ in found]))
        self.observer: FaceClassifier = found[0][1]
        self.real = feature_moments(extract_features(self.observer, faces["train"].images))

    def _train(self, synthetic: FaceTensors | None, seed: int) -> tuple[float, FaceClassifier]:
        trained = train_classifier(
            self.settings,
            real=self.faces["train"],
            synthetic=synthetic,
            validation=self.faces["validation"],
            class_balanced=True,
            augmentation="classical",
            seed=derive_seed(seed, "arm", 0),
            progress=False,
        )
        test = self.faces["test"]
        return float((predict(trained.model, test).argmax(axis=1) == test.labels.numpy()).mean()), trained.model

    def measure(self, synthetic: FaceTensors) -> dict[str, float]:
        """Gain and accuracy in percent, Frechet distance and recognition of synthetic faces."""
        features = feature_moments(extract_features(self.observer, synthetic.images))
        seen = predict(self.observer, synthetic).argmax(axis=1) == synthetic.labels.numpy()
        accuracy = np.mean([self._train(synthetic, seed)[0] for seed in self.seeds])
        return {
            "gain": 100 * float(accuracy - self.real_accuracy),
            "real_accuracy": 100 * self.real_accuracy,
            "frechet_distance": frechet_distance(
                features.mean, features.covariance, self.real.mean, self.real.covariance
            ),
            "recognition": float(seen.mean()),
        }


@torch.no_grad()
def made_faces(translator: Translator, train: FaceTensors, per_class: int, seed: int) -> FaceTensors:
    """Faces of every class, `per_class` each, from training faces of other classes, drawn as a synthesis draws them."""
    usable = translator.usable_sources(train)
    preferred = translator.preferred_sources(train.labels, train.class_names)
    random, images, rows = np.random.default_rng(seed), [], []
    for target in range(len(train.class_names)):
        allowed = usable & ((train.labels == target) == translator.keeps_class)
        if preferred is not None and bool((allowed & preferred).any()):
            allowed = allowed & preferred
        pool = torch.nonzero(allowed)[:, 0].numpy()
        if not len(pool):
            raise CannotTranslateError(f"no training face can be a source of {train.class_names[target]}")
        chosen = np.concatenate([random.permutation(pool) for _ in range(-(-per_class // len(pool)))])[:per_class]
        targets = torch.full((per_class,), target)
        generator = torch.Generator().manual_seed(derive_seed(seed, "made", target))
        images.append(translator.translate(train.take(chosen), targets, generator))
        rows += [target] * per_class
    count = len(rows)
    return FaceTensors(
        images=torch.cat(images),
        labels=torch.tensor(rows),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"made-{row}" for row in range(count)),
        subjects=(None,) * count,
        class_names=train.class_names,
    )


def curve(
    name: str,
    entry: TranslatorEntry,
    utility: Utility,
    *,
    marks: Sequence[float],
    attach: Callable[[Translator], None],
    people: int,
    per_class: int,
    seed: int,
    sheets: Path,
    write: Callable[[dict[str, Any]], None],
) -> None:
    """Trains one translator up to the last mark, and writes a row at each."""
    train = utility.faces["train"]
    form = {"num_classes": len(train.class_names), "channels": train.channels, "size": train.size}

    def fresh() -> Translator:
        made = create_translator(entry.method, **form, settings=entry.settings, seed=derive_seed(seed, "translator"))
        attach(made)
        return made

    def row(translator: Translator, seconds: float, step: int) -> None:
        found = utility.measure(made_faces(translator, train, per_class, seed))
        write({"method": name, "people": people, "seconds": seconds, "step": step, **found})
        faces = sheet_faces(translator, utility.faces["validation"], 8)
        atomic_write_bytes(
            sheets / f"{name}-{people}-{seconds:.0f}s.png",
            sample_sheet(translator, faces, torch.Generator().manual_seed(0)),
        )

    translator = fresh()
    if isinstance(translator, FittedTranslator):
        began = time.process_time()
        translator.fit(train)
        row(translator, time.process_time() - began, 0)
        return
    work = sheets / "unfinished" / f"{name}-{people}"
    settings = {"per_class": per_class, "seed": seed, "recipe": entry.model_dump(mode="json")}
    course = _course(work / "course.json", list(marks), settings, lambda: _steps(fresh(), train, entry, marks[-1]))
    # A look at the clock is cheap, and so is a checkpoint: the first mark is to be met within a quarter of itself.
    every = max(1, round(course.steps * min(1 / 40, marks[0] / max(marks[-1], 1e-9) / 4)))
    training = entry.training.model_copy(
        update={"steps": course.steps, "validate_every": every, "sample_every": 10**9, "checkpoint_every": every}
    )
    checkpoints = checkpoint_folders(work / "scratch")
    used_before = course.used(int(checkpoints[-1].name.rpartition("-")[2]) if checkpoints else 0)
    began, away = time.process_time(), 0.0

    def at_mark(current: Translator, step: int) -> float:
        nonlocal away
        used = used_before + time.process_time() - began - away
        stopped = time.process_time()
        passed = sum(mark <= used for mark in marks)
        before = sum(mark <= max((course.seconds[str(done)] for done in course.rows), default=-1.0) for mark in marks)
        # The last step is a mark too, whatever the probe said of its time.
        if (passed > before or step == course.steps) and step not in course.rows:
            row(current, used, step)
            course.rows.append(step)
        course.seconds[str(step)] = used
        atomic_write_text(work / "course.json", json.dumps(asdict(course)))
        away += time.process_time() - stopped
        if passed == len(marks):
            raise LastMarkReached
        return float(step)

    with suppress(LastMarkReached):
        train_translator(
            translator, train, None, training, out=work / "out", scratch=work / "scratch", seed=seed, validate=at_mark
        )
    shutil.rmtree(work)


def _steps(probe: Translator, train: FaceTensors, entry: TranslatorEntry, seconds: float) -> int:
    """Steps that take so many processor seconds, by a probe of a twentieth: phases of a run cost differently."""
    assert isinstance(probe, LearnedTranslator)
    cost = step_milliseconds(probe, train, entry.training, max(20, entry.training.steps // 20)) / 1000
    return max(len(probe.phases()), round(seconds / cost))


def _course(path: Path, marks: list[float], settings: dict[str, Any], steps: Callable[[], int]) -> Course:
    """The course of a curve that was broken off, or a new one.

    Raises:
        InputError: The one that was broken off has other marks or settings.
    """
    if path.is_file():
        course = Course(**json.loads(path.read_text(encoding="utf-8")))
        if (course.marks, course.settings) != (marks, settings):
            what = f"marks {course.marks}" if course.marks != marks else f"the settings {course.settings}"
            raise InputError(f"{path}: a curve with {what} was broken off; go on with these, or delete the folder")
        return course
    course = Course(marks, settings, steps())
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(asdict(course)))
    return course


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, required=True)
@click.option("--marks", multiple=True, type=float, default=(60.0, 120.0), show_default=True, help="Processor seconds.")
@click.option("--people", default=201, show_default=True, help="Seed of the people.")
@click.option("--per-class", default=300, show_default=True, help="Synthetic faces per class.")
@click.option("--seed", default=0, show_default=True, help="Of weights, batches and translation.")
@click.option("--classifier-seeds", default=2, show_default=True, help="Classifiers for each row.")
@click.option("--classifier-steps", type=int, help="Steps of a classifier; by default as at scale cpu.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Of the recipes, such as settings.width=8.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "artifacts/benchmarks/learning_curves.csv",
    help="The table; rows are added.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "artifacts/benchmarks/cache",
    help="Where faces are kept.",
)
def main(
    names: tuple[str, ...],
    marks: tuple[float, ...],
    people: int,
    per_class: int,
    seed: int,
    classifier_seeds: int,
    classifier_steps: int | None,
    changes: tuple[str, ...],
    out: Path,
    cache: Path,
) -> None:
    """Measure the recipes NAMES at marks of processor time."""
    torch.set_num_threads(1)
    try:
        overrides = parse_overrides(changes)
        entries = {name: recipe(name, overrides) for name in names}
        cache.mkdir(parents=True, exist_ok=True)
        faces, key = embedded_faces(cache, {"preset": "rare", "seed": people}, {"kind": "source"})
        classifier = ClassifierSettings.model_validate(
            cpu_scale()["classifier"] | ({} if classifier_steps is None else {"steps": classifier_steps})
        )
        utility = Utility(faces, classifier, range(classifier_seeds))

        def write(row: dict[str, Any]) -> None:
            click.echo(
                json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
            )
            before = pd.read_csv(out).to_dict("records") if out.is_file() else []
            out.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(out) as scratch:
                pd.DataFrame([*before, row], columns=list(COLUMNS)).to_csv(scratch, index=False, float_format="%.5g")

        def attach(translator: Translator) -> None:
            if isinstance(translator, UsesParsing):
                translator.attach_parsing(parsing_network(cache, faces, key))

        for name, entry in entries.items():
            curve(
                name, entry, utility, marks=sorted(marks), attach=attach, people=people, per_class=per_class, seed=seed,
                sheets=out.parent, write=write,
            )  # fmt: skip
    except (InputError, CannotTranslateError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
