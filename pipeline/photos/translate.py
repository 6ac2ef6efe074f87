"""Translates a user's own pictures: files and folders in, PNG files beside them out.

Pictures are preprocessed as by `prepare`: rotated by their EXIF data, cropped to the central square or to the face,
scaled, and converted to grey or colour. Landmarks are looked for if the translator requires them. Photographs have no
class unless the user names it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes, sha256_of_file
from augment.core.progress import track, verbosity, write_line
from augment.core.regular_files import read_regular_file
from augment.core.seeding import derive_seed
from augment.faces.crops import CropSettings
from augment.faces.images import encode_png, png_text
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.synthetic_mark import TRANSLATED_MARK
from augment.faces.tensors import FaceTensors
from augment.prepare.landmarks import INSTALL_COMMAND, landmarks_installed
from augment.sources.folder import IMAGE_EXTENSIONS
from augment.sources.folder_walk import FolderWalk
from augment.translators import load_translator, translator_header
from augment.translators.base import CannotTranslateError, Translator
from pipeline.core.devices import choose_device
from pipeline.core.workspace import Artifacts
from pipeline.photos.photographs import Photograph, PhotographReader

BATCH = 32
UNKNOWN_CLASS = -1
WEIGHTS_FILE = "weights.safetensors"
MOST_NAMED = 12
_INSTALL_HINT = f"{INSTALL_COMMAND} installs the landmark detector"


class TranslateSettings(BaseModel):
    """Settings of the translation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: tuple[str, ...] = Field(default=(), description="Wanted classes; `all` stands for each.")
    own_class: str | None = Field(default=None, description="The pictures' own class, if the translator requires it.")
    out: Path | None = Field(default=None, description="Folder of the PNG files; by default beside the pictures.")
    recursive: bool = Field(default=False, description="Include the pictures in subfolders.")
    overwrite: bool = Field(default=False, description="Overwrite existing outputs.")
    keep_going: bool = Field(default=False, description="Translate the valid pictures even if others have problems.")
    seed: int = Field(default=0, ge=0, description="Random seed of the translator.")
    outputs: int = Field(default=1, ge=1, le=999, description="Outputs per picture and class.")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 ...")
    landmarks: Literal["auto", "dlib", "none"] = Field(
        default="auto",
        description="Landmark detector; auto: dlib if the translator requires landmarks and dlib is installed.",
    )
    crop: bool = Field(default=False, description="Crop each picture to its face, which is detected.")


@dataclass(frozen=True)
class _Found:
    """A picture file, and the folder of its outputs."""

    path: Path
    folder: Path


@dataclass(frozen=True)
class _Wanted:
    """One output per picture: its class, its number among several, and the ending of its file name."""

    label: int
    word: str
    number: int
    ending: str

    def path(self, picture: _Found) -> Path:
        return picture.folder / f"{picture.path.stem}{self.ending}"


def _print_line(line: str) -> None:
    """Prints a line to stdout; a closed pipe does not stop the work."""
    if verbosity() != "quiet" or line.startswith("warning"):
        write_line(line, sys.stdout)


def translate_pictures(
    paths: Sequence[Path], weights: Path, settings: TranslateSettings, *, say: Callable[[str], None] = _print_line
) -> list[Path]:
    """Translates pictures to wanted classes.

    Outputs are `<stem>.<class>.png`, with several per class `<stem>.<class>-1.png` and so on; those of a translator
    that keeps its source's class, and so is not conditioned on a wanted one, `<stem>.<translator>.png`. Outputs of an
    earlier call, known by their names or by the text in the file, are never translated again. The same pictures in the
    same order, weights, settings and device give the same bytes.

    Args:
        paths: Picture files, and folders of them.
        weights: What `augment.translators.save_translator` wrote.
        settings: Of the translation.
        say: Receives lines for the user: the steps of each picture, and what was skipped and why.

    Returns:
        The files written.

    Raises:
        InputError: Lists every problem: invalid weights, unknown classes, files that don't decode, outputs that
            exist, a translator that can't work on these pictures. Nothing is written then; with `keep_going` the
            valid pictures are translated before it is raised.
    """
    if settings.crop and settings.landmarks == "none":
        raise InputError(Problem("--crop", "detects the face, which --landmarks none turns off", "omit one of them"))
    device = _device(settings.device)
    class_names = _class_names(weights)
    translator = load_translator(weights, device)
    wanted, own = _wanted(translator, class_names, settings)
    words = [*map(_file_name_part, class_names), _file_name_part(translator.name)]
    found, problems = _find(paths, words, settings, say)
    found, clashes = _without_clashes(found, wanted, settings)
    sources = _Sources(translator, class_names, own, wanted[0].label, settings, device)
    pictures, undecodable = sources.read(found)
    problems += clashes + undecodable
    accepted = None
    if pictures:
        accepted, refusals = sources.accepted(pictures, weights, say)
        problems += refusals
    if accepted is None and not problems:
        raise InputError(Problem(", ".join(map(str, paths)), "contains no picture to translate", "name photographs"))
    if accepted is None or (problems and not settings.keep_going):
        fix = " (fix them, or skip them with --keep-going)" if accepted is not None else ""
        raise InputError(problems, f"{_count(len(problems), 'problem')}; nothing was written{fix}:")
    written = _write_all(translator, accepted, wanted, weights, settings, say)
    if problems:
        raise InputError(problems, f"{_count(len(written), 'file')} written; {_count(len(problems), 'problem')}:")
    return written


