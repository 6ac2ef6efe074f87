"""Faces x targets -> shards: the synthetic faces of one translator in one fold.

**Nested.** Face i of a class is the same face whatever the number per class is, so that 500 faces are the first of
1,000. A translator draws its random numbers from one generator per batch, and a network's rounding depends on the
batch, so the faces of a class are made in blocks of a fixed size: block b of a class always has the same sources and a
generator seeded by (seed, fold, class, b), and is always generated whole, even where only its first faces are wanted.

**No copies.** A face that is a copy of a training face, of whichever and as it is or mirrored, is rejected. In its
place comes that position's face of the block made again, from other sources and with another generator, seeded by
(seed, fold, class, b, attempt). So the number per class is reached, and nesting holds.

**Bounded.** One shard at a time: its blocks are generated, encoded, written and forgotten.

**Divided.** Processes, each on a GPU or core of its own, can make shards at once: no face depends on another shard.

**Resumable.** A shard whose footer, row count and configuration hash check out is not built again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.precision import PrecisionChoice
from augment.core.processes import run_in_processes
from augment.core.progress import track
from augment.core.replacing import replace_folder
from augment.core.seals import check_replaceable, claim_folder, seal_announced, seal_folder
from augment.core.seeding import derive_seed
from augment.faces.copies import TrainingFaces
from augment.faces.images import encode_png
from augment.faces.judge import Judge
from augment.faces.licences import Licence, as_licence
from augment.faces.shards import (
    announce_shards,
    keep_only_shards,
    seal_shard,
    shard_is_complete,
    shard_path,
    write_card,
    write_shard,
)
from augment.faces.splits import fold_splits
from augment.faces.table import face_schema, schema_metadata
from augment.faces.tensors import FaceTensors
from augment.translators.base import CannotTranslateError, Translator

_WORTH_A_PROCESS = 4000  # faces that pay for the start of a process
ATTEMPTS = 20  # to put another face in the place of a copy
COPY_OF_TRAINING_FACE = "copy of a training face"

Reload = Callable[[str], tuple[Translator, FaceTensors]]  # by the device


class SynthesisSettings(BaseModel):
    """What to make.

    Attributes:
        per_class: Faces of each target class.
        source_selection: `preferred` takes the sources that the translator prefers (warp: neutral faces; the learned
            ones have no preference) wherever one of another class is among them, `any` every training face that it
            accepts.
        exclude_same_class: A face isn't translated to the class that it has already, where others can be.
        block_size: Faces generated together; part of what makes a face what it is (see the module).
        rows_per_shard: Largest shard, of all classes together; rounded up to whole blocks of each.
        encoding_threads: Threads that encode PNG files; pays on many cores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_class: int = Field(default=500, ge=1)
    source_selection: Literal["preferred", "any"] = "preferred"
    exclude_same_class: bool = True
    block_size: int = Field(default=50, ge=1, le=1024)
    rows_per_shard: int = Field(default=2000, ge=1, le=20_000)
    encoding_threads: int = Field(default=1, ge=1, le=64)


@dataclass(frozen=True)
class SynthesisReport:
    """What was made; the same for a run that was killed and resumed, but for the last two.

    Attributes:
        translator: The translator's name.
        fold: The fold.
        seed: The seed.
        faces: Faces by class.
        sources: Distinct source faces.
        most_uses_of_a_source: How often the most used source was used.
        identity_shift: Mean over each class's faces of the mean absolute pixel difference from the source (0..1).
        rejected: By class and reason, the faces that others stand in place of.
        made_now: Faces that this call made, beside shards that were there.
        images_per_second: Of this call; None where it made none.
    """

    translator: str
    fold: int
    seed: int
    faces: dict[str, int]
    sources: int
    most_uses_of_a_source: int
    identity_shift: dict[str, float]
    rejected: dict[str, dict[str, int]]
    made_now: int
    images_per_second: float | None


@dataclass(frozen=True)
class _Shard:
    """The faces start ... stop - 1 of every class."""

    index: int
    start: int
    stop: int


