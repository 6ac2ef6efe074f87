"""What a source is: a data set's reader that yields faces, or the reason why a row can't be one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict

from augment.core.errors import Problem
from augment.faces.fold_choice import count_splits

Annotation = Literal["landmarks", "simulated"]  # fields of `RawFace` that translators may require


class SourceSettings(BaseModel):
    """Settings of a source; each declares its own subclass. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class RawFace:
    """A face as its source gives it.

    Attributes:
        name: Stable and unique within the source; becomes part of `face_id`.
        image: uint8 [H, W] or [H, W, 3], any size.
        label_name: The class's name.
        subject: The person or character; None where the source does not say.
        split: train, validation, test; None where the source has no splits.
        path: Where the picture lay, relative to the source's root; None for procedural faces.
        yaw: Degrees, positive to the picture's right; None where unknown.
        illumination: For example normal, weak, dark; None where unknown.
        intensity: Of the expression, 0..1; None where unknown.
        landmarks: float32 [68, 2], x y in 0..1 (iBUG order); None where unknown.
        mask: uint8 [H, W], indices into `augment.faces.table.MASK_CLASSES`; None where unknown.
        simulated: uint8 [H, W] or [H, W, 3], the simulated frontal face of the same person and performance (a render
            of a 3-D face model), any size; None where there is none.
        source: The data set, where the source holds several; becomes the `source` column in place of the source's name.
    """

    name: str
    image: np.ndarray
    label_name: str
    subject: str | None = None
    split: str | None = None
    path: str | None = None
    yaw: float | None = None
    illumination: str | None = None
    intensity: float | None = None
    landmarks: np.ndarray | None = None
    mask: np.ndarray | None = None
    simulated: np.ndarray | None = None
    source: str | None = None


@dataclass(frozen=True)
class PublishedCount:
    """A count that a data set's publication names, beside which `s2l data check` puts what it found.

    Attributes:
        what: What is counted, in the words of `augment.prepare.inventory`: `faces`, `subjects`, `class happy`, `split
            train`, `pose +45`, `light Dark`, `intensity 0.25`, or a count of the source's own.
        count: How many there are in the whole data set, with the source's settings.
        read_at: Where that is said.
    """

    what: str
    count: int
    read_at: str


@runtime_checkable
class Source(Protocol):
    """A data set's reader.

    A source may also have `title`, `description` and `licence`, which the dataset's card then says, `terms`, from which
    the licence then comes, `licence_lines` where it holds several data sets (`augment.faces.licences`), and
    `attribute_values(field)`, a field of every face (None where unknown) without reading the pictures, `annotations`,
    what its faces can come with of `landmarks` and `simulated` (empty: no face has any; absent: not known), and
    `reading_notes()`, how its root was read where that is not to be seen from it. Sources of published data sets are
    `augment.sources.listed.ListedSource`.

    Attributes:
        name: The registry's name; becomes the `source` column of faces that don't say their own.
        class_names: The classes in label order.
    """

    name: str
    class_names: tuple[str, ...]

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields every face in a stable order, and a problem for every row that can't be one."""
        ...


def face_id_of(face: RawFace, source: str) -> str:
    """A face's id: its data set, and its name there. One of ours that is read again keeps the one it has.

    Args:
        face: The face.
        source: The name of the source that reads it.
    """
    if face.source is not None and face.name.startswith(f"{face.source}/"):
        return face.name
    return f"{face.source or source}/{face.name}"


def reading_notes(source: Source) -> tuple[str, ...]:
    """How a source's root was read, where that is not to be seen from it; empty where the source says nothing."""
    notes = getattr(source, "reading_notes", None)
    return () if notes is None else tuple(notes())


def known_splits(source: Source) -> dict[str, int] | None:
    """`count_splits` of a source that knows its faces' splits without reading a picture; None of any other."""
    values = getattr(source, "attribute_values", None)
    return None if values is None else count_splits(list(values("split")))


def known_annotations(source: Source) -> frozenset[Annotation] | None:
    """What a source's faces can come with, of `landmarks` and `simulated`; None where it does not know."""
    return getattr(source, "annotations", None)
