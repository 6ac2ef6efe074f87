"""`s2l data check`: inspects a copy of a data set and describes it as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.yaml_text import parse_yaml
from augment.faces.fold_choice import choose_folds
from augment.faces.splits import FoldSettings, too_few_to_part
from augment.prepare.inventory import MOST_EXAMPLES, NONE, Inventory, PictureFacts, take_inventory
from augment.sources import open_source
from pipeline.publishing.destinations import check_above

_PLAIN_WORD = re.compile(r"[A-Za-z_/][\w./-]*\Z", re.ASCII)
_GROUPS = {"joint": "rig_joint"}  # profiles whose name differs from their source's
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "inf", "nan"})


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs as settings; values are YAML, so that lists and booleans work.

    Raises:
        InputError: Lists every text that is not `key=value`, can't be read as YAML, or repeats a key.
    """
    settings: dict[str, Any] = {}
    problems = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            problems.append(Problem(f"--set {pair}", "is not key=value", "write --set test_on=both"))
            continue
        if key.strip() in settings:
            problems.append(Problem(f"--set {pair}", "repeats a key", "set each key once"))
            continue
        try:
            settings[key.strip()] = parse_yaml(text, f"--set {key.strip()}")
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return settings


def _check_json_file(file: Path) -> None:
    """Checks that only an earlier inventory is overwritten.

    Raises:
        InputError: The file is something else, or would lie below a file.
    """
    check_above(file)
    if file.exists():
        try:
            Inventory.model_validate_json(file.read_bytes())
        except (OSError, ValueError) as error:
            why = "would be overwritten, and does not contain counts of a data set"
            raise InputError(Problem(str(file), why, "name another file")) from error


def check_data(
    name: str, root: Path | None, settings: Mapping[str, Any], *, pictures: bool, json_file: Path | None = None
) -> tuple[str, int]:
    """Inspects a copy of a data set.

    Args:
        name: The source's name.
        root: The data set's folder or file; None for embedded faces.
        settings: The source's settings.
        pictures: Whether to read each picture.
        json_file: File for the inventory, or None.

    Returns:
        The text, and the number of problems.

    Raises:
        InputError: The source can't be opened, or `json_file` is another file that would be lost.
    """
    if json_file is not None:
        _check_json_file(json_file)
    found = take_inventory(open_source(name, root, **settings), pictures=pictures)
    if json_file is not None:
        atomic_write_text(json_file, found.model_dump_json(indent=2) + "\n")
    text = inventory_text(found, where="" if root is None else str(root))
    text += "\n" + _next_step(found, name, root, settings)
    return text.encode(errors="backslashreplace").decode(), len(found.problems)  # file names may not be UTF-8


def inventory_text(found: Inventory, *, where: str) -> str:
    """An inventory as text: counts, comparison, what is missing, all problems, terms."""
    parts = [_heading(found, where), *_count_tables(found), _comparison(found)]
    parts += [_listed("missing", found.missing), _listed("problem", found.problems), _folds(found), _notes(found)]
    parts.append(_terms(found))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a text table, the first as header; the first column left-aligned, numbers right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = [
        column > 0 and all(re.fullmatch(r"[-+]?[\d,]*", row[column]) for row in rows[1:])
        for column in range(len(rows[0]))
    ]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _heading(found: Inventory, where: str) -> str:
    named = found.title if found.title == found.source else f"{found.title} ({found.source})"
    lines = [f"{named}: {where}" if where else named]
    what = f"{_count(found.faces, 'face')}, {_count(len(found.class_names), 'class')}"
    if found.subjects is not None and found.faces_per_subject is not None:
        each = found.faces_per_subject
        many = f"{each.least:,} to {each.most:,} faces each, median {each.median:g}"
        what += f", {_count(found.subjects, 'subject')} ({many})"
    else:
        what += ", no subject names"
    lines.append(what)
    compared = {entry.what for entry in found.published}
    beside = [f"{name} {count:,}" for name, count in found.further.items() if name not in compared]
    if beside:
        lines.append(f"also: {', '.join(beside)}")
    if found.pictures is not None:
        lines += _picture_lines(found.pictures)
    else:
        lines.append("the pictures were not read, so damaged ones are not detected")
    return "\n".join(lines)


