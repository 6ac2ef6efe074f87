"""Arms: ways to make a classifier's training set, run on the same folds and seeds, with as many steps each."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict

from augment.core.code_hash import hash_code
from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path, atomic_write_text
from augment.core.precision import PrecisionChoice
from augment.core.processes import run_in_processes, threads_here
from augment.core.progress import track
from augment.core.ranks import current_ranks, run_on_ranks
from augment.core.seals import is_sealed, seal_folder
from augment.core.seeding import derive_seed
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.faces.face_hash import hash_faces
from augment.faces.kept import read_kept
from augment.faces.leakage import check_leakage
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import class_names, read_faces
from augment.faces.tensors import FaceTensors, face_tensors, has_valid_landmarks
from classifiers.evaluation import (
    Scores,
    predict,
    predictions_table,
    read_predictions,
    score_predictions,
    write_predictions,
)
from classifiers.filling import class_counts, fill_classes
from classifiers.followed import count_steps, followed
from classifiers.models import digest_of_weights, save_classifier
from classifiers.precision import chosen_precision
from classifiers.settings import CLASSICAL_KINDS, Arm, ClassicalKind
from classifiers.training import ClassifierSettings, TrainedClassifier, train_classifier

if TYPE_CHECKING:
    from classifiers.baselines import BaselineSettings


COLUMNS = ("image", "label", "label_name", "face_id", "subject")  # of real faces, which an arm reads


class ArmCell(BaseModel):
    """One fold and seed of an arm.

    Attributes:
        fold: The fold.
        seed: The seed, as the user gave it.
        best_step: That was kept, the last one or the one that validation picked; None for classical rows.
        validation_score: There, by the settings' `select_by` (balanced accuracy where that is last, and for classical
            rows).
        test: Scores of the one look at the test faces.
        real_faces: Real training faces.
        synthetic_faces: Synthetic training faces.
        seconds: Wall time of training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int
    seed: int
    best_step: int | None
    validation_score: float
    test: Scores
    real_faces: int
    synthetic_faces: int
    seconds: float


