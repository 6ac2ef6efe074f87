"""What an arm's settings give on a run's validation faces, without a look at its test faces.

How much of each batch should be synthetic, and how many faces of each class, depends on the data set. Where a run has
its synthetic faces, arms of `params.yaml` are trained as they are there, or with other settings of the same words:

    python -m benchmarks.arm_tuning real_double_steps appearance_flow appearance_flow:share=0.25 --seed 0 --seed 1
    python -m benchmarks.arm_tuning warp:share=0.25,per_class=500 --root /data/run
    python -m benchmarks.arm_tuning warp:per_class=null,fill_to=1000,share=0.5 --root /data/run

Prints accuracy and balanced accuracy on the validation faces of the first fold, of each seed and their mean, the recall
of each class, and the processor seconds of a training, of one thread. Test faces are not even decoded. Where the
classifier's settings choose its step on validation faces, too (`classifier.select_by`), all arms' figures are a little
high, alike.

Where a translator's faces fill some classes up (`fill_to`), what it leaves in a picture may become the mark of these
classes. So its faces of the other classes, which nobody learned from, are shown to the classifier: how many does it
take for one of the classes that were filled, and how many of the real validation faces of the same classes?
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
import yaml
from pydantic import ValidationError

from augment.core.errors import InputError
from augment.faces.kept import read_kept
from augment.faces.leakage import check_leakage
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from classifiers.arms import COLUMNS, read_synthetic, train_network
from classifiers.evaluation import predict, score_predictions
from classifiers.filling import class_counts
from classifiers.models import FaceClassifier
from classifiers.precision import chosen_precision
from classifiers.settings import CLASSICAL_KINDS, Arm
from pipeline.core.sections import load_sections
from pipeline.core.workspace import Artifacts
from pipeline.stages.classify import ClassifyParameters

FOLD = 0
SHOWN = 200  # faces of each class that was not filled


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


def faces_of_other_classes(
    arm: Arm, folders: list[Path], train: FaceTensors, validation: FaceTensors
) -> tuple[np.ndarray, list[FaceTensors], FaceTensors] | None:
    """What tells whether a translator's traces became the mark of the classes that it filled.

    Returns:
        The labels that were filled, and faces of the others: each translator's, and the real validation faces. None
        where no class or every class is filled by them.
    """
    amounts = np.array(arm.amounts(class_counts(train))).sum(axis=0) if arm.fill_to is not None else np.zeros(0)
    filled = np.flatnonzero(amounts)
    others = [name for label, name in enumerate(train.class_names) if label not in filled]
    if not len(filled) or not others:
        return None
    tables = [read_kept(folder / f"fold-{FOLD}", SHOWN, classes=others, columns=COLUMNS) for folder in folders]
    made = [face_tensors(table, size=train.size, channels=train.channels) for table in tables]
    return filled, made, validation.take(np.flatnonzero(~np.isin(validation.labels.numpy(), filled)))


def share_taken(model: FaceClassifier, faces: list[FaceTensors], labels: np.ndarray) -> float:
    """Which share of the faces is taken for one of these classes."""
    predicted = np.concatenate([predict(model, some).argmax(axis=1) for some in faces])
    return float(np.isin(predicted, labels).mean())


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
        faces, folds = read_faces(artifacts.faces, columns=COLUMNS), read_folds(artifacts.folds)
        tables = fold_tables(faces, folds, FOLD)
        train, validation = (face_tensors(tables[split]) for split in ("train", "validation"))
        if not len(validation):
            raise click.UsageError("the run has no validation faces; change the folds' shares")
        synthetic: dict[str, FaceTensors | None] = {}
        others = {}
        for said, arm in chosen.items():
            folders = [artifacts.selected(translator) for translator in arm.translators]
            name = said.partition(":")[0]
            table = read_synthetic(name, arm, folders, fold=FOLD, train=train)
            check_leakage(faces, folds, fold=FOLD, synthetic=table)
            synthetic[said] = None if table is None else face_tensors(table, size=train.size, channels=train.channels)
            others[said] = faces_of_other_classes(arm, folders, train, validation)
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
        scores, seconds, taken = [], [], []
        for seed in seeds:
            trained = train_network(
                arm,
                settings,
                train=train,
                synthetic=synthetic[said],
                validation=validation,
                fold=FOLD,
                seed=seed,
            )
            predicted = predict(trained.model, validation).argmax(axis=1)
            scores.append(score_predictions(labels, predicted, train.class_names))
            seconds.append(trained.processor_seconds)
            if (shown := others[said]) is not None:
                filled, made, real = shown
                taken.append([share_taken(trained.model, faces, filled) for faces in (made, [real])])
        for name in ("accuracy", "balanced_accuracy"):
            found = [100 * getattr(score, name) for score in scores]
            each = ", ".join(f"{value:.1f}" for value in found)
            click.echo(f"{said}: {name.replace('_', ' ')} {np.mean(found):.1f} % ({each})")
        known = [name for name, recall in scores[0].recall.items() if recall is not None]
        each = ", ".join(f"{name} {100 * np.mean([score.recall[name] for score in scores]):.1f}" for name in known)
        click.echo(f"{said}: recall % {each}")
        if taken:
            of_made, of_real = 100 * np.mean(taken, axis=0)
            shares = f"{of_made:.1f} % of its faces and {of_real:.1f} % of real ones"
            click.echo(f"{said}: of the other classes, {shares} are taken for one that was filled")
        click.echo(f"{said}: {np.mean(seconds):.0f} processor seconds each")


if __name__ == "__main__":
    main()
