"""What an arm's settings give on a run's validation faces, without a look at its test faces.

How much of each batch should be synthetic, and how many faces of each class, depends on the data set. Where a run has
its synthetic faces, arms of `params.yaml` are trained as they are there, or with other settings of the same words:

    python -m benchmarks.arm_tuning real_double_steps appearance_flow appearance_flow:share=0.25 --seed 0 --seed 1
    python -m benchmarks.arm_tuning warp:share=0.25,per_class=500 --root /data/run

Prints accuracy and balanced accuracy on the validation faces of the first fold, of each seed and their mean, and the
processor seconds of a training, of one thread. Test faces are not even decoded. Where the classifier's settings choose
its step on validation faces, too (`classifier.select_by`), all arms' figures are a little high, alike.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import torch
import yaml
from pydantic import ValidationError

from augment.core.errors import InputError
from augment.core.seeding import derive_seed
from augment.faces.kept import read_kept
from augment.faces.leakage import check_leakage
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from classifiers.evaluation import predict, score_predictions
from classifiers.precision import chosen_precision
from classifiers.settings import CLASSICAL_KINDS, Arm
from classifiers.training import train_classifier
from pipeline.core.sections import load_sections
from pipeline.core.workspace import Artifacts
from pipeline.stages.classify import ClassifyParameters

FOLD = 0
_COLUMNS = ("image", "label", "label_name", "face_id", "subject")


def changed_arm(said: str, parameters: ClassifyParameters) -> Arm:
    """The arm that `NAME` or `NAME:key=value,key=value` says.

    Raises:
        InputError: There is no such arm.
        click.UsageError: The settings are none of an arm's, or it trains no network.
    """
    name, _, changes = said.partition(":")
    arm = parameters.arms.arm(name)
    pairs = [pair.partition("=") for pair in changes.split(",")] if changes else []
    values = {key.strip(): yaml.safe_load(value) for key, _, value in pairs}
    try:
        arm = Arm.model_validate({**arm.model_dump(exclude_unset=True), **values})
    except ValidationError as error:
        why = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors())
        raise click.UsageError(f"{said}: {why}") from error
    if arm.kind in CLASSICAL_KINDS:
        raise click.UsageError(f"{said}: kind {arm.kind} trains no network; choose another arm")
    return arm


def synthetic_faces(arm: Arm, artifacts: Artifacts, faces: pa.Table, folds: pa.Table) -> FaceTensors | None:
    """The arm's synthetic faces; None where it has none.

    Raises:
        InputError: They are not there, or too few.
        augment.faces.leakage.LeakageError: One was made from a face of another split.
    """
    if not arm.is_synthetic:
        return None
    tables = []
    for translator, amount in zip(arm.translators, arm.amounts(), strict=True):
        folder = artifacts.selected(translator) / f"fold-{FOLD}"
        table = read_kept(folder, amount, columns=(*_COLUMNS, "source_id", "fold"), only_kept=arm.selected)
        counts = np.bincount(table.column("label").to_numpy(), minlength=1)
        if counts.min() < amount:
            raise click.UsageError(
                f"{folder} has {counts.min()} faces of a class, and {amount} are asked for; lower per_class,"
                " or raise synthesis.per_class and run `dvc repro` again"
            )
        tables.append(table)
    whole = pa.concat_tables(tables)
    check_leakage(faces, folds, fold=FOLD, synthetic=whole)
    return face_tensors(whole)


@click.command(help=__doc__)
@click.argument("arms", nargs=-1, required=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), help="Seeds of the training.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(), help="The run.")
def main(arms: tuple[str, ...], seeds: tuple[int, ...], root: Path) -> None:
    torch.set_num_threads(1)
    artifacts = Artifacts(root)
    try:
        parameters = load_sections(root / "params.yaml", ClassifyParameters)
        chosen = {said: changed_arm(said, parameters) for said in arms}
        faces, folds = read_faces(artifacts.faces, columns=_COLUMNS), read_folds(artifacts.folds)
        tables = fold_tables(faces, folds, FOLD)
        train, validation = (face_tensors(tables[split]) for split in ("train", "validation"))
        if not len(validation):
            raise click.UsageError("the run has no validation faces; change the folds' shares")
        synthetic = {said: synthetic_faces(arm, artifacts, faces, folds) for said, arm in chosen.items()}
    except InputError as error:
        raise click.UsageError(str(error)) from error
    settings, choice = chosen_precision(
        parameters.classifier,
        num_classes=len(train.class_names),
        channels=train.channels,
        size=train.size,
        device="cpu",
        cache=artifacts.precision,
    )
    click.echo(f"{len(train):,} training and {len(validation):,} validation faces, {choice.sentence}")
    labels = validation.labels.numpy()
    for said, arm in chosen.items():
        scores, seconds = [], []
        for seed in seeds:
            trained = train_classifier(
                settings,
                real=None if arm.kind == "synthetic_only" else train,
                synthetic=synthetic[said],
                validation=validation,
                synthetic_share=arm.share,
                class_balanced=arm.balanced(settings),
                augmentation=arm.augmentation,
                steps=arm.steps(settings),
                seed=derive_seed(seed, "arm", FOLD),
            )
            predicted = predict(trained.model, validation).argmax(axis=1)
            scores.append(score_predictions(labels, predicted, train.class_names))
            seconds.append(trained.processor_seconds)
        for name in ("accuracy", "balanced_accuracy"):
            found = [100 * getattr(score, name) for score in scores]
            each = ", ".join(f"{value:.1f}" for value in found)
            click.echo(f"{said}: {name.replace('_', ' ')} {np.mean(found):.1f} % ({each})")
        click.echo(f"{said}: {np.mean(seconds):.0f} processor seconds each")


if __name__ == "__main__":
    main()
