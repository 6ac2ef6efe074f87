"""Translators by name: make one, save one, load one; and the API of plug-ins.

A translator is known by its name. Ours are listed here; another project adds its own with an entry point in the group
`s2l.translators` (name = "module:Class", a subclass of `Translator`), as docs/how-to/add-a-translator.md says. A
plug-in imports its base class and what its losses see from here: `from augment.translators import Batch,
LearnedTranslator`. Nothing, torch among it, is imported before it is used.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from augment.core import plug_ins
from augment.core.errors import InputError, Problem

if TYPE_CHECKING:
    import torch

    from augment.faces.tensors import FaceTensors
    from augment.translators.base import (
        AdversarialTranslator,
        Batch,
        CannotTranslateError,
        FittedTranslator,
        LearnedTranslator,
        Phase,
        Translator,
        TranslatorSettings,
        UsesParsing,
    )

__all__ = [
    "AdversarialTranslator",
    "Batch",
    "CannotTranslateError",
    "FaceTensors",
    "FittedTranslator",
    "KeepsArrays",
    "LearnedTranslator",
    "Phase",
    "Translator",
    "TranslatorSettings",
    "UsesParsing",
    "create_translator",
    "load_translator",
    "save_translator",
    "translator_class",
    "translator_header",
    "translator_names",
    "translator_settings",
]

# Where the names are defined that are imported when they are first used.
_LAZY = {"FaceTensors": "augment.faces.tensors"} | dict.fromkeys(
    (
        "AdversarialTranslator",
        "Batch",
        "CannotTranslateError",
        "FittedTranslator",
        "LearnedTranslator",
        "Phase",
        "Translator",
        "TranslatorSettings",
        "UsesParsing",
    ),
    "augment.translators.base",
)


def __getattr__(name: str) -> Any:
    """Imports the base classes of plug-ins when they are first used: they need torch, the registry does not.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


FORMAT_VERSION = 2  # since 2 with a digest (augment.core.sealed_tensors)

_WHAT, _FIX = "readable weights file", "train it again"
_MOST_CLASSES, _LARGEST_SIZE = 10_000, 4_096  # a header that asks for more would only fill the memory

_BUILT_IN = {
    "warp": "augment.translators.warp:WarpTranslator",
    "lssl": "augment.translators.lssl:Lssl",
    "lssl_pose": "augment.translators.pose_normalization:LsslPose",
    "stargan": "augment.translators.stargan:StarGan",
    "appearance_flow": "augment.translators.appearance_flow:AppearanceFlow",
    "cdcgan": "augment.translators.cdcgan_encoder:Cdcgan",
    "icgan": "augment.translators.icgan:Icgan",
    "ccyclegan": "augment.translators.ccyclegan:CCycleGan",
    "bicogan": "augment.translators.bicogan:Bicogan",
    "cyclegan": "augment.translators.cyclegan:CycleGan",
    "cyclegan_pose": "augment.translators.cyclegan_pose:CycleGanPose",
    "simgan": "augment.translators.simgan:SimGan",
    "flow_matching": "augment.translators.flow_matching:FlowMatching",
}


@runtime_checkable
class KeepsArrays(Protocol):
    """A translator whose state has shapes that depend on its data, so that `state_dict` can't be loaded into it."""

    def arrays(self) -> dict[str, torch.Tensor]:
        """All that was fitted."""
        ...

    def load_arrays(self, tensors: dict[str, torch.Tensor]) -> None:
        """Takes what `arrays` gave."""
        ...


@cache
def _plug_ins() -> EntryPoints:
    """The installed plug-ins; found once, since that reads what every installed package says of itself."""
    return entry_points(group=plug_ins.TRANSLATORS)


def translator_names() -> tuple[str, ...]:
    """The names that `create_translator` knows: ours, then those of installed plug-ins."""
    plugged = sorted({point.name for point in _plug_ins()} - set(_BUILT_IN))
    return (*_BUILT_IN, *plugged)