@dataclass(frozen=True)
class _Picture:
    """A file and its photograph."""

    found: _Found
    photograph: Photograph


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _device(name: str) -> torch.device:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(Problem(f"--device {name}", "is not a device", "use auto, cpu, cuda or cuda:1"))
    return torch.device(choose_device(name, where="--device"))


def _class_names(weights: Path) -> tuple[str, ...]:
    """The class names in a weights file."""
    if not weights.is_file():
        why = "is a folder, not a weights file" if weights.is_dir() else "is not there"
        raise InputError(Problem(f"--weights {weights}", why, _weights_here(weights)))
    header = translator_header(weights)
    names = tuple(header.get("class_names") or ())
    if len(names) != header["num_classes"]:
        why = f"names {len(names)} of its {header['num_classes']} classes, so that no class can be chosen"
        fix = "save it again with save_translator(..., class_names=...)"
        raise InputError(Problem(str(weights), why, fix))
    return names


def _weights_here(wanted: Path) -> str:
    """Suggests the trained translators of this folder's run, or the command that trains some."""
    translators = Artifacts(Path()).translators
    inside = wanted.glob("**/" + WEIGHTS_FILE) if wanted.is_dir() and wanted.is_relative_to(translators) else ()
    found = sorted(inside) or sorted(translators.glob(f"*/fold-*/{WEIGHTS_FILE}"))
    if not found:
        return f"there is no trained translator below {translators}/: `dvc repro` trains those of params.yaml"
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"there are {', '.join(map(str, found[:MOST_NAMED]))}{more}; `dvc repro` trains those of params.yaml"


def _file_name_part(name: str) -> str:
    """A class as part of a file name; characters that some systems don't allow become `_` and a short hash."""
    word = re.sub(r"[^\w-]+", "_", name)
    return word if word == name else f"{word}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _unknown_class(option: str, name: str, class_names: Sequence[str]) -> Problem:
    close = difflib.get_close_matches(name.lower(), class_names, n=1)
    known = f"known classes: {', '.join(class_names)}"
    return Problem(
        f"{option} {name}", "is not a class of these weights", f"did you mean {close[0]}? {known}" if close else known
    )


def _wanted(
    translator: Translator, class_names: tuple[str, ...], settings: TranslateSettings
) -> tuple[list[_Wanted], int | None]:
    """The outputs of a picture, and its own class's label."""
    known = f"one or more of {', '.join(class_names)}, or all"
    problems = []
    own = None
    if settings.own_class is not None:
        if settings.own_class in class_names:
            own = class_names.index(settings.own_class)
        else:
            problems.append(_unknown_class("--from", settings.own_class, class_names))
    elif "own_class" in translator.requires:
        why = f"is missing: {translator.name} depends on the pictures' own class"
        problems.append(Problem("--from", why, f"one of {', '.join(class_names)}"))
    named = class_names if "all" in settings.to and "all" not in class_names else settings.to
    if translator.keeps_class:
        classes = [(own or 0, translator.name)]
        if settings.to:
            why = f"{translator.name} is not conditioned on a class: its outputs keep their source's"
            problems.append(Problem("--to", why, "omit it"))
    else:
        problems += [_unknown_class("--to", name, class_names) for name in named if name not in class_names]
        if not named:
            problems.append(Problem("--to", "is missing", known))
        classes = [(class_names.index(name), name) for name in dict.fromkeys(named) if name in class_names]
    if problems:
        raise InputError(problems)
    several = settings.outputs > 1
    wanted = [
        _Wanted(label, name, number, f".{_file_name_part(name)}" + (f"-{number}" if several else "") + ".png")
        for label, name in classes
        for number in range(1, settings.outputs + 1)
    ]
    return wanted, own