class ArmReport(BaseModel):
    """What an arm did.

    Attributes:
        name: The arm's name.
        arm: Its settings.
        steps: Optimizer steps of each cell; None for classical rows.
        cells: Every fold and seed, in order.
        resumed: How many cells lay finished in scratch.
        precision: In which the networks were trained, and why; None for classical rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arm: Arm
    steps: int | None
    cells: tuple[ArmCell, ...]
    resumed: int
    precision: PrecisionChoice | None = None


class ArmRefusedError(InputError):
    """These faces lack what an arm of this kind works on; the other arms can run."""


@dataclass(frozen=True)
class _FoldFaces:
    train: FaceTensors
    synthetic: FaceTensors | None
    validation: FaceTensors
    test: FaceTensors


def run_arm(
    name: str,
    arm: Arm,
    *,
    faces_dir: Path,  # the dataset of real faces
    folds_path: Path,  # the table of folds
    synthetic_dirs: Sequence[Path] = (),  # one for each of the arm's translators: fold-<k>/data/*.parquet
    classifier_settings: ClassifierSettings,  # shared by all arms
    baseline_settings: BaselineSettings | None = None,  # for kinds without a network
    seeds: Sequence[int],  # shared by all arms
    out: Path,  # predictions on test faces, Parquet
    history_out: Path | None = None,  # training curves, JSON lines
    weights_out: Path | None = None,  # fold-<k>/seed-<s>.safetensors
    scratch: Path,  # finished cells, for a run that was killed
    device: torch.device | str = "cpu",
    processes: int = 1,  # cells that are trained at once
    threads: int = 1,  # of each process, where there are several
    gpus: Sequence[str] = (),  # which the processes take by turns
    ranks: int = 1,  # processes that share the training of a cell's network
    progress: bool = True,
    precision_cache: Path | None = None,  # keeps what precision `auto` chose, over arms and runs
    cleared: Path | None = None,  # keeps which synthetic pictures look like no held-out one, over stages and runs
) -> ArmReport:
    """Trains and tests an arm on every fold and seed.

    For each fold and seed all arms start from the same weights and see the same real faces in the same order. The
    last step is kept, or the one that the fold's validation faces pick (`ClassifierSettings.select_by`); its test
    faces are looked at once, by the network of that step. A cell that
    is finished is kept in `scratch` with what it depends on (settings, faces, code), and one in training from time to
    time (`augment.core.training_checkpoints`), so that a run that was killed goes on where it was, to the same result.

    Args:
        name: The arm's name, a column of the predictions.
        arm: How its training set is made.
        faces_dir: Dataset of real faces.
        folds_path: Table of folds.
        synthetic_dirs: The folders of the arm's translators, in their order, for synthetic kinds.
        classifier_settings: How the classifier is trained.
        baseline_settings: How classical rows are trained; None: with classes weighted as the networks' batches draw
            them, and by the validation score that this goes with.
        seeds: One cell a fold and seed.
        out: Where the predictions go.
        history_out: Where the training curves go.
        weights_out: Folder for the networks.
        scratch: Folder for finished cells and checkpoints, this arm's own.
        device: Where to train.
        processes: How many cells are trained at once; no result depends on it (`augment.core.processes`).
        threads: Of each process where there are several; results depend on it in the last bits, and on with them.
        gpus: Which the processes take by turns (`augment.core.processes`).
        ranks: Processes that share each cell's training (`augment.core.ranks`); with several, cells run one after
            another. Rows without a network are made in one process.
        progress: Whether to show bars on stderr.
        precision_cache: A folder that keeps the choices of precision `auto`, so that all arms train in the same
            (`augment.core.precision_measurement`).
        cleared: A folder that keeps which synthetic pictures look like no held-out one, so that nobody compares them
            again (`augment.faces.cleared_pictures`).

    Returns:
        What was done, with the scores of every cell.

    Raises:
        ArmRefusedError: The arm is `landmark_lda`, and no faces or too few have landmarks, or it fills classes up that
            all have as many faces.
        InputError: Files are missing, or there are fewer synthetic faces than the arm asks for.
        augment.faces.leakage.LeakageError: Something of a validation or test face would reach training.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(Problem("seeds", f"{list(seeds)} are no distinct seeds", "list each seed once"))
    _faces_of_fold.cache_clear()  # of an arm that was broken off in this process
    synthetic_dirs = tuple(Path(directory) for directory in synthetic_dirs)
    if len(synthetic_dirs) != len(arm.translators):
        why = f"needs the folders of the synthetic faces of {len(arm.translators)} translators"
        raise InputError(Problem(f"arm {name}", why, "give synthetic_dirs"))
    faces = read_faces(faces_dir, columns=_columns(arm))
    folds = read_folds(folds_path)
    numbers = sorted(set(folds.column("fold").to_pylist()))
    if arm.kind in CLASSICAL_KINDS and baseline_settings is None:
        baseline_settings = _as_the_networks(arm, classifier_settings)
    choice: PrecisionChoice | None = None
    found: dict[tuple[int, int], ArmCell] = {}
    missing: list[dict[str, Any]] = []
    shared = ranks > 1 and arm.kind not in CLASSICAL_KINDS
    for fold in numbers:
        data = _fold_faces(name, arm, faces, folds, fold, synthetic_dirs, cleared=cleared)
        if choice is None and arm.kind not in CLASSICAL_KINDS:
            classifier_settings, choice = chosen_precision(
                classifier_settings,
                num_classes=len(data.train.class_names),
                channels=data.train.channels,
                size=data.train.size,
                device=device,
                cache=precision_cache,
            )
        settings = baseline_settings if arm.kind in CLASSICAL_KINDS else classifier_settings
        about = _fingerprint(name, arm, settings, data, device, weights_out is not None)
        about["threads"] = threads if processes > 1 or shared else torch.get_num_threads()
        if shared:
            about["ranks"] = ranks
        for seed in seeds:
            place = scratch / f"fold-{fold}-seed-{seed}"
            cell = _finished(place, {**about, "seed": seed})
            if cell is not None:
                found[fold, seed] = cell
            else:
                missing.append({"fold": fold, "seed": seed, "place": place, "about": {**about, "seed": seed}})
    common = {
        "name": name,
        "arm": arm,
        "faces_dir": Path(faces_dir),
        "folds_path": Path(folds_path),
        "synthetic_dirs": synthetic_dirs,
        "settings": classifier_settings,
        "baseline_settings": baseline_settings,
        "keep_weights": weights_out is not None,
        "device": str(device),
    }
    resumed = len(found)
    alone = processes == 1 or len(missing) <= 1 or shared
    calls = [{**common, **call, "progress": progress and alone} for call in missing]
    # One training shows its own steps; of several at once the parent shows them together, for they take long.
    steps = None if alone else arm.steps(classifier_settings)
    each, unit = (1, "cells") if steps is None else (steps, "steps")
    with (
        # The one cell that is missing is trained here, and is to come out as the others did.
        threads_here(threads) if processes > 1 and len(missing) == 1 and not shared else nullcontext(),
        track(
            total=each * len(numbers) * len(seeds), initial=each * resumed, desc=name, unit=unit, disable=not progress
        ) as bar,
        nullcontext() if steps is None else followed(bar.update, len(calls)) as counts,
    ):
        if counts is not None:
            calls = [{**call, "counts": (counts, number)} for number, call in enumerate(calls)]
        for cell in _cells(calls, processes=processes, threads=threads, gpus=gpus, ranks=ranks if shared else 1):
            found[cell.fold, cell.seed] = cell
            bar.set_postfix(accuracy=f"{cell.test.accuracy:.3f}")
            if steps is None:
                bar.update()
    _faces_of_fold.cache_clear()
    cells = [found[fold, seed] for fold in numbers for seed in seeds]
    places = [scratch / f"fold-{cell.fold}-seed-{cell.seed}" for cell in cells]
    tables = [read_predictions(place / "predictions.parquet")[0] for place in places]
    curves = [(place / "history.jsonl").read_text(encoding="utf-8") for place in places]
    if weights_out is not None and arm.kind not in CLASSICAL_KINDS:
        for cell in cells:
            target = weights_out / f"fold-{cell.fold}" / f"seed-{cell.seed}.safetensors"
            with atomic_path(target) as part:
                shutil.copyfile(scratch / f"fold-{cell.fold}-seed-{cell.seed}" / "weights.safetensors", part)
    if history_out is not None:
        atomic_write_text(history_out, "".join(curves))
    write_predictions(pa.concat_tables(tables), out)
    return ArmReport(
        name=name,
        arm=arm,
        steps=arm.steps(classifier_settings),
        cells=tuple(cells),
        resumed=resumed,
        precision=choice,
    )


