"""What a copy of a data set holds: counted, and set beside what its publication says of the whole.

Counts have names: `faces`, `subjects`, `class happy`, `split train`, `pose -45`, `pose 0`, `pose +45`, `light Dark`,
`intensity 0.25`, and what a source counts besides (`sequences`). Of several data sets read as one (`joint`) each
name begins with the data set's: `ferg: faces`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from statistics import median

from pydantic import BaseModel, ConfigDict, computed_field

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.faces.duplicates import FingerprintCollector, find_duplicates
from augment.faces.leakage import SplitDuplicates, duplicates_across
from augment.faces.licences import Licence
from augment.faces.splits import count_apart
from augment.faces.subjects import Spellings
from augment.faces.table import SPLITS
from augment.sources.attributes import signed_degrees
from augment.sources.base import PublishedCount, RawFace, Source, reading_notes
from augment.sources.face_problem import face_problem
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.terms import licence_of

NONE = "none"  # a face that has no split, pose, light or intensity
FIELDS = ("split", "pose", "light", "intensity")
MOST_EXAMPLES = 6  # texts name five, and say whether there are more
MOST_VALUES = 15  # a field of more values (measured poses) is not set against classes


class FacesPerSubject(BaseModel):
    """How many faces the subjects have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: int
    median: float
    most: int


class Comparison(BaseModel):
    """A count beside the published one.

    Attributes:
        what: The count's name.
        found: How many this copy holds.
        published: How many the whole data set has.
        read_at: Where that is said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    found: int
    published: int
    read_at: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def difference(self) -> int:
        """Found minus published."""
        return self.found - self.published


class PictureFacts(BaseModel):
    """What the pictures themselves say.

    Attributes:
        sizes: Pictures by `width x height`.
        forms: Pictures that are `grey` or `colour`.
        blank: Pictures that show nothing.
        landmarks: Faces with landmarks.
        masks: Faces with masks.
        identical: Faces that have a byte-identical copy.
        near_identical: Faces that have a byte-identical copy or a near-duplicate (`augment.faces.duplicates`);
            neighbours in a sequence often do.
        identical_of_other_class: Groups of byte-identical pictures whose faces have different classes.
        identical_of_other_subject: Groups of byte-identical pictures of different subjects.
        across_splits: Pictures that lie in two splits.
        apart: By class the people who show it, or pictures that are not near-identical where nobody is known: what
            splits can part.
        examples: For `blank` and the fields from `near_identical` to `identical_of_other_subject` the first faces that
            are counted, or groups of them, by their names; `MOST_EXAMPLES` at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sizes: dict[str, int]
    forms: dict[str, int]
    blank: int
    landmarks: int
    masks: int
    identical: int
    near_identical: int
    identical_of_other_class: int
    identical_of_other_subject: int
    across_splits: tuple[SplitDuplicates, ...]
    apart: dict[str, int] = {}
    examples: dict[str, tuple[str, ...]] = {}


