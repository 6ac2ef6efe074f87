"""Scores of one translator: distances to real faces, recognition of translated faces, and their movement.

These are reported in addition to utility, which they don't measure: an output that is easy for a classifier need not
help to train one. Scores use test faces; nothing that trains or selects reads a score.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.progress import track
from augment.faces.images import encode_png
from augment.faces.judge import Judge
from augment.faces.licences import is_public
from augment.faces.table import class_names, data_files, read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from augment.translators.base import CannotTranslateError, Translator
from augment.translators.columns import Column, sheet_columns
from reports.jackknife import GroupedError, jackknife_error, mean_error
from reports.judged_faces import NOT_ASKED, columns_of, judged_faces
from reports.metrics.features import InceptionFeatures, InceptionLookup, cached_features, find_inception_weights
from reports.metrics.fid import SMALL_SAMPLE, frechet_distance_of_features
from reports.metrics.kid import kernel_distance
from reports.metrics.patterns import line_scores
from reports.metrics.poses import judge_turned_faces
from reports.metrics.reference_faces import in_both, split_in_halves, too_few_real
from reports.settings import SCORES_VERSION, ScoreSettings


def _why_too_few(fold: int, wanted: np.ndarray, available: np.ndarray, settings: ScoreSettings) -> Problem:
    """Why fewer than two faces per set are left for the distances."""
    if wanted.sum() < 2:
        return too_few_real(fold, settings.reference_split)
    if np.minimum(wanted, available).sum() < 2:
        why = "has fewer than two synthetic faces of the real ones' classes"
        return Problem(f"fold {fold}", why, "synthesize more faces, or make selection less strict")
    why = f"fewer than two faces per set are left by scores.max_images: {settings.max_images}"
    if settings.max_inception_images is not None:
        why += f" and scores.max_inception_images: {settings.max_inception_images}"
    return Problem(f"fold {fold}", why, "raise them to several faces per class")


def matched_positions(label_sets: Sequence[np.ndarray], num_classes: int, limit: int) -> list[np.ndarray]:
    """Selects the first faces of each set such that all sets have the same number of each class.

    Args:
        label_sets: Labels of each set.
        num_classes: Number of classes.
        limit: Maximum number of faces per set; every class is reduced by the same factor.

    Returns:
        For each set the indices, sorted by class.
    """
    counts = np.min([np.bincount(labels, minlength=num_classes) for labels in label_sets], axis=0)
    if counts.sum() > limit:
        counts = (counts * (limit / counts.sum())).astype(int)
    return [
        np.concatenate([np.flatnonzero(labels == label)[: counts[label]] for label in range(num_classes)])
        for labels in label_sets
    ]


def feature_distances(
    real: np.ndarray,
    other_half: np.ndarray,
    synthetic: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    people: Sequence[Sequence[str | None]],
    kernel_subset_size: int | None,
    seed: int,
) -> dict[str, Any]:
    """Frechet and kernel distances of matched sets, overall and per class, with the real-against-real floor.

    Args:
        real: Features [N, D] of the first half of the real faces.
        other_half: Features [N, D] of the second half.
        synthetic: Features [N, D] of synthetic faces.
        labels: int [N], the class of row i in all three.
        names: Names of the classes.
        people: Whom the rows of the three show: of synthetic faces the people of their sources.
        kernel_subset_size: See `reports.metrics.kid.kernel_distance`.
        seed: Of its random subsets.

    Returns:
        `overall` and `per_class`, each with `n`, `frechet`, `kernel`, `frechet_floor`, `kernel_floor` (null below two
        faces) and `small_sample`; `overall` the Frechet distance's error over other people, too (null where a set shows
        fewer than ten, or both show one person), and of how many `groups` of them it is.
    """

    def one(rows: np.ndarray) -> dict[str, Any]:
        count = len(rows)
        found: dict[str, Any] = {"n": count, "small_sample": count < SMALL_SAMPLE}
        for suffix, others in (("", synthetic), ("_floor", other_half)):
            enough = count >= 2
            found[f"frechet{suffix}"] = frechet_distance_of_features(real[rows], others[rows]) if enough else None
            found[f"kernel{suffix}"] = (
                kernel_distance(real[rows], others[rows], subset_size=kernel_subset_size, seed=seed) if enough else None
            )
        return found

    first, _, last = people
    shared = {person for person in first if person is not None} & set(last)  # as where training faces are compared with
    found = (
        None
        if shared
        else jackknife_error(frechet_distance_of_features, [(real, labels, first), (synthetic, labels, last)])
    )
    return {
        "overall": one(np.arange(len(labels))) | _error_entries(found),
        "per_class": {name: one(np.flatnonzero(labels == label)) for label, name in enumerate(names)},
    }


def recognition_scores(confusion: np.ndarray, by_source: np.ndarray) -> dict[str, Any]:
    """Computes recognition from counts.

    Args:
        confusion: int [K, K], translated faces by target and predicted class.
        by_source: int [K, K, K], the same by source class, target and predicted class.

    Returns:
        `accuracy` over all targets (as published), `accuracy_changed` over targets that differ from the source's
        class, `per_class`, and the counts.
    """
    num_classes = len(confusion)
    changed = ~np.eye(num_classes, dtype=bool)
    hits = np.array([[by_source[s, t, t] for t in range(num_classes)] for s in range(num_classes)])
    totals = by_source.sum(axis=2)
    return {
        "n": int(confusion.sum()),
        "accuracy": _ratio(np.trace(confusion), confusion.sum()),
        "accuracy_changed": _ratio(hits[changed].sum(), totals[changed].sum()),
        "per_class": [_ratio(confusion[t, t], confusion[t].sum()) for t in range(num_classes)],
        "confusion": confusion.tolist(),
    }


def untranslated_baseline(
    labels: np.ndarray, judged: np.ndarray, num_classes: int, *, own_class_alone: bool = False
) -> dict[str, Any]:
    """The recognition of a translator that returns its input: the judge's agreement with what is asked, untranslated.

    Args:
        labels: int [N], the faces' own classes.
        judged: int [N], the judge's predictions.
        num_classes: Number of classes.
        own_class_alone: Whether each face is asked for its own class alone, and not for every class.

    Returns:
        `accuracy` (1 / K by construction; of the own class the judge's own), `accuracy_changed` over targets other than
        the face's class (null where none is asked for), and `per_class` for each target.
    """
    correct = judged == labels
    count = len(labels)
    if own_class_alone:
        recalls = [_ratio(correct[labels == label].sum(), (labels == label).sum()) for label in range(num_classes)]
        return {"accuracy": _ratio(correct.sum(), count), "accuracy_changed": None, "per_class": recalls}
    shares = np.bincount(judged, minlength=num_classes) / max(count, 1)
    return {
        "accuracy": 1 / num_classes,
        "accuracy_changed": _ratio((~correct).sum(), count * (num_classes - 1)),
        "per_class": shares.tolist(),
    }


def movement(inputs: torch.Tensor, outputs: torch.Tensor) -> np.ndarray:
    """Movement of outputs from their sources: mean absolute difference, 0..1, float64 [N].

    Args:
        inputs: uint8 [N, C, H, W].
        outputs: uint8 [N, C, H, W].
    """
    difference = (inputs.to(torch.int16) - outputs.to(torch.int16)).abs().flatten(1).float()
    return difference.mean(dim=1).double().cpu().numpy() / 255.0


def read_synthetic(directory: Path, counts: Sequence[int], *, size: int, channels: int) -> FaceTensors:
    """Reads the first `counts[label]` synthetic faces of each class, and only the row groups that contain them.

    Rows that selection rejected (`kept` false) are skipped.

    Args:
        directory: A dataset directory of one fold.
        counts: Number of faces to read, by class.
        size: Edge in pixels.
        channels: 1 or 3.
    """
    wanted = np.array(counts, dtype=int)
    parts: list[pa.Table] = []
    files = data_files(directory)
    schema = pq.read_schema(files[0])
    columns = ["image", "label", "label_name", "face_id", "subject"] + (["kept"] if "kept" in schema.names else [])
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                if not wanted.any():
                    break
                labels = parquet.read_row_group(group, columns=["label"]).column("label").to_numpy()
                if not wanted[np.unique(labels)].any():
                    continue
                table = parquet.read_row_group(group, columns=columns)
                if "kept" in table.column_names:
                    table = table.filter(pc.fill_null(table.column("kept"), True)).drop_columns(["kept"])
                labels = table.column("label").to_numpy()
                rows = []
                for label in np.unique(labels):
                    found = np.flatnonzero(labels == label)[: wanted[label]]
                    wanted[label] -= len(found)
                    rows.extend(found.tolist())
                parts.append(table.take(pa.array(sorted(rows), pa.int64())))
    selected = [column for column in columns if column != "kept"]
    plain = pa.schema([schema.field(column) for column in selected], metadata=schema.metadata)
    tables = [part.select(selected).cast(plain.remove_metadata()) for part in parts]
    table = pa.concat_tables(tables) if tables else plain.empty_table()
    return face_tensors(table.replace_schema_metadata(schema.metadata), size=size, channels=channels)


def score_translator(
    name: str,
    *,
    faces_dir: Path,
    folds_path: Path,
    synthetic_dir: Path,
    translator_dir: Path,
    judge_for_fold: Callable[[int], Judge],
    settings: ScoreSettings,
    out: Path,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    precision_cache: Path | None = None,
    processes: int = 1,
    threads: int = 1,
    gpus: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores one translator over all folds, and writes the scores as JSON.

    Args:
        name: The translator's name in params.yaml.
        faces_dir: The prepared faces.
        folds_path: The folds' table.
        synthetic_dir: Contains `fold-<k>/data/*.parquet`.
        translator_dir: Contains `fold-<k>/weights.safetensors`.
        judge_for_fold: Returns a fold's judge, trained on the fold's real training faces only.
        settings: The scores' settings.
        out: The JSON file to write.
        device: Device of the networks.
        cache: A folder for Inception features, shared by all translators; None disables it.
        precision_cache: A folder that keeps the choices of precision `auto` (`augment.core.precision`).
        processes: How many processes share Inception's features, which take longest; no score depends on it.
        threads: Of each process, where there are several.
        gpus: Which the processes take by turns (`augment.core.processes`).

    Returns:
        The scores as written. `distances` contains one entry per feature space: FID and KID on Inception if its weights
        are available, and always FCD and KCD (Frechet and kernel classifier distance) on the judge's features; `of` is
        the number of faces per set without `max_images`. `unavailable` lists missing scores and why.
        `lines` measures stripes and grids (`reports.metrics.patterns`), null for tiny images.
        `judge_on_real` is the judge's accuracy on all real test faces, untranslated. `recognition`, `untranslated` and
        `movement` are measured on the test faces of `translated_faces`: `n` of `of`, of which the translator accepts
        `accepted`. `judged_faces`, and `turned_faces` of translators that normalize poses, say what the judge saw in
        each picture (`reports.judged_faces`). `gallery` is an image with its labels. `recognition_of_data_sets`, of
        translators that make faces of several data sets, is the recognition by the faces' own and the wanted one.

    Raises:
        InputError: A fold has no test faces or no synthetic faces.
    """
    from augment.faces.splits import fold_tables, read_folds
    from augment.translators import load_translator

    faces = read_faces(faces_dir)
    folds = read_folds(folds_path)
    names = class_names(faces.schema)
    sources = sorted(set(faces.column("source").to_pylist()))
    lookup = find_inception_weights(settings.inception_weights, allow_download=settings.allow_download)
    inception = (
        InceptionFeatures(
            lookup.path,
            device=device,
            batch_size=settings.inception_batch_size,
            precision=settings.inception_precision,
            precision_cache=precision_cache,
            processes=processes,
            threads=threads,
            gpus=gpus,
        )
        if lookup.path
        else None
    )
    fold_numbers = sorted(int(fold) for fold in pc.unique(folds.column("fold")).to_pylist())
    scored = []
    with track(fold_numbers, desc=f"scores {name}", unit="folds") as progress:
        for fold in progress:
            tables = fold_tables(faces, folds, fold)
            translator = load_translator(translator_dir / f"fold-{fold}" / "weights.safetensors", device)
            translator.eval()
            scored.append(
                _score_fold(
                    fold,
                    tables,
                    names,
                    translator,
                    judge_for_fold(fold),
                    synthetic_dir / f"fold-{fold}",
                    inception,
                    settings,
                    device,
                    cache,
                    with_gallery=settings.gallery and fold == fold_numbers[0],
                )
            )
    # The synthetic faces' terms can be more than the real ones': what taught the parsing network is among them.
    publishable = all(is_public(place) for place in (faces_dir, *(synthetic_dir / f"fold-{f}" for f in fold_numbers)))
    result = _combine(name, names, sources, publishable, fold_numbers, scored, lookup, settings)
    if inception is not None:
        # Without the measured speed: the same run has the same scores.
        result["inception_precision"] = inception.precision.model_dump(include={"asked", "used"})
    atomic_write_text(out, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return result


def _score_fold(
    fold: int,
    tables: dict[str, pa.Table],
    names: Sequence[str],
    translator: Translator,
    judge: Judge,
    synthetic_dir: Path,
    inception: InceptionFeatures | None,
    settings: ScoreSettings,
    device: torch.device | str,
    cache: Path | None,
    *,
    with_gallery: bool,
) -> dict[str, Any]:
    shape = {"size": translator.size, "channels": translator.channels}
    for split in {"test", settings.reference_split}:
        if split not in tables or len(tables[split]) == 0:
            raise InputError(Problem(f"fold {fold}", f"has no {split} faces to score on", "see folds.*"))
    test = face_tensors(tables["test"], **shape)
    reference = test if settings.reference_split == "test" else face_tensors(tables[settings.reference_split], **shape)
    found = _compare_with_real(fold, names, reference, synthetic_dir, judge, inception, settings, cache, shape)
    judged = _judged(judge, test.images)
    usable = translator.usable_sources(test).cpu()
    # If none is usable, the translator's own message says why.
    positions = np.flatnonzero(usable.numpy()) if bool(usable.any()) else np.arange(len(test))
    accepted = test.take(positions)
    found.update(_recognition(fold, accepted, judged[positions], translator, judge, settings, device))
    found["judged_faces"] = judged_faces(fold, test, judged, found.get("seen", {}))
    if "simulated" in translator.requires and "refused" not in found:
        found["turned_faces"] = judge_turned_faces(
            fold,
            accepted,
            translator,
            judge,
            generator=torch.Generator().manual_seed(settings.seed * 1000 + fold),
            batch_size=settings.batch_size,
            device=device,
        )
    if translator.data_sets and "refused" not in found:
        found["data_sets"] = translator.data_sets
        found["of_data_sets"] = _recognition_of_data_sets(fold, accepted, translator, judge, settings, device)
    if with_gallery:
        found["gallery"] = _gallery(accepted, translator, settings, device)
    return found


def _compare_with_real(
    fold: int,
    names: Sequence[str],
    reference: FaceTensors,
    synthetic_dir: Path,
    judge: Judge,
    inception: InceptionFeatures | None,
    settings: ScoreSettings,
    cache: Path | None,
    shape: dict[str, int],
) -> dict[str, Any]:
    """Distances of the synthetic faces to the real ones in each feature space, and line scores."""
    labels = reference.labels.cpu().numpy()
    halves = split_in_halves(labels, reference.subjects, settings.seed)
    first, second = reference.take(halves.first), reference.take(halves.second)
    first_labels, second_labels = labels[halves.first], labels[halves.second]
    wanted = in_both(labels, halves, len(names))
    synthetic = read_synthetic(synthetic_dir, wanted.tolist(), **shape)
    available = np.bincount(synthetic.labels.numpy(), minlength=len(names))
    spaces: list[tuple[str, Callable[[torch.Tensor], np.ndarray], int]] = [
        ("judge", judge.features, settings.max_images)
    ]
    if inception is not None:
        extractor = inception  # a separate name, which mypy knows is not None in the closure below
        limit = min(settings.max_images, settings.max_inception_images or settings.max_images)
        spaces.insert(0, ("inception", lambda images: cached_features(images, extractor, cache), limit))
    distances = {}
    for space, features, limit in spaces:
        label_sets = [first_labels, second_labels, synthetic.labels.numpy()]
        positions = matched_positions(label_sets, len(names), limit)
        if len(positions[0]) < 2:
            raise InputError(_why_too_few(fold, wanted, available, settings))
        sets = [
            np.asarray(features(images[torch.from_numpy(rows)]), np.float64)
            for images, rows in zip((first.images, second.images, synthetic.images), positions, strict=True)
        ]
        distances[space] = feature_distances(
            sets[0],
            sets[1],
            sets[2],
            first_labels[positions[0]],
            names,
            people=[
                [faces.subjects[row] for row in rows]
                for faces, rows in zip((first, second, synthetic), positions, strict=True)
            ],
            kernel_subset_size=settings.kernel_subset_size,
            seed=settings.seed,
        )
        distances[space]["of"] = len(matched_positions(label_sets, len(names), len(reference))[0])
        distances[space]["dimension"] = sets[0].shape[1]
        distances[space]["short_of_synthetic"] = bool((available < wanted).any())
    # On the faces of the judge's feature space, which is last.
    matched = [
        images[torch.from_numpy(rows)]
        for images, rows in zip((first.images, second.images, synthetic.images), positions, strict=True)
    ]
    return {"distances": distances, "lines": line_scores(*matched)}


def _recognition(
    fold: int,
    test: FaceTensors,
    judged_real: np.ndarray,
    translator: Translator,
    judge: Judge,
    settings: ScoreSettings,
    device: torch.device | str,
) -> dict[str, Any]:
    """Counts of the judge's predictions on translated faces, and the faces' movement.

    A translator that keeps its sources' class is evaluated on that class alone. `judged_real` contains the judge's
    predictions on the untranslated faces.
    """
    num_classes = len(test.class_names)
    found: dict[str, Any] = {"accepted": len(test), "real_movement": _real_movement(test, settings.seed)}
    sample = _translated_faces(test, settings)
    test, judged_real = test.take(sample), judged_real[sample]
    labels = test.labels.cpu().numpy()
    found |= {
        "untranslated": (labels, judged_real),
        "own_class_alone": translator.keeps_class,
        "requires": sorted(translator.requires),
    }
    by_source = np.zeros((num_classes, num_classes, num_classes), int)
    seen = np.full((len(test), num_classes), NOT_ASKED)
    moved: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    generator = torch.Generator().manual_seed(settings.seed * 1000 + fold)
    starts = range(0, len(test), settings.batch_size)
    try:
        for start in track(starts, desc=f"fold {fold}: translating test faces", unit="batches", leave=False):
            rows = np.arange(start, min(start + settings.batch_size, len(test)))
            batch = test.take(rows).to(device)
            for target in range(num_classes):
                asked = np.flatnonzero(labels[rows] == target) if translator.keeps_class else np.arange(len(rows))
                if not len(asked):
                    continue
                sources, own = batch.take(asked), labels[rows][asked]
                targets = torch.full((len(asked),), target, dtype=torch.int64, device=batch.images.device)
                with torch.no_grad():
                    outputs = translator.translate(sources, targets, generator)
                judged = np.asarray(judge.probabilities(outputs.cpu())).argmax(axis=1)
                np.add.at(by_source, (own, targets.cpu().numpy(), judged), 1)
                seen[rows[asked], target] = judged
                moved.append((own, targets.cpu().numpy(), movement(sources.images, outputs)))
    except CannotTranslateError as error:
        return {**found, "refused": str(error)}
    columns = tuple(np.concatenate(column) for column in zip(*moved, strict=True))
    return {**found, "by_source": by_source, "moved": columns, "seen": dict(zip(test.face_ids, seen, strict=True))}


def _judged(judge: Judge, images: torch.Tensor, batch_size: int = 512) -> np.ndarray:
    """The judge's predictions, int [N]."""
    starts = range(0, len(images), batch_size)
    return np.concatenate(
        [np.asarray(judge.probabilities(images[start : start + batch_size])).argmax(axis=1) for start in starts]
    )


def _translated_faces(test: FaceTensors, settings: ScoreSettings) -> np.ndarray:
    """Positions of the test faces that are translated: all, or the settings' number of them."""
    if settings.max_test_faces is None or len(test) <= settings.max_test_faces:
        return np.arange(len(test))
    return _stratified(test.labels.numpy(), settings.max_test_faces, settings.seed)


def _stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` random indices, stratified by class (largest remainders), in ascending order."""
    random = np.random.default_rng(seed)
    sizes = np.bincount(labels)
    exact = sizes * count / len(labels)
    quota = np.floor(exact).astype(int)
    for label in np.argsort(-(exact - quota), kind="stable")[: count - quota.sum()]:
        quota[label] += 1
    chosen = [random.permutation(np.flatnonzero(labels == label))[: quota[label]] for label in range(len(sizes))]
    return np.sort(np.concatenate(chosen))


def _real_movement(test: FaceTensors, seed: int, pairs: int = 500) -> np.ndarray:
    """Movements between two real faces of one subject and different classes, as a reference for outputs."""
    random = np.random.default_rng(seed)
    labels = test.labels.cpu().numpy()
    members: dict[str, list[int]] = {}
    for position, subject in enumerate(test.subjects):
        if subject is not None:
            members.setdefault(subject, []).append(position)
    candidates = [
        (one, other)
        for positions in members.values()
        for one, other in zip(positions, random.permutation(positions).tolist(), strict=True)
        if labels[one] != labels[other]
    ][:pairs]
    if not candidates:
        return np.zeros(0)
    first, second = np.array(candidates).T
    return movement(test.images[torch.from_numpy(first)], test.images[torch.from_numpy(second)])


def _gallery(
    test: FaceTensors, translator: Translator, settings: ScoreSettings, device: torch.device | str
) -> dict[str, Any] | None:
    """An image with one row per test face: the input, then every class, of every data set that it makes faces of."""
    rows = _gallery_rows(test, settings.gallery_faces, settings.seed)
    faces = test.take(rows).to(device)
    columns = sheet_columns(translator, test.class_names)
    generator = torch.Generator().manual_seed(settings.seed)
    try:
        made = [_to_column(translator, faces, column, generator).cpu() for column in columns]
    except CannotTranslateError:
        return None
    sheet = torch.stack([faces.images.cpu(), *made], dim=1).permute(0, 3, 1, 4, 2).numpy()
    count, height, width_count, width, channels = sheet.shape
    return {
        "png": base64.b64encode(encode_png(sheet.reshape(count * height, width_count * width, channels))).decode(),
        "columns": ["input", *(column.heading for column in columns)],
        "row_labels": [test.class_names[int(label)] for label in faces.labels.cpu()],
        "size": test.size,
    }


def _to_column(translator: Translator, faces: FaceTensors, column: Column, generator: torch.Generator) -> torch.Tensor:
    """Faces translated to what a column shows, uint8 [N, C, H, W]."""
    targets = torch.full((len(faces),), column.label, dtype=torch.int64, device=faces.images.device)
    domains = None if column.domain is None else torch.full_like(targets, column.domain)
    with torch.no_grad():
        return translator.translate_to(faces, targets, domains, generator)


def _recognition_of_data_sets(
    fold: int, test: FaceTensors, translator: Translator, judge: Judge, settings: ScoreSettings, device: Any
) -> np.ndarray:
    """Counts int [M, M, 2] of faces of each of M data sets, translated to each: not recognized, and recognized."""
    counts = np.zeros((len(translator.data_sets),) * 2 + (2,), int)
    test = test.take(_translated_faces(test, settings))
    test = test.take(np.flatnonzero([source in translator.data_sets for source in test.sources or ()]))
    own = np.array([translator.data_sets.index(source) for source in test.sources or ()], int)
    generator = torch.Generator().manual_seed(settings.seed * 1000 + fold)
    starts = range(0, len(own), settings.batch_size)
    for start in track(starts, desc=f"fold {fold}: translating to data sets", unit="batches", leave=False):
        of = own[start : start + settings.batch_size]
        batch = test.take(range(start, start + len(of))).to(device)
        for column in sheet_columns(translator, test.class_names):
            judged = _judged(judge, _to_column(translator, batch, column, generator).cpu())
            made = np.full_like(of, column.domain)
            np.add.at(counts, (of, made, (judged == column.label).astype(int)), 1)
    return counts


def _gallery_rows(test: FaceTensors, count: int, seed: int) -> np.ndarray:
    """Indices of faces of different subjects, the classes in turn; the same for every translator."""
    random = np.random.default_rng(seed)
    labels = test.labels.cpu().numpy()
    by_class = {label: random.permutation(np.flatnonzero(labels == label)).tolist() for label in np.unique(labels)}
    chosen: list[int] = []
    used: set[str] = set()
    neutral = [label for label in by_class if test.class_names[int(label)] == "neutral"]
    # Two neutral faces first (what most sources are), then the other classes in turn.
    turns = [*neutral, *neutral, *[label for label in by_class if label not in neutral]]
    while len(chosen) < count and any(by_class.values()):
        for label in turns:
            candidates = by_class[label]
            fresh = next((row for row in candidates if (test.subjects[row] or str(row)) not in used), None)
            row = fresh if fresh is not None else next(iter(candidates), None)
            if row is None or len(chosen) >= count:
                continue
            candidates.remove(row)
            used.add(test.subjects[row] or str(row))
            chosen.append(row)
    return np.array(chosen, int)


def _combine(
    name: str,
    names: Sequence[str],
    sources: Sequence[str],
    publishable: bool,
    fold_numbers: Sequence[int],
    scored: Sequence[dict[str, Any]],
    lookup: InceptionLookup,
    settings: ScoreSettings,
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "version": SCORES_VERSION,
        "translator": name,
        "class_names": list(names),
        "sources": list(sources),
        "folds": list(fold_numbers),
        "settings": settings.model_dump(mode="json"),
        "unavailable": [] if lookup.path else [{"name": "FID and KID", "reason": lookup.reason}],
    }
    titles = {
        "inception": ("FID", "KID", "pytorch-fid's Inception, last average pooling"),
        "judge": ("FCD", "KCD", "the fold's judge, penultimate layer"),
    }
    result["distances"] = []
    for space, (frechet_name, kernel_name, features) in titles.items():
        per_fold = [fold["distances"][space] for fold in scored if space in fold["distances"]]
        if per_fold:
            result["distances"].append(
                {
                    "space": space,
                    "frechet_name": frechet_name,
                    "kernel_name": kernel_name,
                    "features": features,
                    "reference": f"real {settings.reference_split} faces, one half",
                    "dimension": per_fold[0]["dimension"],
                    "of": min(fold["of"] for fold in per_fold),
                    "short_of_synthetic": any(fold["short_of_synthetic"] for fold in per_fold),
                    "overall": _mean_distances([fold["overall"] for fold in per_fold])
                    | _mean_error([fold["overall"] for fold in per_fold]),
                    "per_class": {c: _mean_distances([fold["per_class"][c] for fold in per_fold]) for c in names},
                    "per_fold": [fold["overall"] for fold in per_fold],
                }
            )
    lines = [fold["lines"] for fold in scored]
    # The mean over folds; null if a fold has none.
    result["lines"] = (
        {key: float(np.mean([found[key] for found in lines])) for key in ("excess", "excess_floor")}
        | {"n": min(found["n"] for found in lines)}
        if all(lines)
        else None
    )
    real = [row for fold in scored for row in fold["judged_faces"]]
    result["judged_faces"] = columns_of(real)
    result["turned_faces"] = columns_of([row for fold in scored for row in fold.get("turned_faces", [])])
    right = sum(row["seen"] == row["label"] for row in real)
    result["judge_on_real"] = {"n": len(real), "accuracy": _ratio(right, len(real))}
    labels, judged = (np.concatenate(column) for column in zip(*(f["untranslated"] for f in scored), strict=True))
    result["translated_faces"] = {
        "n": len(labels),
        "accepted": sum(fold["accepted"] for fold in scored),
        "of": len(real),
    }
    result["requires"] = scored[0]["requires"]
    own_class_alone = scored[0]["own_class_alone"]
    result["untranslated"] = untranslated_baseline(labels, judged, len(names), own_class_alone=own_class_alone)
    refusals = sorted({fold["refused"] for fold in scored if "refused" in fold})
    if refusals:
        result["recognition"] = result["movement"] = None
        result["unavailable"].append({"name": "recognition and movement", "reason": "; ".join(refusals)})
    else:
        by_source = np.sum([fold["by_source"] for fold in scored], axis=0)
        result["recognition"] = recognition_scores(by_source.sum(axis=0), by_source)
        source, target, distance = (
            np.concatenate(column) for column in zip(*(fold["moved"] for fold in scored), strict=True)
        )
        result["movement"] = _movement_scores(source, target, distance, len(names), settings.moved_threshold)
        yardsticks = np.concatenate([fold["real_movement"] for fold in scored])
        result["movement"] |= {"real_pairs": _mean(yardsticks), "real_pairs_n": len(yardsticks)}
        if data_sets := scored[0].get("data_sets"):
            counts = np.sum([fold["of_data_sets"] for fold in scored], axis=0)
            result["recognition_of_data_sets"] = [
                {"source": source, "target": target, "n": int(found.sum()), "accuracy": _ratio(found[1], found.sum())}
                for source, row in zip(data_sets, counts, strict=True)
                for target, found in zip(data_sets, row, strict=True)
            ]
    sheet = scored[0].get("gallery")
    if sheet:
        sheet = {**sheet, "publishable": publishable, "sources": list(sources)}
    result["gallery"] = sheet
    return result


def _movement_scores(
    source: np.ndarray, target: np.ndarray, distance: np.ndarray, num_classes: int, threshold: float
) -> dict[str, Any]:
    changed = source != target
    return {
        "mean": _mean(distance[changed]),
        "median": float(np.median(distance[changed])) if changed.any() else None,
        "unmoved_share": _mean(distance[changed] < threshold),
        "threshold": threshold,
        "per_class": [_mean(distance[changed & (target == label)]) for label in range(num_classes)],
        "mean_to_own_class": _mean(distance[~changed]),
    }


def _mean_distances(per_fold: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over folds; n is the minimum, so that a warning about small samples is kept."""
    result: dict[str, Any] = {
        "n": min(fold["n"] for fold in per_fold),
        "small_sample": any(fold["small_sample"] for fold in per_fold),
    }
    for key in ("frechet", "kernel", "frechet_floor", "kernel_floor"):
        values = [fold[key] for fold in per_fold if fold[key] is not None]
        result[key] = float(np.mean(values)) if values else None
    return result


def _error_entries(error: GroupedError | None) -> dict[str, Any]:
    return {"frechet_error": error.error if error else None, "groups": error.groups if error else None}


def _mean_error(per_fold: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The error of the Frechet distances' mean over folds."""
    errors = [
        None if fold["frechet_error"] is None else GroupedError(fold["frechet_error"], fold["groups"])
        for fold in per_fold
    ]
    return _error_entries(mean_error(errors))


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
