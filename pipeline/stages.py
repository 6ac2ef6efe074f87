"""One function a stage: reads the parameters, calls the room that does the work, puts the result in its place."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock

import augment
import classifiers
import pipeline
import reports
from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes, atomic_write_text, sha256_of_file
from augment.core.json_files import read_json_object
from augment.core.processes import run_in_processes, use_threads
from augment.core.replacing import folder_in_place
from augment.core.seeding import derive_seed
from augment.faces.fold_choice import choose_folds, report_folds
from augment.faces.leakage import check_leakage
from augment.faces.licences import Licence, LicenceLine
from augment.faces.parent_card import write_parent_card
from augment.faces.splits import assign_folds, fold_tables, read_folds, write_folds
from augment.faces.table import SPLITS, iterate_faces, read_class_names, read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from augment.parsing.network import load_parsing, parsing_statistics, save_parsing, train_parsing
from augment.parsing.teachers import HELEN, choose_teachers
from augment.prepare.annotation import check_annotation
from augment.prepare.prepare import PreparationReport, prepare_faces, write_report
from augment.sources import Source, open_source
from augment.sources.base import known_splits, reading_notes
from augment.sources.terms import licence_of
from augment.training.loop import train_translator
from augment.translators import create_translator, load_translator, translator_class
from augment.translators.base import CannotTranslateError, LearnedTranslator, UsesParsing
from pipeline.devices import choose_device, name_of, processes_for
from pipeline.measured_fields import take_measurements
from pipeline.measurements import read_run_record
from pipeline.messages import RESULT
from pipeline.needs import Need, check_needs
from pipeline.parameters import Parameters, load_parameters
from pipeline.project import git_advice
from pipeline.requirements import check_requirements
from pipeline.scratch import fingerprint, move_into_place, scratch_folder
from pipeline.workspace import LICENCE_FILE, REFUSAL_FILE, Artifacts, fold_directory

LOG = logging.getLogger(__name__)

# Half-done work is not gone on with by other code: the rooms that dvc.yaml names as dependencies.
CODE = {room.__name__: Path(str(room.__file__)).parent for room in (augment, classifiers, pipeline, reports)}


def _start(root: Path) -> tuple[Parameters, Artifacts, torch.device]:
    """What every stage begins with: the whole of params.yaml is checked before any work."""
    parameters = load_parameters(root / "params.yaml")
    use_threads(parameters.runtime.threads)
    device = torch.device(choose_device(parameters.runtime.device))
    LOG.debug(
        "torch %s on %s, %d threads, seed %d", torch.__version__, device, torch.get_num_threads(), parameters.seed
    )
    return parameters, Artifacts(root), device


def _processes(parameters: Parameters, device: torch.device) -> int:
    """How many folds and seeds are worked on at once."""
    return processes_for(parameters.runtime.processes, device.type)


def _run_folds(
    function: Callable[..., None],
    calls: Sequence[Mapping[str, Any]],
    parameters: Parameters,
    device: torch.device,
) -> None:
    processes = _processes(parameters, device)
    for _ in run_in_processes(function, calls, processes=processes, threads=parameters.runtime.threads):
        pass


def _key(parameters: Parameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """Names a stage's scratch folder by all that determines its result: parameters, threads, inputs, code."""
    key = fingerprint({**values, "threads": parameters.runtime.threads}, {**inputs, **CODE})
    LOG.debug("scratch key %s of the inputs %s", key, ", ".join(map(str, inputs.values())) or "none")
    return key


