"""The judge: a classifier trained on a fold's real training faces only.

It gives synthetic faces their confidence, says how many translated test faces are recognised, and lends its features
to the Frechet classifier distance. It has never seen a synthetic face, nor any of a validation or test split but for
the choice of its step (validation).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from augment.core.code_hash import hash_code
from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path, atomic_write_text
from augment.core.precision import PrecisionChoice
from augment.core.processes import run_in_processes
from augment.core.progress import track
from augment.core.seals import is_sealed, seal_folder
from augment.core.seeding import derive_seed
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.faces.face_hash import hash_faces
from augment.faces.leakage import check_leakage
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from classifiers.evaluation import Scores, extract_features, predict, score_predictions
from classifiers.followed import count_steps, followed
from classifiers.models import FaceClassifier, digest_of_weights, load_classifier, save_classifier
from classifiers.precision import chosen_precision
from classifiers.pretraining import PretrainedClassifier, hold_out
from classifiers.training import ClassifierDivergedError, ClassifierSettings, TrainedClassifier, train_classifier

Report = TypeVar("Report", bound=BaseModel)


class PretrainedJudge(BaseModel):
    """What all folds' judges learned before, from another data set.

    Attributes:
        title: Which data set.
        steps: Optimizer steps.
        class_names: Its classes.
        training_faces: Faces that it learned from.
        held_out: Scores on people, or faces, that it did not learn from.
        seconds: Wall time of training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    steps: int
    class_names: tuple[str, ...]
    training_faces: int
    held_out: Scores
    seconds: float


@dataclass(frozen=True)
class Pretraining:
    """Another data set that the judges learn from first.

    Attributes:
        faces_dir: Its faces, in the run's size and channels.
        steps: Optimizer steps; the schedule is the judge's own, stretched to them. The last step is kept.
        title: What to call it.
        left_out: Faces that are not learned from, as their pictures are the run's own.
    """

    faces_dir: Path
    steps: int
    title: str
    left_out: frozenset[str] = frozenset()


class JudgeFold(BaseModel):
    """What a fold's judge is.

    Attributes:
        fold: The fold.
        seed: The seed, as the user gave it.
        settings: How it was trained.
        training_faces: Real faces that it learned from.
        best_step: That validation picked.
        validation: Its scores on the fold's validation faces, at that step.
        seconds: Wall time of training.
        precision: In which it was trained, and why.
        pretraining: What it learned before, from another data set; None: nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int
    seed: int
    settings: ClassifierSettings
    training_faces: int
    best_step: int
    validation: Scores
    seconds: float
    precision: PrecisionChoice | None = None
    pretraining: PretrainedJudge | None = None


class JudgeReport(BaseModel):
    """The judges of all folds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folds: tuple[JudgeFold, ...]


@dataclass(frozen=True)
class Judge:
    """A fold's judge, loaded.

    Attributes:
        model: The network, in evaluation mode.
        class_names: What its columns mean.
    """

    model: FaceClassifier
    class_names: tuple[str, ...]

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        """float32 [N, K] of pictures, uint8 [N, C, H, W] on any device."""
        return predict(self.model, images)

    def features(self, images: torch.Tensor) -> np.ndarray:
        """Pooled features, float32 [N, D], of pictures, uint8 [N, C, H, W] on any device."""
        return extract_features(self.model, images)


# The network's own keys, of which its errors know no more than that they are a classifier's.
_KEY = re.compile(r"(?<![\w./])classifier\.(?=[a-z])")


@contextmanager
def _named_as_the_judges() -> Iterator[None]:
    """Says of keys in the block's errors that they are the judge's: the arms' have the same names elsewhere."""

    def named(text: str) -> str:
        return _KEY.sub("judge.classifier.", text)

    try:
        yield
    except InputError as error:
        if type(error) is not InputError or not error.problems:
            raise
        problems = [replace(found, where=named(found.where), fix=named(found.fix)) for found in error.problems]
        raise InputError(problems) from error
    except ClassifierDivergedError as error:
        raise ClassifierDivergedError(named(str(error))) from error