def _as_the_networks(arm: Arm, settings: ClassifierSettings) -> BaselineSettings:
    """Classical rows that learn the classes in the shares in which the networks learn them."""
    from classifiers.baselines import BaselineSettings

    balanced = arm.balanced(settings)
    return BaselineSettings(class_balanced=balanced, select_by="balanced_accuracy" if balanced else "accuracy")


def _columns(arm: Arm) -> tuple[str, ...]:
    return (*COLUMNS, "landmarks") if arm.kind == "landmark_lda" else COLUMNS


def read_synthetic(
    name: str, arm: Arm, directories: Sequence[Path], *, fold: int, train: FaceTensors
) -> pa.Table | None:
    """Reads an arm's synthetic faces of a fold: the first of each class by each of its translators.

    Translators take the fold's faces as sources in one order. Two therefore take turns, one every other face, so that
    the arm meets as many people as an arm of one.

    Args:
        name: The arm's name, for errors.
        arm: Its settings.
        directories: The folders of its translators, in their order.
        fold: The fold.
        train: The fold's real training faces, whose classes are filled up where the arm does that.

    Returns:
        The rows, with `source_id` and `fold`; None for an arm without synthetic faces.

    Raises:
        ArmRefusedError: The arm fills classes up, and none has fewer faces.
        InputError: Files are missing, the classes are others, or there are fewer faces than the arm asks for.
    """
    real = class_counts(train)
    _check_something_to_fill(name, arm, real, fold)
    if not arm.is_synthetic:
        return None
    columns = (*COLUMNS, "source_id", "fold")
    tables = []
    by_translator = zip(arm.translators, directories, arm.amounts(real), strict=True)
    for place, (translator, directory, amounts) in enumerate(by_translator):
        wanted = dict(zip(train.class_names, amounts, strict=True))
        table = _read_turns(directory / f"fold-{fold}", wanted, columns, arm, first=place)
        _check_enough(name, arm, translator, amounts, table, train, fold)
        tables.append(table)
    return pa.concat_tables(tables)


