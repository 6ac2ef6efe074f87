"""From a source to the table of faces: fitted, checked, counted; nothing disappears in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import length_hint
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from augment.core.errors import InputError, Problem, check_quarantine, write_quarantine
from augment.core.files import atomic_path, atomic_write_text, scratch_name
from augment.core.progress import track
from augment.core.replacing import recover, replace_folder
from augment.core.seals import check_replaceable
from augment.faces.duplicates import FingerprintCollector, find_duplicates
from augment.faces.fold_choice import FoldsReport
from augment.faces.images import encode_png, fit_image, fit_landmarks, fit_mask
from augment.faces.landmark_bounds import landmarks_fault
from augment.faces.leakage import SplitDuplicates, duplicates_across
from augment.faces.licences import Licence
from augment.faces.shards import CardFacts, write_faces
from augment.faces.subjects import Spellings
from augment.faces.table import SPLITS, Attribute
from augment.prepare.annotation import (
    WITHOUT_LANDMARKS_FILE,
    AnnotatedSource,
    AnnotationReport,
    AnnotationSettings,
    annotated,
)
from augment.prepare.landmarks import PREDICTOR_TERMS
from augment.sources.attributes import with_attribute
from augment.sources.base import RawFace, Source, face_id_of, reading_notes
from augment.sources.face_problem import face_problem
from augment.sources.terms import licence_of

_OPTIONAL_COLUMNS = ("subject", "split", "yaw", "illumination", "intensity", "landmarks", "mask", "simulated")


class PreparationReport(BaseModel):
    """What `prepare_faces` read and wrote; `report.json` of the dataset directory.

    Attributes:
        source: The source's name.
        licence: Under which terms the faces stand; goes into the cards of all faces made from them.
        image_size: Edge of the pictures in pixels.
        channels: 1 or 3.
        class_names: The classes in label order.
        faces: Faces written.
        counts: Faces by class and split (`none`: the source gave no split).
        subjects: Different subjects by split.
        columns: Which optional columns hold something, and in how many faces.
        left_out: Faces of classes that were not asked for, by class.
        problems: Rows that could not be faces (only with a quarantine can it be more than 0).
        problems_shown: The first of them.
        blank_pictures: Faces whose picture shows nothing.
        duplicate_faces: Faces that have a byte-identical copy, anywhere.
        near_duplicate_faces: Faces that have a byte-identical copy or a near-duplicate, anywhere.
        duplicates_with_other_label: Byte-identical groups whose faces have different labels.
        duplicates_across: Pictures that lie in two of the source's own splits.
        annotation: What was looked for in the pictures and found (`augment.prepare.annotation`); None where nothing
            was.
        reading: How the source was read, where that is not to be seen from it (wrappers gone through, files ignored).
        folds: The folds that the run uses, beside `counts`, which are by the source's own splits; None before they are
            made.
        subject_spellings: Subjects whose names came in several spellings (`S01`, `s01`): the one that was written, and
            the others, which were taken for the same person.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    licence: Licence
    image_size: int
    channels: int
    class_names: tuple[str, ...]
    faces: int
    counts: dict[str, dict[str, int]]
    subjects: dict[str, int]
    columns: dict[str, int]
    left_out: dict[str, int]
    problems: int
    problems_shown: tuple[str, ...]
    blank_pictures: int
    duplicate_faces: int
    near_duplicate_faces: int
    duplicates_with_other_label: int
    duplicates_across: tuple[SplitDuplicates, ...]
    annotation: AnnotationReport | None = None
    reading: tuple[str, ...] = ()
    folds: FoldsReport | None = None
    subject_spellings: dict[str, tuple[str, ...]] = {}


def write_report(report: PreparationReport, directory: Path) -> None:
    """Writes a preparation's report into its dataset directory, atomically."""
    atomic_write_text(directory / "report.json", report.model_dump_json(indent=2) + "\n")