@_named_as_the_judges()
def train_judge(
    faces_dir: Path,
    folds_path: Path,
    settings: ClassifierSettings,
    seed: int,
    out_dir: Path,
    device: torch.device | str = "cpu",
    *,
    scratch: Path | None = None,
    processes: int = 1,
    threads: int = 1,
    gpus: Sequence[str] = (),
    progress: bool = True,
    precision_cache: Path | None = None,
    frontal_yaw: float | None = None,
    pretraining: Pretraining | None = None,
) -> JudgeReport:
    """Trains a judge for every fold, on real training faces only.

    With a pretraining, one network learns from another data set first, and every fold's judge starts from it.

    Args:
        faces_dir: Dataset of real faces.
        folds_path: Table of folds.
        settings: How to train.
        seed: Seeds all folds.
        out_dir: Gets fold-<k>/weights.safetensors and fold-<k>/judge.json, and pretraining/weights.safetensors.
        device: Where to train.
        scratch: Where finished folds are kept for a run that was killed, and those in training from time to time
            (`augment.core.training_checkpoints`); None trains all folds again.
        processes: How many folds are trained at once; no result depends on it.
        threads: Of each process, where there are several.
        gpus: Which the processes take by turns (`augment.core.processes`).
        progress: Whether to show bars on stderr.
        precision_cache: A folder that keeps the choices of precision `auto` (`augment.core.precision_measurement`).
        frontal_yaw: Learn from faces turned by at most so many degrees, and choose the step by such; None: from all.
            It holds for the pretraining, too.
        pretraining: What to learn from first; None: nothing.

    Returns:
        The judges' scores on validation faces.

    Raises:
        InputError: Files are missing, a fold has no training or validation faces, or the other data set holds pictures
            of this one.
        augment.faces.leakage.LeakageError: A subject lies in two splits of a fold.
    """
    folds = read_folds(folds_path)
    numbers = sorted(set(folds.column("fold").to_pylist()))
    alone = processes == 1 or len(numbers) == 1
    before, pretrained = None, None
    if pretraining is not None:
        pretrained = Path(out_dir) / "pretraining" / "weights.safetensors"
        before = _pretrain(
            pretraining,
            Path(faces_dir),
            settings,
            seed,
            pretrained.parent,
            None if scratch is None else Path(scratch) / "pretraining",
            str(device),
            progress,
            precision_cache,
            frontal_yaw,
        )
    calls = [
        {
            "faces_dir": Path(faces_dir),
            "folds_path": Path(folds_path),
            "settings": settings,
            "seed": seed,
            "fold": fold,
            "out": Path(out_dir) / f"fold-{fold}",
            "kept": None if scratch is None else Path(scratch) / f"fold-{fold}",
            "device": str(device),
            "progress": progress and alone,
            "precision_cache": precision_cache,
            "frontal_yaw": frontal_yaw,
            "pretrained": pretrained,
            "pretraining": before,
        }
        for fold in numbers
    ]
    reports: dict[int, JudgeFold] = {}
    # One training shows its own steps; of several at once the parent shows them together, for they take long.
    each, unit = (1, "folds") if alone else (settings.steps, "steps")
    with (
        track(total=each * len(numbers), desc="judge", unit=unit, disable=not progress) as bar,
        nullcontext() if alone else followed(bar.update, len(calls)) as counts,
    ):
        if counts is not None:
            calls = [{**call, "counts": (counts, number)} for number, call in enumerate(calls)]
        runs = run_in_processes(_judge_of_fold, calls, processes=processes, threads=threads, gpus=gpus)
        for number, report in runs:
            reports[number] = report
            if alone:
                bar.update()
    return JudgeReport(folds=tuple(reports[number] for number in range(len(numbers))))


