"""What `benchmarks.translators` measures with: faces, an independent judge, the recipes, and the score.

Faces, judge and parsing network are made once and kept in a cache folder by the settings and the renderer's code that
they are made from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # timm would otherwise ask a network for names it already has

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from filelock import FileLock

from augment.core.errors import InputError, Problem
from augment.core.seeding import derive_seed
from augment.faces.rare import set_aside_rare
from augment.faces.splits import FoldSettings, assign_folds, fold_tables
from augment.faces.table import class_names, read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from augment.parsing.network import ParsingNetwork, ParsingSettings, load_parsing, save_parsing
from augment.parsing.training import train_parsing
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source
from augment.sources.base import Source
from augment.synthesis.generate import identity_shift
from augment.translators import create_translator, translator_names, translator_settings
from augment.translators.base import CannotTranslateError, Translator, UsesParsing
from classifiers.evaluation import predict
from classifiers.models import FaceClassifier, load_classifier, save_classifier
from classifiers.training import ClassifierSettings, train_classifier
from pipeline.parameters.translators import TranslatorEntry
from pipeline.profile import compose_profile
from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import compare_arms, summarize_arm

ROOT = Path(__file__).parent.parent
SIZE = 48
# What the translators learn from and are tested on: settings of the source `rig`, and how its faces are split.
FACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rare": ({"preset": "rare", "simulated": True}, {"kind": "source"}),
    "turned": (
        {"preset": "bu3dfe", "subjects": 30, "size": SIZE, "channels": 1, "simulated": True},
        {"kind": "subjects", "test_share": 0.4},
    ),
}
# Which recipes or methods learn from the turned faces; all others from the rare ones.
TURNED = ("lssl_pose", "simgan", "cyclegan_pose")
# The judge's people, as many of each class. A person is drawn from a seed and a number: other seeds, other people.
JUDGE_FACES = {
    "preset": "rare",
    "seed": 1000,
    "subjects": 400,
    "neutral_subjects": 0,
    "validation_subjects": 60,
    "test_subjects": 0,
}
JUDGE_CHANGES = {"model": {"name": "resnet18_narrow", "stem": "half", "width": 16}, "steps": 2000, "batch_size": 64}
TRANSLATE_BATCH = 128


def key_of(*parts: Any) -> str:
    """A short name of JSON values, the same for the same values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def renderer_key() -> str:
    """Changes with the code that draws the faces."""
    files = sorted((ROOT / "augment" / "rig").glob("*.py"))
    return key_of([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


def cpu_scale() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conf" / "scale" / "cpu.yaml").read_text(encoding="utf-8"))


def prepared_tables(
    folder: Path,
    open_faces: Callable[[], Source],
    folds: FoldSettings,
    *,
    image_size: int,
    channels: int,
    rare: Mapping[str, int | None] | None = None,
) -> dict[str, pa.Table]:
    """The rows of a data set by split, prepared once in a folder and split as a run does it; pictures undecoded.

    With `rare` only so many training faces of each class, those that a run of seed 0 keeps.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "report.json").is_file():
            prepare_faces(open_faces(), folder, image_size=image_size, channels=channels)
    faces = read_faces(folder)
    duplicates = pq.read_table(folder / "duplicates.parquet")
    assigned = assign_folds(faces, folds, 0, duplicates=duplicates)
    if rare is not None:
        assigned = set_aside_rare(faces, assigned, rare, class_names(faces.schema), 0)
    return fold_tables(faces, assigned, 0)


def embedded_faces(
    cache: Path, settings: Mapping[str, Any], folds: Mapping[str, Any]
) -> tuple[dict[str, FaceTensors], str]:
    """Faces by split, prepared and split as a run does it, and the key of what they are."""
    folder = cache / f"faces-{key_of(SIZE, dict(settings), renderer_key())}"
    how = FoldSettings.model_validate(folds)
    tables = prepared_tables(folder, lambda: open_source("rig", **settings), how, image_size=SIZE, channels=1)
    key = key_of(folder.name, how.model_dump(mode="json"))
    return {split: face_tensors(table) for split, table in tables.items() if len(table)}, key


def independent_judge(cache: Path) -> tuple[FaceClassifier, str]:
    """The classifier that decides here, and its key."""
    settings = ClassifierSettings.model_validate({**cpu_scale()["judge"]["classifier"], **JUDGE_CHANGES})
    key = key_of(SIZE, JUDGE_FACES, renderer_key(), settings.model_dump(mode="json"))
    path = cache / f"judge-{key}.safetensors"
    if not path.is_file():
        faces, _ = embedded_faces(cache, JUDGE_FACES, {"kind": "source"})
        trained = train_classifier(settings, real=faces["train"], validation=faces["validation"], seed=0)
        save_classifier(trained.model, path, class_names=faces["train"].class_names, size=SIZE)
    return load_classifier(path)[0], key


def parsing_network(cache: Path, faces: Mapping[str, FaceTensors], faces_key: str) -> ParsingNetwork:
    settings = ParsingSettings.model_validate(cpu_scale()["parsing"]["training"])
    path = cache / f"parsing-{key_of(faces_key, settings.model_dump(mode='json'))}.safetensors"
    if not path.is_file():
        network, _ = train_parsing(faces["train"], faces.get("validation"), settings, 0, "cpu")
        save_parsing(network, path)
    return load_parsing(path)


class Bench:
    """What translators are trained on and scored by.

    Attributes:
        name: Of the faces, in FACES.
        source: The settings of their source.
        faces: By split.
        faces_key: Tells these faces from others.
        judge: The classifier that decides.
        judge_key: Tells it from others.
        judge_accuracy: On the untranslated test faces.
    """

    def __init__(self, name: str, cache: Path, people: int) -> None:
        settings, folds = FACES[name]
        self.name = name
        self.source = {**settings, "seed": people}
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "lock"):
            self.faces, self.faces_key = embedded_faces(cache, self.source, folds)
            self.judge, self.judge_key = independent_judge(cache)
        test = self.faces["test"]
        right = predict(self.judge, test).argmax(axis=1) == test.labels.numpy()
        self.judge_accuracy = float(right.mean())

    def create(self, method: str, settings: Mapping[str, Any], seed: int = 0) -> Translator:
        train = self.faces["train"]
        translator = create_translator(
            method,
            num_classes=len(train.class_names),
            channels=train.channels,
            size=train.size,
            settings=settings,
            seed=derive_seed(seed, "translator", method),
        )
        if isinstance(translator, UsesParsing):
            with FileLock(self.cache / "lock"):
                translator.attach_parsing(parsing_network(self.cache, self.faces, self.faces_key))
        return translator


def open_bench(name: str, cache: Path, people: int = 0) -> Bench:
    """The bench for a recipe, with the people of a seed; each is opened once."""
    return _open_bench("turned" if {name, recipe(name).method} & set(TURNED) else "rare", cache, people)


@lru_cache
def _open_bench(kind: str, cache: Path, people: int) -> Bench:
    bench = Bench(kind, cache, people)
    click.echo(f"the judge's accuracy on {len(bench.faces['test'])} {kind} test faces: {bench.judge_accuracy:.3f}")
    return bench


# Recipes


@lru_cache
def recipes() -> dict[str, dict[str, Any]]:
    """Every recipe of conf/recipe with what it has from its base, in the order in which the methods are registered."""
    names = ",".join(sorted(file.stem for file in (ROOT / "conf" / "recipe").glob("*.yaml")))
    found = yaml.safe_load(compose_profile(ROOT, ["scale=cpu", f"+recipe=[{names}]"]))["translators"]
    places = {method: place for place, method in enumerate(translator_names())}
    return dict(sorted(found.items(), key=lambda item: places.get(item[1]["method"], len(places))))


def recipe(name: str, overrides: Mapping[str, Any] | None = None) -> TranslatorEntry:
    """A recipe, checked, with some of its values replaced (`{"settings.width": 8}`).

    Raises:
        InputError: There is none of this name, or it has a key or a value that can't be.
    """
    known = recipes()
    if name not in known:
        raise InputError(Problem(f"recipe {name}", f"is none of {', '.join(known)}", f"write conf/recipe/{name}.yaml"))
    values = json.loads(json.dumps(known[name]))
    for path, value in (overrides or {}).items():
        *sections, last = path.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    try:
        entry = TranslatorEntry.model_validate(values)
    except ValueError as error:
        raise InputError(Problem(f"recipe {name}", str(error))) from error
    settings = translator_settings(entry.method, entry.settings)
    return entry.model_copy(update={"settings": settings.model_dump(mode="json")})


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """`["settings.width=8"]` as `{"settings.width": 8}`; values are YAML."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(Problem(text, "sets nothing", "write it as settings.width=8"))
        found[key] = yaml.safe_load(value)
    return found


# The score


@dataclass(frozen=True)
class Translations:
    """Test faces, each translated to the classes that it is a source for; a row is a face and a target.

    Attributes:
        rows: face_id, subject, target.
        before: What the judge says of the face as it was, float32 [N, K].
        after: What it says of the translated face, float32 [N, K].
        simulated: What it says of the simulated face, float32 [N, K]; None where the faces have none.
        shifts: How far the pixels moved, 0..1, float32 [N].
    """

    rows: pd.DataFrame
    before: np.ndarray
    after: np.ndarray
    simulated: np.ndarray | None
    shifts: np.ndarray


@torch.no_grad()
def translate_test_faces(translator: Translator, faces: FaceTensors, judge: FaceClassifier, seed: int) -> Translations:
    """Translates to every class the faces of all other classes, or of that class where the translator keeps classes."""
    translator.eval()
    keeps = translator.keeps_class
    usable = translator.usable_sources(faces)
    untranslated = predict(judge, faces)
    rows, chosen, after, shifts = [], [], [], []
    for target, class_name in enumerate(faces.class_names):
        generator = torch.Generator().manual_seed(derive_seed(seed, "score", class_name))
        wanted = (faces.labels == target) == keeps
        for positions in torch.nonzero(wanted & usable)[:, 0].split(TRANSLATE_BATCH):
            sources = faces.take(positions)
            outputs = translator.translate(sources, torch.full((len(sources),), target), generator)
            shifts.append(identity_shift(outputs, sources.images).numpy())
            chosen.append(positions.numpy())
            after.append(predict(judge, outputs))
            rows += [(*names, target) for names in zip(sources.face_ids, sources.subjects, strict=True)]
    if not rows:
        raise CannotTranslateError(f"no test face can be a source of {translator.name}")
    order = np.concatenate(chosen)
    return Translations(
        rows=pd.DataFrame(rows, columns=["face_id", "subject", "target"]),
        before=untranslated[order],
        after=np.concatenate(after),
        simulated=None if faces.simulated is None else predict(judge, faces.simulated)[order],
        shifts=np.concatenate(shifts),
    )


def score(translations: Translations, class_names: Sequence[str]) -> dict[str, Any]:
    """Shares of faces that the judge takes for their target, before and after, and the difference's 95 % interval.

    Every class counts alike. The interval is that of the report, over whole subjects.
    """

    def arm(name: str, probabilities: np.ndarray) -> Predictions:
        rows = translations.rows
        return Predictions(
            arm=name,
            class_names=tuple(class_names),
            rows=pd.DataFrame(
                {
                    "fold": 0,
                    "seed": 0,
                    "face_id": rows["face_id"] + " as " + rows["target"].astype(str),
                    "subject": rows["subject"],
                    "label": rows["target"],
                    "predicted": probabilities.argmax(axis=1),
                }
            ),
        )

    before, after = arm("untranslated", translations.before), arm("translated", translations.after)
    comparison = compare_arms(after, before, BootstrapSettings())
    targets = translations.rows["target"].to_numpy()
    found: dict[str, Any] = {"sources": len(targets), "difference": asdict(comparison.balanced_accuracy)}
    arms = [(before, translations.before), (after, translations.after)]
    if translations.simulated is not None:
        arms.append((arm("simulated", translations.simulated), translations.simulated))
    for predictions, probabilities in arms:
        summary = summarize_arm(predictions)
        of_target = pd.Series(probabilities[np.arange(len(targets)), targets])
        found[predictions.arm] = {
            "recognition": summary.balanced_accuracy,
            "per_class": dict(zip(class_names, summary.recalls, strict=True)),
            "probability": float(of_target.groupby(targets).mean().mean()),
        }
    found["identity_shift"] = float(pd.Series(translations.shifts).groupby(targets).mean().mean())
    return found