class Inventory(BaseModel):
    """What a copy holds.

    Attributes:
        source: The source's name.
        title: The data set's name.
        licence: Under which terms the faces stand; None where nobody has said it yet.
        class_names: The classes in label order.
        faces: Faces that can be read (that are listed, where no picture was read).
        classes: Faces by class.
        subjects: Different subjects; None where the source names none.
        faces_per_subject: None where the source names no subjects.
        by_split: Faces by split, with `none`; empty where no face has one. So with the next three.
        by_pose: Faces by yaw in degrees (`-45`, `0`, `+45`).
        by_light: Faces by light.
        by_intensity: Faces by intensity.
        by_data_set: Faces by data set, where the source holds several.
        crossed: By field (split, pose, light, intensity), then by class: the faces by the field's value. Fields that
            are unknown, or have more than `MOST_VALUES` values, are left out.
        further: The source's own counts.
        subjects_in_several_splits: Subjects that the data set's own splits part.
        subject_spellings: Subjects whose names come in several spellings (`S01`, `s01`), and the others; they count as
            one person.
        pictures: None where the pictures were not read.
        published: The published counts beside those found.
        missing: What the whole data set has and this copy lacks.
        problems: What can't be read, all of it.
        reading: How the copy was read, where that is not to be seen from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    title: str
    licence: Licence | None
    class_names: tuple[str, ...]
    faces: int
    classes: dict[str, int]
    subjects: int | None
    faces_per_subject: FacesPerSubject | None
    by_split: dict[str, int]
    by_pose: dict[str, int]
    by_light: dict[str, int]
    by_intensity: dict[str, int]
    by_data_set: dict[str, int]
    crossed: dict[str, dict[str, dict[str, int]]]
    further: dict[str, int]
    subjects_in_several_splits: tuple[str, ...]
    subject_spellings: dict[str, tuple[str, ...]]
    pictures: PictureFacts | None
    published: tuple[Comparison, ...]
    missing: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    reading: tuple[str, ...] = ()


class _Tally:
    """Counts faces."""

    def __init__(self) -> None:
        self.classes: Counter[str] = Counter()
        self.subjects: Counter[str] = Counter()
        self.splits_of: dict[str, set[str]] = {}
        self.values: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}
        self.crossed: dict[str, dict[str, Counter[str]]] = {field: {} for field in FIELDS}

    def add(self, face: RawFace | ListedFace, subject: str | None) -> None:
        """Takes one face; subjects of different data sets have different names."""
        self.classes[face.label_name] += 1
        if subject is not None:
            self.subjects[subject] += 1
            if face.split is not None:
                self.splits_of.setdefault(subject, set()).add(face.split)
        values = {
            "split": face.split,
            "pose": None if face.yaw is None else signed_degrees(face.yaw),
            "light": face.illumination,
            "intensity": None if face.intensity is None else format(face.intensity, "g"),
        }
        for field, value in values.items():
            self.values[field][value or NONE] += 1
            self.crossed[field].setdefault(face.label_name, Counter())[value or NONE] += 1

    def counts(self) -> Counter[str]:
        """Every count by its name."""
        counts = Counter({"faces": self.classes.total(), "subjects": len(self.subjects)})
        counts.update({f"class {name}": count for name, count in self.classes.items()})
        for field, found in self.values.items():
            counts.update({f"{field} {value}": count for value, count in found.items() if value != NONE})
        return counts

    def known(self, field: str) -> dict[str, int]:
        """Faces by a field's value in the order that people expect; empty where no face has one."""
        found = self.values[field]
        return {} if set(found) <= {NONE} else {value: found[value] for value in _ordered(field, found)}

    def crossed_known(self, class_names: Iterable[str]) -> dict[str, dict[str, dict[str, int]]]:
        """By field, class and value, of the fields that are known, with nought where there is no face."""
        return {
            field: {
                name: {value: self.crossed[field].get(name, Counter())[value] for value in self.known(field)}
                for name in class_names
            }
            for field in FIELDS
            if 0 < len(self.known(field)) <= MOST_VALUES
        }


def _ordered(field: str, values: Iterable[str]) -> list[str]:
    def key(value: str) -> tuple[bool, float, str]:
        if value == NONE:
            return True, 0.0, value
        if field == "split":
            return False, float(SPLITS.index(value)) if value in SPLITS else float(len(SPLITS)), value
        return False, float(value) if field in ("pose", "intensity") else 0.0, value

    return sorted(values, key=key)


class _Pictures:
    """What the pictures say."""

    def __init__(self) -> None:
        self.sizes: Counter[str] = Counter()
        self.forms: Counter[str] = Counter()
        self.landmarks = 0
        self.masks = 0
        self.collector = FingerprintCollector()
        self.labels: dict[str, str] = {}
        self.subjects: dict[str, str | None] = {}
        self.splits: dict[str, str | None] = {}

    def add(self, name: str, face: RawFace, subject: str | None) -> None:
        """Takes one face; keeps what it is, not its picture."""
        height, width = face.image.shape[:2]
        self.sizes[f"{width} x {height}"] += 1
        self.forms["grey" if face.image.ndim == 2 else "colour"] += 1
        self.landmarks += face.landmarks is not None
        self.masks += face.mask is not None
        self.collector.add(name, face.image)
        self.labels[name], self.subjects[name], self.splits[name] = face.label_name, subject, face.split

    def summary(self) -> PictureFacts:
        """The facts."""
        prints = self.collector.fingerprints()
        duplicates = find_duplicates(prints)
        exact: dict[int, list[str]] = {}
        near: dict[int, list[str]] = {}
        for row in duplicates.to_pylist():
            near.setdefault(row["near_group"], []).append(row["face_id"])
            if row["exact_group"] is not None:
                exact.setdefault(row["exact_group"], []).append(row["face_id"])
        of_other_class = [group for group in exact.values() if len({self.labels[name] for name in group}) > 1]
        of_other_subject = [
            group for group in exact.values() if len({self.subjects[name] for name in group} - {None}) > 1
        ]
        blank = [[name] for name, is_blank in zip(prints.face_ids, prints.blank.tolist(), strict=True) if is_blank]
        return PictureFacts(
            sizes=dict(self.sizes.most_common()),
            forms=dict(self.forms.most_common()),
            blank=len(blank),
            landmarks=self.landmarks,
            masks=self.masks,
            identical=sum(map(len, exact.values())),
            near_identical=len(duplicates),
            identical_of_other_class=len(of_other_class),
            identical_of_other_subject=len(of_other_subject),
            across_splits=duplicates_across(duplicates, self.splits),
            apart=count_apart(
                prints.face_ids,
                [self.labels[name] for name in prints.face_ids],
                [self.subjects[name] for name in prints.face_ids],
                duplicates,
            ),
            examples={
                "blank": _examples(blank),
                "near_identical": _examples(list(near.values())),
                "identical_of_other_class": _examples(of_other_class),
                "identical_of_other_subject": _examples(of_other_subject),
            },
        )