def _judge_of_fold(
    *,
    faces_dir: Path,
    folds_path: Path,
    settings: ClassifierSettings,
    seed: int,
    fold: int,
    out: Path,
    kept: Path | None,
    device: str,
    progress: bool,
    precision_cache: Path | None,
    frontal_yaw: float | None,
    pretrained: Path | None,
    pretraining: PretrainedJudge | None,
    counts: tuple[Path, int] | None = None,
) -> JudgeFold:
    on_step = None if counts is None else count_steps(*counts)
    faces = read_faces(faces_dir, columns=("image", "label", "label_name", "face_id", "subject", "yaw"))
    folds = read_folds(folds_path)
    check_leakage(faces, folds, fold=fold)
    splits = fold_tables(faces, folds, fold)
    train, validation = (
        _frontal(face_tensors(splits[split]), frontal_yaw, f"fold {fold}", f"{split} ")
        for split in ("train", "validation")
    )
    if not len(train):
        raise InputError(Problem(f"fold {fold}", "has no train faces", "change the folds' shares"))
    settings, choice = chosen_precision(
        settings,
        num_classes=len(train.class_names),
        channels=train.channels,
        size=train.size,
        device=device,
        cache=precision_cache,
    )
    about = _about(train, validation, settings, seed, device)
    start = None
    if pretrained is not None:
        start = _load_pretrained(pretrained)
        about["pretrained"] = hashlib.sha256(pretrained.read_bytes()).hexdigest()

    def train_in(place: Path, checkpoints: TrainingCheckpoints | None) -> JudgeFold:
        trained, validated = _train(
            train,
            validation,
            settings,
            derive_seed(seed, "judge", fold),
            place,
            device,
            progress,
            start,
            checkpoints,
            on_step,
        )
        return JudgeFold(
            fold=fold,
            seed=seed,
            settings=settings,
            training_faces=len(train),
            best_step=trained.best_step,
            validation=validated,
            seconds=trained.seconds,
            precision=choice,
            pretraining=pretraining,
        )

    report = _once(train_in, JudgeFold, about, kept, out)
    if on_step is not None:
        on_step(settings.steps)  # where it lay finished, none was counted
    return report


def _pretrain(
    pretraining: Pretraining,
    faces_dir: Path,
    settings: ClassifierSettings,
    seed: int,
    out: Path,
    kept: Path | None,
    device: str,
    progress: bool,
    precision_cache: Path | None,
    frontal_yaw: float | None,
) -> PretrainedJudge:
    """Trains a network on another data set; it goes to `out`, and to `kept` for a run that was killed.

    Raises:
        InputError: The other data set has pictures of the run's own, too few people, or no frontal face of a class.
    """
    read = read_faces(pretraining.faces_dir, columns=("image", "label", "label_name", "face_id", "subject", "yaw"))
    own = read_faces(faces_dir, columns=("image", "label", "label_name", "face_id"))
    kept_rows = [face not in pretraining.left_out for face in read.column("face_id").to_pylist()]
    others = face_tensors(read.filter(kept_rows))
    _check_other_pictures(others, face_tensors(own), pretraining.title)
    faces = _frontal(others, frontal_yaw, "judge.pretraining", "")
    train, held_out = hold_out(faces)
    settings, _ = chosen_precision(
        # Nobody of the run's own faces has a say here, and of the others none shall pick a step.
        settings.model_copy(update={"steps": pretraining.steps, "select_by": "last"}),
        num_classes=len(train.class_names),
        channels=train.channels,
        size=train.size,
        device=device,
        cache=precision_cache,
    )
    about = _about(train, held_out, settings, seed, device)

    def train_in(place: Path, checkpoints: TrainingCheckpoints | None) -> PretrainedJudge:
        own_seed = derive_seed(seed, "judge", "pretraining")
        trained, scores = _train(train, held_out, settings, own_seed, place, device, progress, None, checkpoints)
        return PretrainedJudge(
            title=pretraining.title,
            steps=pretraining.steps,
            class_names=train.class_names,
            training_faces=len(train),
            held_out=scores,
            seconds=trained.seconds,
        )

    return _once(train_in, PretrainedJudge, about, kept, out)


def _check_other_pictures(other: FaceTensors, own: FaceTensors, title: str) -> None:
    """Refuses another data set that has a picture of the run's, which may be a test face.

    Raises:
        InputError: Names the pictures.
    """
    if (other.channels, other.size) != (own.channels, own.size):
        found, wanted = f"{other.channels} x {other.size} px", f"{own.channels} x {own.size} px"
        raise InputError(Problem("judge.pretraining", f"has faces of {found}, and the run {wanted}", "read both alike"))
    known = {
        hashlib.sha256(image.numpy().tobytes()).digest(): name
        for image, name in zip(own.images, own.face_ids, strict=True)
    }
    twice = [
        (name, known[digest])
        for image, name in zip(other.images, other.face_ids, strict=True)
        if (digest := hashlib.sha256(image.numpy().tobytes()).digest()) in known
    ]
    if twice:
        name, same = twice[0]
        why = f"{len(twice):,} pictures of {title} are the run's own, which may be test faces; {name} is {same}"
        raise InputError(Problem("judge.pretraining", why, "choose another data set, or run s2l prepare"))