def identity_shift(outputs: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """How far outputs moved from their sources: the mean absolute difference of the pixels, as a share of the range.

    Plain on purpose. A translator that copies its input scores 0 and can't hide it; structural similarity would
    punish a changed grain of noise as much as a changed mouth on pictures as small as ours.

    Args:
        outputs: uint8 [N, C, H, W].
        sources: uint8 [N, C, H, W].

    Returns:
        float32 [N], 0..1.
    """
    return (outputs.float() - sources.float()).abs().mean(dim=(1, 2, 3)) / 255.0


def synthesize(
    translator: Translator,
    train: FaceTensors,
    settings: SynthesisSettings,
    *,
    out: Path,
    seed: int,
    fold: int,
    translator_name: str,
    weights_sha256: str | None,
    configuration_hash: str,
    class_names: Sequence[str],
    licence: Licence | str,
    scratch: Path | None = None,
    device: torch.device | str = "cpu",
    judge: Judge | None = None,
    source: str = "synthetic",
    folds: pa.Table | None = None,
    precision: PrecisionChoice | None = None,
    reload: Reload | None = None,
    processes: int = 1,
    threads: int = 1,
    gpus: Sequence[str] = (),
) -> SynthesisReport:
    """Makes `per_class` faces of every class and writes them as a dataset directory.

    Args:
        translator: Fitted or trained on this fold's training faces.
        train: This fold's training faces; nothing else may be a source.
        settings: What to make.
        out: The dataset directory.
        seed: Of the choice of sources and of the translator's random numbers.
        fold: The fold's number; goes into every row.
        translator_name: Goes into every row and face_id.
        weights_sha256: Of the translator's weights file; None where it has none.
        configuration_hash: Of everything that the caller knows to matter (parameters, data, code). A shard of
            another configuration, seed, weights file or set of training faces is built again.
        class_names: Names of the classes in label order.
        licence: For the dataset's card: that of the training faces, whose terms hold for what is made from them.
        scratch: Where the dataset is built; it takes the place of `out` when it is whole. By default it is built in
            `out` itself.
        device: Where the translator lies and works.
        judge: Gives `confidence` at once; by default it stays null until selection.
        source: For the rows' `source` column.
        folds: Table with `face_id`, `fold`, `split`; where given, training faces that it doesn't call training faces
            of this fold are refused.
        precision: In which the translator was trained, for the dataset's card.
        reload: Gives the same translator, in evaluation mode, and the same training faces in a worker process: a frozen
            dataclass with `__call__`, or anything else that is callable, picklable and hashable by value. None, or a
            judge: all shards are made here.
        processes: How many shards are made at once; no face depends on it.
        threads: Of each process, where there are several.
        gpus: Which the processes take by turns (`augment.core.processes`).

    Returns:
        Counts and shifts; also written to `out/report.json`, but for its timing.

    Raises:
        InputError: The classes disagree, `train` is empty, or holds faces that are not the fold's training rows; the
            licence says nothing; or `out` or `scratch` holds files that this tool did not write.
        CannotTranslateError: No training face can be this translator's source, or it makes copies of training faces.
    """
    started = time.monotonic()
    out, built_in = Path(out), Path(scratch) if scratch is not None else Path(out)
    _check_input(train, class_names, fold, folds)
    licence = as_licence(licence)
    if built_in != out:
        check_replaceable(out)
    pools = _source_pools(translator, train, settings)
    full_hash = _full_hash(train, settings, configuration_hash, seed, fold, translator_name, weights_sha256, judge)
    metadata: dict[str, Any] = {"configuration_hash": full_hash, "run_configuration_hash": configuration_hash}
    shards = list(_shards(settings, len(class_names)))
    paths = [shard_path(built_in, "train", shard.index) for shard in shards]
    claim_folder(built_in)
    seal_announced(built_in)
    keep_only_shards(built_in, paths)
    about = _About(settings, seed, fold, translator_name, weights_sha256, tuple(class_names), source, metadata)
    rows = {shard: (shard.stop - shard.start) * len(class_names) for shard in shards}
    places = dict(zip(shards, paths, strict=True))
    missing = [shard for shard in shards if not shard_is_complete(places[shard], rows[shard], full_hash)]
    made = sum(rows[shard] for shard in missing)
    total = settings.per_class * len(class_names)
    with track(total=total, initial=total - made, unit="faces", desc=f"{translator_name} fold {fold}") as bar:
        workers = min(processes, len(missing), made // _WORTH_A_PROCESS)
        if reload is not None and judge is None and workers > 1:
            calls = [
                {"reload": reload, "device": str(device), "about": about, "shard": shard, "path": places[shard]}
                for shard in missing
            ]
            announce_shards(built_in, [places[shard] for shard in missing])
            for done, _ in run_in_processes(
                _make_shard_in_worker, calls, processes=workers, threads=threads, gpus=gpus
            ):
                seal_shard(built_in, places[missing[done]])
                bar.update(rows[missing[done]])
        else:
            blocks = _BlockMaker(translator, train.to(device), pools, settings, seed, fold)
            for shard in missing:
                _make_shard(blocks, about, shard, places[shard], judge, bar.update)
    counts, report = _summary(paths, translator_name, fold, seed, made, time.monotonic() - started)
    write_card(
        built_in,
        title=f"Synthetic faces by {translator_name}, fold {fold}",
        description=(
            f"{settings.per_class} faces of each of {len(class_names)} classes, made by `{translator_name}` from the "
            f"training faces of fold {fold} with seed {seed}. `identity_shift` is the mean absolute pixel difference "
            "from the source (0..1)." + (f" The translator was trained in {precision.sentence}." if precision else "")
        ),
        licence=licence,
        class_names=class_names,
        splits={"train": sum(counts.values())},
        synthetic=True,
    )
    timeless = {key: value for key, value in asdict(report).items() if key not in ("made_now", "images_per_second")}
    atomic_write_text(built_in / "report.json", json.dumps(timeless, indent=2) + "\n")
    if built_in != out:
        replace_folder(built_in, out)
    else:
        seal_folder(out)
    return report


@dataclass(frozen=True)
class _About:
    """What a shard's rows say beside their faces, the same in every shard."""

    settings: SynthesisSettings
    seed: int
    fold: int
    translator_name: str
    weights_sha256: str | None
    class_names: tuple[str, ...]
    source: str
    metadata: Mapping[str, Any]


def _make_shard(
    blocks: _BlockMaker,
    about: _About,
    shard: _Shard,
    path: Path,
    judge: Judge | None = None,
    made: Callable[[int], object] = lambda count: None,
    sealed: bool = True,
) -> None:
    """Makes a shard's faces and writes them; `made` is told how many there are, block by block."""
    settings, names, fold = about.settings, about.class_names, about.fold
    rows: list[dict[str, Any]] = []
    copies: Counter[str] = Counter()
    numbers = range(shard.start // settings.block_size, -(-shard.stop // settings.block_size))
    with ThreadPoolExecutor(settings.encoding_threads) as encoders:
        for label, block in ((label, block) for label in range(len(names)) for block in numbers):
            first = block * settings.block_size
            kept = min(settings.block_size, shard.stop - first)
            outputs, sources, rejected = blocks.make(label, block, kept)
            copies[names[label]] += rejected
            shifts = identity_shift(outputs, sources.images).cpu().numpy()
            confidence = None if judge is None else judge.probabilities(outputs)[:, label]
            pixels = outputs.permute(0, 2, 3, 1).cpu().numpy()
            encoded = encoders.map(encode_png, pixels)
            for position, data in enumerate(encoded):
                rows.append(
                    {
                        "image": {"bytes": data, "path": None},
                        "label": label,
                        "label_name": names[label],
                        "face_id": f"{about.translator_name}-f{fold}-{names[label]}-{first + position:06d}",
                        "subject": sources.subjects[position],
                        "source": about.source,
                        "split": "train",
                        "synthetic": True,
                        "source_id": sources.face_ids[position],
                        "source_label": names[int(sources.labels[position])],
                        "translator": about.translator_name,
                        "weights_sha256": about.weights_sha256,
                        "seed": about.seed,
                        "fold": fold,
                        "confidence": None if confidence is None else float(confidence[position]),
                        "identity_shift": float(shifts[position]),
                    }
                )
            made(kept)
    rejections = {name: {COPY_OF_TRAINING_FACE: count} for name, count in copies.items() if count}
    schema = face_schema(names, metadata={**about.metadata, "rejected": rejections})
    write_shard(path, _in_turn(rows, len(names)), schema, sealed)


def _make_shard_in_worker(*, reload: Reload, device: str, about: _About, shard: _Shard, path: Path) -> None:
    blocks = _blocks_in_worker(reload, device, about.settings, about.seed, about.fold)
    _make_shard(blocks, about, shard, path, sealed=False)  # a seal has one writer at a time: the parent


@lru_cache(maxsize=1)
def _blocks_in_worker(reload: Reload, device: str, settings: SynthesisSettings, seed: int, fold: int) -> _BlockMaker:
    """A worker's own, kept for all of its shards."""
    translator, train = reload(device)
    return _BlockMaker(translator, train.to(device), _source_pools(translator, train, settings), settings, seed, fold)


def _check_input(train: FaceTensors, class_names: Sequence[str], fold: int, folds: pa.Table | None) -> None:
    if tuple(class_names) != train.class_names:
        why = f"has the classes {list(train.class_names)}, but {list(class_names)} are wanted"
        raise InputError(Problem("the training faces", why, "give both from one prepared data set"))
    if not len(train):
        raise InputError(Problem(f"fold {fold}", "has no training faces", "look at the folds' table"))
    if folds is not None:
        splits = fold_splits(folds, fold)
        strangers = [face for face in train.face_ids if splits.get(face) != "train"]
        if strangers:
            raise InputError(
                [Problem(f"face {face}", f"is no training face of fold {fold}") for face in strangers],
                f"{len(strangers)} faces may not be sources (pass the fold's training rows only):",
            )


def _source_pools(translator: Translator, train: FaceTensors, settings: SynthesisSettings) -> list[np.ndarray]:
    """Positions of the training faces that may be sources, for each target class."""
    usable = translator.usable_sources(train).cpu()
    if not bool(usable.any()):
        raise CannotTranslateError(
            f"none of the {len(train)} training faces can be a source of {type(translator).__name__}: they lack what "
            "it needs, such as landmarks. Annotate the faces, or choose another translator."
        )
    prefers = translator.preferred_sources(train.labels, train.class_names)
    preferred = usable
    if settings.source_selection == "preferred" and prefers is not None:
        preferred = usable & prefers.cpu()
    labels = train.labels.cpu()
    pools = []
    for label, name in enumerate(train.class_names):
        allowed = torch.ones_like(usable)
        if translator.keeps_class:
            allowed = labels == label
            if not bool((usable & allowed).any()):
                raise CannotTranslateError(
                    f"{type(translator).__name__} keeps its sources' class, and no training face of {name} can be a "
                    "source. Leave the class out, or choose a translator that is conditioned on the wanted class."
                )
        elif settings.exclude_same_class and bool((usable & (labels != label)).any()):
            allowed = labels != label
        # Preference gives way: where the preferred sources are all of the target's class, others are taken.
        pool = next(pool for pool in (preferred & allowed, usable & allowed) if bool(pool.any()))
        pools.append(torch.nonzero(pool)[:, 0].numpy())
    return pools


class _BlockMaker:
    """Makes blocks of faces, none of them a copy of a training face."""

    def __init__(
        self,
        translator: Translator,
        train: FaceTensors,
        pools: Sequence[np.ndarray],
        settings: SynthesisSettings,
        seed: int,
        fold: int,
    ) -> None:
        self._translator, self._train, self._pools = translator, train, pools
        self._settings, self._seed, self._fold = settings, seed, fold
        self._training_faces = TrainingFaces(train.images)

    def make(self, label: int, block: int, kept: int) -> tuple[torch.Tensor, FaceTensors, int]:
        """The first `kept` faces of a block, their sources, and how many copies were rejected on the way.

        Raises:
            CannotTranslateError: Copies came at every attempt.
        """
        positions, outputs = self._attempt(label, block, 0)
        positions, outputs = positions[:kept], outputs[:kept].clone()
        copies = self._training_faces.copied_by(outputs)
        rejected = int(copies.sum())
        for attempt in range(1, ATTEMPTS):
            if not bool(copies.any()):
                return outputs, self._train.take(positions), rejected
            again = copies.clone()
            others, made = self._attempt(label, block, attempt)
            positions[again.numpy()] = others[:kept][again.numpy()]
            outputs[again.to(outputs.device)] = made[:kept][again.to(outputs.device)]
            copies[again] = self._training_faces.copied_by(outputs[again.to(outputs.device)])
            rejected += int(copies.sum())
        raise CannotTranslateError(
            f"{type(self._translator).__name__} copies training faces: of {kept} faces of "
            f"{self._train.class_names[label]}, {int(copies.sum())} were copies of one at each of {ATTEMPTS} attempts. "
            "Train it longer or with other settings, or leave it out."
        )

    def _attempt(self, label: int, block: int, attempt: int) -> tuple[np.ndarray, torch.Tensor]:
        again = (attempt,) if attempt else ()
        positions = _sources_of_block(self._pools[label], label, block, self._settings, self._seed, self._fold)
        if attempt:
            other_seed = derive_seed(self._seed, "other sources", self._fold, label, block, attempt)
            positions = np.random.default_rng(other_seed).choice(self._pools[label], self._settings.block_size)
        sources = self._train.take(positions)
        targets = torch.full((len(sources),), label, dtype=torch.int64, device=sources.images.device)
        name = self._train.class_names[label]
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "synthesis", self._fold, name, block, *again))
        return positions, self._translator.translate(sources, targets, generator)


def _sources_of_block(
    pool: np.ndarray, label: int, block: int, settings: SynthesisSettings, seed: int, fold: int
) -> np.ndarray:
    """Round-robin over permutations of the pool, a new one each round, so that sources repeat as little as can be."""
    wanted = np.arange(block * settings.block_size, (block + 1) * settings.block_size)
    chosen = np.empty_like(wanted)
    for turn in np.unique(wanted // len(pool)):
        generator = np.random.default_rng(derive_seed(seed, "sources", fold, label, int(turn)))
        order = generator.permutation(pool)
        here = wanted // len(pool) == turn
        chosen[here] = order[wanted[here] % len(pool)]
    return chosen


def _shards(settings: SynthesisSettings, classes: int) -> Iterator[_Shard]:
    rows = -(-settings.rows_per_shard // (settings.block_size * classes)) * settings.block_size
    for index, start in enumerate(range(0, settings.per_class, rows)):
        yield _Shard(index, start, min(start + rows, settings.per_class))


def _in_turn(rows: Sequence[Mapping[str, Any]], classes: int) -> list[Mapping[str, Any]]:
    """Rows that come class by class, in turn: the first of each class, the second of each, and so on.

    So the rows for a smaller number per class are the first rows of those for a larger one, and a reader that does not
    shuffle meets every class.
    """
    seen = [0] * classes
    places = []
    for row in rows:
        places.append((seen[row["label"]], row["label"]))
        seen[row["label"]] += 1
    return [rows[index] for index in sorted(range(len(rows)), key=places.__getitem__)]


def _full_hash(
    train: FaceTensors,
    settings: SynthesisSettings,
    configuration_hash: str,
    seed: int,
    fold: int,
    translator_name: str,
    weights_sha256: str | None,
    judge: Judge | None,
) -> str:
    """A hash of everything that a shard's faces depend on: not the number per class, whose change leaves them be."""
    facts = {
        "configuration": configuration_hash,
        "settings": settings.model_dump(exclude={"per_class", "encoding_threads"}),
        "seed": seed,
        "fold": fold,
        "translator": translator_name,
        "weights": weights_sha256,
        "judged": judge is not None,
        "classes": train.class_names,
        "faces": train.face_ids,
        "shape": list(train.images.shape),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(train.images.cpu().contiguous().numpy().tobytes())
    digest.update(train.labels.cpu().numpy().tobytes())
    if train.landmarks is not None:
        digest.update(train.landmarks.cpu().contiguous().numpy().tobytes())
    if train.simulated is not None:
        digest.update(train.simulated.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _summary(
    paths: Sequence[Path], translator: str, fold: int, seed: int, made: int, seconds: float
) -> tuple[Mapping[str, int], SynthesisReport]:
    """Reads the shards' own columns, so that a resumed run reports what an undisturbed one would."""
    faces: Counter[str] = Counter()
    shifts: dict[str, float] = {}
    uses: Counter[str] = Counter()
    rejected: dict[str, Counter[str]] = {}
    for path in paths:
        table = pq.read_table(path, columns=["label_name", "source_id", "identity_shift"])
        uses.update(table.column("source_id").to_pylist())
        shift = table.column("identity_shift").to_numpy().astype(np.float64)
        names = np.asarray(table.column("label_name").to_pylist(), dtype=object)
        for name in dict.fromkeys(names):
            faces[name] += int((names == name).sum())
            shifts[name] = shifts.get(name, 0.0) + float(shift[names == name].sum())
            rejected.setdefault(name, Counter())
        for name, found in schema_metadata(pq.read_schema(path))["rejected"].items():
            rejected[name].update(found)
    report = SynthesisReport(
        translator=translator,
        fold=fold,
        seed=seed,
        faces=dict(faces),
        sources=len(uses),
        most_uses_of_a_source=max(uses.values()),
        identity_shift={name: shifts[name] / faces[name] for name in faces},
        rejected={name: dict(found) for name, found in rejected.items()},
        made_now=made,
        images_per_second=made / max(seconds, 1e-9) if made else None,
    )
    return faces, report