def _find(
    paths: Sequence[Path], words: Iterable[str], settings: TranslateSettings, say: Callable[[str], None]
) -> tuple[list[_Found], list[Problem]]:
    """The picture files at the paths; skipped files are reported."""
    output_name = re.compile(rf"\.({'|'.join(map(re.escape, words))})(-\d+)?\.png$", re.IGNORECASE)
    found: dict[Path, _Found] = {}
    problems, outputs, others = [], [], []
    for path in paths:
        if not path.is_dir():
            if path.exists():
                found.setdefault(path.resolve(), _Found(path, settings.out or path.parent))
            else:
                problems.append(Problem(str(path), "does not exist", "name a picture file or a folder of pictures"))
            continue
        inside, strange = _files_in(path, recursive=settings.recursive)
        problems += strange
        pictures = [file for file in inside if file.suffix.lower() in IMAGE_EXTENSIONS]
        others += [file for file in inside if file.suffix.lower() not in IMAGE_EXTENSIONS]
        if not pictures:
            deeper = not settings.recursive and any(entry.is_dir() for entry in path.iterdir())
            fix = "--recursive includes its subfolders" if deeper else "name a folder that contains pictures"
            problems.append(Problem(f"{path}/", "contains no picture", fix))
        for file in pictures:
            folder = file.parent if settings.out is None else settings.out / file.parent.relative_to(path)
            found.setdefault(file.resolve(), _Found(file, folder))
    kept = []
    for picture in found.values():
        try:
            str(picture.path).encode()
        except UnicodeEncodeError:
            problems.append(Problem(ascii(str(picture.path)), "has a name that is not UTF-8", "rename the file"))
            continue
        if output_name.search(picture.path.name) or _is_marked(picture.path):
            outputs.append(picture.path)
        else:
            kept.append(picture)
    if outputs:
        say(f"skipped, outputs of an earlier translation by name or mark: {', '.join(map(str, outputs))}")
    if others:
        say(f"skipped, not pictures by their names: {', '.join(map(str, others))}")
    return kept, problems


def _files_in(folder: Path, *, recursive: bool) -> tuple[list[Path], list[Problem]]:
    """The files of a folder, and problems: pipes, devices, links that lead out of it."""
    walk = FolderWalk(folder)
    if recursive:
        found = list(walk.below(folder))
        files = [entry for entry in found if isinstance(entry, Path)]
        problems = [entry for entry in found if isinstance(entry, Problem)]
    else:
        level = walk.level(folder)
        files = list(level.files)
        # Links to folders are skipped here, as folders are.
        problems = [problem for problem in level.problems if not (folder / problem.where).is_dir()]
    return files, [replace(problem, where=str(folder / problem.where)) for problem in problems]