def _picture_lines(facts: PictureFacts) -> list[str]:
    sizes = [f"{size} px ({count:,})" for size, count in list(facts.sizes.items())[:6]]
    if len(facts.sizes) > len(sizes):
        sizes.append(f"{len(facts.sizes) - len(sizes):,} other sizes")
    forms = ", ".join(f"{count:,} {form}" for form, count in facts.forms.items())
    lines = [f"pictures: {', '.join(sizes)}; {forms}" if sizes else "pictures: none"]
    beside = [
        f"{count:,} with {name}" for name, count in (("landmarks", facts.landmarks), ("masks", facts.masks)) if count
    ]
    return [*lines, *([", ".join(beside)] if beside else [])]


def _count_tables(found: Inventory) -> list[str]:
    """Faces by class, and by class and field for fields with several values; other fields in one line each."""
    tables, lines = [], []
    if found.by_data_set:
        tables.append(_table_of("faces by data set", ["data set", "faces"], found.by_data_set))
    crossed = {field: by_class for field, by_class in found.crossed.items() if len(_values(by_class)) > 1}
    if not crossed:
        tables.append(_table_of("faces by class", ["class", "faces"], found.classes))
    for field, by_class in crossed.items():
        values = _values(by_class)
        rows = [["class", *values, "all"]]
        for name, by_value in by_class.items():
            rows.append([name, *(f"{by_value[value]:,}" for value in values), f"{sum(by_value.values()):,}"])
        totals = [sum(by_value[value] for by_value in by_class.values()) for value in values]
        rows.append(["all", *(f"{total:,}" for total in totals), f"{sum(totals):,}"])
        tables.append(f"faces by class and {field}\n" + table(rows))
    known = {"split": found.by_split, "pose": found.by_pose, "light": found.by_light, "intensity": found.by_intensity}
    for field, counts in known.items():
        if len(counts) == 1:
            lines.append(f"{field}: {next(iter(counts))}, all of them")
        elif counts and field not in found.crossed:
            values = [value for value in counts if value != NONE]
            without = f", {counts[NONE]:,} without one" if NONE in counts else ""
            lines.append(f"{field}: {len(values):,} different values, {values[0]} to {values[-1]}{without}")
    return [*tables, *(["\n".join(lines)] if lines else [])]


def _values(by_class: Mapping[str, Mapping[str, int]]) -> list[str]:
    return list(next(iter(by_class.values()), {}))


def _table_of(heading: str, names: Sequence[str], counts: Mapping[str, int]) -> str:
    return heading + "\n" + table([names, *([name, f"{count:,}"] for name, count in counts.items())])


def _comparison(found: Inventory) -> str:
    if not found.published:
        return ""
    places = dict.fromkeys(entry.read_at for entry in found.published)
    rows = [["", "found", "published", "difference", *(["published where"] if len(places) > 1 else [])]]
    for entry in found.published:
        numbers = [f"{entry.found:,}", f"{entry.published:,}", f"{entry.difference:+,}" if entry.difference else "0"]
        rows.append([entry.what, *numbers, *([entry.read_at] if len(places) > 1 else [])])
    differing = sum(entry.difference != 0 for entry in found.published)
    verdict = f"{differing} of {_count(len(found.published), 'count')} differ" if differing else "all agree"
    where = f" ({next(iter(places))})" if len(places) == 1 else ""
    return f"compared with the published counts{where}: {verdict}\n" + table(rows)


