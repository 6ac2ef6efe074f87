"""What a classifier's settings give, without a look at the faces that a run is tested on.

Of embedded faces each draw is other people: preset `rare` with a seed of its own, whose train faces train and whose
test people score. The seed of the default run is refused. Settings are those of a profile; what is changed is said in
its words:

    python -m benchmarks.classifier_tuning classifier.steps=800 classifier.learning_rate=0.008
    python -m benchmarks.classifier_tuning --arm real --arm warp --curve classifier.steps=1600

With a data set that brings validation faces of its own, those score, and its test faces are not even decoded:

    python -m benchmarks.classifier_tuning dataset=fer2013 dataset.root=/data/fer2013.csv classifier.steps=800
    python -m benchmarks.classifier_tuning experiment=rare dataset.root=/data/fer2013.csv classifier.steps=800

Prints the accuracy of each draw, their mean, and the processor seconds of a training, of one thread; of validation
faces the balanced accuracy, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml

from augment.core.errors import InputError
from augment.faces.splits import FoldSettings
from augment.faces.tensors import FaceTensors, face_tensors
from augment.sources import open_source
from augment.translators import create_translator
from benchmarks.translator_bench import ROOT, embedded_faces, key_of, prepared_tables
from classifiers.evaluation import predict, score_predictions
from classifiers.training import ClassifierSettings, train_classifier
from pipeline.profile import compose_profile


def warped_faces(train: FaceTensors, per_class: int, seed: int) -> FaceTensors:
    """As many faces of each class by `warp`, from random faces of the class that it prefers."""
    translator: Any = create_translator(
        "warp", num_classes=len(train.class_names), channels=train.channels, size=train.size
    )
    translator.fit(train)
    preferred = translator.preferred_sources(train.labels, train.class_names)
    allowed = np.arange(len(train)) if preferred is None else torch.nonzero(preferred)[:, 0].numpy()
    drawn = np.random.default_rng(seed).choice(allowed, per_class * len(train.class_names))
    targets = torch.arange(len(train.class_names)).repeat_interleave(per_class)
    sources = train.take(drawn)
    images = translator.translate(sources, targets, torch.Generator().manual_seed(seed))
    names = tuple(f"warp-{number}" for number in range(len(targets)))
    return FaceTensors(images, targets, None, None, names, sources.subjects, train.class_names)


def print_scores(name: str, found: list[float], seconds: list[float]) -> None:
    each = ", ".join(f"{value:.1f}" for value in found)
    click.echo(f"{name}: {np.mean(found):.1f} % ({each}), {np.mean(seconds):.1f} processor seconds each")


def tuning_faces(cache: Path, dataset: Mapping[str, Any]) -> dict[str, FaceTensors]:
    """Training and validation faces of a data set, prepared once in the cache; test faces are left undecoded."""
    root = Path(dataset["root"]).resolve()
    settings = dict(dataset.get("settings") or {})
    size, channels = dataset["image_size"], dataset["channels"]
    changed = root.stat().st_mtime_ns if root.exists() else 0
    folder = cache / f"faces-{key_of(dataset['source'], str(root), changed, settings, size, channels)}"
    tables = prepared_tables(
        folder,
        lambda: open_source(dataset["source"], root, **settings),
        FoldSettings.model_validate({"kind": "source"}),
        image_size=size,
        channels=channels,
        rare=dataset.get("rare"),
    )
    return {split: face_tensors(tables[split]) for split in ("train", "validation") if len(tables[split])}


@click.command(help=__doc__)
@click.argument("overrides", nargs=-1)
@click.option("--draw", "draws", type=int, multiple=True, default=(101, 102, 103), help="Seeds of the people.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), help="Seeds of the training.")
@click.option("--arm", "arms", type=click.Choice(["real", "warp"]), multiple=True, default=("real",))
@click.option("--per-class", default=300, help="Synthetic faces per class, for warp.")
@click.option("--curve", is_flag=True, help="Print the tuning people's accuracy in the last third of the steps, too.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("artifacts/classifier_tuning"))
def main(
    overrides: tuple[str, ...],
    draws: tuple[int, ...],
    seeds: tuple[int, ...],
    arms: tuple[str, ...],
    per_class: int,
    curve: bool,
    cache: Path,
) -> None:
    torch.set_num_threads(1)
    try:
        values = yaml.safe_load(compose_profile(ROOT, overrides))
    except InputError as error:
        raise click.UsageError(str(error)) from error
    settings = ClassifierSettings.model_validate(values["classifier"])
    embedded = values["dataset"]["source"] == "rig"
    if not embedded and (arms != ("real",) or curve):
        raise click.UsageError("--arm warp and --curve are for embedded faces; leave them out for another data set")
    if embedded and values["dataset"].get("rare"):
        raise click.UsageError("dataset.rare is for another data set; the draws of embedded people are of preset rare")
    if embedded and (tested := values["dataset"].get("settings", {}).get("seed")) in draws:
        raise click.UsageError(f"draw {tested} is the people of the run itself; tune on others")
    if not embedded:
        try:
            own = tuning_faces(cache, values["dataset"])
        except InputError as error:
            raise click.UsageError(str(error)) from error
        found, balanced, seconds = [], [], []
        labels = own["validation"].labels.numpy()
        for seed in seeds:
            trained = train_classifier(settings, real=own["train"], validation=own["validation"], seed=seed)
            scores = score_predictions(
                labels, predict(trained.model, own["validation"]).argmax(axis=1), own["train"].class_names
            )
            found.append(100 * scores.accuracy)
            balanced.append(100 * scores.balanced_accuracy)
            seconds.append(trained.processor_seconds)
        print_scores("real, validation faces", found, seconds)
        print_scores("real, validation faces, balanced accuracy", balanced, seconds)
        return
    for arm in arms:
        found, seconds = [], []
        for draw in draws:
            faces, _ = embedded_faces(cache, {"preset": "rare", "seed": draw}, {"kind": "source"})
            for seed in seeds:
                trained = train_classifier(
                    settings,
                    real=faces["train"],
                    synthetic=warped_faces(faces["train"], per_class, seed) if arm == "warp" else None,
                    # Where the last step is kept they pick nothing, and the curve may be that of the tuning people.
                    validation=faces["test" if curve and settings.select_by == "last" else "validation"],
                    seed=seed,
                )
                right = predict(trained.model, faces["test"]).argmax(axis=1) == faces["test"].labels.numpy()
                found.append(100 * float(right.mean()))
                seconds.append(trained.processor_seconds)
                if curve:
                    points = [row for row in trained.history if 3 * row["step"] >= 2 * settings.steps]
                    shown = ", ".join(f"{row['step']:.0f}: {100 * row['accuracy']:.1f}" for row in points)
                    click.echo(f"  {arm}, draw {draw}, seed {seed}: {shown}")
        print_scores(arm, found, seconds)


if __name__ == "__main__":
    main()