def _read_turns(directory: Path, wanted: Mapping[str, int], columns: Sequence[str], arm: Arm, first: int) -> pa.Table:
    """So many faces of each class: those of a translator's own turn first, others only where these are too few."""
    count, missing, parts = len(arm.translators), dict(wanted), []
    for number in range(count):
        turn = ((first + number) % count, count)
        part = read_kept(directory, missing, columns=columns, only_kept=arm.selected, turn=turn)
        found = Counter(part.column("label_name").to_pylist())
        missing = {name: amount - found[name] for name, amount in missing.items()}
        parts.append(part)
        if not any(missing.values()):
            break
    return pa.concat_tables(parts)


def train_network(
    arm: Arm,
    settings: ClassifierSettings,
    *,
    train: FaceTensors,
    synthetic: FaceTensors | None,
    validation: FaceTensors,
    fold: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: bool = True,
    on_step: Callable[[int], None] | None = None,
    checkpoints: TrainingCheckpoints | None = None,
) -> TrainedClassifier:
    """Trains an arm's network on one fold.

    Args:
        arm: Its settings; of a kind with a network.
        settings: Of the classifier, with the precision to compute in (`classifiers.precision`).
        train: Real training faces.
        synthetic: Of `read_synthetic`; None for an arm without synthetic faces.
        validation: The fold's validation faces.
        fold: The fold.
        seed: As the user gave it; with the fold it decides the start and the order of real faces, for all arms alike.
        device: Where to train.
        progress: Whether to show a bar on stderr.
        on_step: Called with the number of steps that are done, after each.
        checkpoints: Where the training is kept, to go on if it is killed; None: nowhere.

    Returns:
        The network of the step that is kept, and its course.
    """
    if arm.fill_to is not None:
        train, synthetic = fill_classes(train, synthetic, arm.fill_to), None
    return train_classifier(
        settings,
        real=None if arm.kind == "synthetic_only" else train,
        synthetic=synthetic,
        validation=validation,
        synthetic_share=arm.share,
        class_balanced=arm.balanced(settings),
        augmentation=arm.augmentation,
        steps=arm.steps(settings),
        seed=_cell_seed(seed, fold),
        device=device,
        progress=progress,
        on_step=on_step,
        checkpoints=checkpoints,
    )


def _cell_seed(seed: int, fold: int) -> int:
    return derive_seed(seed, "arm", fold)


def _fold_faces(
    name: str,
    arm: Arm,
    faces: pa.Table,
    folds: pa.Table,
    fold: int,
    synthetic_dirs: tuple[Path, ...],
    *,
    guard: bool = True,
    cleared: Path | None = None,
) -> _FoldFaces:
    splits = fold_tables(faces, folds, fold)
    train = face_tensors(splits["train"])
    synthetic_table = read_synthetic(name, arm, synthetic_dirs, fold=fold, train=train)
    if guard:
        # Here, where they are trained on: what lies on disk may have changed since it was assessed.
        check_leakage(faces, folds, fold=fold, synthetic=synthetic_table, pictures="synthetic", cleared=cleared)
    shape = {"size": train.size, "channels": train.channels} if len(train) else {}
    validation, test = (face_tensors(splits[split], **shape) for split in ("validation", "test"))
    for split, found in (("train", train), ("validation", validation), ("test", test)):
        if not len(found):
            raise InputError(Problem(f"fold {fold}", f"has no {split} faces", "change the folds' shares"))
        if arm.kind == "landmark_lda" and (found.landmarks is None or not has_valid_landmarks(found.landmarks).any()):
            why = f"needs landmarks, and no {split} face of fold {fold} has any"
            fix = "have them detected (`s2l profile landmarks=dlib`), or leave the arm out"
            raise ArmRefusedError(Problem(f"arms.real.{name}", why, fix))
    if arm.kind == "landmark_lda":
        from classifiers.landmark_baseline import why_not_learned

        if too_few := why_not_learned(train):
            fix = "have landmarks of more faces detected, or leave the arm out"
            raise ArmRefusedError(Problem(f"arms.real.{name}", f"training faces of fold {fold} {too_few}", fix))
    synthetic = None
    if synthetic_table is not None:
        synthetic = face_tensors(synthetic_table, size=train.size, channels=train.channels)
    return _FoldFaces(train=train, synthetic=synthetic, validation=validation, test=test)


def _check_something_to_fill(name: str, arm: Arm, real: Sequence[int], fold: int) -> None:
    """Refuses an arm that would be one of real faces over again."""
    if arm.fill_to is not None and min(real) >= arm.fill_to:
        has = f"({min(real):,} to {max(real):,})"
        why = f"no class of fold {fold} has fewer than {arm.fill_to:,} real training faces {has}"
        fix = f"raise it above {min(real):,}, or leave the arm out"
        raise ArmRefusedError(Problem(f"arms.{arm.group}.{name}.fill_to", why, fix))