def _configuration_hash(parameters: Parameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """What shards bear: all that determines them but the code, so that an edit that changes no face changes no byte."""
    return fingerprint({**values, "threads": parameters.runtime.threads}, inputs)


def _say(text: str) -> None:
    LOG.info(text)


def _write_json(path: Path, values: Any) -> None:
    atomic_write_text(path, json.dumps(values, indent=2, sort_keys=True, default=str) + "\n")


def _open_source(parameters: Parameters, root: Path) -> Source:
    dataset = parameters.dataset
    settings = dict(dataset.settings)
    if dataset.source in ("rig", "joint"):
        # Embedded faces are drawn at the run's size rather than scaled to it.
        settings = {"size": dataset.image_size, "channels": dataset.channels, **settings}
    if dataset.source == "rig":
        return open_source("rig", None, **settings)
    return open_source(dataset.source, root / dataset.root, **settings)


def _check_source(parameters: Parameters, source: Source) -> None:
    """Refuses, before any picture is read, what can be known without one, and says whose splits will be used.

    Raises:
        InputError: Nobody says under which terms the faces stand, the packages that find landmarks are not installed,
            there is one class only, the source's own splits can't be kept, or there are more folds than subjects
            (where the source knows its splits and subjects beforehand).
    """
    problems: list[Problem] = []
    try:
        licence_of(source, parameters.dataset.licence, where="params.yaml: dataset.licence")
    except InputError as error:
        problems += error.problems
    try:
        check_annotation(parameters.dataset.annotation)
    except InputError as error:
        problems += error.problems
    classes = parameters.dataset.classes or source.class_names
    if parameters.dataset.attribute == "expression" and len(classes) < 2:
        why = f"{parameters.dataset.source} has one class, {', '.join(classes)}: nothing to translate or tell apart"
        fix = getattr(source, "purpose", "use faces of two classes and more")
        problems.append(Problem("params.yaml: dataset.source", why, fix))
    problems += check_requirements(parameters, source, LOG.warning)
    for note in reading_notes(source):
        _say(f"{parameters.dataset.source}: {note}")
    choice = None
    own = known_splits(source) if parameters.dataset.classes is None else None
    if own is not None:
        try:
            choice = choose_folds(own, parameters.folds)
            _say(f"folds: {choice.sentence}")
        except InputError as error:
            problems += [replace(problem, where=f"params.yaml: {problem.where}") for problem in error.problems]
    population = getattr(source, "population", None)
    if population is not None and choice is not None and choice.kind == "subjects":
        subjects = {spec.subject_name for spec in population.specs} - {None}
        if subjects and parameters.folds.folds > len(subjects):
            why = f"{parameters.folds.folds} folds of {len(subjects)} subjects"
            problems.append(Problem("params.yaml: folds.folds", why, f"use at most {len(subjects)}, or more subjects"))
    if problems:
        raise InputError(problems)


def check(root: Path) -> None:
    """Checks params.yaml whole, and that the data set can be opened."""
    parameters, _, device = _start(root)
    _check_source(parameters, _open_source(parameters, root))
    teacher = parameters.parsing.teacher
    if parameters.parsing.enabled and teacher.has_helen:
        open_source("helen", root / teacher.root, **teacher.settings)
    arms = len(parameters.arms.real) + len(parameters.arms.synthetic)
    LOG.log(
        RESULT,
        f"params.yaml is valid: source {parameters.dataset.source}, {len(parameters.translators)} translators, "
        f"{arms} arms x {len(parameters.seeds)} seeds, on {device}",
    )
    if advice := git_advice(root):
        LOG.warning(advice)


def prepare(root: Path, quarantine: Path | None = None) -> None:
    """The data set becomes the table of faces and its folds; what leaks between splits is refused or counted."""
    parameters, artifacts, _ = _start(root)
    dataset = parameters.dataset
    source = _open_source(parameters, root)
    _check_source(parameters, source)
    if quarantine is None and dataset.quarantine:
        quarantine = root / dataset.quarantine
    check_needs([], [artifacts.faces])
    values = parameters.model_dump(mode="json", include={"seed", "dataset", "folds"})
    with scratch_folder(artifacts.scratch, "prepare", _key(parameters, values, {})) as scratch:
        report = prepare_faces(
            source,
            scratch / "faces",
            image_size=dataset.image_size,
            channels=dataset.channels,
            classes=dataset.classes,
            attribute=dataset.attribute,
            pose_step=dataset.pose_step,
            licence=dataset.licence,
            annotation=dataset.annotation,
            annotation_cache=artifacts.scratch / "annotation",
            workers=processes_for(parameters.runtime.processes, "cpu"),
            quarantine=quarantine,
        )
        for name, others in report.subject_spellings.items():
            _say(f"subject {name!r} is also written {', '.join(map(repr, others))}: taken for one person")
        faces = read_faces(scratch / "faces")
        duplicates = pq.read_table(scratch / "faces" / "duplicates.parquet")
        folds = assign_folds(faces, parameters.folds, parameters.seed, duplicates=duplicates)
        write_folds(folds, scratch / "folds.parquet")
        _report_folds(report, faces, folds, parameters, scratch / "faces")
        for fold in _fold_numbers(folds):
            check_leakage(faces, folds, fold=fold, pictures=True, duplicates=duplicates)
        move_into_place(scratch / "faces", artifacts.faces)
        move_into_place(scratch / "folds.parquet", artifacts.folds)


def _prepared(artifacts: Artifacts) -> list[Need]:
    """What every stage after `prepare` needs."""
    return [Need(artifacts.faces, "s2l prepare"), Need(artifacts.folds, "s2l prepare")]


def _report_folds(
    report: PreparationReport, faces: pa.Table, folds: pa.Table, parameters: Parameters, directory: Path
) -> None:
    """Adds the folds that the run uses to the preparation's report; says whose splits they are, and if they are small.

    The table of faces is of use without scores, so too few faces for these are no error yet; the judge's stage refuses.
    """
    from reports.metrics.scores import check_reference_faces

    found = report_folds(faces, folds, parameters.folds, report.class_names)
    write_report(report.model_copy(update={"folds": found}), directory)
    _say(f"folds: {found.choice.sentence}")
    for fold, counts in enumerate(found.counts):
        totals = {split: sum(by_split[split] for by_split in counts.values()) for split in SPLITS}
        _say(f"fold {fold}: " + ", ".join(f"{split} {total:,}" for split, total in totals.items()))
    try:
        check_reference_faces(faces, folds, report.class_names, parameters.scores)
    except InputError as error:
        _say(f"warning: no translator can be scored on these folds: {error}")


def _fold_numbers(folds: Any) -> list[int]:
    return sorted(set(folds.column("fold").to_pylist()))


def _each_fold(artifacts: Artifacts) -> Iterator[tuple[int, dict[str, FaceTensors]]]:
    """Each fold's training and validation faces."""
    for fold in _fold_numbers(read_folds(artifacts.folds)):
        yield fold, _faces_of_fold(artifacts, fold)


def _faces_of_fold(artifacts: Artifacts, fold: int) -> dict[str, FaceTensors]:
    """A fold's training and validation faces. Test faces are not decoded: no stage that learns here wants them."""
    faces = read_faces(artifacts.faces)
    folds = read_folds(artifacts.folds)
    check_leakage(faces, folds, fold=fold)
    tables = fold_tables(faces, folds, fold)
    return {split: face_tensors(tables[split]) for split in ("train", "validation") if split in tables}


def parsing(root: Path) -> None:
    """Trains the parsing network of each fold, or says why there is none."""
    parameters, artifacts, device = _start(root)
    check_needs(_prepared(artifacts), [artifacts.parsing])
    values = parameters.model_dump(mode="json", include={"seed", "parsing"})
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    with scratch_folder(artifacts.scratch, "parsing", _key(parameters, values, inputs)) as scratch:
        built = scratch / "out"
        calls = [
            {
                "parameters": parameters,
                "root": root,
                "fold": fold,
                "folder": fold_directory(built, fold),
                "device": str(device),
            }
            for fold in _fold_numbers(read_folds(artifacts.folds))
            if not (fold_directory(built, fold) / "report.json").is_file()
        ]
        _run_folds(_parsing_of_fold, calls, parameters, device)
        _write_json(artifacts.measurements("parsing"), take_measurements(built))
        move_into_place(built, artifacts.parsing)


def _parsing_of_fold(*, parameters: Parameters, root: Path, fold: int, folder: Path, device: str) -> None:
    """Trains the parsing network of a fold into a folder; its report is written last."""
    artifacts = Artifacts(root)
    faces = _faces_of_fold(artifacts, fold)
    folder.mkdir(parents=True, exist_ok=True)
    lesson = (
        choose_teachers(faces["train"], faces.get("validation"), parameters.parsing.teacher, workspace=artifacts.root)
        if parameters.parsing.enabled
        else "parsing.enabled is false"
    )
    if isinstance(lesson, str):
        _say(f"no parsing network: {lesson}")
        _write_json(folder / "report.json", {"available": False, "reason": lesson})
        return
    seed = derive_seed(parameters.seed, "parsing", fold)
    network, facts = train_parsing(
        lesson.teachers, lesson.validation, parameters.parsing.training, seed, device, lesson.held_out
    )
    # Of the run's own faces, whether or not anybody knows their masks.
    facts["own"] = parsing_statistics(network, faces["validation"].images) if "validation" in faces else None
    save_parsing(network, folder / "weights.safetensors")
    _write_json(folder / "report.json", {"available": True, **facts})


def judge(root: Path) -> None:
    """Trains the judge of each fold.

    Raises:
        InputError: There are translators, and a fold has too few real faces to score any: before all training.
    """
    from classifiers.judge import train_judge
    from reports.metrics.scores import check_reference_faces

    parameters, artifacts, device = _start(root)
    check_needs(_prepared(artifacts), [artifacts.judge])
    if parameters.translators:
        known = read_faces(artifacts.faces, columns=["face_id", "label_name", "subject"])
        names = read_class_names(artifacts.faces)
        check_reference_faces(known, read_folds(artifacts.folds), names, parameters.scores)
    values = parameters.model_dump(mode="json", include={"seed", "judge"})
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    with scratch_folder(artifacts.scratch, "judge", _key(parameters, values, inputs)) as scratch:
        train_judge(
            artifacts.faces,
            artifacts.folds,
            parameters.judge.classifier,
            parameters.seed,
            scratch / "out",
            device,
            scratch=scratch / "folds",
            processes=_processes(parameters, device),
            threads=parameters.runtime.threads,
        )
        _write_json(artifacts.measurements("judge"), take_measurements(scratch / "out"))
        move_into_place(scratch / "out", artifacts.judge)


def train(root: Path, name: str) -> None:
    """Trains a translator on each fold, or writes down why these faces can't teach it."""
    parameters, artifacts, device = _start(root)
    entry = parameters.translator(name)
    earlier = [Need(artifacts.judge, "s2l judge"), Need(artifacts.parsing, "s2l parsing")]
    check_needs([*_prepared(artifacts), *earlier], [artifacts.translator(name)])
    values = {"seed": parameters.seed, "name": name, "translator": entry.model_dump(mode="json")}
    inputs = {
        "faces": artifacts.faces,
        "folds": artifacts.folds,
        "judge": artifacts.judge,
        "parsing": artifacts.parsing,
    }
    with scratch_folder(artifacts.scratch, f"train-{name}", _key(parameters, values, inputs)) as scratch:
        built = scratch / "out"
        built.mkdir(exist_ok=True)
        licence = _licence(artifacts.faces / "report.json")
        try:
            numbers = _fold_numbers(read_folds(artifacts.folds))
            if issubclass(translator_class(entry.method), UsesParsing):
                for fold in numbers:
                    taught = fold_directory(artifacts.parsing, fold)
                    if (taught / "weights.safetensors").is_file():
                        licence = licence.with_lines(_parsing_terms(taught / "report.json"))
            calls = [
                {
                    "parameters": parameters,
                    "root": root,
                    "name": name,
                    "fold": fold,
                    "out": fold_directory(built, fold),
                    "scratch": fold_directory(scratch / "checkpoints", fold),
                    "device": str(device),
                }
                for fold in numbers
            ]
            _run_folds(_train_fold, calls, parameters, device)
            _write_json(built / LICENCE_FILE, {"licence": licence.model_dump(mode="json")})
        except CannotTranslateError as error:
            if entry.on_refusal == "stop":
                raise InputError(Problem(f"translators.{name}", str(error))) from error
            LOG.warning(f"translator {name} is refused: {error}")
            _write_json(built / REFUSAL_FILE, {"name": name, "reason": str(error)})
        _write_json(artifacts.measurements(f"train-{name}"), take_measurements(built))
        move_into_place(built, artifacts.translator(name))


def _train_fold(
    *, parameters: Parameters, root: Path, name: str, fold: int, out: Path, scratch: Path, device: str
) -> None:
    """Trains a translator on a fold's training faces; its checkpoint is chosen on the validation faces."""
    from augment.training.validation import checkpoint_validation

    artifacts, entry = Artifacts(root), parameters.translator(name)
    faces = _faces_of_fold(artifacts, fold)
    seed = derive_seed(parameters.seed, "translator", name, fold)
    translator = create_translator(
        entry.method,
        num_classes=len(faces["train"].class_names),
        channels=faces["train"].channels,
        size=faces["train"].size,
        settings=entry.settings,
        seed=seed,
    ).to(device)
    weights = fold_directory(artifacts.parsing, fold) / "weights.safetensors"
    if weights.is_file() and isinstance(translator, UsesParsing):
        translator.attach_parsing(load_parsing(weights, device))
    validation = faces["validation"].to(device)
    validate = None
    if isinstance(translator, LearnedTranslator):
        from classifiers.judge import load_judge  # seconds, which a fitted translator does not owe

        validate = checkpoint_validation(load_judge(artifacts.judge, fold, device), validation, seed=seed)
    train_translator(
        translator,
        faces["train"].to(device),
        validation,
        entry.training,
        out=out,
        scratch=scratch,
        seed=seed,
        device=device,
        validate=validate,
    )


def _refusal(folder: Path) -> dict[str, Any] | None:
    file = folder / REFUSAL_FILE
    return read_json_object(file) if file.is_file() else None


def _pass_refusal_on(source: Path, *outs: Path) -> bool:
    """Writes a translator's refusal into a later stage's outputs, so that the report finds it and nothing is silent."""
    refusal = _refusal(source)
    if refusal is None:
        return False
    LOG.warning(f"translator {refusal['name']} was refused: {refusal['reason']}")
    for out in outs:
        with folder_in_place(out) as built:
            _write_json(built / REFUSAL_FILE, refusal)
    return True


def synthesize(root: Path, name: str) -> None:
    """Generates n faces per class, each fold from its own training faces."""
    from augment.synthesis.generate import synthesize as synthesize_faces

    parameters, artifacts, device = _start(root)
    entry = parameters.translator(name)
    trained = Need(artifacts.translator(name), f"s2l train {name}")
    check_needs([*_prepared(artifacts), trained], [artifacts.synthetic(name)])
    if _pass_refusal_on(artifacts.translator(name), artifacts.synthetic(name)):
        _update_card_of_all(artifacts, artifacts.all_synthetic)
        return
    values = {"seed": parameters.seed, "synthesis": parameters.synthesis.model_dump(mode="json")}
    inputs = {"folds": artifacts.folds, "translator": artifacts.translator(name)}
    with scratch_folder(artifacts.scratch, f"synthesize-{name}", _key(parameters, values, inputs)) as scratch:
        licence = _licence(artifacts.translator(name) / LICENCE_FILE)
        folds = read_folds(artifacts.folds)
        try:
            for fold, faces in _each_fold(artifacts):
                weights = fold_directory(artifacts.translator(name), fold) / "weights.safetensors"
                train_faces = faces["train"].to(device)
                report = synthesize_faces(
                    load_translator(weights, device),
                    train_faces,
                    parameters.synthesis,
                    out=fold_directory(scratch / "out", fold),
                    seed=parameters.seed,
                    fold=fold,
                    translator_name=name,
                    weights_sha256=sha256_of_file(weights),
                    configuration_hash=_configuration_hash(parameters, values, inputs),
                    class_names=train_faces.class_names,
                    device=device,
                    licence=licence,
                    folds=folds,
                )
                speed = f", {report.images_per_second:.0f} images/s" if report.images_per_second else ""
                _say(f"{name}, fold {fold}: {sum(report.faces.values())} faces from {report.sources} sources{speed}")
            write_parent_card(scratch / "out", name=name, title=f"Synthetic faces by {name}, fold by fold")
        except CannotTranslateError as error:
            if entry.on_refusal == "stop":
                raise InputError(Problem(f"translators.{name}", str(error))) from error
            LOG.warning(f"translator {name} is refused: {error}")
            shutil.rmtree(scratch / "out", ignore_errors=True)
            _write_json(scratch / "out" / REFUSAL_FILE, {"name": name, "reason": str(error)})
        move_into_place(scratch / "out", artifacts.synthetic(name))
    _update_card_of_all(artifacts, artifacts.all_synthetic)


def _update_card_of_all(artifacts: Artifacts, folder: Path) -> None:
    """Names what lies in the folder of all translators' datasets now: who reads it whole must choose one.

    No stage's output, since every translator's stage writes it, and so DVC ignores it (.dvcignore).
    """
    artifacts.scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(artifacts.scratch / "cards.lock"):  # stages of two translators may end at once
        write_parent_card(folder, title="Synthetic faces of all translators")
        write_parent_card(artifacts.home, title="All faces of a run, real and synthetic")


def _licence(file: Path) -> Licence:
    """The licence that a stage's report names: its data sets' terms hold for everything made from them."""
    try:
        return Licence.model_validate(read_json_object(file)["licence"])
    except (KeyError, ValueError) as error:
        fix = "run the stage that writes it again"
        raise InputError(Problem(str(file), f"names no licence: {error}", fix)) from error


def _parsing_terms(report: Path) -> tuple[LicenceLine, ...]:
    """The terms of what taught a parsing network, where that were not the run's own faces or embedded ones."""
    from augment.sources.helen import HelenSource

    teachers = read_json_object(report).get("teachers", ())
    if not any(teacher["name"] == HELEN for teacher in teachers):
        return ()
    terms = HelenSource.terms
    return (LicenceLine(data_set=HelenSource.title, line=terms.licence, terms=terms),)


def assess(root: Path, name: str) -> None:
    """The judge looks at a translator's faces: selection first, then the scores."""
    from augment.synthesis.selection import select
    from classifiers.judge import load_judge
    from reports.metrics.scores import score_translator

    parameters, artifacts, device = _start(root)
    parameters.translator(name)
    earlier = [
        Need(artifacts.judge, "s2l judge"),
        Need(artifacts.translator(name), f"s2l train {name}"),
        Need(artifacts.synthetic(name), f"s2l synthesize {name}"),
    ]
    check_needs([*_prepared(artifacts), *earlier], [artifacts.selected(name), artifacts.scores(name)])
    if _pass_refusal_on(artifacts.synthetic(name), artifacts.selected(name), artifacts.scores(name)):
        _update_card_of_all(artifacts, artifacts.all_selected)
        return
    faces = read_faces(artifacts.faces, columns=["face_id", "subject", "image"])
    folds, names = read_folds(artifacts.folds), read_class_names(artifacts.faces)
    judges = {fold: load_judge(artifacts.judge, fold, device) for fold in _fold_numbers(folds)}
    values = parameters.model_dump(mode="json", include={"selection", "scores"})
    inputs = {"synthetic": artifacts.synthetic(name), "judge": artifacts.judge}
    with scratch_folder(artifacts.scratch, f"assess-{name}", _key(parameters, values, inputs)) as scratch:
        selected = scratch / "selected"
        for fold, fold_judge in judges.items():
            out = fold_directory(selected, fold)
            report = select(
                fold_directory(artifacts.synthetic(name), fold),
                out,
                fold_judge,
                parameters.selection,
                fold=fold,
                class_names=names,
                configuration_hash=_configuration_hash(parameters, values, inputs),
            )
            kept = sum(report.kept.values())
            _say(f"{name}, fold {fold}: {kept} of {sum(report.faces.values())} faces are kept")
            synthetic = iterate_faces(out, columns=["face_id", "source_id", "fold", "image"])
            check_leakage(faces, folds, synthetic=synthetic, fold=fold, pictures="synthetic")
        score_translator(
            name,
            faces_dir=artifacts.faces,
            folds_path=artifacts.folds,
            synthetic_dir=selected,
            translator_dir=artifacts.translator(name),
            judge_for_fold=judges.__getitem__,
            settings=parameters.scores,
            out=scratch / "scores" / "scores.json",
            device=device,
            cache=artifacts.scratch / "features",
        )
        write_parent_card(selected, name=name, title=f"Selected synthetic faces by {name}, fold by fold")
        move_into_place(selected, artifacts.selected(name))
        move_into_place(scratch / "scores", artifacts.scores(name))
    _update_card_of_all(artifacts, artifacts.all_selected)


def classify(root: Path, name: str) -> None:
    """Trains and tests an arm's classifiers: every fold with every seed."""
    from classifiers.arms import run_arm

    parameters, artifacts, device = _start(root)
    arm = parameters.arm(name)
    earlier = (
        [] if arm.translator is None else [Need(artifacts.selected(arm.translator), f"s2l assess {arm.translator}")]
    )
    check_needs([*_prepared(artifacts), *earlier], [artifacts.arm(name)])
    synthetic_dir = None
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    if arm.translator is not None:
        synthetic_dir = artifacts.selected(arm.translator)
        if _pass_refusal_on(synthetic_dir, artifacts.arm(name)):
            return
        inputs["synthetic"] = synthetic_dir
    values = {
        "arm": arm.model_dump(mode="json"),
        **parameters.model_dump(mode="json", include={"seed", "seeds", "classifier"}),
    }
    with scratch_folder(artifacts.scratch, f"classify-{name}", _key(parameters, values, inputs)) as scratch:
        built = scratch / "out"
        built.mkdir(exist_ok=True)
        run_arm(
            name,
            arm,
            faces_dir=artifacts.faces,
            folds_path=artifacts.folds,
            synthetic_dir=synthetic_dir,
            classifier_settings=parameters.classifier,
            seeds=parameters.seeds,
            out=built / "predictions.parquet",
            history_out=built / "history.jsonl",
            weights_out=None,
            scratch=scratch / "cells",
            device=device,
            processes=_processes(parameters, device),
            threads=parameters.runtime.threads,
        )
        _write_json(artifacts.measurements(f"classify-{name}"), take_measurements(built))
        move_into_place(built, artifacts.arm(name))


def report(root: Path) -> None:
    """The tables, the figures, the metrics and the page."""
    from reports.build import build_report
    from reports.environment import describe_environment
    from reports.inputs import Refusal, ReportInputs
    from reports.parsing import parsing_notes

    parameters, artifacts, device = _start(root)
    arms = {**parameters.arms.real, **parameters.arms.synthetic}
    needs = [*_prepared(artifacts), Need(artifacts.parsing, "s2l parsing")]
    for translator in parameters.translators:
        needs.append(Need(artifacts.translator(translator), f"s2l train {translator}"))
        assess_it = f"s2l assess {translator}"
        needs += [Need(artifacts.selected(translator), assess_it), Need(artifacts.scores(translator), assess_it)]
    needs += [Need(artifacts.arm(arm), f"s2l classify {arm}") for arm in arms]
    check_needs(needs, [artifacts.report])
    # Where training or synthesis refused, it was passed on.
    refusals = {name: _refusal(artifacts.selected(name)) for name in parameters.translators}
    ran = [name for name, refusal in refusals.items() if refusal is None]
    ran_arms = [name for name in arms if _refusal(artifacts.arm(name)) is None]
    build_report(
        ReportInputs(
            data_name=_data_name(parameters),
            predictions={name: artifacts.arm(name) / "predictions.parquet" for name in ran_arms},
            arms={name: arm.model_dump(mode="json") for name, arm in arms.items()},
            faces_report=artifacts.faces / "report.json",
            histories={name: artifacts.arm(name) / "history.jsonl" for name in ran_arms},
            scores={name: artifacts.scores(name) / "scores.json" for name in ran},
            translators={name: artifacts.translator(name) for name in ran},
            timings={name: file for name in ran if (file := artifacts.measurements(f"train-{name}")).is_file()},
            selections={name: artifacts.selected(name) for name in ran},
            refused=tuple(Refusal.model_validate(refusal) for refusal in refusals.values() if refusal is not None),
            notes=parsing_notes(artifacts.parsing),
            params=parameters.model_dump(mode="json"),
            environment=describe_environment(name_of(str(device))),
            command="dvc repro",
            record=read_run_record(artifacts, parameters),
        ),
        parameters.report,
        artifacts.report,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    with scratch_folder(artifacts.scratch, "report", "kept") as scratch:
        shutil.copytree(artifacts.report / "plots", scratch / "plots", dirs_exist_ok=True)
        move_into_place(scratch / "plots", artifacts.plots)
    atomic_write_bytes(artifacts.metrics, (artifacts.report / "metrics.json").read_bytes())
    for folder in (artifacts.all_synthetic, artifacts.all_selected):
        _update_card_of_all(artifacts, folder)  # a translator may have gone since the last stage wrote them
    LOG.log(RESULT, f"the report is written: {artifacts.report / 'index.html'}")


def _data_name(parameters: Parameters) -> str:
    """The data as tables and pages name them."""
    dataset = parameters.dataset
    if dataset.source == "rig":
        return f"embedded faces ({dataset.settings.get('preset', 'default preset')})"
    if dataset.source == "fer2013":
        return "FER2013"
    return f"{dataset.source}: {Path(dataset.root).name}"


def results(root: Path, destination: Path, note: str = "") -> None:
    """Keeps what the run reported."""
    from pipeline.results import keep_results

    _, artifacts, device = _start(root)
    check_needs([Need(artifacts.report, "s2l report")])
    files = keep_results(root, root / destination, device=name_of(str(device)), note=note)
    LOG.log(RESULT, f"{destination}: {', '.join(file.name for file in files)}")