def _listed(what: str, problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    head = (
        f"missing from the complete data set: {len(problems):,}" if what == "missing" else _count(len(problems), what)
    )
    return "\n".join([head + ":", *(f"  {problem}" for problem in problems)])


def _folds(found: Inventory) -> str:
    """The splits that a run uses by default (`folds.kind: auto`)."""
    if len(found.class_names) < 2 or not found.faces:
        return ""
    try:
        choice = choose_folds(found.by_split, FoldSettings.model_validate({}))
        said = choice.sentence + ("; folds.kind=subjects creates new ones" if choice.kind == "source" else "")
        if choice.kind == "source" and (untrained := classes_without_training_faces(found)):
            said += f"\n  no training face of {', '.join(untrained)}: a run is refused but with folds.kind=subjects"
        if problem := unsplittable(found):
            said += f"\n  a run is refused: {problem}"
    except InputError as error:
        said = str(error)
    return f"folds (folds.kind: auto): {said}"


def unsplittable(found: Inventory, settings: FoldSettings | None = None) -> Problem | None:
    """Why a run can't part a data set into train, validation and test; None where counts don't tell so.

    Args:
        found: What it has.
        settings: Of the run's folds; None: as by default.
    """
    settings = settings or FoldSettings.model_validate({})
    try:
        is_new = choose_folds(found.by_split, settings).kind == "subjects"
    except InputError:  # its own splits have another fault, which is told
        return None
    if found.pictures is None or not is_new:
        return None
    people_known = found.subjects is not None
    return next(iter(too_few_to_part(found.classes, found.pictures.apart, settings, people_known=people_known)), None)


def classes_without_training_faces(found: Inventory) -> list[str]:
    """Classes that a data set's own splits leave no training face; none where it has no splits."""
    by_class = found.crossed.get("split", {})
    if not found.by_split.get("train"):
        return []
    return [name for name in found.class_names if not by_class.get(name, {"train": 1}).get("train")]


def classes_without_faces(found: Inventory) -> list[str]:
    """Classes that a data set names and has no face of, which a run leaves out."""
    return [name for name in found.class_names if not found.classes.get(name)]


def leaving_out(classes: Sequence[str], found: Inventory) -> list[str]:
    """The word of `s2l profile` that leaves classes out; none where there are none to leave out."""
    there = [name for name in found.class_names if name not in classes]
    return [f"dataset.classes={override_value(there)}"] if classes else []


def _notes(found: Inventory) -> str:
    """Findings that are not problems."""
    lines = list(found.reading)
    if parted := found.subjects_in_several_splits:
        shown = ", ".join(parted[:5]) + (" ..." if len(parted) > 5 else "")
        lines.append(
            f"{_count(len(parted), 'subject')} in several splits ({shown}): splits must be subject-disjoint; move "
            "each subject into one split, or use folds.kind=subjects, which creates new folds and ignores the splits"
        )
    if found.subject_spellings:
        spelt = [f"{name!r} and {', '.join(map(repr, others))}" for name, others in found.subject_spellings.items()]
        more = " ..." if len(spelt) > 5 else ""
        lines.append(f"subjects with several spellings, each read as one person: {'; '.join(spelt[:5])}{more}")
    if facts := found.pictures:
        lines += _picture_notes(facts)
    return "\n".join(["please check:", *(f"  {line}" for line in lines)]) if lines else ""


def _picture_notes(facts: PictureFacts) -> list[str]:
    lines = []
    if facts.near_identical:
        lines.append(
            f"{facts.identical:,} faces have a byte-identical copy, {facts.near_identical:,} an identical or "
            f"near-identical one; folds keep them together{_examples(facts, 'near_identical')}"
        )
    for field, count, what in (
        ("identical_of_other_subject", facts.identical_of_other_subject, "subjects"),
        ("identical_of_other_class", facts.identical_of_other_class, "classes"),
    ):
        if count:
            named = _examples(facts, field)
            lines.append(f"{_count(count, 'group')} of identical pictures of different {what}{named}")
    for pair in facts.across_splits:
        named = _some([f"{second} and {first}" for first, second in pair.examples])
        lines.append(
            f"{pair.near:,} {pair.second} pictures are identical or near-identical to one of {pair.first}{named}"
        )
    if facts.blank:
        lines.append(f"{_count(facts.blank, 'picture')} without content{_examples(facts, 'blank')}")
    return lines


def _examples(facts: PictureFacts, field: str) -> str:
    return _some(facts.examples.get(field, ()))


def _some(names: Sequence[str]) -> str:
    """The first names, after a colon; nothing where there are none."""
    shown = MOST_EXAMPLES - 1
    return f": {'; '.join(names[:shown])}{' ...' * (len(names) > shown)}" if names else ""


def _terms(found: Inventory) -> str:
    if found.licence is None:
        return "terms: unknown; set dataset.licence, because the synthetic faces' cards must name them"
    lines = []
    for part in found.licence.lines:
        name = part.data_set or found.title
        if part.terms is None:
            lines.append(f"terms of {name}: {part.line}")
            continue
        terms = part.terms
        lines += [
            f"terms of {name}",
            f"  holder: {terms.holder}",
            f"  where to request: {terms.ask}",
            f"  use: {terms.use}",
            f"  images made from it: {terms.derived}",
            f"  read at: {terms.read_at}",
        ]
    return "\n".join(lines)


def _needs_new_folds(found: Inventory) -> bool:
    """Whether a run by the data set's own splits would be refused, where new ones may do."""
    try:
        choice = choose_folds(found.by_split, FoldSettings.model_validate({}))
    except InputError:
        return True
    return choice.kind == "source" and bool(classes_without_training_faces(found))


def _next_step(found: Inventory, name: str, root: Path | None, settings: Mapping[str, Any]) -> str:
    """The command for a run on this copy; if there are problems, on what can be read of it."""
    if len(found.class_names) < 2 and name != "helen":
        only = ", ".join(found.class_names)
        return f"next: add faces of a second class; with one class ({only}) nothing can be classified or translated\n"
    if len(found.class_names) < 2 and root is not None:
        teacher = ["parsing.teacher.source=helen", f"parsing.teacher.root={override_value(str(root))}"]
        head = "next (its faces are of one class: they can train the parsing network of a run on another data set)"
        return f"{head}:\n  s2l profile dataset=... {' '.join(map(_shell_word, teacher))}\n"
    overrides = [f"dataset={_GROUPS.get(name, name)}"]
    if root is not None:
        overrides.append(f"dataset.root={override_value(str(root))}")
    if found.licence is None:
        overrides.append("dataset.licence='?'")
    overrides += leaving_out(classes_without_faces(found), found)
    if _needs_new_folds(found):
        overrides.append("folds.kind=subjects")
    if found.problems and found.faces:
        overrides.append("dataset.quarantine=quarantine/list.jsonl")
    overrides += [f"++dataset.settings.{key}={override_value(value)}" for key, value in settings.items()]
    head = "next"
    if not found.faces:
        return "next: fix what is listed above; no face could be read\n"
    if found.problems:
        head += f" (fix what is listed above, or continue without it: {_count(len(found.problems), 'problem')})"
    return f"{head}:\n  s2l profile {' '.join(map(_shell_word, overrides))}\n"


def _shell_word(word: str) -> str:
    """Quotes a word for a shell if necessary; readably, with double quotes, if it contains single ones."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)


def override_value(value: Any) -> str:
    """A value in Hydra's override syntax."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{override_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(override_value, value)) + "]"
    text = str(value)
    if _PLAIN_WORD.match(text) and text.lower() not in _YAML_WORDS:
        return text
    # In Hydra only backslashes before a quote are doubled.
    escaped = re.sub(r"(\\*)('|\Z)", lambda match: 2 * match[1] + ("\\'" if match[2] else ""), text)
    return f"'{escaped}'"


def _count(number: int, thing: str) -> str:
    plural = thing + ("es" if thing.endswith("s") else "s")
    return f"{number:,} {thing if number == 1 else plural}"