def _check_enough(
    name: str,
    arm: Arm,
    translator: str,
    amounts: Sequence[int],
    synthetic: pa.Table,
    train: FaceTensors,
    fold: int,
) -> None:
    """Refuses an arm that would silently train on fewer faces of a translator than it says."""
    path, names = f"arms.{arm.group}.{name}", train.class_names
    found = class_names(synthetic.schema)
    if found != names:
        why = f"the faces of {translator} have the classes {found}, the real ones {names}"
        raise InputError(Problem(f"{path}.translator", why, "synthesize again"))
    counts = np.bincount(synthetic.column("label").to_numpy(), minlength=len(names)).tolist()
    kept = "kept " if arm.selected else ""
    short = [label for label, count in enumerate(counts) if count < amounts[label]]
    if not short:
        return
    if arm.fill_to is None:
        key, least = "per_class", 1
        asked = f"{amounts[0]} faces of each class by {translator}"
        enough = min(counts) * len(arm.translators)
    else:
        real = class_counts(train)
        key, least = "fill_to", min(real) + 1  # up to fewer, nothing is filled
        asked = f"more faces by {translator}"
        enough = min(arm.most_to_fill(real[label], counts[label]) for label in short)
    fix = f"lower {path}.{key} to {enough}" if enough >= least else f"leave out {path}"
    loosen = ", loosen the selection (if it is on), or set selected to false" if arm.selected else ""
    raise InputError(
        [
            Problem(
                f"fold {fold}, {names[label]}",
                f"{counts[label]} {kept}synthetic faces by {translator}"
                + ("" if arm.fill_to is None else f" of {amounts[label]:,} asked for"),
            )
            for label in short
        ],
        f"{path}.{key} asks for {asked}, and there are fewer; {fix}, raise synthesis.per_class "
        f"(where it is set, synthesis.per_class_of.{translator}){loosen}:",
    )


@lru_cache(maxsize=1)
def _faces_of_fold(
    name: str, arm: Arm, faces_dir: Path, folds_path: Path, synthetic_dirs: tuple[Path, ...], fold: int
) -> _FoldFaces:
    """A fold's faces, read again by the process that trains on them; kept for the fold's other seeds."""
    faces = read_faces(faces_dir, columns=_columns(arm))
    return _fold_faces(name, arm, faces, read_folds(folds_path), fold, synthetic_dirs, guard=False)


def _cells(
    calls: Sequence[Mapping[str, Any]], *, processes: int, threads: int, gpus: Sequence[str], ranks: int
) -> Iterator[ArmCell]:
    """Makes cells, and yields them as they are finished."""
    if ranks > 1:
        made: Iterable[ArmCell | None] = (
            run_on_ranks(_make_cell, call, count=ranks, threads=threads) for call in calls
        )
    else:
        made = (
            cell for _, cell in run_in_processes(_make_cell, calls, processes=processes, threads=threads, gpus=gpus)
        )
    for cell in made:
        assert cell is not None  # the first rank's
        yield cell


def _make_cell(
    *,
    name: str,
    arm: Arm,
    faces_dir: Path,
    folds_path: Path,
    synthetic_dirs: tuple[Path, ...],
    fold: int,
    about: dict[str, Any],
    **options: Any,
) -> ArmCell | None:
    """Makes a cell; of ranks that share it, the first one writes it and the others give None."""
    data = _faces_of_fold(name, arm, faces_dir, folds_path, synthetic_dirs, fold)
    hashes = _hashes(data)
    if any(about[split] != value for split, value in hashes.items()):
        why = "the faces are not those that the leakage guard looked at: files changed while the arm ran"
        raise InputError(Problem(f"arm {name}, fold {fold}", why, "run the stage again"))
    return _run_cell(name, arm, data, fold=fold, about=about, **options)


