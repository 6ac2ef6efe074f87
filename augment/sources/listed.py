"""Data sets on disk: first everything that is there is listed, then pictures are read, one at a time.

The list comes from folders, names and label files alone, so that `s2l data check` can say within seconds what a copy
holds and what it lacks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.base import Annotation, PublishedCount, RawFace, SourceSettings
from augment.sources.folder import read_picture
from augment.sources.folder_walk import leads_outside


@dataclass(frozen=True)
class ListedFace:
    """A face that a data set names, before its picture is read.

    Attributes:
        path: The picture's file, relative to the root, with `/`; also what problems name.
        label_name: The class's name.
        name: Stable and unique within the source; the path by default.
        subject: The person or character; None where the data set does not say.
        split: train, validation, test; None where the data set has no splits.
        yaw: Degrees, positive to the picture's right; None where unknown.
        illumination: None where unknown.
        intensity: Of the expression, 0..1; None where unknown.
    """

    path: str
    label_name: str
    name: str = ""
    subject: str | None = None
    split: str | None = None
    yaw: float | None = None
    illumination: str | None = None
    intensity: float | None = None

    def with_picture(self, image: np.ndarray) -> RawFace:
        """The face with its picture, uint8 [H, W] or [H, W, 3]."""
        return RawFace(
            name=self.name or self.path,
            image=image,
            label_name=self.label_name,
            subject=self.subject,
            split=self.split,
            path=self.path,
            yaw=self.yaw,
            illumination=self.illumination,
            intensity=self.intensity,
        )


class ListedSource(ABC):
    """A source that lists its faces from folders, names and label files before it reads any picture.

    Args:
        root: The data set's folder (or file).
        settings: The settings.

    Raises:
        InputError: The layout is none that the source knows; says what was looked for.

    Attributes:
        layout: The folders and files that it reads, as a small tree of text, for docs/reference/data-sets.md.
        terms: Under which terms the data set is given.
        published: Counts of the whole data set, for comparison; may depend on the settings.
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True
    Settings: ClassVar[type[SourceSettings]] = SourceSettings
    class_names: tuple[str, ...]
    title: ClassVar[str]
    description: ClassVar[str]
    layout: ClassVar[str] = ""
    terms: ClassVar[Terms]
    published: Sequence[PublishedCount] = ()

    def __init__(self, root: Path, settings: Any) -> None:
        self.root = root
        self.settings = settings
        self._listed: list[ListedFace | Problem] | None = None
        self._outside_folders: dict[Path, bool] = {}
        if not root.is_dir():
            raise InputError(Problem(str(root), "is not a folder", f"unpack {self.title}, and name the folder"))

    @property
    def licence(self) -> str:
        """The licence line of cards."""
        return self.terms.licence

    @property
    def annotations(self) -> frozenset[Annotation]:
        """What its faces can come with of `landmarks` and `simulated`; nothing by default."""
        return frozenset()

    @abstractmethod
    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields every face in a stable order and every problem, without reading a picture.

        Raises:
            InputError: The layout is none that the source knows.
        """

    def missing(self) -> Iterator[Problem]:
        """What the whole data set has and this copy lacks (subjects, sequences ...); no reason not to read the rest."""
        return iter(())

    def further_counts(self) -> Counter[str]:
        """Counts of the source's own, beside those of the faces' fields (for example `sequences`)."""
        return Counter()

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads one picture, and whatever lies beside it."""
        image = read_picture(self.root / listed.path, listed.path)
        return image if isinstance(image, Problem) else listed.with_picture(image)

    def listed(self) -> Sequence[ListedFace | Problem]:
        """What `list_faces` yields, kept."""
        if self._listed is None:
            self._listed = list(self.list_faces())
        return self._listed

    def listed_faces(self) -> list[ListedFace]:
        """The faces of `listed`, without the problems."""
        return [item for item in self.listed() if isinstance(item, ListedFace)]

    def __len__(self) -> int:
        return len(self.listed_faces())

    def attribute_values(self, field: str) -> Iterator[Any]:
        """A field of `RawFace` (yaw, illumination ...) of every face in order, without reading any picture."""
        return (getattr(face, field) for face in self.listed_faces())

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields the problems and faces in the order of the list; no file that is a link leading outside is read."""
        for item in self.listed():
            yield item if isinstance(item, Problem) else self._outside(item) or self.read(item)

    def _outside(self, face: ListedFace) -> Problem | None:
        file = self.root / face.path
        fix = "copy what it leads to into the root"
        if self._folder_outside(file.parent):
            return Problem(face.path, "lies in a folder that is a link leading outside the root", fix)
        if not file.is_symlink() or not leads_outside(file, self.root):
            return None
        return Problem(face.path, "is a link that leads outside the root", fix)

    def _folder_outside(self, folder: Path) -> bool:
        if folder not in self._outside_folders:
            self._outside_folders[folder] = leads_outside(folder, self.root)
        return self._outside_folders[folder]