def _examples(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The first groups of faces by their names, two of each."""
    return tuple(
        " and ".join(group[:2]) + (f" and {len(group) - 2:,} more" if len(group) > 2 else "")
        for group in groups[:MOST_EXAMPLES]
    )


def take_inventory(source: Source, *, pictures: bool = True) -> Inventory:
    """Counts what a source's copy holds.

    Args:
        source: An open source.
        pictures: Whether each picture is read (with a progress bar). Without, sources that can list their faces do
            only that, and a picture that does not decode is not found; others are read all the same.

    Returns:
        The counts, all problems, and what is missing.
    """
    parts: Mapping[str, Source] = getattr(source, "sources", None) or {"": source}
    whole, facts = _Tally(), _Pictures()
    problems: list[Problem] = []
    missing: list[Problem] = []
    compared: list[Comparison] = []
    further: Counter[str] = Counter()
    sets: dict[str, int] = {}
    names: set[str] = set()
    spellings: dict[str, tuple[str, ...]] = {}
    for data_set, part in parts.items():
        tally, people = _Tally(), Spellings()
        for found in _found(part, data_set, pictures):
            problem = found if isinstance(found, Problem) else _problem_of(found, part, names, data_set)
            if problem is not None:
                problems.append(_named(data_set, problem))
                continue
            assert not isinstance(found, Problem)
            person = None if found.subject is None else people.name(found.subject)
            subject = person if person is None or not data_set else f"{data_set}/{person}"
            tally.add(found, person)
            whole.add(found, subject)
            if pictures and isinstance(found, RawFace):
                facts.add(f"{data_set}/{found.name}" if data_set else found.name, found, subject)
        spellings |= {_word(data_set, name): others for name, others in people.several().items()}
        own = Counter(getattr(part, "further_counts", Counter)())
        further.update({_word(data_set, what): count for what, count in own.items()})
        missing += [_named(data_set, problem) for problem in getattr(part, "missing", tuple)()]
        sets[data_set] = tally.classes.total()
        counts = tally.counts() + own
        compared += [_compared(data_set, entry, counts) for entry in getattr(part, "published", ())]
    try:
        licence = licence_of(source)
    except InputError:
        licence = None
    per_subject = sorted(whole.subjects.values())
    class_names = tuple(source.class_names)
    return Inventory(
        source=source.name,
        title=str(getattr(source, "title", source.name)),
        licence=licence,
        class_names=class_names,
        faces=whole.classes.total(),
        classes={name: whole.classes[name] for name in class_names},
        subjects=len(per_subject) or None,
        faces_per_subject=FacesPerSubject(least=per_subject[0], median=median(per_subject), most=per_subject[-1])
        if per_subject
        else None,
        by_split=whole.known("split"),
        by_pose=whole.known("pose"),
        by_light=whole.known("light"),
        by_intensity=whole.known("intensity"),
        by_data_set=sets if len(parts) > 1 else {},
        crossed=whole.crossed_known(class_names),
        further=dict(further),
        subjects_in_several_splits=tuple(sorted(name for name, splits in whole.splits_of.items() if len(splits) > 1)),
        subject_spellings=spellings,
        pictures=facts.summary() if pictures else None,
        published=tuple(compared),
        missing=tuple(missing),
        problems=tuple(problems),
        reading=tuple(_word(data_set, note) for data_set, part in parts.items() for note in reading_notes(part)),
    )


def _found(source: Source, data_set: str, pictures: bool) -> Iterator[RawFace | ListedFace | Problem]:
    if not pictures and isinstance(source, ListedSource):
        yield from source.listed()
        return
    total = len(source) if isinstance(source, Sized) else None
    yield from track(source.faces(), desc=data_set or source.name, unit="faces", total=total)


def _problem_of(face: RawFace | ListedFace, source: Source, names: set[str], data_set: str) -> Problem | None:
    """What preparation would say against a face."""
    name = f"{data_set}/{face.name or face.path}"
    if name in names:
        why = f"the name {face.name or face.path!r} occurs twice"
        return Problem(face.path or face.name, why, "every face needs a name of its own")
    names.add(name)
    if isinstance(face, RawFace):
        return face_problem(face, source.class_names)
    if face.label_name not in source.class_names:
        return Problem(face.path, f"unknown label {face.label_name!r}", f"known: {', '.join(source.class_names)}")
    return None


def _named(data_set: str, problem: Problem) -> Problem:
    return Problem(_word(data_set, problem.where), problem.why, problem.fix)


def _word(data_set: str, what: str) -> str:
    return f"{data_set}: {what}" if data_set else what


def _compared(data_set: str, entry: PublishedCount, counts: Counter[str]) -> Comparison:
    return Comparison(
        what=_word(data_set, entry.what), found=counts[entry.what], published=entry.count, read_at=entry.read_at
    )
