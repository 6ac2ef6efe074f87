"""The columns of a sheet of translated faces: every class, of every data set that a translator makes faces of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator


@dataclass(frozen=True)
class Column:
    """What the faces of one column are translated to.

    Attributes:
        heading: In words.
        label: The wanted class.
        domain: The wanted data set, as a position in the translator's `data_sets`; None where there is no choice.
    """

    heading: str
    label: int
    domain: int | None = None


def sheet_columns(translator: Translator, class_names: Sequence[str]) -> tuple[Column, ...]:
    """All columns in order: the classes, or the classes of one data set after those of the other."""
    classes = list(enumerate(class_names))
    if not translator.data_sets:
        return tuple(Column(name, label) for label, name in classes)
    return tuple(
        Column(f"{data_set}: {name}", label, domain)
        for domain, data_set in enumerate(translator.data_sets)
        for label, name in classes
    )


def own_columns(translator: Translator, faces: FaceTensors) -> list[int]:
    """For each face the column of its own class and data set; -1 where that is none of the translator's."""
    labels: list[int] = faces.labels.tolist()
    if not translator.data_sets:
        return labels
    places = {data_set: place * len(faces.class_names) for place, data_set in enumerate(translator.data_sets)}
    sources = faces.sources or (None,) * len(labels)
    return [places[source] + label if source in places else -1 for source, label in zip(sources, labels, strict=True)]
