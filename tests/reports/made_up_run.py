"""Files of a run with seeded chance in place of training: what a report is made from, in a second."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augment.faces.images import encode_png
from augment.faces.leakage import SplitDuplicates
from augment.prepare.prepare import PreparationReport
from augment.synthesis.selection import SelectionReport
from reports.code_version import CodeVersion
from reports.cost import RunRecord, StageRecord
from reports.inputs import Refusal, ReportInputs
from reports.judged_faces import columns_of
from reports.metrics.scores import feature_distances, recognition_scores, untranslated_baseline
from reports.settings import SCORES_VERSION

NAMES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CODE = CodeVersion(commit="0123456789abcdef0123456789abcdef01234567", changed=("params.yaml",))
OLDER = CodeVersion(commit="fedcba9876543210fedcba9876543210fedcba98", changed=())
ARMS: dict[str, dict[str, Any]] = {
    "real": {"kind": "real", "translator": None, "per_class": None},
    "classical": {"kind": "real", "augmentation": "classical"},
    "oversampled": {"kind": "oversampled"},
    "warp-200": {"kind": "synthetic", "translator": "warp", "per_class": 200, "share": 0.5},
    "warp-400": {"kind": "synthetic", "translator": "warp", "per_class": 400, "share": 0.5},
    "lssl-400": {"kind": "synthetic", "translator": "lssl", "per_class": 400, "share": 0.5},
    "stargan-400": {"kind": "synthetic", "translator": "stargan", "per_class": 400, "share": 0.5},
    "warp-only": {"kind": "synthetic_only", "translator": "warp", "per_class": 400},
    "hog": {"kind": "hog"},
    "simgan-400": {"kind": "synthetic", "translator": "simgan", "per_class": 400},
}
SKILLS = {
    "real": 0.58,
    "classical": 0.61,
    "oversampled": 0.585,
    "warp-200": 0.67,
    "warp-400": 0.71,
    "lssl-400": 0.60,
    "stargan-400": 0.53,
    "warp-only": 0.62,
    "hog": 0.44,
}


def write_predictions(folder: Path, *, folds: int = 2, seeds: int = 3, subjects: int = 40) -> dict[str, Path]:
    shared = np.random.default_rng(1)
    tests = []
    for fold in range(folds):
        for subject in range(subjects):
            ease = shared.normal(0, 0.12)
            for label in range(len(NAMES)):
                penalty = -0.12 if NAMES[label] in ("disgust", "fear") else 0.03
                tests.append((fold, f"p{fold}{subject:02d}", label, ease + penalty, shared.random()))
    paths = {}
    for arm, skill in SKILLS.items():
        random = np.random.default_rng([7, sum(arm.encode())])
        rows = []
        for seed in range(seeds):
            run = random.normal(0, 0.015)
            for number, (fold, subject, label, ease, hardness) in enumerate(tests):
                right = hardness < skill + ease + run + random.normal(0, 0.07)
                predicted = label if right else int((label + random.choice([1, 1, 2, 3, 4, 5, 6])) % len(NAMES))
                chance = random.dirichlet(np.ones(len(NAMES)))
                probabilities = ((np.eye(len(NAMES))[predicted] + chance) / 2).astype(np.float32).tolist()
                for split in ("validation", "test"):
                    rows.append(
                        {
                            "arm": arm,
                            "fold": fold,
                            "seed": seed,
                            "split": split,
                            "face_id": f"{split}-{number:05d}",
                            "subject": subject,
                            "label": label,
                            "predicted": predicted if split == "test" else label,
                            "probabilities": probabilities,
                        }
                    )
        table = pa.Table.from_pylist(rows).replace_schema_metadata(
            {b"s2l": json.dumps({"class_names": list(NAMES)}).encode()}
        )
        paths[arm] = folder / "predictions" / f"{arm}.parquet"
        paths[arm].parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, paths[arm])
    return paths


def write_histories(folder: Path) -> dict[str, Path]:
    random = np.random.default_rng(2)
    paths = {}
    for arm, skill in SKILLS.items():
        if arm == "hog":
            continue
        lines = []
        for fold in range(2):
            for seed in range(3):
                for step in range(50, 401, 50):
                    accuracy = skill * (1 - np.exp(-step / 90)) + random.normal(0, 0.01)
                    line = {"arm": arm, "fold": fold, "seed": seed, "step": step, "loss": 2 - accuracy}
                    lines.append(json.dumps({**line, "accuracy": accuracy}))
        paths[arm] = folder / "histories" / f"{arm}.jsonl"
        paths[arm].parent.mkdir(parents=True, exist_ok=True)
        paths[arm].write_text("\n".join(lines) + "\n")
    return paths


def draw_face(random: np.random.Generator, target: int, tone: float, size: int = 48) -> np.ndarray:
    """An oval with eyes and a mouth that opens and bends with the class; enough to see a sheet's layout."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    picture = np.full((size, size), 40.0) + 20 * x
    picture[(x / 0.72) ** 2 + (y / 0.92) ** 2 < 1] = tone
    for side in (-0.3, 0.3):
        picture[((x - side) / 0.13) ** 2 + ((y + 0.25) / (0.05 + 0.015 * target)) ** 2 < 1] = 30
    bend = (target - 3) * 0.25
    picture[(np.abs(y - 0.45 - bend * x**2) < 0.05 + 0.01 * target) & (np.abs(x) < 0.32)] = 60
    return (picture + random.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def write_scores(folder: Path, *, publishable: bool = True) -> dict[str, Path]:
    paths = {}
    for name, agreement, distance in (("warp", 0.72, 0.35), ("lssl", 0.46, 0.8), ("stargan", 0.19, 1.4)):
        random = np.random.default_rng([3, len(name)])
        count = 30 * len(NAMES)
        labels = np.repeat(np.arange(len(NAMES)), 30)
        centre = np.eye(len(NAMES), 12)[labels] * 2
        sets = [centre + random.normal(0, 1, (count, 12)) + shift for shift in (0, 0, distance)]
        people = [[f"{part}-{number % 30}" for number in range(count)] for part in ("one", "other", "source")]
        distances = feature_distances(*sets, labels, NAMES, people=people, kernel_subset_size=None, seed=0)
        by_source = np.zeros((7, 7, 7), int)
        seen = np.zeros((210, 7), int)
        for source in range(7):
            for target in range(7):
                for number in range(30):
                    judged = target if random.random() < agreement else int(random.integers(7))
                    by_source[source, target, judged] += 1
                    seen[30 * source + number, target] = judged
        real = np.repeat(np.arange(7), 30)
        judged_real = np.where(random.random(210) < 0.66, real, (real + 1) % 7)
        tiles = np.concatenate(
            [
                np.concatenate(
                    [draw_face(random, own, tone)] + [draw_face(random, target, tone) for target in range(7)], axis=1
                )
                for own, tone in zip((4, 4, 0, 3, 5, 6), (150, 190, 120, 205, 170, 140), strict=True)
            ]
        )
        content = {
            "version": SCORES_VERSION,
            "translator": name,
            "class_names": list(NAMES),
            "sources": ["rig" if publishable else "fer2013"],
            "folds": [0, 1],
            "settings": {},
            "unavailable": [
                {
                    "name": "FID and KID",
                    "reason": "the Inception weights are absent and downloads are off (scores.allow_download)",
                }
            ],
            "distances": [
                {
                    "space": "judge",
                    "frechet_name": "FCD",
                    "kernel_name": "KCD",
                    "features": "the fold's judge, penultimate layer",
                    "reference": "real test faces, one half",
                    "dimension": 12,
                    "of": 280,
                    "short_of_synthetic": False,
                    "per_fold": [distances["overall"]],
                    **distances,
                }
            ],
            "recognition": recognition_scores(by_source.sum(axis=0), by_source),
            "untranslated": untranslated_baseline(real, judged_real, 7),
            "lines": {"excess": 0.2, "excess_floor": -0.03, "n": 210},
            "judge_on_real": {"n": 560, "accuracy": 0.655},
            "judged_faces": columns_of(
                [
                    {
                        "fold": number % 2,
                        "face_id": f"face-{number:03d}",
                        "subject": f"subject-{number % 30:02d}",
                        "label": int(real[number]),
                        "seen": int(judged_real[number]),
                        "seen_in_translations": seen[number].tolist(),
                    }
                    for number in range(210)
                ]
            ),
            "turned_faces": {},
            "translated_faces": {"n": 210, "accepted": 560, "of": 560},
            "movement": {
                "mean": 0.03 + 0.01 * len(name),
                "median": 0.03,
                "unmoved_share": 0.31 if name == "stargan" else 0.01,
                "threshold": 0.01,
                "per_class": [0.04] * 7,
                "mean_to_own_class": 0.01,
                "real_pairs": 0.072,
                "real_pairs_n": 480,
            },
            "gallery": {
                "png": base64.b64encode(encode_png(tiles)).decode(),
                "columns": ["input", *NAMES],
                "row_labels": ["neutral", "neutral", "angry", "happy", "sad", "surprise"],
                "size": 48,
                "publishable": publishable,
                "sources": ["rig" if publishable else "fer2013"],
            },
        }
        paths[name] = folder / "scores" / f"{name}.json"
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        paths[name].write_text(json.dumps(content))
    return paths


def write_translators(folder: Path) -> dict[str, Path]:
    paths = {}
    for name in ("warp", "lssl", "stargan"):
        fold = folder / "translators" / name / "fold-0"
        fold.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng([4, len(name)])
        if name == "warp":
            lines = [{"step": 0, "facts": {"pairs": 120}, "seconds": 3.1}]
            training = {"translator": name, "steps": 0, "seconds": 3.1, "device": "cpu"}
        else:
            terms = ["discriminator/adversarial", "discriminator/attribute", "generator/adversarial"]
            terms += ["generator/attribute", "generator/cycle", "generator/identity"]
            lines = [
                {
                    "step": step,
                    **{
                        term: 2 * np.exp(-step / (400 + 300 * place)) + 0.4 + random.normal(0, 0.03)
                        for place, term in enumerate(terms)
                    },
                    "generator_learning_rate": 1e-3,
                    "images_per_second": 210.0,
                    "seconds": step / 20,
                }
                for step in range(50, 2401, 50)
            ]
            training = {"translator": name, "steps": 2400, "best_step": 1800, "seconds": 120.5, "device": "cpu"}
        (fold / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (fold / "training.json").write_text(json.dumps(training))
        paths[name] = fold.parent
    return paths


def write_selections(folder: Path) -> dict[str, Path]:
    paths = {}
    for name, share in (("warp", 0.9), ("lssl", 0.6)):
        for fold in range(2):
            kept = {label: int(400 * share) for label in NAMES}
            report = SelectionReport(
                fold=fold,
                enabled=name == "warp",
                faces=dict.fromkeys(NAMES, 400),
                kept=kept,
                rejected={label: {"confidence": 400 - kept[label], "quota": 0} for label in NAMES},
                mean_confidence=dict.fromkeys(NAMES, 0.6),
                agreement=dict.fromkeys(NAMES, 0.7),
            )
            path = folder / "selected" / name / f"fold-{fold}" / "report.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(report)))
        paths[name] = folder / "selected" / name
    return paths


def write_faces_report(folder: Path) -> Path:
    path = folder / "faces" / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = {name: {"train": 150 if name == "neutral" else 20, "validation": 10, "test": 80} for name in NAMES}
    report = PreparationReport(
        source="rig",
        licence="cc0-1.0",
        image_size=48,
        channels=1,
        class_names=NAMES,
        faces=sum(sum(by_split.values()) for by_split in counts.values()),
        counts=counts,
        subjects={"train": 150, "validation": 10, "test": 80},
        columns={"landmarks": 900, "mask": 900},
        left_out={},
        problems=3,
        problems_shown=("row 17: not a face",),
        blank_pictures=1,
        duplicate_faces=4,
        near_duplicate_faces=6,
        duplicates_with_other_label=1,
        duplicates_across=(SplitDuplicates(first="train", second="test", exact=1, near=2),),
    )
    path.write_text(report.model_dump_json())
    return path


def write_run(folder: Path, *, publishable: bool = True, **keywords: Any) -> ReportInputs:
    """Writes a whole run and names its files."""
    return ReportInputs(
        data_name="embedded faces (rare)",
        predictions=write_predictions(folder, **keywords),
        arms=ARMS,
        faces_report=write_faces_report(folder),
        histories=write_histories(folder),
        scores=write_scores(folder, publishable=publishable),
        translators=write_translators(folder),
        selections=write_selections(folder),
        refused=(Refusal(name="simgan", reason="needs simulated faces, and this source has none"),),
        params={"dataset": {"name": "rig", "preset": "rare"}, "seeds": [0, 1, 2]},
        environment={"machine": "a machine, 2 cores", "Python": "3.11", "packages": "torch 2.11"},
        command="dvc repro",
        record=RunRecord(
            code=CODE,
            stages=(
                StageRecord(name="judge", seconds=61.5, peak_memory=900 * 2**20, code=CODE),
                StageRecord(name="train@lssl", seconds=125.0, peak_memory=1200 * 2**20, sessions=2, code=OLDER),
            ),
            unmeasured=("train@stargan",),
        ),
    )
