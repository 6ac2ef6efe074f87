"""Which attribute of a face is its class: the expression, or the light or pose that the source knows of it.

LSSL's attributes are "facial expression, head pose and lighting" (section 3.1, fig. 2). A source wrapped here has the
attribute's values as its classes, so that everything after it works on them as it does on expressions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from augment.core.errors import InputError, Problem
from augment.faces.table import Attribute
from augment.sources.base import RawFace, Source

_FIELDS = {"illumination": "illumination", "pose": "yaw"}


def with_attribute(source: Source, attribute: Attribute, *, pose_step: float = 15.0) -> Source:
    """The same faces, with an attribute's values as their classes.

    The classes are those that occur, so the faces are looked through once before they are read; sources that know
    their faces' values beforehand (`attribute_values`) need not draw them for it.

    Args:
        source: An open source.
        attribute: `expression` gives the source back as it is; `illumination` makes each light's name a class
            (alphabetical), `pose` each angle (`pose_class`, from left to right).
        pose_step: Degrees between two classes of poses.

    Returns:
        A source; a face without the value is a problem of its row.

    Raises:
        InputError: Fewer than two values occur, or the step is no angle.
    """
    if attribute == "expression":
        return source
    return AttributeSource(source, attribute, pose_step)


def pose_class(yaw: float, step: float) -> str:
    """The class of a yaw, `yaw -30`, `yaw 0`, `yaw +15`: the nearest multiple of the step, positive to the right.

    Args:
        yaw: Degrees, as in the table of faces.
        step: Degrees between two classes.
    """
    return _pose_name(_nearest(yaw, step), step)


def _nearest(yaw: float, step: float) -> int:
    # Halves go away from 0, so that a mirrored face has the mirrored class.
    return int(math.copysign(math.floor(abs(yaw) / step + 0.5), yaw))


def _pose_name(number: int, step: float) -> str:
    return f"yaw {signed_degrees(number * step)}"


def signed_degrees(yaw: float) -> str:
    """`-45`, `0`, `+15`: a yaw in degrees as classes and counts name it."""
    return f"{yaw:+g}" if yaw else "0"


class AttributeSource:
    """A source whose classes are another attribute's values; made by `with_attribute`.

    Whatever else the source has (`title`, `licence` ...) is delegated.
    """

    def __init__(self, source: Source, attribute: Attribute, pose_step: float) -> None:
        if not 0 < pose_step <= 90:
            raise InputError(Problem("pose_step", f"{pose_step:g} degrees are no step", "use more than 0, up to 90"))
        self.source = source
        self.attribute = attribute
        self.pose_step = pose_step
        self.name = source.name
        self._count = 0
        found = set()
        for value in self._values():
            self._count += 1
            if value is not None:
                found.add(value)
        if len(found) < 2:
            only = f"the same, {self._class_of(found.pop())!r}" if found else "none"
            why = f"the faces of the source {source.name} have {only}: there is nothing to tell apart"
            fix = "use attribute: expression, or a source whose faces differ in it"
            raise InputError(Problem(f"attribute: {attribute}", why, fix))
        self.class_names = tuple(self._class_of(value) for value in sorted(found))

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["source"], name)

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields every face with its new class, and a problem for each without the value."""
        for face in self.source.faces():
            if isinstance(face, Problem):
                yield face
                continue
            value = self._value(getattr(face, _FIELDS[self.attribute]))
            if value is None:
                why = f"has no {_FIELDS[self.attribute]}, which attribute: {self.attribute} makes the class"
                yield Problem(face.path or face.name, why, "annotate it, leave the face out, or name a quarantine")
                continue
            yield replace(face, label_name=self._class_of(value))

    def _values(self) -> Iterable[Any]:
        field = _FIELDS[self.attribute]
        known = getattr(self.source, "attribute_values", None)
        found = (
            known(field)
            if known is not None
            else (None if isinstance(face, Problem) else getattr(face, field) for face in self.source.faces())
        )
        return map(self._value, found)

    def _value(self, value: Any) -> Any:
        """What classes are made of: the light's name, or the pose as a multiple of the step; None where unknown."""
        if self.attribute == "illumination":
            return value or None
        return None if value is None or not math.isfinite(value) else _nearest(value, self.pose_step)

    def _class_of(self, value: Any) -> str:
        return value if self.attribute == "illumination" else _pose_name(value, self.pose_step)