def _is_marked(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        return png_text(read_regular_file(path), TRANSLATED_MARK) is not None
    except OSError:
        return False  # reading the picture later reports why


def _without_clashes(
    found: list[_Found], wanted: Sequence[_Wanted], settings: TranslateSettings
) -> tuple[list[_Found], list[Problem]]:
    """Removes pictures whose outputs exist, or are also those of another picture."""
    owners: dict[Path, list[_Found]] = {}
    for picture in found:
        for output in wanted:
            owners.setdefault(output.path(picture).absolute(), []).append(picture)
    problems, clashing = [], set()
    for picture in found:
        for output in wanted:
            path = output.path(picture)
            rivals = [rival for rival in owners[path.absolute()] if rival is not picture]
            if rivals:
                why = f"would be written to {path}, and so would {rivals[0].path}"
                problems.append(Problem(str(picture.path), why, "rename one, or translate them one by one"))
            elif path.exists() and not settings.overwrite:
                problems.append(Problem(str(path), "exists already", "--overwrite replaces it"))
            else:
                continue
            clashing.add(picture)
    return [picture for picture in found if picture not in clashing], problems


def _faces(pictures: Sequence[_Picture], class_names: tuple[str, ...], label: int, *, landmarks: bool) -> FaceTensors:
    """The pictures as faces; with `landmarks`, the detected ones (NaN where none were found)."""
    pixels = np.stack([picture.photograph.pixels for picture in pictures])
    points = simulated = None
    if landmarks:
        points = np.full((len(pictures), LANDMARK_COUNT, 2), np.nan, np.float32)
        for row, picture in enumerate(pictures):
            if picture.photograph.landmarks is not None:
                points[row] = picture.photograph.landmarks
    if any(picture.photograph.simulated is not None for picture in pictures):
        fronts = np.zeros_like(pixels)
        for row, picture in enumerate(pictures):
            if picture.photograph.simulated is not None:
                fronts[row] = picture.photograph.simulated
        simulated = torch.from_numpy(fronts).permute(0, 3, 1, 2).contiguous()
    return FaceTensors(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        labels=torch.full((len(pictures),), label, dtype=torch.int64),
        landmarks=None if points is None else torch.from_numpy(points),
        masks=None,
        face_ids=tuple(str(picture.found.path) for picture in pictures),
        subjects=(None,) * len(pictures),
        class_names=class_names,
        simulated=simulated,
    )


@dataclass(frozen=True)
class _Accepted:
    """Pictures that a translator accepts, and their faces."""

    pictures: list[_Picture]
    faces: FaceTensors


class _Sources:
    """Pictures as a translator's source faces, with the annotations that it requires.

    `Translator.requires` decides what is computed: landmarks if it requires them or simulated faces, and
    simulated faces fitted to the landmarks. A picture in which no face is found becomes a face with unknown landmarks,
    or a problem if the translator does not accept such faces.
    """

    def __init__(
        self,
        translator: Translator,
        class_names: tuple[str, ...],
        own: int | None,
        target: int,
        settings: TranslateSettings,
        device: torch.device,
    ) -> None:
        self.translator = translator
        self.class_names = class_names
        self.own = own
        self.target = target
        self.settings = settings
        self.device = device
        self.reader = PhotographReader(
            translator.size, translator.channels, CropSettings(by="face" if settings.crop else "none")
        )
        self.requires_landmarks = bool(translator.requires & {"landmarks", "simulated"})
        wanted = settings.landmarks == "auto" and self.requires_landmarks and landmarks_installed()
        self.detect = settings.crop or settings.landmarks == "dlib" or wanted
        self.simulate = self.detect and "simulated" in translator.requires

    def read(self, found: Sequence[_Found]) -> tuple[list[_Picture], list[Problem]]:
        """Decodes and preprocesses pictures, and computes the annotations that the translator requires."""
        pictures, problems = [], []
        for picture in track(found, desc="read", unit="pictures", leave=False, delay=1):
            photograph = self.reader.read(picture.path, detect=self.detect, simulate=self.simulate)
            if isinstance(photograph, Problem):
                problems.append(photograph)
            else:
                pictures.append(_Picture(picture, photograph))
        return pictures, problems

    def accepted(
        self, pictures: list[_Picture], weights: Path, say: Callable[[str], None]
    ) -> tuple[_Accepted | None, list[Problem]]:
        """The pictures that the translator accepts, and every problem."""
        faces = self._faces(pictures)
        usable = self.translator.usable_sources(faces).tolist()
        if not any(usable):
            # Its own message says best what is missing.
            refusal = self._refusal(faces) or f"{self.translator.name} accepts none of these pictures as a source"
            return None, [self._refused(pictures, weights, refusal)]
        kept = [picture for picture, good in zip(pictures, usable, strict=True) if good]
        problems = [self._unusable(picture) for picture, good in zip(pictures, usable, strict=True) if not good]
        faces = faces.take([row for row, good in enumerate(usable) if good])
        if refusal := self._refusal(faces):
            return None, [self._refused(pictures, weights, refusal), *problems]
        self._warn_of_unknown_landmarks(kept, say)
        return _Accepted(kept, faces), problems

    def _faces(self, pictures: Sequence[_Picture]) -> FaceTensors:
        label = UNKNOWN_CLASS if self.own is None else self.own
        # Landmarks that are required but not looked for are unknown (NaN), not absent.
        known = self.detect or self.requires_landmarks
        return _faces(pictures, self.class_names, label, landmarks=known).to(self.device)

    def _refusal(self, faces: FaceTensors) -> str:
        """Why the translator can't translate these faces; empty if it can."""
        # One face shows it quickly; if it is refused all are tried, because the message may count and name them.
        refusal = ""
        for part in (faces.take([0]), faces):
            try:
                with torch.no_grad():
                    wanted = torch.full_like(part.labels, self.target)
                    self.translator.translate(part, wanted, torch.Generator().manual_seed(0))
            except CannotTranslateError as error:
                refusal = str(error).rstrip(".")
            else:
                break
        return refusal

    def _refused(self, pictures: Sequence[_Picture], weights: Path, why: str) -> Problem:
        """One problem for all pictures."""
        if self.detect and all(picture.photograph.landmarks is None for picture in pictures):
            why += "; no face was found in any of these pictures"
        names = ", ".join(str(picture.found.path) for picture in pictures)
        suggest_install = self.requires_landmarks and self.settings.landmarks == "auto" and not self.detect
        return Problem(str(weights), f"{why}. Not translated: {names}", _INSTALL_HINT if suggest_install else "")

    def _unusable(self, picture: _Picture) -> Problem:
        name, photograph = self.translator.name, picture.photograph
        if photograph.landmarks is None:
            why = f"no face with reliable landmarks was found in it, and {name} requires landmarks"
        elif photograph.simulated is None and self.simulate:
            why = f"no simulated face fits it, and {name} requires one"
        else:
            why = f"lacks what {name} needs"
        return Problem(str(picture.found.path), why, "crop it to the face, or omit it")

    def _warn_of_unknown_landmarks(self, pictures: Sequence[_Picture], say: Callable[[str], None]) -> None:
        """Warns of pictures that are translated less well because their landmarks are unknown."""
        name = self.translator.name
        without = [str(picture.found.path) for picture in pictures if picture.photograph.landmarks is None]
        if not self.requires_landmarks or not without:
            return
        if self.detect:
            say(
                f"warning: no reliable landmarks in {', '.join(without)}: {name} was trained with landmarks and "
                "translates faces without them less well"
            )
            return
        why = (
            "were not looked for"
            if self.settings.landmarks == "none"
            else f"can't be detected here ({INSTALL_COMMAND})"
        )
        say(
            f"warning: {name} was trained with landmarks, and those of photographs {why}: each is translated as a face "
            "with unknown landmarks, with lower quality"
        )


def _write_all(
    translator: Translator,
    accepted: _Accepted,
    wanted: Sequence[_Wanted],
    weights: Path,
    settings: TranslateSettings,
    say: Callable[[str], None],
) -> list[Path]:
    """Translates batch by batch and writes each output atomically."""
    digest = sha256_of_file(weights)
    faces, pictures = accepted.faces, accepted.pictures
    written: list[Path] = []
    differ = False
    with track(total=len(pictures) * len(wanted), desc=f"translate by {translator.name}", unit="faces") as bar:
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH]
            sources = faces.take(range(start, start + len(part)))
            first = None
            for output in wanted:
                # From batch, class and number, so that further outputs or classes don't change the others.
                seed = derive_seed(settings.seed, "pictures", output.word, output.number, start)
                with torch.no_grad():
                    made = translator.translate(
                        sources, torch.full_like(sources.labels, output.label), torch.Generator().manual_seed(seed)
                    ).cpu()
                first = made if output.number == 1 else first
                differ |= first is not None and not torch.equal(made, first)
                for picture, pixels in zip(part, made.permute(0, 2, 3, 1).numpy(), strict=True):
                    path = output.path(picture.found)
                    facts = {
                        "source": picture.found.path.name,
                        "to": output.word,
                        "translator": translator.name,
                        "weights_sha256": digest,
                        "seed": settings.seed,
                        "output": output.number,
                    }
                    _write(path, encode_png(pixels, {TRANSLATED_MARK: json.dumps(facts)}), written)
                bar.update(len(part))
            for picture in part:
                names = ", ".join(output.path(picture.found).name for output in wanted)
                place = "" if settings.out is None else f" in {picture.found.folder}"
                say(f"{picture.found.path}: {picture.photograph.steps}: {names}{place}")
    if settings.outputs > 1 and not differ:
        say(f"note: {translator.name} is deterministic: the {settings.outputs} outputs of a class are all the same")
    return written


def _write(path: Path, data: bytes, written: list[Path]) -> None:
    try:
        atomic_write_bytes(path, data)
    except OSError as error:
        why = f"can't be written: {error.strerror or error} (after {_count(len(written), 'file')})"
        raise InputError(Problem(str(path), why, "use another folder with --out")) from error
    written.append(path)