def translator_class(name: str) -> type[Translator]:
    """The class behind a name.

    A name of ours is ours: a plug-in that claims it is passed over, with a warning.

    Raises:
        InputError: No such name, a plug-in that can't be imported or is no translator, or two that claim the name.
    """
    plugs = list(_plug_ins().select(name=name))
    if name in _BUILT_IN:
        if plugs:
            told = f"the plug-in {_told(plugs[0])} is not used: {name!r} is the name of a translator of ours"
            warnings.warn(f"{told}; rename its entry point", stacklevel=2)
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if not plugs:
        known = ", ".join(translator_names())
        raise InputError(Problem(f"translator {name!r}", "is not known", f"use one of {known}, or install it"))
    if len({point.value for point in plugs}) > 1:
        claims = " and ".join(_told(point) for point in plugs)
        raise InputError(Problem(f"translator {name!r}", f"is claimed by {claims}", "remove all but one"))
    return _plugged_class(plugs[0])


def _told(point: EntryPoint) -> str:
    """An entry point and the package that declares it, in words."""
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    return f"{point.name} = {point.value}{package}"


def _plugged_class(point: EntryPoint) -> type[Translator]:
    """The class behind a plug-in's entry point.

    Raises:
        InputError: It can't be imported, or is no translator that could be made, saved and found again.
    """
    from augment.translators.base import Translator, TranslatorSettings

    try:
        loaded = point.load()
    except Exception as error:  # a plug-in's module may raise anything
        why = f"{_told(point)} can't be imported: {type(error).__name__}: {error}"
        raise InputError(Problem(f"translator {point.name!r}", why, "fix or remove the plug-in")) from error
    wrong = ""
    if not (isinstance(loaded, type) and issubclass(loaded, Translator)):
        wrong = "is no subclass of augment.translators.Translator"
    elif missing := ", ".join(sorted(getattr(loaded, "__abstractmethods__", ()))):
        wrong = f"lacks {missing}"
    elif getattr(loaded, "name", None) != point.name:
        # Weights are filed under the class's own name and looked for under the entry point's.
        wrong = f"calls itself {getattr(loaded, 'name', None)!r}, and its entry point another name"
    elif not issubclass(getattr(loaded, "Settings", object), TranslatorSettings):
        wrong = "has no Settings that are a subclass of augment.translators.TranslatorSettings"
    if wrong:
        raise InputError(Problem(f"translator {point.name!r}", f"{_told(point)} {wrong}", "fix or remove the plug-in"))
    return loaded


def translator_settings(
    name: str, settings: Mapping[str, Any] | TranslatorSettings | None = None
) -> TranslatorSettings:
    """Checks settings of a translator; what is left out has the method's default.

    Raises:
        InputError: Lists every unknown key (with those that are known) and every impossible value.
    """
    from pydantic import ValidationError

    from augment.translators.base import TranslatorSettings

    kind = translator_class(name).Settings
    if isinstance(settings, TranslatorSettings):
        if type(settings) is kind:
            return settings
        raise InputError(
            Problem(
                f"translators.{name}", f"got {type(settings).__name__}, not {kind.__name__}", "give its own settings"
            )
        )
    try:
        return kind.model_validate(dict(settings or {}))
    except ValidationError as error:
        known = ", ".join(kind.model_fields)
        problems = []
        for detail in error.errors():
            key = ".".join([f"translators.{name}", *map(str, detail["loc"])])
            if detail["type"] == "extra_forbidden":
                problems.append(Problem(key, "is not a setting of this translator", f"known are {known}"))
            else:
                problems.append(Problem(key, f"{detail['msg']}, got {detail['input']!r}"))
        raise InputError(problems) from error


def create_translator(
    name: str,
    *,
    num_classes: int,
    channels: int,
    size: int,
    settings: Mapping[str, Any] | TranslatorSettings | None = None,
    seed: int = 0,
) -> Translator:
    """Makes a translator with fresh weights.

    Args:
        name: One of `translator_names()`.
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings, or a mapping of those that differ from its defaults.
        seed: Seeds the weights; torch's own random state is left as it was.

    Raises:
        InputError: Unknown name or setting, or a size that the settings can't halve.
    """
    import torch

    checked = translator_settings(name, settings)
    problems = []
    if num_classes < 2:
        problems.append(Problem("num_classes", f"{num_classes} classes leave nothing to translate", "give at least 2"))
    if channels not in (1, 3):
        problems.append(Problem("channels", f"{channels} is neither 1 (grey) nor 3 (colour)"))
    if size < 8:
        problems.append(Problem("size", f"pictures of {size} px hold no face", "give at least 8, better 32 or more"))
    if problems:
        raise InputError(problems)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return translator_class(name)(num_classes=num_classes, channels=channels, size=size, settings=checked)