def _run_cell(
    name: str,
    arm: Arm,
    data: _FoldFaces,
    *,
    settings: ClassifierSettings,
    baseline_settings: BaselineSettings | None,
    fold: int,
    seed: int,
    place: Path,
    about: dict[str, Any],
    keep_weights: bool,
    device: torch.device | str,
    progress: bool,
    counts: tuple[Path, int] | None = None,
) -> ArmCell | None:
    test_labels = data.test.labels.numpy()
    history: list[dict[str, float]] = []
    best_step: int | None = None
    checkpoints = TrainingCheckpoints(place.with_name(f"{place.name}-training"), about)
    if arm.kind in CLASSICAL_KINDS:
        started = time.perf_counter()
        probabilities, validation_score = _run_classical(arm.kind, data, baseline_settings, _cell_seed(seed, fold))
        seconds = time.perf_counter() - started
    else:
        trained = train_network(
            arm,
            settings,
            train=data.train,
            synthetic=data.synthetic,
            validation=data.validation,
            fold=fold,
            seed=seed,
            device=device,
            progress=progress,
            on_step=None if counts is None else count_steps(*counts),
            checkpoints=checkpoints,
        )
        if not current_ranks().first:
            return None
        history, best_step, validation_score = trained.history, trained.best_step, trained.validation_score
        seconds = trained.seconds
        probabilities = predict(trained.model, data.test)
        if keep_weights:
            save_classifier(
                trained.model,
                place / "weights.safetensors",
                class_names=data.train.class_names,
                size=data.train.size,
            )
    table = predictions_table(
        arm=name,
        fold=fold,
        seed=seed,
        split="test",
        face_ids=data.test.face_ids,
        subjects=data.test.subjects,
        labels=test_labels,
        probabilities=probabilities,
        class_names=data.test.class_names,
    )
    cell = ArmCell(
        fold=fold,
        seed=seed,
        best_step=best_step,
        validation_score=validation_score,
        test=score_predictions(test_labels, probabilities.argmax(axis=1), data.test.class_names),
        real_faces=0 if arm.kind == "synthetic_only" else len(data.train),
        synthetic_faces=0 if data.synthetic is None else len(data.synthetic),
        seconds=seconds,
    )
    write_predictions(table, place / "predictions.parquet")
    atomic_write_text(
        place / "history.jsonl",
        "".join(json.dumps({"arm": name, "fold": fold, "seed": seed, **row}) + "\n" for row in history),
    )
    # Last, as it is what says that the cell is finished.
    record = {"about": about, "cell": cell.model_dump(mode="json")}
    atomic_write_text(place / "cell.json", json.dumps(record, indent=1))
    seal_folder(place)
    checkpoints.forget()
    return cell


def _run_classical(
    kind: ClassicalKind, data: _FoldFaces, settings: BaselineSettings | None, seed: int
) -> tuple[np.ndarray, float]:
    if kind == "landmark_lda":
        from classifiers.landmark_baseline import train_landmark_lda

        balanced = settings is None or settings.class_balanced
        analysis = train_landmark_lda(data.train, data.validation, class_balanced=balanced)
        return analysis.probabilities(data.test), analysis.validation_score
    from classifiers.baselines import train_baseline

    baseline = train_baseline(kind, data.train, data.validation, settings, seed=seed)
    return baseline.softmaxed_scores(data.test), baseline.validation_score


def _finished(place: Path, about: dict[str, Any]) -> ArmCell | None:
    """The cell that lies in scratch, if it is whole and was made from the same things."""
    if not is_sealed(place):
        return None
    try:
        record = json.loads((place / "cell.json").read_text(encoding="utf-8"))
        cell = ArmCell(**record["cell"])
        if record["about"] != json.loads(json.dumps(about)):
            return None
        read_predictions(place / "predictions.parquet")
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
    whole = (place / "history.jsonl").exists() and (not about["weights"] or (place / "weights.safetensors").exists())
    return cell if whole else None


def _fingerprint(
    name: str, arm: Arm, settings: BaseModel | None, data: _FoldFaces, device: torch.device | str, weights: bool
) -> dict[str, Any]:
    """All that a cell's result depends on, but for its seed."""
    return {
        "name": name,
        "arm": arm.model_dump(mode="json"),
        "settings": None if settings is None else settings.model_dump(mode="json"),
        "weights": weights and arm.kind not in CLASSICAL_KINDS,
        "device": torch.device(device).type,
        "torch": torch.__version__,
        "start": digest_of_weights(settings.model) if isinstance(settings, ClassifierSettings) else None,
        "code": hash_code(["classifiers.arms"], follow=["augment"]),
        **_hashes(data),
    }


def _hashes(data: _FoldFaces) -> dict[str, str | None]:
    return {split: hash_faces(getattr(data, split)) for split in ("train", "synthetic", "validation", "test")}
