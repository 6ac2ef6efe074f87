"""BU-3DFE (Yin et al., "A 3D facial expression database for facial behavior research", 2006).

100 people (women F0001 to F0056, men M0001 to M0044) show six expressions at four levels, and the neutral face: 2,500
textured models, which are turned and drawn here (`augment.rig.mesh`), as the papers did with the database's own tool.

Layout: a folder per person, and in it for each model `F0001_AN01WH_F3D.wrl` (subject, expression and level, ancestry,
kind), its texture `F0001_AN01WH_F3D.bmp`, a frontal photograph `_F2D.bmp`, 83 points `_F3D.bnd`, and the uncropped scan
`_RAW.wrl` with its pose `_RAW.pse`. So the public readers have it: preparedata.py of RasmusRPaulsen/Deep-MVLM (which
pairs model and texture by their names), the labeller of menpo for the 83 points, and readers that list 56 women and 44
men, or expect faces of up to six corners.

The 83 points do not become landmarks: they follow the brows, eyes, mouth, the nose's sides and 15 points of the jaw,
while iBUG's 68 have the nose's ridge, its tip and 17 points of the jaw. What the 83 lack would have to be made up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, field_validator

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_file
from augment.faces.licences import Terms
from augment.rig.mesh import Mesh, fitted_camera, render_mesh
from augment.sources.attributes import signed_degrees
from augment.sources.base import PublishedCount, RawFace, SourceSettings
from augment.sources.exact_names import below
from augment.sources.folder import is_ignored, read_picture
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    OTHER_CASE,
    NameRule,
    enumerate_names,
    find_bases,
    is_archive,
    match_folders,
    stray_file,
    unknown_layout,
)
from augment.sources.vrml import VrmlError, parse_vrml

EXPRESSIONS = {
    "AN": "angry",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprise",
}
ANCESTRIES = ("AE", "AM", "BL", "IN", "LA", "WH")  # east and middle-east Asian, black, Indian, Latin American, white
WOMEN = tuple(f"F{number:04d}" for number in range(1, 57))
MEN = tuple(f"M{number:04d}" for number in range(1, 45))
SUBJECTS = WOMEN + MEN
LEVELS = (1, 2, 3, 4)
_NAME = re.compile(
    r"(?P<subject>[FM]\d{4})_(?P<moment>(?:AN|DI|FE|HA|SA|SU)0[1-4]|NE00)"
    rf"(?P<ancestry>{'|'.join(ANCESTRIES)})_(?:F3D|F2D|RAW|RAW_84_LMS)\.(?:wrl|bmp|bnd|pse|txt)"
)


def _proper(name: str) -> str:
    stem, dot, ending = name.partition(".")
    return stem.upper() + dot + ending.lower()


_FILE = NameRule(_NAME, "a file of a model (F0001_AN01WH_F3D.wrl)", _proper)
_SUBJECTS = NameRule.of_names(SUBJECTS, "a person (F0001 to F0056, M0001 to M0044)")
_MOST_BYTES = 2**26  # of a model, which has one to three million
_READ_AT = "Yin et al. 2006: 2,500 models of 100 people (56 women), six expressions at four levels and neutral"


class Bu3dfeSettings(SourceSettings):
    """Settings of the source `bu3dfe`.

    Attributes:
        yaws: Degrees by which every model is turned, positive to the picture's right. Seven by default, as LSSL
            (section 5.1) draws them.
        levels: Which of the four levels of an expression; 4 is the strongest.
        neutral: Whether the neutral models are taken.
        size: Edge of the drawn pictures in pixels.
        margin: Share of the picture that stays free above and below a model that looks ahead (or beside it, where it
            is wider than high); all poses of a model have one frame.
        distance: From the camera to the model, in units of the model's greatest edge; null: parallel rays.
        samples: Samples per side of each pixel.
        background: RGB of what no model covers, 0..255. Mid-grey by default: before black or white the outline is all
            that coarse features see, and people look alike.
    """

    yaws: Annotated[tuple[float, ...], Field(min_length=1)] = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
    levels: Annotated[tuple[int, ...], Field(min_length=1)] = LEVELS
    neutral: bool = True
    size: int = Field(256, ge=32, le=1024)
    margin: float = Field(0.02, ge=0, le=0.4)
    distance: float | None = Field(6.0, ge=1.5)
    samples: int = Field(3, ge=1, le=8)
    background: tuple[int, int, int] = (128, 128, 128)

    @field_validator("yaws")
    @classmethod
    def _are_different_poses(cls, yaws: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(yaws)) != len(yaws) or not all(-60 <= yaw <= 60 for yaw in yaws):
            raise ValueError("must be different angles of -60 to 60 degrees: further round the models have no back")
        return yaws

    @field_validator("levels")
    @classmethod
    def _are_levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(levels)) != len(levels) or not set(levels) <= set(LEVELS):
            raise ValueError("must be different numbers of 1 to 4")
        return levels

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, background: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(0 <= value <= 255 for value in background):
            raise ValueError("must be three numbers of 0 to 255")
        return background


class Bu3dfeSource(ListedSource):
    """3-D models of posed expressions, drawn from several sides.

    An expression's level 1 to 4 is its intensity 0.25 to 1; the neutral face's is None. A texture is the picture that
    the model names; where that is not there, the one with the model's own name and the ending `_F3D.bmp`.

    Args:
        root: The folder that holds `F0001`, `F0002` ..., or a folder above it (also above several, where the people
            were unpacked into more than one).
        settings: The settings.

    Raises:
        InputError: There is no such folder.
    """

    name: ClassVar[str] = "bu3dfe"
    Settings: ClassVar[type[SourceSettings]] = Bu3dfeSettings
    title: ClassVar[str] = "BU-3DFE"
    description: ClassVar[str] = (
        "The Binghamton University 3D Facial Expression database (Yin et al., 2006): 100 people of 18 to 70 years, six "
        "posed expressions at four levels and the neutral face, as textured 3-D models; drawn here from several sides."
    )
    layout: ClassVar[str] = (
        "F0001/                       women F0001 to F0056, men M0001 to M0044\n"
        "  F0001_AN01WH_F3D.wrl       model: expression and level, ancestry\n"
        "  F0001_AN01WH_F3D.bmp       its texture\n"
        "  F0001_NE00WH_F3D.wrl       the neutral face\n"
        "  _F2D.bmp, _F3D.bnd, _RAW.wrl, _RAW.pse are known and not read"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Binghamton University (L. Yin)",
        ask="https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
        use="For research by those who signed the holder's agreement; commercial use is licensed apart.",
        derived="Whether pictures made from it may be passed on is not known: don't without the holder's word.",
        read_at="The database's page and the university's news of it; the agreement itself was not read.",
    )

    def __init__(self, root: Path, settings: Bu3dfeSettings) -> None:
        super().__init__(root, settings)
        self.settings: Bu3dfeSettings = settings
        self.class_names = tuple(sorted({*EXPRESSIONS.values()} - ({"neutral"} if not settings.neutral else set())))
        self._bases = find_bases(root, lambda names: any(_SUBJECTS.judge(name) for name in names))
        self._drawn_last: tuple[str, Mesh | Problem] | None = None
        self.published = self._published()
        if not self._bases:
            looked_for = "F0001/F0001_NE00WH_F3D.wrl, here and in the folders below"
            raise InputError(unknown_layout(root, self.title, looked_for))

    @property
    def _moments(self) -> list[str]:
        """The models of one person that the settings ask for: `AN01` ... `NE00`."""
        wanted = [
            f"{code}{level:02d}" for code in EXPRESSIONS if code != "NE" for level in sorted(self.settings.levels)
        ]
        return wanted + ["NE00"] * self.settings.neutral

    def _published(self) -> list[PublishedCount]:
        """What the whole data set holds of what the settings ask for."""
        poses, levels = len(self.settings.yaws), len(self.settings.levels)
        models = len(SUBJECTS) * len(self._moments)
        counts = {"faces": models * poses, "subjects": len(SUBJECTS), "women": len(WOMEN), "men": len(MEN)}
        counts["models"] = models
        for code, name in EXPRESSIONS.items():
            if name in self.class_names:
                counts[f"class {name}"] = len(SUBJECTS) * poses * (1 if code == "NE" else levels)
        for level in sorted(self.settings.levels):
            counts[f"intensity {level / 4:g}"] = len(SUBJECTS) * poses * (len(EXPRESSIONS) - 1)
        for yaw in sorted(self.settings.yaws):
            counts[f"pose {signed_degrees(yaw)}"] = models
        return [PublishedCount(what, count, _READ_AT) for what, count in counts.items()]

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces by folder, model and pose, and every problem."""
        seen: dict[str, str] = {}
        for base in self._bases:
            subjects, problems = match_folders(base, below(self.root, base), _SUBJECTS)
            # Beside the people's folders lie a read-me, a licence, and archives that were unpacked.
            yield from (problem for problem in problems if not _is_paper(base, problem))
            for subject in subjects:
                where = below(self.root, subject)
                if subject.name in seen:
                    why = f"is the person of {seen[subject.name]}"
                    yield Problem(f"{where}/", why, "name the folder of one copy, or delete one of the two")
                    continue
                seen[subject.name] = where
                yield from self._subject_faces(subject, where)

    def _subject_faces(self, subject: Path, where: str) -> Iterator[ListedFace | Problem]:
        models: dict[str, str] = {}
        ancestries: dict[str, str] = {}
        for path in sorted(subject.iterdir()):
            if is_ignored(path):
                continue
            here = f"{where}/{path.name}"
            right = None if path.is_dir() else _FILE.judge(path.name)
            if right is None:
                yield _stray(here, path)
            elif right != path.name:
                fix = f"there is a {right} too: compare them" if (subject / right).exists() else f"rename it to {right}"
                yield Problem(here, OTHER_CASE, fix)
            else:
                match = _NAME.fullmatch(right)
                assert match is not None
                if match["subject"] != subject.name:
                    yield Problem(here, f"is a file of {match['subject']}", f"move it to the folder {match['subject']}")
                elif right.endswith("_F3D.wrl"):
                    ancestries.setdefault(match["ancestry"], path.name)
                    if match["moment"] in models:
                        why = f"is the model {match['moment']}, like {models[match['moment']]}"
                        yield Problem(here, why, "delete one of them")
                    else:
                        models[match["moment"]] = path.name
        if len(ancestries) > 1:
            files = " and ".join(sorted(ancestries.values()))
            yield Problem(f"{where}/", f"holds models of two people, {files}", "compare the names with the original's")
        if not models:
            yield Problem(f"{where}/", "holds no model (*_F3D.wrl)", "copy it again")
        for moment in self._moments:
            if moment in models:
                yield from self._poses(subject.name, moment, f"{where}/{models[moment]}")

    def _poses(self, subject: str, moment: str, path: str) -> Iterator[ListedFace]:
        model = Path(path).name.removesuffix("_F3D.wrl")
        for yaw in sorted(self.settings.yaws):
            yield ListedFace(
                path=path,
                label_name=EXPRESSIONS[moment[:2]],
                name=f"{model}/{signed_degrees(yaw)}",
                subject=subject,
                yaw=yaw,
                intensity=int(moment[2:]) / 4 if moment != "NE00" else None,
            )

    def missing(self) -> Iterator[Problem]:
        """People without a folder, models without a file, and models without a texture: a line for each person."""
        folders = {subject: base / subject for base in self._bases for subject in SUBJECTS if (base / subject).is_dir()}
        absent = [subject for subject in SUBJECTS if subject not in folders]
        if absent:
            yield Problem(self.title, f"lacks the people {enumerate_names(absent)}", "unpack their archives too")
        for subject in SUBJECTS:
            if subject in absent:
                continue
            where = below(self.root, folders[subject])
            names = {path.name for path in folders[subject].iterdir()}
            models = {name[6:10]: name for name in names if name.endswith("_F3D.wrl")}
            lacks = [moment for moment in self._moments if moment not in models]
            if lacks:
                yield Problem(where, f"lacks the models {enumerate_names(lacks)}")
            stems = {moment: name.removesuffix("_F3D.wrl") for moment, name in models.items()}
            bare = [
                moment
                for moment in self._moments
                if moment in stems and not {f"{stems[moment]}_F3D.bmp", f"{stems[moment]}_F2D.bmp"} & names
            ]
            if bare:
                yield Problem(where, f"lacks the textures of {enumerate_names(bare)}", "copy the .bmp files too")

    def further_counts(self) -> Counter[str]:
        """Counts `models`, `women` and `men`."""
        faces = self.listed_faces()
        people = {face.subject for face in faces if face.subject is not None}
        women = sum(subject.startswith("F") for subject in people)
        return Counter(models=len({face.path for face in faces}), women=women, men=len(people) - women)

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields the problems and faces in the order of the list; a broken model is one problem, not one a pose."""
        broken: set[str] = set()
        for item in self.listed():
            found = item if isinstance(item, Problem) else self.read(item)
            if isinstance(found, Problem) and isinstance(item, ListedFace):
                if item.path in broken:
                    continue
                broken.add(item.path)
            yield found

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Draws one pose of a model."""
        if self._drawn_last is None or self._drawn_last[0] != listed.path:
            self._drawn_last = (listed.path, self._model(listed.path))
        mesh = self._drawn_last[1]
        if isinstance(mesh, Problem):
            return mesh
        settings = self.settings
        assert listed.yaw is not None
        camera = fitted_camera(
            mesh.extent, settings.size, settings.size, margin=settings.margin, distance=settings.distance
        )
        drawn = render_mesh(
            mesh, camera.turned(listed.yaw), samples=settings.samples, background=np.array(settings.background)
        )
        return listed.with_picture(drawn.image)

    def _model(self, path: str) -> Mesh | Problem:
        """Reads a model with its texture."""
        file = self.root / path
        try:
            model = parse_vrml(read_regular_file(file, most_bytes=_MOST_BYTES))
        except VrmlError as error:
            return Problem(path, f"is no model that can be read: {error}", "copy it again")
        except OSError as error:
            return Problem(path, f"can't be read: {error.strerror or error}")
        low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
        if not (high > low).all():
            return Problem(path, "is flat: all its points have one x, y or z", "copy it again")
        texture = self._texture(file, model.texture)
        if texture is None:
            named = f"{Path(model.texture.replace(chr(92), '/')).name} nor " if model.texture else ""
            own = f"{file.name.removesuffix('.wrl')}.bmp"
            return Problem(path, f"has no texture: there is neither {named}{own}", "copy the .bmp files too")
        where = f"{path.rpartition('/')[0]}/{texture.name}"
        picture = read_picture(texture, where)
        if isinstance(picture, Problem):
            return picture
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=2)
        return Mesh(model.vertices, model.triangles, picture, model.texture_coordinates, model.texture_triangles)

    def _texture(self, model: Path, address: str | None) -> Path | None:
        """The picture that a model names (in any case: the files were written on Windows), else that of its name."""
        wanted = [Path(address.replace("\\", "/")).name] if address else []
        wanted.append(f"{model.name.removesuffix('.wrl')}.bmp")
        for name in wanted:
            try:
                if (model.parent / name).is_file():
                    return model.parent / name
            except OSError:  # a name that is longer than the system's may be
                continue
            alike = [path for path in sorted(model.parent.iterdir()) if path.name.lower() == name.lower()]
            if len(alike) == 1 and alike[0].is_file():
                return alike[0]
        return None


def _is_paper(base: Path, problem: Problem) -> bool:
    """Whether a problem is about a document or an archive beside folders that are unpacked already."""
    path = base / problem.where.rpartition("/")[2]
    if path.is_dir() or not path.name:
        return False
    unpacked = is_archive(path.name) and (base / path.name.partition(".")[0]).is_dir()
    return unpacked or path.suffix.lower() in {".txt", ".pdf", ".doc", ".docx", ".htm", ".html", ".md"}


def _stray(where: str, path: Path) -> Problem:
    """The problem of something in a person's folder that is no file of a model."""
    if path.is_dir():
        return Problem(f"{where}/", "is a folder among the models", "move it away")
    if is_archive(path.name):
        return stray_file(where, path.name)
    return Problem(where, f"is not {_FILE.what}", "rename it, or move it away")