def save_translator(translator: Translator, path: Path, *, class_names: Sequence[str] = ()) -> None:
    """Writes weights and all that is needed to build the translator again as safetensors, atomically.

    Args:
        translator: A translator; one with `arrays()` gives its state by that, others by `state_dict()`.
        path: Where to.
        class_names: Names of the classes in label order.
    """
    from augment.core.sealed_tensors import save_tensors

    state = translator.arrays() if isinstance(translator, KeepsArrays) else translator.state_dict()
    header = {
        "format": FORMAT_VERSION,
        "name": translator.name,
        "num_classes": translator.num_classes,
        "channels": translator.channels,
        "size": translator.size,
        "settings": translator.settings.model_dump(mode="json"),
        "class_names": list(class_names),
    }
    save_tensors(state, path, header)


def translator_header(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: name, num_classes, channels, size, settings, class_names.

    Raises:
        InputError: The file is absent, damaged, or holds no translator.
    """
    from augment.core.sealed_tensors import read_about

    return _checked_header(path, read_about(path, _WHAT, _FIX))


def _checked_header(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """A weights file's header, whose values are of the right types and within bounds.

    Raises:
        InputError: It is no translator's, or a newer version's; lists every value that is wrong.
    """
    missing = {"name", "num_classes", "channels", "size", "settings"} - set(header)
    if missing:
        raise InputError(
            Problem(
                str(path), f"holds no translator ({', '.join(sorted(missing))} not said)", "give a weights.safetensors"
            )
        )
    version = header.get("format", 0)
    if type(version) is int and version > FORMAT_VERSION:
        raise InputError(Problem(str(path), "was written by a newer version of this program", "update this one"))
    names = header.get("class_names", [])
    wrong = {
        "format": not _is_count(version, 0, FORMAT_VERSION),
        "name": not isinstance(header["name"], str),
        "num_classes": not _is_count(header["num_classes"], 2, _MOST_CLASSES),
        "channels": header["channels"] not in (1, 3) or type(header["channels"]) is not int,
        "size": not _is_count(header["size"], 8, _LARGEST_SIZE),
        "settings": not isinstance(header["settings"], dict),
        "class_names": not isinstance(names, list) or not all(isinstance(name, str) for name in names),
    }
    if not any(wrong.values()) and names and len(names) != header["num_classes"]:
        wrong["class_names"] = True
    if any(wrong.values()):
        found = [
            Problem(f"{path}, {key}", f"can't be {json.dumps(header.get(key))[:60]}", _FIX)
            for key, is_wrong in wrong.items()
            if is_wrong
        ]
        raise InputError(found, f"{path} is no readable weights file:")
    return dict(header)


def _is_count(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def load_translator(path: Path, device: torch.device | str = "cpu") -> Translator:
    """Reads a translator written by `save_translator`, in eval mode.

    Raises:
        InputError: The file is absent, damaged or of another form; the translator or one of its settings is not known.
    """
    from augment.core.sealed_tensors import load_tensors

    tensors, about = load_tensors(path, _WHAT, _FIX)
    header = _checked_header(path, about)
    translator = create_translator(
        header["name"],
        num_classes=header["num_classes"],
        channels=header["channels"],
        size=header["size"],
        settings=header["settings"],
    )
    try:
        if isinstance(translator, KeepsArrays):
            translator.load_arrays(tensors)
        else:
            translator.load_state_dict(tensors)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            Problem(str(path), f"its tensors do not fit {header['name']}: {error}", "train it again")
        ) from error
    return translator.to(device).eval()