class _Reader:
    """Draws the source dry, as rows; keeps counts, problems and fingerprints on the way."""

    def __init__(
        self, source: Source, classes: tuple[str, ...], image_size: int, channels: int, keeps_problems: bool
    ) -> None:
        self.source = source
        self.classes = classes
        self.image_size = image_size
        self.channels = channels
        self.goes_on = keeps_problems
        self.problems: list[Problem] = []
        self.left_out: Counter[str] = Counter()
        self.columns: Counter[str] = Counter()
        self.subjects: dict[str, set[str]] = {}
        self.people = Spellings()
        self.splits: dict[str, str | None] = {}
        self.labels: dict[str, str] = {}
        self.collector = FingerprintCollector()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields a row for each good face.

        Raises:
            InputError: At the end, where there are problems and no quarantine takes them.
        """
        total = length_hint(self.source) or None
        for found in track(self.source.faces(), desc="prepare", unit="faces", total=total):
            problem = found if isinstance(found, Problem) else self._check(found)
            if problem is not None:
                self.problems.append(problem)
                continue
            assert isinstance(found, RawFace)
            if found.label_name not in self.classes:
                self.left_out[found.label_name] += 1
                continue
            if self.problems and not self.goes_on:
                self.splits[self._face_id(found)] = None  # nothing will be written: only further problems matter
                continue
            yield self._row(found)
        if self.problems and not self.goes_on:
            count = len(self.problems)
            heading = f"{count} problem{'s' * (count != 1)} in the source {self.source.name}; nothing was written "
            raise InputError(self.problems, heading + "(fix them, or name a quarantine file to go on without them):")

    def _face_id(self, face: RawFace) -> str:
        return face_id_of(face, self.source.name)

    def _check(self, face: RawFace) -> Problem | None:
        """What is wrong with a face that its source took for good."""
        if self._face_id(face) in self.splits:
            why = f"the name {face.name!r} occurs twice"
            return Problem(face.path or face.name, why, "every face needs a name of its own")
        problem = face_problem(face, self.source.class_names)
        if problem is None and face.landmarks is not None:
            fault = landmarks_fault(fit_landmarks(face.landmarks, *face.image.shape[:2]))
            if fault is not None:
                why = f"its face is not in the central square that is taken of it: there its landmarks {fault}"
                fix = "crop it to the face, or set dataset.annotation.crop.by to face"
                problem = Problem(face.path or face.name, why, fix)
        return problem

    def _row(self, face: RawFace) -> dict[str, Any]:
        face_id = self._face_id(face)
        pixels = fit_image(face.image, self.image_size, self.channels)
        self.collector.add(face_id, pixels)
        self.splits[face_id] = face.split
        self.labels[face_id] = face.label_name
        subject = None if face.subject is None else self.people.name(face.subject)
        if subject is not None:
            self.subjects.setdefault(face.split or "none", set()).add(subject)
        landmarks = None if face.landmarks is None else fit_landmarks(face.landmarks, *face.image.shape[:2])
        mask = None if face.mask is None else encode_png(fit_mask(face.mask, self.image_size))
        simulated = None
        if face.simulated is not None:
            simulated = encode_png(fit_image(face.simulated, self.image_size, self.channels))
        row = {
            "image": {"bytes": encode_png(pixels), "path": face.path},
            "label": self.classes.index(face.label_name),
            "label_name": face.label_name,
            "face_id": face_id,
            "subject": subject,
            "source": face.source or self.source.name,
            "split": face.split,
            "yaw": face.yaw,
            "illumination": face.illumination,
            "intensity": face.intensity,
            "landmarks": landmarks,
            "mask": mask,
            "simulated": simulated,
            "synthetic": False,
        }
        self.columns.update(name for name in _OPTIONAL_COLUMNS if row[name] is not None)
        return row


def prepare_faces(
    source: Source,
    out: Path,
    *,
    image_size: int,
    channels: int,
    quarantine: Path | None = None,
    classes: Sequence[str] | None = None,
    attribute: Attribute = "expression",
    pose_step: float = 15.0,
    licence: str | None = None,
    annotation: AnnotationSettings | None = None,
    annotation_cache: Path | None = None,
    workers: int = 1,
    max_problems_shown: int = 50,
    metadata: Mapping[str, Any] | None = None,
) -> PreparationReport:
    """Reads a source into a dataset directory.

    Writes `data/*.parquet` and `README.md` (`augment.faces.shards`), `duplicates.parquet` (which faces occur more than
    once, `augment.faces.duplicates`), where landmarks were looked for `faces_without_landmarks.jsonl`
    (`augment.prepare.annotation`) and, last, `report.json`. Killed on the way, it leaves what was there before.

    Args:
        source: An open source.
        out: The dataset directory.
        image_size: Edge of the pictures in pixels. Others are cropped to their central square and scaled.
        channels: 1 (grey) or 3 (RGB).
        quarantine: Where to list the problems, as JSON lines; with it the good faces are written nevertheless.
        classes: Which of the source's classes to keep, in the new label order; all by default.
        attribute: What the classes are (`augment.sources.attributes`); illumination and pose take the place of
            expressions.
        pose_step: Degrees between two classes, where the attribute is the pose.
        licence: Under which terms the faces stand (an identifier or a sentence): needed where the source can't know,
            as with folders of pictures; added to the terms that a source has of its own (`augment.faces.licences`).
        annotation: What to fill in of faces whose source does not say it: landmarks, crops, simulated faces.
        annotation_cache: A folder that keeps what was found in pictures, for a run that is killed or repeated.
        workers: Processes that look for it; with more than one a script's own code must stand under
            `if __name__ == "__main__"`.
        max_problems_shown: How many problems the report names; the error and the quarantine always list all.
        metadata: JSON values for the schema metadata, such as `configuration_hash`.

    Returns:
        The counts, as in `report.json`.

    Raises:
        InputError: There are problems and no quarantine (the message lists every one), no face is left, a setting is
            impossible, neither the source nor the caller says under which terms the faces stand, or `out` holds files
            that this tool did not write, or `quarantine` is another file.
    """
    out = Path(out)
    recover(out)
    check_replaceable(out)
    if quarantine is not None:
        check_quarantine(quarantine)
    built = scratch_name(out)
    looked_at = annotated(
        source,
        annotation or AnnotationSettings(),
        size=image_size,
        cache=annotation_cache,
        workers=workers,
        classes=classes if attribute == "expression" else None,
        stop_at_problem=quarantine is None,
    )
    source = with_attribute(looked_at, attribute, pose_step=pose_step)
    wanted = wanted_classes(source, classes)
    if image_size < 8:
        raise InputError(Problem("image_size", f"{image_size} pixels are too few for a face", "use at least 8"))
    if channels not in (1, 3):
        raise InputError(Problem("channels", f"{channels} is neither 1 (grey) nor 3 (colour)", "use 1 or 3"))
    terms = licence_of(source, licence)
    if (annotation or AnnotationSettings()).landmarks.detector != "none":
        terms = terms.with_lines([PREDICTOR_TERMS])
    reader = _Reader(source, wanted, image_size, channels, keeps_problems=quarantine is not None)
    card = CardFacts(
        title=getattr(source, "title", f"Faces from {source.name}"),
        description=getattr(source, "description", f"Faces read by the source `{source.name}`."),
        licence=terms,
    )

    try:
        write_faces(reader.rows(), built, wanted, metadata=metadata, card=card)
    finally:
        if quarantine is not None:
            write_quarantine(Path(quarantine), reader.problems)
    prints = reader.collector.fingerprints()
    duplicates = find_duplicates(prints)
    with atomic_path(built / "duplicates.parquet") as scratch:
        pq.write_table(duplicates, scratch, compression="zstd")
    counts = {name: dict.fromkeys(_present(reader.splits.values()), 0) for name in wanted}
    for face_id, label_name in reader.labels.items():
        counts[label_name][reader.splits[face_id] or "none"] += 1
    exact: dict[int, list[str]] = {}
    for face_id, group in zip(
        duplicates.column("face_id").to_pylist(), duplicates.column("exact_group").to_pylist(), strict=True
    ):
        if group is not None:
            exact.setdefault(group, []).append(face_id)
    report = PreparationReport(
        source=source.name,
        licence=terms,
        image_size=image_size,
        channels=channels,
        class_names=wanted,
        faces=len(reader.labels),
        counts=counts,
        subjects={split: len(names) for split, names in sorted(reader.subjects.items())},
        columns={name: reader.columns[name] for name in _OPTIONAL_COLUMNS},
        left_out=dict(sorted(reader.left_out.items())),
        problems=len(reader.problems),
        problems_shown=tuple(str(problem) for problem in reader.problems[:max_problems_shown]),
        blank_pictures=int(prints.blank.sum()),
        duplicate_faces=sum(len(members) for members in exact.values()),
        near_duplicate_faces=len(duplicates),
        duplicates_with_other_label=sum(
            len({reader.labels[face_id] for face_id in members}) > 1 for members in exact.values()
        ),
        duplicates_across=duplicates_across(duplicates, reader.splits),
        annotation=looked_at.report() if isinstance(looked_at, AnnotatedSource) else None,
        reading=reading_notes(source),
        subject_spellings=reader.people.several(),
    )
    if isinstance(looked_at, AnnotatedSource):
        looked_at.write_names(built / WITHOUT_LANDMARKS_FILE)
    write_report(report, built)
    replace_folder(built, out)
    return report


def _present(splits: Any) -> list[str]:
    found = {split or "none" for split in splits}
    return [split for split in (*SPLITS, "none") if split in found]


def wanted_classes(source: Source, classes: Sequence[str] | None, where: str = "classes") -> tuple[str, ...]:
    """The classes that will be kept, in the new label order: all of the source where `classes` is None.

    Args:
        source: The data set.
        classes: Names of its classes.
        where: What a problem is to name: the setting that holds `classes`.

    Raises:
        InputError: A class is unknown to the source or named twice, or none is named.
    """
    if classes is None:
        return tuple(source.class_names)
    problems = []
    unknown = [name for name in classes if name not in source.class_names]
    if unknown:
        fix = f"the source {source.name} has {', '.join(source.class_names)}"
        problems.append(Problem(where, f"unknown: {', '.join(unknown)}", fix))
    if len(set(classes)) != len(classes):
        problems.append(Problem(where, "a class is named twice", "name each once"))
    if not classes:
        problems.append(Problem(where, "no class is left", "name some, or leave it out for all"))
    if problems:
        raise InputError(problems)
    return tuple(classes)