def _about(
    train: FaceTensors, validation: FaceTensors, settings: ClassifierSettings, seed: int, device: str
) -> dict[str, Any]:
    """What a training depends on."""
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "device": torch.device(device).type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "start": digest_of_weights(settings.model),
        "code": hash_code(["classifiers.judge"], follow=["augment"]),
        "train": hash_faces(train),
        "validation": hash_faces(validation),
    }


def _once(
    train_in: Callable[[Path, TrainingCheckpoints | None], Report],
    form: type[Report],
    about: dict[str, Any],
    kept: Path | None,
    out: Path,
) -> Report:
    """The report of a training that lies finished in `kept`, or of one that is done now; its files go to `out`.

    Args:
        train_in: Trains, and saves the weights in the folder that it is given; goes on from the checkpoints.
        form: Of the report.
        about: What the training depends on.
        kept: Where it is kept for a run that was killed; None: nowhere.
        out: Where the run reads it.
    """
    if kept is None:
        report = train_in(out, None)
    else:
        found = _finished(kept, about, form)
        checkpoints = TrainingCheckpoints(kept.with_name(f"{kept.name}-training"), about)
        report = train_in(kept, checkpoints) if found is None else found
        if found is None:
            record = {"about": about, "judge": report.model_dump(mode="json")}
            atomic_write_text(kept / "judge.json", json.dumps(record, indent=1))
            seal_folder(kept)  # last, as it is what says that the training is finished
            checkpoints.forget()
        with atomic_path(out / "weights.safetensors") as part:
            shutil.copyfile(kept / "weights.safetensors", part)
    atomic_write_text(out / "judge.json", json.dumps(report.model_dump(mode="json"), indent=1) + "\n")
    return report


def _frontal(faces: FaceTensors, frontal_yaw: float | None, where: str, kind: str) -> FaceTensors:
    """The faces that are turned by at most so many degrees.

    Raises:
        InputError: There are faces, and all of a class are turned by more.
    """
    if frontal_yaw is None:
        return faces
    allowed = faces.turned_at_most(frontal_yaw)
    if missing := faces.classes_without(allowed):
        why = f"no {kind}face of {', '.join(missing)} is turned by at most {frontal_yaw:g} degrees"
        raise InputError(Problem(f"{where}: judge.frontal_yaw", why, "allow more, or set it to null"))
    return faces.take(allowed.nonzero().flatten())


def load_judge(out_dir: Path, fold: int, device: torch.device | str = "cpu") -> Judge:
    """Loads a fold's judge.

    Raises:
        InputError: It was not trained, or its file is damaged.
    """
    model, about = load_classifier(Path(out_dir) / f"fold-{fold}" / "weights.safetensors", device)
    return Judge(model=model, class_names=tuple(about["class_names"]))


def _load_pretrained(path: Path) -> PretrainedClassifier:
    model, about = load_classifier(path)
    return PretrainedClassifier(model, tuple(about["class_names"]))


def _train(
    train: FaceTensors,
    validation: FaceTensors,
    settings: ClassifierSettings,
    seed: int,
    place: Path,
    device: torch.device | str,
    progress: bool,
    pretrained: PretrainedClassifier | None,
    checkpoints: TrainingCheckpoints | None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[TrainedClassifier, Scores]:
    """Trains a network and saves it in `place`; returns its scores on validation faces, too."""
    trained = train_classifier(
        settings,
        real=train,
        validation=validation,
        seed=seed,
        device=device,
        pretrained=pretrained,
        progress=progress,
        on_step=on_step,
        checkpoints=checkpoints,
    )
    predicted = predict(trained.model, validation).argmax(axis=1)
    save_classifier(trained.model, place / "weights.safetensors", class_names=train.class_names, size=train.size)
    return trained, score_predictions(validation.labels.numpy(), predicted, validation.class_names)


def _finished(kept: Path, about: dict[str, Any], form: type[Report]) -> Report | None:
    """The report of a judge that lies in scratch, if it is whole and was made from the same things."""
    if not is_sealed(kept):
        return None
    try:
        record = json.loads((kept / "judge.json").read_text(encoding="utf-8"))
        report = form(**record["judge"])
        if record["about"] != about:
            return None
        load_classifier(kept / "weights.safetensors")
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
    return report
